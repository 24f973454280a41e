//! Callers: what is known of them, and the cache of those that were identified recently. Organisation and system come
//! from the verified certificate and from the register, never from the message or from other headers.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use super::person::Person;
use super::refusal::Refusal;
use crate::codes::organisation::{OrganisationId, OrganisationKind};
use crate::identity::PeerCertificate;
use crate::store::Snapshot;
use crate::store::proposal::{Guard, RowWrite};

/// What a call shows of its caller and needs of it.
pub struct CallerClaims<'a> {
    /// The certificate, which the handshake verified.
    pub peer: &'a PeerCertificate,
    /// The organisation acted for, as the call's metadata names it.
    pub on_behalf_of: Option<&'a str>,
    /// The day in England, `YYYY-MM-DD`.
    pub today: &'a str,
    /// Path of the method.
    pub method: &'a str,
}

/// Function that identifies a caller. The register has it, which lies above the exchange.
///
/// Its errors are refusals that disclose nothing but the caller's own registration.
pub type IdentifyCaller = for<'a> fn(
    &'a mut Snapshot,
    CallerClaims<'a>,
) -> Pin<Box<dyn Future<Output = Result<Caller, Refusal>> + Send + 'a>>;

/// Caller of an exchange, as registered.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The organisation acted for. Every right is this organisation's.
    pub organisation: OrganisationId,
    /// The processor that holds the certificate, when it acts for the organisation under a grant.
    pub processor: Option<OrganisationId>,
    /// The person for whom the system calls, if the call has a token.
    pub person: Option<Arc<Person>>,
    /// The row that records who the person is, if it is new. It is appended to whatever is entered of the exchange, so
    /// that the organisation can resolve every pseudonym of its entries.
    pub person_record: Option<RowWrite>,
    /// Guards on the records that the identity was read from, checked again under the lock.
    pub guards: Vec<Guard>,
}

impl Caller {
    /// Returns the kind of the organisation acted for.
    #[must_use]
    pub fn kind(&self) -> OrganisationKind {
        self.organisation.kind()
    }
}

/// Refusal of a call's identity.
pub(super) struct RefusedIdentity {
    /// Why.
    pub refusal: Refusal,
    /// The caller, if only its person was refused: the refusal is the organisation's, which is acted for.
    pub caller: Option<Box<Caller>>,
}

impl<T: Into<Refusal>> From<T> for RefusedIdentity {
    fn from(refusal: T) -> Self {
        Self { refusal: refusal.into(), caller: None }
    }
}

/// Maximum number of callers in the cache. When it is full it is emptied, and callers are read from the register again.
const MAX_CACHED_CALLERS: usize = 20_000;

/// Cache of recently identified callers, by certificate. An entry may be stale; the guards detect that under the
/// lock. A processor is not cached, because its grant has a last day. A cached caller has no person.
#[derive(Clone, Default)]
pub struct CallerCache(Arc<Mutex<HashMap<[u8; 32], Caller>>>);

impl CallerCache {
    /// Returns the cached caller of this certificate.
    #[must_use]
    pub fn get(&self, peer: &PeerCertificate) -> Option<Caller> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&peer.fingerprint()).cloned()
    }

    /// Caches a caller in place of the earlier entry of its certificate.
    pub fn insert(&self, peer: &PeerCertificate, caller: &Caller) {
        let mut callers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if callers.len() >= MAX_CACHED_CALLERS {
            callers.clear();
        }
        callers.insert(peer.fingerprint(), caller.clone());
    }

    /// Removes the caller of a certificate, because its identity was refused.
    pub fn remove(&self, peer: &PeerCertificate) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&peer.fingerprint());
    }
}
