//! Sharing agreements: what two or more organisations may share, what for, and on what authority. Proposed,
//! countersigned and ended by their parties alone (ICO data sharing code; UK GDPR Articles 6 and 9).

mod rows;
mod rules;
mod wire;

use uuid::Uuid;

use super::organisations;
use crate::calendar::Date;
use crate::codes::organisation::OrganisationId;
use crate::exchange::check::Check;
use crate::exchange::{
    Action, Basis, Change, Cx, Decided, Facts, NextActor, Part, Reason, Refusal, WrongState,
};
use crate::proto::v1::{
    AgreementState, CountersignAgreementRequest, CountersignAgreementResponse, DataClass, DeliveryKind,
    EndAgreementRequest, EndAgreementResponse, ProposeAgreementRequest, ProposeAgreementResponse, Purpose,
};
use crate::store::key::Key;
use crate::store::{Snapshot, StoreError};
use rows::AgreementRow;
pub use rows::key;

/// Proposes an agreement; the proposer has signed it by that.
pub(super) async fn propose(
    mut cx: Cx,
    m: ProposeAgreementRequest,
) -> Result<Decided<ProposeAgreementResponse>, Refusal> {
    let agreement = wire::proposed(&m)?;
    let party = agreement.parties.contains(&cx.caller.organisation);
    let permit =
        cx.permit(Action::ProposeAgreement, &Facts::own(if party { Part::Party } else { Part::None }))?;
    let mut row = agreement;
    // One that is not registered could never countersign. That it is not is said as of any other thing.
    for party in &row.parties {
        organisations::by_id(&mut cx.snapshot, party).await?.ok_or(Reason::NotFound)?;
    }
    row.id = cx.random.uuid_v7(cx.now);
    row.countersigned = vec![cx.caller.organisation.clone()];
    let reply = ProposeAgreementResponse {
        agreement_id: row.id.hyphenated().to_string(),
        etag: row.version.to_string(),
        receipt: None,
    };
    Ok(written(&cx, cx.change(&permit).guard(key(row.id), 0), &row).reply(&reply))
}

/// Signs an agreement; with the last signature it is in force.
pub(super) async fn countersign(
    mut cx: Cx,
    m: CountersignAgreementRequest,
) -> Result<Decided<CountersignAgreementResponse>, Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let id = check.uuid("agreement_id", &m.agreement_id);
    check.required("etag", &m.etag);
    check.finish()?;
    let (permit, mut row) = of_party(&mut cx, Action::CountersignAgreement, id).await?;
    if m.etag != row.version.to_string() {
        return Err(Reason::RevisionMismatch.into());
    }
    let needed = || vec![AgreementState::Proposed.as_str_name()];
    if row.state != AgreementState::Proposed {
        let present = row.state.as_str_name();
        return Err(WrongState { present, needed: needed(), next_actor: NextActor::Nobody }.into());
    }
    if row.countersigned.contains(&cx.caller.organisation) {
        let next_actor = NextActor::OtherParty;
        return Err(WrongState { present: "COUNTERSIGNED", needed: needed(), next_actor }.into());
    }
    let change = cx.change(&permit).guard(key(row.id), row.version);
    row.version += 1;
    row.countersigned.push(cx.caller.organisation.clone());
    row.countersigned.sort();
    if row.parties.iter().all(|party| row.countersigned.contains(party)) {
        row.state = AgreementState::InForce;
    }
    let reply = CountersignAgreementResponse {
        etag: row.version.to_string(),
        state: row.state as i32,
        receipt: None,
    };
    Ok(written(&cx, change, &row).reply(&reply))
}

/// Ends an agreement: no new sharing under it; returns on live placements go on.
pub(super) async fn end(
    mut cx: Cx,
    m: EndAgreementRequest,
) -> Result<Decided<EndAgreementResponse>, Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let id = check.uuid("agreement_id", &m.agreement_id);
    check.finish()?;
    let (permit, mut row) = of_party(&mut cx, Action::EndAgreement, id).await?;
    if row.state == AgreementState::Ended {
        let needed = [AgreementState::Proposed, AgreementState::InForce];
        let needed = needed.iter().map(AgreementState::as_str_name).collect();
        let present = row.state.as_str_name();
        return Err(WrongState { present, needed, next_actor: NextActor::Nobody }.into());
    }
    let change = cx.change(&permit).guard(key(row.id), row.version);
    row.version += 1;
    row.state = AgreementState::Ended;
    let reply = EndAgreementResponse { etag: row.version.to_string(), receipt: None };
    Ok(written(&cx, change, &row).reply(&reply))
}

/// Reads on what authority these parties may share data of a class today under an agreement; `None` when it is
/// not in force, does not cover it, or is none of theirs.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn basis(
    snapshot: &mut Snapshot,
    agreement: Uuid,
    parties: &[&OrganisationId],
    class: DataClass,
    today: Date,
) -> Result<Option<Basis>, StoreError> {
    let basis = basis_or_lapsed(snapshot, agreement, parties, class, today).await?;
    Ok(basis.filter(|basis| !basis.lapsed))
}

/// Reads as [`basis`], and for an agreement that was in force and has ended or run out the basis that it was, flagged:
/// what a live placement cannot wait for goes on under it.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn basis_or_lapsed(
    snapshot: &mut Snapshot,
    agreement: Uuid,
    parties: &[&OrganisationId],
    class: DataClass,
    today: Date,
) -> Result<Option<Basis>, StoreError> {
    let Some(row) = rows::by_id(snapshot, agreement).await? else {
        return Ok(None);
    };
    snapshot.rest_on(key(agreement), row.version);
    // One that ended before all had signed was never in force.
    let signed = row.parties.iter().all(|party| row.countersigned.contains(party));
    let covers = signed
        && row.from <= today
        && row.data_classes.contains(&class)
        && parties.iter().all(|party| row.parties.contains(party));
    Ok(covers.then(|| Basis {
        agreement,
        purpose: purpose(class, &row.purposes),
        article_6: row.article_6,
        article_9: row.article_9,
        schedule_1: row.schedule_1,
        lapsed: row.state != AgreementState::InForce || today > row.to,
    }))
}

/// A system's purpose is the one that its agreement names; attendance has one of its own.
fn purpose(class: DataClass, purposes: &[Purpose]) -> Purpose {
    let wanted = match class {
        DataClass::Attendance => Purpose::Attendance,
        _ => Purpose::EducationProvision,
    };
    let first = purposes.first().copied().unwrap_or(Purpose::Unspecified);
    if purposes.contains(&wanted) { wanted } else { first }
}

async fn of_party(
    cx: &mut Cx,
    action: Action,
    id: Option<Uuid>,
) -> Result<(crate::exchange::Permit, AgreementRow), Refusal> {
    let found = rows::by_id(&mut cx.snapshot, id.ok_or(Reason::Malformed)?).await?;
    let found = found.filter(|row| row.parties.contains(&cx.caller.organisation));
    let facts = Facts::own(if found.is_some() { Part::Party } else { Part::None });
    let permit = cx.permit(action, &facts)?;
    Ok((permit, found.ok_or(Reason::NotFound)?))
}

/// Writes the version and tells the other parties.
fn written(cx: &Cx, change: Change, row: &AgreementRow) -> Change {
    let mut change = change.write(row);
    for party in &row.parties {
        change = change.bump(Key::facts(party.as_str()));
        if *party != cx.caller.organisation {
            change = change.deliver(party, DeliveryKind::Agreement, row.id, None);
        }
    }
    change
}
