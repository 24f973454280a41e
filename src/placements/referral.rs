//! `CreateReferral`: a commissioner refers a child to a provider. It creates the placement. If the caller has not
//! referred the child before, it also creates the caller's record of the child and the caller's key of it.

use prost::Message;
use uuid::Uuid;

use super::children::{self, ChildKeyRow, ChildRow};
use super::delivery_subject::DeliverySubject;
use super::draft;
use super::moments;
use super::rows::{self, PartyRow, Placement};
use super::rules;
use super::wire::{self, NamedChild, Referral};
use crate::codes::Upn;
use crate::codes::organisation::{OrganisationId, OrganisationKind};
use crate::exchange::change::row_write;
use crate::exchange::check::Check;
use crate::exchange::{
    CallerRole, Decided, LeafInput, Permit, PolicyFacts, Reason, RecordRef, Refusal, RequestContext,
    RoleStatus,
};
use crate::proto::v1::{
    ChildIdentity, CreateReferralRequest, CreateReferralResponse, DataClass, DeliveryKind, LeafRole,
    PlacementState, RecordKind,
};
use crate::register::{agreements, organisations};
use crate::seal::ChildKey;
use crate::store::Revision;
use crate::store::proposal::Guard;
use crate::store::version_key::VersionKey;
use crate::violation_reason::ViolationReason;

/// The child of a referral, with the rows to write about it.
struct ReferredChild {
    child: Uuid,
    identity: ChildIdentity,
    key: ChildKey,
    /// Row of the wrapped key, for a new child.
    new_key: Option<ChildKeyRow>,
    /// New version of the record, for a new child or if the referral adds to the record.
    record: Option<ChildRow>,
    /// Keys and versions that were read.
    guards: Vec<Guard>,
}

/// Creates a referral.
pub(super) async fn create_referral(
    mut cx: RequestContext,
    m: CreateReferralRequest,
) -> Result<Decided<CreateReferralResponse>, Refusal> {
    let mut referral = wire::create_referral(&m, cx.today)?;
    referral.detail.referred_by = cx.attest(referral.detail.referred_by.take());
    let permit = permit_referral(&mut cx, &referral).await?;
    let subject = find_or_create_child(&mut cx, &referral.child).await?;
    let warnings = referral_warnings(&mut cx, &referral, &subject).await?;
    let placement = first_version(&cx, referral, &subject)?;
    let response = CreateReferralResponse {
        placement_id: placement.id.hyphenated().to_string(),
        child_id: subject.child.hyphenated().to_string(),
        etag: placement.version.to_string(),
        warnings,
        receipt: None,
    };
    let parties = placement.parties();
    let mut change =
        draft::bump_facts(cx.change(&permit).guard(placement.key(), Revision::ABSENT), &placement);
    for Guard { key, version } in subject.guards {
        change = change.guard(key, version);
    }
    if let Some(new_key) = &subject.new_key {
        change = change.append(new_key);
    }
    change = draft::deliver(change, &cx, &placement, DeliveryKind::Referral, &parties);
    let recipients = parties.iter().filter(|party| **party != placement.commissioner);
    let deliveries: Vec<_> = recipients.map(|recipient| referral_to(&placement, recipient)).collect();
    change = moments::evaluate_deliveries(&mut cx, change, deliveries).await?;
    if let Some(agreement) = agreements::by_id(&mut cx.snapshot, placement.agreement).await? {
        change = moments::evaluate_near_end(&cx, change, placement.id, &agreement);
    }
    let mut rows: Vec<_> = subject.record.iter().map(row_write).collect();
    rows.push(row_write(&placement));
    rows.extend(
        parties
            .into_iter()
            .map(|organisation| row_write(&PartyRow { organisation, placement: placement.id })),
    );
    let reply = response.encode_to_vec();
    let role = LeafRole::Submitted;
    let record = RecordRef::new(RecordKind::Placement, placement.id, placement.version);
    let sender = &placement.commissioner;
    let part = LeafInput { placement: placement.id, role, record, sender, key: &subject.key, reply: &reply };
    Ok(change.append_child_rows(&part, rows).with_reply(&response))
}

/// Returns the delivery of a referral to a recipient.
fn referral_to(placement: &Placement, recipient: &OrganisationId) -> DeliverySubject {
    let (sender, recipient) = (placement.commissioner.clone(), recipient.clone());
    DeliverySubject { kind: DeliveryKind::Referral, placement: placement.id, sender, recipient }
}

/// Returns the warnings about a referral, decided from the caller's own referrals alone. They never refuse it.
async fn referral_warnings(
    cx: &mut RequestContext,
    referral: &Referral,
    subject: &ReferredChild,
) -> Result<Vec<String>, Refusal> {
    let (caller, provider) = (&cx.caller.organisation, &referral.provider);
    let is_second = subject.new_key.is_none()
        && rows::has_live_placement(&mut cx.snapshot, caller, provider, subject.child).await?;
    Ok(if is_second { vec!["SECOND_OPEN_REFERRAL".to_owned()] } else { Vec::new() })
}

/// Returns the permit to refer, under an agreement in force between caller and provider. An agreement to which the
/// caller is no party is treated as one that does not exist.
async fn permit_referral(cx: &mut RequestContext, referral: &Referral) -> Result<Permit, Refusal> {
    let (caller, provider) = (cx.caller.organisation.clone(), &referral.provider);
    let authority = VersionKey::authority(provider.as_str());
    let guards = vec![Guard { version: cx.snapshot.current_version(&authority).await?, key: authority }];
    let (parties, class) = ([&caller, provider], DataClass::Referral);
    let basis =
        agreements::basis_in_force(&mut cx.snapshot, referral.agreement, &parties, class, cx.today).await?;
    let teaches = matches!(provider.kind(), OrganisationKind::Provider | OrganisationKind::School);
    // Whether a provider is registered is revealed only to callers that have an agreement with it.
    let takes_part = basis.is_none() || organisations::is_active(&mut cx.snapshot, provider).await?;
    let commissions = teaches && *provider != caller && takes_part;
    let part = if commissions { CallerRole::Commissioner } else { CallerRole::NoRole };
    cx.permit(&PolicyFacts { role: part, status: RoleStatus::Live, basis, guards })
}

/// Finds or creates the child: the one that the caller named by id, the one that has the pupil number among the
/// caller's records, or a new one.
async fn find_or_create_child(cx: &mut RequestContext, named: &NamedChild) -> Result<ReferredChild, Refusal> {
    let sender = cx.caller.organisation.clone();
    let found = match &named.upn {
        Some(upn) => Some(children::find_by_upn(cx, &sender, upn).await?),
        None => None,
    };
    let by_upn = found.as_ref().and_then(|found| found.child);
    let keys = found.iter().flat_map(|found| &found.checked_keys);
    let guards = keys
        .map(|(key, exists)| Guard {
            key: key.clone(),
            version: if *exists { Revision::FIRST } else { Revision::ABSENT },
        })
        .collect();
    let index = found.as_ref().filter(|found| found.child.is_none()).map(|found| found.index.to_vec());
    match named.id.or(by_upn) {
        Some(child) if by_upn.is_none_or(|other| other == child) => {
            known_child(cx, named, child, index, guards).await
        }
        // The caller must own the id before the refusal may mention the number.
        Some(child) => {
            children::load_newest_record(cx, &sender, child).await?;
            Err(identity_mismatch(&["upn"]))
        }
        None => new_child(cx, named, index, guards),
    }
}

async fn known_child(
    cx: &mut RequestContext,
    named: &NamedChild,
    child: Uuid,
    new_upn: Option<Vec<u8>>,
    mut guards: Vec<Guard>,
) -> Result<ReferredChild, Refusal> {
    let sender = cx.caller.organisation.clone();
    let known = children::load_newest_record(cx, &sender, child).await?;
    let wrong = rules::identity_mismatches(&known.identity, &named.identity);
    if !wrong.is_empty() {
        return Err(identity_mismatch(&wrong));
    }
    guards.push(Guard { key: children::identity_key(&sender, child), version: known.version });
    let identity = rules::merge_identity(&known.identity, &named.identity);
    let record = if identity == known.identity {
        None
    } else {
        let version = known.version.next();
        let sealed = children::seal_identity(cx, &known.key, child, version, &identity)?;
        Some(ChildRow { child, sender, version, identity: sealed, new_upn })
    };
    Ok(ReferredChild { child, identity, key: known.key, new_key: None, record, guards })
}

fn new_child(
    cx: &RequestContext,
    named: &NamedChild,
    new_upn: Option<Vec<u8>>,
    mut guards: Vec<Guard>,
) -> Result<ReferredChild, Refusal> {
    let (sender, child) = (cx.caller.organisation.clone(), cx.random.uuid_v4());
    let (key, key_row) = children::generate_key(cx, &sender, child)?;
    guards.push(Guard { key: children::child_key_row_key(&sender, child), version: Revision::ABSENT });
    guards.push(Guard { key: children::identity_key(&sender, child), version: Revision::ABSENT });
    let identity = named.identity.clone();
    let sealed = children::seal_identity(cx, &key, child, Revision::FIRST, &identity)?;
    let record = ChildRow { child, sender, version: Revision::FIRST, identity: sealed, new_upn };
    let (new_key, record) = (Some(key_row), Some(record));
    Ok(ReferredChild { child, identity, key, new_key, record, guards })
}

/// Builds the first version of the placement.
fn first_version(
    cx: &RequestContext,
    referral: Referral,
    subject: &ReferredChild,
) -> Result<Placement, Refusal> {
    let upn = Upn::parse(&subject.identity.upn).ok();
    let ring = cx.vault.ring();
    let index = |upn: Upn| ring.blind_index(referral.provider.as_str(), "upn", upn.as_str()).to_vec();
    let mut placement = Placement {
        id: cx.random.uuid_v4(),
        version: Revision::FIRST,
        state: PlacementState::Referred,
        commissioner: cx.caller.organisation.clone(),
        upn_index: upn.map(index),
        provider: referral.provider,
        residence: referral.residence,
        schools: referral.schools,
        party_periods: Vec::new(),
        child: subject.child,
        agreement: referral.agreement,
        provider_reference: None,
        start_date: None,
        planned_end_date: None,
        end_date: None,
        legal_basis: referral.legal_basis,
        reason: referral.reason,
        detail: Vec::new(),
    };
    placement.detail = draft::seal_detail(cx, &subject.key, &placement, &referral.detail)?;
    Ok(placement)
}

/// Builds the refusal of a referral whose child contradicts the caller's record.
fn identity_mismatch(fields: &[&'static str]) -> Refusal {
    let mut check = Check::new();
    for field in fields {
        check.enter("child").add_violation(field, ViolationReason::IdentityMismatch);
    }
    check.finish().map_or_else(Refusal::from, |()| Reason::Failed.into())
}
