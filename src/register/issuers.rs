//! Issuers of tokens: which keys prove the persons of an organisation. Each organisation registers its own, an identity
//! provider or its own system. Keys are sent to the gateway; it fetches none.

mod rows;
mod wire;

use prost::Message;

use super::organisations::deliver_to_operators;
use crate::exchange::check::Check;
use crate::exchange::{
    CallerRole, Change, Decided, NextActor, PolicyFacts, Reason, Refusal, RequestContext, WrongState,
};
use crate::proto::v1::{
    DeliveryKind, EndIssuerRequest, EndIssuerResponse, Issuer, ListIssuersRequest, ListIssuersResponse,
    RegisterIssuerRequest, RegisterIssuerResponse,
};
use crate::store::Revision;
use crate::store::version_key::VersionKey;
pub use rows::{IssuerRow, by_name, key, written_at};
pub use wire::{algorithm_of, find_key};

/// Registers an issuer of the caller, or replaces its keys.
pub(super) async fn register(
    mut cx: RequestContext,
    m: RegisterIssuerRequest,
) -> Result<Decided<RegisterIssuerResponse>, Refusal> {
    let (issuer, keys) = wire::check_registration(&m)?;
    let permit = cx.permit(&PolicyFacts::for_role(CallerRole::Owner))?;
    let organisation = cx.caller.organisation.clone();
    let known = rows::by_name(&mut cx.snapshot, &organisation, &issuer).await?;
    match known.as_ref().filter(|known| !known.ended) {
        Some(_) if m.etag.is_empty() => return Err(Reason::AlreadyExists.into()),
        Some(known) if m.etag == known.version.to_string() => {}
        None if m.etag.is_empty() => {}
        _ => return Err(Reason::RevisionMismatch.into()),
    }
    let before = known.map_or(Revision::ABSENT, |known| known.version);
    let keys = Issuer { keys, ..Issuer::default() }.encode_to_vec();
    let row = IssuerRow { organisation, issuer, version: before.next(), keys, ended: false };
    let change = write_version(&mut cx, &permit, &row, before).await?;
    Ok(change.with_reply(&RegisterIssuerResponse { etag: row.version.to_string(), receipt: None }))
}

/// Ends an issuer of the caller.
pub(super) async fn end(
    mut cx: RequestContext,
    m: EndIssuerRequest,
) -> Result<Decided<EndIssuerResponse>, Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let issuer = check.parsed("issuer", &m.issuer, wire::parse_issuer);
    check.finish()?;
    let issuer = issuer.ok_or(Reason::Malformed)?;
    let organisation = cx.caller.organisation.clone();
    let found = rows::by_name(&mut cx.snapshot, &organisation, &issuer).await?;
    let role = if found.is_some() { CallerRole::Owner } else { CallerRole::NoRole };
    let permit = cx.permit(&PolicyFacts::for_role(role))?;
    let mut row = found.ok_or(Reason::NotFound)?;
    if row.ended {
        let required = Vec::new();
        return Err(WrongState { current: "ENDED", required, next_actor: NextActor::Caller }.into());
    }
    let before = row.version;
    row.version = before.next();
    row.ended = true;
    let change = write_version(&mut cx, &permit, &row, before).await?;
    Ok(change.with_reply(&EndIssuerResponse { receipt: None }))
}

/// Lists the caller's issuers.
pub(super) async fn list(
    mut cx: RequestContext,
    _: ListIssuersRequest,
) -> Result<Decided<ListIssuersResponse>, Refusal> {
    let permit = cx.permit(&PolicyFacts::for_role(CallerRole::Owner))?;
    let organisation = cx.caller.organisation.clone();
    let rows = rows::list_by_organisation(&mut cx.snapshot, &organisation).await?;
    let issuers = rows.iter().map(IssuerRow::to_proto).collect::<Result<_, _>>()?;
    Ok(cx.change(&permit).with_reply(&ListIssuersResponse { issuers, receipt: None }))
}

/// Writes a version of an issuer and delivers it to its organisation and to the operators. It moves the authority of the
/// organisation, because what a person may do is decided from it.
async fn write_version(
    cx: &mut RequestContext,
    permit: &crate::exchange::Permit,
    row: &IssuerRow,
    before: Revision,
) -> Result<Change, Refusal> {
    let change = cx.change(permit).guard(key(&row.organisation, &row.issuer), before).append(row);
    let change = change.bump(VersionKey::authority(row.organisation.as_str()));
    deliver_to_operators(cx, change, DeliveryKind::Issuer, &row.organisation).await
}
