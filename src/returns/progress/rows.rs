//! Rows of the table `progress`: one row per revision of a progress return.

use prost::Message;
use uuid::Uuid;

use crate::codes::organisation::OrganisationId;
use crate::exchange::{Reason, Record, Refusal, RequestContext};
use crate::placements::children::seal_refusal;
use crate::proto::v1::ProgressRecord;
use crate::seal::{ChildKey, ColumnAddress};
use crate::store::version_key::{KeyFamily, VersionKey};
use crate::store::{Column, RecordSubject, Row, StoreError, Table, TableClass, Value};

/// A row of `progress`: one revision of a progress return.
pub struct ProgressRow {
    pub placement: Uuid,
    pub child: Uuid,
    pub sender: OrganisationId,
    /// First and last day, as `YYYY-MM-DD`.
    pub period: (String, String),
    pub revision: i64,
    /// Bits: the constants of `rules`.
    pub flags: i64,
    /// Microseconds UTC.
    pub received: i64,
    /// A `ProgressRecord` with the correction reason and the return, sealed under the provider's key of the child.
    pub progress: Vec<u8>,
}

/// A SELECT of progress returns with the columns that [`read_progress`] expects; the entry index is the last.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT p.placement, p.child, p.sender, p.from_date, p.to_date, p.revision, p.flags, p.received, ",
            "p.progress, p.idx FROM progress p ",
            $rest
        )
    };
}
pub(super) use select;

impl Record for ProgressRow {
    const TABLE: &'static Table = &Table {
        name: "progress",
        class: TableClass::Committed,
        subject: RecordSubject::NoChild,
        columns: &[
            Column::new::<i64>("idx"),
            Column::new::<i64>("ordinal"),
            Column::new::<Vec<u8>>("placement"),
            Column::new::<Vec<u8>>("child"),
            Column::new::<String>("sender"),
            Column::new::<String>("from_date"),
            Column::new::<String>("to_date"),
            Column::new::<i64>("revision"),
            Column::new::<i64>("flags"),
            Column::new::<i64>("received"),
            Column::new::<Vec<u8>>("progress"),
        ],
        replace_key: &[],
    };

    fn values(&self) -> Vec<Value> {
        vec![
            self.placement.into(),
            self.child.into(),
            self.sender.as_str().into(),
            self.period.0.as_str().into(),
            self.period.1.as_str().into(),
            self.revision.into(),
            self.flags.into(),
            self.received.into(),
            self.progress.clone().into(),
        ]
    }

    fn current_versions(&self) -> Vec<(VersionKey, i64)> {
        vec![(progress_key(self.placement, &self.period), self.revision)]
    }
}

/// Returns the natural key of a progress return: placement and period.
pub fn progress_key(placement: Uuid, period: &(String, String)) -> VersionKey {
    VersionKey::new(KeyFamily::Progress).id(placement).text(&period.0).text(&period.1)
}

/// Decodes a row of `select!`. Returns the progress return and its entry index.
pub fn read_progress(row: &Row) -> Result<(ProgressRow, i64), StoreError> {
    let corrupt = StoreError::corrupt("progress", 2);
    let progress = ProgressRow {
        placement: row.uuid(0)?,
        child: row.uuid(1)?,
        sender: OrganisationId::parse(row.text(2)?).map_err(|_| corrupt)?,
        period: (row.text(3)?.to_owned(), row.text(4)?.to_owned()),
        revision: row.int(5)?,
        flags: row.int(6)?,
        received: row.int(7)?,
        progress: row.blob(8)?.to_vec(),
    };
    Ok((progress, row.int(9)?))
}

/// Seals a record for the row of this placement, period and revision.
pub fn seal_progress(
    cx: &RequestContext,
    key: &ChildKey,
    revision: (Uuid, &(String, String), i64),
    record: &ProgressRecord,
) -> Result<Vec<u8>, Refusal> {
    let row = row_id(revision);
    let fill = |bytes: &mut [u8]| cx.random.fill(bytes);
    key.seal(progress_column(&row), &record.encode_to_vec(), &fill).map_err(seal_refusal)
}

/// Opens (decrypts) a row's record: correction reason and return.
pub fn open_progress(key: &ChildKey, row: &ProgressRow) -> Result<ProgressRecord, Refusal> {
    let sealed_at = row_id((row.placement, &row.period, row.revision));
    let plain = key.open(progress_column(&sealed_at), &row.progress).map_err(seal_refusal)?;
    ProgressRecord::decode(&plain[..]).map_err(|_| Reason::Failed.into())
}

fn row_id((placement, period, revision): (Uuid, &(String, String), i64)) -> Vec<u8> {
    [progress_key(placement, period).as_bytes(), &revision.to_be_bytes()].concat()
}

fn progress_column(row: &[u8]) -> ColumnAddress<'_> {
    ColumnAddress { table: "progress", row, column: "progress" }
}
