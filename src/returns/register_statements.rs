//! Register statements: what commissioner and home school state about a child's sessions. A statement confirms the code
//! of the organisation's register, or announces an expected absence. The table `statements` has one row per revision;
//! statements never replace the provider's marks.

use prost::Message;
use uuid::Uuid;

use super::rules::SessionSlot;
use crate::calendar::{Date, Period};
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Reason, Record, Refusal, RequestContext};
use crate::placements::children;
use crate::seal::{ChildKey, ColumnAddress};
use crate::store::version_key::{KeyFamily, VersionKey};
use crate::store::{Column, RecordSubject, Row, Snapshot, StoreError, Table, TableClass, Value};

/// The kind of a register statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatementKind {
    /// The organisation's register has this code.
    Confirmed = 1,
    /// The child is not expected.
    NotExpected = 2,
}

/// A row of `statements`: one revision of an organisation's statement about a session.
#[derive(Clone)]
pub struct StatementRow {
    pub kind: StatementKind,
    pub placement: Uuid,
    pub date: Date,
    pub slot: SessionSlot,
    pub organisation: OrganisationId,
    pub revision: i64,
    /// The attendance code; None if the statement was withdrawn.
    pub code: Option<String>,
    /// Revision of the confirmed mark; 0 for an expected absence.
    pub mark_revision: i64,
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

impl Record for StatementRow {
    const TABLE: &'static Table = &Table {
        name: "statements",
        class: TableClass::Committed,
        subject: RecordSubject::NoChild,
        columns: &[
            Column::new::<i64>("idx"),
            Column::new::<i64>("ordinal"),
            Column::new::<i64>("stated"),
            Column::new::<Vec<u8>>("placement"),
            Column::new::<String>("date"),
            Column::new::<i64>("slot"),
            Column::new::<String>("organisation"),
            Column::new::<i64>("revision"),
            Column::new::<String>("code"),
            Column::new::<i64>("mark_revision"),
            Column::new::<String>("suggested"),
            Column::new::<Vec<u8>>("object"),
            Column::new::<i64>("received"),
            Column::new::<Vec<u8>>("child"),
            Column::new::<Vec<u8>>("note"),
        ],
        replace_key: &[],
    };

    fn values(&self) -> Vec<Value> {
        vec![
            (self.kind as i32).into(),
            self.placement.into(),
            self.date.to_string().into(),
            i64::from(self.slot.number()).into(),
            self.organisation.as_str().into(),
            self.revision.into(),
            self.code.clone().into(),
            self.mark_revision.into(),
            self.suggested.as_str().into(),
            self.submission_id.into(),
            self.received.into(),
            self.child.into(),
            self.note.clone().into(),
        ]
    }

    fn current_versions(&self) -> Vec<(VersionKey, i64)> {
        vec![(
            statement_key(self.kind, self.placement, self.date, self.slot, &self.organisation),
            self.revision,
        )]
    }
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

/// A SELECT of statements with the columns that [`read_statement`] expects.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT s.stated, s.placement, s.date, s.slot, s.organisation, s.revision, s.code, ",
            "s.mark_revision, s.suggested, s.object, s.received, s.child, s.note FROM statements s ",
            $rest
        )
    };
}

pub(super) use select;

/// Lists the newest revisions under these keys.
///
/// # Errors
/// Any [`StoreError`].
pub async fn list_current(
    snapshot: &mut Snapshot,
    keys: &[VersionKey],
) -> Result<Vec<StatementRow>, StoreError> {
    let sql = select!("JOIN current_versions h ON s.idx = h.idx AND s.ordinal = h.ordinal WHERE h.key");
    snapshot.fetch_by_keys(sql, keys).await?.iter().map(read_statement).collect()
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
        "WHERE s.placement = $1 AND s.date BETWEEN $2 AND $3 AND s.stated = $4 \
         ORDER BY s.date, s.slot, s.idx DESC, s.ordinal DESC"
    );
    let (from, to) = (days.first().to_string().into(), days.last().to_string().into());
    let rows = snapshot.fetch(sql, vec![placement.into(), from, to, (kind as i32).into()]).await?;
    rows.iter().map(read_statement).collect()
}

/// Decodes a row of `select!`.
///
/// # Errors
/// [`StoreError::Corrupt`] for a value that is never written.
pub fn read_statement(row: &Row) -> Result<StatementRow, StoreError> {
    let corrupt = |column| StoreError::corrupt("statements", column);
    Ok(StatementRow {
        kind: if row.int(0)? == 1 { StatementKind::Confirmed } else { StatementKind::NotExpected },
        placement: row.uuid(1)?,
        date: Date::parse(row.text(2)?).map_err(|_| corrupt(2))?,
        slot: SessionSlot::from_number(row.int(3)?).ok_or(corrupt(3))?,
        organisation: OrganisationId::parse(row.text(4)?).map_err(|_| corrupt(4))?,
        revision: row.int(5)?,
        code: row.opt_text(6)?.map(str::to_owned),
        mark_revision: row.int(7)?,
        suggested: row.text(8)?.to_owned(),
        submission_id: row.uuid(9)?,
        received: row.int(10)?,
        child: row.uuid(11)?,
        note: row.opt_blob(12)?.map(<[u8]>::to_vec),
    })
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
