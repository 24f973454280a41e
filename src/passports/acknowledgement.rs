//! The acknowledgement of a passport by its provider, which satisfies a condition for the start of the placement.

use super::content::{find_live_share, withheld_kinds};
use super::rows;
use super::rules::{self, Visibility};
use crate::exchange::{Refusal, RequestContext};
use crate::placements::safety_acknowledgement;
use crate::store::version_key::VersionKey;
use crate::store::{EntryIndex, Revision};

/// Returns the update that an acknowledgement of the share at an index makes: the key of the acknowledged version, its
/// value before, and its value after. `None` when the share lacks a block that a start needs, or is not newer than the
/// acknowledged version.
///
/// # Errors
/// [`crate::store::StoreError`] when the query fails or a stored value is corrupt.
pub async fn acknowledgement_update(
    cx: &mut RequestContext,
    index: EntryIndex,
) -> Result<Option<(VersionKey, Revision, Revision)>, Refusal> {
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
    Ok((complete && share.version > before).then_some((key, before, share.version)))
}
