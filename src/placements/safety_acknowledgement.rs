//! The provider's acknowledgement of the newest passport's emergency contact, medical and safety items, which a start
//! needs. The two keys are defined here because `passports`, which writes them, imports this module.

use std::collections::HashMap;

use uuid::Uuid;

use super::open_item_code::OpenItemCode;
use super::rows::Placement;
use crate::calendar::Date;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Change, Refusal, RequestContext};
use crate::proto::v1::OpenItem;
use crate::store::version_key::{KeyFamily, VersionKey};
use crate::store::{Revision, Snapshot, StoreError};
use crate::violation_reason::ViolationReason;

/// Returns the key of a sender's passport of a child, whose version is the passport's etag.
#[must_use]
pub fn passport_key(sender: &OrganisationId, child: Uuid) -> VersionKey {
    VersionKey::new(KeyFamily::Passport).text(sender.as_str()).id(child)
}

/// Returns the key of the provider's acknowledgement. Its version is that of the sender's passport in which the
/// placement's provider has acted on all items that a start needs.
#[must_use]
pub fn acknowledged_key(sender: &OrganisationId, placement: Uuid) -> VersionKey {
    VersionKey::new(KeyFamily::SafetyAcknowledged).text(sender.as_str()).id(placement)
}

/// Code of the open item, and reason of the refusal of a start.
const SAFETY_NOT_ACKNOWLEDGED: &str = OpenItemCode::SafetyNotAcknowledged.as_str();

/// The acknowledgement of a placement's safety items, with the versions that were read to find it.
#[derive(Default)]
pub struct SafetyAcknowledgement {
    /// Whether the newest passport of one of the senders is acknowledged.
    pub acknowledged: bool,
    /// The last day on which a sender replaced a passport that was acknowledged, so that the newest is not.
    pub replaced_on: Option<Date>,
    /// Per sender the newest and the acknowledged version, the commissioner's first.
    pub versions_read: Vec<(VersionKey, Revision)>,
}

impl SafetyAcknowledgement {
    /// Returns two versions of the commissioner's passport: the acknowledged and the newest.
    fn acknowledged_and_newest(&self) -> (Revision, Revision) {
        let mut seen = self.versions_read.iter().map(|(_, version)| *version);
        let newest = seen.next().unwrap_or(Revision::ABSENT);
        (seen.next().unwrap_or(Revision::ABSENT), newest)
    }

    /// Adds the acknowledged and the needed version to a refusal. The caller is the commissioner, which owns the
    /// passport.
    pub(super) fn add_versions_to_refusal(&self, mut refusal: Refusal) -> Refusal {
        let (acknowledged, needed) = self.acknowledged_and_newest();
        if refusal
            .violations
            .iter()
            .any(|violation| violation.reason == ViolationReason::SafetyNotAcknowledged)
        {
            refusal.metadata.push(("passport_acknowledged", acknowledged.to_string()));
            refusal.metadata.push(("passport_needed", needed.to_string()));
        }
        refusal
    }

    /// Adds the acknowledged and the needed version to the open item. Only the commissioner may see them.
    pub(super) fn add_versions_to_items(&self, items: &mut [OpenItem]) {
        let etag =
            |version: Revision| if version == Revision::ABSENT { String::new() } else { version.to_string() };
        let (acknowledged, needed) = self.acknowledged_and_newest();
        for item in items.iter_mut().filter(|item| item.item == SAFETY_NOT_ACKNOWLEDGED) {
            item.acknowledged_etag = etag(acknowledged);
            item.needed_etag = etag(needed);
        }
    }

    /// Guards a change by the versions that were read.
    pub(super) fn guard(&self, change: Change) -> Change {
        self.versions_read.iter().fold(change, |change, (key, version)| change.guard(key.clone(), *version))
    }
}

/// Reads the acknowledgement of the passports of all possible senders: the commissioner, and the schools on roll.
///
/// # Errors
/// See [`StoreError`].
pub async fn load(
    cx: &mut RequestContext,
    placement: &Placement,
) -> Result<SafetyAcknowledgement, StoreError> {
    let loaded = load_all(&mut cx.snapshot, std::slice::from_ref(placement)).await?;
    Ok(loaded.into_values().next().unwrap_or_default())
}

/// Reads the acknowledgements of placements, as [`load`] does of one, by the placement's id.
///
/// # Errors
/// See [`StoreError`].
pub async fn load_all(
    snapshot: &mut Snapshot,
    placements: &[Placement],
) -> Result<HashMap<Uuid, SafetyAcknowledgement>, StoreError> {
    let keys = |placement: &Placement| {
        let senders = [&placement.commissioner].into_iter().chain(&placement.schools);
        let keys = |sender| (passport_key(sender, placement.child), acknowledged_key(sender, placement.id));
        senders.map(keys).collect::<Vec<_>>()
    };
    let all: Vec<VersionKey> =
        placements.iter().flat_map(keys).flat_map(|(newest, acknowledged)| [newest, acknowledged]).collect();
    let current = snapshot.current_versions(&all).await?;
    let version = |key: &VersionKey| current.get(key).copied().unwrap_or(Revision::ABSENT);
    let is_replaced = |(newest, acknowledged): &(VersionKey, VersionKey)| {
        let acknowledged = version(acknowledged);
        acknowledged != Revision::ABSENT && acknowledged != version(newest)
    };
    let replaced = placements.iter().flat_map(keys).filter(is_replaced).map(|(newest, _)| newest);
    let put = load_days(snapshot, &replaced.collect::<Vec<_>>()).await?;
    let load = |placement: &Placement| {
        let mut safety = SafetyAcknowledgement::default();
        for (newest, acknowledged) in keys(placement) {
            let versions = (version(&newest), version(&acknowledged));
            safety.acknowledged |= versions.0 != Revision::ABSENT && versions.0 == versions.1;
            safety.replaced_on = safety.replaced_on.max(put.get(&newest).copied());
            safety.versions_read.extend([(newest, versions.0), (acknowledged, versions.1)]);
        }
        (placement.id, safety)
    };
    Ok(placements.iter().map(load).collect())
}

/// Returns the days on which the newest versions of keys were written.
async fn load_days(
    snapshot: &mut Snapshot,
    keys: &[VersionKey],
) -> Result<HashMap<VersionKey, Date>, StoreError> {
    let sql = "SELECT v.key, e.time FROM current_versions v JOIN entries e ON e.idx = v.idx WHERE v.key";
    let rows = snapshot.fetch_by_keys(sql, keys).await?;
    rows.iter().map(|row| Ok((row.get("key")?, Date::in_london(row.get("time")?)))).collect()
}
