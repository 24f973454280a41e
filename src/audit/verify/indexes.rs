//! The indexes of the log by caller and by placement, compared with the entries up to which they go.

use std::hash::{BuildHasher, RandomState};

use super::page::sql_int;
use crate::audit::report::VerifyReport;
use crate::proto::v1::{AuditEntry, EntryOpenings};
use crate::store::log_indexer::placements_of;
use crate::store::{Row, Snapshot, StoreError};

/// Rows that one query reads.
const ROWS_PER_PAGE: i64 = 10_000;
/// Rows that a query for faults returns.
const MAX_FAULTS: i64 = 100;

/// The number and the sum of the keyed hashes of some rows. No writer of the database knows the key.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct RowSum {
    count: u64,
    sum: u64,
}

/// What the indexes must hold.
pub(super) struct ExpectedIndexes {
    hasher: RandomState,
    indexed_up_to: i64,
    callers: RowSum,
    placements: RowSum,
}

impl ExpectedIndexes {
    /// Reads how far the indexes go.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn load(snapshot: &mut Snapshot) -> Result<Self, StoreError> {
        let indexed_up_to = snapshot.indexed_up_to().await?;
        let (callers, placements) = Default::default();
        Ok(Self { hasher: RandomState::default(), indexed_up_to, callers, placements })
    }

    /// Adds the rows of an entry.
    pub fn add(&mut self, index: u64, entry: &AuditEntry, openings: &EntryOpenings) {
        let index = sql_int(index);
        if index >= self.indexed_up_to {
            return;
        }
        let hasher = &self.hasher;
        let add = |sum: &mut RowSum, key: &[u8]| {
            sum.count += 1;
            sum.sum = sum.sum.wrapping_add(hasher.hash_one((key, index)));
        };
        add(&mut self.callers, entry.organisation.as_bytes());
        for placement in placements_of(openings) {
            add(&mut self.placements, &placement);
        }
    }

    /// Compares the stored indexes with what the entries give.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn compare(
        self,
        snapshot: &mut Snapshot,
        size: u64,
        report: &mut VerifyReport,
    ) -> Result<(), StoreError> {
        let progress =
            snapshot.fetch("SELECT id, size FROM index_progress ORDER BY id LIMIT 2", vec![]).await?;
        let is_valid = match progress.as_slice() {
            [] => self.callers.count == 0,
            [row] => row.get::<i64>("id")? == 0 && (0..=sql_int(size)).contains(&row.get::<i64>("size")?),
            _ => false,
        };
        if !is_valid {
            report.add_finding("index_progress", None, "it was changed: the indexes cannot go that far");
        }
        let by_caller = "SELECT organisation AS key, idx FROM callers \
                         WHERE organisation > $1 OR (organisation = $1 AND idx > $2) ORDER BY organisation, idx LIMIT $3";
        let callers = self.sum_callers(snapshot, by_caller).await?;
        if callers == self.callers {
            report.rows += callers.count;
        } else {
            self.name_callers(snapshot, report).await?;
        }
        let placements = self.sum_placements(snapshot).await?;
        if placements == self.placements {
            report.rows += placements.count;
        } else {
            let what = format!(
                "the index does not list the placements of the entries below {}: rows were changed, added or removed",
                self.indexed_up_to
            );
            report.add_finding("placement_entries", None, what);
        }
        Ok(())
    }

    async fn sum_callers(&self, snapshot: &mut Snapshot, sql: &'static str) -> Result<RowSum, StoreError> {
        let (mut sum, mut after) = (RowSum::default(), (String::new(), i64::MIN));
        loop {
            let arguments = vec![after.0.as_str().into(), after.1.into(), ROWS_PER_PAGE.into()];
            let rows = snapshot.fetch(sql, arguments).await?;
            let Some(last) = rows.last() else { return Ok(sum) };
            after = (last.get("key")?, last.get("idx")?);
            for row in &rows {
                self.add_stored(&mut sum, row.get_str("key")?.as_bytes(), row)?;
            }
        }
    }

    async fn sum_placements(&self, snapshot: &mut Snapshot) -> Result<RowSum, StoreError> {
        let sql = "SELECT placement AS key, idx FROM placement_entries \
                   WHERE placement > $1 OR (placement = $1 AND idx > $2) ORDER BY placement, idx LIMIT $3";
        let (mut sum, mut after) = (RowSum::default(), (Vec::new(), i64::MIN));
        loop {
            let arguments = vec![after.0.as_slice().into(), after.1.into(), ROWS_PER_PAGE.into()];
            let rows = snapshot.fetch(sql, arguments).await?;
            let Some(last) = rows.last() else { return Ok(sum) };
            after = (last.get("key")?, last.get("idx")?);
            for row in &rows {
                self.add_stored(&mut sum, row.get_bytes("key")?, row)?;
            }
        }
    }

    fn add_stored(&self, sum: &mut RowSum, key: &[u8], row: &Row) -> Result<(), StoreError> {
        sum.count += 1;
        sum.sum = sum.sum.wrapping_add(self.hasher.hash_one((key, row.get::<i64>("idx")?)));
        Ok(())
    }

    /// Names the entries that the index by caller lacks, and those that it should not list.
    async fn name_callers(
        &self,
        snapshot: &mut Snapshot,
        report: &mut VerifyReport,
    ) -> Result<(), StoreError> {
        let missing = "SELECT idx FROM entries WHERE idx < $1 AND NOT EXISTS (SELECT 1 FROM callers \
                       WHERE callers.organisation = entries.caller AND callers.idx = entries.idx) \
                       ORDER BY idx LIMIT $2";
        let added = "SELECT idx FROM callers WHERE idx >= $1 OR NOT EXISTS (SELECT 1 FROM entries \
                     WHERE entries.idx = callers.idx AND entries.caller = callers.organisation) \
                     ORDER BY idx LIMIT $2";
        let before = report.findings.len();
        for (sql, what) in [
            (missing, "the entry was removed from the list of its caller's exchanges"),
            (added, "a row was added: the entry has another caller, or is not in the index yet"),
        ] {
            for row in snapshot.fetch(sql, vec![self.indexed_up_to.into(), MAX_FAULTS.into()]).await? {
                report.add_finding("callers", u64::try_from(row.get::<i64>("idx")?).ok(), what);
            }
        }
        if report.findings.len() == before {
            report.add_finding("callers", None, "the index does not list what the entries give");
        }
        Ok(())
    }
}
