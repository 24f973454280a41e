//! Whether a commissioner's own passport marks a child as one whose absence must be followed up at once. Only the
//! commissioner may be told of what rests on it.

use uuid::Uuid;

use super::rows::{self, BlockRow};
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Refusal, RequestContext};
use crate::placements::safety_acknowledgement::passport_key;
use crate::proto::v1::{PassportBlockKind, passport_block};
use crate::seal::ChildKey;

/// Returns whether the newest version of an organisation's passport of a child marks it as looked after, on a child
/// protection plan, or missing before. `key` is the organisation's key of the child.
///
/// # Errors
/// [`Reason::Failed`](crate::exchange::Reason::Failed) when a stored block does not open.
pub async fn is_at_risk(
    cx: &mut RequestContext,
    key: &ChildKey,
    (organisation, child): (&OrganisationId, Uuid),
) -> Result<bool, Refusal> {
    let version = cx.snapshot.current_version(&passport_key(organisation, child)).await?;
    let blocks = rows::list_blocks(&mut cx.snapshot, organisation, child, version).await?;
    let is_safeguarding = |row: &&BlockRow| row.kind == PassportBlockKind::Safeguarding;
    let Some(row) = blocks.iter().find(is_safeguarding) else { return Ok(false) };
    Ok(match rows::open_block(key, row)?.content {
        Some(passport_block::Content::Safeguarding(block)) => {
            block.looked_after || block.child_protection || block.missing_before
        }
        _ => false,
    })
}
