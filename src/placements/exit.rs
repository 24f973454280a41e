//! `EndPlacement`: the commissioner or the provider says that a placement is over. An end that happened is
//! taken for any day since the start, whatever has lapsed; one that was recorded wrongly is corrected or withdrawn.

use prost::Message;

use super::children;
use super::draft::{self, Draft};
use super::open_items;
use super::rules::{self, Verb};
use super::wire::{self, End};
use crate::exchange::change::row;
use crate::exchange::check::Check;
use crate::exchange::{Action, ChildPart, Cx, Decided, LeafRole, Part, Refusal};
use crate::proto::v1::{
    DeliveryKind, EarlierEnd, EndPlacementRequest, EndPlacementResponse, EndReason, PlacementDetail,
};

/// Most earlier ends that a placement's detail holds; its versions hold all of them.
const MAX_EARLIER_ENDS: usize = 50;

/// Ends a placement, or corrects or withdraws an end that is recorded.
pub(super) async fn end_placement(
    mut cx: Cx,
    m: EndPlacementRequest,
) -> Result<Decided<EndPlacementResponse>, Refusal> {
    let end = wire::end(&m)?;
    let (placement, permit) = draft::permitted(&mut cx, Action::EndPlacement, end.target.placement).await?;
    draft::same_version(&end.target.etag, placement.version)?;
    let mut draft = Draft::open(&mut cx, &placement).await?;
    draft.next.state = rules::next(placement.state, verb(&end))?;
    let mut check = Check::new();
    match end.date {
        Some(date) => {
            if let Err(reason) = rules::end_date(placement.start.unwrap_or(date), date, cx.today) {
                check.fault("end_date", reason);
            }
        }
        // It would give the provider back what the end took from it.
        None if placement.part_of(&cx.caller.organisation) != Part::Commissioner => {
            check.fault("withdrawn", "COMMISSIONER_ONLY");
        }
        None => {}
    }
    check.finish()?;
    if let Some(recorded) = placement.end {
        keep(&mut draft.detail, recorded.to_string(), &end);
    }
    draft.next.end = end.date;
    draft.detail.set_end_reason(end.reason);
    draft.detail.destination = end.destination;
    draft.detail.end_note = end.note;
    let mut change = draft.seal(&cx, &permit)?;
    change = draft::deliver(change, &cx, &placement, DeliveryKind::End, &placement.parties());
    // The leaf is under the sender's own key of the child.
    let sender = cx.caller.organisation.clone();
    let key = children::required_key(&mut cx, &sender, placement.child).await?;
    let response = EndPlacementResponse {
        etag: draft.next.version.to_string(),
        state: draft.next.state as i32,
        receipt: None,
    };
    let reply = response.encode_to_vec();
    let part = ChildPart { placement: placement.id, role: LeafRole::Submitted, key: &key, reply: &reply };
    let mut rows = vec![row(&draft.next)];
    if end.date.is_none() {
        for (before, item) in open_items::passed_over(&mut cx.snapshot, placement.id).await? {
            change = change.guard(item.key(), before);
            rows.push(row(&item));
        }
    }
    Ok(change.child_rows(&part, rows).reply(&response))
}

/// What the request does to the placement.
fn verb(end: &End) -> Verb {
    match (end.date, end.correction_reason.is_empty()) {
        (None, _) => Verb::WithdrawEnd,
        (Some(_), true) => Verb::End,
        (Some(_), false) => Verb::CorrectEnd,
    }
}

/// Moves the recorded end to the earlier ones.
fn keep(detail: &mut PlacementDetail, end_date: String, by: &End) {
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
