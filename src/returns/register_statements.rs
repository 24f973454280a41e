//! Register statements: what commissioner and home school state about a child's sessions. A statement confirms the code
//! of the organisation's register, or announces an expected absence. The table `statements` has one row per revision;
//! statements never replace the provider's marks.

use prost::Message;
use uuid::Uuid;

use super::rules::SessionSlot;
use crate::calendar::{Date, Period};
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Reason, Refusal, RequestContext};
use crate::placements::children;
use crate::seal::{ChildKey, ColumnAddress};
use crate::store::version_key::{KeyFamily, VersionKey};
use crate::store::{ColumnKind, ColumnType, Revision, Snapshot, StoreError, Value};
use crate::{record, select};

/// The kind of a register statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatementKind {
    /// The organisation's register has this code.
    Confirmed = 1,
    /// The child is not expected.
    NotExpected = 2,
}

impl ColumnType for StatementKind {
    const KIND: ColumnKind = ColumnKind::Int;

    fn to_value(&self) -> Value {
        (*self as i32).into()
    }

    fn from_value(value: &Value) -> Option<Self> {
        match i64::from_value(value)? {
            1 => Some(Self::Confirmed),
            2 => Some(Self::NotExpected),
            _ => None,
        }
    }
}

record! {
    /// A row of `statements`: one revision of an organisation's statement about a session.
    #[derive(Clone)]
    pub struct StatementRow in "statements" as s, 32, Committed, PlacementChild {
        pub kind: StatementKind,
        pub placement: Uuid,
        pub date: Date,
        pub slot: SessionSlot,
        pub organisation: OrganisationId,
        pub revision: Revision,
        /// The attendance code; None if the statement was withdrawn.
        pub code: Option<String>,
        /// Revision of the confirmed mark; [`Revision::ABSENT`] for an expected absence.
        pub mark_revision: Revision,
        /// The code that was suggested with the mark; empty if none was.
        pub suggested: String,
        /// Id of the confirmation or notice with which the statement was sent.
        pub submission_id: Uuid,
        /// Microseconds since the epoch.
        pub received: i64,
        pub child: Uuid,
        /// The officer, reason or note of the statement, sealed with the organisation's key of the child.
        pub note: Option<Vec<u8>>,
    }
    versions = |row| {
        vec![(statement_key(row.kind, row.placement, row.date, row.slot, &row.organisation), row.revision)]
    };
}

/// Returns the natural key of a statement.
pub fn statement_key(
    kind: StatementKind,
    placement: Uuid,
    date: Date,
    slot: SessionSlot,
    by: &OrganisationId,
) -> VersionKey {
    let days = Date::new(1900, 1, 1).map_or(0, |first| first.days_until(date));
    let key = VersionKey::new(KeyFamily::Statement).id(placement).bytes(&days.to_be_bytes());
    key.bytes(&slot.number().to_be_bytes()).bytes(&[kind as u8]).text(by.as_str())
}

/// Lists the newest revisions under these keys.
///
/// # Errors
/// Any [`StoreError`].
pub async fn list_current(
    snapshot: &mut Snapshot,
    keys: &[VersionKey],
) -> Result<Vec<StatementRow>, StoreError> {
    snapshot.newest_by_keys(keys).await
}

/// Lists all revisions of a placement's statements of one kind in a range of days, by session, the newest first.
///
/// # Errors
/// Any [`StoreError`].
pub async fn list_for_placement(
    snapshot: &mut Snapshot,
    kind: StatementKind,
    placement: Uuid,
    days: Period,
) -> Result<Vec<StatementRow>, StoreError> {
    let sql = select!(
        StatementRow,
        "WHERE s.placement = $1 AND s.date BETWEEN $2 AND $3 AND s.kind = $4 \
         ORDER BY s.date, s.slot, s.idx DESC, s.ordinal DESC"
    );
    let (from, to) = (days.first().to_string().into(), days.last().to_string().into());
    snapshot.select(sql, vec![placement.into(), from, to, kind.to_value()]).await
}

impl StatementRow {
    /// Seals the note under the organisation's key of the child. An empty note is not stored.
    pub fn seal_note<M: Message + Default + PartialEq>(
        &mut self,
        cx: &RequestContext,
        key: &ChildKey,
        note: &M,
    ) -> Result<(), Refusal> {
        if *note != M::default() {
            let row = self.note_row_id();
            let fill = |bytes: &mut [u8]| cx.random.fill(bytes);
            let sealed = key.seal(note_column(&row), &note.encode_to_vec(), &fill);
            self.note = Some(sealed.map_err(children::seal_refusal)?);
        }
        Ok(())
    }

    /// Opens (decrypts) the note; returns an empty message if there is none.
    pub async fn note<M: Message + Default>(&self, cx: &mut RequestContext) -> Result<M, Refusal> {
        let Some(sealed) = &self.note else {
            return Ok(M::default());
        };
        let key = children::load_required_key(cx, &self.organisation, self.child).await?;
        let plain = key.open(note_column(&self.note_row_id()), sealed).map_err(children::seal_refusal)?;
        M::decode(&plain[..]).map_err(|_| Reason::Failed.into())
    }

    fn note_row_id(&self) -> Vec<u8> {
        let key = statement_key(self.kind, self.placement, self.date, self.slot, &self.organisation);
        [key.as_bytes(), &self.revision.to_be_bytes()].concat()
    }
}

fn note_column(row: &[u8]) -> ColumnAddress<'_> {
    ColumnAddress { table: "statements", row, column: "note" }
}
