//! `RespondToReferral`: the provider accepts a referral under a reference of its own, or declines it.

use prost::Message;

use super::children;
use super::draft::{self, Draft};
use super::rows::provider_reference_key;
use super::rules::{self, Transition};
use super::wire::{self, ReferralResponse};
use crate::exchange::{Decided, LeafInput, Reason, RecordRef, Refusal, RequestContext};
use crate::proto::v1::{
    DeliveryKind, LeafRole, RecordKind, RespondToReferralRequest, RespondToReferralResponse,
};
use crate::store::Revision;

/// Records the provider's response to a referral. The first response about a child generates the provider's key of that
/// child, which seals what the provider sends about it.
pub(super) async fn respond_to_referral(
    mut cx: RequestContext,
    m: RespondToReferralRequest,
) -> Result<Decided<RespondToReferralResponse>, Refusal> {
    let (target, answer) = wire::respond(&m)?;
    let (placement, permit) = draft::load_permitted(&mut cx, target.placement).await?;
    draft::check_etag(&target.etag, placement.version)?;
    let mut draft = Draft::open(&mut cx, &placement).await?;
    let mut claimed = None;
    match answer {
        ReferralResponse::Accept(reference) => {
            draft.next.state = rules::next_state(placement.state, Transition::Accept)?;
            let key = provider_reference_key(&placement.provider, &reference);
            if cx.snapshot.current_version(&key).await? != Revision::ABSENT {
                return Err(Reason::AlreadyExists.into());
            }
            claimed = Some(key);
            draft.next.provider_reference = Some(reference);
        }
        ReferralResponse::Decline(reason, note) => {
            draft.next.state = rules::next_state(placement.state, Transition::Decline)?;
            draft.detail.set_decline_reason(reason);
            draft.detail.response_note = note;
        }
    }
    let mut change = draft.seal(&cx, &permit)?;
    if let Some(key) = claimed {
        change = change.guard(key, Revision::ABSENT);
    }
    let (key, change) =
        children::load_or_generate_key(&mut cx, change, &placement.provider, placement.child).await?;
    let to = [placement.commissioner.clone()];
    let change = draft::deliver(change, &cx, &placement, DeliveryKind::Response, &to);
    let response = RespondToReferralResponse {
        etag: draft.next.version.to_string(),
        state: draft.next.state as i32,
        receipt: None,
    };
    let reply = response.encode_to_vec();
    let record = RecordRef::new(RecordKind::Placement, placement.id, draft.next.version);
    let (role, sender) = (LeafRole::Submitted, &placement.provider);
    let part = LeafInput { placement: placement.id, role, record, sender, key: &key, reply: &reply };
    Ok(change.append_child(&part, &[draft.next]).with_reply(&response))
}
