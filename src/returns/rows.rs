//! Returns and marks as they are stored: one row a return, one row a revision of a mark.

use aws_lc_rs::digest::{SHA256, digest};
use prost::Message;
use uuid::Uuid;

use super::rules::{Slot, Standing, Statement};
use crate::calendar::{Date, TimeOfDay};
use crate::codes::attendance::AttendanceCode;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Reason, Record, Refusal};
use crate::placements::rows::Placement;
use crate::proto::v1::StoredMark;
use crate::seal::{ChildKey, Column, Fill};
use crate::store::Kind::{Blob, Int, Text};
use crate::store::key::{Family, Key};
use crate::store::{Row, Snapshot, StoreError, Table, Value};

/// A return, or a part of one.
pub struct ReturnRow {
    pub id: Uuid,
    pub provider: OrganisationId,
    pub nil: bool,
    pub stored: i64,
    /// From 1; 0 for a return that was sent at once.
    pub part: i64,
    /// Whether no further part belongs to the return.
    pub last: bool,
    /// Marks of the return up to here, those of this part with them.
    pub marks: i64,
}

impl Record for ReturnRow {
    const TABLE: &'static Table = &Table {
        name: "returns",
        columns: &[
            ("idx", Int),
            ("ordinal", Int),
            ("return_id", Blob),
            ("provider", Text),
            ("nil", Int),
            ("stored", Int),
            ("part", Int),
            ("last", Int),
            ("marks", Int),
        ],
        replace_by: &[],
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

    fn heads(&self) -> Vec<(Key, i64)> {
        let key = parts_key(&self.provider, self.id);
        (self.part > 0).then(|| (key, self.part + 1)).into_iter().collect()
    }
}

/// A revision of a mark.
pub struct MarkRow {
    pub placement: Uuid,
    pub date: Date,
    pub slot: Slot,
    pub revision: i64,
    pub return_id: Uuid,
    pub statement: Statement,
    pub end: Option<TimeOfDay>,
    pub minutes_late: Option<i32>,
    pub minutes_planned: Option<i32>,
    pub minutes_attended: Option<i32>,
    pub flags: i64,
    /// The code that was suggested for the home school when the mark was received. Kept, so that what is delivered
    /// never moves.
    pub suggested: Option<AttendanceCode>,
    pub received: i64,
    pub child: Uuid,
    pub sender: OrganisationId,
    pub note: Option<Vec<u8>>,
    pub prior: Option<(i64, i64)>,
}

/// Bytes of a provider's hash in the key of a mark.
const PROVIDER: usize = 8;

/// Bits of a mark's flags.
pub const LATE: i64 = 1;
/// No agreement covered attendance when the mark was received.
pub const AGREEMENT_LAPSED: i64 = 2;
/// The revision stands because a return was withdrawn; nobody sent it.
pub const RESTORED: i64 = 4;
/// This revision or an earlier one of the session has a code of [`is_restricted`](super::rules::is_restricted):
/// only the closest readers get the texts of this revision. Set when the revision is written, so that what is
/// delivered rests on no later revision.
pub const AFTER_RESTRICTED: i64 = 8;
/// The reason of this revision was given for several sessions of the child at once, and for one of them
/// [`AFTER_RESTRICTED`] is set: only the closest readers get the reason. It does not pass to later revisions.
pub const REASON_RESTRICTED: i64 = 16;

/// A query of marks, in the columns that [`read`] takes.
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
        columns: &[
            ("idx", Int),
            ("ordinal", Int),
            ("placement", Blob),
            ("date", Text),
            ("slot", Int),
            ("revision", Int),
            ("return_id", Blob),
            ("code", Text),
            ("seen", Int),
            ("end_minute", Int),
            ("minutes_late", Int),
            ("minutes_planned", Int),
            ("minutes_attended", Int),
            ("flags", Int),
            ("suggested", Text),
            ("received", Int),
            ("child", Blob),
            ("sender", Text),
            ("note", Blob),
            ("prior_idx", Int),
            ("prior_ordinal", Int),
        ],
        replace_by: &[],
    };

    fn values(&self) -> Vec<Value> {
        let (code, seen) = match &self.statement {
            Statement::Code(code) => (Some(code.as_str()), None),
            Statement::Seen(seen) => (None, Some(*seen)),
            Statement::Withdrawn => (None, None),
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

    fn heads(&self) -> Vec<(Key, i64)> {
        vec![(self.key(), self.revision)]
    }
}

impl MarkRow {
    /// Its natural key.
    pub fn key(&self) -> Key {
        key(self.date, &self.sender, self.placement, self.slot)
    }
}

/// The key of a return, or of one of its parts; it exists once that was withdrawn.
pub fn return_key(return_id: Uuid, part: i64) -> Key {
    let key = Key::new(Family::Return).id(return_id);
    if part == 0 { key } else { key.bytes(&part.to_be_bytes()) }
}

/// The key of a provider's return in parts; its version is the number of the part that comes next, until the last
/// is in.
pub fn parts_key(provider: &OrganisationId, return_id: Uuid) -> Key {
    Key::new(Family::Parts).text(provider.as_str()).id(return_id)
}

/// The natural key of a mark. The day comes first and then its provider, so that what a provider sends for a day
/// lies side by side, on few pages of the database.
pub fn key(date: Date, provider: &OrganisationId, placement: Uuid, slot: Slot) -> Key {
    day_key(date, provider, placement).bytes(&slot.number().to_be_bytes())
}

/// The beginning of the keys of a placement's marks of a day. The beginning of a hash stands for the provider: two
/// that share it only lie closer together, for a placement is of one.
fn day_key(date: Date, provider: &OrganisationId, placement: Uuid) -> Key {
    let provider = digest(&SHA256, provider.as_str().as_bytes());
    let provider = provider.as_ref().get(..PROVIDER).unwrap_or_default();
    Key::new(Family::Mark).bytes(&days(date)).bytes(provider).id(placement)
}

/// A date in the order of days.
fn days(date: Date) -> [u8; 4] {
    let days = Date::new(1900, 1, 1).map_or(0, |first| first.days_until(date));
    u32::try_from(days).unwrap_or(0).to_be_bytes()
}

/// The newest revisions of a placement's marks of a day, in the order of its sessions.
pub async fn of_day(
    snapshot: &mut Snapshot,
    placement: &Placement,
    day: Date,
) -> Result<Vec<MarkRow>, StoreError> {
    let key = day_key(day, &placement.provider, placement.id);
    let (low, high) = (key.clone().bytes(&[0, 0]), key.bytes(&[255, 255]));
    let sql = select!(
        "JOIN heads h ON m.idx = h.idx AND m.ordinal = h.ordinal WHERE h.key BETWEEN $1 AND $2 ORDER BY h.key"
    );
    let rows = snapshot.fetch(sql, vec![low.as_bytes().into(), high.as_bytes().into()]).await?;
    rows.iter().map(|row| read(row).map(|(mark, ..)| mark)).collect()
}

/// The placements of what a return, its withdrawal or a register's statements wrote at an index, each once.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn placements_at(snapshot: &mut Snapshot, index: i64) -> Result<Vec<Uuid>, StoreError> {
    let sql =
        "SELECT placement FROM marks WHERE idx = $1 UNION SELECT placement FROM statements WHERE idx = $1";
    snapshot.fetch(sql, vec![index.into()]).await?.iter().map(|row| row.id(0)).collect()
}

/// Reads a row of `select!`, with its place in the log.
pub fn read(row: &Row) -> Result<(MarkRow, i64, i64), StoreError> {
    let corrupt = |column| StoreError::Corrupt { table: "marks", column };
    let number = |column: usize| {
        row.opt_int(column)?.map(|value| i32::try_from(value).map_err(|_| corrupt(column))).transpose()
    };
    let minute = |value: i64| u16::try_from(value).ok().and_then(TimeOfDay::from_minutes);
    let statement = match (row.opt_text(5)?, number(6)?) {
        (Some(code), None) => Statement::Code(code.to_owned()),
        (None, Some(seen)) => Statement::Seen(seen),
        (None, None) => Statement::Withdrawn,
        _ => return Err(corrupt(5)),
    };
    let mark = MarkRow {
        placement: row.id(0)?,
        date: Date::parse(row.text(1)?).map_err(|_| corrupt(1))?,
        slot: Slot::from_number(row.int(2)?).ok_or(corrupt(2))?,
        revision: row.int(3)?,
        return_id: row.id(4)?,
        statement,
        end: row.opt_int(7)?.map(|end| minute(end).ok_or(corrupt(7))).transpose()?,
        minutes_late: number(8)?,
        minutes_planned: number(9)?,
        minutes_attended: number(10)?,
        flags: row.int(11)?,
        suggested: row.opt_text(20)?.map(|code| known(code).ok_or(corrupt(20))).transpose()?,
        received: row.int(12)?,
        child: row.id(13)?,
        sender: OrganisationId::parse(row.text(14)?).map_err(|_| corrupt(14))?,
        note: row.opt_blob(15)?.map(<[u8]>::to_vec),
        prior: row.opt_int(16)?.zip(row.opt_int(17)?),
    };
    Ok((mark, row.int(18)?, row.int(19)?))
}

/// Returns the attendance code that is written so.
fn known(code: &str) -> Option<AttendanceCode> {
    AttendanceCode::ALL.into_iter().find(|known| known.as_str() == code)
}

impl MarkRow {
    /// Whether a restricted code stands in this revision or in an earlier one of the session.
    pub fn is_after_restricted(&self) -> bool {
        self.flags & AFTER_RESTRICTED != 0
    }

    /// Comment, reason of correction and place of education, opened.
    pub fn note(&self, key: &ChildKey) -> Result<StoredMark, Refusal> {
        let Some(sealed) = &self.note else {
            return Ok(StoredMark::default());
        };
        let row = note_row(self.placement, self.date, self.slot, self.revision);
        let plain = key.open(at(&row), sealed).map_err(|_| Reason::Failed)?;
        StoredMark::decode(&plain[..]).map_err(|_| Reason::Failed.into())
    }

    /// What stands under the mark's natural key.
    pub fn standing(self, key: &ChildKey, idx: i64, ordinal: i64) -> Result<Standing, Refusal> {
        let note = self.note(key)?;
        Ok(Standing {
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

/// Seals comment, reason of correction and place of education; nothing where there is none of them.
pub fn seal_note(
    key: &ChildKey,
    of: (Uuid, Date, Slot, i64),
    note: &StoredMark,
    fill: Fill<'_>,
) -> Result<Option<Vec<u8>>, Refusal> {
    // Encoded, nothing is no bytes. To compare with the default, string by string, costs a mark more than its hashes
    // do: the processor's masked loads are slow where an empty string points, which is nowhere.
    let note = note.encode_to_vec();
    if note.is_empty() {
        return Ok(None);
    }
    let row = note_row(of.0, of.1, of.2, of.3);
    let sealed = key.seal(at(&row), &note, fill).map_err(|_| Reason::Failed)?;
    Ok(Some(sealed))
}

fn note_row(placement: Uuid, date: Date, slot: Slot, revision: i64) -> Vec<u8> {
    let (date, slot, revision) = (days(date), slot.number().to_be_bytes(), revision.to_be_bytes());
    [&date[..], placement.as_bytes(), &slot, &revision].concat()
}

fn at(row: &[u8]) -> Column<'_> {
    Column { table: "marks", row, column: "note" }
}
