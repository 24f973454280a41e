//! Persons: who acted, as a verified token says. A certificate tells which organisation's system calls; a token tells
//! which person it calls for, in what role and for what purpose.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{Context, SHA256};

use super::refusal::Refusal;
use crate::clock::{Instant, Randomness};
use crate::codes::organisation::OrganisationId;
use crate::identity::PeerCertificate;
use crate::proto::{
    self,
    v1::{Purpose, RoleCode},
};
use crate::seal::Vault;
use crate::store::Snapshot;
use crate::store::proposal::{Guard, RowWrite};

/// Maximum number of persons in the cache. When it is full it is emptied.
const MAX_CACHED_PERSONS: usize = 20_000;

/// The person for whom a system calls, as the token of the call proved it.
#[derive(Clone, PartialEq, Eq)]
pub struct Person {
    /// The organisation that the person acts for: the caller's.
    pub organisation: OrganisationId,
    /// Issuer of the token.
    pub issuer: String,
    /// The person at that issuer. Personal.
    pub subject: String,
    /// Pseudonym of issuer and subject, which entries hold.
    pub practitioner: [u8; 32],
    /// Role in which the person acts.
    pub role: RoleCode,
    /// Purpose for which the person acts.
    pub purpose: Purpose,
    /// Name of the person. Personal.
    pub name: String,
}

impl fmt::Debug for Person {
    /// Shows no personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Person")
            .field("organisation", &self.organisation)
            .field("role", &self.role)
            .field("purpose", &self.purpose)
            .finish_non_exhaustive()
    }
}

impl Person {
    /// Returns the code of the role as tokens and entries name it, in lower case.
    #[must_use]
    pub fn role_name(&self) -> String {
        proto::role_name(self.role)
    }
}

/// What identifies a person: the token, and the caller that sent it.
#[derive(Clone, Copy)]
pub struct PersonClaims<'a> {
    /// The organisation acted for.
    pub organisation: &'a OrganisationId,
    /// The certificate of the connection, to which the token is bound.
    pub peer: &'a PeerCertificate,
    /// The token.
    pub token: &'a str,
    /// Audience that the token must name; without one every token is refused.
    pub audience: Option<&'a str>,
    /// The real time, which is never that of a sandbox.
    pub now: Instant,
    /// The keys under which name and subject are kept.
    pub vault: &'a Vault,
    /// The source of nonces.
    pub random: &'a Randomness,
}

/// Function that identifies a person by the issuers of the register, which lies above the exchange.
pub type IdentifyPerson =
    for<'a> fn(
        &'a mut Snapshot,
        PersonClaims<'a>,
    ) -> Pin<Box<dyn Future<Output = Result<IdentifiedPerson, Refusal>> + Send + 'a>>;

/// A person, with what its identity rests on.
#[derive(Clone, Debug)]
pub struct VerifiedPerson {
    /// The person.
    pub person: Arc<Person>,
    /// Guards on the issuer and on the person, checked again under the lock.
    pub guards: Vec<Guard>,
    /// The first instant of real time at which the token is no longer valid.
    pub valid_until: Instant,
}

/// A person, and the row that records who its pseudonym is, if there is none yet or the name is new.
pub type IdentifiedPerson = (VerifiedPerson, Option<RowWrite>);

/// Cache of persons whose tokens were verified recently. An entry may be stale; its guards detect that under the lock.
/// A token that was refused is not cached.
#[derive(Clone, Default)]
pub struct PersonCache(Arc<Mutex<HashMap<[u8; 32], VerifiedPerson>>>);

impl PersonCache {
    /// Returns the person of a token, if its time is not over.
    #[must_use]
    pub fn get(&self, claims: &PersonClaims<'_>) -> Option<VerifiedPerson> {
        let persons = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        persons.get(&cache_key(claims)).filter(|known| claims.now < known.valid_until).cloned()
    }

    /// Caches a person whose record is stored already.
    pub fn insert(&self, claims: &PersonClaims<'_>, identified: &VerifiedPerson) {
        let mut persons = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if persons.len() >= MAX_CACHED_PERSONS {
            persons.clear();
        }
        persons.insert(cache_key(claims), identified.clone());
    }
}

/// Returns the key of a token with the certificate and the organisation that it was verified for.
fn cache_key(claims: &PersonClaims<'_>) -> [u8; 32] {
    let mut digest = Context::new(&SHA256);
    digest.update(&claims.peer.fingerprint());
    digest.update(claims.organisation.as_str().as_bytes());
    digest.update(&[0]);
    digest.update(claims.token.as_bytes());
    let mut key = [0; 32];
    key.copy_from_slice(digest.finish().as_ref());
    key
}
