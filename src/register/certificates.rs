//! Registered certificates. A valid chain is not enough: a client certificate must also be registered.

mod rows;
mod wire;

use super::organisations::{self, caller_part, deliver_registration};
use crate::exchange::check::Check;
use crate::exchange::{
    CallerRole, Decided, NextActor, PolicyFacts, Reason, Refusal, RequestContext, WrongState,
};
use crate::proto::v1::{
    CertificateState, RegisterCertificateRequest, RegisterCertificateResponse, RevokeCertificateRequest,
    RevokeCertificateResponse,
};
use crate::store::Revision;
use crate::store::version_key::VersionKey;
pub use rows::{CertificateRow, key, list_by_organisation};
pub use wire::{check_certificate, parse_fingerprint};

/// Registers a further certificate of an organisation.
pub(super) async fn register(
    mut cx: RequestContext,
    m: RegisterCertificateRequest,
) -> Result<Decided<RegisterCertificateResponse>, Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let certificate = check_certificate(&mut check, "certificate", &m.certificate);
    check.finish()?;
    let certificate = certificate.ok_or(Reason::Malformed)?;
    let facts = PolicyFacts::for_role(caller_part(&cx, certificate.organisation()));
    let permit = cx.permit(&facts)?;
    let registered = organisations::by_id(&mut cx.snapshot, certificate.organisation()).await?;
    registered.ok_or(Reason::NotFound)?;
    let row = CertificateRow::new(&certificate);
    if cx.snapshot.current_version(&key(&row.sha256)).await? > Revision::ABSENT {
        return Err(Reason::AlreadyExists.into());
    }
    let change = cx.change(&permit).guard(key(&row.sha256), Revision::ABSENT).append(&row);
    let change = deliver_registration(&mut cx, change, &row.organisation).await?;
    let reply = RegisterCertificateResponse { certificate_sha256: row.sha256_text(), receipt: None };
    Ok(change.with_reply(&reply))
}

/// Revokes a certificate's registration, from the next commit on.
pub(super) async fn revoke(
    mut cx: RequestContext,
    m: RevokeCertificateRequest,
) -> Result<Decided<RevokeCertificateResponse>, Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let sha256 = check.parsed("certificate_sha256", &m.certificate_sha256, wire::parse_fingerprint);
    check.finish()?;
    let sha256 = sha256.ok_or(Reason::Malformed)?;
    let found = rows::by_sha256(&mut cx.snapshot, &sha256).await?;
    let owner = found.as_ref().map(|row| row.organisation.clone());
    let facts =
        PolicyFacts::for_role(owner.as_ref().map_or(CallerRole::NoRole, |owner| caller_part(&cx, owner)));
    let permit = cx.permit(&facts)?;
    let mut row = found.ok_or(Reason::NotFound)?;
    if row.state != CertificateState::Registered {
        let needed = vec![CertificateState::Registered.as_str_name()];
        let present = row.state.as_str_name();
        return Err(WrongState { current: present, required: needed, next_actor: NextActor::Nobody }.into());
    }
    let change = cx.change(&permit).guard(key(&sha256), row.version);
    row.version = row.version.next();
    row.state = CertificateState::Revoked;
    let change = change.append(&row).bump(VersionKey::authority(row.organisation.as_str()));
    let change = deliver_registration(&mut cx, change, &row.organisation).await?;
    Ok(change.with_reply(&RevokeCertificateResponse { receipt: None }))
}
