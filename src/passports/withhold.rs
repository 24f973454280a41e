//! `WithholdInformation`: records a decision not to share, which is lawful where sharing would harm (Children Act 2004
//! s.16LA(3)). It delivers nothing, because a delivery would reveal that the information exists.

use prost::Message;

use super::need_to_know::{Part, Reader, ReadingRight, Visibility};
use super::rows::{self, WithholdingRow, withholding_key};
use super::rules::{is_unreadable, min_sensitivity};
use super::{reader, sender, wire};
use crate::exchange::{Decided, LeafInput, Reason, RecordRef, Refusal, RequestContext};
use crate::placements::{self, children};
use crate::proto::v1::{
    BlockNotice, LeafRole, PassportBlockKind as Kind, RecordKind, WithholdInformationRequest,
    WithholdInformationResponse, Withholding,
};
use crate::store::Revision;

/// Records a decision not to share.
pub async fn withhold_information(
    mut cx: RequestContext,
    m: WithholdInformationRequest,
) -> Result<Decided<WithholdInformationResponse>, Refusal> {
    let asked = wire::check_withhold(&m)?;
    let (placement, permit) = sender::authorise_sender(&mut cx, asked.placement, None).await?;
    let caller = reader::of_call(&cx, ReadingRight::Sender);
    if !caller.decides_withholding() {
        return Err(Reason::PersonRequired.into());
    }
    let sender = cx.caller.organisation.clone();
    let head = withholding_key(&sender, placement.id);
    let before = cx.snapshot.current_version(&head).await?;
    // A person replaces only the decision that the person read. A system does not read every decision of its organisation.
    let is_expected = !asked.etag.is_empty() || (caller.person.is_some() && before != Revision::ABSENT);
    if is_expected {
        placements::check_etag(&asked.etag, before)?;
    }
    let change = cx.change(&permit).guard(head, before);
    let (key, change) = children::load_or_generate_key(&mut cx, change, &sender, placement.child).await?;
    let decision = Withholding {
        blocks: asked.blocks.iter().map(|kind| *kind as i32).collect(),
        reason: asked.reason,
        decided_by: cx.attest(asked.officer),
        recorded_time: Some(cx.now.to_proto()),
        ..Withholding::default()
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

/// Cuts a decision to what a reader of the sender gets; `notices` are those of the passport that the reader gets. Of a kind
/// whose content the reader does not get, the decision leaves nothing, and the rest of it is the kinds alone, because
/// reason, officer and time are about all of them. A decision that withholds nothing any more is for those who decide.
pub fn cut_decision(reader: &Reader, notices: &[BlockNotice], decision: Withholding) -> Option<Withholding> {
    let is_read = |kind: Kind| {
        let part = Part::of_block(kind, min_sensitivity(kind));
        // Such a notice is of a block that its sender raised, and that the reader does not get.
        let is_raised = !is_unreadable(kind) && notices.iter().any(|notice| notice.kind() == kind);
        reader.visibility(part, &[]) == Visibility::Content && !is_raised
    };
    let read: Vec<i32> = decision.blocks().filter(|kind| is_read(*kind)).map(Into::into).collect();
    if read.len() == decision.blocks.len() {
        let is_shown = !read.is_empty() || (is_read(Kind::Health) && is_read(Kind::Safeguarding));
        return is_shown.then_some(decision);
    }
    (!read.is_empty()).then(|| Withholding { blocks: read, ..Withholding::default() })
}
