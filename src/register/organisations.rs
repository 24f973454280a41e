//! Registered organisations. Only operators register, suspend and restore them.

mod rows;

use super::certificates::{CertificateRow, check_certificate, key as certificate_key, list_by_organisation};
use super::state_change;
use crate::codes::organisation::{OrganisationId, OrganisationKind};
use crate::codes::urn::{EstablishmentNumberError, Ukprn, Urn};
use crate::exchange::check::{Check, TextRule};
use crate::exchange::{
    CallerRole, Change, Decided, PageTokens, PolicyFacts, Reason, Refusal, RequestContext,
};
use crate::proto::v1::{
    DeliveryKind, GetOrganisationRequest, GetOrganisationResponse, ListOrganisationsRequest,
    ListOrganisationsResponse, Organisation, OrganisationState, RegisterOrganisationRequest,
    RegisterOrganisationResponse, RegisteredCertificate, StateChange, UpdateOrganisationRequest,
    UpdateOrganisationResponse,
};
use crate::store::version_key::VersionKey;
use crate::store::{Revision, Snapshot, StoreError};
use crate::violation_reason::ViolationReason;
pub use rows::{OrganisationRow, by_id, key, list_after, list_names, list_operators};

/// Registers an organisation with its first certificate.
pub(super) async fn register(
    mut cx: RequestContext,
    m: RegisterOrganisationRequest,
) -> Result<Decided<RegisterOrganisationResponse>, Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let organisation = check.organisation("organisation", &m.organisation);
    let display_name = check.text("display_name", &m.display_name, TextRule::line(200).required());
    let urn = check_place_number(&mut check, "urn", &m.urn, |text| Urn::parse(text).map(drop));
    let ukprn = check_place_number(&mut check, "ukprn", &m.ukprn, |text| Ukprn::parse(text).map(drop));
    let certificate = check_certificate(&mut check, "certificate", &m.certificate);
    if let (Some(named), Some(certificate)) = (&organisation, &certificate)
        && named != certificate.organisation()
    {
        check.add_violation("certificate", ViolationReason::CertificateOfAnother);
    }
    check.finish()?;
    let permit = cx.permit(&PolicyFacts::for_role(operator_part(&cx)))?;
    let (Some(organisation), Some(certificate)) = (organisation, certificate) else {
        return Err(Reason::Malformed.into());
    };
    let row = OrganisationRow {
        organisation,
        display_name: display_name.unwrap_or_default(),
        state: OrganisationState::Active,
        urn,
        ukprn,
        state_change: None,
        version: Revision::FIRST,
    };
    let first = CertificateRow::new(&certificate);
    let exists = cx.snapshot.current_version(&key(&row.organisation)).await? > Revision::ABSENT
        || cx.snapshot.current_version(&certificate_key(&first.sha256)).await? > Revision::ABSENT;
    if exists {
        return Err(Reason::AlreadyExists.into());
    }
    let change = cx.change(&permit);
    let change = change
        .guard(key(&row.organisation), Revision::ABSENT)
        .guard(certificate_key(&first.sha256), Revision::ABSENT);
    let change = change.append(&row).append(&first);
    let change = deliver_registration(&mut cx, change, &row.organisation).await?;
    let reply = RegisterOrganisationResponse {
        certificate_sha256: first.sha256_text(),
        etag: row.version.to_string(),
        receipt: None,
    };
    Ok(change.with_reply(&reply))
}

/// Renames, suspends or restores an organisation.
pub(super) async fn update(
    mut cx: RequestContext,
    m: UpdateOrganisationRequest,
) -> Result<Decided<UpdateOrganisationResponse>, Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let organisation = check.organisation("organisation", &m.organisation);
    check.required("etag", &m.etag);
    let display_name = check.text("display_name", &m.display_name, TextRule::line(200));
    let state = check.optional_enum::<OrganisationState>("state", m.state);
    let state_change = state_change::check_state_change(&mut check, &m);
    check.finish()?;
    let permit = cx.permit(&PolicyFacts::for_role(operator_part(&cx)))?;
    let organisation = organisation.ok_or(Reason::Malformed)?;
    let mut row = by_id(&mut cx.snapshot, &organisation).await?.ok_or(Reason::NotFound)?;
    if m.etag != row.version.to_string() {
        return Err(Reason::RevisionMismatch.into());
    }
    let change = cx.change(&permit).guard(key(&organisation), row.version);
    row.version = row.version.next();
    row.display_name = display_name.unwrap_or(row.display_name);
    row.state = state.unwrap_or(row.state);
    let state_change =
        state_change.map(|change| StateChange { officer: cx.attest(change.officer), ..change });
    row.state_change =
        state_change.map(|change| state_change::seal(&cx, &organisation, &change)).transpose()?;
    let change = change.append(&row).bump(VersionKey::authority(organisation.as_str()));
    let change = deliver_registration(&mut cx, change, &organisation).await?;
    Ok(change.with_reply(&UpdateOrganisationResponse { etag: row.version.to_string(), receipt: None }))
}

/// Returns one organisation with its certificates.
pub(super) async fn get(
    mut cx: RequestContext,
    m: GetOrganisationRequest,
) -> Result<Decided<GetOrganisationResponse>, Refusal> {
    let mut check = Check::new();
    let organisation = check.organisation("organisation", &m.organisation);
    check.finish()?;
    let organisation = organisation.ok_or(Reason::Malformed)?;
    let permit = cx.permit(&PolicyFacts::for_role(caller_part(&cx, &organisation)))?;
    let row = by_id(&mut cx.snapshot, &organisation).await?.ok_or(Reason::NotFound)?;
    let found = load_message(&mut cx.snapshot, row).await?;
    let reply = GetOrganisationResponse { organisation: Some(found), receipt: None };
    Ok(cx.change(&permit).with_reply(&reply))
}

/// Lists all organisations by id.
pub(super) async fn list(
    mut cx: RequestContext,
    m: ListOrganisationsRequest,
) -> Result<Decided<ListOrganisationsResponse>, Refusal> {
    let mut check = Check::new();
    let page_size = i64::from(check.page_size("page_size", m.page_size, 100, 1_000).unwrap_or(100));
    let query = ListOrganisationsRequest { page_token: String::new(), page_size: 0 };
    let pages = PageTokens::for_query(&cx, &query);
    let after = if m.page_token.is_empty() { Some(Vec::new()) } else { pages.open(&cx, &m.page_token) };
    if after.is_none() {
        check.add_violation("page_token", ViolationReason::PageTokenInvalid);
    }
    check.finish()?;
    let permit = cx.permit(&PolicyFacts::for_role(operator_part(&cx)))?;
    let after = String::from_utf8(after.unwrap_or_default()).unwrap_or_default();
    let rows = rows::list_after(&mut cx.snapshot, (&after, ""), page_size).await?;
    let full = i64::try_from(rows.len()) == Ok(page_size);
    let mut organisations = Vec::with_capacity(rows.len());
    for row in rows {
        organisations.push(load_message(&mut cx.snapshot, row).await?);
    }
    let last = organisations.last().filter(|_| full);
    let next_page_token = match last {
        None => String::new(),
        Some(last) => pages.seal(&cx, last.organisation.as_bytes())?,
    };
    Ok(cx.change(&permit).with_reply(&ListOrganisationsResponse {
        organisations,
        next_page_token,
        receipt: None,
    }))
}

/// Returns whether an organisation is registered and active. A suspended organisation receives nothing new.
///
/// # Errors
/// [`StoreError`] when the query fails or a stored value is corrupt.
pub async fn is_active(snapshot: &mut Snapshot, organisation: &OrganisationId) -> Result<bool, StoreError> {
    let row = by_id(snapshot, organisation).await?;
    Ok(row.is_some_and(|row| row.state == OrganisationState::Active))
}

/// Delivers a change of an organisation's registration to the organisation and to every operator.
pub(super) async fn deliver_registration(
    cx: &mut RequestContext,
    change: Change,
    organisation: &OrganisationId,
) -> Result<Change, Refusal> {
    deliver_to_operators(cx, change, DeliveryKind::Registration, organisation).await
}

/// Delivers what the exchange changes to the organisation concerned and to every operator.
pub(super) async fn deliver_to_operators(
    cx: &mut RequestContext,
    change: Change,
    kind: DeliveryKind,
    organisation: &OrganisationId,
) -> Result<Change, Refusal> {
    let object = cx.exchange_id;
    let mut change = change.deliver(organisation, kind, object, None);
    for operator in rows::list_operators(&mut cx.snapshot).await? {
        if operator != *organisation {
            change = change.deliver(&operator, kind, object, None);
        }
    }
    Ok(change)
}

/// Returns the caller's part in an organisation's registration.
pub(super) fn caller_part(cx: &RequestContext, organisation: &OrganisationId) -> CallerRole {
    if cx.caller.kind() == OrganisationKind::Operator {
        CallerRole::Operator
    } else if cx.caller.organisation == *organisation {
        CallerRole::Owner
    } else {
        CallerRole::NoRole
    }
}

fn operator_part(cx: &RequestContext) -> CallerRole {
    if cx.caller.kind() == OrganisationKind::Operator { CallerRole::Operator } else { CallerRole::NoRole }
}

fn check_place_number(
    check: &mut Check,
    field: &'static str,
    text: &str,
    parse: impl Fn(&str) -> Result<(), EstablishmentNumberError>,
) -> Option<String> {
    if text.is_empty() {
        return None;
    }
    check.parsed(field, text, |text| {
        parse(text).map(|()| text.to_owned()).map_err(EstablishmentNumberError::reason)
    })
}

async fn load_message(snapshot: &mut Snapshot, row: OrganisationRow) -> Result<Organisation, StoreError> {
    let certificates = list_by_organisation(snapshot, &row.organisation).await?;
    let certificates = certificates.into_iter().map(|certificate| RegisteredCertificate {
        sha256: certificate.sha256_text(),
        system: certificate.system,
        not_after_us: certificate.not_after.micros(),
        state: certificate.state as i32,
    });
    Ok(Organisation {
        organisation: row.organisation.as_str().to_owned(),
        display_name: row.display_name,
        state: row.state as i32,
        urn: row.urn.unwrap_or_default(),
        ukprn: row.ukprn.unwrap_or_default(),
        certificates: certificates.collect(),
        etag: row.version.to_string(),
    })
}
