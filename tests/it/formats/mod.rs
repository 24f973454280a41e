//! The form of the log that every later release verifies: a database kept from each format, columns that a migration adds,
//! a disposed child, and databases of formats and keys that this release cannot use.

mod added_columns;
mod disposal;
mod disposed_child;
mod form;
mod kept;
mod small;
mod unusable;

use std::path::Path;

use ap_gateway::audit::report::VerifyReport;
use ap_gateway::audit::verify::{VerifyOptions, verify_database};
use ap_gateway::store::{Database, DatabaseLocation, Table};
use ap_gateway::tlog::LogKeyHistory;

use super::edits::copies::Statement;

/// Verifies a database with the keys and the anchor in a folder.
async fn verify(dir: &Path, database: &DatabaseLocation, tables: &[&'static Table]) -> VerifyReport {
    verify_database(&options(dir, database), tables).await.unwrap()
}

/// Names the keys and the anchor in a folder.
fn options(dir: &Path, database: &DatabaseLocation) -> VerifyOptions {
    let log_key = std::fs::read_to_string(dir.join("log-key")).unwrap();
    VerifyOptions {
        database: database.clone(),
        log_key: LogKeyHistory::parse(log_key.trim()).unwrap_or_else(|_| panic!("not a log key")),
        anchor: Some(dir.join("anchor")),
        key_ring: Some(dir.join("key-ring")),
        commitment_key: Some(dir.join("commitment-key")),
    }
}

/// Returns the findings as text.
fn findings(report: &VerifyReport) -> Vec<String> {
    report.findings.iter().map(ToString::to_string).collect()
}

/// Runs statements in one transaction, each of which must change a row.
async fn execute(location: &DatabaseLocation, statements: &[Statement]) {
    let database = Database::open(location).await.unwrap();
    let mut conn = database.writer().await.unwrap();
    conn.command("BEGIN").await.unwrap();
    for (sql, arguments) in statements {
        let changed = conn.execute(sql.clone().leak(), arguments.clone()).await.unwrap();
        assert!(changed > 0, "{sql}");
    }
    conn.commit().await.unwrap();
    drop(conn);
    database.close().await;
}
