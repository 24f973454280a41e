//! `WithholdInformation`: a decision not to share is lawful where sharing would harm, and is itself a record
//! (Children Act 2004 s.16LA(3)). Nobody is told: that would tell what there is.

use prost::Message;

use super::rows::{self, WithholdingRow, withholding_key};
use super::{rules, sender, wire};
use crate::exchange::{Action, ChildPart, Cx, Decided, LeafRole, Refusal};
use crate::placements::children;
use crate::proto::v1::{WithholdInformationRequest, WithholdInformationResponse, Withholding};

/// Records the decision.
pub async fn withhold_information(
    mut cx: Cx,
    m: WithholdInformationRequest,
) -> Result<Decided<WithholdInformationResponse>, Refusal> {
    let asked = wire::withhold(&m)?;
    let (placement, permit) =
        sender::of_sender(&mut cx, Action::WithholdInformation, asked.placement, None).await?;
    let sender = cx.caller.organisation.clone();
    let head = withholding_key(&sender, placement.id);
    let before = cx.snapshot.version(&head).await?;
    let change = cx.change(&permit).guard(head, before);
    let (key, change) = children::own_key(&mut cx, change, &sender, placement.child).await?;
    let decision = Withholding {
        blocks: asked.blocks.iter().map(|kind| *kind as i32).collect(),
        reason: asked.reason,
        decided_by: asked.officer,
        recorded_time: Some(cx.now.to_proto()),
    };
    let number = before + 1;
    let row = WithholdingRow {
        sender,
        placement: placement.id,
        number,
        kinds: rules::bits(&asked.blocks),
        decision: rows::seal_decision(&cx, &key, (placement.id, number), &decision)?,
    };
    let response = WithholdInformationResponse { etag: number.to_string(), receipt: None };
    let reply = response.encode_to_vec();
    let part = ChildPart { placement: placement.id, role: LeafRole::Submitted, key: &key, reply: &reply };
    Ok(change.child(&part, &[row]).reply(&response))
}
