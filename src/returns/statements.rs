//! What commissioner and home school state of a child's sessions: what their register holds, and that the child
//! is not expected. One row a revision, beside the provider's marks and never in their place.

use prost::Message;
use uuid::Uuid;

use super::rules::Slot;
use crate::calendar::{Date, Period};
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Cx, Reason, Record, Refusal};
use crate::placements::children;
use crate::seal::{ChildKey, Column};
use crate::store::Kind::{Blob, Int, Text};
use crate::store::key::{Family, Key};
use crate::store::{Row, Snapshot, StoreError, Table, Value};

/// What is stated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stated {
    /// The code that the register holds.
    Confirmed = 1,
    /// That the child is not expected.
    NotExpected = 2,
}

/// A revision of what an organisation states of a session.
#[derive(Clone)]
pub struct StatementRow {
    pub stated: Stated,
    pub placement: Uuid,
    pub date: Date,
    pub slot: Slot,
    pub organisation: OrganisationId,
    pub revision: i64,
    /// None where it was taken back.
    pub code: Option<String>,
    /// Of the mark that was confirmed; 0 where none was.
    pub mark_revision: i64,
    /// What was suggested with it; empty for nothing.
    pub suggested: String,
    pub object: Uuid,
    pub received: i64,
    pub child: Uuid,
    pub note: Option<Vec<u8>>,
}

impl Record for StatementRow {
    const TABLE: &'static Table = &Table {
        name: "statements",
        columns: &[
            ("idx", Int),
            ("ordinal", Int),
            ("stated", Int),
            ("placement", Blob),
            ("date", Text),
            ("slot", Int),
            ("organisation", Text),
            ("revision", Int),
            ("code", Text),
            ("mark_revision", Int),
            ("suggested", Text),
            ("object", Blob),
            ("received", Int),
            ("child", Blob),
            ("note", Blob),
        ],
        replace_by: &[],
    };

    fn values(&self) -> Vec<Value> {
        vec![
            (self.stated as i32).into(),
            self.placement.into(),
            self.date.to_string().into(),
            i64::from(self.slot.number()).into(),
            self.organisation.as_str().into(),
            self.revision.into(),
            self.code.clone().into(),
            self.mark_revision.into(),
            self.suggested.as_str().into(),
            self.object.into(),
            self.received.into(),
            self.child.into(),
            self.note.clone().into(),
        ]
    }

    fn heads(&self) -> Vec<(Key, i64)> {
        vec![(key(self.stated, self.placement, self.date, self.slot, &self.organisation), self.revision)]
    }
}

/// The natural key of a statement.
pub fn key(stated: Stated, placement: Uuid, date: Date, slot: Slot, by: &OrganisationId) -> Key {
    let days = Date::new(1900, 1, 1).map_or(0, |first| first.days_until(date));
    let key = Key::new(Family::Statement).id(placement).bytes(&days.to_be_bytes());
    key.bytes(&slot.number().to_be_bytes()).bytes(&[stated as u8]).text(by.as_str())
}

/// A query of statements, in the columns that [`read`] takes.
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

/// What stands under these keys.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn standing(snapshot: &mut Snapshot, keys: &[Key]) -> Result<Vec<StatementRow>, StoreError> {
    let sql = select!("JOIN heads h ON s.idx = h.idx AND s.ordinal = h.ordinal WHERE h.key");
    snapshot.fetch_among(sql, keys).await?.iter().map(read).collect()
}

/// Every revision of what was stated of a placement's sessions in a range, by session, the newest first.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn of_placement(
    snapshot: &mut Snapshot,
    stated: Stated,
    placement: Uuid,
    days: Period,
) -> Result<Vec<StatementRow>, StoreError> {
    let sql = select!(
        "WHERE s.placement = $1 AND s.date BETWEEN $2 AND $3 AND s.stated = $4 \
         ORDER BY s.date, s.slot, s.idx DESC, s.ordinal DESC"
    );
    let (from, to) = (days.first().to_string().into(), days.last().to_string().into());
    let rows = snapshot.fetch(sql, vec![placement.into(), from, to, (stated as i32).into()]).await?;
    rows.iter().map(read).collect()
}

/// Reads a row of `select!`.
///
/// # Errors
/// [`StoreError::Corrupt`] for what was never written so.
pub fn read(row: &Row) -> Result<StatementRow, StoreError> {
    let corrupt = |column| StoreError::Corrupt { table: "statements", column };
    Ok(StatementRow {
        stated: if row.int(0)? == 1 { Stated::Confirmed } else { Stated::NotExpected },
        placement: row.id(1)?,
        date: Date::parse(row.text(2)?).map_err(|_| corrupt(2))?,
        slot: Slot::from_number(row.int(3)?).ok_or(corrupt(3))?,
        organisation: OrganisationId::parse(row.text(4)?).map_err(|_| corrupt(4))?,
        revision: row.int(5)?,
        code: row.opt_text(6)?.map(str::to_owned),
        mark_revision: row.int(7)?,
        suggested: row.text(8)?.to_owned(),
        object: row.id(9)?,
        received: row.int(10)?,
        child: row.id(11)?,
        note: row.opt_blob(12)?.map(<[u8]>::to_vec),
    })
}

impl StatementRow {
    /// Seals what is said with the statement under the organisation's key of the child; nothing where nothing
    /// is said.
    pub fn seal<M: Message + Default + PartialEq>(
        &mut self,
        cx: &Cx,
        key: &ChildKey,
        note: &M,
    ) -> Result<(), Refusal> {
        if *note != M::default() {
            let row = self.note_row();
            let fill = |bytes: &mut [u8]| cx.random.fill(bytes);
            let sealed = key.seal(at(&row), &note.encode_to_vec(), &fill);
            self.note = Some(sealed.map_err(children::failed)?);
        }
        Ok(())
    }

    /// What was said with the statement, opened.
    pub async fn note<M: Message + Default>(&self, cx: &mut Cx) -> Result<M, Refusal> {
        let Some(sealed) = &self.note else {
            return Ok(M::default());
        };
        let key = children::required_key(cx, &self.organisation, self.child).await?;
        let plain = key.open(at(&self.note_row()), sealed).map_err(children::failed)?;
        M::decode(&plain[..]).map_err(|_| Reason::Failed.into())
    }

    fn note_row(&self) -> Vec<u8> {
        let key = key(self.stated, self.placement, self.date, self.slot, &self.organisation);
        [key.as_bytes(), &self.revision.to_be_bytes()].concat()
    }
}

fn at(row: &[u8]) -> Column<'_> {
    Column { table: "statements", row, column: "note" }
}
