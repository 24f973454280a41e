//! Operational tables: a gateway on an edited copy sends the same bytes as one on an untouched copy, or it does not
//! start.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use ap_gateway::cli::sandbox::{self, ClockMode};
use ap_gateway::clock::Randomness;
use ap_gateway::gateway;
use ap_gateway::proto;
use ap_gateway::store::{Database, DatabaseLocation, TableClass};
use tempfile::TempDir;

use super::super::example_requests::EXAMPLE_REQUESTS;
use super::super::fixtures::{Fixtures, method_descriptor};
use super::super::postgres::write_private;
use super::super::schema::{POSTGRES_COLUMNS, SQLITE_COLUMNS};
use super::super::support::run;
use super::copies::EditedCopy;
use super::filled::FilledDatabase;

/// The time at which every copy is served, after the last entry.
const SERVED_AT: &str = "2026-12-04T12:00:00Z";
/// Edits with which a gateway does not start, because it lacks a key that seems activated, or because the schema seems
/// to be another release's: by table, and by column or by what is done with rows. Sorted.
const REFUSED_AT_START: &[(&str, &str)] = &[
    ("_sqlx_migrations", "a row added"),
    ("_sqlx_migrations", "checksum"),
    ("_sqlx_migrations", "every row deleted"),
    ("_sqlx_migrations", "success"),
    ("_sqlx_migrations", "the last row deleted"),
    ("_sqlx_migrations", "version"),
    ("activated_keys", "a row added"),
    ("activated_keys", "fingerprint"),
    ("activated_keys", "id"),
];

/// An edit of an operational table.
struct OperationalEdit {
    table: &'static str,
    /// The column that is changed in every row, or what is done with rows.
    what: String,
    sql: String,
}

/// A response: the method, its result, and the bytes of its message.
type Response = (&'static str, String, Vec<u8>);

/// Serves a copy for each edit, compares the responses with those of the untouched copy, and returns the edits whose
/// responses differ.
pub async fn differing_responses(filled: &FilledDatabase) -> Vec<String> {
    let untouched = responses_after(filled, 0, None).await.unwrap();
    let refused: Vec<_> = untouched.iter().filter(|(_, reason, _)| reason != "OK").collect();
    assert!(refused.len() * 4 < untouched.len(), "{refused:?}");
    let again = responses_after(filled, 1, None).await.unwrap();
    assert!(untouched == again, "two untouched copies differ");
    let (mut refused, mut differing, mut served) = (Vec::new(), Vec::new(), 0);
    let edits = edits(filled).await;
    for (number, edit) in (2..).zip(&edits) {
        match responses_after(filled, number, Some(&edit.sql)).await {
            Ok(responses) if responses == untouched => served += 1,
            Ok(responses) => {
                let other = responses.iter().zip(&untouched).find(|(one, other)| one != other);
                differing.push(format!(
                    "another response: {} {}: {:?}",
                    edit.table,
                    edit.what,
                    other.map(|(one, _)| one.0)
                ));
            }
            Err(error) => {
                assert!(error.contains("code: 78"), "{} {}: {error}", edit.table, edit.what);
                refused.push((edit.table, edit.what.as_str()));
            }
        }
    }
    say!("{} edits of operational tables: {served} served alike, {} not started", edits.len(), refused.len());
    refused.sort_unstable();
    assert_eq!(refused, REFUSED_AT_START);
    differing
}

/// Makes the edits from the schema: every column of every row changed, every row deleted, one row deleted, and one
/// added.
async fn edits(filled: &FilledDatabase) -> Vec<OperationalEdit> {
    let copy = EditedCopy::create(filled, "described").await;
    let database = Database::open(&copy.location).await.unwrap();
    let is_postgres = database.is_shared();
    let sql = if is_postgres { POSTGRES_COLUMNS } else { SQLITE_COLUMNS };
    let rows = database.reader().await.unwrap().fetch(sql, vec![]).await.unwrap();
    database.close().await;
    copy.close().await;
    let mut edits = Vec::new();
    for table in gateway::tables().into_iter().filter(|table| table.class == TableClass::Operational) {
        let name = table.name;
        let mut columns: Vec<(String, String)> = Vec::new();
        let mut key = String::new();
        for row in rows.iter().filter(|row| row.get_str("table_name").unwrap() == name) {
            let column: String = row.get("column_name").unwrap();
            let kind = row.get_str("type").unwrap();
            if row.get::<i64>("key").unwrap() == 1 {
                key.clone_from(&column);
            }
            let changed = changed_value(&column, kind, is_postgres);
            columns.push((column, changed));
        }
        let mut add = |what: &str, sql: String| {
            edits.push(OperationalEdit { table: name, what: what.to_owned(), sql });
        };
        for (column, changed) in &columns {
            add(column, format!("UPDATE {name} SET {column} = {changed}"));
        }
        let names: Vec<&str> = columns.iter().map(|(column, _)| column.as_str()).collect();
        let copied: Vec<&str> = (columns.iter())
            .map(|(column, changed)| if *column == key { changed.as_str() } else { column.as_str() })
            .collect();
        let last = format!("(SELECT {key} FROM {name} ORDER BY {key} DESC LIMIT 1)");
        add("every row deleted", format!("DELETE FROM {name}"));
        add("the last row deleted", format!("DELETE FROM {name} WHERE {key} = {last}"));
        let (names, copied) = (names.join(", "), copied.join(", "));
        add(
            "a row added",
            format!("INSERT INTO {name} ({names}) SELECT {copied} FROM {name} WHERE {key} = {last}"),
        );
    }
    edits
}

/// Returns an expression for another value of a column, which differs in each row if the values do.
fn changed_value(column: &str, kind: &str, is_postgres: bool) -> String {
    match kind {
        "INTEGER" | "BIGINT" | "bigint" => format!("{column} + 1000"),
        "TEXT" | "text" => format!("{column} || 'x'"),
        "BLOB" | "bytea" if is_postgres => format!("{column} || {column}"),
        "BLOB" => format!("CAST({column} || {column} AS BLOB)"),
        "BOOLEAN" => format!("1 - {column}"),
        "boolean" => format!("NOT {column}"),
        "TIMESTAMP" => format!("datetime({column}, '-1 day')"),
        "timestamp with time zone" => format!("{column} - INTERVAL '1 day'"),
        other => panic!("{column} has the type {other}"),
    }
}

/// Makes an edit on a copy of folder and database, serves the copy, and returns its responses to fixed calls. Clock and
/// randomness are those of every other copy.
///
/// # Errors
/// The text of the failure when the gateway does not start.
async fn responses_after(
    filled: &FilledDatabase,
    number: usize,
    edit: Option<&str>,
) -> Result<Vec<Response>, String> {
    let dir = TempDir::new().unwrap();
    run(Command::new("cp").arg("-R").arg(format!("{}/.", filled.dir.path().display())).arg(dir.path()));
    let location = copy_database(filled, dir.path(), number);
    if let Some(sql) = edit {
        let database = Database::open(&location).await.unwrap();
        let changed = database.writer().await.unwrap().execute(sql.to_owned().leak(), vec![]).await.unwrap();
        assert!(changed > 0, "{sql}");
        database.close().await;
    }
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let random = Randomness::seeded(b"a gateway on a copy");
    let started = sandbox::start(dir.path(), local, ClockMode::HeldAt(SERVED_AT), None, &random).await;
    let running = started.map_err(|failure| format!("{failure:?}"))?;
    let mut stage =
        Fixtures::resume(dir.path(), filled.names.clone(), Randomness::seeded(b"callers of a copy"));
    let mut responses = Vec::new();
    for row in EXAMPLE_REQUESTS {
        let is_read = !proto::is_mutating(&method_descriptor(row.method));
        if !is_read && row.method != "SubmitAttendance" || row.method == "WatchDeliveries" {
            continue;
        }
        let request = stage.request(row, false);
        let answer = stage.call(row.caller, row.method, &request).await;
        responses.push((row.method, answer.reason(), answer.message.to_vec()));
    }
    drop(stage);
    running.stop().await.unwrap();
    Ok(responses)
}

/// Returns where the copy in a folder is. On PostgreSQL it copies the server's database and names the copy in the
/// folder's configuration.
fn copy_database(filled: &FilledDatabase, dir: &Path, number: usize) -> DatabaseLocation {
    let Some(postgres) = &filled.postgres else {
        return DatabaseLocation::Sqlite(dir.join("gateway.sqlite"));
    };
    let url = postgres.copy_database(&format!("served_{number}"));
    let (file, config) = (dir.join("copy-url"), dir.join("gateway.toml"));
    write_private(&file, &url);
    let text = std::fs::read_to_string(&config).unwrap();
    let old = format!("{}", postgres.url_file.display());
    assert!(text.contains(&old));
    std::fs::write(&config, text.replace(&old, &file.display().to_string())).unwrap();
    DatabaseLocation::Postgres(url)
}
