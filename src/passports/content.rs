//! The content of a shared passport version, reduced to what the provider may read at this moment.

use uuid::Uuid;

use super::rows::{self, ShareRow};
use super::rules::{self, BlockKinds, Visibility};
use super::sender;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{
    ContentSubject, DeliveredContent, DeliverySource, RecordRef, Refusal, RequestContext, RoleStatus,
};
use crate::placements::{self, Placement, children};
use crate::proto::v1::delivery::Content;
use crate::proto::v1::{BlockNotice, PassportBlock, PassportContent, RecordKind};
use crate::seal::ChildKey;
use crate::store::{EntryIndex, Revision};

/// The part of a version that a system may read: readable blocks, and notices that other blocks exist.
pub struct VisibleBlocks {
    pub blocks: Vec<PassportBlock>,
    pub notices: Vec<BlockNotice>,
}

impl VisibleBlocks {
    /// Returns the kinds of the blocks whose content is visible, one bit for each.
    pub fn content_kinds(&self) -> u64 {
        let kinds = self.blocks.iter().filter_map(|block| block.content.as_ref()).map(rules::kind_of);
        kinds.collect::<BlockKinds>().bits().into()
    }
}

/// Reads the visible part of a version; `withheld` are the kinds that are withheld from the reader. The kinds that no system may read always have a notice, whether or not the version has such a block and whether or not
/// it is withheld. A notice that appeared only with a block would reveal that the child is in care, on a plan, or
/// hidden.
pub async fn visible_blocks(
    cx: &mut RequestContext,
    key: &ChildKey,
    (sender, child, version): (&OrganisationId, Uuid, Revision),
    withheld: BlockKinds,
) -> Result<VisibleBlocks, Refusal> {
    let notices = if version == Revision::ABSENT { Vec::new() } else { rules::unreadable_notices() };
    let mut view = VisibleBlocks { blocks: Vec::new(), notices };
    for row in rows::list_blocks(&mut cx.snapshot, sender, child, version).await? {
        match rules::visibility(row.sensitivity, withheld.includes(row.kind)) {
            Visibility::Content => view.blocks.push(rows::open_block(key, &row)?),
            Visibility::Notice if rules::is_unreadable(row.kind) => {}
            Visibility::Notice => {
                let (kind, sensitivity) = (row.kind as i32, row.sensitivity as i32);
                view.notices.push(BlockNotice { kind, sensitivity });
            }
            Visibility::Hidden => {}
        }
    }
    Ok(view)
}

/// Returns the kinds that are withheld from a placement's provider.
pub async fn withheld_kinds(
    cx: &mut RequestContext,
    sender: &OrganisationId,
    placement: Uuid,
) -> Result<BlockKinds, Refusal> {
    let decision = rows::latest_withholding(&mut cx.snapshot, sender, placement).await?;
    Ok(decision.map_or(BlockKinds::empty(), |decision| decision.kinds))
}

/// Reads the content of a delivered share, as its recipient may read it now. Empty once the placement is over, its sender has left it, the agreement has lapsed, or the child's record
/// is erased.
///
/// # Errors
/// [`crate::exchange::Reason::Failed`] when a stored value cannot be opened.
pub async fn passport_content(
    cx: &mut RequestContext,
    source: DeliverySource<'_>,
) -> Result<DeliveredContent, Refusal> {
    let Some(((share, placement), id)) = find_live_share(cx, source.index).await?.zip(source.placement)
    else {
        return Ok(DeliveredContent::default());
    };
    let Some(key) = children::load_key(cx, &share.sender, placement.child).await? else {
        return Ok(DeliveredContent::default());
    };
    let withheld = withheld_kinds(cx, &share.sender, placement.id).await?;
    let view = visible_blocks(cx, &key, (&share.sender, placement.child, share.version), withheld).await?;
    let record = RecordRef::new(RecordKind::Passport, id, share.version).with_blocks(view.content_kinds());
    let content = PassportContent {
        sender: share.sender.to_string(),
        etag: share.version.to_string(),
        blocks: view.blocks,
        notices: view.notices,
    };
    let subject = ContentSubject { placement: id, sender: share.sender, key, record };
    Ok(DeliveredContent::about_child(content, Content::Passport, subject))
}

/// Returns the share at an index if its recipient, the caller, still has a right to it. A share from a school that has
/// left the placement has ended, as for `GetPassport`, because that school can no longer withhold any of it.
pub async fn find_live_share(
    cx: &mut RequestContext,
    index: EntryIndex,
) -> Result<Option<(ShareRow, Placement)>, Refusal> {
    let Some(share) = rows::share_written_at(&mut cx.snapshot, index).await? else {
        return Ok(None);
    };
    let Some(placement) = placements::by_id(&mut cx.snapshot, share.placement).await? else {
        return Ok(None);
    };
    let entitled =
        placement.provider == cx.caller.organisation && placement.role_status() == RoleStatus::Live;
    let entitled = entitled && sender::can_send(&placement, &share.sender);
    let agreed = sender::sharing_basis(cx, &placement, &share.sender, share.agreement).await?.is_some();
    Ok((entitled && agreed).then_some((share, placement)))
}
