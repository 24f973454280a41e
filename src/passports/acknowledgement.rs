//! The acknowledgement of a passport by its provider, which satisfies a condition for the start of the placement.

use uuid::Uuid;

use super::content::{self, LiveShare, find_live_share, withheld_kinds};
use super::rows::ShareRow;
use super::rules;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Refusal, RequestContext};
use crate::placements::{children, safety_acknowledgement};
use crate::store::{EntryIndex, Revision};

/// What an acknowledgement of a passport changes for the start of its placement.
pub struct SafetyUpdate {
    /// Sender of the passport.
    pub sender: OrganisationId,
    /// The placement.
    pub placement: Uuid,
    /// The version that was acknowledged before.
    pub before: Revision,
    /// The version that is acknowledged now.
    pub version: Revision,
}

/// Returns the update that an acknowledgement of the share at an index makes. `None` when the caller's system, or the
/// person of the call, cannot read a block that a start needs, or when the share is not newer than the acknowledged
/// version.
///
/// # Errors
/// [`crate::store::StoreError`] when the query fails or a stored value is corrupt.
pub async fn acknowledgement_update(
    cx: &mut RequestContext,
    index: EntryIndex,
) -> Result<Option<SafetyUpdate>, Refusal> {
    let Some(LiveShare { share, placement, reader }) = find_live_share(cx, index).await? else {
        return Ok(None);
    };
    let Some(child_key) = children::load_key(cx, &share.sender, placement.child).await? else {
        return Ok(None);
    };
    let withheld = withheld_kinds(cx, &share.sender, placement.id).await?;
    let shared = (&share.sender, placement.child, share.version);
    let readable = content::readable_kinds(cx, &child_key, shared, withheld, &reader).await?;
    let key = safety_acknowledgement::acknowledged_key(&share.sender, placement.id);
    let before = cx.snapshot.current_version(&key).await?;
    let complete = rules::missing_to_start(&readable).next().is_none();
    let ShareRow { sender, placement, version, .. } = share;
    Ok((complete && version > before).then_some(SafetyUpdate { sender, placement, before, version }))
}
