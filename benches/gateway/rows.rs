//! The second ceiling: the rows that one exchange wrote, written again and again over sqlx, a multi-row statement a
//! table and a commit an exchange, with the same durability, and nothing else: no TLS, no door, no tree, no sealing.

use std::path::Path;
use std::time::{Duration, Instant};

use ap_gateway::cli::bench::load::Measured;
use ap_gateway::store::{Database, Kind, Location, Table, Value};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, SqliteConnection, query};

use super::table::Line;

/// The tables that a submission writes, and those whose key must differ with each commit.
const TABLES: [&str; 7] = ["entries", "returns", "marks", "heads", "parties", "leaves", "checkpoints"];

/// Commits the newest exchange's rows for so long, each time under new keys.
pub async fn ceiling(source: &Path, marks: usize, duration: Duration) -> Line {
    let from = Database::open(&Location::Sqlite(source.to_owned())).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let to = Database::create(&Location::Sqlite(folder.path().join("rows.sqlite"))).await.unwrap();
    to.migrate().await.unwrap();
    to.close().await;
    let written = newest(&from).await;
    let mut to = connect(&folder.path().join("rows.sqlite")).await;
    let (begun, mut latencies, mut turn) = (Instant::now(), Vec::new(), 0_i64);
    while begun.elapsed() < duration {
        let started = Instant::now();
        turn += 1;
        to.execute("BEGIN IMMEDIATE").await.unwrap();
        for (table, rows) in &written {
            insert(&mut to, table, rows.iter().map(|row| anew(table, row, turn)).collect()).await;
        }
        to.execute("COMMIT").await.unwrap();
        latencies.push(u32::try_from(started.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    let elapsed = begun.elapsed();
    from.close().await;
    to.close().await.unwrap();
    latencies.sort_unstable();
    Line::of(&Measured { calls: latencies.len() as u64, elapsed, latencies }, marks)
}

/// A connection with the settings of the gateway's own, but for the folding of the write-ahead log, which SQLite
/// does by itself.
async fn connect(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).journal_mode(SqliteJournalMode::Wal);
    let options = options.synchronous(SqliteSynchronous::Full).foreign_keys(true);
    let options = options.pragma("secure_delete", "on").pragma("cache_size", "-16384");
    options.connect().await.unwrap()
}

async fn insert(to: &mut SqliteConnection, table: &Table, rows: Vec<Vec<Value>>) {
    let row = format!("({})", vec!["?"; table.columns.len()].join(","));
    let (name, rows_of) = (table.name, vec![row.as_str(); rows.len()].join(","));
    let on_key = if table.replace_by.is_empty() { "INTO" } else { "OR REPLACE INTO" };
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

/// The rows of the last entry that stored a return, by table.
async fn newest(database: &Database) -> Vec<(Table, Vec<Vec<Value>>)> {
    let mut conn = database.reader().await.unwrap();
    let last = conn.fetch_one("SELECT MAX(idx) FROM returns", vec![]).await.unwrap().unwrap().int(0).unwrap();
    let mut written = Vec::new();
    for name in TABLES {
        let place = if name == "checkpoints" { "size - 1" } else { "idx" };
        let sql = format!("SELECT * FROM {name} WHERE {place} = {last}").leak();
        let described =
            conn.fetch(format!("SELECT name, type FROM pragma_table_info('{name}')").leak(), vec![]);
        let columns: Vec<(&str, Kind)> = (described.await.unwrap().iter())
            .map(|row| {
                let kind = match row.text(1).unwrap() {
                    "INTEGER" => Kind::Int,
                    "TEXT" => Kind::Text,
                    _ => Kind::Blob,
                };
                (&*row.text(0).unwrap().to_owned().leak(), kind)
            })
            .collect();
        let replace_by: &[&str] = if name == "heads" { &["key"] } else { &[] };
        let table = Table { name, columns: columns.leak(), replace_by };
        let rows = conn.fetch(sql, vec![]).await.unwrap();
        written.push((table, rows.iter().map(|row| row.values().to_vec()).collect()));
    }
    written
}

/// The row as another exchange would have written it: its place moved on, its unique bytes changed.
fn anew(table: &Table, row: &[Value], turn: i64) -> Vec<Value> {
    let unique = ["exchange", "request_id", "key", "return_id", "object"];
    let moved = |((name, _), value): (&(&str, Kind), &Value)| match value {
        Value::Int(Some(place)) if matches!(*name, "idx" | "size") => Value::Int(Some(place + turn)),
        Value::Blob(Some(bytes)) if unique.contains(name) && (*name != "key" || table.name == "heads") => {
            let mut bytes = bytes.clone();
            let end = bytes.len();
            // Behind the day of a mark's key and the time of an id, so that both stay time-ordered.
            for (byte, of) in
                bytes.iter_mut().skip(end.min(12) - 4).zip(turn.to_be_bytes().into_iter().skip(4))
            {
                *byte = byte.wrapping_add(of);
            }
            Value::Blob(Some(bytes))
        }
        other => other.clone(),
    };
    table.columns.iter().zip(row).map(moved).collect()
}
