//! Identification of a call: the caller by its certificate, and the person by the token. Every attempt at an exchange,
//! every batch and part of a stream and every heartbeat of a person begin with it.

use std::sync::Arc;

use tonic::Status;

use super::call::{Call, UseCache};
use super::caller::{Caller, CallerClaims, RefusedIdentity};
use super::context::RequestContext;
use super::person::{IdentifiedPerson, PersonClaims, VerifiedPerson};
use super::pipeline::{ExchangePipeline, unavailable};
use super::refusal::{Reason, Refusal};
use crate::calendar::Date;
use crate::identity::{CertificateStatus, PeerCertificate};
use crate::store::Snapshot;
use crate::store::proposal::RowWrite;

impl ExchangePipeline {
    /// Checks whether a certificate is neither expired nor revoked. A certificate whose revocation list has
    /// lapsed passes: its calls are refused, and the refusals name the cause.
    #[must_use]
    pub fn is_still_valid(&self, peer: &PeerCertificate) -> bool {
        (self.certificate_status)(peer) != CertificateStatus::Invalid
    }

    /// Checks whether a connection may stay open: not when its certificate was revoked or its organisation
    /// suspended. An unregistered certificate may stay connected, because the refusals of its calls name the
    /// cause.
    ///
    /// # Errors
    /// [`Reason::LogUnavailable`] or [`Reason::Failed`] when the register could not be read; check again later.
    pub async fn may_stay_connected(&self, peer: &Arc<PeerCertificate>) -> Result<bool, Refusal> {
        let mut snapshot = Snapshot::new(self.log.database());
        let claims = CallerClaims { peer, on_behalf_of: None, today: "", method: "" };
        match (self.identify)(&mut snapshot, claims).await {
            Ok(_) => Ok(true),
            Err(refusal) => match refusal.reason {
                Reason::CertificateRevoked | Reason::OrganisationSuspended => Ok(false),
                Reason::CertificateNotRegistered => Ok(true),
                _ => Err(refusal),
            },
        }
    }

    /// Identifies the caller, from the cache or from the snapshot that the decision will read.
    pub(super) async fn request_context(
        &self,
        call: &Call,
        use_cache: UseCache,
    ) -> Result<RequestContext, RefusedIdentity> {
        match (self.certificate_status)(&call.peer) {
            CertificateStatus::Valid => {}
            CertificateStatus::Invalid => return Err(Reason::CertificateRevoked.into()),
            CertificateStatus::Unknown => return Err(Reason::RevocationListExpired.into()),
        }
        let snapshot = Snapshot::recording(self.log.database(), self.limits.reads);
        let mut snapshot = snapshot.in_turn_of(call.peer.organisation().as_str());
        let now = self.clock.now();
        let today = Date::in_london(now);
        let named = call.on_behalf_of.as_deref();
        let remembered = self.caller_cache.get(&call.peer).filter(|_| use_cache.0 && named.is_none());
        let caller = if let Some(caller) = remembered {
            caller
        } else {
            let today = today.to_string();
            let (peer, method) = (&*call.peer, call.method.path);
            let claims = CallerClaims { peer, on_behalf_of: named, today: &today, method };
            let caller = (self.identify)(&mut snapshot, claims).await?;
            if named.is_none() {
                self.caller_cache.insert(&call.peer, &caller);
            }
            caller
        };
        let caller = match self.identify_person(call, use_cache, &mut snapshot, &caller).await {
            Ok(Some((verified, record))) => with_person(caller, verified, record),
            Ok(None) => caller,
            Err(refusal) => return Err(RefusedIdentity { refusal, caller: Some(Box::new(caller)) }),
        };
        Ok(RequestContext {
            method: call.method,
            methods: self.methods,
            caller,
            exchange_id: call.exchange_id,
            now,
            today,
            snapshot,
            use_cache: use_cache.0,
            vault: Arc::clone(&self.vault),
            log_keys: Arc::clone(&self.log_keys),
            delivery_deadlines: Arc::clone(&self.delivery_deadlines),
            random: self.random.clone(),
            settings: Arc::clone(&self.settings),
        })
    }

    /// Identifies the person of the call's token, if it has one.
    async fn identify_person(
        &self,
        call: &Call,
        use_cache: UseCache,
        snapshot: &mut Snapshot,
        caller: &Caller,
    ) -> Result<Option<IdentifiedPerson>, Refusal> {
        let Some(token) = call.token.as_deref() else { return Ok(None) };
        let claims = PersonClaims {
            organisation: &caller.organisation,
            peer: &call.peer,
            token,
            audience: self.token_audience.as_deref(),
            now: self.system_clock.now(),
            vault: &self.vault,
            random: &self.random,
        };
        let (verified, record) = match self.person_cache.get(&claims).filter(|_| use_cache.0) {
            Some(verified) => (verified, None),
            None => (self.identify_person)(snapshot, claims).await?,
        };
        if record.is_none() {
            self.person_cache.insert(&claims, &verified);
        }
        Ok(Some((verified, record)))
    }

    /// Checks before a heartbeat that a person's token is still valid: batches check it by themselves, and a token has a
    /// shorter life than a connection. A refusal is recorded.
    pub(super) async fn check_person(&self, call: &Call) -> Result<(), Status> {
        if call.token.is_none() {
            return Ok(());
        }
        let call = Call { exchange_id: self.random.uuid_v7(self.clock.now()), ..call.clone() };
        match self.request_context(&call, UseCache(false)).await {
            Ok(_) => Ok(()),
            Err(refused) => {
                let refused = self.refuse_identity(&call, refused).await;
                refused.unwrap_or_else(|| Err(unavailable(&call))).map(drop)
            }
        }
    }
}

/// Adds a person to a caller, with the row that records who it is, if that is new.
fn with_person(caller: Caller, verified: VerifiedPerson, record: Option<RowWrite>) -> Caller {
    let guards = caller.guards.into_iter().chain(verified.guards).collect();
    Caller { person: Some(verified.person), person_record: record, guards, ..caller }
}
