//! Tables that are derived from the entries, and rows that no entry wrote.

use prost::Message;

use super::page::{committed, sql_int};
use super::row_sum::{RowHasher, RowSum};
use crate::audit::report::VerifyReport;
use crate::proto::v1::{AuditEntry, EntryOpenings};
use crate::store::{Row, Snapshot, StoreError, Table};

/// Rows that one query reads.
const ROWS_PER_PAGE: i64 = 10_000;
/// Rows of one table that a query for faults returns.
const MAX_FAULTS: i64 = 100;
const PARTIES: &str = "parties";

/// A row of `parties`.
#[derive(Hash, PartialEq, Eq)]
struct PartyRow {
    organisation: String,
    index: i64,
    ordinal: i64,
    kind: i64,
    sender: String,
    object: Option<Vec<u8>>,
    placement: Option<Vec<u8>>,
}

impl PartyRow {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            organisation: row.get("organisation")?,
            index: row.get("idx")?,
            ordinal: row.get("ordinal")?,
            kind: row.get("kind")?,
            sender: row.get("sender")?,
            object: row.get("object")?,
            placement: row.get("placement")?,
        })
    }
}

/// The rows that the openings of an entry give.
fn rows_of(index: u64, sender: &str, openings: &EntryOpenings) -> Vec<PartyRow> {
    let mut rows = Vec::new();
    for party in &openings.parties {
        let row = |ordinal: i64| PartyRow {
            organisation: party.organisation.clone(),
            index: sql_int(index),
            ordinal,
            kind: 0,
            sender: sender.to_owned(),
            object: None,
            placement: None,
        };
        if party.deliveries.is_empty() {
            rows.push(row(0));
        }
        rows.extend((0..).zip(&party.deliveries).map(|(ordinal, delivery)| PartyRow {
            kind: delivery.kind.into(),
            object: Some(delivery.object_id.to_vec()),
            placement: Some(delivery.placement_id.to_vec()).filter(|placement| !placement.is_empty()),
            ..row(ordinal)
        }));
    }
    rows
}

/// The rows that `parties` must hold, as a sum. One that differs is looked into row by row.
#[derive(Default)]
pub(super) struct ExpectedParties {
    hasher: RowHasher,
    sum: RowSum,
}

impl ExpectedParties {
    /// Adds the rows of an entry.
    pub fn add(&mut self, index: u64, entry: &AuditEntry, openings: &EntryOpenings) {
        for row in rows_of(index, &entry.organisation, openings) {
            self.sum.add(&self.hasher, &row);
        }
    }

    /// Compares the stored table with what the entries give.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn compare(self, snapshot: &mut Snapshot, report: &mut VerifyReport) -> Result<(), StoreError> {
        let mut stored = RowSum::default();
        let mut after = (String::new(), i64::MIN, i64::MIN);
        while let Some(rows) = next_page(snapshot, &mut after).await? {
            for row in &rows {
                stored.add(&self.hasher, &PartyRow::read(row)?);
            }
        }
        if stored == self.sum {
            report.rows += stored.count;
            return Ok(());
        }
        let before = report.findings.len();
        name_changed(snapshot, report).await?;
        name_removed(snapshot, report).await?;
        if report.findings.len() == before {
            report.add_finding(PARTIES, None, "it does not hold what the entries give");
        }
        Ok(())
    }
}

/// Reads the rows after a position, at most a page, and moves the position; `None` after the last.
async fn next_page(
    snapshot: &mut Snapshot,
    after: &mut (String, i64, i64),
) -> Result<Option<Vec<Row>>, StoreError> {
    let sql = "SELECT organisation, idx, ordinal, kind, sender, object, placement FROM parties \
               WHERE organisation > $1 OR (organisation = $1 AND (idx > $2 OR (idx = $2 AND ordinal > $3))) \
               ORDER BY organisation, idx, ordinal LIMIT $4";
    let arguments = vec![after.0.as_str().into(), after.1.into(), after.2.into(), ROWS_PER_PAGE.into()];
    let rows = snapshot.fetch(sql, arguments).await?;
    let Some(last) = rows.last() else { return Ok(None) };
    *after = (last.get("organisation")?, last.get("idx")?, last.get("ordinal")?);
    Ok(Some(rows))
}

/// Names the stored rows that the openings of their entry do not give.
async fn name_changed(snapshot: &mut Snapshot, report: &mut VerifyReport) -> Result<(), StoreError> {
    let mut after = (String::new(), i64::MIN, i64::MIN);
    while let Some(rows) = next_page(snapshot, &mut after).await? {
        for row in &rows {
            let row = PartyRow::read(row)?;
            let expected = expected_of(snapshot, row.index).await?.unwrap_or_default();
            if !expected.contains(&row) {
                let what = format!("row {} of {} was changed or added", row.ordinal, row.organisation);
                report.add_finding(PARTIES, u64::try_from(row.index).ok(), what);
            }
        }
    }
    Ok(())
}

/// Names the rows that the openings give and that are not stored.
async fn name_removed(snapshot: &mut Snapshot, report: &mut VerifyReport) -> Result<(), StoreError> {
    let sql = "SELECT 1 FROM parties WHERE organisation = $1 AND idx = $2 AND ordinal = $3";
    for index in 0.. {
        let Some(expected) = expected_of(snapshot, index).await? else { break };
        for row in expected {
            let arguments = vec![row.organisation.as_str().into(), row.index.into(), row.ordinal.into()];
            if snapshot.fetch_one(sql, arguments).await?.is_none() {
                let what = format!("row {} of {} was removed", row.ordinal, row.organisation);
                report.add_finding(PARTIES, u64::try_from(index).ok(), what);
            }
        }
    }
    Ok(())
}

/// Returns the rows that an entry gives; `None` if there is no such entry.
async fn expected_of(snapshot: &mut Snapshot, index: i64) -> Result<Option<Vec<PartyRow>>, StoreError> {
    let sql = "SELECT caller, openings FROM entries WHERE idx = $1";
    let Some(row) = snapshot.fetch_one(sql, vec![index.into()]).await? else { return Ok(None) };
    let openings = EntryOpenings::decode(row.get_bytes("openings")?).unwrap_or_default();
    Ok(Some(rows_of(index.unsigned_abs(), row.get_str("caller")?, &openings)))
}

/// Finds rows of committed tables that belong to no entry of the log.
pub(super) async fn verify_stray_rows(
    snapshot: &mut Snapshot,
    tables: &[&'static Table],
    size: u64,
    report: &mut VerifyReport,
) -> Result<(), StoreError> {
    for table in committed(tables) {
        let mut stray = snapshot.scan(table, i64::MIN, 0).await?;
        stray.extend(snapshot.scan(table, sql_int(size), i64::MAX).await?);
        for row in stray {
            let index: i64 = row.get("idx")?;
            report.add_finding(table.name, u64::try_from(index).ok(), "no entry wrote a row: it was added");
        }
    }
    let sql = "SELECT idx FROM entries WHERE idx < 0 LIMIT $1";
    for _ in snapshot.fetch(sql, vec![MAX_FAULTS.into()]).await? {
        report.add_finding("entries", None, "an entry has an index below 0: it was added");
    }
    Ok(())
}
