//! Step of tampering: four edits to copies of the database, each of which the verification detects and names.

use std::path::{Path, PathBuf};

use super::super::audit::VerifyFiles;
use super::super::{Failure, audit, print_line};
use super::ensure;
use crate::store::{Database, DatabaseLocation};

/// Edit of the database: its description, its statements, and a word of the expected finding.
struct Edit {
    description: &'static str,
    statements: &'static [&'static str],
    expected_finding: &'static str,
}

const EDITS: [Edit; 4] = [
    Edit {
        description: "an absence (O) changed to a presence (/)",
        statements: &["UPDATE marks SET code = '/' WHERE (idx, ordinal) = \
                       (SELECT idx, ordinal FROM marks WHERE code = 'O' ORDER BY idx, ordinal LIMIT 1)"],
        expected_finding: "marks, entry",
    },
    Edit {
        description: "an entry of the log replaced by another",
        statements: &["UPDATE entries SET bytes = (SELECT bytes FROM entries WHERE idx = 4) WHERE idx = 5"],
        expected_finding: "entries, entry 5",
    },
    Edit {
        description: "a checkpoint changed",
        statements: &["UPDATE checkpoints SET note = replace(note, 'a', 'b') WHERE size = \
                       (SELECT size FROM checkpoints ORDER BY size DESC LIMIT 1 OFFSET 2)"],
        expected_finding: "checkpoints:",
    },
    Edit {
        description: "the newest entries cut off",
        statements: &[
            "DELETE FROM checkpoints WHERE size > (SELECT size FROM checkpoints ORDER BY size DESC LIMIT 1 OFFSET 3)",
            "DELETE FROM entries WHERE idx >= (SELECT MAX(size) FROM checkpoints)",
        ],
        expected_finding: "anchor",
    },
];

/// Verifies the log on an unchanged copy, then on a copy with each edit.
pub async fn show(dir: &Path) -> Result<(), Failure> {
    let log_key = std::fs::read_to_string(dir.join("log-key"))
        .map_err(|error| Failure::unavailable("the log's key", error))?;
    let (anchor, ring, key) = (dir.join("anchor"), dir.join("key-ring"), dir.join("commitment-key"));
    let files = VerifyFiles { anchor: Some(&anchor), key_ring: Some(&ring), commitment_key: Some(&key) };
    let unchanged = copy_database(dir, "unchanged")?;
    let report = audit::verify_database_copy(&unchanged, &log_key, files).await?;
    ensure(report.findings.is_empty(), "the log does not verify")?;
    print_line(&format!(
        "12. The auditor verifies the log: {} entries and {} rows are unchanged",
        report.entries, report.rows
    ));
    print_line("13. Somebody with access to the database edits a copy of it");
    for (number, edit) in EDITS.iter().enumerate() {
        let copied = copy_database(dir, &format!("edit-{number}"))?;
        apply_edit(&copied, edit).await?;
        let report = audit::verify_database_copy(&copied, &log_key, files).await?;
        let found =
            report.findings.iter().find(|finding| finding.to_string().contains(edit.expected_finding));
        let Some(found) = found else {
            return Err(Failure::refused(format!("not detected: {}", edit.description)));
        };
        print_line(&format!("   {}: detected", edit.description));
        print_line(&format!("      {found}"));
    }
    print_line("All checks passed.");
    Ok(())
}

fn copy_database(dir: &Path, name: &str) -> Result<PathBuf, Failure> {
    let failed = |error| Failure::unavailable("a copy of the database", error);
    let folder = dir.join("copies").join(name);
    std::fs::create_dir_all(&folder).map_err(failed)?;
    for file in ["gateway.sqlite", "gateway.sqlite-wal"] {
        let (from, to) = (dir.join(file), folder.join(file));
        if from.exists() {
            std::fs::copy(from, to).map_err(failed)?;
        }
    }
    Ok(folder.join("gateway.sqlite"))
}

async fn apply_edit(copied: &Path, edit: &Edit) -> Result<(), Failure> {
    let database = Database::open(&DatabaseLocation::Sqlite(copied.to_owned())).await?;
    let mut conn = database.writer().await?;
    for statement in edit.statements {
        let changed = conn.execute(statement, vec![]).await?;
        ensure(changed > 0, "an edit changed nothing")?;
    }
    drop(conn);
    database.close().await;
    Ok(())
}
