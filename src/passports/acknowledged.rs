//! A provider acts on a passport: if it was shown all that a start needs, the start needs no more of it.

use super::content::{still_shared, withheld};
use super::rows;
use super::rules::{self, Shown};
use crate::exchange::{Cx, Refusal};
use crate::placements::safety;
use crate::store::key::Key;

/// The key of what the provider has acknowledged, the version that it had, and the version that it gets when
/// the caller acts on the share at an index; none where the share lacks something, or is older.
///
/// # Errors
/// As [`crate::store::StoreError`] says.
pub async fn acknowledged(cx: &mut Cx, index: i64) -> Result<Option<(Key, i64, i64)>, Refusal> {
    let Some((share, placement)) = still_shared(cx, index).await? else {
        return Ok(None);
    };
    let withheld = withheld(cx, &share.sender, placement.id).await?;
    let blocks = rows::blocks(&mut cx.snapshot, &share.sender, placement.child, share.version).await?;
    let shown = blocks.iter().filter(|block| {
        rules::shown(block.sensitivity, rules::is_among(block.kind, withheld)) == Shown::Content
    });
    let readable: Vec<_> = shown.map(|block| block.kind).collect();
    let key = safety::acknowledged_key(&share.sender, placement.id);
    let before = cx.snapshot.version(&key).await?;
    let all = rules::missing_for_a_start(&readable).next().is_none();
    Ok((all && share.version > before).then_some((key, before, share.version)))
}
