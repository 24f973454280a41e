//! Who calls, and for whom. The organisation and system come from the verified certificate and from the
//! register, never from the message or from other headers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::refusal::{Reason, Refusal};
use crate::codes::organisation::{OrganisationId, OrganisationKind};
use crate::identity::PeerCertificate;
use crate::store::key::{Family, Key};
use crate::store::proposal::Guard;
use crate::store::{Snapshot, StoreError};

/// State of an organisation's registration, as stored.
pub const ORGANISATION_ACTIVE: i64 = 1;
/// State of a certificate's registration, as stored.
pub const CERTIFICATE_REGISTERED: i64 = 1;
/// A grant to a processor, as stored.
pub const GRANT_PROCESSOR: i64 = 1;

/// The caller of an exchange, as the register knows it.
#[derive(Clone, Debug)]
pub struct Caller {
    /// For whom it acts: every right is this organisation's.
    pub organisation: OrganisationId,
    /// Whose certificate it is, when a processor acts for the organisation under a grant.
    pub processor: Option<OrganisationId>,
    /// What the identity rests on, checked again under the lock.
    pub guards: Vec<Guard>,
}

impl Caller {
    /// The kind of the organisation acted for.
    #[must_use]
    pub fn kind(&self) -> OrganisationKind {
        self.organisation.kind()
    }
}

/// Most callers that are remembered; beyond them all are forgotten, and looked up again.
const REMEMBERED: usize = 20_000;

/// Callers identified lately, by certificate: what is remembered may be stale, and the guards find that out
/// under the lock. A processor is not remembered, since its grant has a last day.
#[derive(Clone, Default)]
pub struct Callers(Arc<Mutex<HashMap<[u8; 32], Caller>>>);

impl Callers {
    /// The caller of this certificate, if it was identified lately.
    #[must_use]
    pub fn recall(&self, peer: &PeerCertificate) -> Option<Caller> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&peer.fingerprint()).cloned()
    }

    /// Remembers a caller, in place of what was remembered of its certificate.
    pub fn remember(&self, peer: &PeerCertificate, caller: &Caller) {
        let mut callers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if callers.len() >= REMEMBERED {
            callers.clear();
        }
        callers.insert(peer.fingerprint(), caller.clone());
    }

    /// Removes the caller of a certificate, because its identity was refused.
    pub fn forget(&self, peer: &PeerCertificate) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&peer.fingerprint());
    }
}

/// Looks the certificate up in the register, and the grant where the caller acts on behalf of another.
///
/// # Errors
/// A [`Refusal`] that tells of the caller's own registration only.
pub async fn identify(
    snapshot: &mut Snapshot,
    peer: &PeerCertificate,
    on_behalf_of: Option<&str>,
    today: &str,
    method: &str,
) -> Result<Caller, Refusal> {
    let own = peer.organisation();
    let certificate = registered(snapshot, peer).await?;
    let mut guards = vec![certificate];
    guards.push(active(snapshot, own).await?);
    let Some(named) = on_behalf_of else {
        return Ok(Caller { organisation: own.clone(), processor: None, guards });
    };
    let refused = || Refusal::from(Reason::GrantRequired);
    let organisation = OrganisationId::parse(named).map_err(|_| refused())?;
    if own.kind() != OrganisationKind::Processor {
        return Err(refused());
    }
    granted(snapshot, own, &organisation, today, method).await?.then_some(()).ok_or_else(refused)?;
    guards.push(active(snapshot, &organisation).await?);
    Ok(Caller { organisation, processor: Some(own.clone()), guards })
}

async fn registered(snapshot: &mut Snapshot, peer: &PeerCertificate) -> Result<Guard, Refusal> {
    let key = Key::new(Family::Certificate).bytes(&peer.fingerprint());
    let sql = "SELECT c.organisation, c.system, c.state, h.version FROM heads h \
               JOIN certificates c ON c.idx = h.idx AND c.ordinal = h.ordinal WHERE h.key = $1";
    let row = snapshot.fetch_one(sql, vec![key.as_bytes().into()]).await?;
    let row = row.ok_or(Reason::CertificateNotRegistered)?;
    if row.text(0)? != peer.organisation().as_str() || row.text(1)? != peer.system() {
        return Err(Reason::CertificateNotRegistered.into());
    }
    if row.int(2)? != CERTIFICATE_REGISTERED {
        return Err(Reason::CertificateRevoked.into());
    }
    Ok(Guard { key, version: row.int(3)? })
}

/// The organisation is registered and not suspended; guarded by its authority, which any narrowing moves.
async fn active(snapshot: &mut Snapshot, organisation: &OrganisationId) -> Result<Guard, Refusal> {
    let key = Key::new(Family::Organisation).text(organisation.as_str());
    let sql = "SELECT o.state FROM heads h JOIN organisations o ON o.idx = h.idx AND o.ordinal = h.ordinal \
               WHERE h.key = $1";
    let row = snapshot.fetch_one(sql, vec![key.as_bytes().into()]).await?;
    let state = row.ok_or(Reason::CertificateNotRegistered)?.int(0)?;
    if state != ORGANISATION_ACTIVE {
        return Err(Reason::OrganisationSuspended.into());
    }
    let key = Key::authority(organisation.as_str());
    let version = snapshot.version(&key).await?;
    Ok(Guard { key, version })
}

/// Whether a grant of the organisation lets the processor call the method today.
async fn granted(
    snapshot: &mut Snapshot,
    processor: &OrganisationId,
    organisation: &OrganisationId,
    today: &str,
    method: &str,
) -> Result<bool, StoreError> {
    let sql = "SELECT g.methods, g.from_date, g.to_date FROM grants g \
               JOIN heads h ON h.idx = g.idx AND h.ordinal = g.ordinal AND h.key = g.head \
               WHERE g.grantee = $1 AND g.grantor = $2 AND g.kind = $3 AND g.ended = 0";
    let arguments = vec![processor.as_str().into(), organisation.as_str().into(), GRANT_PROCESSOR.into()];
    let short = method.rsplit('/').next().unwrap_or(method);
    for row in snapshot.fetch(sql, arguments).await? {
        let covers = row.text(0)?.split(',').any(|name| name == short);
        if covers && row.text(1)? <= today && row.opt_text(2)?.is_none_or(|to| today <= to) {
            return Ok(true);
        }
    }
    Ok(false)
}
