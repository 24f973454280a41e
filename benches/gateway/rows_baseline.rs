//! The second baseline: the rows of one exchange, written again and again over sqlx with one multi-row statement
//! per table and one commit per exchange, with the same durability; without TLS, exchange pipeline, tree or
//! sealing.

use std::path::Path;
use std::time::{Duration, Instant};

use ap_gateway::cli::bench::load::Measurement;
use ap_gateway::store::{
    Column, ColumnKind, Database, DatabaseLocation, NO_VERSIONS, RecordSubject, Table, TableClass, Value,
};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, SqliteConnection, query};

use super::results::Line;

/// The tables that a submission writes.
const WRITTEN_TABLES: [&str; 6] =
    ["entries", "returns", "marks", "current_versions", "parties", "checkpoints"];

/// Commits the rows of the newest exchange for `duration`, each time with new keys.
pub async fn measure_baseline(source: &Path, marks: usize, duration: Duration) -> Line {
    let from = Database::open(&DatabaseLocation::Sqlite(source.to_owned())).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let to = Database::create(&DatabaseLocation::Sqlite(folder.path().join("rows.sqlite"))).await.unwrap();
    to.migrate().await.unwrap();
    to.close().await;
    let written = newest_rows(&from).await;
    let mut to = connect(&folder.path().join("rows.sqlite")).await;
    let (begun, mut latencies, mut turn) = (Instant::now(), Vec::new(), 0_i64);
    while begun.elapsed() < duration {
        let started = Instant::now();
        turn += 1;
        to.execute("BEGIN IMMEDIATE").await.unwrap();
        for (table, rows) in &written {
            insert(&mut to, table, rows.iter().map(|row| with_new_keys(table, row, turn)).collect()).await;
        }
        to.execute("COMMIT").await.unwrap();
        latencies.push(u32::try_from(started.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    let elapsed = begun.elapsed();
    from.close().await;
    to.close().await.unwrap();
    latencies.sort_unstable();
    Line::new(&Measurement { calls: latencies.len() as u64, elapsed, latencies }, marks)
}

/// Opens a connection with the gateway's settings, except that SQLite checkpoints the WAL itself.
async fn connect(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).journal_mode(SqliteJournalMode::Wal);
    let options = options.synchronous(SqliteSynchronous::Full).foreign_keys(true);
    let options = options.pragma("secure_delete", "on").pragma("cache_size", "-16384");
    options.connect().await.unwrap()
}

async fn insert(to: &mut SqliteConnection, table: &Table, rows: Vec<Vec<Value>>) {
    let row = format!("({})", vec!["?"; table.columns.len()].join(","));
    let (name, rows_of) = (table.name, vec![row.as_str(); rows.len()].join(","));
    let on_key = if table.replace_key.is_empty() { "INTO" } else { "OR REPLACE INTO" };
    let mut bound = query(AssertSqlSafe(format!("INSERT {on_key} {name} VALUES {rows_of}")));
    for value in rows.into_iter().flatten() {
        bound = match value {
            Value::Int(value) => bound.bind(value),
            Value::Text(value) => bound.bind(value),
            Value::Blob(value) => bound.bind(value),
        };
    }
    bound.execute(to).await.unwrap();
}

/// Returns the rows of the last entry that stored a return, by table.
async fn newest_rows(database: &Database) -> Vec<(Table, Vec<Vec<Value>>)> {
    let mut conn = database.reader().await.unwrap();
    let last = conn.fetch_one("SELECT MAX(idx) AS last FROM returns", vec![]).await.unwrap().unwrap();
    let last: i64 = last.get("last").unwrap();
    let mut written = Vec::new();
    for name in WRITTEN_TABLES {
        let place = if name == "checkpoints" { "size - 1" } else { "idx" };
        let sql = format!("SELECT * FROM {name} WHERE {place} = {last}").leak();
        let described =
            conn.fetch(format!("SELECT name, type FROM pragma_table_info('{name}')").leak(), vec![]);
        let columns: Vec<Column> = (described.await.unwrap().iter())
            .map(|row| {
                let kind = match row.get::<String>("type").unwrap().as_str() {
                    "INTEGER" => ColumnKind::Int,
                    "TEXT" => ColumnKind::Text,
                    _ => ColumnKind::Blob,
                };
                let name: &str = row.get::<String>("name").unwrap().leak();
                Column { name, kind, is_nullable: true, ..Column::new::<i64>(name) }
            })
            .collect();
        let replace_by: &[&str] = if name == "current_versions" { &["key"] } else { &[] };
        let table = Table {
            name,
            number: 0,
            class: TableClass::Operational,
            subject: RecordSubject::NoChild,
            columns: columns.leak(),
            replace_key: replace_by,
            versions: NO_VERSIONS,
        };
        let rows = conn.fetch(sql, vec![]).await.unwrap();
        written.push((table, rows.iter().map(|row| row.values().to_vec()).collect()));
    }
    written
}

/// Returns the row with a later index and changed unique values, as another exchange would write it.
fn with_new_keys(table: &Table, row: &[Value], turn: i64) -> Vec<Value> {
    let unique = ["exchange", "request_id", "key", "return_id", "object"];
    let moved = |(Column { name, .. }, value): (&Column, &Value)| match value {
        Value::Int(Some(place)) if matches!(*name, "idx" | "size") => Value::Int(Some(place + turn)),
        Value::Blob(Some(bytes))
            if unique.contains(name) && (*name != "key" || table.name == "current_versions") =>
        {
            let mut bytes = bytes.clone();
            let end = bytes.len();
            // The changed bytes are after the date of a mark's key and the time of an id, so both stay ordered by
            // time.
            for (byte, added) in
                bytes.iter_mut().skip(end.min(12) - 4).zip(turn.to_be_bytes().into_iter().skip(4))
            {
                *byte = byte.wrapping_add(added);
            }
            Value::Blob(Some(bytes))
        }
        other => other.clone(),
    };
    table.columns.iter().zip(row).map(moved).collect()
}
