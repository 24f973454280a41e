//! Verification of committed tables: on a copy of a database with rows in all of them, every edit of a record is
//! found and the record is named.

use std::path::Path;

use ap_gateway::cli::audit;
use ap_gateway::store::{Database, DatabaseLocation, Value};
use tempfile::TempDir;

/// A row of a table, with a column of bytes to change.
struct TableEdit {
    select: &'static str,
    change: &'static str,
    delete: &'static str,
    /// The name of the record in the finding.
    record_name: &'static str,
}

macro_rules! edit {
    ($table:literal, $column:literal, $which:literal, $named:literal) => {
        TableEdit {
            select: concat!(
                "SELECT idx, ordinal, ",
                $column,
                " AS bytes FROM ",
                $table,
                " WHERE ",
                $which,
                " ORDER BY idx DESC, ordinal LIMIT 1"
            ),
            change: concat!("UPDATE ", $table, " SET ", $column, " = $3 WHERE idx = $1 AND ordinal = $2"),
            delete: concat!("DELETE FROM ", $table, " WHERE idx = $1 AND ordinal = $2"),
            record_name: $named,
        }
    };
}

const EDITS: [TableEdit; 17] = [
    edit!("children", "identity", "version = 1", "a referral"),
    edit!("placement_parties", "placement", "1 = 1", "a referral"),
    edit!("placements", "detail", "version = 1", "a referral"),
    edit!("placements", "detail", "version = 2", "an answer to a referral"),
    edit!("placements", "detail", "version = 3", "a decision on a placement"),
    edit!("placements", "detail", "version = 4", "the start of a placement"),
    edit!("open_items", "version_key", "is_checked = 0", "the start of a placement"),
    edit!("alerts", "child", "state = 1", "an alert"),
    // A plan that changed the planned end of its placement.
    edit!("placements", "detail", "planned_end_date = '2027-03-25'", "a plan"),
    edit!("placements", "detail", "end_date IS NOT NULL", "the end of a placement"),
    edit!("plans", "plan", "version = 1", "a plan"),
    edit!("plans", "plan", "version = 2", "a plan"),
    edit!("passport_blocks", "block", "1 = 1", "a passport"),
    edit!("passport_shares", "agreement", "1 = 1", "the sharing of a passport"),
    edit!("passport_withholdings", "decision", "1 = 1", "a decision not to share"),
    edit!("progress", "progress", "revision = 1", "a progress return"),
    edit!("acknowledgements", "officer", "officer IS NOT NULL", "an acknowledgement"),
];

/// Counts the records about children: marks and statements, and all others.
pub async fn count_records(dir: &Path) -> (u64, u64) {
    let database = Database::open(&DatabaseLocation::Sqlite(dir.join("gateway.sqlite"))).await.unwrap();
    let mut conn = database.writer().await.unwrap();
    let sql = "SELECT (SELECT COUNT(*) FROM marks) + (SELECT COUNT(*) FROM statements) AS sessions, \
               (SELECT COUNT(*) FROM children) + (SELECT COUNT(*) FROM placements) \
               + (SELECT COUNT(*) FROM placement_parties) + (SELECT COUNT(*) FROM plans) \
               + (SELECT COUNT(*) FROM open_items) + (SELECT COUNT(*) FROM alerts) \
               + (SELECT COUNT(*) FROM passport_blocks) + (SELECT COUNT(*) FROM passport_shares) \
               + (SELECT COUNT(*) FROM passport_withholdings) + (SELECT COUNT(*) FROM progress) \
               + (SELECT COUNT(*) FROM acknowledgements a WHERE EXISTS \
               (SELECT 1 FROM leaves l WHERE l.idx = a.idx)) AS documents";
    let row = conn.fetch_one(sql, vec![]).await.unwrap().unwrap();
    drop(conn);
    database.close().await;
    let count = |column| row.get::<i64>(column).unwrap().unsigned_abs();
    (count("sessions"), count("documents"))
}

/// Changes a byte of a row of each table, then deletes the row, and asserts that each edit is the only finding.
pub async fn assert_every_edit_is_found(dir: &Path) {
    let (sessions, documents) = count_records(dir).await;
    assert_eq!(verify_copy(dir, dir).await, (sessions + documents, Vec::new()));
    for edit in &EDITS {
        let (copy, database) = copy_database(dir).await;
        let mut conn = database.writer().await.unwrap();
        let row = conn.fetch_one(edit.select, vec![]).await.unwrap();
        let row = row.unwrap_or_else(|| panic!("no row: {}", edit.select));
        let (index, ordinal): (i64, i64) = (row.get("idx").unwrap(), row.get("ordinal").unwrap());
        let mut bytes: Vec<u8> = row.get("bytes").unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        let place = || vec![Value::from(index), Value::from(ordinal)];
        let changed = [place(), vec![bytes.into()]].concat();
        let named = vec![format!("{} of entry {index} was changed or removed", edit.record_name)];
        for (sql, arguments) in [(edit.change, changed), (edit.delete, place())] {
            assert_eq!(conn.execute(sql, arguments).await.unwrap(), 1);
            assert_eq!(verify_copy(copy.path(), dir).await.1, named, "{sql}");
        }
        drop(conn);
        database.close().await;
    }
}

/// Asserts that a record moved to another entry is reported as missing from one entry and unexpected in the other.
/// A child whose key was destroyed is skipped; a changed key is reported.
pub async fn assert_misplaced_records_are_found(dir: &Path) {
    let (sessions, documents) = count_records(dir).await;
    let (copy, database) = copy_database(dir).await;
    let mut conn = database.writer().await.unwrap();
    let moved = "UPDATE plans SET idx = 0 WHERE idx = (SELECT MAX(idx) FROM plans)";
    assert_eq!(conn.execute(moved, vec![]).await.unwrap(), 1);
    let (_, findings) = verify_copy(copy.path(), dir).await;
    let [missed, strange] = &findings[..] else { panic!("{findings:?}") };
    let (missed, strange) = if missed.starts_with("a plan") { (missed, strange) } else { (strange, missed) };
    assert!(missed.starts_with("a plan of entry ") && missed.ends_with(" was changed or removed"));
    assert_eq!(strange, "records of entry 0 have no leaf");
    drop(conn);
    database.close().await;
    assert_a_record_without_its_placement_is_found(dir).await;
    let (copy, database) = copy_database(dir).await;
    let mut conn = database.writer().await.unwrap();
    let changed = "UPDATE child_keys SET wrapped = zeroblob(length(wrapped)) \
                   WHERE idx = (SELECT MIN(idx) FROM child_keys)";
    assert_eq!(conn.execute(changed, vec![]).await.unwrap(), 1);
    let (_, findings) = verify_copy(copy.path(), dir).await;
    assert!(findings[0].starts_with("a referral of entry "), "{findings:?}");
    assert!(findings.iter().all(|what| what.ends_with("cannot be opened: the ring holds no key to it")));
    let destroyed = "DELETE FROM child_keys WHERE idx = (SELECT MIN(idx) FROM child_keys)";
    assert_eq!(conn.execute(destroyed, vec![]).await.unwrap(), 1);
    let (verified, findings) = verify_copy(copy.path(), dir).await;
    assert!(verified < sessions + documents);
    assert!(findings.is_empty(), "{findings:?}");
    drop(conn);
    database.close().await;
}

/// Asserts that an added record is reported although it names no placement.
async fn assert_a_record_without_its_placement_is_found(dir: &Path) {
    let (copy, database) = copy_database(dir).await;
    let mut conn = database.writer().await.unwrap();
    let added = "INSERT INTO alerts SELECT idx, ordinal + 1000, version_key, id, version, rule, subject, NULL, child, \
                 item, due_date, state, raised, ended, resolved_by, resolution FROM alerts ORDER BY idx LIMIT 1";
    assert_eq!(conn.execute(added, vec![]).await.unwrap(), 1);
    let row = conn.fetch_one("SELECT MIN(idx) AS idx FROM alerts", vec![]).await.unwrap().unwrap();
    let index: i64 = row.get("idx").unwrap();
    let named = format!("an alert of entry {index} was changed or removed");
    assert_eq!(verify_copy(copy.path(), dir).await.1, [named]);
    let moved = "UPDATE alerts SET idx = 0 WHERE placement IS NULL";
    assert_eq!(conn.execute(moved, vec![]).await.unwrap(), 1);
    assert_eq!(verify_copy(copy.path(), dir).await.1, ["records of entry 0 have no leaf"]);
    drop(conn);
    database.close().await;
}

/// Copies a database and opens the copy.
async fn copy_database(dir: &Path) -> (TempDir, Database) {
    let copy = TempDir::new().unwrap();
    for file in ["gateway.sqlite", "gateway.sqlite-wal"] {
        if dir.join(file).exists() {
            std::fs::copy(dir.join(file), copy.path().join(file)).unwrap();
        }
    }
    let database =
        Database::open(&DatabaseLocation::Sqlite(copy.path().join("gateway.sqlite"))).await.unwrap();
    (copy, database)
}

/// Verifies a copy and returns the number of verified records and the findings.
pub async fn verify_copy(copy: &Path, dir: &Path) -> (u64, Vec<String>) {
    let log_key = std::fs::read_to_string(dir.join("log-key")).unwrap();
    let (database, anchor, ring) = (copy.join("gateway.sqlite"), dir.join("anchor"), dir.join("key-ring"));
    let report = audit::verify_database_copy(&database, &log_key, Some(&anchor), Some(&ring)).await.unwrap();
    (report.records, report.findings.into_iter().map(|finding| finding.description).collect())
}
