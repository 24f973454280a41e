//! The door: runs an exchange from the caller's certificate to the committed answer.
//!
//! Deciding and committing happen in a task of their own, which a client that goes away cannot cancel.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tonic::Status;
use uuid::Uuid;

use super::caller::{self, Caller, Callers};
use super::codec::{Answer, Committed};
use super::decision::{Decision, Next, decide_once};
use super::entry::{self, Of};
use super::routes::Handler;
use super::{Action, Cx, Reason, Refusal, policy, request_id};
use crate::calendar::Date;
use crate::clock::{Clock, Randomness};
use crate::identity::{CertificateStatus, PeerCertificate};
use crate::seal::Vault;
use crate::store::proposal::{Outcome, Remembered, RequestKey};
use crate::store::{Committer, Log, ReadLimits, Salts, Slot, Snapshot};
use crate::tlog::Lineage;

/// An exchange is decided from what is remembered first; then from a snapshot, and again, at most five
/// times, when what it rested on had changed before it could be committed.
const ATTEMPTS: [Recall; 6] =
    [Recall(true), Recall(false), Recall(false), Recall(false), Recall(false), Recall(false)];

/// How much one exchange may take. A decision goes on after its caller's deadline, so without bounds of its own a few
/// calls could occupy a node.
#[derive(Clone, Copy, Debug)]
pub struct ExchangeLimits {
    /// What its decision may read, each time that it is made from a new snapshot.
    pub read: ReadLimits,
    /// How long all attempts of one exchange may take together. It is looked at whenever a decision waits (for the
    /// database, that is), and at its end: computing that never waits is bounded by the size of the request and of what was read.
    pub time: Duration,
    /// How long a stream without deliveries is silent.
    pub heartbeat: Duration,
}

/// What an exchange gives: the answer and, for a stream, the position behind it.
pub(super) type Answered = Result<Next<(Answer, Bytes)>, Status>;

/// Whether an attempt may use what is remembered.
#[derive(Clone, Copy)]
pub(super) struct Recall(pub bool);

/// Judges a certificate that was accepted at the handshake by what is known now.
pub type JudgeCertificate = Arc<dyn Fn(&PeerCertificate) -> CertificateStatus + Send + Sync>;

/// Everything that an exchange needs; one a node, shared by all of them.
pub struct Door {
    /// The log, the database under it, and its readers.
    pub log: Log,
    /// The only one that writes.
    pub committer: Committer,
    /// Keys.
    pub vault: Arc<Vault>,
    /// The logs that cursors may be of.
    pub logs: Arc<Lineage>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub random: Randomness,
    /// Revocation and expiry since the handshake.
    pub status: JudgeCertificate,
    /// Who called lately.
    pub callers: Callers,
    /// True once the node is to end.
    pub stopping: watch::Receiver<bool>,
    /// What one exchange may take.
    pub limits: ExchangeLimits,
}

/// One call, as it came in.
#[derive(Clone)]
pub(super) struct Call {
    pub path: &'static str,
    pub action: Action,
    pub peer: Arc<PeerCertificate>,
    pub on_behalf_of: Option<String>,
    pub trace: String,
    /// Whether a header claimed an identity, in vain.
    pub identity_claimed: bool,
    pub exchange: Uuid,
    pub message: Bytes,
    /// How long the caller said that it waits.
    pub deadline: Option<Duration>,
}

impl Door {
    /// Whether a certificate is neither expired nor on a revocation list by now. One whose revocation list has lapsed is
    /// refused in its calls, where the caller can read why.
    #[must_use]
    pub fn is_still_valid(&self, peer: &PeerCertificate) -> bool {
        (self.status)(peer) != CertificateStatus::Invalid
    }

    /// Checks whether a connection may stay: not when its certificate was revoked or its organisation suspended. A
    /// certificate that was never registered learns that from an answer.
    ///
    /// # Errors
    /// [`Reason::LogUnavailable`] or [`Reason::Failed`] when the register could not be read; ask again then.
    pub async fn is_welcome(&self, peer: &Arc<PeerCertificate>) -> Result<bool, Refusal> {
        let mut snapshot = Snapshot::of(self.log.database());
        match caller::identify(&mut snapshot, peer, None, "", "").await {
            Ok(_) => Ok(true),
            Err(refusal) => match refusal.reason {
                Reason::CertificateRevoked | Reason::OrganisationSuspended => Ok(false),
                Reason::CertificateNotRegistered => Ok(true),
                _ => Err(refusal),
            },
        }
    }

    /// Waits until the node is to end.
    pub(super) async fn stopped(&self) {
        if self.stopping.clone().wait_for(|stopping| *stopping).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// A place among the exchanges of the caller's organisation that are under way.
    pub(super) fn reserve(&self, call: &Call) -> Result<Slot, Refusal> {
        let slot = self.committer.reserve(call.peer.organisation().as_str());
        slot.ok_or_else(|| Reason::TooManyInFlight.into())
    }

    /// Runs an exchange in its own task, which goes on when nobody waits for its answer any more.
    pub(super) async fn exchange(self: &Arc<Self>, call: Call, decide: Handler) -> Answered {
        let slot = self.reserve(&call).map_err(|refusal| refusal.status(call.exchange))?;
        self.exchange_in(slot, call, decide).await
    }

    /// As [`Door::exchange`], in a place that was taken before.
    pub(super) async fn exchange_in(self: &Arc<Self>, slot: Slot, call: Call, decide: Handler) -> Answered {
        let (door, exchange) = (Arc::clone(self), call.exchange);
        let running = tokio::spawn(async move {
            let answered = door.run(&call, &decide).await;
            drop(slot);
            answered
        });
        running.await.unwrap_or_else(|_| Err(Refusal::from(Reason::Failed).status(exchange)))
    }

    /// Enters that what came of an exchange is not one. Its request id is not looked up: it may be half there.
    pub(super) async fn give_up(&self, call: &Call, refusal: Refusal) -> Status {
        let refused = match self.context(call, Recall(false)).await {
            Ok(cx) => self.refuse_caller(call, Some(&cx.caller), refusal, None).await,
            Err(refusal) => Some(self.refuse_identity(call, refusal).await),
        };
        match refused {
            Some(Err(status)) => status,
            Some(Ok(_)) | None => unavailable(call),
        }
    }

    /// Decides, again where a guard did not hold, commits, answers.
    async fn run(&self, call: &Call, decide: &Handler) -> Answered {
        let mut known = None;
        let ends = Instant::now() + self.limits.time;
        // A read needs a snapshot anyway.
        let attempts = ATTEMPTS.into_iter().skip(usize::from(!call.action.is_mutating()));
        for recall in attempts {
            if let Some(answered) = self.attempt(call, decide, (recall, ends), &mut known).await {
                return answered;
            }
        }
        let Some(caller) = known else {
            return self.refuse(call, Reason::Contended.into()).await;
        };
        let request = self.request_key(call, &caller);
        let refused = self.refuse_caller(call, Some(&caller), Reason::Contended.into(), request).await;
        refused.unwrap_or_else(|| Err(unavailable(call)))
    }

    /// Decides and commits once; `None` where it must be decided again. Identity (registration, suspension,
    /// certificate, grant, method) is checked before the request id is looked up, so that only a caller who may still
    /// call gets the first answer again; everything else is checked behind it.
    async fn attempt(
        &self,
        call: &Call,
        decide: &Handler,
        (recall, ends): (Recall, Instant),
        known: &mut Option<Caller>,
    ) -> Option<Answered> {
        let cx = match timeout_at(ends, self.context(call, recall)).await.unwrap_or_else(|_| too_long()) {
            Ok(cx) => cx,
            Err(_) if recall.0 && Instant::now() < ends => return None,
            Err(refusal) => return Some(self.refuse_identity(call, refusal).await),
        };
        let caller = known.insert(cx.caller.clone());
        if let Err(reason) = policy::may_call(caller, call.action) {
            return self.refuse_caller(call, Some(caller), reason.into(), None).await;
        }
        let request = self.request_key(call, caller);
        let decided = timeout_at(ends, decide_once(call, decide, cx)).await.unwrap_or_else(|_| too_long());
        // A decision that never waited for long is not interrupted, and is too late all the same.
        let decided = if Instant::now() < ends { decided } else { too_long() };
        let Decision { change, reply, position } = match decided {
            Ok(Next::Ready(decision)) => decision,
            Ok(Next::Nothing(read)) => return Some(Ok(Next::Nothing(read))),
            Err(_) if recall.0 && Instant::now() < ends => return None,
            Err(refusal) => return self.refuse_caller(call, Some(caller), refusal, request).await,
        };
        match self.commit(call, Of::Done(caller, change), reply, request).await {
            Outcome::Committed { receipt, reply } => {
                Some(Ok(Next::Ready((Answer::Committed(Committed::join(&reply, &receipt)), position))))
            }
            Outcome::Known(first) => self.replay(call, caller, &first).await,
            Outcome::Stale => None,
            Outcome::Failed => self.refuse_caller(call, Some(caller), Reason::Failed.into(), None).await,
            Outcome::Unavailable => Some(Err(unavailable(call))),
        }
    }

    /// Finds out who calls, from memory or in the snapshot from which everything else will be read.
    pub(super) async fn context(&self, call: &Call, recall: Recall) -> Result<Cx, Refusal> {
        match (self.status)(&call.peer) {
            CertificateStatus::Valid => {}
            CertificateStatus::Invalid => return Err(Reason::CertificateRevoked.into()),
            CertificateStatus::Unknown => return Err(Reason::RevocationListExpired.into()),
        }
        let mut snapshot = Snapshot::recording(self.log.database(), self.limits.read);
        let now = self.clock.now();
        let today = Date::in_london(now);
        let named = call.on_behalf_of.as_deref();
        let remembered = self.callers.recall(&call.peer).filter(|_| recall.0 && named.is_none());
        let caller = if let Some(caller) = remembered {
            caller
        } else {
            let today = today.to_string();
            let caller = caller::identify(&mut snapshot, &call.peer, named, &today, call.path).await?;
            if named.is_none() {
                self.callers.remember(&call.peer, &caller);
            }
            caller
        };
        Ok(Cx {
            caller,
            exchange: call.exchange,
            now,
            today,
            snapshot,
            recall: recall.0,
            vault: Arc::clone(&self.vault),
            logs: Arc::clone(&self.logs),
            random: self.random.clone(),
        })
    }

    /// Enters a refusal of somebody whose identity is not established.
    pub(super) async fn refuse(&self, call: &Call, refusal: Refusal) -> Answered {
        let refused = self.refuse_caller(call, None, refusal, None).await;
        refused.unwrap_or_else(|| Err(unavailable(call)))
    }

    /// Enters a refusal of identity and forgets the caller. The request id is not looked up: whoever may not call any
    /// more does not get its earlier answers either.
    async fn refuse_identity(&self, call: &Call, refusal: Refusal) -> Answered {
        self.callers.forget(&call.peer);
        self.refuse(call, refusal).await
    }

    /// Enters a refusal; `None` where the caller's identity has changed since. If the request id is known, the first
    /// answer stands, whatever else has happened since.
    async fn refuse_caller(
        &self,
        call: &Call,
        caller: Option<&Caller>,
        refusal: Refusal,
        request: Option<RequestKey>,
    ) -> Option<Answered> {
        match self.commit(call, Of::Refused(caller, refusal.reason), Bytes::new(), request).await {
            Outcome::Committed { .. } => Some(Err(refusal.status(call.exchange))),
            Outcome::Known(first) => match caller {
                Some(caller) => self.replay(call, caller, &first).await,
                None => Some(Err(unavailable(call))),
            },
            Outcome::Stale => None,
            Outcome::Failed | Outcome::Unavailable => Some(Err(unavailable(call))),
        }
    }

    /// Answers the same request again with the same bytes, and refuses another under its id. Either is entered;
    /// `None` where the caller's identity has changed since.
    async fn replay(&self, call: &Call, caller: &Caller, first: &Remembered) -> Option<Answered> {
        let refused = match request_id::is_same(call, first, &self.vault.ring()) {
            Ok(true) => None,
            Ok(false) => Some(Refusal::from(Reason::RequestIdReused)),
            Err(error) => Some(Refusal::from(error)),
        };
        let of = match &refused {
            None => Of::Replayed(caller),
            Some(refusal) => Of::Refused(Some(caller), refusal.reason),
        };
        match self.commit(call, of, Bytes::new(), None).await {
            Outcome::Committed { .. } => {}
            Outcome::Stale => return None,
            Outcome::Known(_) | Outcome::Failed | Outcome::Unavailable => {
                return Some(Err(unavailable(call)));
            }
        }
        if let Some(refusal) = refused {
            return Some(Err(refusal.status(call.exchange)));
        }
        Some(match self.log.answer(first.index, &self.vault).await {
            Ok(Some((reply, receipt))) => {
                Ok(Next::Ready((Answer::Committed(Committed::join(&reply, &receipt)), Bytes::new())))
            }
            Ok(None) => Err(unavailable(call)),
            Err(error) => Err(Refusal::from(error).status(call.exchange)),
        })
    }

    async fn commit(&self, call: &Call, of: Of<'_>, reply: Bytes, request: Option<RequestKey>) -> Outcome {
        let salts = Salts::new(&self.random);
        let organisation = of.organisation(call);
        let sealed = salts.seal(&self.vault.ring(), organisation, call.exchange, &self.random);
        let Ok(sealed) = sealed else {
            return Outcome::Failed;
        };
        self.committer.commit(entry::proposal(call, of, reply, request, salts, sealed)).await
    }

    fn request_key(&self, call: &Call, caller: &Caller) -> Option<RequestKey> {
        request_id::key(call, caller, &self.vault.ring())
    }
}

fn too_long<T>() -> Result<T, Refusal> {
    Err(Reason::DecisionTooLarge.into())
}

fn unavailable(call: &Call) -> Status {
    Refusal::from(Reason::LogUnavailable).status(call.exchange)
}
