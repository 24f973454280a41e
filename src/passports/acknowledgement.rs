//! The acknowledgement of a passport by its provider, which satisfies a condition for the start of the placement.

use uuid::Uuid;

use super::content::{find_live_share, withheld_kinds};
use super::rows::{self, ShareRow};
use super::rules::{self, Visibility};
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Refusal, RequestContext};
use crate::placements::safety_acknowledgement;
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

/// Returns the update that an acknowledgement of the share at an index makes. `None` when the share lacks a block that a
/// start needs, or is not newer than the acknowledged version.
///
/// # Errors
/// [`crate::store::StoreError`] when the query fails or a stored value is corrupt.
pub async fn acknowledgement_update(
    cx: &mut RequestContext,
    index: EntryIndex,
) -> Result<Option<SafetyUpdate>, Refusal> {
    let Some((share, placement)) = find_live_share(cx, index).await? else {
        return Ok(None);
    };
    let withheld = withheld_kinds(cx, &share.sender, placement.id).await?;
    let blocks = rows::list_blocks(&mut cx.snapshot, &share.sender, placement.child, share.version).await?;
    let shown = blocks.iter().filter(|block| {
        rules::visibility(block.sensitivity, withheld.includes(block.kind)) == Visibility::Content
    });
    let readable: Vec<_> = shown.map(|block| block.kind).collect();
    let key = safety_acknowledgement::acknowledged_key(&share.sender, placement.id);
    let before = cx.snapshot.current_version(&key).await?;
    let complete = rules::missing_to_start(&readable).next().is_none();
    let ShareRow { sender, placement, version, .. } = share;
    Ok((complete && version > before).then_some(SafetyUpdate { sender, placement, before, version }))
}
