//! Whether the provider has acknowledged what keeps the child safe: the newest passport's emergency contact,
//! medical and safety items. A start asks this; who writes the two keys comes later in the order of things.

use uuid::Uuid;

use super::rows::Placement;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Change, Cx, Refusal};
use crate::proto::v1::OpenItem;
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

/// The open item, and the reason of a refused start.
const NOT_ACKNOWLEDGED: &str = "SAFETY_NOT_ACKNOWLEDGED";

/// Whether the items are acknowledged, with the versions that say so.
pub(super) struct Safety {
    /// They are.
    pub acknowledged: bool,
    /// What was seen: of each sender the newest version and the acknowledged one, the commissioner's first.
    pub seen: Vec<(Key, i64)>,
}

impl Safety {
    /// The versions of the commissioner's own passport: acknowledged by the provider, and the newest; 0 for none.
    fn versions(&self) -> (i64, i64) {
        let mut seen = self.seen.iter().map(|(_, version)| *version);
        let newest = seen.next().unwrap_or_default();
        (seen.next().unwrap_or_default(), newest)
    }

    /// Adds to a refusal which version was acknowledged and which is needed. Its caller is the commissioner, whose
    /// passport it is.
    pub(super) fn explain(&self, mut refusal: Refusal) -> Refusal {
        let (acknowledged, needed) = self.versions();
        if refusal.violations.iter().any(|violation| violation.reason == NOT_ACKNOWLEDGED) {
            refusal.facts.push(("passport_acknowledged", acknowledged.to_string()));
            refusal.facts.push(("passport_needed", needed.to_string()));
        }
        refusal
    }

    /// Names the versions in an open item, for the commissioner.
    pub(super) fn name_versions(&self, items: &mut [OpenItem]) {
        let etag = |version: i64| if version == 0 { String::new() } else { version.to_string() };
        let (acknowledged, needed) = self.versions();
        for item in items.iter_mut().filter(|item| item.item == NOT_ACKNOWLEDGED) {
            item.acknowledged_etag = etag(acknowledged);
            item.needed_etag = etag(needed);
        }
    }

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
