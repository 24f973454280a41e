//! The table `current_versions`, made again from the rows and the counters of the entries, and compared.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use super::page::{TableRow, sql_int};
use crate::audit::disposal::DisposedRow;
use crate::audit::report::VerifyReport;
use crate::store::{Record as _, Row, Snapshot, StoreError};

/// Rows that one query reads.
const ROWS_PER_PAGE: i64 = 10_000;
/// The ordinal of a counter, which has no row.
const COUNTER_ORDINAL: i64 = -1;

/// The current version of a key, as the entries give it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct CurrentVersion {
    version: i64,
    index: i64,
    ordinal: i64,
}

/// The current version of every key. A key is held by a hash that no writer of the database can know.
#[derive(Default)]
pub(super) struct CurrentVersions {
    hasher: RandomState,
    versions: HashMap<u64, CurrentVersion>,
    /// The group (size of its tree) in which each counter was incremented last.
    groups: HashMap<u64, i64>,
}

impl CurrentVersions {
    /// Applies the rows of an entry.
    pub fn apply_rows(&mut self, index: u64, rows: &[TableRow], report: &mut VerifyReport) {
        for row in rows {
            if self.apply_row(sql_int(index), row).is_err() {
                let what = format!("row {} was changed: it cannot be read", row.ordinal);
                report.add_finding(row.table.name, Some(index), what);
            }
        }
    }

    /// Applies a row: the versions that it sets, and for a disposal what is left of the disposed row.
    fn apply_row(
        &mut self,
        index: i64,
        TableRow { table, ordinal, row }: &TableRow,
    ) -> Result<(), StoreError> {
        for (key, version) in (table.versions)(row)? {
            let current = CurrentVersion { version, index, ordinal: *ordinal };
            self.versions.insert(self.hasher.hash_one(&key[..]), current);
        }
        if table.number == DisposedRow::TABLE.number {
            self.apply_disposal(row)?;
        }
        Ok(())
    }

    /// Applies what is left of a disposed row, unless a later row of its key is known.
    fn apply_disposal(&mut self, row: &Row) -> Result<(), StoreError> {
        let (key, version) = (row.get::<Option<Vec<u8>>>("row_key")?, row.get("row_version")?);
        if let Some((key, version)) = key.zip(version) {
            let (index, ordinal) = (row.get("entry_idx")?, row.get("entry_ordinal")?);
            let known = self.versions.entry(self.hasher.hash_one(&key[..]));
            known.or_insert(CurrentVersion { version, index, ordinal });
        }
        Ok(())
    }

    /// Increments the counters that an entry of a group moved: each once a group.
    pub fn apply_counters<'a>(&mut self, index: i64, group: i64, counters: impl Iterator<Item = &'a [u8]>) {
        for key in counters {
            let hash = self.hasher.hash_one(key);
            let is_new = self.groups.insert(hash, group) != Some(group);
            let before = self.versions.get(&hash).map_or(0, |before| before.version);
            let version = before.saturating_add(i64::from(is_new));
            self.versions.insert(hash, CurrentVersion { version, index, ordinal: COUNTER_ORDINAL });
        }
    }

    /// Compares the stored table with what the entries give.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn compare(
        mut self,
        snapshot: &mut Snapshot,
        report: &mut VerifyReport,
    ) -> Result<(), StoreError> {
        let table = "current_versions";
        let sql =
            "SELECT key, version, idx, ordinal FROM current_versions WHERE key > $1 ORDER BY key LIMIT $2";
        let mut after: Vec<u8> = Vec::new();
        loop {
            let rows = snapshot.fetch(sql, vec![after.as_slice().into(), ROWS_PER_PAGE.into()]).await?;
            let Some(last) = rows.last() else { break };
            after = last.get("key")?;
            for row in &rows {
                let stored = CurrentVersion {
                    version: row.get("version")?,
                    index: row.get("idx")?,
                    ordinal: row.get("ordinal")?,
                };
                let index = u64::try_from(stored.index).ok();
                match self.versions.remove(&self.hasher.hash_one(row.get_bytes("key")?)) {
                    Some(derived) if derived == stored => report.rows += 1,
                    Some(derived) => {
                        let what = "a current version is not the newest that the log gives: it was changed";
                        report.add_finding(table, u64::try_from(derived.index).ok(), what);
                    }
                    None => {
                        report.add_finding(table, index, "no entry wrote this current version: it was added");
                    }
                }
            }
        }
        let empty_key =
            snapshot.fetch("SELECT idx FROM current_versions WHERE length(key) = 0", vec![]).await?;
        if !empty_key.is_empty() {
            report.add_finding(table, None, "no entry wrote the version of the empty key: it was added");
        }
        for removed in self.versions.values() {
            report.add_finding(table, u64::try_from(removed.index).ok(), "a current version was removed");
        }
        Ok(())
    }
}
