//! The content of a version of a passport, cut by the need-to-know table to what its reader gets at this moment.

use uuid::Uuid;

use super::need_to_know::{Part, Reader, ReadingRight, Visibility};
use super::rows::{self, BlockRow, ShareRow};
use super::rules::{self, BlockKinds};
use super::{reader, sender};
use crate::codes::organisation::OrganisationId;
use crate::exchange::{ContentSubject, DeliveredContent, DeliverySource, RecordRef, Refusal, RequestContext};
use crate::placements::{self, Placement, children};
use crate::proto::v1::delivery::Content;
use crate::proto::v1::{
    BlockNotice, PassportBlock, PassportBlockKind as Kind, PassportContent, RecordKind, passport_block,
};
use crate::seal::ChildKey;
use crate::store::{EntryIndex, Revision};

/// The part of a version that a reader gets: blocks, and notices of others.
pub struct VisibleBlocks {
    pub blocks: Vec<PassportBlock>,
    pub notices: Vec<BlockNotice>,
    /// The kinds that the log names: those of the blocks, but HEALTH and SAFEGUARDING whenever the reader may read any of
    /// them. The log is shown to systems and auditors, which must not learn whether there is such a block.
    pub logged_kinds: BlockKinds,
}

/// Cuts a version to what the reader gets; `withheld` are the kinds that are withheld from the reader. The notices HEALTH
/// and SAFEGUARDING are always there, whether or not the version has such a block and whether or not it is withheld. A
/// notice that appeared only with a block would reveal that the child is in care, on a plan, or hidden.
pub async fn visible_blocks(
    cx: &mut RequestContext,
    key: &ChildKey,
    (sender, child, version): (&OrganisationId, Uuid, Revision),
    withheld: BlockKinds,
    reader: &Reader,
) -> Result<VisibleBlocks, Refusal> {
    let mut view = VisibleBlocks::empty();
    if version == Revision::ABSENT {
        return Ok(view);
    }
    view.notices = rules::unreadable_notices();
    view.logged_kinds = restricted_kinds_read_by(reader);
    for row in rows::list_blocks(&mut cx.snapshot, sender, child, version).await? {
        if withheld.includes(row.kind) {
            continue;
        }
        let (visibility, block) = cut_block(key, &row, reader)?;
        if let Some(block) = block {
            view.logged_kinds |= row.kind.into();
            view.blocks.push(block);
        } else if visibility == Visibility::Notice && !rules::is_unreadable(row.kind) {
            let (kind, sensitivity) = (row.kind as i32, row.sensitivity as i32);
            view.notices.push(BlockNotice { kind, sensitivity });
        }
    }
    Ok(view)
}

impl VisibleBlocks {
    const fn empty() -> Self {
        Self { blocks: Vec::new(), notices: Vec::new(), logged_kinds: BlockKinds::empty() }
    }
}

/// Returns those of the kinds that no system reads of which a reader gets any part.
fn restricted_kinds_read_by(reader: &Reader) -> BlockKinds {
    let health = reader.visibility(Part::Health, &[]) == Visibility::Content;
    let kinds = [(Kind::Health, health), (Kind::Safeguarding, reader.reads_of_safeguarding())];
    kinds.into_iter().filter_map(|(kind, is_read)| is_read.then_some(kind)).collect()
}

/// Returns how much of a block a reader gets, and the block cut to it. A block is opened only for a reader that may get
/// some of it.
fn cut_block(
    key: &ChildKey,
    row: &BlockRow,
    reader: &Reader,
) -> Result<(Visibility, Option<PassportBlock>), Refusal> {
    let part = Part::of_block(row.kind, row.sensitivity);
    if part == Part::Safeguarding {
        let visibility = reader.visibility(part, &[]);
        if !reader.reads_of_safeguarding() {
            return Ok((visibility, None));
        }
        let mut block = rows::open_block(key, row)?;
        if let Some(passport_block::Content::Safeguarding(sent)) = &block.content {
            let cut = reader.cut_safeguarding(sent).map(passport_block::Content::Safeguarding);
            block.content = cut;
        }
        return Ok((visibility, block.content.is_some().then_some(block)));
    }
    // The roles with which a raised block is shared are sealed with it, and concern persons only.
    let opened = match part {
        Part::Raised if reader.person.is_some() && reader.reads_passports() => {
            Some(rows::open_block(key, row)?)
        }
        _ => None,
    };
    let share_with: Vec<_> = opened.iter().flat_map(PassportBlock::share_with).collect();
    let visibility = reader.visibility(part, &share_with);
    let block = match opened {
        _ if visibility != Visibility::Content => None,
        Some(block) => Some(block),
        None => Some(rows::open_block(key, row)?),
    };
    Ok((visibility, block))
}

/// Returns the kinds of a version's blocks of which a reader gets content. The text of blocks stays sealed where that
/// suffices.
pub async fn readable_kinds(
    cx: &mut RequestContext,
    key: &ChildKey,
    version: (&OrganisationId, Uuid, Revision),
    withheld: BlockKinds,
    reader: &Reader,
) -> Result<Vec<Kind>, Refusal> {
    let view = visible_blocks(cx, key, version, withheld, reader).await?;
    Ok(view.blocks.iter().filter_map(|block| block.content.as_ref()).map(rules::kind_of).collect())
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
    let Some((LiveShare { share, placement, reader }, id)) =
        find_live_share(cx, source.index).await?.zip(source.placement)
    else {
        return Ok(DeliveredContent::default());
    };
    let Some(key) = children::load_key(cx, &share.sender, placement.child).await? else {
        return Ok(DeliveredContent::default());
    };
    let withheld = withheld_kinds(cx, &share.sender, placement.id).await?;
    let version = (&share.sender, placement.child, share.version);
    let view = visible_blocks(cx, &key, version, withheld, &reader).await?;
    let record = RecordRef::new(RecordKind::Passport, id, share.version);
    let record = record.with_blocks(view.logged_kinds.bits().into());
    let content = PassportContent {
        sender: share.sender.to_string(),
        etag: share.version.to_string(),
        blocks: view.blocks,
        notices: view.notices,
    };
    let subject = ContentSubject { placement: id, sender: share.sender, key, record };
    Ok(DeliveredContent::about_child(content, Content::Passport, subject))
}

/// A share that its recipient may still read.
pub struct LiveShare {
    pub share: ShareRow,
    pub placement: Placement,
    /// The recipient: its system, or the person of the call.
    pub reader: Reader,
}

/// Returns the share at an index if its recipient, the caller, still has a right to it. A share from a school that has
/// left the placement has ended, as for `GetPassport`, because that school can no longer withhold any of it.
pub async fn find_live_share(
    cx: &mut RequestContext,
    index: EntryIndex,
) -> Result<Option<LiveShare>, Refusal> {
    let Some(share) = rows::share_written_at(&mut cx.snapshot, index).await? else {
        return Ok(None);
    };
    let Some(placement) = placements::by_id(&mut cx.snapshot, share.placement).await? else {
        return Ok(None);
    };
    let entitled =
        placement.provider == cx.caller.organisation && sender::can_send(&placement, &share.sender);
    if !entitled {
        return Ok(None);
    }
    let right = reader::recipient_right(cx, &placement, &share.sender, share.agreement).await?;
    if right == ReadingRight::None {
        return Ok(None);
    }
    let reader = reader::of_call(cx, right);
    Ok(Some(LiveShare { share, placement, reader }))
}
