//! `StartPlacement`: the child begins, from whatever day. What is missing does not keep a child waiting: a
//! named officer passes it with a reason, and it stays an open item.

use prost::Message;

use super::draft::{self, Draft};
use super::open_items::OpenItemRow;
use super::plan;
use super::rules::{self, Verb};
use super::safety;
use super::wire;
use crate::exchange::change::row;
use crate::exchange::check::Check;
use crate::exchange::{Action, ChildPart, Cx, Decided, LeafRole, Refusal};
use crate::proto::v1::{DeliveryKind, MissingItem, StartPlacementRequest, StartPlacementResponse};
use crate::register::terms;

/// School days in which what a start left open is made good.
const OPEN_ITEMS_DUE: u32 = 5;

/// Starts a placement.
pub(super) async fn start_placement(
    mut cx: Cx,
    m: StartPlacementRequest,
) -> Result<Decided<StartPlacementResponse>, Refusal> {
    let start = wire::start(&m)?;
    let id = start.target.placement;
    let (placement, permit) = draft::permitted(&mut cx, Action::StartPlacement, id).await?;
    draft::same_version(&start.target.etag, placement.version)?;
    let mut draft = Draft::open(&mut cx, &placement).await?;
    draft.next.state = rules::next(placement.state, Verb::Start)?;
    let plan = plan::newest(&mut cx, &placement).await?;
    let safety = safety::of(&mut cx, &placement).await?;
    let opening = rules::opening(placement.state, plan.is_some(), safety.acknowledged, &start.missing);
    all_passed(&opening.unpassed).map_err(|refusal| safety.explain(refusal))?;
    let planned_version = plan.as_ref().map_or(0, |(version, _)| *version);
    draft.next.start = Some(start.date);
    draft.next.planned_end = plan.and_then(|(_, plan)| plan.planned_end_date.parse().ok());
    let open_items: Vec<i32> = opening.open.iter().map(|item| *item as i32).collect();
    let school_days = terms::calendar(&mut cx.snapshot, &placement.provider).await?;
    let due = school_days.add_school_days(start.date.max(cx.today), OPEN_ITEMS_DUE);
    draft.detail.open_items_due = due.to_string();
    draft.detail.started_by = start.officer;
    draft.detail.missing_items.clone_from(&open_items);
    draft.detail.missing_reason = start.reason;
    let change = draft.seal(&cx, &permit)?.guard(plan::key(placement.id), planned_version);
    let mut change = safety.guard(change);
    change = draft::deliver(change, &cx, &placement, DeliveryKind::Start, &placement.parties());
    let response = StartPlacementResponse {
        etag: draft.next.version.to_string(),
        state: draft.next.state as i32,
        open_items,
        receipt: None,
    };
    let reply = response.encode_to_vec();
    let part =
        ChildPart { placement: placement.id, role: LeafRole::Submitted, key: &draft.key, reply: &reply };
    let items = opening.open.iter().map(|item| OpenItemRow {
        placement: placement.id,
        item: *item,
        due,
        looked_at: false,
        version: 1,
    });
    let rows = std::iter::once(row(&draft.next)).chain(items.map(|item| row(&item))).collect();
    Ok(change.child_rows(&part, rows).reply(&response))
}

/// Names each item that is missing and was not passed.
fn all_passed(unpassed: &[MissingItem]) -> Result<(), Refusal> {
    let mut check = Check::new();
    for item in unpassed {
        check.fault("missing_items", rules::item_reason(*item));
    }
    Ok(check.finish()?)
}
