//! Rows of placements and of their parties: one row per version, the newest named by `current_versions`.

use uuid::Uuid;

use super::parties::{self, PartyPeriod};
use crate::calendar::Date;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{CallerRole, Record, RoleStatus};
use crate::proto::v1::PlacementState;
use crate::store::version_key::{KeyFamily, VersionKey};
use crate::store::{Column, DamagedRow, RecordSubject, Row, Snapshot, StoreError, Table, TableClass, Value};

/// A version of a placement.
#[derive(Clone, Debug)]
pub struct Placement {
    /// Id, made by `CreateReferral`; the same from referral to follow-up.
    pub id: Uuid,
    /// The etag, from 1.
    pub version: i64,
    /// State.
    pub state: PlacementState,
    /// The organisation that arranges and pays.
    pub commissioner: OrganisationId,
    /// The organisation that teaches the child.
    pub provider: OrganisationId,
    /// The LA where the child lives.
    pub residence: OrganisationId,
    /// Schools on whose roll the child is.
    pub schools: Vec<OrganisationId>,
    /// Every period of a school on roll or of an LA of residence; empty until one of them changes.
    pub periods: Vec<PartyPeriod>,
    /// The child's id in the commissioner's record.
    pub child: Uuid,
    /// The agreement under which the child was referred.
    pub agreement: Uuid,
    /// The provider's reference, unique within the provider.
    pub provider_reference: Option<String>,
    /// Blind index of the UPN under the provider; the provider's marks find the child by it.
    pub upn_index: Option<Vec<u8>>,
    /// First day.
    pub start: Option<Date>,
    /// Planned last day.
    pub planned_end: Option<Date>,
    /// Actual last day.
    pub end: Option<Date>,
    /// `apgateway.v1.LegalBasis`.
    pub legal_basis: i32,
    /// `apgateway.v1.PlacementReason`.
    pub reason: i32,
    /// `PlacementDetail`, sealed under the commissioner's key of the child.
    pub detail: Vec<u8>,
}

/// The table of placements.
pub const PLACEMENTS: Table = Table {
    name: "placements",
    class: TableClass::Committed,
    subject: RecordSubject::NoChild,
    columns: &[
        Column::new::<i64>("idx"),
        Column::new::<i64>("ordinal"),
        Column::new::<Vec<u8>>("version_key"),
        Column::new::<Vec<u8>>("placement"),
        Column::new::<i64>("version"),
        Column::new::<i64>("state"),
        Column::new::<String>("commissioner"),
        Column::new::<String>("provider"),
        Column::new::<String>("residence"),
        Column::new::<String>("schools"),
        Column::new::<String>("party_periods"),
        Column::new::<Vec<u8>>("child"),
        Column::new::<Vec<u8>>("agreement"),
        Column::new::<String>("provider_reference"),
        Column::new::<Vec<u8>>("upn_index"),
        Column::new::<String>("start_date"),
        Column::new::<String>("planned_end_date"),
        Column::new::<String>("end_date"),
        Column::new::<i64>("legal_basis"),
        Column::new::<i64>("reason"),
        Column::new::<Vec<u8>>("detail"),
    ],
    replace_key: &[],
};

/// A query of any versions of placements, with the columns in the order that [`from_row`] expects.
macro_rules! select_versions {
    ($rest:literal) => {
        concat!(
            "SELECT p.placement, p.version, p.state, p.commissioner, p.provider, p.residence, p.schools, ",
            "p.child, p.agreement, p.provider_reference, p.upn_index, p.start_date, p.planned_end_date, ",
            "p.end_date, p.legal_basis, p.reason, p.detail, p.party_periods FROM placements p ",
            $rest
        )
    };
}

/// A query of the newest versions of placements, with the columns in the order that [`from_row`] expects.
macro_rules! select_newest {
    ($rest:literal) => {
        concat!(
            select_versions!(""),
            "JOIN current_versions h ON h.key = p.version_key AND h.idx = p.idx AND h.ordinal = p.ordinal ",
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
            parties::encode_periods(&self.periods).into(),
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

    /// Returns the keys of the version; the version that accepts a referral also claims the provider's reference.
    fn current_versions(&self) -> Vec<(VersionKey, i64)> {
        let mut versions = vec![(self.key(), self.version)];
        if let (PlacementState::Accepted, Some(reference)) = (self.state, &self.provider_reference) {
            versions.push((provider_reference_key(&self.provider, reference), 1));
        }
        versions
    }
}

/// An organisation that is or was a party to a placement: one row each, never deleted.
pub struct PartyRow {
    /// Commissioner, provider, school on roll or LA of residence.
    pub organisation: OrganisationId,
    /// The placement.
    pub placement: Uuid,
}

impl Record for PartyRow {
    const TABLE: &'static Table = &Table {
        name: "placement_parties",
        class: TableClass::Committed,
        subject: RecordSubject::NoChild,
        columns: &[
            Column::new::<i64>("idx"),
            Column::new::<i64>("ordinal"),
            Column::new::<String>("organisation"),
            Column::new::<Vec<u8>>("placement"),
        ],
        replace_key: &[],
    };

    fn values(&self) -> Vec<Value> {
        vec![self.organisation.as_str().into(), self.placement.into()]
    }
}

impl Placement {
    /// Returns the placement's key, whose version is the etag.
    #[must_use]
    pub fn key(&self) -> VersionKey {
        key(self.id)
    }

    /// Returns the role of an organisation in the placement. An organisation with several roles acts in the first of
    /// commissioner, provider, school on roll and LA of residence.
    #[must_use]
    pub fn role_of(&self, organisation: &OrganisationId) -> CallerRole {
        if *organisation == self.commissioner {
            CallerRole::Commissioner
        } else if *organisation == self.provider {
            CallerRole::Provider
        } else if self.schools.contains(organisation) {
            CallerRole::SchoolOnRoll
        } else if *organisation == self.residence {
            CallerRole::Residence
        } else {
            CallerRole::NoRole
        }
    }

    /// Returns the role in which an organisation reads the placement. After the end, a provider that also has the
    /// child on its roll reads as that school.
    #[must_use]
    pub fn reading_role(&self, organisation: &OrganisationId) -> CallerRole {
        match self.role_of(organisation) {
            CallerRole::Provider
                if self.role_status() == RoleStatus::Ended && self.schools.contains(organisation) =>
            {
                CallerRole::SchoolOnRoll
            }
            part => part,
        }
    }

    /// Returns whether the referral or placement is live or over.
    #[must_use]
    pub fn role_status(&self) -> RoleStatus {
        match self.state {
            PlacementState::Referred
            | PlacementState::Accepted
            | PlacementState::Approved
            | PlacementState::Active => RoleStatus::Live,
            _ => RoleStatus::Ended,
        }
    }

    /// Returns the recipients of what provider or commissioner send about the placement: commissioner, schools on
    /// roll and LA of residence, each once, without `except`.
    #[must_use]
    pub fn recipients(&self, except: &OrganisationId) -> Vec<OrganisationId> {
        let parties = [&self.commissioner].into_iter().chain(&self.schools).chain([&self.residence]);
        let mut recipients = Vec::new();
        for organisation in parties {
            if organisation != except && !recipients.contains(organisation) {
                recipients.push(organisation.clone());
            }
        }
        recipients
    }

    /// Returns all present parties, each once.
    #[must_use]
    pub fn parties(&self) -> Vec<OrganisationId> {
        let mut parties = self.recipients(&self.provider);
        parties.push(self.provider.clone());
        parties
    }
}

/// Returns the key of a placement.
#[must_use]
pub fn key(id: Uuid) -> VersionKey {
    VersionKey::new(KeyFamily::Placement).id(id)
}

/// Returns the key of a provider's reference; it has a version once the reference is in use.
#[must_use]
pub fn provider_reference_key(provider: &OrganisationId, reference: &str) -> VersionKey {
    VersionKey::new(KeyFamily::Reference).text(provider.as_str()).text(reference)
}

/// Lists the ids of placements to which the organisation is or was a party, in order, those greater than `after`, at
/// most `limit`.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn list_ids_for_party(
    snapshot: &mut Snapshot,
    organisation: &OrganisationId,
    after: Uuid,
    limit: i64,
) -> Result<Vec<Uuid>, StoreError> {
    let sql = "SELECT placement FROM placement_parties \
               WHERE organisation = $1 AND placement > $2 ORDER BY placement LIMIT $3";
    let rows = snapshot.fetch(sql, vec![organisation.as_str().into(), after.into(), limit.into()]).await?;
    rows.iter().map(|row| row.uuid(0)).collect()
}

/// Reads the newest versions of placements, in the order of their ids. They are not added to the exchange's read set,
/// because a list reads many and shows few: it calls [`Snapshot::record_read`] for those that it shows.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn by_ids(snapshot: &mut Snapshot, ids: &[Uuid]) -> Result<Vec<Placement>, StoreError> {
    let keys: Vec<VersionKey> = ids.iter().map(|id| key(*id)).collect();
    let rows = snapshot.fetch_by_keys(select_newest!("WHERE h.key"), &keys).await?;
    let mut placements = rows.iter().map(from_row).collect::<Result<Vec<_>, _>>()?;
    placements.sort_unstable_by_key(|placement| placement.id);
    Ok(placements)
}

/// Reads the newest version of a placement, without a check of the caller's rights. The placement is added to the
/// exchange's read set, because the caller's role is decided from it.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn by_id(snapshot: &mut Snapshot, id: Uuid) -> Result<Option<Placement>, StoreError> {
    let row = snapshot.fetch_one(select_newest!("WHERE h.key = $1"), vec![key(id).as_bytes().into()]).await?;
    let placement = row.map(|row| from_row(&row)).transpose()?;
    if let Some(placement) = &placement {
        snapshot.record_read(placement.key(), placement.version);
    }
    Ok(placement)
}

/// Reads the newest version of a placement to which the organisation is or was a party. A placement of others and one
/// that does not exist end at the same lookup, so the time of a refusal does not reveal which of the two it was.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn by_id_for_party(
    snapshot: &mut Snapshot,
    id: Uuid,
    organisation: &OrganisationId,
) -> Result<Option<Placement>, StoreError> {
    // The inner query is evaluated first: without a row of the organisation there is no key to look up.
    let sql = select_newest!(
        "WHERE h.key = (SELECT $1 FROM placement_parties WHERE organisation = $2 AND placement = $3 LIMIT 1)"
    );
    let arguments = vec![key(id).as_bytes().into(), organisation.as_str().into(), id.into()];
    let placement = snapshot.fetch_one(sql, arguments).await?.map(|row| from_row(&row)).transpose()?;
    if let Some(placement) = &placement {
        snapshot.record_read(placement.key(), placement.version);
    }
    Ok(placement)
}

/// Lists every placement with a provider that is or was active. A damaged row is an error in its place in the list.
///
/// # Errors
/// As [`StoreError`] says, except that damaged rows are in the list.
pub async fn list_started_by_provider(
    snapshot: &mut Snapshot,
    provider: &OrganisationId,
) -> Result<Vec<Result<Placement, DamagedRow>>, StoreError> {
    let sql = select_newest!("WHERE p.provider = $1 AND p.state IN ($2, $3) ORDER BY p.placement");
    let (active, ended) = (PlacementState::Active as i32, PlacementState::Ended as i32);
    let rows = snapshot.fetch(sql, vec![provider.as_str().into(), active.into(), ended.into()]).await?;
    Ok(rows.iter().map(|row| from_row(row).map_err(|error| DamagedRow::new(row.uuid(0), error))).collect())
}

/// Reports whether a commissioner has a live referral or placement of its child with a provider.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn has_live_placement(
    snapshot: &mut Snapshot,
    commissioner: &OrganisationId,
    provider: &OrganisationId,
    child: Uuid,
) -> Result<bool, StoreError> {
    let sql = select_newest!("WHERE p.provider = $1 AND p.child = $2 AND p.commissioner = $3");
    let arguments = vec![provider.as_str().into(), child.into(), commissioner.as_str().into()];
    let rows = snapshot.fetch(sql, arguments).await?;
    let placements = rows.iter().map(from_row).collect::<Result<Vec<_>, _>>()?;
    Ok(placements.iter().any(|placement| placement.role_status() == RoleStatus::Live))
}

/// Decodes a row of `select_newest!` or `select_versions!`.
pub(crate) fn from_row(row: &Row) -> Result<Placement, StoreError> {
    let corrupt = |column| StoreError::corrupt("placements", column);
    let organisation = |column: usize| OrganisationId::parse(row.text(column)?).map_err(|_| corrupt(column));
    let date = |column: usize| {
        row.opt_text(column)?.map(|text| Date::parse(text).map_err(|_| corrupt(column))).transpose()
    };
    let number = |column: usize| i32::try_from(row.int(column)?).map_err(|_| corrupt(column));
    let schools = row.text(6)?.split(',').filter(|id| !id.is_empty());
    Ok(Placement {
        id: row.uuid(0)?,
        version: row.int(1)?,
        state: PlacementState::try_from(number(2)?).map_err(|_| corrupt(2))?,
        commissioner: organisation(3)?,
        provider: organisation(4)?,
        residence: organisation(5)?,
        schools: schools
            .map(|id| OrganisationId::parse(id).map_err(|_| corrupt(6)))
            .collect::<Result<_, _>>()?,
        periods: parties::decode_periods(row.text(17)?).ok_or(corrupt(17))?,
        child: row.uuid(7)?,
        agreement: row.uuid(8)?,
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

/// Reads the version of a placement that the exchange at a log index wrote, if it wrote one.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn version_written_at(
    snapshot: &mut Snapshot,
    id: Uuid,
    index: i64,
) -> Result<Option<Placement>, StoreError> {
    let sql = select_versions!("WHERE p.idx = $1 AND p.placement = $2 ORDER BY p.ordinal DESC");
    let row = snapshot.fetch_one(sql, vec![index.into(), id.into()]).await?;
    row.map(|row| from_row(&row)).transpose()
}
