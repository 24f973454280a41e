//! `SharePassport`: delivers the newest version to the provider of a live referral or placement, under an agreement in
//! force. Each version needs a call of its own.

use prost::Message;

use super::rows::{ShareRow, share_key};
use super::{sender, wire};
use crate::exchange::{Decided, LeafInput, Reason, RecordRef, Refusal, RequestContext};
use crate::placements::delivery_subject::DeliverySubject;
use crate::placements::{self, children, moments, safety_acknowledgement};
use crate::proto::v1::{DeliveryKind, LeafRole, RecordKind, SharePassportRequest, SharePassportResponse};
use crate::register::{agreements, organisations};
use crate::store::Revision;
use crate::store::version_key::VersionKey;

/// Shares the newest version of a passport.
pub async fn share_passport(
    mut cx: RequestContext,
    m: SharePassportRequest,
) -> Result<Decided<SharePassportResponse>, Refusal> {
    let asked = wire::check_share(&m)?;
    let (placement, permit) = sender::authorise_sender(&mut cx, asked.placement, asked.agreement).await?;
    let sender = cx.caller.organisation.clone();
    let agreement = asked.agreement.unwrap_or(placement.agreement);
    let head = safety_acknowledgement::passport_key(&sender, placement.child);
    let version = cx.snapshot.current_version(&head).await?;
    if version == Revision::ABSENT {
        return Err(Reason::NotFound.into());
    }
    placements::check_etag(&asked.etag, version)?;
    let key = children::load_required_key(&mut cx, &sender, placement.child).await?;
    let shares = share_key(&sender, placement.id);
    let before = cx.snapshot.current_version(&shares).await?;
    if !organisations::is_active(&mut cx.snapshot, &placement.provider).await? {
        return Err(Reason::RecipientSuspended.into());
    }
    // Guards: the share is refused if the authority that it relies on was narrowed after it was read.
    let authority = VersionKey::authority(placement.provider.as_str());
    let mut change = cx.change(&permit).guard(head, version).guard(shares, before);
    for guarded in [authority, agreements::key(agreement), placement.key()] {
        let version = cx.snapshot.current_version(&guarded).await?;
        change = change.guard(guarded, version);
    }
    let row = ShareRow {
        sender: sender.clone(),
        placement: placement.id,
        number: before.next(),
        version,
        agreement,
    };
    change = moments::evaluate_active_today(&mut cx, change, &placement).await?;
    let (shared_by, recipient) = (sender.clone(), placement.provider.clone());
    let kind = DeliveryKind::Passport;
    let delivery = DeliverySubject { kind, placement: placement.id, sender: shared_by, recipient };
    change = moments::evaluate_deliveries(&mut cx, change, [delivery]).await?;
    change = change.deliver(&placement.provider, DeliveryKind::Passport, placement.id, Some(placement.id));
    let response = SharePassportResponse { etag: version.to_string(), receipt: None };
    let reply = response.encode_to_vec();
    let record = RecordRef::new(RecordKind::Passport, placement.id, version);
    let (placement, role) = (placement.id, LeafRole::Submitted);
    let part = LeafInput { placement, role, record, sender: &sender, key: &key, reply: &reply };
    Ok(change.append_child(&part, &[row]).with_reply(&response))
}
