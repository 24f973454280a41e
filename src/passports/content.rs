//! What a provider is shown of a version that was shared with it, cut to what it may see at this moment.

use uuid::Uuid;

use super::rows::{self, ShareRow};
use super::rules::{self, Shown};
use super::sender;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Cx, Refusal, Standing};
use crate::placements::{self, Placement, children};
use crate::proto::v1::{BlockNotice, PassportBlock, PassportContent};
use crate::seal::ChildKey;

/// What a system is shown of a version: blocks that it reads, and that there are others.
pub struct View {
    pub blocks: Vec<PassportBlock>,
    pub notices: Vec<BlockNotice>,
}

/// A version as a system is shown it; `withheld` has one bit a kind that is withheld from the reader. Of the kinds that
/// no system may read there is always a notice, whether the version has such a block or not and whether it is withheld
/// or not: a notice that came only with a block would tell that the child is in care, on a plan, or hidden.
pub async fn view(
    cx: &mut Cx,
    key: &ChildKey,
    of: (&OrganisationId, Uuid, i64),
    withheld: i64,
) -> Result<View, Refusal> {
    let (sender, child, version) = of;
    let notices = if version == 0 { Vec::new() } else { rules::unreadable_notices() };
    let mut view = View { blocks: Vec::new(), notices };
    for row in rows::blocks(&mut cx.snapshot, sender, child, version).await? {
        match rules::shown(row.sensitivity, rules::is_among(row.kind, withheld)) {
            Shown::Content => view.blocks.push(rows::open_block(key, &row)?),
            Shown::Notice if rules::is_unreadable(row.kind) => {}
            Shown::Notice => {
                let (kind, sensitivity) = (row.kind as i32, row.sensitivity as i32);
                view.notices.push(BlockNotice { kind, sensitivity });
            }
            Shown::Nothing => {}
        }
    }
    Ok(view)
}

/// What is withheld from a placement's provider: one bit a kind.
pub async fn withheld(cx: &mut Cx, sender: &OrganisationId, placement: Uuid) -> Result<i64, Refusal> {
    let decision = rows::withheld(&mut cx.snapshot, sender, placement).await?;
    Ok(decision.map_or(0, |decision| decision.kinds))
}

/// What the share at an index brings its recipient now: nothing once the placement is over, its sender has left it, the
/// agreement has lapsed, or the child's record is gone. With the key under which it was sealed.
///
/// # Errors
/// [`crate::exchange::Reason::Failed`] when what is stored does not open.
pub async fn content(cx: &mut Cx, index: i64) -> Result<Option<(ChildKey, PassportContent)>, Refusal> {
    let Some((share, placement)) = still_shared(cx, index).await? else {
        return Ok(None);
    };
    let Some(key) = children::key(cx, &share.sender, placement.child).await? else {
        return Ok(None);
    };
    let withheld = withheld(cx, &share.sender, placement.id).await?;
    let view = view(cx, &key, (&share.sender, placement.child, share.version), withheld).await?;
    let content = PassportContent {
        sender: share.sender.to_string(),
        etag: share.version.to_string(),
        blocks: view.blocks,
        notices: view.notices,
    };
    Ok(Some((key, content)))
}

/// A share whose recipient, the caller, still has a right to it. One of a school that has left the placement is over, as
/// it is for `GetPassport`: that school cannot withhold anything of it any more.
pub async fn still_shared(cx: &mut Cx, index: i64) -> Result<Option<(ShareRow, Placement)>, Refusal> {
    let Some(share) = rows::shared_at(&mut cx.snapshot, index).await? else {
        return Ok(None);
    };
    let Some(placement) = placements::by_id(&mut cx.snapshot, share.placement).await? else {
        return Ok(None);
    };
    let theirs = placement.provider == cx.caller.organisation && placement.standing() == Standing::Live;
    let theirs = theirs && sender::may_send(&placement, &share.sender);
    let agreed = sender::basis(cx, &placement, &share.sender, share.agreement).await?.is_some();
    Ok((theirs && agreed).then_some((share, placement)))
}
