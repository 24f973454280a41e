//! Whether the provider has acknowledged what keeps the child safe: the newest passport's emergency contact,
//! medical and safety items. A start asks this; who writes the two keys comes later in the order of things.

use uuid::Uuid;

use super::rows::Placement;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Change, Cx};
use crate::store::StoreError;
use crate::store::key::{Family, Key};

/// The key of a sender's passport of a child, whose version is the passport's etag.
#[must_use]
pub fn passport_key(sender: &OrganisationId, child: Uuid) -> Key {
    Key::new(Family::Passport).text(sender.as_str()).id(child)
}

/// The key whose version is that of the sender's passport of which the placement's provider has acted on all
/// that a start needs.
#[must_use]
pub fn acknowledged_key(sender: &OrganisationId, placement: Uuid) -> Key {
    Key::new(Family::SafetyAcknowledged).text(sender.as_str()).id(placement)
}

/// Whether the items are acknowledged, with the versions that say so.
pub(super) struct Safety {
    /// They are.
    pub acknowledged: bool,
    /// What was seen.
    pub seen: Vec<(Key, i64)>,
}

impl Safety {
    /// Rests a change on what was seen.
    pub(super) fn guard(&self, change: Change) -> Change {
        self.seen.iter().fold(change, |change, (key, version)| change.guard(key.clone(), *version))
    }
}

/// Of the newest passport of any who can send one: the commissioner, and the schools on roll.
pub(super) async fn of(cx: &mut Cx, placement: &Placement) -> Result<Safety, StoreError> {
    let mut safety = Safety { acknowledged: false, seen: Vec::new() };
    for sender in [&placement.commissioner].into_iter().chain(&placement.schools) {
        let newest = passport_key(sender, placement.child);
        let acknowledged = acknowledged_key(sender, placement.id);
        let versions = (cx.snapshot.version(&newest).await?, cx.snapshot.version(&acknowledged).await?);
        safety.acknowledged |= versions.0 > 0 && versions.0 == versions.1;
        safety.seen.extend([(newest, versions.0), (acknowledged, versions.1)]);
    }
    Ok(safety)
}
