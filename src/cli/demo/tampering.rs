//! What an intruder with the database in hand cannot do unseen: four edits to copies, each found and named.

use std::path::{Path, PathBuf};

use super::super::{Failure, audit, say};
use super::ensure;
use crate::store::{Database, Location};

/// An edit: what it is, the statements that make it, and a word by which the finding names it.
struct Edit {
    what: &'static str,
    statements: &'static [&'static str],
    named: &'static str,
}

const EDITS: [Edit; 4] = [
    Edit {
        what: "an absence (O) made a presence (/)",
        statements: &["UPDATE marks SET code = '/' WHERE (idx, ordinal) = \
                       (SELECT idx, ordinal FROM marks WHERE code = 'O' ORDER BY idx, ordinal LIMIT 1)"],
        named: "a mark of entry",
    },
    Edit {
        what: "an entry of the log replaced by another",
        statements: &["UPDATE entries SET bytes = (SELECT bytes FROM entries WHERE idx = 4) WHERE idx = 5"],
        named: "entry",
    },
    Edit {
        what: "a checkpoint changed",
        statements: &["UPDATE checkpoints SET note = replace(note, 'a', 'b') WHERE size = \
                       (SELECT size FROM checkpoints ORDER BY size DESC LIMIT 1 OFFSET 2)"],
        named: "checkpoint",
    },
    Edit {
        what: "the newest entries cut off",
        statements: &[
            "DELETE FROM checkpoints WHERE size > (SELECT size FROM checkpoints ORDER BY size DESC LIMIT 1 OFFSET 3)",
            "DELETE FROM entries WHERE idx >= (SELECT MAX(size) FROM checkpoints)",
        ],
        named: "anchor",
    },
];

/// Verifies the log on a copy, then each edit on a copy of its own.
pub async fn show(dir: &Path) -> Result<(), Failure> {
    let log_key = std::fs::read_to_string(dir.join("log-key"))
        .map_err(|error| Failure::unavailable("the log's key", error))?;
    let (anchor, ring) = (dir.join("anchor"), dir.join("key-ring"));
    let unharmed = copy(dir, "unharmed")?;
    let report = audit::verify_copy(&unharmed, &log_key, Some(&anchor), Some(&ring)).await?;
    ensure(report.findings.is_empty(), "the log does not verify")?;
    say(&format!(
        "10. The auditor verifies the log: {} entries and {} stored records are as they were written",
        report.entries, report.records
    ));
    say("11. Somebody with the database in hand edits a copy of it");
    for (number, edit) in EDITS.iter().enumerate() {
        let copied = copy(dir, &format!("edit-{number}"))?;
        change(&copied, edit).await?;
        let report = audit::verify_copy(&copied, &log_key, Some(&anchor), Some(&ring)).await?;
        let found = report.findings.iter().find(|finding| finding.what.contains(edit.named));
        let Some(found) = found else {
            return Err(Failure::refused(format!("not found: {}", edit.what)));
        };
        say(&format!("   {}: found", edit.what));
        say(&format!("      {}", found.what));
    }
    say("All of it held.");
    Ok(())
}

fn copy(dir: &Path, name: &str) -> Result<PathBuf, Failure> {
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

async fn change(copied: &Path, edit: &Edit) -> Result<(), Failure> {
    let database = Database::open(&Location::Sqlite(copied.to_owned())).await?;
    let mut conn = database.writer().await?;
    for statement in edit.statements {
        let changed = conn.execute(statement, vec![]).await?;
        ensure(changed > 0, "an edit changed nothing")?;
    }
    drop(conn);
    database.close().await;
    Ok(())
}
