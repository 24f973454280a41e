//! `PutPlan`: the placement plan, a document with versions of its own that belongs to a placement. What it lacks
//! (Arranging Alternative Provision, DfE 2025: objectives, dates, exit route) is returned as open items, never refused.

use prost::Message;
use uuid::Uuid;

use super::children::{self, seal_refusal};
use super::draft::{self, Draft};
use super::moments;
use super::open_item_code::OpenItemCode;
use super::open_items::{self, OpenItemRow};
use super::rows::Placement;
use super::rules::{self, Transition};
use super::wire;
use crate::calendar::{Date, Period};
use crate::clock::Instant;
use crate::exchange::change::row_write;
use crate::exchange::{Decided, LeafInput, Reason, RecordRef, Refusal, RequestContext};
use crate::proto::v1::{
    DeliveryKind, LeafRole, PlacementState, Plan, PutPlanRequest, PutPlanResponse, RecordKind,
};
use crate::register::{moments as register_moments, terms};
use crate::seal::{ChildKey, ColumnAddress};
use crate::store::version_key::{KeyFamily, VersionKey};
use crate::store::{EntryIndex, Record as _, Revision, Value};
use crate::{record, select};

pub use super::rules::plan_open_items;

record! {
    /// A version of a plan.
    pub struct PlanRow in "plans" as p, 25, Committed, PlacementChild {
        /// The placement.
        pub placement: Uuid,
        /// The plan's etag, from 1.
        pub version: Revision,
        /// `Plan`, sealed under the commissioner's key of the child.
        pub plan: Vec<u8>,
    }
    versions = |row| vec![(key(row.placement), row.version)];
}

/// Returns the key of a placement's plan, whose version is the plan's etag.
#[must_use]
pub fn key(placement: Uuid) -> VersionKey {
    VersionKey::new(KeyFamily::Plan).id(placement)
}

/// Reads the newest plan of a placement with its version, if there is one.
///
/// # Errors
/// As [`children::load_required_key`]; [`Reason::Failed`] when what is stored does not open.
pub async fn load_newest(
    cx: &mut RequestContext,
    placement: &Placement,
) -> Result<Option<(Revision, Plan)>, Refusal> {
    let row: Option<PlanRow> = cx.snapshot.newest(&key(placement.id)).await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some((row.version, open_row(cx, placement, (row.version, &row.plan)).await?)))
}

/// Reads the version of a placement's plan that the exchange at a log index wrote.
///
/// # Errors
/// As [`load_newest`].
pub async fn load_written_at(
    cx: &mut RequestContext,
    placement: &Placement,
    index: EntryIndex,
) -> Result<Option<(Revision, Plan)>, Refusal> {
    let sql = "SELECT version FROM plans WHERE idx = $1 AND placement = $2";
    let arguments = || vec![index.into(), placement.id.into()];
    let Some(row) = cx.snapshot.fetch_one(sql, arguments()).await? else { return Ok(None) };
    let sql = select!(PlanRow, "WHERE p.idx = $1 AND p.placement = $2");
    let plan = load_one(cx, placement, (sql, arguments())).await?;
    Ok(Some(row.get("version")?).zip(plan))
}

/// Reads the newest plan of a placement as of a log index.
///
/// # Errors
/// As [`load_newest`].
pub async fn load_as_of(
    cx: &mut RequestContext,
    placement: &Placement,
    index: EntryIndex,
) -> Result<Option<Plan>, Refusal> {
    let sql = select!(PlanRow, "WHERE p.placement = $1 AND p.idx <= $2 ORDER BY p.version DESC LIMIT 1");
    load_one(cx, placement, (sql, vec![placement.id.into(), index.into()])).await
}

/// Reads a version of a placement's plan.
///
/// # Errors
/// As [`load_newest`].
pub async fn load_version(
    cx: &mut RequestContext,
    placement: &Placement,
    version: Revision,
) -> Result<Option<Plan>, Refusal> {
    let sql = select!(PlanRow, "WHERE p.placement = $1 AND p.version = $2");
    load_one(cx, placement, (sql, vec![placement.id.into(), version.into()])).await
}

/// Reads and opens the first plan that a query gives.
async fn load_one(
    cx: &mut RequestContext,
    placement: &Placement,
    (sql, arguments): (&'static str, Vec<Value>),
) -> Result<Option<Plan>, Refusal> {
    let row = cx.snapshot.fetch_one(sql, arguments).await?;
    let Some(row) = row.as_ref().map(PlanRow::read).transpose()? else { return Ok(None) };
    open_row(cx, placement, (row.version, &row.plan)).await.map(Some)
}

/// Lists the plans that a placement had in a range of days, the oldest first, each with its days. A version is in force
/// from the day on which it was put; of several on one day it is the last. The first version is also in force before,
/// because a plan that is written late states what was arranged.
///
/// # Errors
/// As [`load_newest`].
pub async fn list_in_force(
    cx: &mut RequestContext,
    placement: &Placement,
    days: Period,
) -> Result<Vec<(Period, Plan)>, Refusal> {
    let sql = "SELECT p.version, p.plan, e.time FROM plans p JOIN entries e ON e.idx = p.idx \
               WHERE p.placement = $1 AND (p.version = 1 OR e.time < $3) AND p.version >= \
               (SELECT COALESCE(MAX(q.version), 1) FROM plans q JOIN entries f ON f.idx = q.idx \
               WHERE q.placement = $1 AND f.time < $2) ORDER BY p.version";
    let (first_over, all_over) = (days.first().end_of_day().micros(), days.last().end_of_day().micros());
    let arguments = vec![placement.id.into(), first_over.into(), all_over.into()];
    let mut plans: Vec<(Date, Plan)> = Vec::new();
    for row in cx.snapshot.fetch(sql, arguments).await? {
        let sealed: Vec<u8> = row.get("plan")?;
        let plan = open_row(cx, placement, (row.get("version")?, &sealed)).await?;
        let put = Date::in_london(Instant::from_micros(row.get("time")?).map_err(|_| Reason::Failed)?);
        let since = if plans.is_empty() { days.first() } else { put };
        plans.pop_if(|(earlier, _)| *earlier == since);
        plans.push((since, plan));
    }
    let starts = plans.iter().skip(1).map(|(next, _)| next.previous());
    let ends: Vec<_> = starts.map(|end| end.unwrap_or(Date::MIN)).chain([days.last()]).collect();
    let held = plans.into_iter().zip(ends);
    Ok(held.filter_map(|((since, plan), until)| Some((Period::new(since, until)?, plan))).collect())
}

/// Opens a version of a plan.
async fn open_row(
    cx: &mut RequestContext,
    placement: &Placement,
    (version, sealed): (Revision, &[u8]),
) -> Result<Plan, Refusal> {
    let child_key = children::load_required_key(cx, &placement.commissioner, placement.child).await?;
    open(&child_key, placement.id, version, sealed)
}

/// Opens a sealed plan with the commissioner's key of the child.
pub(super) fn open(
    child_key: &ChildKey,
    placement: Uuid,
    version: Revision,
    sealed: &[u8],
) -> Result<Plan, Refusal> {
    let row_id = draft::sealed_row_id(placement, version);
    let opened = child_key.open(sealed_column(&row_id), sealed).map_err(seal_refusal)?;
    Ok(Plan::decode(&opened[..]).map_err(|_| Reason::Failed)?)
}

/// Puts a version of the plan. On an active placement the plan's end is the placement's planned end, so a plan that
/// changes it also writes a version of the placement.
pub(super) async fn put_plan(
    mut cx: RequestContext,
    m: PutPlanRequest,
) -> Result<Decided<PutPlanResponse>, Refusal> {
    let put = wire::put_plan(&m)?;
    let (placement, permit) = draft::load_permitted(&mut cx, put.placement).await?;
    let previous = cx.snapshot.current_version(&key(placement.id)).await?;
    if previous != Revision::ABSENT || !put.etag.is_empty() {
        draft::check_etag(&put.etag, previous)?;
    }
    rules::next_state(placement.state, Transition::Plan)?;
    let mut draft = Draft::open(&mut cx, &placement).await?;
    let version = previous.next();
    let plan = seal(&cx, &draft.key, placement.id, version, &put.plan)?;
    let mut rows = vec![row_write(&PlanRow { placement: placement.id, version, plan })];
    let moves_end =
        placement.state == PlacementState::Active && placement.planned_end_date != put.planned_end;
    let mut change = if moves_end {
        draft.next.planned_end_date = put.planned_end;
        let change = draft.seal(&cx, &permit)?;
        rows.push(row_write(&draft.next));
        change
    } else {
        draft::bump_facts(cx.change(&permit).guard(placement.key(), placement.version), &placement)
    };
    change = change.guard(key(placement.id), previous);
    let lacks = rules::plan_open_items(&put.plan);
    if placement.state == PlacementState::Active {
        change = moments::evaluate_today(&mut cx, change, placement.id).await?;
        change = register_moments::evaluate_provider_again(&mut cx, change, &placement.provider).await?;
        // The first version of the plan is in force on the days before too.
        if let Some(start) = placement.start_date.filter(|_| previous == Revision::ABSENT) {
            let days = (start, cx.today);
            change =
                register_moments::evaluate_provider_days(&mut cx, change, &placement.provider, days).await?;
        }
        for (before, item) in list_opened_items(&mut cx, &placement, &lacks).await? {
            change = change.guard(item.key(), before);
            rows.push(row_write(&item));
        }
    }
    let to: Vec<_> = [&placement.provider].into_iter().chain(&placement.schools).cloned().collect();
    change = draft::deliver(change, &cx, &placement, DeliveryKind::Plan, &to);
    let open_items: Vec<_> = lacks.iter().map(|item| item.as_str().to_owned()).collect();
    let active = open_items.is_empty();
    let warnings =
        if permit.has_agreement_in_force() { Vec::new() } else { vec!["AGREEMENT_LAPSED".to_owned()] };
    let response = PutPlanResponse { etag: version.to_string(), open_items, active, warnings, receipt: None };
    let reply = response.encode_to_vec();
    let record = RecordRef::new(RecordKind::Plan, placement.id, version);
    let (role, sender) = (LeafRole::Submitted, &placement.commissioner);
    let part = LeafInput { placement: placement.id, role, record, sender, key: &draft.key, reply: &reply };
    Ok(change.append_child_rows(&part, rows).with_reply(&response))
}

/// Lists the open items of an active placement that a plan opens, each with the version before.
async fn list_opened_items(
    cx: &mut RequestContext,
    placement: &Placement,
    lacks: &[OpenItemCode],
) -> Result<Vec<(Revision, OpenItemRow)>, Refusal> {
    let former = load_newest(cx, placement).await?;
    let former_lacks = former.map(|(_, plan)| rules::plan_open_items(&plan)).unwrap_or_default();
    let school_days = terms::load_calendar(&mut cx.snapshot, &placement.provider).await?;
    let due = school_days.add_school_days(cx.today, open_items::DUE_SCHOOL_DAYS);
    let lacks = (&*former_lacks, lacks);
    Ok(open_items::list_opened_by_plan(&mut cx.snapshot, placement.id, lacks, due).await?)
}

fn seal(
    cx: &RequestContext,
    key: &ChildKey,
    placement: Uuid,
    version: Revision,
    plan: &Plan,
) -> Result<Vec<u8>, Refusal> {
    let row = draft::sealed_row_id(placement, version);
    let fill = |bytes: &mut [u8]| cx.random.fill(bytes);
    key.seal(sealed_column(&row), &plan.encode_to_vec(), &fill).map_err(seal_refusal)
}

fn sealed_column(row: &[u8]) -> ColumnAddress<'_> {
    ColumnAddress { table: "plans", row, column: "plan" }
}
