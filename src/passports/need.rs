//! Whether a child's primary need is social, emotional and mental health, and who may know it.

use super::content::withheld;
use super::rows;
use super::rules::{self, Shown};
use super::sender;
use crate::exchange::{Cx, Refusal, Standing};
use crate::placements::{Placement, children, safety};
use crate::proto::v1::passport_block::Content;
use crate::proto::v1::{PassportBlockKind as Kind, PassportNeeds};

/// What the commissioner's passport says of the child's primary need.
pub struct SemhPrimary {
    /// It is SEMH.
    pub holds: bool,
    /// The placement's provider was shown that: a rule may use no fact against it that it may not read.
    pub provider_may_read: bool,
}

/// From the commissioner's newest passport of the placement's child.
///
/// # Errors
/// [`crate::exchange::Reason::Failed`] when what is stored does not open.
pub async fn semh_primary(cx: &mut Cx, placement: &Placement) -> Result<SemhPrimary, Refusal> {
    let (commissioner, child) = (&placement.commissioner, placement.child);
    let newest = cx.snapshot.version(&safety::passport_key(commissioner, child)).await?;
    let mut primary = SemhPrimary { holds: false, provider_may_read: false };
    let Some(key) = children::key(cx, commissioner, child).await? else {
        return Ok(primary);
    };
    for row in rows::blocks(&mut cx.snapshot, commissioner, child, newest).await? {
        if row.kind != Kind::Needs {
            continue;
        }
        let block = rows::open_block(&key, &row)?;
        primary.holds = matches!(&block.content, Some(Content::Needs(needs)) if is_semh(needs));
        let withheld = withheld(cx, commissioner, placement.id).await?;
        let shown = rules::shown(row.sensitivity, rules::is_among(row.kind, withheld)) == Shown::Content;
        if let Some(share) = rows::shared(&mut cx.snapshot, commissioner, placement.id).await? {
            let agreed = sender::basis(cx, placement, commissioner, share.agreement).await?.is_some();
            // After the end the provider reads no passport, so that nothing it is sent rests on a later one.
            let live = placement.standing() == Standing::Live;
            primary.provider_may_read = live && shown && agreed && share.version == newest;
        }
    }
    Ok(primary)
}

fn is_semh(needs: &PassportNeeds) -> bool {
    needs.types.iter().any(|need| need.r#type == "SEMH" && need.rank == 1)
}
