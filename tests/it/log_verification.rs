//! Verification of the database of a world against its log, with every key.

use std::path::Path;

use ap_gateway::audit::report::VerifyReport;
use ap_gateway::cli::audit;
use ap_gateway::store::{Database, DatabaseLocation};

/// Counts the marks and the statements.
pub async fn count_sessions(dir: &Path) -> u64 {
    let database = Database::open(&DatabaseLocation::Sqlite(dir.join("gateway.sqlite"))).await.unwrap();
    let mut conn = database.writer().await.unwrap();
    let sql = "SELECT (SELECT COUNT(*) FROM marks) + (SELECT COUNT(*) FROM statements) AS sessions";
    let row = conn.fetch_one(sql, vec![]).await.unwrap().unwrap();
    drop(conn);
    database.close().await;
    row.get::<i64>("sessions").unwrap().unsigned_abs()
}

/// Verifies the database in a folder, with the keys and the anchor beside it.
pub async fn verify(dir: &Path) -> VerifyReport {
    let log_key = std::fs::read_to_string(dir.join("log-key")).unwrap();
    let file = |name| dir.join(name);
    let (database, anchor) = (file("gateway.sqlite"), file("anchor"));
    let (ring, commitment_key) = (file("key-ring"), file("commitment-key"));
    let files = audit::VerifyFiles {
        anchor: Some(&anchor),
        key_ring: Some(&ring),
        commitment_key: Some(&commitment_key),
    };
    audit::verify_database_copy(&database, &log_key, files).await.unwrap()
}

/// Returns what a verification of the database in a folder finds.
pub async fn findings(dir: &Path) -> Vec<String> {
    verify(dir).await.findings.iter().map(ToString::to_string).collect()
}

/// Asserts that the database in a folder verifies, and that everything was checked.
pub async fn assert_verifies(dir: &Path) {
    let report = verify(dir).await;
    assert_eq!((report.findings, report.unchecked), (Vec::new(), Vec::new()));
    assert!(report.rows > report.entries, "{} rows of {} entries", report.rows, report.entries);
}
