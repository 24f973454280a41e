//! The door: runs an exchange from the caller's certificate to the committed answer.
//!
//! Deciding and committing happen in a task of their own, which a client that goes away cannot cancel.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tokio::sync::watch;
use tonic::Status;
use uuid::Uuid;

use super::caller::{self, Caller, Callers};
use super::codec::{self, Answer, Committed};
use super::entry::{self, Of};
use super::routes::Handler;
use super::{Action, Change, Cx, Reason, Refusal};
use crate::calendar::Date;
use crate::clock::{Clock, Randomness};
use crate::identity::{CertificateStatus, PeerCertificate};
use crate::seal::{KeyedDigest, SealError, Vault};
use crate::store::proposal::{Outcome, Remembered, RequestKey};
use crate::store::{Committer, Log, Salts, Slot, Snapshot};
use crate::tlog::Lineage;

/// An exchange is decided from what is remembered first; then from a snapshot, and again, at most five
/// times, when what it rested on had changed before it could be committed.
const ATTEMPTS: [Recall; 6] =
    [Recall(true), Recall(false), Recall(false), Recall(false), Recall(false), Recall(false)];

/// What was decided: the change, the encoded reply, and for a stream the position behind it.
pub(super) struct Decision {
    pub change: Change,
    pub reply: Bytes,
    pub position: Bytes,
}

/// What a handler gives: a decision, a refusal, or, for a stream alone, that there is nothing to send.
pub(super) type Deciding = Pin<Box<dyn Future<Output = Result<Option<Decision>, Refusal>> + Send>>;

/// What an exchange gives: the answer and, for a stream, the position behind it.
pub(super) type Answered = Result<Option<(Answer, Bytes)>, Status>;

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

/// The first two fields of every mutating request.
#[derive(Clone, PartialEq, Message)]
struct Once {
    #[prost(string, tag = "1")]
    request_id: String,
    #[prost(bool, tag = "2")]
    validate_only: bool,
}

impl Door {
    /// Whether a certificate is neither expired nor on a revocation list by now. One whose revocation list has lapsed is
    /// refused in its calls, where the caller can read why.
    #[must_use]
    pub fn is_still_valid(&self, peer: &PeerCertificate) -> bool {
        (self.status)(peer) != CertificateStatus::Invalid
    }

    /// Whether a connection may stay: not when its certificate was revoked or its organisation suspended. A
    /// certificate that was never registered is told so in an answer; a register that cannot be read is no
    /// reason to cut anybody, since nothing is answered then anyway.
    pub async fn is_welcome(&self, peer: &Arc<PeerCertificate>) -> bool {
        let mut snapshot = Snapshot::of(self.log.database());
        match caller::identify(&mut snapshot, peer, None, "", "").await {
            Ok(_) => true,
            Err(refusal) => {
                !matches!(refusal.reason, Reason::CertificateRevoked | Reason::OrganisationSuspended)
            }
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
        let caller = self.context(call, Recall(true)).await.ok().map(|cx| cx.caller);
        let of = Of::Refused(caller.as_ref(), refusal.reason);
        match self.commit(call, of, Bytes::new(), None).await {
            Outcome::Committed { .. } => refusal.status(call.exchange),
            _ => unavailable(call),
        }
    }

    /// Decides, again where a guard did not hold, commits, answers.
    async fn run(&self, call: &Call, decide: &Handler) -> Answered {
        let mut known = None;
        // A read needs a snapshot anyway.
        let attempts = ATTEMPTS.into_iter().skip(usize::from(!call.action.is_mutating()));
        for recall in attempts {
            let decided = self.decide(call, decide, recall, &mut known).await;
            let Decision { change, reply, position } = match decided {
                Ok(Some(decision)) => decision,
                Ok(None) => return Ok(None),
                Err(_) if recall.0 => continue,
                Err(refusal) => return self.refuse(call, known.as_ref(), refusal).await,
            };
            let Some(caller) = &known else { break };
            let request = self.request_key(call, caller);
            match self.commit(call, Of::Done(caller, change), reply, request).await {
                Outcome::Committed { receipt, reply } => {
                    return Ok(Some((Answer::Committed(Committed::join(&reply, &receipt)), position)));
                }
                Outcome::Known(first) => return self.replay(call, caller, &first).await,
                Outcome::Stale => {}
                Outcome::Failed => return self.refuse(call, Some(caller), Reason::Failed.into()).await,
                Outcome::Unavailable => return Err(unavailable(call)),
            }
        }
        self.refuse(call, known.as_ref(), Reason::Contended.into()).await
    }

    /// identify → method → check → permit → decide, all from one snapshot.
    async fn decide(
        &self,
        call: &Call,
        decide: &Handler,
        recall: Recall,
        known: &mut Option<Caller>,
    ) -> Result<Option<Decision>, Refusal> {
        let cx = self.context(call, recall).await?;
        *known = Some(cx.caller.clone());
        if !call.action.kinds().contains(&cx.caller.kind()) {
            return Err(Reason::MethodNotAllowed.into());
        }
        let decided = unwinding(decide(cx, call.message.clone())).await?;
        // Found out before the commit: else the log would say that the caller had it.
        if decided.as_ref().is_some_and(|decision| decision.reply.len() > codec::REPLY) {
            return Err(Reason::ReplyTooLarge.into());
        }
        Ok(decided.map(|decision| {
            if only_validates(call) {
                Decision { change: decision.change.without_effect(), ..decision }
            } else {
                decision
            }
        }))
    }

    /// Finds out who calls, from memory or in the snapshot from which everything else will be read.
    pub(super) async fn context(&self, call: &Call, recall: Recall) -> Result<Cx, Refusal> {
        match (self.status)(&call.peer) {
            CertificateStatus::Valid => {}
            CertificateStatus::Invalid => return Err(Reason::CertificateRevoked.into()),
            CertificateStatus::Unknown => return Err(Reason::RevocationListExpired.into()),
        }
        let mut snapshot = Snapshot::of(self.log.database());
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

    /// Enters a refusal, unless the request id is known: then the first answer stands, whatever has
    /// happened since.
    pub(super) async fn refuse(&self, call: &Call, caller: Option<&Caller>, refusal: Refusal) -> Answered {
        let request = caller.and_then(|caller| self.request_key(call, caller));
        match self.commit(call, Of::Refused(caller, refusal.reason), Bytes::new(), request).await {
            Outcome::Committed { .. } => Err(refusal.status(call.exchange)),
            Outcome::Known(first) => match caller {
                Some(caller) => self.replay(call, caller, &first).await,
                None => Err(unavailable(call)),
            },
            Outcome::Stale | Outcome::Failed | Outcome::Unavailable => Err(unavailable(call)),
        }
    }

    /// The same request again gets the same bytes; another under its id is refused. Either is entered.
    async fn replay(&self, call: &Call, caller: &Caller, first: &Remembered) -> Answered {
        let kept = KeyedDigest::from_bytes(&first.mac);
        let same = kept.ok_or(SealError::Format);
        let same = match same.and_then(|kept| self.vault.ring().is_same_request(&kept, &bound(call))) {
            Ok(same) => same,
            Err(error) => return Err(self.give_up(call, Refusal::from(error)).await),
        };
        let of = if same { Of::Replayed(caller) } else { Of::Refused(Some(caller), Reason::RequestIdReused) };
        let Outcome::Committed { .. } = self.commit(call, of, Bytes::new(), None).await else {
            return Err(unavailable(call));
        };
        if !same {
            return Err(Refusal::from(Reason::RequestIdReused).status(call.exchange));
        }
        match self.log.answer(first.index, &self.vault).await {
            Ok(Some((reply, receipt))) => {
                Ok(Some((Answer::Committed(Committed::join(&reply, &receipt)), Bytes::new())))
            }
            Ok(None) => Err(unavailable(call)),
            Err(error) => Err(Refusal::from(error).status(call.exchange)),
        }
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
        if !call.action.is_mutating() {
            return None;
        }
        let once = Once::decode(call.message.clone()).ok().filter(|once| !once.validate_only)?;
        Some(RequestKey {
            organisation: caller.organisation.as_str().to_owned(),
            request_id: Uuid::parse_str(&once.request_id).ok()?,
            mac: self.vault.ring().request_digest(&bound(call)).to_bytes(),
        })
    }
}

/// AIP-163: everything is decided, nothing is done.
fn only_validates(call: &Call) -> bool {
    call.action.is_mutating() && Once::decode(call.message.clone()).is_ok_and(|once| once.validate_only)
}

/// What a request id is bound to: method, system, and the message as it was received.
fn bound(call: &Call) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(call.message.len() + 128);
    for text in [call.path, call.peer.system()] {
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
    }
    bytes.extend_from_slice(&call.message);
    bytes
}

/// Polls a decision so that a panic in it is this exchange's and nobody else's.
async fn unwinding(mut deciding: Deciding) -> Result<Option<Decision>, Refusal> {
    std::future::poll_fn(|context| {
        // What a panic leaves half done is the exchange's own, and nothing looks at it again.
        let polled = AssertUnwindSafe(|| deciding.as_mut().poll(context));
        std::panic::catch_unwind(polled).unwrap_or_else(|_| Poll::Ready(Err(Reason::Failed.into())))
    })
    .await
}

fn unavailable(call: &Call) -> Status {
    Refusal::from(Reason::LogUnavailable).status(call.exchange)
}
