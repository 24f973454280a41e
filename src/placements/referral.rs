//! `CreateReferral`: a commissioner asks a provider to take a child. It makes the placement, and for a child
//! whom the caller has not referred before, the child and the caller's key of it.

use prost::Message;
use uuid::Uuid;

use super::children::{self, ChildKeyRow, ChildRow};
use super::draft;
use super::rows::{self, PartyRow, Placement};
use super::rules;
use super::wire::{self, NamedChild, Referral};
use crate::codes::Upn;
use crate::codes::organisation::OrganisationKind;
use crate::exchange::change::row;
use crate::exchange::check::Check;
use crate::exchange::{
    Action, ChildPart, Cx, Decided, Facts, LeafRole, Part, Permit, Reason, Refusal, Standing,
};
use crate::proto::v1::{
    ChildIdentity, CreateReferralRequest, CreateReferralResponse, DataClass, DeliveryKind, PlacementState,
};
use crate::register::{agreements, organisations};
use crate::seal::ChildKey;
use crate::store::key::Key;
use crate::store::proposal::Guard;

/// The child of a referral, with what is to be written about it.
struct Subject {
    child: Uuid,
    identity: ChildIdentity,
    key: ChildKey,
    /// For a new child.
    new_key: Option<ChildKeyRow>,
    /// For a new child, or one of which the referral says more.
    record: Option<ChildRow>,
    /// What was looked up.
    guards: Vec<Guard>,
}

/// Makes a referral.
pub(super) async fn create_referral(
    mut cx: Cx,
    m: CreateReferralRequest,
) -> Result<Decided<CreateReferralResponse>, Refusal> {
    let referral = wire::create_referral(&m, cx.today)?;
    let permit = permit(&mut cx, &referral).await?;
    let subject = subject(&mut cx, &referral.child).await?;
    let warnings = warnings(&mut cx, &referral, &subject).await?;
    let placement = placement(&cx, referral, &subject)?;
    let response = CreateReferralResponse {
        placement_id: placement.id.hyphenated().to_string(),
        child_id: subject.child.hyphenated().to_string(),
        etag: placement.version.to_string(),
        warnings,
        receipt: None,
    };
    let parties = placement.parties();
    let mut change = draft::move_facts(cx.change(&permit).guard(placement.key(), 0), &placement);
    for Guard { key, version } in subject.guards {
        change = change.guard(key, version);
    }
    if let Some(new_key) = &subject.new_key {
        change = change.write(new_key);
    }
    change = draft::deliver(change, &cx, &placement, DeliveryKind::Referral, &parties);
    let mut rows: Vec<_> = subject.record.iter().map(row).collect();
    rows.push(row(&placement));
    rows.extend(
        parties.into_iter().map(|organisation| row(&PartyRow { organisation, placement: placement.id })),
    );
    let reply = response.encode_to_vec();
    let role = LeafRole::Submitted;
    let part = ChildPart { placement: placement.id, role, key: &subject.key, reply: &reply };
    Ok(change.child_rows(&part, rows).reply(&response))
}

/// What is unusual about a referral, decided from the caller's own referrals alone. None of it refuses one.
async fn warnings(cx: &mut Cx, referral: &Referral, subject: &Subject) -> Result<Vec<String>, Refusal> {
    let (caller, provider) = (&cx.caller.organisation, &referral.provider);
    let is_second = subject.new_key.is_none()
        && rows::is_placed(&mut cx.snapshot, caller, provider, subject.child).await?;
    Ok(if is_second { vec!["SECOND_OPEN_REFERRAL".to_owned()] } else { Vec::new() })
}

/// Leave to refer, under an agreement in force between the two. One to which the caller is no party covers
/// nothing, as one that does not exist.
async fn permit(cx: &mut Cx, referral: &Referral) -> Result<Permit, Refusal> {
    let (caller, provider) = (cx.caller.organisation.clone(), &referral.provider);
    let authority = Key::authority(provider.as_str());
    let guards = vec![Guard { version: cx.snapshot.version(&authority).await?, key: authority }];
    let (parties, class) = ([&caller, provider], DataClass::Referral);
    let basis = agreements::basis(&mut cx.snapshot, referral.agreement, &parties, class, cx.today).await?;
    let teaches = matches!(provider.kind(), OrganisationKind::Provider | OrganisationKind::School);
    // Whether a provider takes part is for those to know who have an agreement with it.
    let takes_part = basis.is_none() || organisations::is_active(&mut cx.snapshot, provider).await?;
    let commissions = teaches && *provider != caller && takes_part;
    let part = if commissions { Part::Commissioner } else { Part::None };
    cx.permit(Action::CreateReferral, &Facts { part, standing: Standing::Live, basis, guards })
}

/// The child: one that the caller named by id, one that its pupil number finds among the caller's own, or
/// a new one.
async fn subject(cx: &mut Cx, named: &NamedChild) -> Result<Subject, Refusal> {
    let sender = cx.caller.organisation.clone();
    let found = match &named.upn {
        Some(upn) => Some(children::by_upn(cx, &sender, upn).await?),
        None => None,
    };
    let by_upn = found.as_ref().and_then(|found| found.child);
    let keys = found.iter().flat_map(|found| &found.keys);
    let guards = keys.map(|(key, exists)| Guard { key: key.clone(), version: i64::from(*exists) }).collect();
    let index = found.as_ref().filter(|found| found.child.is_none()).map(|found| found.index);
    match named.id.or(by_upn) {
        Some(child) if by_upn.is_none_or(|other| other == child) => {
            known(cx, named, child, index, guards).await
        }
        // The id must be the caller's own before anything is said about the number.
        Some(child) => {
            children::newest(cx, &sender, child).await?;
            Err(mismatch(&["upn"]))
        }
        None => new(cx, named, index, guards),
    }
}

async fn known(
    cx: &mut Cx,
    named: &NamedChild,
    child: Uuid,
    new_upn: Option<crate::seal::BlindIndex>,
    mut guards: Vec<Guard>,
) -> Result<Subject, Refusal> {
    let sender = cx.caller.organisation.clone();
    let known = children::newest(cx, &sender, child).await?;
    let wrong = rules::mismatches(&known.identity, &named.identity);
    if !wrong.is_empty() {
        return Err(mismatch(&wrong));
    }
    guards.push(Guard { key: children::identity_key(&sender, child), version: known.version });
    let identity = rules::merged(&known.identity, &named.identity);
    let record = if identity == known.identity {
        None
    } else {
        let version = known.version + 1;
        let sealed = children::seal(cx, &known.key, child, version, &identity)?;
        Some(ChildRow { child, sender, version, identity: sealed, new_upn })
    };
    Ok(Subject { child, identity, key: known.key, new_key: None, record, guards })
}

fn new(
    cx: &Cx,
    named: &NamedChild,
    new_upn: Option<crate::seal::BlindIndex>,
    mut guards: Vec<Guard>,
) -> Result<Subject, Refusal> {
    let (sender, child) = (cx.caller.organisation.clone(), cx.random.uuid_v4());
    let (key, key_row) = children::new_key(cx, &sender, child)?;
    guards.push(Guard { key: children::key_of(&sender, child), version: 0 });
    guards.push(Guard { key: children::identity_key(&sender, child), version: 0 });
    let identity = named.identity.clone();
    let sealed = children::seal(cx, &key, child, 1, &identity)?;
    let record = ChildRow { child, sender, version: 1, identity: sealed, new_upn };
    Ok(Subject { child, identity, key, new_key: Some(key_row), record: Some(record), guards })
}

/// The first version of the placement.
fn placement(cx: &Cx, referral: Referral, subject: &Subject) -> Result<Placement, Refusal> {
    let upn = Upn::parse(&subject.identity.upn).ok();
    let ring = cx.vault.ring();
    let index = |upn: Upn| ring.blind_index(referral.provider.as_str(), "upn", upn.as_str()).to_vec();
    let mut placement = Placement {
        id: cx.random.uuid_v4(),
        version: 1,
        state: PlacementState::Referred,
        commissioner: cx.caller.organisation.clone(),
        upn_index: upn.map(index),
        provider: referral.provider,
        residence: referral.residence,
        schools: referral.schools,
        periods: Vec::new(),
        child: subject.child,
        agreement: referral.agreement,
        provider_reference: None,
        start: None,
        planned_end: None,
        end: None,
        legal_basis: referral.legal_basis as i32,
        reason: referral.reason as i32,
        detail: Vec::new(),
    };
    placement.detail = draft::seal_detail(cx, &subject.key, &placement, &referral.detail)?;
    Ok(placement)
}

/// What was sent of a known child is not what the caller's own record says.
fn mismatch(fields: &[&'static str]) -> Refusal {
    let mut check = Check::new();
    for field in fields {
        check.at("child").fault(field, "IDENTITY_MISMATCH");
    }
    check.finish().map_or_else(Refusal::from, |()| Reason::Failed.into())
}
