//! `StartPlacement`: records the start of a placement on any day. Missing items do not delay it: a named officer waives
//! them with a reason, and they stay open items.

use prost::Message;

use super::draft::{self, Draft};
use super::moments;
use super::open_item_code::OpenItemCode;
use super::open_items::{self, OpenItemRow};
use super::plan;
use super::rules::{self, Transition};
use super::safety_acknowledgement;
use super::wire;
use crate::exchange::change::row_write;
use crate::exchange::check::Check;
use crate::exchange::{Decided, LeafInput, RecordRef, Refusal, RequestContext};
use crate::proto::v1::{
    DeliveryKind, LeafRole, MissingItem, RecordKind, StartPlacementRequest, StartPlacementResponse,
};
use crate::register::{moments as register_moments, terms};
use crate::store::Revision;
use crate::violation_reason::ViolationReason;

/// Starts a placement.
pub(super) async fn start_placement(
    mut cx: RequestContext,
    m: StartPlacementRequest,
) -> Result<Decided<StartPlacementResponse>, Refusal> {
    let start = wire::start(&m)?;
    let id = start.target.placement;
    let (placement, permit) = draft::load_permitted(&mut cx, id).await?;
    draft::check_etag(&start.target.etag, placement.version)?;
    let mut draft = Draft::open(&mut cx, &placement).await?;
    draft.next.state = rules::next_state(placement.state, Transition::Start)?;
    let plan = plan::load_newest(&mut cx, &placement).await?;
    let safety = safety_acknowledgement::load(&mut cx, &placement).await?;
    let items = rules::check_start(placement.state, plan.is_some(), safety.acknowledged, &start.missing);
    require_all_waived(&items.not_waived).map_err(|refusal| safety.add_versions_to_refusal(refusal))?;
    let planned_version = plan.as_ref().map_or(Revision::ABSENT, |(version, _)| *version);
    draft.next.start_date = Some(start.date);
    draft.next.planned_end_date = plan.as_ref().and_then(|(_, plan)| plan.planned_end_date.parse().ok());
    let open_items: Vec<i32> = items.left_open.iter().map(|item| *item as i32).collect();
    let school_days = terms::load_calendar(&mut cx.snapshot, &placement.provider).await?;
    let due = school_days.add_school_days(start.date.max(cx.today), open_items::DUE_SCHOOL_DAYS);
    draft.detail.open_items_due = due.to_string();
    draft.detail.started_by = cx.attest(start.officer);
    draft.detail.missing_items.clone_from(&open_items);
    draft.detail.missing_reason = start.reason;
    let change = draft.seal(&cx, &permit)?.guard(plan::key(placement.id), planned_version);
    let mut change = safety.guard(change);
    change = draft::deliver(change, &cx, &placement, DeliveryKind::Start, &placement.parties());
    change = moments::evaluate_today(&mut cx, change, placement.id).await?;
    change = register_moments::evaluate_provider(&mut cx, change, &placement.provider).await?;
    let days = (start.date, cx.today);
    change = register_moments::evaluate_provider_days(&mut cx, change, &placement.provider, days).await?;
    let response = StartPlacementResponse {
        etag: draft.next.version.to_string(),
        state: draft.next.state as i32,
        open_items,
        receipt: None,
    };
    let reply = response.encode_to_vec();
    let record = RecordRef::new(RecordKind::Placement, placement.id, draft.next.version);
    let (role, sender) = (LeafRole::Submitted, &placement.commissioner);
    let part = LeafInput { placement: placement.id, role, record, sender, key: &draft.key, reply: &reply };
    let left_open = items.left_open.iter().copied().filter_map(OpenItemCode::from_missing_item);
    let lacks = plan.iter().flat_map(|(_, plan)| rules::plan_open_items(plan));
    let item_rows = left_open.chain(lacks).map(|item| OpenItemRow::opened(placement.id, item, due));
    let rows =
        std::iter::once(row_write(&draft.next)).chain(item_rows.map(|item| row_write(&item))).collect();
    Ok(change.append_child_rows(&part, rows).with_reply(&response))
}

/// Refuses a start if an item is missing and was not waived; the refusal names every such item.
fn require_all_waived(unpassed: &[MissingItem]) -> Result<(), Refusal> {
    let mut check = Check::new();
    for reason in unpassed.iter().copied().filter_map(missing_item_reason) {
        check.add_violation("missing_items", reason);
    }
    Ok(check.finish()?)
}

/// Returns the reason for which a start that lacks an item is refused; `None` for the unspecified item.
const fn missing_item_reason(item: MissingItem) -> Option<ViolationReason> {
    match item {
        MissingItem::Plan => Some(ViolationReason::PlanMissing),
        MissingItem::Decision => Some(ViolationReason::DecisionMissing),
        MissingItem::SafetyAcknowledgement => Some(ViolationReason::SafetyNotAcknowledged),
        MissingItem::Unspecified => None,
    }
}
