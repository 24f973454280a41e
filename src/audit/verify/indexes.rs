//! The indexes of the log by caller, placement and practitioner, compared with the entries up to which they go.

use super::page::sql_int;
use super::row_sum::{RowHasher, RowSum};
use crate::audit::report::VerifyReport;
use crate::proto::v1::{AuditEntry, EntryOpenings};
use crate::store::log_indexer::{placements_of, practitioner_of};
use crate::store::{Snapshot, StoreError, Value};

/// Rows that one query reads.
const ROWS_PER_PAGE: i64 = 10_000;
/// Rows that a query for faults returns.
const MAX_FAULTS: i64 = 100;

/// Queries of a page of each index behind a row.
const CALLERS_AFTER: &str = "SELECT organisation AS key, idx FROM callers \
     WHERE organisation > $1 OR (organisation = $1 AND idx > $2) ORDER BY organisation, idx LIMIT $3";
const PLACEMENTS_AFTER: &str = "SELECT placement AS key, idx FROM placement_entries \
     WHERE placement > $1 OR (placement = $1 AND idx > $2) ORDER BY placement, idx LIMIT $3";
const PRACTITIONERS_AFTER: &str = "SELECT practitioner AS key, idx FROM practitioner_entries \
     WHERE practitioner > $1 OR (practitioner = $1 AND idx > $2) ORDER BY practitioner, idx LIMIT $3";

/// What the indexes must hold.
pub(super) struct ExpectedIndexes {
    hasher: RowHasher,
    indexed_up_to: i64,
    callers: RowSum,
    placements: RowSum,
    practitioners: RowSum,
}

impl ExpectedIndexes {
    /// Reads how far the indexes go.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn load(snapshot: &mut Snapshot) -> Result<Self, StoreError> {
        let indexed_up_to = snapshot.indexed_up_to().await?;
        let (callers, placements, practitioners) = Default::default();
        Ok(Self { hasher: RowHasher::default(), indexed_up_to, callers, placements, practitioners })
    }

    /// Adds the rows of an entry.
    pub fn add(&mut self, index: u64, entry: &AuditEntry, openings: &EntryOpenings) {
        let index = sql_int(index);
        if index >= self.indexed_up_to {
            return;
        }
        self.callers.add(&self.hasher, &(entry.organisation.as_bytes(), index));
        for placement in placements_of(openings) {
            self.placements.add(&self.hasher, &(placement, index));
        }
        if let Some(practitioner) = practitioner_of(entry) {
            self.practitioners.add(&self.hasher, &(practitioner, index));
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
        let callers = self.sum_stored(snapshot, CALLERS_AFTER, "".into()).await?;
        if callers == self.callers {
            report.rows += callers.count;
        } else {
            self.name_callers(snapshot, report).await?;
        }
        for (table, kept_by, sql, expected) in [
            ("placement_entries", "placements", PLACEMENTS_AFTER, &self.placements),
            ("practitioner_entries", "practitioners", PRACTITIONERS_AFTER, &self.practitioners),
        ] {
            if self.sum_stored(snapshot, sql, (&[][..]).into()).await? == *expected {
                report.rows += expected.count;
                continue;
            }
            let what = format!(
                "the index does not list the {kept_by} of the entries below {}: rows were changed, added or removed",
                self.indexed_up_to
            );
            report.add_finding(table, None, what);
        }
        Ok(())
    }

    /// Sums the rows of an index behind the smallest key.
    async fn sum_stored(
        &self,
        snapshot: &mut Snapshot,
        sql: &'static str,
        smallest: Value,
    ) -> Result<RowSum, StoreError> {
        let (mut sum, mut key, mut index) = (RowSum::default(), smallest, i64::MIN);
        loop {
            let rows = snapshot.fetch(sql, vec![key, index.into(), ROWS_PER_PAGE.into()]).await?;
            for row in &rows {
                let bytes = match row.value("key") {
                    Some(Value::Text(Some(text))) => text.into_bytes(),
                    Some(Value::Blob(Some(bytes))) => bytes,
                    _ => return Err(StoreError::corrupt(sql, "key")),
                };
                sum.add(&self.hasher, &(bytes, row.get::<i64>("idx")?));
            }
            let Some(last) = rows.last() else { return Ok(sum) };
            key = last.value("key").ok_or_else(|| StoreError::corrupt(sql, "key"))?;
            index = last.get("idx")?;
        }
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
