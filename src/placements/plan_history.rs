//! The newest versions of plans, read for many placements at once.

use std::collections::HashMap;

use uuid::Uuid;

use super::plan;
use crate::calendar::Date;
use crate::exchange::Refusal;
use crate::proto::v1::Plan;
use crate::seal::ChildKey;
use crate::store::version_key::VersionKey;
use crate::store::{Revision, Snapshot, StoreError};

/// A version of a plan.
#[derive(Clone, Debug)]
pub struct PlanVersion {
    /// The version, from 1.
    pub version: Revision,
    /// The day on which it was put.
    pub put: Date,
    /// The plan.
    pub plan: Plan,
}

/// Reads the newest versions of placements' plans, at most 20 of each, by the placement's id and the oldest first. Each
/// placement is given with the commissioner's key of the child. A placement without a plan is left out.
///
/// # Errors
/// [`Reason::Failed`](crate::exchange::Reason::Failed) when what is stored does not open; otherwise see [`StoreError`].
pub async fn load_newest_versions<'a>(
    snapshot: &mut Snapshot,
    placements: impl IntoIterator<Item = (Uuid, &'a ChildKey)>,
) -> Result<HashMap<Uuid, Vec<PlanVersion>>, Refusal> {
    let child_keys: HashMap<Uuid, &ChildKey> = placements.into_iter().collect();
    let keys: Vec<VersionKey> = child_keys.keys().map(|placement| plan::key(*placement)).collect();
    let sql = "SELECT p.placement, p.version, p.plan, e.time FROM current_versions v \
               JOIN plans n ON n.idx = v.idx AND n.ordinal = v.ordinal \
               JOIN plans p ON p.placement = n.placement AND p.version > n.version - 20 \
               JOIN entries e ON e.idx = p.idx WHERE v.key";
    let mut plans: HashMap<Uuid, Vec<PlanVersion>> = HashMap::new();
    for row in snapshot.fetch_by_keys(sql, &keys).await? {
        let (placement, version): (Uuid, Revision) = (row.get("placement")?, row.get("version")?);
        let child_key =
            child_keys.get(&placement).ok_or_else(|| StoreError::corrupt("plans", "placement"))?;
        let plan = plan::open(child_key, placement, version, row.get_bytes("plan")?)?;
        let put = Date::in_london(row.get("time")?);
        plans.entry(placement).or_default().push(PlanVersion { version, put, plan });
    }
    for versions in plans.values_mut() {
        versions.sort_unstable_by_key(|plan| plan.version);
    }
    Ok(plans)
}
