//! Rows of placements and of their parties: one row per version, the newest named by `current_versions`.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::party_periods::PartyPeriod;
use crate::calendar::Date;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{CallerRole, RoleStatus};
use crate::proto::v1::{LegalBasis, PlacementReason, PlacementState};
use crate::store::version_key::{KeyFamily, VersionKey};
use crate::store::{DamagedRow, EntryIndex, Record as _, Revision, Row, Snapshot, StoreError};
use crate::{record, select, stored_enums};

stored_enums! { PlacementState, LegalBasis, PlacementReason }

record! {
    /// A version of a placement.
    #[derive(Clone, Debug)]
    pub struct Placement in "placements" as p, 23, Committed, PlacementVersion {
        /// Id, made by `CreateReferral`; the same from referral to follow-up.
        pub id: Uuid,
        /// The etag, from 1.
        pub version: Revision,
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
        pub party_periods: Vec<PartyPeriod>,
        /// The child's id in the commissioner's record.
        pub child: Uuid,
        /// The agreement under which the child was referred.
        pub agreement: Uuid,
        /// The provider's reference, unique within the provider.
        pub provider_reference: Option<String>,
        /// Blind index of the UPN under the provider; the provider's marks find the child by it.
        pub upn_index: Option<Vec<u8>>,
        /// First day.
        pub start_date: Option<Date>,
        /// Planned last day.
        pub planned_end_date: Option<Date>,
        /// Actual last day.
        pub end_date: Option<Date>,
        /// Legal basis of the placement.
        pub legal_basis: LegalBasis,
        /// Reason for the placement.
        pub reason: PlacementReason,
        /// `PlacementDetail`, sealed under the commissioner's key of the child.
        pub detail: Vec<u8>,
    }
    written {
        // A provider's placements are found without their keys, and of these the newest versions by this column.
        version_key: VersionKey = |row| row.key();
    }
    versions = |row| row.versioned_keys();
}

record! {
    /// An organisation that is or was a party to a placement: one row each, never deleted.
    pub struct PartyRow in "placement_parties" as p, 24, Committed, PlacementChild {
        /// Commissioner, provider, school on roll or LA of residence.
        pub organisation: OrganisationId,
        /// The placement.
        pub placement: Uuid,
    }
}

/// A query of the newest versions of placements that are not found by their keys.
macro_rules! select_newest {
    ($rest:literal) => {
        select!(
            Placement,
            concat!(
                "JOIN current_versions v ON v.key = p.version_key AND v.idx = p.idx AND v.ordinal = p.ordinal ",
                $rest
            )
        )
    };
}

impl Placement {
    /// Returns the placement's key, whose version is the etag.
    #[must_use]
    pub fn key(&self) -> VersionKey {
        key(self.id)
    }

    /// Returns the keys of the version; the version that accepts a referral also claims the provider's reference.
    fn versioned_keys(&self) -> Vec<(VersionKey, Revision)> {
        let mut versions = vec![(self.key(), self.version)];
        if let (PlacementState::Accepted, Some(reference)) = (self.state, &self.provider_reference) {
            versions.push((provider_reference_key(&self.provider, reference), Revision::FIRST));
        }
        versions
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
/// See [`StoreError`].
pub async fn list_ids_for_party(
    snapshot: &mut Snapshot,
    organisation: &OrganisationId,
    after: Uuid,
    limit: i64,
) -> Result<Vec<Uuid>, StoreError> {
    let sql = "SELECT placement FROM placement_parties \
               WHERE organisation = $1 AND placement > $2 ORDER BY placement LIMIT $3";
    let rows = snapshot.fetch(sql, vec![organisation.as_str().into(), after.into(), limit.into()]).await?;
    rows.iter().map(|row| row.get("placement")).collect()
}

/// Reads the newest versions of placements, in the order of their ids. They are not added to the exchange's read set,
/// because a list reads many and shows few: it calls [`Snapshot::record_read`] for those that it shows.
///
/// # Errors
/// See [`StoreError`].
pub async fn by_ids(snapshot: &mut Snapshot, ids: &[Uuid]) -> Result<Vec<Placement>, StoreError> {
    let keys: Vec<VersionKey> = ids.iter().map(|id| key(*id)).collect();
    let mut placements: Vec<Placement> = snapshot.newest_by_keys(&keys).await?;
    placements.sort_unstable_by_key(|placement| placement.id);
    Ok(placements)
}

/// Reads the commissioners of placements, in the order of the placements' ids. One that cannot be read is an error in its
/// place in the list; one that does not exist is not in it.
///
/// # Errors
/// See [`StoreError`]; damaged rows are in the list instead.
pub async fn commissioners_of(
    snapshot: &mut Snapshot,
    ids: &[Uuid],
) -> Result<Vec<(Uuid, Result<OrganisationId, StoreError>)>, StoreError> {
    let by_key: BTreeMap<VersionKey, Uuid> = ids.iter().map(|id| (key(*id), *id)).collect();
    let sql = "SELECT v.key, p.commissioner FROM current_versions v \
               JOIN placements p ON p.idx = v.idx AND p.ordinal = v.ordinal WHERE v.key";
    let rows = snapshot.fetch_by_keys(sql, by_key.keys()).await?;
    let read = |row: &Row| Some((*by_key.get(&row.get::<VersionKey>("key").ok()?)?, row.get("commissioner")));
    let mut found: Vec<_> = rows.iter().filter_map(read).collect();
    found.sort_unstable_by_key(|(id, _)| *id);
    Ok(found)
}

/// Reads the newest version of a placement, without a check of the caller's rights. The placement is added to the
/// exchange's read set, because the caller's role is decided from it.
///
/// # Errors
/// See [`StoreError`].
pub async fn by_id(snapshot: &mut Snapshot, id: Uuid) -> Result<Option<Placement>, StoreError> {
    let placement: Option<Placement> = snapshot.newest(&key(id)).await?;
    if let Some(placement) = &placement {
        snapshot.record_read(placement.key(), placement.version);
    }
    Ok(placement)
}

/// Reads the newest version of a placement to which the organisation is or was a party. A placement of others and one
/// that does not exist end at the same lookup, so the time of a refusal does not reveal which of the two it was.
///
/// # Errors
/// See [`StoreError`].
pub async fn by_id_for_party(
    snapshot: &mut Snapshot,
    id: Uuid,
    organisation: &OrganisationId,
) -> Result<Option<Placement>, StoreError> {
    // The inner query is evaluated first: without a row of the organisation there is no key to look up.
    let sql = select_newest!(
        "WHERE v.key = (SELECT $1 FROM placement_parties WHERE organisation = $2 AND placement = $3 LIMIT 1)"
    );
    let arguments = vec![key(id).as_bytes().into(), organisation.as_str().into(), id.into()];
    let row = snapshot.fetch_one(sql, arguments).await?;
    let placement = row.as_ref().map(Placement::read).transpose()?;
    if let Some(placement) = &placement {
        snapshot.record_read(placement.key(), placement.version);
    }
    Ok(placement)
}

/// Lists every placement with a provider that is or was active. A damaged row is an error in its place in the list.
///
/// # Errors
/// See [`StoreError`]; damaged rows are in the list instead.
pub async fn list_started_by_provider(
    snapshot: &mut Snapshot,
    provider: &OrganisationId,
) -> Result<Vec<Result<Placement, DamagedRow>>, StoreError> {
    let sql = select_newest!("WHERE p.provider = $1 AND p.state IN ($2, $3) ORDER BY p.id");
    let (active, ended) = (PlacementState::Active as i32, PlacementState::Ended as i32);
    let rows = snapshot.fetch(sql, vec![provider.as_str().into(), active.into(), ended.into()]).await?;
    let damaged = |row: &Row, error| DamagedRow::new(row.get("id"), error);
    Ok(rows.iter().map(|row| Placement::read(row).map_err(|error| damaged(row, error))).collect())
}

/// Lists the ids of all placements with a provider, in order, those greater than `after`, at most `limit`.
///
/// # Errors
/// See [`StoreError`].
pub async fn list_ids_by_provider(
    snapshot: &mut Snapshot,
    provider: &OrganisationId,
    after: Uuid,
    limit: i64,
) -> Result<Vec<Uuid>, StoreError> {
    let sql =
        "SELECT DISTINCT p.id FROM placements p WHERE p.provider = $1 AND p.id > $2 ORDER BY p.id LIMIT $3";
    let rows = snapshot.fetch(sql, vec![provider.as_str().into(), after.into(), limit.into()]).await?;
    rows.iter().map(|row| row.get("id")).collect()
}

/// Lists the placements with a provider that have started and do not end before a day. A damaged row is an error in its
/// place in the list.
///
/// # Errors
/// See [`StoreError`]; damaged rows are in the list instead.
pub async fn list_lasting_by_provider(
    snapshot: &mut Snapshot,
    provider: &OrganisationId,
    day: Date,
) -> Result<Vec<Result<Placement, DamagedRow>>, StoreError> {
    let sql = select_newest!(
        "WHERE p.provider = $1 AND p.state IN ($2, $3) AND COALESCE(p.end_date, $4) >= $4 ORDER BY p.id"
    );
    let (active, ended) = (PlacementState::Active as i32, PlacementState::Ended as i32);
    let arguments = vec![provider.as_str().into(), active.into(), ended.into(), day.to_string().into()];
    let rows = snapshot.fetch(sql, arguments).await?;
    let damaged = |row: &Row, error| DamagedRow::new(row.get("id"), error);
    Ok(rows.iter().map(|row| Placement::read(row).map_err(|error| damaged(row, error))).collect())
}

/// Reports whether a commissioner has a live referral or placement of its child with a provider.
///
/// # Errors
/// See [`StoreError`].
pub async fn has_live_placement(
    snapshot: &mut Snapshot,
    commissioner: &OrganisationId,
    provider: &OrganisationId,
    child: Uuid,
) -> Result<bool, StoreError> {
    let sql = select_newest!("WHERE p.provider = $1 AND p.child = $2 AND p.commissioner = $3");
    let arguments = vec![provider.as_str().into(), child.into(), commissioner.as_str().into()];
    let placements: Vec<Placement> = snapshot.select(sql, arguments).await?;
    Ok(placements.iter().any(|placement| placement.role_status() == RoleStatus::Live))
}

/// Lists the ids of all placements of a child with a provider, also of those that are over.
///
/// # Errors
/// See [`StoreError`].
pub async fn list_ids_of_child(
    snapshot: &mut Snapshot,
    provider: &OrganisationId,
    child: Uuid,
) -> Result<Vec<Uuid>, StoreError> {
    let sql = "SELECT DISTINCT p.id FROM placements p WHERE p.provider = $1 AND p.child = $2 ORDER BY p.id";
    let rows = snapshot.fetch(sql, vec![provider.as_str().into(), child.into()]).await?;
    rows.iter().map(|row| row.get("id")).collect()
}

/// Reads the version of a placement that the exchange at a log index wrote, if it wrote one.
///
/// # Errors
/// See [`StoreError`].
pub async fn version_written_at(
    snapshot: &mut Snapshot,
    id: Uuid,
    index: EntryIndex,
) -> Result<Option<Placement>, StoreError> {
    let sql = select!(Placement, "WHERE p.idx = $1 AND p.id = $2 ORDER BY p.ordinal DESC");
    let row = snapshot.fetch_one(sql, vec![index.into(), id.into()]).await?;
    row.as_ref().map(Placement::read).transpose()
}
