//! `DecidePlacement`: the commissioner approves or rejects a placement, with rationale, views and options considered.
//! If a placement started without a decision, the commissioner records it afterwards.

use prost::Message;

use super::draft::{self, Draft};
use super::rules::{self, Transition};
use super::wire;
use crate::exchange::{Decided, LeafInput, RecordRef, Refusal, RequestContext};
use crate::proto::v1::{DecidePlacementRequest, DecidePlacementResponse, DeliveryKind, LeafRole, RecordKind};

/// Records a decision.
pub(super) async fn decide_placement(
    mut cx: RequestContext,
    m: DecidePlacementRequest,
) -> Result<Decided<DecidePlacementResponse>, Refusal> {
    let (target, mut decision) = wire::decide(&m, cx.today)?;
    decision.decided_by = cx.attest(decision.decided_by.take());
    let (placement, permit) = draft::load_permitted(&mut cx, target.placement).await?;
    draft::check_etag(&target.etag, placement.version)?;
    let mut draft = Draft::open(&mut cx, &placement).await?;
    let transition = if decision.approved { Transition::Approve } else { Transition::Reject };
    draft.next.state = rules::next_state(placement.state, transition)?;
    rules::check_late_decision(placement.state, draft.detail.decision.is_some())?;
    let (child_view, parent_view) = (decision.child_view.is_some(), decision.parent_view.is_some());
    let warnings = rules::decision_warnings(child_view, parent_view, decision.options_considered.len());
    draft.detail.decision = Some(decision);
    let mut change = draft.seal(&cx, &permit)?;
    change = draft::deliver(change, &cx, &placement, DeliveryKind::Decision, &placement.parties());
    let response = DecidePlacementResponse {
        etag: draft.next.version.to_string(),
        state: draft.next.state as i32,
        warnings: warnings.into_iter().map(str::to_owned).collect(),
        receipt: None,
    };
    let reply = response.encode_to_vec();
    let record = RecordRef::new(RecordKind::Placement, placement.id, draft.next.version);
    let (role, sender) = (LeafRole::Submitted, &placement.commissioner);
    let part = LeafInput { placement: placement.id, role, record, sender, key: &draft.key, reply: &reply };
    Ok(change.append_child(&part, &[draft.next]).with_reply(&response))
}
