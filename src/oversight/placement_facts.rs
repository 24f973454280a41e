//! What the rules about placements need to know of one.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use super::alerts::AlertRow;
use super::attendance_facts::{AttendanceFacts, AttendedPlacement};
use super::attendance_loading;
use super::plan_facts::{self, PlanFacts};
use super::rule_book::RuleBook;
use crate::calendar::{Date, Period, SchoolCalendar};
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Refusal, RequestContext, RoleStatus};
use crate::placements::plan;
use crate::placements::plan_history::{self, PlanVersion};
use crate::placements::{self, Placement, children, safety_acknowledgement};
use crate::proto::v1::{AlertState, PlacementState};
use crate::register::agreements::Agreements;
use crate::register::terms;
use crate::returns::Arrangement;
use crate::seal::ChildKey;
use crate::store::version_key::VersionKey;
use crate::store::{Revision, Snapshot, StoreError, ValueSet};

/// Facts of a placement.
#[derive(Clone, Debug, Default)]
pub struct PlacementFacts {
    /// Whether it is active.
    pub is_active: bool,
    /// Whether it is live: referred, decided or active.
    pub is_live: bool,
    /// First day.
    pub start: Option<Date>,
    /// Planned last day.
    pub planned_end: Option<Date>,
    /// Whether the provider has acknowledged the newest passport of one of the senders.
    pub passport_acknowledged: bool,
    /// The last day on which a passport that the provider had acknowledged was replaced by one that it has not.
    pub passport_replaced: Option<Date>,
    /// Days of reviews that the plan names, in order.
    pub review_dates: Vec<Date>,
    /// The day on which the newest plan was put.
    pub plan_put: Option<Date>,
    /// The day on which the newest progress return was received.
    pub progress_received: Option<Date>,
    /// The provider's school days.
    pub provider_days: SchoolCalendar,
    /// What its plans, its child's record and its progress returns hold.
    pub plan: PlanFacts,
    /// When agreements between its commissioner and its provider are in force, in the order of their first days.
    pub agreements: Vec<Period>,
    /// State and day of its newest alert about a third day of absence.
    pub third_day_alert: Option<(AlertState, Date)>,
    /// Its attendance; empty unless it is active.
    pub attendance: AttendanceFacts,
}

impl PlacementFacts {
    /// Adds what the rules know of alerts: the newest about a third day of absence.
    pub(super) fn add_alert(&mut self, third_day: Option<&AlertRow>) {
        self.third_day_alert = third_day.map(|alert| (alert.state, alert.due_date));
    }
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

/// Loads the facts of placements of one commissioner on a day, at most 200, by the placement's id. One that does not
/// exist, or of which the child's record was erased, is left out. The rule book says how far back attendance is read.
///
/// The number of queries does not depend on that of the placements.
///
/// # Errors
/// [`Reason::Failed`](crate::exchange::Reason::Failed) when what is stored of one of them does not open.
pub(super) async fn load(
    cx: &mut RequestContext,
    (book, day): (&RuleBook, Date),
    commissioner: &OrganisationId,
    ids: &[Uuid],
) -> Result<BTreeMap<Uuid, LoadedFacts>, Refusal> {
    let mut placements = placements::rows::by_ids(&mut cx.snapshot, ids).await?;
    for placement in &placements {
        // A record that is found by another's key would leave its own moment as it is.
        if !ids.contains(&placement.id) || placement.commissioner != *commissioner {
            return Err(StoreError::corrupt("placements", "id").into());
        }
        cx.snapshot.record_read(placement.key(), placement.version);
    }
    let children = placements.iter().map(|placement| placement.child);
    let keys = children::load_keys(cx, commissioner, children).await?;
    placements.retain(|placement| keys.contains_key(&placement.child));
    let key_of = |placement: &Placement| keys.get(&placement.child);
    let snapshot = &mut cx.snapshot;
    let mut safety = safety_acknowledgement::load_all(snapshot, &placements).await?;
    let keyed = placements.iter().filter_map(|placement| Some((placement.id, key_of(placement)?)));
    let plans = plan_history::load_newest_versions(snapshot, keyed).await?;
    let progress = load_progress(snapshot, &placements).await?;
    let providers = placements.iter().map(|placement| placement.provider.clone());
    let calendars = terms::load_calendars(snapshot, providers).await?;
    let agreed = placements.iter().map(|placement| placement.agreement);
    let agreements = Agreements::load(snapshot, commissioner, agreed, day).await?;
    let mut plan_facts = plan_facts::load(cx, commissioner, (&placements, &keys), &plans).await?;
    let attended = placements.iter().filter(|placement| placement.state == PlacementState::Active);
    let attended = attended.filter_map(|placement| {
        let plan = plans.get(&placement.id).and_then(|versions| versions.last()).map(|newest| &newest.plan);
        let (key, calendar) = (key_of(placement)?, calendars.get(&placement.provider)?);
        Some(AttendedPlacement { placement, key, arrangement: Arrangement::new(placement, plan), calendar })
    });
    let attended: Vec<_> = attended.collect();
    let mut attendance = attendance_loading::load(cx, book, &attended, day).await?;
    drop(attended);
    let mut loaded = BTreeMap::new();
    for placement in placements {
        let id = placement.id;
        let (Some(key), Some(safety)) = (keys.get(&placement.child), safety.remove(&id)) else { continue };
        let plan = plans.get(&id).and_then(|versions| versions.last());
        let mut versions_read = safety.versions_read;
        let plan_version = plan.map_or(Revision::ABSENT, |plan| plan.version);
        let attendance = attendance.remove(&id).unwrap_or_default();
        versions_read.extend(attendance.versions_read);
        versions_read.extend([(placement.key(), placement.version), (plan::key(id), plan_version)]);
        versions_read.push(agreements.version_read(placement.agreement));
        let facts = PlacementFacts {
            is_active: placement.state == PlacementState::Active,
            is_live: placement.role_status() == RoleStatus::Live,
            start: placement.start_date,
            planned_end: placement.planned_end_date,
            passport_acknowledged: safety.acknowledged,
            passport_replaced: safety.replaced_on,
            review_dates: plan.map(review_dates).transpose()?.unwrap_or_default(),
            plan_put: plan.map(|plan| plan.put),
            progress_received: progress.get(&id).copied(),
            provider_days: calendars.get(&placement.provider).cloned().unwrap_or_default(),
            plan: plan_facts.remove(&id).unwrap_or_default(),
            agreements: agreements.periods(placement.agreement, &placement.provider),
            third_day_alert: None,
            attendance: attendance.facts,
        };
        loaded.insert(id, LoadedFacts { placement, key: key.clone(), facts, versions_read });
    }
    Ok(loaded)
}

/// Loads the facts of one placement on a day. `None`: it does not exist, or the child's record was erased.
///
/// # Errors
/// As [`load`].
pub(super) async fn load_one(
    cx: &mut RequestContext,
    book_and_day: (&RuleBook, Date),
    id: Uuid,
) -> Result<Option<LoadedFacts>, Refusal> {
    let Some(placement) = placements::by_id(&mut cx.snapshot, id).await? else { return Ok(None) };
    Ok(load(cx, book_and_day, &placement.commissioner, &[id]).await?.remove(&id))
}

fn review_dates(newest: &PlanVersion) -> Result<Vec<Date>, StoreError> {
    let dates = newest.plan.review_dates.iter();
    let dates = dates.map(|date| date.parse().map_err(|_| StoreError::corrupt("plans", "review_dates")));
    let mut dates = dates.collect::<Result<Vec<Date>, _>>()?;
    dates.sort_unstable();
    Ok(dates)
}

/// Returns the days on which the placements' newest progress returns were received.
async fn load_progress(
    snapshot: &mut Snapshot,
    placements: &[Placement],
) -> Result<HashMap<Uuid, Date>, StoreError> {
    let sql =
        "SELECT placement, MAX(received) AS time FROM progress WHERE placement IN SET GROUP BY placement";
    let ids = ValueSet::of_ids(placements.iter().map(|placement| &placement.id));
    let rows = snapshot.fetch_in_set(sql, Vec::new(), ids).await?;
    rows.iter().map(|row| Ok((row.get("placement")?, Date::in_london(row.get("time")?)))).collect()
}
