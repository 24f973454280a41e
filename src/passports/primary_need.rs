//! The child's primary need: whether it is social, emotional and mental health (SEMH), and whether the provider may
//! read that.

use super::content::withheld_kinds;
use super::rows;
use super::rules;
use super::sender;
use crate::exchange::{Refusal, RequestContext, RoleStatus};
use crate::placements::{Placement, children, safety_acknowledgement};
use crate::proto::v1::passport_block::Content;
use crate::proto::v1::{PassportBlockKind as Kind, PassportNeeds};

/// The child's primary need in the commissioner's passport.
pub struct SemhPrimaryNeed {
    /// Whether it is SEMH, in a block that systems read.
    pub is_semh: bool,
    /// Whether the placement's provider may read it. A rule must not use a fact against a provider that cannot read it.
    pub provider_may_read: bool,
}

/// Reads the primary need from the commissioner's newest passport of the placement's child.
///
/// # Errors
/// [`crate::exchange::Reason::Failed`] when a stored value cannot be opened.
pub async fn load_semh_primary_need(
    cx: &mut RequestContext,
    placement: &Placement,
) -> Result<SemhPrimaryNeed, Refusal> {
    let (commissioner, child) = (&placement.commissioner, placement.child);
    let newest =
        cx.snapshot.current_version(&safety_acknowledgement::passport_key(commissioner, child)).await?;
    let mut primary = SemhPrimaryNeed { is_semh: false, provider_may_read: false };
    let Some(key) = children::load_key(cx, commissioner, child).await? else {
        return Ok(primary);
    };
    for row in rows::list_blocks(&mut cx.snapshot, commissioner, child, newest).await? {
        // A raised block concerns no flag, because the flag is shown to systems and persons who do not read the block.
        if row.kind != Kind::Needs || !rules::is_read_by_systems(row.kind, row.sensitivity) {
            continue;
        }
        let block = rows::open_block(&key, &row)?;
        primary.is_semh = matches!(&block.content, Some(Content::Needs(needs)) if is_semh(needs));
        let withheld = withheld_kinds(cx, commissioner, placement.id).await?;
        let shown = !withheld.includes(row.kind);
        if let Some(share) = rows::latest_share(&mut cx.snapshot, commissioner, placement.id).await? {
            let agreed = sender::sharing_basis(cx, placement, commissioner, share.agreement).await?.is_some();
            // After the end the provider reads no passport, so a later version must not affect what it receives.
            let live = placement.role_status() == RoleStatus::Live;
            primary.provider_may_read = live && shown && agreed && share.version == newest;
        }
    }
    Ok(primary)
}

fn is_semh(needs: &PassportNeeds) -> bool {
    needs.types.iter().any(|need| need.r#type == "SEMH" && need.rank == 1)
}
