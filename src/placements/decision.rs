//! `DecidePlacement`: the commissioner approves or rejects, with what was weighed. A decision that a start
//! did not wait for is taken afterwards.

use prost::Message;

use super::draft::{self, Draft};
use super::rules::{self, Verb};
use super::wire;
use crate::exchange::{Action, ChildPart, Cx, Decided, LeafRole, Refusal};
use crate::proto::v1::{DecidePlacementRequest, DecidePlacementResponse, DeliveryKind};

/// Records a decision.
pub(super) async fn decide_placement(
    mut cx: Cx,
    m: DecidePlacementRequest,
) -> Result<Decided<DecidePlacementResponse>, Refusal> {
    let (target, decision) = wire::decide(&m, cx.today)?;
    let (placement, permit) = draft::permitted(&mut cx, Action::DecidePlacement, target.placement).await?;
    draft::same_version(&target.etag, placement.version)?;
    let mut draft = Draft::open(&mut cx, &placement).await?;
    let verb = if decision.approved { Verb::Approve } else { Verb::Reject };
    draft.next.state = rules::next(placement.state, verb)?;
    rules::late_decision(placement.state, draft.detail.decision.is_some())?;
    let (child_view, parent_view) = (decision.child_view.is_some(), decision.parent_view.is_some());
    let warnings = rules::warnings(child_view, parent_view, decision.options_considered.len());
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
    let part =
        ChildPart { placement: placement.id, role: LeafRole::Submitted, key: &draft.key, reply: &reply };
    Ok(change.child(&part, &[draft.next]).reply(&response))
}
