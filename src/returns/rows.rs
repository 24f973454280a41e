//! Rows of the tables `returns` and `marks`: one row per return or part of a return, one row per revision of a mark.

use aws_lc_rs::digest::{SHA256, digest};
use prost::Message;
use uuid::Uuid;

use super::flags::MarkFlags;
use super::rules::{CurrentMark, MarkStatement, SessionSlot};
use crate::calendar::{Date, TimeOfDay};
use crate::codes::attendance::AttendanceCode;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Reason, Refusal};
use crate::placements::rows::Placement;
use crate::proto::v1::StoredMark;
use crate::seal::{ChildKey, ColumnAddress, FillRandom};
use crate::store::version_key::{KeyFamily, VersionKey};
use crate::store::{
    EntryIndex, Located, LogPosition, Ordinal, Record, Revision, Snapshot, StoreError, read_located,
};
use crate::{record, select};

record! {
    /// A row of `returns`: a return, or one part of it.
    pub struct ReturnRow in "returns" as r, 26, Committed, NoChild {
        pub return_id: Uuid,
        pub provider: OrganisationId,
        /// Whether the provider declared that there was nothing to send.
        pub is_nil: bool,
        /// Number of marks that were stored.
        pub stored: i64,
        /// Number of the part, from 1; 0 for a return that was sent in one request.
        pub part: i64,
        /// Whether this is the last part of the return.
        pub is_last: bool,
        /// Number of marks of the return up to and including this part.
        pub marks: i64,
    }
    versions = |row| {
        let key = (row.part > 0).then(|| parts_key(&row.provider, row.return_id));
        key.map(|key| (key, Revision::new(row.part.saturating_add(1)))).into_iter().collect()
    };
}

record! {
    /// A row of `marks`: one revision of a mark.
    pub struct MarkRow in "marks" as m, 27, Committed, PlacementChild {
        pub placement: Uuid,
        pub date: Date,
        pub slot: SessionSlot,
        pub revision: Revision,
        pub return_id: Uuid,
        /// The statutory code of [`MarkRow::statement`], as sent.
        pub code: Option<String>,
        /// The plain observation of [`MarkRow::statement`]: a value of `apgateway.v1.SeenMark`.
        pub seen: Option<i32>,
        pub end_time: Option<TimeOfDay>,
        pub minutes_late: Option<i32>,
        pub minutes_planned: Option<i32>,
        pub minutes_attended: Option<i32>,
        pub flags: MarkFlags,
        /// The code that was suggested for the home school when the mark was received. It is stored so that the content
        /// of a delivery never changes.
        pub suggested: Option<AttendanceCode>,
        /// Microseconds since the epoch.
        pub received: i64,
        pub child: Uuid,
        pub sender: OrganisationId,
        /// The texts of the mark, as [`seal_note`] seals them.
        pub note: Option<Vec<u8>>,
        /// Entry index of the previous revision.
        pub prior_idx: Option<EntryIndex>,
        /// Ordinal of the previous revision.
        pub prior_ordinal: Option<Ordinal>,
    }
    versions = |row| vec![(row.key(), row.revision)];
}

/// Number of bytes of the provider's hash in the key of a mark.
const PROVIDER_HASH_BYTES: usize = 8;

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
        MarkRow,
        "JOIN current_versions v ON v.idx = m.idx AND v.ordinal = m.ordinal WHERE v.key BETWEEN $1 AND $2 ORDER BY v.key"
    );
    snapshot.select(sql, vec![low.as_bytes().into(), high.as_bytes().into()]).await
}

/// Lists the newest revisions of the marks with these natural keys, each with its position, in no order.
///
/// # Errors
/// Any [`StoreError`].
pub async fn list_current(
    snapshot: &mut Snapshot,
    keys: &[VersionKey],
) -> Result<Vec<Located<MarkRow>>, StoreError> {
    snapshot.fetch_by_keys(MarkRow::SELECT_NEWEST_BY_KEYS, keys).await?.iter().map(read_located).collect()
}

/// Loads the revision at a position.
///
/// # Errors
/// Any [`StoreError`].
pub async fn load_revision(
    snapshot: &mut Snapshot,
    position: LogPosition,
) -> Result<Option<MarkRow>, StoreError> {
    let sql = select!(MarkRow, "WHERE m.idx = $1 AND m.ordinal = $2");
    let row = snapshot.fetch_one(sql, vec![position.index.into(), position.ordinal.into()]).await?;
    row.as_ref().map(MarkRow::read).transpose()
}

/// Lists the placements, without duplicates, of the marks and register statements that the entry at an index wrote.
///
/// # Errors
/// Any [`StoreError`].
pub async fn placements_at(snapshot: &mut Snapshot, index: EntryIndex) -> Result<Vec<Uuid>, StoreError> {
    let sql =
        "SELECT placement FROM marks WHERE idx = $1 UNION SELECT placement FROM statements WHERE idx = $1";
    snapshot.fetch(sql, vec![index.into()]).await?.iter().map(|row| row.get("placement")).collect()
}

impl MarkRow {
    /// Returns the natural key of the mark.
    pub fn key(&self) -> VersionKey {
        mark_key(self.date, &self.sender, self.placement, self.slot)
    }

    /// Returns the position of the previous revision.
    pub fn prior(&self) -> Option<LogPosition> {
        let (index, ordinal) = self.prior_idx.zip(self.prior_ordinal)?;
        Some(LogPosition { index, ordinal })
    }

    /// Returns the statement.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for a row with both a code and an observation.
    pub fn statement(&self) -> Result<MarkStatement, StoreError> {
        statement_of(self.code.clone(), self.seen)
    }

    /// Returns whether the row has no statement, because the return that made it was withdrawn.
    pub fn is_withdrawn(&self) -> bool {
        self.code.is_none() && self.seen.is_none()
    }

    /// Returns whether this revision or an earlier one of the session has a restricted code.
    pub fn is_after_restricted(&self) -> bool {
        self.flags.contains(MarkFlags::AFTER_RESTRICTED)
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

    /// Converts the row, which was stored at this position, to the current mark of its key.
    pub fn into_current_mark(self, key: &ChildKey, position: LogPosition) -> Result<CurrentMark, Refusal> {
        let note = self.note(key)?;
        Ok(CurrentMark {
            after_restricted: self.is_after_restricted(),
            revision: self.revision,
            position,
            statement: statement_of(self.code, self.seen)?,
            end: self.end_time,
            minutes_late: self.minutes_late,
            minutes_planned: self.minutes_planned,
            minutes_attended: self.minutes_attended,
            comment: note.comment,
            site: note.site,
        })
    }
}

fn statement_of(code: Option<String>, seen: Option<i32>) -> Result<MarkStatement, StoreError> {
    MarkStatement::from_columns(code, seen).ok_or_else(|| StoreError::corrupt("marks", "code"))
}

/// Seals comment, correction reason and place of education; returns None if all of them are empty.
pub fn seal_note(
    key: &ChildKey,
    revision: (Uuid, Date, SessionSlot, Revision),
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

fn note_row_id(placement: Uuid, date: Date, slot: SessionSlot, revision: Revision) -> Vec<u8> {
    let (date, slot, revision) = (date_bytes(date), slot.number().to_be_bytes(), revision.to_be_bytes());
    [&date[..], placement.as_bytes(), &slot, &revision].concat()
}

fn note_column(row: &[u8]) -> ColumnAddress<'_> {
    ColumnAddress { table: "marks", row, column: "note" }
}
