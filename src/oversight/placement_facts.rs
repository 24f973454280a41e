//! What the rules about placements need to know of one.

use uuid::Uuid;

use crate::calendar::{Date, SchoolCalendar};
use crate::clock::Instant;
use crate::exchange::{Refusal, RequestContext};
use crate::placements::{self, Placement, children, plan, safety_acknowledgement};
use crate::proto::v1::PlacementState;
use crate::register::terms;
use crate::seal::ChildKey;
use crate::store::version_key::VersionKey;
use crate::store::{Revision, Snapshot, StoreError};

/// Facts of a placement.
#[derive(Clone, Debug, Default)]
pub struct PlacementFacts {
    /// Whether it is active.
    pub is_active: bool,
    /// First day.
    pub start: Option<Date>,
    /// Planned last day.
    pub planned_end: Option<Date>,
    /// Whether the provider has acknowledged the newest passport of one of the senders.
    pub passport_acknowledged: bool,
    /// Days of reviews that the plan names, in order.
    pub review_dates: Vec<Date>,
    /// The day on which the newest plan was put.
    pub plan_put: Option<Date>,
    /// The day on which the newest progress return was received.
    pub progress_received: Option<Date>,
    /// The provider's school days.
    pub provider_days: SchoolCalendar,
}

/// Facts of a placement with what they were read from.
pub(super) struct LoadedFacts {
    /// The placement.
    pub placement: Placement,
    /// The commissioner's key of the child.
    pub key: ChildKey,
    /// The facts.
    pub facts: PlacementFacts,
    /// The key versions that were read.
    pub versions_read: Vec<(VersionKey, Revision)>,
}

/// Loads the facts of a placement. `None`: it does not exist, or the child's record was erased.
///
/// # Errors
/// [`Reason::Failed`](crate::exchange::Reason::Failed) when what is stored does not open.
pub(super) async fn load(cx: &mut RequestContext, id: Uuid) -> Result<Option<LoadedFacts>, Refusal> {
    let Some(placement) = placements::by_id(&mut cx.snapshot, id).await? else { return Ok(None) };
    let Some(key) = children::load_key(cx, &placement.commissioner, placement.child).await? else {
        return Ok(None);
    };
    let safety = safety_acknowledgement::load(cx, &placement).await?;
    let plan = plan::load_newest(cx, &placement).await?;
    let plan_version = plan.as_ref().map_or(Revision::ABSENT, |(version, _)| *version);
    let mut versions_read = safety.versions_read;
    versions_read.extend([(placement.key(), placement.version), (plan::key(id), plan_version)]);
    let dates = plan.iter().flat_map(|(_, plan)| &plan.review_dates);
    let dates = dates.map(|date| date.parse().map_err(|_| StoreError::corrupt("plans", "review_dates")));
    let mut review_dates = dates.collect::<Result<Vec<Date>, _>>()?;
    review_dates.sort_unstable();
    let facts = PlacementFacts {
        is_active: placement.state == PlacementState::Active,
        start: placement.start_date,
        planned_end: placement.planned_end_date,
        passport_acknowledged: safety.acknowledged,
        review_dates,
        plan_put: put_on(&mut cx.snapshot, id).await?,
        progress_received: progress_received(&mut cx.snapshot, id).await?,
        provider_days: terms::load_calendar(&mut cx.snapshot, &placement.provider).await?,
    };
    Ok(Some(LoadedFacts { placement, key, facts, versions_read }))
}

/// Returns the day on which the newest plan was put.
async fn put_on(snapshot: &mut Snapshot, placement: Uuid) -> Result<Option<Date>, StoreError> {
    let sql =
        "SELECT MAX(e.time) AS time FROM plans p JOIN entries e ON e.idx = p.idx WHERE p.placement = $1";
    day(snapshot, sql, placement).await
}

/// Returns the day on which the newest progress return was received.
async fn progress_received(snapshot: &mut Snapshot, placement: Uuid) -> Result<Option<Date>, StoreError> {
    day(snapshot, "SELECT MAX(received) AS time FROM progress WHERE placement = $1", placement).await
}

async fn day(
    snapshot: &mut Snapshot,
    sql: &'static str,
    placement: Uuid,
) -> Result<Option<Date>, StoreError> {
    let row = snapshot.fetch_one(sql, vec![placement.into()]).await?;
    let time: Option<Option<Instant>> = row.map(|row| row.get("time")).transpose()?;
    Ok(time.flatten().map(Date::in_london))
}
