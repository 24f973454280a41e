//! What recipients did: one row a batch that was sent to them, one row a stage that they acknowledged; and
//! the mailbox itself, which is a view of the log's parties.

use uuid::Uuid;

use crate::codes::organisation::OrganisationId;
use crate::exchange::Record;
use crate::store::Kind::{Blob, Int, Text};
use crate::store::key::{Family, Key};
use crate::store::{Row, Snapshot, StoreError, Table, Value};

/// A place in the log: every mailbox has the same order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Index of the entry.
    pub index: i64,
    /// Number within the entry.
    pub ordinal: i64,
}

impl Place {
    /// Before everything.
    pub const START: Self = Self { index: -1, ordinal: 0 };
}

/// A batch that was sent: everything of these kinds between two places.
pub struct CollectionRow {
    pub organisation: OrganisationId,
    pub from: Place,
    pub to: Place,
    /// One bit a kind.
    pub kinds: i64,
    /// Microseconds UTC.
    pub time: i64,
    /// What `collected::to_bytes` wrote.
    pub digests: Vec<u8>,
}

impl Record for CollectionRow {
    const TABLE: &'static Table = &Table {
        name: "collections",
        columns: &[
            ("idx", Int),
            ("ordinal", Int),
            ("organisation", Text),
            ("from_idx", Int),
            ("from_ordinal", Int),
            ("to_idx", Int),
            ("to_ordinal", Int),
            ("kinds", Int),
            ("time", Int),
            ("digests", Blob),
        ],
        replace_by: &[],
    };

    fn values(&self) -> Vec<Value> {
        vec![
            self.organisation.as_str().into(),
            self.from.index.into(),
            self.from.ordinal.into(),
            self.to.index.into(),
            self.to.ordinal.into(),
            self.kinds.into(),
            self.time.into(),
            self.digests.clone().into(),
        ]
    }
}

/// A stage that a recipient acknowledged.
pub struct AcknowledgementRow {
    pub organisation: OrganisationId,
    pub of: Place,
    /// `apgateway.v1.DeliveryStage`.
    pub stage: i32,
    /// Microseconds UTC.
    pub time: i64,
    /// `Officer`, sealed for the recipient.
    pub officer: Option<Vec<u8>>,
    /// What else holds once this is acknowledged: a key and its version.
    pub also: Option<(Key, i64)>,
}

impl Record for AcknowledgementRow {
    const TABLE: &'static Table = &Table {
        name: "acknowledgements",
        columns: &[
            ("idx", Int),
            ("ordinal", Int),
            ("organisation", Text),
            ("delivery_idx", Int),
            ("delivery_ordinal", Int),
            ("stage", Int),
            ("time", Int),
            ("officer", Blob),
        ],
        replace_by: &[],
    };

    fn values(&self) -> Vec<Value> {
        vec![
            self.organisation.as_str().into(),
            self.of.index.into(),
            self.of.ordinal.into(),
            i64::from(self.stage).into(),
            self.time.into(),
            self.officer.clone().into(),
        ]
    }

    fn heads(&self) -> Vec<(Key, i64)> {
        let own = (acknowledgement(&self.organisation, self.of, self.stage), 1);
        std::iter::once(own).chain(self.also.clone()).collect()
    }
}

/// The key of a stage of a delivery: it exists once the recipient has acknowledged it.
pub fn acknowledgement(organisation: &OrganisationId, of: Place, stage: i32) -> Key {
    Key::new(Family::Acknowledgement)
        .text(organisation.as_str())
        .bytes(&of.index.to_be_bytes())
        .bytes(&of.ordinal.to_be_bytes())
        .bytes(&stage.to_be_bytes())
}

/// A delivery as the log has it, without content.
pub struct Parcel {
    pub at: Place,
    pub kind: i32,
    pub sender: OrganisationId,
    pub object: Uuid,
    pub placement: Option<Uuid>,
    /// Microseconds UTC: time of the sender's entry.
    pub sent: i64,
    /// Full name of the method that sent it.
    pub method: String,
}

/// Rows of a mailbox that are read at once: a filter that matches little gives nothing rather than take long.
const MAX_READ: i64 = 10_000;

/// Where to look in a mailbox.
#[derive(Clone, Copy)]
pub struct Among {
    /// Behind this place.
    pub after: Place,
    /// Up to this one.
    pub to: Place,
    /// One bit a kind.
    pub kinds: i64,
}

/// How far a mailbox is read at once.
pub struct ReadTo {
    /// The last place.
    pub at: Place,
    /// Whether there are rows behind it.
    pub more: bool,
}

/// Returns how far a mailbox is read at once from a place on: its newest row, or the last of [`MAX_READ`] where there
/// are more. None where no row is behind the place.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn read_to(
    snapshot: &mut Snapshot,
    organisation: &OrganisationId,
    after: Place,
) -> Result<Option<ReadTo>, StoreError> {
    let sql = "SELECT 0, idx, ordinal FROM (SELECT idx, ordinal FROM parties \
               WHERE organisation = $1 AND (idx, ordinal) > ($2, $3) ORDER BY idx, ordinal LIMIT 1 OFFSET $4) AS held \
               UNION ALL SELECT 1, idx, ordinal FROM (SELECT idx, ordinal FROM parties \
               WHERE organisation = $1 AND (idx, ordinal) > ($2, $3) ORDER BY idx DESC, ordinal DESC LIMIT 1) AS newest";
    let arguments =
        vec![organisation.as_str().into(), after.index.into(), after.ordinal.into(), (MAX_READ - 1).into()];
    let (mut held, mut newest) = (None, None);
    for row in snapshot.fetch(sql, arguments).await? {
        let place = Some(Place { index: row.int(1)?, ordinal: row.int(2)? });
        if row.int(0)? == 0 { held = place } else { newest = place }
    }
    Ok(held.or(newest).map(|at| ReadTo { at, more: newest.is_some_and(|newest| at < newest) }))
}

const PARCEL: &str = "SELECT p.idx, p.ordinal, p.kind, p.sender, p.object, p.placement, e.time, e.method \
     FROM parties p JOIN entries e ON e.idx = p.idx \
     WHERE p.organisation = $1 AND p.kind > 0 AND (p.idx, p.ordinal) > ($2, $3) AND (p.idx, p.ordinal) <= ($4, $5) \
     AND ($6 >> CAST(p.kind AS INTEGER)) & 1 = 1 ORDER BY p.idx, p.ordinal LIMIT $7";

/// What lies in a mailbox between two places, in order.
pub async fn behind(
    snapshot: &mut Snapshot,
    organisation: &OrganisationId,
    Among { after, to, kinds }: Among,
    limit: i64,
) -> Result<Vec<Parcel>, StoreError> {
    let arguments = vec![
        organisation.as_str().into(),
        after.index.into(),
        after.ordinal.into(),
        to.index.into(),
        to.ordinal.into(),
        kinds.into(),
        limit.into(),
    ];
    snapshot.fetch(PARCEL, arguments).await?.iter().map(parcel).collect()
}

/// One delivery of a mailbox.
pub async fn at(
    snapshot: &mut Snapshot,
    organisation: &OrganisationId,
    place: Place,
) -> Result<Option<Parcel>, StoreError> {
    let before = Place { ordinal: place.ordinal - 1, ..place };
    let among = Among { after: before, to: place, kinds: i64::MAX };
    let found = behind(snapshot, organisation, among, 1).await?;
    Ok(found.into_iter().next().filter(|parcel| parcel.at == place))
}

fn parcel(row: &Row) -> Result<Parcel, StoreError> {
    let corrupt = |column| StoreError::Corrupt { table: "parties", column };
    let id = |column: usize| {
        row.opt_blob(column)?.map(|id| Uuid::from_slice(id).map_err(|_| corrupt(column))).transpose()
    };
    Ok(Parcel {
        at: Place { index: row.int(0)?, ordinal: row.int(1)? },
        kind: i32::try_from(row.int(2)?).map_err(|_| corrupt(2))?,
        sender: OrganisationId::parse(row.text(3)?).map_err(|_| corrupt(3))?,
        object: id(4)?.ok_or_else(|| corrupt(4))?,
        placement: id(5)?,
        sent: row.int(6)?,
        method: row.text(7)?.to_owned(),
    })
}
