//! The schema that the migrations make, compared with the declarations of the tables, on both databases.

use std::collections::{BTreeMap, BTreeSet};

use ap_gateway::gateway;
use ap_gateway::store::{ColumnKind, Database, DatabaseLocation, RecordSubject, Row, Table, TableClass};
use tempfile::TempDir;

use super::support::Postgres;

/// Every column of a SQLite database. A primary key is never NULL, although SQLite does not list it as NOT NULL.
pub const SQLITE_COLUMNS: &str = "SELECT t.name AS table_name, c.name AS column_name, c.type AS type, c.pk AS key, \
     (c.\"notnull\" OR c.pk) AS is_required FROM sqlite_schema t JOIN pragma_table_info(t.name) c \
     WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'";
/// Every column of a PostgreSQL database.
pub const POSTGRES_COLUMNS: &str = "SELECT CAST(c.table_name AS TEXT) AS table_name, \
     CAST(c.column_name AS TEXT) AS column_name, CAST(c.data_type AS TEXT) AS type, \
     COALESCE((SELECT CAST(k.ordinal_position AS INT8) FROM information_schema.key_column_usage k \
     JOIN information_schema.table_constraints p USING (constraint_name, table_name) \
     WHERE p.constraint_type = 'PRIMARY KEY' AND k.table_name = c.table_name \
     AND k.column_name = c.column_name), 0) AS key, \
     CAST(CASE c.is_nullable WHEN 'NO' THEN 1 ELSE 0 END AS INT8) AS is_required \
     FROM information_schema.columns c WHERE c.table_schema = 'public'";
/// The keys of tables that are not keyed by the position of the row and in which no row is replaced.
const OTHER_KEYS: [(&str, &[&str]); 7] = [
    ("activated_keys", &["id"]),
    ("callers", &["organisation", "idx"]),
    ("checkpoints", &["size"]),
    ("entries", &["idx"]),
    ("placement_entries", &["placement", "idx"]),
    ("practitioner_entries", &["practitioner", "idx"]),
    ("parties", &["organisation", "idx", "ordinal"]),
];
/// The table of sqlx, whose columns are not declared.
pub const MIGRATIONS: &str = "_sqlx_migrations";

/// A table of the schema, or a declared one in the same form.
#[derive(Debug, Default, PartialEq)]
struct Columns {
    /// The columns with kind and nullability.
    columns: BTreeSet<String>,
    /// The columns of the primary key, in its order.
    key: Vec<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_is_as_it_is_declared_on_sqlite() {
    let folder = TempDir::new().unwrap();
    let database = migrated(&DatabaseLocation::Sqlite(folder.path().join("db"))).await;
    assert_eq!(differences(&database).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_is_as_it_is_declared_on_postgresql() {
    let postgres = Postgres::start();
    let url = std::fs::read_to_string(&postgres.url_file).unwrap();
    let database = migrated(&DatabaseLocation::Postgres(url)).await;
    assert_eq!(differences(&database).await, [""; 0]);
    database.close().await;
}

/// A column, a table and a nullability that nothing declares are found.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_declared_is_found() {
    let folder = TempDir::new().unwrap();
    let database = migrated(&DatabaseLocation::Sqlite(folder.path().join("db"))).await;
    let mut conn = database.writer().await.unwrap();
    for sql in [
        "ALTER TABLE grants ADD COLUMN stray INTEGER",
        "CREATE TABLE strays (id INTEGER NOT NULL) STRICT",
        "DROP TABLE nodes",
    ] {
        conn.execute(sql, vec![]).await.unwrap();
    }
    drop(conn);
    assert_eq!(differences(&database).await, ["grants", "nodes", "strays"]);
}

#[test]
fn every_table_about_a_child_is_committed_and_names_the_child() {
    for table in gateway::tables() {
        let has = |name| table.columns.iter().any(|column| column.name == name);
        let names_its_child = match table.subject {
            RecordSubject::NoChild => continue,
            RecordSubject::PlacementChild => has("placement"),
            RecordSubject::PlacementVersion => has("id"),
            RecordSubject::EveryChild => true,
        };
        assert!(names_its_child && table.class == TableClass::Committed, "{}", table.name);
    }
}

async fn migrated(location: &DatabaseLocation) -> Database {
    let database = Database::create(location).await.unwrap();
    database.migrate().await.unwrap();
    database
}

/// Returns the names of the tables that are not as they are declared, each once.
async fn differences(database: &Database) -> Vec<String> {
    let (declared, stored) = (declared(), stored(database).await);
    let names: BTreeSet<&String> = declared.keys().chain(stored.keys()).collect();
    let differ = |name: &&String| {
        let (declared, stored) = (declared.get(*name), stored.get(*name));
        if *name == MIGRATIONS { declared.is_none() || stored.is_none() } else { declared != stored }
    };
    names.into_iter().filter(differ).cloned().collect()
}

fn declared() -> BTreeMap<String, Columns> {
    let tables = gateway::tables();
    let declared: BTreeMap<_, _> =
        tables.iter().map(|table| (table.name.to_owned(), columns_of(table))).collect();
    assert_eq!(declared.len(), tables.len(), "a table is declared twice");
    declared
}

fn columns_of(table: &Table) -> Columns {
    let column = |column: &ap_gateway::store::Column| describe(column.name, column.kind, column.is_nullable);
    let other = OTHER_KEYS.iter().find(|(name, _)| *name == table.name).map(|(_, key)| *key);
    let key = match (other, table.replace_key) {
        (Some(key), _) => key,
        (None, []) => &["idx", "ordinal"],
        (None, key) => key,
    };
    Columns {
        columns: table.columns.iter().map(column).collect(),
        key: key.iter().map(|name| (*name).to_owned()).collect(),
    }
}

/// Returns the kind of a column of the schema, from its row of [`SQLITE_COLUMNS`] or [`POSTGRES_COLUMNS`].
pub fn column_kind(row: &Row) -> ColumnKind {
    match row.get_str("type").unwrap() {
        "INTEGER" | "bigint" => ColumnKind::Int,
        "TEXT" | "text" => ColumnKind::Text,
        "BLOB" | "bytea" => ColumnKind::Blob,
        other => panic!("{} has the type {other}", row.get_str("column_name").unwrap()),
    }
}

async fn stored(database: &Database) -> BTreeMap<String, Columns> {
    let sql = if database.is_shared() { POSTGRES_COLUMNS } else { SQLITE_COLUMNS };
    let mut found: BTreeMap<String, (Columns, BTreeMap<i64, String>)> = BTreeMap::new();
    for row in database.reader().await.unwrap().fetch(sql, vec![]).await.unwrap() {
        let (table, column): (String, String) =
            (row.get("table_name").unwrap(), row.get("column_name").unwrap());
        let (columns, key) = found.entry(table.clone()).or_default();
        if table == MIGRATIONS {
            continue;
        }
        let kind = column_kind(&row);
        columns.columns.insert(describe(&column, kind, !row.get::<bool>("is_required").unwrap()));
        key.insert(row.get("key").unwrap(), column);
    }
    let with_key = |(mut columns, mut key): (Columns, BTreeMap<i64, String>)| {
        key.remove(&0);
        columns.key = key.into_values().collect();
        columns
    };
    found.into_iter().map(|(table, found)| (table, with_key(found))).collect()
}

fn describe(column: &str, kind: ColumnKind, is_nullable: bool) -> String {
    format!("{column} {kind:?}{}", if is_nullable { "" } else { " NOT NULL" })
}
