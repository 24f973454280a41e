//! Identification of callers: certificate and organisation of a call as they are registered, and the grant of a processor
//! that acts for another.

use super::{certificates, organisations};
use crate::codes::organisation::{OrganisationId, OrganisationKind};
use crate::exchange::caller::CallerClaims;
use crate::exchange::{Caller, Reason, Refusal};
use crate::identity::PeerCertificate;
use crate::proto::v1::{CertificateState, GrantKind, OrganisationState};
use crate::store::proposal::Guard;
use crate::store::version_key::VersionKey;
use crate::store::{ColumnType as _, Snapshot, StoreError};

/// Reads the certificate from the register, and the grant where the caller acts on behalf of another.
///
/// # Errors
/// A [`Refusal`] that discloses nothing but the caller's own registration.
pub async fn identify(snapshot: &mut Snapshot, claims: CallerClaims<'_>) -> Result<Caller, Refusal> {
    let CallerClaims { peer, on_behalf_of, today, method } = claims;
    let holder = peer.organisation();
    let certificate = check_certificate(snapshot, peer).await?;
    let mut guards = vec![certificate];
    guards.push(check_active(snapshot, holder).await?);
    let Some(named) = on_behalf_of else {
        return Ok(Caller {
            organisation: holder.clone(),
            processor: None,
            person: None,
            person_record: None,
            guards,
        });
    };
    let refused = || Refusal::from(Reason::GrantRequired);
    let organisation = OrganisationId::parse(named).map_err(|_| refused())?;
    if holder.kind() != OrganisationKind::Processor {
        return Err(refused());
    }
    has_grant(snapshot, holder, &organisation, today, method).await?.then_some(()).ok_or_else(refused)?;
    guards.push(check_active(snapshot, &organisation).await?);
    Ok(Caller { organisation, processor: Some(holder.clone()), person: None, person_record: None, guards })
}

async fn check_certificate(snapshot: &mut Snapshot, peer: &PeerCertificate) -> Result<Guard, Refusal> {
    let key = certificates::key(&peer.fingerprint());
    let sql = "SELECT c.organisation, c.system, c.state, h.version FROM current_versions h \
               JOIN certificates c ON c.idx = h.idx AND c.ordinal = h.ordinal WHERE h.key = $1";
    let row = snapshot.fetch_one(sql, vec![key.as_bytes().into()]).await?;
    let row = row.ok_or(Reason::CertificateNotRegistered)?;
    if row.get_str("organisation")? != peer.organisation().as_str() || row.get_str("system")? != peer.system()
    {
        return Err(Reason::CertificateNotRegistered.into());
    }
    if row.get::<CertificateState>("state")? != CertificateState::Registered {
        return Err(Reason::CertificateRevoked.into());
    }
    Ok(Guard { key, version: row.get("version")? })
}

/// Checks that the organisation is registered and not suspended. Returns a guard on its authority version, which
/// every narrowing of its rights increments.
async fn check_active(snapshot: &mut Snapshot, organisation: &OrganisationId) -> Result<Guard, Refusal> {
    let key = organisations::key(organisation);
    let sql = "SELECT o.state FROM current_versions h JOIN organisations o ON o.idx = h.idx AND o.ordinal = h.ordinal \
               WHERE h.key = $1";
    let row = snapshot.fetch_one(sql, vec![key.as_bytes().into()]).await?;
    let state: OrganisationState = row.ok_or(Reason::CertificateNotRegistered)?.get("state")?;
    if state != OrganisationState::Active {
        return Err(Reason::OrganisationSuspended.into());
    }
    let key = VersionKey::authority(organisation.as_str());
    let version = snapshot.current_version(&key).await?;
    Ok(Guard { key, version })
}

/// Returns whether a grant of the organisation lets the processor call the method today.
async fn has_grant(
    snapshot: &mut Snapshot,
    processor: &OrganisationId,
    organisation: &OrganisationId,
    today: &str,
    method: &str,
) -> Result<bool, StoreError> {
    let sql = "SELECT g.methods, g.from_date, g.to_date FROM grants g \
               JOIN current_versions h ON h.idx = g.idx AND h.ordinal = g.ordinal AND h.key = g.version_key \
               WHERE g.grantee = $1 AND g.grantor = $2 AND g.kind = $3 AND g.ended = 0";
    let arguments =
        vec![processor.as_str().into(), organisation.as_str().into(), GrantKind::Processor.to_value()];
    let short = method.rsplit('/').next().unwrap_or(method);
    for row in snapshot.fetch(sql, arguments).await? {
        let covers = row.get_str("methods")?.split(',').any(|name| name == short);
        if covers
            && row.get_str("from_date")? <= today
            && row.get::<Option<String>>("to_date")?.is_none_or(|to| today <= to.as_str())
        {
            return Ok(true);
        }
    }
    Ok(false)
}
