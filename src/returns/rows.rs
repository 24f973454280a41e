//! Rows of the tables `returns` and `marks`: one row per return or part of a return, one row per revision of a mark.

use aws_lc_rs::digest::{SHA256, digest};
use prost::Message;
use uuid::Uuid;

use super::rules::{CurrentMark, MarkStatement, SessionSlot};
use crate::calendar::{Date, TimeOfDay};
use crate::codes::attendance::AttendanceCode;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Reason, Record, Refusal};
use crate::placements::rows::Placement;
use crate::proto::v1::StoredMark;
use crate::seal::{ChildKey, ColumnAddress, FillRandom};
use crate::store::version_key::{KeyFamily, VersionKey};
use crate::store::{Column, RecordSubject, Row, Snapshot, StoreError, Table, TableClass, Value};

/// A row of `returns`: a return, or one part of it.
pub struct ReturnRow {
    pub id: Uuid,
    pub provider: OrganisationId,
    /// Whether the provider declared that there was nothing to send.
    pub nil: bool,
    /// Number of marks that were stored.
    pub stored: i64,
    /// Number of the part, from 1; 0 for a return that was sent in one request.
    pub part: i64,
    /// Whether this is the last part of the return.
    pub last: bool,
    /// Number of marks of the return up to and including this part.
    pub marks: i64,
}

impl Record for ReturnRow {
    const TABLE: &'static Table = &Table {
        name: "returns",
        class: TableClass::Committed,
        subject: RecordSubject::NoChild,
        columns: &[
            Column::new::<i64>("idx"),
            Column::new::<i64>("ordinal"),
            Column::new::<Vec<u8>>("return_id"),
            Column::new::<String>("provider"),
            Column::new::<i64>("nil"),
            Column::new::<i64>("stored"),
            Column::new::<i64>("part"),
            Column::new::<i64>("last"),
            Column::new::<i64>("marks"),
        ],
        replace_key: &[],
    };

    fn values(&self) -> Vec<Value> {
        vec![
            self.id.into(),
            self.provider.as_str().into(),
            self.nil.into(),
            self.stored.into(),
            self.part.into(),
            self.last.into(),
            self.marks.into(),
        ]
    }

    fn current_versions(&self) -> Vec<(VersionKey, i64)> {
        let key = parts_key(&self.provider, self.id);
        (self.part > 0).then(|| (key, self.part + 1)).into_iter().collect()
    }
}

/// A row of `marks`: one revision of a mark.
pub struct MarkRow {
    pub placement: Uuid,
    pub date: Date,
    pub slot: SessionSlot,
    pub revision: i64,
    pub return_id: Uuid,
    pub statement: MarkStatement,
    pub end: Option<TimeOfDay>,
    pub minutes_late: Option<i32>,
    pub minutes_planned: Option<i32>,
    pub minutes_attended: Option<i32>,
    /// Bits: [`LATE`], [`AGREEMENT_LAPSED`], [`RESTORED`], [`AFTER_RESTRICTED`], [`REASON_RESTRICTED`].
    pub flags: i64,
    /// The code that was suggested for the home school when the mark was received. It is stored so that the content
    /// of a delivery never changes.
    pub suggested: Option<AttendanceCode>,
    /// Microseconds since the epoch.
    pub received: i64,
    pub child: Uuid,
    pub sender: OrganisationId,
    /// The texts of the mark, as [`seal_note`] seals them.
    pub note: Option<Vec<u8>>,
    /// Entry index and ordinal of the previous revision.
    pub prior: Option<(i64, i64)>,
}

/// Number of bytes of the provider's hash in the key of a mark.
const PROVIDER_HASH_BYTES: usize = 8;

/// Flag: the mark was received more than [`LATE_AFTER`](super::rules::LATE_AFTER_SCHOOL_DAYS) school days after its day.
pub const LATE: i64 = 1;
/// Flag: no agreement covered attendance when the mark was received.
pub const AGREEMENT_LAPSED: i64 = 2;
/// Flag: the gateway wrote this revision because a return was withdrawn.
pub const RESTORED: i64 = 4;
/// Flag: this revision or an earlier one of the session has a restricted code
/// ([`is_restricted`](super::rules::is_restricted)). Only sender, commissioner and home school get its texts. The
/// flag is set when the revision is written, so that the content of a delivery depends on no later revision.
pub const AFTER_RESTRICTED: i64 = 8;
/// Flag: one reason was given for several sessions of the child, and [`AFTER_RESTRICTED`] is set for one of them.
/// Only sender, commissioner and home school get the reason. Later revisions do not inherit the flag.
pub const REASON_RESTRICTED: i64 = 16;

/// A SELECT of marks with the columns that [`read_mark`] expects.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT m.placement, m.date, m.slot, m.revision, m.return_id, m.code, m.seen, m.end_minute, ",
            "m.minutes_late, m.minutes_planned, m.minutes_attended, m.flags, m.received, m.child, m.sender, ",
            "m.note, m.prior_idx, m.prior_ordinal, m.idx, m.ordinal, m.suggested FROM marks m ",
            $rest
        )
    };
}
pub(super) use select;

impl Record for MarkRow {
    const TABLE: &'static Table = &Table {
        name: "marks",
        class: TableClass::Committed,
        subject: RecordSubject::NoChild,
        columns: &[
            Column::new::<i64>("idx"),
            Column::new::<i64>("ordinal"),
            Column::new::<Vec<u8>>("placement"),
            Column::new::<String>("date"),
            Column::new::<i64>("slot"),
            Column::new::<i64>("revision"),
            Column::new::<Vec<u8>>("return_id"),
            Column::new::<String>("code"),
            Column::new::<i64>("seen"),
            Column::new::<i64>("end_minute"),
            Column::new::<i64>("minutes_late"),
            Column::new::<i64>("minutes_planned"),
            Column::new::<i64>("minutes_attended"),
            Column::new::<i64>("flags"),
            Column::new::<String>("suggested"),
            Column::new::<i64>("received"),
            Column::new::<Vec<u8>>("child"),
            Column::new::<String>("sender"),
            Column::new::<Vec<u8>>("note"),
            Column::new::<i64>("prior_idx"),
            Column::new::<i64>("prior_ordinal"),
        ],
        replace_key: &[],
    };

    fn values(&self) -> Vec<Value> {
        let (code, seen) = match &self.statement {
            MarkStatement::Code(code) => (Some(code.as_str()), None),
            MarkStatement::Seen(seen) => (None, Some(*seen)),
            MarkStatement::Withdrawn => (None, None),
        };
        vec![
            self.placement.into(),
            self.date.to_string().into(),
            i64::from(self.slot.number()).into(),
            self.revision.into(),
            self.return_id.into(),
            code.into(),
            seen.into(),
            self.end.map(|end| i64::from(end.minutes())).into(),
            self.minutes_late.into(),
            self.minutes_planned.into(),
            self.minutes_attended.into(),
            self.flags.into(),
            self.suggested.map(AttendanceCode::as_str).into(),
            self.received.into(),
            self.child.into(),
            self.sender.as_str().into(),
            self.note.clone().into(),
            self.prior.map(|(idx, _)| idx).into(),
            self.prior.map(|(_, ordinal)| ordinal).into(),
        ]
    }

    fn current_versions(&self) -> Vec<(VersionKey, i64)> {
        vec![(self.key(), self.revision)]
    }
}

impl MarkRow {
    /// Returns the natural key of the mark.
    pub fn key(&self) -> VersionKey {
        mark_key(self.date, &self.sender, self.placement, self.slot)
    }
}

/// Returns the key of a return or of one of its parts. The key has a version once the return or part was withdrawn.
pub fn return_key(return_id: Uuid, part: i64) -> VersionKey {
    let key = VersionKey::new(KeyFamily::Return).id(return_id);
    if part == 0 { key } else { key.bytes(&part.to_be_bytes()) }
}

/// Returns the key of a provider's return in parts. Its version is the number of the next part, until the last part
/// was received.
pub fn parts_key(provider: &OrganisationId, return_id: Uuid) -> VersionKey {
    VersionKey::new(KeyFamily::Parts).text(provider.as_str()).id(return_id)
}

/// Returns the natural key of a mark. The day comes first and then the provider, so that the marks of a provider's
/// day are adjacent, on few pages of the database.
pub fn mark_key(date: Date, provider: &OrganisationId, placement: Uuid, slot: SessionSlot) -> VersionKey {
    day_key(date, provider, placement).bytes(&slot.number().to_be_bytes())
}

/// Returns the prefix of the keys of a placement's marks of a day. It names the provider by a truncated hash. A
/// collision only puts the keys of two providers side by side, because a placement belongs to one provider.
fn day_key(date: Date, provider: &OrganisationId, placement: Uuid) -> VersionKey {
    let provider = digest(&SHA256, provider.as_str().as_bytes());
    let provider = provider.as_ref().get(..PROVIDER_HASH_BYTES).unwrap_or_default();
    VersionKey::new(KeyFamily::Mark).bytes(&date_bytes(date)).bytes(provider).id(placement)
}

/// Encodes a date as days since 1900-01-01 in big-endian order, so that keys sort by day.
fn date_bytes(date: Date) -> [u8; 4] {
    let days = Date::new(1900, 1, 1).map_or(0, |first| first.days_until(date));
    u32::try_from(days).unwrap_or(0).to_be_bytes()
}

/// Lists the newest revisions of a placement's marks of a day, in the order of their sessions.
pub async fn list_current_of_day(
    snapshot: &mut Snapshot,
    placement: &Placement,
    day: Date,
) -> Result<Vec<MarkRow>, StoreError> {
    let key = day_key(day, &placement.provider, placement.id);
    let (low, high) = (key.clone().bytes(&[0, 0]), key.bytes(&[255, 255]));
    let sql = select!(
        "JOIN current_versions h ON m.idx = h.idx AND m.ordinal = h.ordinal WHERE h.key BETWEEN $1 AND $2 ORDER BY h.key"
    );
    let rows = snapshot.fetch(sql, vec![low.as_bytes().into(), high.as_bytes().into()]).await?;
    rows.iter().map(|row| read_mark(row).map(|(mark, ..)| mark)).collect()
}

/// Lists the placements, without duplicates, of the marks and register statements that the entry at an index wrote.
///
/// # Errors
/// Any [`StoreError`].
pub async fn placements_at(snapshot: &mut Snapshot, index: i64) -> Result<Vec<Uuid>, StoreError> {
    let sql =
        "SELECT placement FROM marks WHERE idx = $1 UNION SELECT placement FROM statements WHERE idx = $1";
    snapshot.fetch(sql, vec![index.into()]).await?.iter().map(|row| row.uuid(0)).collect()
}

/// Decodes a row of `select!`. Returns the mark, its entry index and its ordinal.
pub fn read_mark(row: &Row) -> Result<(MarkRow, i64, i64), StoreError> {
    let corrupt = |column| StoreError::corrupt("marks", column);
    let number = |column: usize| {
        row.opt_int(column)?.map(|value| i32::try_from(value).map_err(|_| corrupt(column))).transpose()
    };
    let minute = |value: i64| u16::try_from(value).ok().and_then(TimeOfDay::from_minutes);
    let statement = match (row.opt_text(5)?, number(6)?) {
        (Some(code), None) => MarkStatement::Code(code.to_owned()),
        (None, Some(seen)) => MarkStatement::Seen(seen),
        (None, None) => MarkStatement::Withdrawn,
        _ => return Err(corrupt(5)),
    };
    let mark = MarkRow {
        placement: row.uuid(0)?,
        date: Date::parse(row.text(1)?).map_err(|_| corrupt(1))?,
        slot: SessionSlot::from_number(row.int(2)?).ok_or(corrupt(2))?,
        revision: row.int(3)?,
        return_id: row.uuid(4)?,
        statement,
        end: row.opt_int(7)?.map(|end| minute(end).ok_or(corrupt(7))).transpose()?,
        minutes_late: number(8)?,
        minutes_planned: number(9)?,
        minutes_attended: number(10)?,
        flags: row.int(11)?,
        suggested: row.opt_text(20)?.map(|code| code_by_text(code).ok_or(corrupt(20))).transpose()?,
        received: row.int(12)?,
        child: row.uuid(13)?,
        sender: OrganisationId::parse(row.text(14)?).map_err(|_| corrupt(14))?,
        note: row.opt_blob(15)?.map(<[u8]>::to_vec),
        prior: row.opt_int(16)?.zip(row.opt_int(17)?),
    };
    Ok((mark, row.int(18)?, row.int(19)?))
}

/// Returns the attendance code with this text.
fn code_by_text(code: &str) -> Option<AttendanceCode> {
    AttendanceCode::ALL.into_iter().find(|known| known.as_str() == code)
}

impl MarkRow {
    /// Returns whether this revision or an earlier one of the session has a restricted code.
    pub fn is_after_restricted(&self) -> bool {
        self.flags & AFTER_RESTRICTED != 0
    }

    /// Opens (decrypts) the texts: comment, correction reason and place of education.
    pub fn note(&self, key: &ChildKey) -> Result<StoredMark, Refusal> {
        let Some(sealed) = &self.note else {
            return Ok(StoredMark::default());
        };
        let row = note_row_id(self.placement, self.date, self.slot, self.revision);
        let plain = key.open(note_column(&row), sealed).map_err(|_| Reason::Failed)?;
        StoredMark::decode(&plain[..]).map_err(|_| Reason::Failed.into())
    }

    /// Converts the row, which was stored at this entry index and ordinal, to the current mark of its key.
    pub fn into_current_mark(self, key: &ChildKey, idx: i64, ordinal: i64) -> Result<CurrentMark, Refusal> {
        let note = self.note(key)?;
        Ok(CurrentMark {
            after_restricted: self.is_after_restricted(),
            revision: self.revision,
            idx,
            ordinal,
            statement: self.statement,
            end: self.end,
            minutes_late: self.minutes_late,
            minutes_planned: self.minutes_planned,
            minutes_attended: self.minutes_attended,
            comment: note.comment,
            site: note.site,
        })
    }
}

/// Seals comment, correction reason and place of education; returns None if all of them are empty.
pub fn seal_note(
    key: &ChildKey,
    revision: (Uuid, Date, SessionSlot, i64),
    note: &StoredMark,
    fill: FillRandom<'_>,
) -> Result<Option<Vec<u8>>, Refusal> {
    // An empty note encodes to zero bytes. Comparing with the default, string by string, costs more per mark than the
    // hashes do: masked loads are slow at the dangling pointer of an empty string.
    let note = note.encode_to_vec();
    if note.is_empty() {
        return Ok(None);
    }
    let row = note_row_id(revision.0, revision.1, revision.2, revision.3);
    let sealed = key.seal(note_column(&row), &note, fill).map_err(|_| Reason::Failed)?;
    Ok(Some(sealed))
}

fn note_row_id(placement: Uuid, date: Date, slot: SessionSlot, revision: i64) -> Vec<u8> {
    let (date, slot, revision) = (date_bytes(date), slot.number().to_be_bytes(), revision.to_be_bytes());
    [&date[..], placement.as_bytes(), &slot, &revision].concat()
}

fn note_column(row: &[u8]) -> ColumnAddress<'_> {
    ColumnAddress { table: "marks", row, column: "note" }
}
