//! `EndPlacement`: the commissioner or the provider records the end of a placement, on any day since the start, even if
//! the agreement has lapsed. An end that was recorded wrongly can be corrected or withdrawn.

use prost::Message;

use super::children;
use super::draft::{self, Draft};
use super::moments;
use super::open_items;
use super::rules::{self, Transition};
use super::wire::{self, ParsedEnd};
use crate::exchange::change::row_write;
use crate::exchange::check::Check;
use crate::exchange::{CallerRole, Decided, LeafInput, RecordRef, Refusal, RequestContext};
use crate::proto::v1::{
    DeliveryKind, EarlierEnd, EndPlacementRequest, EndPlacementResponse, EndReason, LeafRole,
    PlacementDetail, RecordKind,
};
use crate::register::moments as register_moments;
use crate::violation_reason::ViolationReason;

/// Maximum number of earlier ends in a placement's detail; its versions hold all of them.
const MAX_EARLIER_ENDS: usize = 50;

/// Ends a placement, or corrects or withdraws an end that is recorded.
pub(super) async fn end_placement(
    mut cx: RequestContext,
    m: EndPlacementRequest,
) -> Result<Decided<EndPlacementResponse>, Refusal> {
    let end = wire::end(&m)?;
    let (placement, permit) = draft::load_permitted(&mut cx, end.target.placement).await?;
    draft::check_etag(&end.target.etag, placement.version)?;
    let mut draft = Draft::open(&mut cx, &placement).await?;
    draft.next.state = rules::next_state(placement.state, requested_transition(&end))?;
    let mut check = Check::new();
    match end.date {
        Some(date) => {
            if let Err(reason) = rules::check_end_date(placement.start_date.unwrap_or(date), date, cx.today) {
                check.add_violation("end_date", reason);
            }
        }
        // A provider that withdraws the end would restore the rights that the end removed.
        None if placement.role_of(&cx.caller.organisation) != CallerRole::Commissioner => {
            check.add_violation("withdrawn", ViolationReason::CommissionerOnly);
        }
        None => {}
    }
    check.finish()?;
    if let Some(recorded) = placement.end_date {
        archive_recorded_end(&mut draft.detail, recorded.to_string(), &end);
    }
    draft.next.end_date = end.date;
    draft.detail.set_end_reason(end.reason);
    draft.detail.destination = end.destination;
    draft.detail.end_note = end.note;
    let mut change = draft.seal(&cx, &permit)?;
    change = draft::deliver(change, &cx, &placement, DeliveryKind::End, &placement.parties());
    change = moments::evaluate_today(&mut cx, change, placement.id).await?;
    change = register_moments::evaluate_provider(&mut cx, change, &placement.provider).await?;
    // On the days behind the earlier of the ends, marks may be expected no longer, or again.
    let first = [placement.end_date, end.date].into_iter().flatten().min().unwrap_or(cx.today);
    let days = (first, cx.today);
    change = register_moments::evaluate_provider_days(&mut cx, change, &placement.provider, days).await?;
    // The leaf is salted by the key of (caller, child).
    let sender = cx.caller.organisation.clone();
    let key = children::load_required_key(&mut cx, &sender, placement.child).await?;
    let response = EndPlacementResponse {
        etag: draft.next.version.to_string(),
        state: draft.next.state as i32,
        receipt: None,
    };
    let reply = response.encode_to_vec();
    let record = RecordRef::new(RecordKind::Placement, placement.id, draft.next.version);
    let (role, sender) = (LeafRole::Submitted, &sender);
    let part = LeafInput { placement: placement.id, role, record, sender, key: &key, reply: &reply };
    let mut rows = vec![row_write(&draft.next)];
    if end.date.is_none() {
        for item in open_items::list_checked(&mut cx.snapshot, placement.id).await? {
            change = change.guard(item.key(), item.version);
            rows.push(row_write(&item.reopened()));
        }
    }
    Ok(change.append_child_rows(&part, rows).with_reply(&response))
}

/// Returns the transition that the request asks for.
fn requested_transition(end: &ParsedEnd) -> Transition {
    match (end.date, end.correction_reason.is_empty()) {
        (None, _) => Transition::WithdrawEnd,
        (Some(_), true) => Transition::End,
        (Some(_), false) => Transition::CorrectEnd,
    }
}

/// Moves the recorded end to the earlier ends of the detail.
fn archive_recorded_end(detail: &mut PlacementDetail, end_date: String, by: &ParsedEnd) {
    let reason = detail.end_reason;
    detail.set_end_reason(EndReason::Unspecified);
    detail.earlier_ends.push(EarlierEnd {
        end_date,
        reason,
        destination: std::mem::take(&mut detail.destination),
        note: std::mem::take(&mut detail.end_note),
        correction_reason: by.correction_reason.clone(),
        withdrawn: by.date.is_none(),
    });
    let surplus = detail.earlier_ends.len().saturating_sub(MAX_EARLIER_ENDS);
    detail.earlier_ends.drain(..surplus);
}
