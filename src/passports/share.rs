//! `SharePassport`: the newest version goes to the provider of a live referral or placement, under an
//! agreement in force. Every version is shared by an act of its own.

use prost::Message;

use super::rows::{ShareRow, share_key};
use super::{sender, wire};
use crate::exchange::{Action, ChildPart, Cx, Decided, LeafRole, Reason, Refusal};
use crate::placements::{self, children, safety};
use crate::proto::v1::{DeliveryKind, SharePassportRequest, SharePassportResponse};
use crate::register::{agreements, organisations};
use crate::store::key::Key;

/// Shares the newest version.
pub async fn share_passport(
    mut cx: Cx,
    m: SharePassportRequest,
) -> Result<Decided<SharePassportResponse>, Refusal> {
    let asked = wire::share(&m)?;
    let (placement, permit) =
        sender::of_sender(&mut cx, Action::SharePassport, asked.placement, asked.agreement).await?;
    let sender = cx.caller.organisation.clone();
    let agreement = asked.agreement.unwrap_or(placement.agreement);
    let head = safety::passport_key(&sender, placement.child);
    let version = cx.snapshot.version(&head).await?;
    if version == 0 {
        return Err(Reason::NotFound.into());
    }
    placements::same_version(&asked.etag, version)?;
    let key = children::required_key(&mut cx, &sender, placement.child).await?;
    let shares = share_key(&sender, placement.id);
    let before = cx.snapshot.version(&shares).await?;
    if !organisations::is_active(&mut cx.snapshot, &placement.provider).await? {
        return Err(Reason::RecipientSuspended.into());
    }
    // Nobody is given anything on an authority that has been narrowed since it was read.
    let authority = Key::authority(placement.provider.as_str());
    let mut change = cx.change(&permit).guard(head, version).guard(shares, before);
    for resting_on in [authority, agreements::key(agreement), placement.key()] {
        let version = cx.snapshot.version(&resting_on).await?;
        change = change.guard(resting_on, version);
    }
    let row = ShareRow { sender, placement: placement.id, number: before + 1, version, agreement };
    change = change.deliver(&placement.provider, DeliveryKind::Passport, placement.id, Some(placement.id));
    let response = SharePassportResponse { etag: version.to_string(), receipt: None };
    let reply = response.encode_to_vec();
    let part = ChildPart { placement: placement.id, role: LeafRole::Submitted, key: &key, reply: &reply };
    Ok(change.child(&part, &[row]).reply(&response))
}
