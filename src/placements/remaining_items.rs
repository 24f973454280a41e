//! The items that a placement still lacks.

use super::open_item_code::OpenItemCode;
use super::rows::Placement;
use super::{children, draft, plan, rules, safety_acknowledgement};
use crate::exchange::{Refusal, RequestContext};
use crate::proto::v1::MissingItem;
use crate::seal::ChildKey;
use crate::store::Revision;
use crate::store::version_key::VersionKey;

/// The items that a start left open and that are still missing, and what the newest plan lacks.
pub struct RemainingItems {
    /// The items.
    pub items: Vec<OpenItemCode>,
    /// The keys and versions that were read to find them.
    pub versions_read: Vec<(VersionKey, Revision)>,
    /// The commissioner's key of the child.
    pub key: ChildKey,
}

/// Reads the items of a start that are still missing and those that the plan lacks, as `GetPlacement` shows them. `None`:
/// the child's record was erased.
///
/// # Errors
/// As [`children::load_key`]; [`Reason::Failed`](crate::exchange::Reason::Failed) when what is stored does not open.
pub async fn load_remaining(
    cx: &mut RequestContext,
    placement: &Placement,
) -> Result<Option<RemainingItems>, Refusal> {
    let Some(key) = children::load_key(cx, &placement.commissioner, placement.child).await? else {
        return Ok(None);
    };
    let detail = draft::open_detail(&key, placement)?;
    let missing: Vec<MissingItem> = detail.missing_items().collect();
    let plan = plan::load_newest(cx, placement).await?;
    let planned = plan.as_ref().map_or(Revision::ABSENT, |(version, _)| *version);
    let safety = safety_acknowledgement::load(cx, placement).await?;
    let mut open =
        rules::still_open_items(&missing, plan.is_some(), detail.decision.is_some(), safety.acknowledged);
    open.extend(plan.iter().flat_map(|(_, plan)| rules::plan_open_items(plan)));
    let mut seen = safety.versions_read;
    seen.extend([(placement.key(), placement.version), (plan::key(placement.id), planned)]);
    Ok(Some(RemainingItems { items: open, versions_read: seen, key }))
}
