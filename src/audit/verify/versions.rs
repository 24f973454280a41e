//! The table `current_versions`, made again from the rows and the counters of the entries, and compared.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use super::page::TableRow;
use crate::audit::disposal::DisposedRow;
use crate::audit::report::VerifyReport;
use crate::store::{Record as _, Snapshot, StoreError};

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

/// The current version of every key, about 40 bytes each. A key is held by a hash that no writer of the database can know.
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
        for TableRow { table, ordinal, row } in rows {
            let Ok(versions) = (table.versions)(row) else {
                report.add_finding(
                    table.name,
                    Some(index),
                    format!("row {ordinal} was changed: it cannot be read"),
                );
                continue;
            };
            for (key, version) in versions {
                let index = i64::try_from(index).unwrap_or(i64::MAX);
                self.set(&key, CurrentVersion { version, index, ordinal: *ordinal });
            }
            if table.number == DisposedRow::TABLE.number {
                self.apply_disposal(row);
            }
        }
    }

    /// Applies what is left of a disposed row, unless a later row of its key is known.
    fn apply_disposal(&mut self, row: &crate::store::Row) {
        let Ok(Some(key)) = row.get::<Option<Vec<u8>>>("row_key") else { return };
        let (Ok(Some(version)), Ok(index), Ok(ordinal)) =
            (row.get::<Option<i64>>("row_version"), row.get("entry_idx"), row.get("entry_ordinal"))
        else {
            return;
        };
        let known = self.versions.entry(self.hasher.hash_one(&key[..]));
        known.or_insert(CurrentVersion { version, index, ordinal });
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

    fn set(&mut self, key: &[u8], version: CurrentVersion) {
        self.versions.insert(self.hasher.hash_one(key), version);
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
