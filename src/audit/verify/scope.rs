//! What a verification checked, and what it did not.

use std::collections::BTreeMap;

use super::keys::Disposals;
use super::options::{OpenedKeys, VerifyOptions};
use crate::audit::report::VerifyReport;
use crate::store::canonical::ENTRY_FORMAT;
use crate::store::{Snapshot, StoreError, Table, TableClass};

/// States what was checked, and what was not.
pub(super) fn state(
    options: &VerifyOptions,
    keys: &OpenedKeys,
    tables: &[&'static Table],
    disposals: &Disposals,
    report: &mut VerifyReport,
) {
    let operational: Vec<_> = tables
        .iter()
        .filter(|table| table.class == TableClass::Operational)
        .map(|table| table.name)
        .collect();
    report.checked.push(format!(
        "every entry against the tree and the {} signed checkpoints, and that the tables agree with one another",
        report.checkpoints
    ));
    let has_anchor =
        options.anchor.is_some() && !report.findings.iter().any(|finding| finding.table == "anchor");
    let mut with = |given: bool, what: &str, file: &str| {
        if given {
            report.checked.push(what.to_owned());
        } else {
            report.unchecked.push(format!("{what}: for want of {file}"));
        }
    };
    with(has_anchor, "that the newest entries were not cut off", "the anchor (--anchor)");
    with(
        keys.ring.is_some() && keys.commitment.is_some(),
        "records about children, and that each wrapped key opens to the key that was made",
        "the key ring or the commitment key (--key-ring, --commitment-key)",
    );
    with(
        keys.commitment.is_some(),
        "all other rows, stored replies, what is kept beside the entries, and every table that is derived from it",
        "the commitment key (--commitment-key)",
    );
    report.checked.push(format!(
        "not part of the log: {}; no reply depends on them, and an edit can keep a node from starting",
        operational.join(", ")
    ));
    let (rows, placements) = disposals.counts();
    if rows > 0 {
        report.checked.push(format!(
            "{rows} rows were disposed of, by their leaf hashes; the leaves of {placements} disposed placements cannot be \
             opened any more, and none of the rows that they were over is left"
        ));
    }
}

/// States which columns of the copy's schema were not read: those that this release does not declare, and those of
/// derived tables that it does not derive, because a newer format added them.
///
/// # Errors
/// See [`StoreError`].
pub(super) async fn state_unknown_columns(
    snapshot: &mut Snapshot,
    tables: &[&'static Table],
    report: &mut VerifyReport,
) -> Result<(), StoreError> {
    let mut unread: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (table, column) in snapshot.stored_columns().await? {
        let declared = tables.iter().find(|declared| declared.name == table);
        if declared.is_none_or(|declared| !is_read(declared, &column)) {
            unread.entry(table).or_default().push(column);
        }
    }
    for (table, columns) in unread {
        let columns = columns.join(", ");
        let line = if tables.iter().any(|declared| declared.name == table) {
            format!("columns of {table} that this release does not know: {columns}")
        } else {
            format!("the table {table}, which this release does not know")
        };
        report.unchecked.push(line);
    }
    Ok(())
}

/// Returns whether the verification reads a column, or need not because the table is no part of the log.
fn is_read(table: &Table, column: &str) -> bool {
    let is_derived = table.class == TableClass::Derived;
    table.class == TableClass::Operational
        || table
            .columns
            .iter()
            .any(|known| known.name == column && !(is_derived && known.since > ENTRY_FORMAT))
}

/// Compares the indexes, triggers and views of the copy, through which answers are read, with those of this release.
///
/// # Errors
/// See [`StoreError`].
pub(super) async fn verify_schema(
    snapshot: &mut Snapshot,
    report: &mut VerifyReport,
) -> Result<(), StoreError> {
    let differences = snapshot.schema_differences().await?;
    for fault in differences.faults {
        report.add_finding("schema", None, fault);
    }
    for index in differences.unknown_indexes {
        report.unchecked.push(format!("the index {index}, which this release does not know"));
    }
    Ok(())
}
