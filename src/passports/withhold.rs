//! `WithholdInformation`: records a decision not to share, which is lawful where sharing would harm (Children Act 2004
//! s.16LA(3)). It delivers nothing, because a delivery would reveal that the information exists.

use prost::Message;

use super::rows::{self, WithholdingRow, withholding_key};
use super::{sender, wire};
use crate::exchange::{Decided, LeafInput, RecordRef, Refusal, RequestContext};
use crate::placements::children;
use crate::proto::v1::{
    LeafRole, RecordKind, WithholdInformationRequest, WithholdInformationResponse, Withholding,
};

/// Records a decision not to share.
pub async fn withhold_information(
    mut cx: RequestContext,
    m: WithholdInformationRequest,
) -> Result<Decided<WithholdInformationResponse>, Refusal> {
    let asked = wire::check_withhold(&m)?;
    let (placement, permit) = sender::authorise_sender(&mut cx, asked.placement, None).await?;
    let sender = cx.caller.organisation.clone();
    let head = withholding_key(&sender, placement.id);
    let before = cx.snapshot.current_version(&head).await?;
    let change = cx.change(&permit).guard(head, before);
    let (key, change) = children::load_or_generate_key(&mut cx, change, &sender, placement.child).await?;
    let decision = Withholding {
        blocks: asked.blocks.iter().map(|kind| *kind as i32).collect(),
        reason: asked.reason,
        decided_by: cx.attest(asked.officer),
        recorded_time: Some(cx.now.to_proto()),
    };
    let number = before.next();
    let row = WithholdingRow {
        sender: sender.clone(),
        placement: placement.id,
        number,
        kinds: asked.blocks.iter().copied().collect(),
        decision: rows::seal_decision(&cx, &key, (placement.id, number), &decision)?,
    };
    let response = WithholdInformationResponse { etag: number.to_string(), receipt: None };
    let reply = response.encode_to_vec();
    let record = RecordRef::new(RecordKind::Withholding, placement.id, number);
    let (placement, role) = (placement.id, LeafRole::Submitted);
    let part = LeafInput { placement, role, record, sender: &sender, key: &key, reply: &reply };
    Ok(change.append_child(&part, &[row]).with_reply(&response))
}
