//! Columns that a later migration adds to every table: entries of older formats still verify, and a release that does not
//! know the columns says that it did not check them.

use ap_gateway::gateway;
use ap_gateway::store::{Column, Database, Table, TableClass};

use super::super::edits::copies::Statement;
use super::super::schema::MIGRATIONS;
use super::super::support::Postgres;
use super::kept::KeptDatabase;
use super::{execute, findings, verify};

/// Format that adds the columns.
const NEXT_FORMAT: u32 = 2;

#[tokio::test(flavor = "multi_thread")]
async fn old_entries_verify_with_added_columns_on_sqlite() {
    old_entries_verify_with_added_columns(&KeptDatabase::open(1, None).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_entries_verify_with_added_columns_on_postgresql() {
    let postgres = Postgres::start();
    old_entries_verify_with_added_columns(&KeptDatabase::open(1, Some(&postgres)).await).await;
}

/// Returns the gateway's tables that a migration may change.
fn tables() -> Vec<&'static Table> {
    gateway::tables().into_iter().filter(|table| table.name != MIGRATIONS).collect()
}

/// Declares the added columns of a table.
fn with_added_columns(table: &'static Table) -> &'static Table {
    if table.name == MIGRATIONS {
        return table;
    }
    let added = [
        Column::new::<Option<String>>("added_text").since(NEXT_FORMAT),
        Column::new::<i64>("added_number").since(NEXT_FORMAT),
    ];
    let columns = [table.columns, &added].concat().leak();
    Box::leak(Box::new(Table { columns, ..*table }))
}

async fn old_entries_verify_with_added_columns(kept: &KeptDatabase) {
    let (dir, location) = (kept.dir.path(), &kept.location);
    let database = Database::open(location).await.unwrap();
    let mut conn = database.writer().await.unwrap();
    for Table { name, .. } in tables() {
        for column in ["added_text TEXT", "added_number BIGINT NOT NULL DEFAULT 0"] {
            let integer = if database.is_shared() { "BIGINT" } else { "INTEGER" };
            let sql = format!("ALTER TABLE {name} ADD COLUMN {}", column.replace("BIGINT", integer));
            conn.command(sql.leak()).await.unwrap();
        }
    }
    conn.command("CREATE TABLE added (id TEXT NOT NULL)").await.unwrap();
    drop(conn);
    database.close().await;

    let unaware = verify(dir, location, &gateway::tables()).await;
    assert_eq!(findings(&unaware), [""; 0]);
    let mut expected: Vec<String> = tables()
        .iter()
        .filter(|table| table.class != TableClass::Operational)
        .map(|table| unknown_columns(table))
        .collect();
    expected.push("the table added, which this release does not know".to_owned());
    assert_eq!(sorted(unaware.unchecked), sorted(expected));

    let aware: Vec<_> = gateway::tables().into_iter().map(with_added_columns).collect();
    let report = verify(dir, location, &aware).await;
    assert_eq!(findings(&report), [""; 0]);
    let mut expected: Vec<String> = tables()
        .iter()
        .filter(|table| table.class == TableClass::Derived)
        .map(|table| unknown_columns(table))
        .collect();
    expected.push("the table added, which this release does not know".to_owned());
    assert_eq!(sorted(report.unchecked), sorted(expected));

    let committed = |table: &&Table| matches!(table.class, TableClass::Committed | TableClass::Wrapped);
    let changes: Vec<Statement> = tables().into_iter().filter(committed).flat_map(changes_of).collect();
    execute(location, &changes).await;
    let found = findings(&verify(dir, location, &aware).await);
    for table in tables().into_iter().filter(committed) {
        for column in ["added_text", "added_number"] {
            let begin = format!("{}, entry ", table.name);
            let named = |finding: &&String| {
                finding.starts_with(&begin) && finding.contains(&format!("column {column}"))
            };
            assert_eq!(found.iter().filter(named).count(), 1, "{} {column}: {found:#?}", table.name);
        }
    }
    assert_eq!(found.len(), changes.len(), "{found:#?}");
}

fn unknown_columns(table: &Table) -> String {
    format!("columns of {} that this release does not know: added_text, added_number", table.name)
}

/// Returns the changes of an added column in the first row of a table, and of the other one in the last.
fn changes_of(table: &Table) -> Vec<Statement> {
    let name = table.name;
    let ordinal = if name == "entries" { "idx" } else { "ordinal" };
    [("added_text = 'x'", "ASC"), ("added_number = 1", "DESC")]
        .map(|(change, order)| {
            let row = |column: &str| {
                format!("(SELECT {column} FROM {name} ORDER BY idx {order}, {ordinal} {order} LIMIT 1)")
            };
            let sql = format!(
                "UPDATE {name} SET {change} WHERE idx = {} AND {ordinal} = {}",
                row("idx"),
                row(ordinal)
            );
            (sql, Vec::new())
        })
        .to_vec()
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}
