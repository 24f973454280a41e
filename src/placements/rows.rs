//! Placements as they are stored: one row a version, the newest named by `heads`.

use uuid::Uuid;

use super::parties::{self, PartyPeriod};
use crate::calendar::Date;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Part, Record, Standing};
use crate::proto::v1::PlacementState;
use crate::store::Kind::{Blob, Int, Text};
use crate::store::key::{Family, Key};
use crate::store::{DamagedRow, Row, Snapshot, StoreError, Table, Value};

/// A version of a placement.
#[derive(Clone, Debug)]
pub struct Placement {
    /// Made by `CreateReferral`; the same from referral to follow-up.
    pub id: Uuid,
    /// The etag, from 1.
    pub version: i64,
    /// Where it stands.
    pub state: PlacementState,
    /// Who arranges and pays.
    pub commissioner: OrganisationId,
    /// Who teaches.
    pub provider: OrganisationId,
    /// The LA where the child lives.
    pub residence: OrganisationId,
    /// Schools on whose roll the child is.
    pub schools: Vec<OrganisationId>,
    /// Every period of a school on roll or an LA of residence; empty while none has changed.
    pub periods: Vec<PartyPeriod>,
    /// The child, as the commissioner's record knows it.
    pub child: Uuid,
    /// The agreement under which the child was referred.
    pub agreement: Uuid,
    /// The provider's own reference, unique to it.
    pub provider_reference: Option<String>,
    /// Blind index of the UPN under the provider, by which its marks find the child.
    pub upn_index: Option<Vec<u8>>,
    /// First day.
    pub start: Option<Date>,
    /// Last day as planned.
    pub planned_end: Option<Date>,
    /// Last day as it was.
    pub end: Option<Date>,
    /// `apgateway.v1.LegalBasis`.
    pub legal_basis: i32,
    /// `apgateway.v1.PlacementReason`.
    pub reason: i32,
    /// What else was said, sealed under the commissioner's key of the child.
    pub detail: Vec<u8>,
}

/// The table of placements.
pub const PLACEMENTS: Table = Table {
    name: "placements",
    columns: &[
        ("idx", Int),
        ("ordinal", Int),
        ("head", Blob),
        ("placement", Blob),
        ("version", Int),
        ("state", Int),
        ("commissioner", Text),
        ("provider", Text),
        ("residence", Text),
        ("schools", Text),
        ("party_periods", Text),
        ("child", Blob),
        ("agreement", Blob),
        ("provider_reference", Text),
        ("upn_index", Blob),
        ("start_date", Text),
        ("planned_end_date", Text),
        ("end_date", Text),
        ("legal_basis", Int),
        ("reason", Int),
        ("detail", Blob),
    ],
    replace_by: &[],
};

/// The columns of a placement, in the order in which [`read`] takes them.
macro_rules! written {
    ($rest:literal) => {
        concat!(
            "SELECT p.placement, p.version, p.state, p.commissioner, p.provider, p.residence, p.schools, ",
            "p.child, p.agreement, p.provider_reference, p.upn_index, p.start_date, p.planned_end_date, ",
            "p.end_date, p.legal_basis, p.reason, p.detail, p.party_periods FROM placements p ",
            $rest
        )
    };
}

/// A query of newest versions, in the columns that [`read`] takes.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            written!(""),
            "JOIN heads h ON h.key = p.head AND h.idx = p.idx AND h.ordinal = p.ordinal ",
            $rest
        )
    };
}

impl Record for Placement {
    const TABLE: &'static Table = &PLACEMENTS;

    fn values(&self) -> Vec<Value> {
        let schools: Vec<&str> = self.schools.iter().map(OrganisationId::as_str).collect();
        vec![
            self.key().as_bytes().into(),
            self.id.into(),
            self.version.into(),
            (self.state as i32).into(),
            self.commissioner.as_str().into(),
            self.provider.as_str().into(),
            self.residence.as_str().into(),
            schools.join(",").into(),
            parties::to_text(&self.periods).into(),
            self.child.into(),
            self.agreement.into(),
            self.provider_reference.clone().into(),
            self.upn_index.clone().into(),
            self.start.map(|date| date.to_string()).into(),
            self.planned_end.map(|date| date.to_string()).into(),
            self.end.map(|date| date.to_string()).into(),
            self.legal_basis.into(),
            self.reason.into(),
            self.detail.clone().into(),
        ]
    }

    /// The version that accepts a referral also takes the provider's reference.
    fn heads(&self) -> Vec<(Key, i64)> {
        let mut heads = vec![(self.key(), self.version)];
        if let (PlacementState::Accepted, Some(reference)) = (self.state, &self.provider_reference) {
            heads.push((reference_key(&self.provider, reference), 1));
        }
        heads
    }
}

/// An organisation that has or had a part in a placement: one row each, never taken away.
pub struct PartyRow {
    /// Commissioner, provider, school on roll or LA of residence.
    pub organisation: OrganisationId,
    /// The placement.
    pub placement: Uuid,
}

impl Record for PartyRow {
    const TABLE: &'static Table = &Table {
        name: "placement_parties",
        columns: &[("idx", Int), ("ordinal", Int), ("organisation", Text), ("placement", Blob)],
        replace_by: &[],
    };

    fn values(&self) -> Vec<Value> {
        vec![self.organisation.as_str().into(), self.placement.into()]
    }
}

impl Placement {
    /// Its key, whose version is the etag.
    #[must_use]
    pub fn key(&self) -> Key {
        key(self.id)
    }

    /// The part that an organisation has in it. One that commissions and also has the child on roll, or
    /// provides, acts in the greater part.
    #[must_use]
    pub fn part_of(&self, organisation: &OrganisationId) -> Part {
        if *organisation == self.commissioner {
            Part::Commissioner
        } else if *organisation == self.provider {
            Part::Provider
        } else if self.schools.contains(organisation) {
            Part::SchoolOnRoll
        } else if *organisation == self.residence {
            Part::Residence
        } else {
            Part::None
        }
    }

    /// The part in which an organisation reads it: a provider that also has the child on its roll still
    /// reads as that school when the placement is over.
    #[must_use]
    pub fn reader(&self, organisation: &OrganisationId) -> Part {
        match self.part_of(organisation) {
            Part::Provider if self.standing() == Standing::Ended && self.schools.contains(organisation) => {
                Part::SchoolOnRoll
            }
            part => part,
        }
    }

    /// Whether the referral or placement is live.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match self.state {
            PlacementState::Referred
            | PlacementState::Accepted
            | PlacementState::Approved
            | PlacementState::Active => Standing::Live,
            _ => Standing::Ended,
        }
    }

    /// Who gets what the placement's provider or commissioner sends about it: commissioner, schools on roll
    /// and LA of residence, each once, without `except`.
    #[must_use]
    pub fn recipients(&self, except: &OrganisationId) -> Vec<OrganisationId> {
        let all = [&self.commissioner].into_iter().chain(&self.schools).chain([&self.residence]);
        let mut recipients = Vec::new();
        for organisation in all {
            if organisation != except && !recipients.contains(organisation) {
                recipients.push(organisation.clone());
            }
        }
        recipients
    }

    /// Everyone who has a part in it, each once.
    #[must_use]
    pub fn parties(&self) -> Vec<OrganisationId> {
        let mut parties = self.recipients(&self.provider);
        parties.push(self.provider.clone());
        parties
    }
}

/// The key of a placement.
#[must_use]
pub fn key(id: Uuid) -> Key {
    Key::new(Family::Placement).id(id)
}

/// The key of a provider's own reference; it exists once the reference is in use.
#[must_use]
pub fn reference_key(provider: &OrganisationId, reference: &str) -> Key {
    Key::new(Family::Reference).text(provider.as_str()).text(reference)
}

/// Ids of placements in which the organisation has a part, in order, from behind `after`; at most `limit`.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn ids_of_party(
    snapshot: &mut Snapshot,
    organisation: &OrganisationId,
    after: Uuid,
    limit: i64,
) -> Result<Vec<Uuid>, StoreError> {
    let sql = "SELECT placement FROM placement_parties \
               WHERE organisation = $1 AND placement > $2 ORDER BY placement LIMIT $3";
    let rows = snapshot.fetch(sql, vec![organisation.as_str().into(), after.into(), limit.into()]).await?;
    rows.iter().map(|row| row.id(0)).collect()
}

/// The newest versions of placements, in the order of their ids. The exchange does not rest on them by that: a list
/// reads many and shows few, and calls [`Snapshot::rest_on`] for those that it shows.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn by_ids(snapshot: &mut Snapshot, ids: &[Uuid]) -> Result<Vec<Placement>, StoreError> {
    let keys: Vec<Key> = ids.iter().map(|id| key(*id)).collect();
    let rows = snapshot.fetch_among(select!("WHERE h.key"), &keys).await?;
    let mut placements = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    placements.sort_unstable_by_key(|placement| placement.id);
    Ok(placements)
}

/// The newest version of a placement, whoever asks: the caller's part is decided from it, so the exchange rests on it.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn by_id(snapshot: &mut Snapshot, id: Uuid) -> Result<Option<Placement>, StoreError> {
    let row = snapshot.fetch_one(select!("WHERE h.key = $1"), vec![key(id).as_bytes().into()]).await?;
    let placement = row.map(|row| read(&row)).transpose()?;
    if let Some(placement) = &placement {
        snapshot.rest_on(placement.key(), placement.version);
    }
    Ok(placement)
}

/// Reads the newest version of a placement in which the organisation has or had a part. One of others and one that does
/// not exist end at the same lookup, so that the time of a refusal does not tell them apart.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn of_party(
    snapshot: &mut Snapshot,
    id: Uuid,
    organisation: &OrganisationId,
) -> Result<Option<Placement>, StoreError> {
    // The inner query is evaluated first: without a row of the organisation there is no key to look up.
    let sql = select!(
        "WHERE h.key = (SELECT $1 FROM placement_parties WHERE organisation = $2 AND placement = $3 LIMIT 1)"
    );
    let arguments = vec![key(id).as_bytes().into(), organisation.as_str().into(), id.into()];
    let placement = snapshot.fetch_one(sql, arguments).await?.map(|row| read(&row)).transpose()?;
    if let Some(placement) = &placement {
        snapshot.rest_on(placement.key(), placement.version);
    }
    Ok(placement)
}

/// The whole roll of a provider: every placement with it that is or was active, each damaged one in its place.
///
/// # Errors
/// As [`StoreError`] says, but for what one damaged row means.
pub async fn roll(
    snapshot: &mut Snapshot,
    provider: &OrganisationId,
) -> Result<Vec<Result<Placement, DamagedRow>>, StoreError> {
    let sql = select!("WHERE p.provider = $1 AND p.state IN ($2, $3) ORDER BY p.placement");
    let (active, ended) = (PlacementState::Active as i32, PlacementState::Ended as i32);
    let rows = snapshot.fetch(sql, vec![provider.as_str().into(), active.into(), ended.into()]).await?;
    Ok(rows.iter().map(|row| read(row).map_err(|error| DamagedRow::new(row.id(0), error))).collect())
}

/// Whether a commissioner has a live referral or placement of its child with a provider.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn is_placed(
    snapshot: &mut Snapshot,
    commissioner: &OrganisationId,
    provider: &OrganisationId,
    child: Uuid,
) -> Result<bool, StoreError> {
    let sql = select!("WHERE p.provider = $1 AND p.child = $2 AND p.commissioner = $3");
    let arguments = vec![provider.as_str().into(), child.into(), commissioner.as_str().into()];
    let rows = snapshot.fetch(sql, arguments).await?;
    let placements = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(placements.iter().any(|placement| placement.standing() == Standing::Live))
}

/// Reads a row of `select!`.
pub(crate) fn read(row: &Row) -> Result<Placement, StoreError> {
    let corrupt = |column| StoreError::Corrupt { table: "placements", column };
    let organisation = |column: usize| OrganisationId::parse(row.text(column)?).map_err(|_| corrupt(column));
    let date = |column: usize| {
        row.opt_text(column)?.map(|text| Date::parse(text).map_err(|_| corrupt(column))).transpose()
    };
    let number = |column: usize| i32::try_from(row.int(column)?).map_err(|_| corrupt(column));
    let schools = row.text(6)?.split(',').filter(|id| !id.is_empty());
    Ok(Placement {
        id: row.id(0)?,
        version: row.int(1)?,
        state: PlacementState::try_from(number(2)?).map_err(|_| corrupt(2))?,
        commissioner: organisation(3)?,
        provider: organisation(4)?,
        residence: organisation(5)?,
        schools: schools
            .map(|id| OrganisationId::parse(id).map_err(|_| corrupt(6)))
            .collect::<Result<_, _>>()?,
        periods: parties::from_text(row.text(17)?).ok_or(corrupt(17))?,
        child: row.id(7)?,
        agreement: row.id(8)?,
        provider_reference: row.opt_text(9)?.map(str::to_owned),
        upn_index: row.opt_blob(10)?.map(<[u8]>::to_vec),
        start: date(11)?,
        planned_end: date(12)?,
        end: date(13)?,
        legal_basis: number(14)?,
        reason: number(15)?,
        detail: row.blob(16)?.to_vec(),
    })
}

/// The version of a placement that the exchange at an index wrote, if it wrote one.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn written_at(
    snapshot: &mut Snapshot,
    id: Uuid,
    index: i64,
) -> Result<Option<Placement>, StoreError> {
    let sql = written!("WHERE p.idx = $1 AND p.placement = $2 ORDER BY p.ordinal DESC");
    let row = snapshot.fetch_one(sql, vec![index.into(), id.into()]).await?;
    row.map(|row| read(&row)).transpose()
}
