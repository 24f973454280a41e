//! `PutPlan`: the placement plan, a document of its own with versions, hung on the placement. What it lacks
//! is told and refuses nothing (Arranging Alternative Provision, DfE 2025: objectives, dates, way out).

use prost::Message;
use uuid::Uuid;

use super::children::{self, failed};
use super::draft::{self, Draft};
use super::rows::Placement;
use super::rules::{self, Verb};
use super::wire;
use crate::calendar::{Date, Period};
use crate::clock::Instant;
use crate::exchange::change::row;
use crate::exchange::{Action, ChildPart, Cx, Decided, LeafRole, Reason, Record, Refusal};
use crate::proto::v1::{DeliveryKind, PlacementState, Plan, PutPlanRequest, PutPlanResponse};
use crate::seal::{ChildKey, Column};
use crate::store::Kind::{Blob, Int};
use crate::store::key::{Family, Key};
use crate::store::{Row, Table, Value};

pub use super::rules::open_items;

/// A version of a plan.
pub struct PlanRow {
    /// The placement.
    pub placement: Uuid,
    /// The plan's etag, from 1.
    pub version: i64,
    /// `Plan`, sealed under the commissioner's key of the child.
    pub plan: Vec<u8>,
}

impl Record for PlanRow {
    const TABLE: &'static Table = &Table {
        name: "plans",
        columns: &[("idx", Int), ("ordinal", Int), ("placement", Blob), ("version", Int), ("plan", Blob)],
        replace_by: &[],
    };

    fn values(&self) -> Vec<Value> {
        vec![self.placement.into(), self.version.into(), self.plan.clone().into()]
    }

    fn heads(&self) -> Vec<(Key, i64)> {
        vec![(key(self.placement), self.version)]
    }
}

/// The key of a placement's plan, whose version is the plan's etag.
#[must_use]
pub fn key(placement: Uuid) -> Key {
    Key::new(Family::Plan).id(placement)
}

/// The newest plan of a placement with its version, if there is one.
///
/// # Errors
/// As [`children::required_key`]; [`Reason::Failed`] when what is stored does not open.
pub async fn newest(cx: &mut Cx, placement: &Placement) -> Result<Option<(i64, Plan)>, Refusal> {
    let sql = "SELECT p.version, p.plan FROM heads h \
               JOIN plans p ON p.idx = h.idx AND p.ordinal = h.ordinal WHERE h.key = $1";
    let Some(row) = cx.snapshot.fetch_one(sql, vec![key(placement.id).as_bytes().into()]).await? else {
        return Ok(None);
    };
    opened(cx, placement, &row).await.map(Some)
}

/// The version of a placement's plan that the exchange at an index wrote.
///
/// # Errors
/// As [`newest`].
pub async fn written_at(cx: &mut Cx, placement: &Placement, index: i64) -> Result<Option<Plan>, Refusal> {
    let sql = "SELECT version, plan FROM plans WHERE idx = $1 AND placement = $2";
    let row = cx.snapshot.fetch_one(sql, vec![index.into(), placement.id.into()]).await?;
    let Some(row) = row else { return Ok(None) };
    let (_, plan) = opened(cx, placement, &row).await?;
    Ok(Some(plan))
}

/// The newest plan of a placement that an exchange up to an index wrote.
///
/// # Errors
/// As [`newest`].
pub async fn newest_at(cx: &mut Cx, placement: &Placement, index: i64) -> Result<Option<Plan>, Refusal> {
    let sql =
        "SELECT version, plan FROM plans WHERE placement = $1 AND idx <= $2 ORDER BY version DESC LIMIT 1";
    let row = cx.snapshot.fetch_one(sql, vec![placement.id.into(), index.into()]).await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(opened(cx, placement, &row).await?.1))
}

/// A version of a placement's plan.
///
/// # Errors
/// As [`newest`].
pub async fn by_version(cx: &mut Cx, placement: &Placement, version: i64) -> Result<Option<Plan>, Refusal> {
    let sql = "SELECT version, plan FROM plans WHERE placement = $1 AND version = $2";
    let row = cx.snapshot.fetch_one(sql, vec![placement.id.into(), version.into()]).await?;
    let Some(row) = row else { return Ok(None) };
    let (_, plan) = opened(cx, placement, &row).await?;
    Ok(Some(plan))
}

/// The plans that a placement had in a range of days, the oldest first, each with the days for which it holds.
/// A version holds from the day on which it was put, the last one of a day; the first one holds before too, for
/// what is written late says what was arranged.
///
/// # Errors
/// As [`newest`].
pub async fn in_force(
    cx: &mut Cx,
    placement: &Placement,
    days: Period,
) -> Result<Vec<(Period, Plan)>, Refusal> {
    let sql = "SELECT p.version, p.plan, e.time FROM plans p JOIN entries e ON e.idx = p.idx \
               WHERE p.placement = $1 AND (p.version = 1 OR e.time < $3) AND p.version >= \
               (SELECT COALESCE(MAX(q.version), 1) FROM plans q JOIN entries f ON f.idx = q.idx \
               WHERE q.placement = $1 AND f.time < $2) ORDER BY p.version";
    let (first_over, all_over) = (days.first().ends().micros(), days.last().ends().micros());
    let arguments = vec![placement.id.into(), first_over.into(), all_over.into()];
    let mut plans: Vec<(Date, Plan)> = Vec::new();
    for row in cx.snapshot.fetch(sql, arguments).await? {
        let (_, plan) = opened(cx, placement, &row).await?;
        let put = Date::in_london(Instant::from_micros(row.int(2)?).map_err(|_| Reason::Failed)?);
        let since = if plans.is_empty() { days.first() } else { put };
        plans.pop_if(|(earlier, _)| *earlier == since);
        plans.push((since, plan));
    }
    let starts = plans.iter().skip(1).map(|(next, _)| next.previous());
    let ends: Vec<_> = starts.map(|end| end.unwrap_or(Date::MIN)).chain([days.last()]).collect();
    let held = plans.into_iter().zip(ends);
    Ok(held.filter_map(|((since, plan), until)| Some((Period::new(since, until)?, plan))).collect())
}

async fn opened(cx: &mut Cx, placement: &Placement, row: &Row) -> Result<(i64, Plan), Refusal> {
    let child_key = children::required_key(cx, &placement.commissioner, placement.child).await?;
    let version = row.int(0)?;
    let sealed_at = draft::row_of(placement.id, version);
    let opened = child_key.open(at(&sealed_at), row.blob(1)?).map_err(failed)?;
    let plan = Plan::decode(&opened[..]).map_err(|_| Reason::Failed)?;
    Ok((version, plan))
}

/// Puts a version of the plan. On an active placement the plan's end is the placement's planned end, so a
/// plan that moves it makes a version of the placement too.
pub(super) async fn put_plan(mut cx: Cx, m: PutPlanRequest) -> Result<Decided<PutPlanResponse>, Refusal> {
    let put = wire::put_plan(&m)?;
    let (placement, permit) = draft::permitted(&mut cx, Action::PutPlan, put.placement).await?;
    let previous = cx.snapshot.version(&key(placement.id)).await?;
    if previous > 0 || !put.etag.is_empty() {
        draft::same_version(&put.etag, previous)?;
    }
    rules::next(placement.state, Verb::Plan)?;
    let mut draft = Draft::open(&mut cx, &placement).await?;
    let version = previous + 1;
    let plan = seal(&cx, &draft.key, placement.id, version, &put.plan)?;
    let mut rows = vec![row(&PlanRow { placement: placement.id, version, plan })];
    let moves_end = placement.state == PlacementState::Active && placement.planned_end != put.planned_end;
    let mut change = if moves_end {
        draft.next.planned_end = put.planned_end;
        let change = draft.seal(&cx, &permit)?;
        rows.push(row(&draft.next));
        change
    } else {
        draft::move_facts(cx.change(&permit).guard(placement.key(), placement.version), &placement)
    };
    change = change.guard(key(placement.id), previous);
    let to: Vec<_> = [&placement.provider].into_iter().chain(&placement.schools).cloned().collect();
    change = draft::deliver(change, &cx, &placement, DeliveryKind::Plan, &to);
    let open_items: Vec<_> = rules::open_items(&put.plan).into_iter().map(str::to_owned).collect();
    let active = open_items.is_empty();
    let warnings = if permit.is_agreed() { Vec::new() } else { vec!["AGREEMENT_LAPSED".to_owned()] };
    let response = PutPlanResponse { etag: version.to_string(), open_items, active, warnings, receipt: None };
    let reply = response.encode_to_vec();
    let part =
        ChildPart { placement: placement.id, role: LeafRole::Submitted, key: &draft.key, reply: &reply };
    Ok(change.child_rows(&part, rows).reply(&response))
}

fn seal(cx: &Cx, key: &ChildKey, placement: Uuid, version: i64, plan: &Plan) -> Result<Vec<u8>, Refusal> {
    let row = draft::row_of(placement, version);
    let fill = |bytes: &mut [u8]| cx.random.fill(bytes);
    key.seal(at(&row), &plan.encode_to_vec(), &fill).map_err(failed)
}

fn at(row: &[u8]) -> Column<'_> {
    Column { table: "plans", row, column: "plan" }
}
