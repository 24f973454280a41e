//! `RespondToReferral`: the provider accepts under a reference of its own, or declines.

use prost::Message;

use super::children;
use super::draft::{self, Draft};
use super::rows::reference_key;
use super::rules::{self, Verb};
use super::wire::{self, Answer};
use crate::exchange::{Action, ChildPart, Cx, Decided, LeafRole, Reason, Refusal};
use crate::proto::v1::{DeliveryKind, RespondToReferralRequest, RespondToReferralResponse};

/// Answers a referral. With its first answer about a child the provider gets its own key of that child,
/// under which what it sends will be sealed.
pub(super) async fn respond_to_referral(
    mut cx: Cx,
    m: RespondToReferralRequest,
) -> Result<Decided<RespondToReferralResponse>, Refusal> {
    let (target, answer) = wire::respond(&m)?;
    let (placement, permit) = draft::permitted(&mut cx, Action::RespondToReferral, target.placement).await?;
    draft::same_version(&target.etag, placement.version)?;
    let mut draft = Draft::open(&mut cx, &placement).await?;
    let mut taken = None;
    match answer {
        Answer::Accept(reference) => {
            draft.next.state = rules::next(placement.state, Verb::Accept)?;
            let key = reference_key(&placement.provider, &reference);
            if cx.snapshot.version(&key).await? != 0 {
                return Err(Reason::AlreadyExists.into());
            }
            taken = Some(key);
            draft.next.provider_reference = Some(reference);
        }
        Answer::Decline(reason, note) => {
            draft.next.state = rules::next(placement.state, Verb::Decline)?;
            draft.detail.set_decline_reason(reason);
            draft.detail.response_note = note;
        }
    }
    let mut change = draft.seal(&cx, &permit)?;
    if let Some(key) = taken {
        change = change.guard(key, 0);
    }
    let own = children::own_key(&mut cx, change, &placement.provider, placement.child).await?;
    let (key, change) = own;
    let to = [placement.commissioner.clone()];
    let change = draft::deliver(change, &cx, &placement, DeliveryKind::Response, &to);
    let response = RespondToReferralResponse {
        etag: draft.next.version.to_string(),
        state: draft.next.state as i32,
        receipt: None,
    };
    let reply = response.encode_to_vec();
    let part = ChildPart { placement: placement.id, role: LeafRole::Submitted, key: &key, reply: &reply };
    Ok(change.child(&part, &[draft.next]).reply(&response))
}
