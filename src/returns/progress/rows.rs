//! Progress returns as they are stored: one row a revision.

use prost::Message;
use uuid::Uuid;

use crate::codes::organisation::OrganisationId;
use crate::exchange::{Cx, Reason, Record, Refusal};
use crate::placements::children::failed;
use crate::proto::v1::ProgressRecord;
use crate::seal::{ChildKey, Column};
use crate::store::Kind::{Blob, Int, Text};
use crate::store::key::{Family, Key};
use crate::store::{Row, StoreError, Table, Value};

/// A revision.
pub struct ProgressRow {
    pub placement: Uuid,
    pub child: Uuid,
    pub sender: OrganisationId,
    /// First and last day, ISO.
    pub period: (String, String),
    pub revision: i64,
    /// Bits of `rules`.
    pub flags: i64,
    /// Microseconds UTC.
    pub received: i64,
    /// `ProgressRecord` with reason and return, sealed under the provider's key of the child.
    pub progress: Vec<u8>,
}

/// The columns in the order in which [`read`] takes them, and the row's place in the log behind them.
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
        columns: &[
            ("idx", Int),
            ("ordinal", Int),
            ("placement", Blob),
            ("child", Blob),
            ("sender", Text),
            ("from_date", Text),
            ("to_date", Text),
            ("revision", Int),
            ("flags", Int),
            ("received", Int),
            ("progress", Blob),
        ],
        replace_by: &[],
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

    fn heads(&self) -> Vec<(Key, i64)> {
        vec![(key(self.placement, &self.period), self.revision)]
    }
}

/// The natural key of a progress return: placement and period.
pub fn key(placement: Uuid, period: &(String, String)) -> Key {
    Key::new(Family::Progress).id(placement).text(&period.0).text(&period.1)
}

/// Reads a row of `select!`, with its place in the log.
pub fn read(row: &Row) -> Result<(ProgressRow, i64), StoreError> {
    let corrupt = StoreError::Corrupt { table: "progress", column: 2 };
    let progress = ProgressRow {
        placement: row.id(0)?,
        child: row.id(1)?,
        sender: OrganisationId::parse(row.text(2)?).map_err(|_| corrupt)?,
        period: (row.text(3)?.to_owned(), row.text(4)?.to_owned()),
        revision: row.int(5)?,
        flags: row.int(6)?,
        received: row.int(7)?,
        progress: row.blob(8)?.to_vec(),
    };
    Ok((progress, row.int(9)?))
}

/// Seals what was sent for its row.
pub fn seal(
    cx: &Cx,
    key: &ChildKey,
    of: (Uuid, &(String, String), i64),
    record: &ProgressRecord,
) -> Result<Vec<u8>, Refusal> {
    let row = row_of(of);
    let fill = |bytes: &mut [u8]| cx.random.fill(bytes);
    key.seal(at(&row), &record.encode_to_vec(), &fill).map_err(failed)
}

/// Opens what was sent: reason of correction and return.
pub fn open(key: &ChildKey, row: &ProgressRow) -> Result<ProgressRecord, Refusal> {
    let sealed_at = row_of((row.placement, &row.period, row.revision));
    let plain = key.open(at(&sealed_at), &row.progress).map_err(failed)?;
    ProgressRecord::decode(&plain[..]).map_err(|_| Reason::Failed.into())
}

fn row_of((placement, period, revision): (Uuid, &(String, String), i64)) -> Vec<u8> {
    [key(placement, period).as_bytes(), &revision.to_be_bytes()].concat()
}

fn at(row: &[u8]) -> Column<'_> {
    Column { table: "progress", row, column: "progress" }
}
