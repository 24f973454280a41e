//! Sharing agreements: the data classes, purposes and legal basis under which two or more organisations share. Only the
//! parties propose, countersign and end an agreement (ICO data sharing code; UK GDPR Articles 6 and 9).

mod coverage;
mod moments;
mod read;
mod rows;
mod rules;
mod wire;

use uuid::Uuid;

use super::certificates::parse_fingerprint;
use super::organisations;
use crate::calendar::Date;
use crate::codes::organisation::OrganisationId;
use crate::exchange::check::Check;
use crate::exchange::{
    CallerRole, Change, Decided, NextActor, PolicyFacts, Reason, Refusal, RequestContext, SharingBasis,
    WrongState,
};
use crate::proto::v1::{
    AgreementState, CountersignAgreementRequest, CountersignAgreementResponse, DataClass, DeliveryKind,
    EndAgreementRequest, EndAgreementResponse, ProposeAgreementRequest, ProposeAgreementResponse, Purpose,
};
use crate::store::version_key::VersionKey;
use crate::store::{Revision, Snapshot, StoreError};
use crate::violation_reason::ViolationReason;
pub use coverage::Agreements;
pub use moments::AgreementPage;
pub(super) use read::{get, list};
pub use rows::{AgreementRow, by_id, key, written_at};

/// Proposes an agreement. The proposal counts as the proposer's signature.
pub(super) async fn propose(
    mut cx: RequestContext,
    m: ProposeAgreementRequest,
) -> Result<Decided<ProposeAgreementResponse>, Refusal> {
    let agreement = wire::check_proposal(&m)?;
    let party = agreement.parties.contains(&cx.caller.organisation);
    let permit =
        cx.permit(&PolicyFacts::for_role(if party { CallerRole::Party } else { CallerRole::NoRole }))?;
    let mut row = agreement;
    check_registered(&mut cx, &m, &row.parties).await?;
    row.id = cx.random.uuid_v7(cx.now);
    row.countersigned_by = vec![cx.caller.organisation.clone()];
    let reply = ProposeAgreementResponse {
        agreement_id: row.id.hyphenated().to_string(),
        etag: row.version.to_string(),
        terms_sha256: row.terms_sha256(),
        receipt: None,
    };
    Ok(write_version(&cx, cx.change(&permit).guard(key(row.id), Revision::ABSENT), &row).with_reply(&reply))
}

/// Checks that every party is registered, because another could never countersign. Who is registered is in the directory.
async fn check_registered(
    cx: &mut RequestContext,
    m: &ProposeAgreementRequest,
    parties: &[OrganisationId],
) -> Result<(), Refusal> {
    let registered =
        organisations::list_names(&mut cx.snapshot, parties.iter().map(OrganisationId::as_str)).await?;
    let mut check = Check::new();
    let sent = m.agreement.iter().flat_map(|agreement| &agreement.parties).enumerate();
    for (index, _) in sent.filter(|(_, sent)| !registered.iter().any(|(known, _)| known == *sent)) {
        let mut at = check.enter("agreement");
        at.enter("parties").index(index).add_violation("", ViolationReason::OrganisationUnknown);
    }
    Ok(check.finish()?)
}

/// Signs an agreement. The last signature puts it in force.
pub(super) async fn countersign(
    mut cx: RequestContext,
    m: CountersignAgreementRequest,
) -> Result<Decided<CountersignAgreementResponse>, Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let id = check.uuid("agreement_id", &m.agreement_id);
    check.required("etag", &m.etag);
    let terms = check
        .parsed("terms_sha256", &m.terms_sha256, |text| parse_fingerprint(text).map(|_| text.to_owned()));
    check.finish()?;
    let (permit, mut row) = authorise_party(&mut cx, id).await?;
    if m.etag != row.version.to_string() {
        return Err(Reason::RevisionMismatch.into());
    }
    let needed = || vec![AgreementState::Proposed.as_str_name()];
    if row.state != AgreementState::Proposed {
        let present = row.state.as_str_name();
        return Err(WrongState { current: present, required: needed(), next_actor: NextActor::Nobody }.into());
    }
    if row.countersigned_by.contains(&cx.caller.organisation) {
        let next_actor = NextActor::OtherParty;
        return Err(WrongState { current: "COUNTERSIGNED", required: needed(), next_actor }.into());
    }
    if terms.is_none_or(|terms| terms != row.terms_sha256()) {
        return Err(Reason::TermsChanged.into());
    }
    let mut change = cx.change(&permit).guard(key(row.id), row.version);
    row.version = row.version.next();
    row.countersigned_by.push(cx.caller.organisation.clone());
    row.countersigned_by.sort();
    if row.parties.iter().all(|party| row.countersigned_by.contains(party)) {
        row.state = AgreementState::InForce;
        change = moments::evaluate_placements(&mut cx, change, &row).await?;
    }
    let reply = CountersignAgreementResponse {
        etag: row.version.to_string(),
        state: row.state as i32,
        receipt: None,
    };
    Ok(write_version(&cx, change, &row).with_reply(&reply))
}

/// Ends an agreement. It permits no new sharing; returns on live placements continue.
pub(super) async fn end_agreement(
    mut cx: RequestContext,
    m: EndAgreementRequest,
) -> Result<Decided<EndAgreementResponse>, Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let id = check.uuid("agreement_id", &m.agreement_id);
    check.finish()?;
    let (permit, mut row) = authorise_party(&mut cx, id).await?;
    if row.state == AgreementState::Ended {
        let needed = [AgreementState::Proposed, AgreementState::InForce];
        let needed = needed.iter().map(AgreementState::as_str_name).collect();
        let present = row.state.as_str_name();
        return Err(WrongState { current: present, required: needed, next_actor: NextActor::Nobody }.into());
    }
    let mut change = cx.change(&permit).guard(key(row.id), row.version);
    if row.state == AgreementState::InForce {
        change = moments::evaluate_placements(&mut cx, change, &row).await?;
    }
    row.version = row.version.next();
    row.state = AgreementState::Ended;
    let reply = EndAgreementResponse { etag: row.version.to_string(), receipt: None };
    Ok(write_version(&cx, change, &row).with_reply(&reply))
}

/// Returns the legal basis on which these parties may share data of a class today under an agreement. `None` when the
/// agreement is not in force, does not cover the class, or is not between these parties.
///
/// # Errors
/// [`StoreError`] when the query fails or a stored value is corrupt.
pub async fn basis_in_force(
    snapshot: &mut Snapshot,
    agreement: Uuid,
    parties: &[&OrganisationId],
    class: DataClass,
    today: Date,
) -> Result<Option<SharingBasis>, StoreError> {
    let basis = basis_or_lapsed(snapshot, agreement, parties, class, today).await?;
    Ok(basis.filter(|basis| !basis.lapsed))
}

/// Returns the legal basis as [`basis_in_force`] does, and also that of an agreement that was in force and has ended or expired,
/// flagged as lapsed. A live placement's returns continue under a lapsed basis because they cannot wait.
///
/// # Errors
/// [`StoreError`] when the query fails or a stored value is corrupt.
pub async fn basis_or_lapsed(
    snapshot: &mut Snapshot,
    agreement: Uuid,
    parties: &[&OrganisationId],
    class: DataClass,
    today: Date,
) -> Result<Option<SharingBasis>, StoreError> {
    let row = begun(snapshot, agreement, parties, class, today).await?;
    Ok(row.map(|row| SharingBasis {
        agreement: Some(agreement),
        purpose: purpose(class, &row.purposes),
        lapsed: is_lapsed(&row, today),
        article_6: row.article_6,
        article_9: row.article_9,
        schedule_1: row.schedule_1,
        schedule_1_article_10: row.schedule_1_article_10,
    }))
}

/// Returns the agreement itself under the conditions of [`basis_in_force`]. Its key joins the read set.
///
/// # Errors
/// [`StoreError`] when the query fails or a stored value is corrupt.
pub async fn in_force(
    snapshot: &mut Snapshot,
    agreement: Uuid,
    parties: &[&OrganisationId],
    class: DataClass,
    today: Date,
) -> Result<Option<AgreementRow>, StoreError> {
    let row = begun(snapshot, agreement, parties, class, today).await?;
    Ok(row.filter(|row| !is_lapsed(row, today)))
}

/// Returns an agreement that covers a class between these parties and is or was in force.
async fn begun(
    snapshot: &mut Snapshot,
    agreement: Uuid,
    parties: &[&OrganisationId],
    class: DataClass,
    today: Date,
) -> Result<Option<AgreementRow>, StoreError> {
    let Some(row) = rows::by_id(snapshot, agreement).await? else {
        return Ok(None);
    };
    snapshot.record_read(key(agreement), row.version);
    // An agreement that ended before all parties signed was never in force.
    let signed = row.parties.iter().all(|party| row.countersigned_by.contains(party));
    let covers = signed
        && row.from_date <= today
        && row.data_classes.contains(&class)
        && parties.iter().all(|party| row.parties.contains(party));
    Ok(covers.then_some(row))
}

fn is_lapsed(row: &AgreementRow, today: Date) -> bool {
    row.state != AgreementState::InForce || today > row.to_date
}

/// Returns the purpose of sharing a class: the purpose that belongs to the class if the agreement names it, else the
/// agreement's first.
fn purpose(class: DataClass, purposes: &[Purpose]) -> Purpose {
    let wanted = match class {
        DataClass::Attendance => Purpose::Attendance,
        _ => Purpose::EducationProvision,
    };
    let first = purposes.first().copied().unwrap_or(Purpose::Unspecified);
    if purposes.contains(&wanted) { wanted } else { first }
}

async fn authorise_party(
    cx: &mut RequestContext,
    id: Option<Uuid>,
) -> Result<(crate::exchange::Permit, AgreementRow), Refusal> {
    let found = rows::by_id(&mut cx.snapshot, id.ok_or(Reason::Malformed)?).await?;
    let found = found.filter(|row| row.parties.contains(&cx.caller.organisation));
    let facts = PolicyFacts::for_role(if found.is_some() { CallerRole::Party } else { CallerRole::NoRole });
    let permit = cx.permit(&facts)?;
    Ok((permit, found.ok_or(Reason::NotFound)?))
}

/// Writes the agreement's new version and delivers it to the other parties.
fn write_version(cx: &RequestContext, change: Change, row: &AgreementRow) -> Change {
    let mut change = change.append(row);
    for party in &row.parties {
        change = change.bump(VersionKey::facts(party.as_str()));
        if *party != cx.caller.organisation {
            change = change.deliver(party, DeliveryKind::Agreement, row.id, None);
        }
    }
    change
}
