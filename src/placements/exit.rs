//! `EndPlacement`: the commissioner or the provider says that a placement is over. An end that happened is
//! taken for any day since the start, whatever has lapsed.

use prost::Message;

use super::children;
use super::draft::{self, Draft};
use super::rules::{self, Verb};
use super::wire;
use crate::exchange::check::Check;
use crate::exchange::{Action, ChildPart, Cx, Decided, LeafRole, Refusal};
use crate::proto::v1::{DeliveryKind, EndPlacementRequest, EndPlacementResponse};

/// Ends a placement.
pub(super) async fn end_placement(
    mut cx: Cx,
    m: EndPlacementRequest,
) -> Result<Decided<EndPlacementResponse>, Refusal> {
    let end = wire::end(&m)?;
    let (placement, permit) = draft::permitted(&mut cx, Action::EndPlacement, end.target.placement).await?;
    draft::same_version(&end.target.etag, placement.version)?;
    let mut draft = Draft::open(&mut cx, &placement).await?;
    draft.next.state = rules::next(placement.state, Verb::End)?;
    let mut check = Check::new();
    if let Err(reason) = rules::end_date(placement.start.unwrap_or(end.date), end.date, cx.today) {
        check.fault("end_date", reason);
    }
    check.finish()?;
    draft.next.end = Some(end.date);
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
    Ok(change.child(&part, &[draft.next]).reply(&response))
}
