//! The exchange pipeline: runs an exchange from the caller's certificate to the committed response.
//!
//! Deciding and committing run in a task of their own, so a client that disconnects cannot cancel them, except a
//! decision that only reads: it ends with its caller, frees its connection, and is recorded as a refusal.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tonic::Status;
use tracing::Instrument as _;

use super::call::{Call, Decision, ExchangeResult, Handler, NextItem, UseCache};
use super::call_limiter::CallLimiter;
use super::caller::{Caller, CallerCache, IdentifyCaller, RefusedIdentity};
use super::codec::{self, CommittedReply, OutboundMessage};
use super::context::RequestContext;
use super::decision::{DecisionBounds, decision_timed_out, run_handler};
use super::delivery_deadlines::DeliveryDeadlines;
use super::emergency::{self, BREAK_GLASS_ATTEMPTS};
use super::entry::{self, EntryOutcome};
use super::method::MethodTable;
use super::outcomes::number_of_refusal;
use super::person::{IdentifyPerson, PersonCache};
use super::refusal::{Reason, Refusal};
use super::refusal_log::RefusalLog;
use super::spans::exchange_span;
use super::{policy, request_id};
use crate::clock::{Clock, Randomness};
use crate::identity::{CertificateStatus, PeerCertificate};
use crate::metrics::ExchangeMetrics;
use crate::seal::Vault;
use crate::store::proposal::{CommitOutcome, IdempotencyRecord, Proposal, RequestKey};
use crate::store::{CommitmentSalts, Committer, InFlightPermit, LogReader, ReadLimits};
use crate::tlog::LogKeyHistory;

/// Whether each attempt at an exchange may use cached facts. The first attempt may. Up to five more read a new
/// snapshot each; they follow a refusal from cached facts, or a guard that failed at the commit.
const ATTEMPT_CACHE_USE: [UseCache; 6] =
    [UseCache(true), UseCache(false), UseCache(false), UseCache(false), UseCache(false), UseCache(false)];

/// Limits of one exchange. They are needed because a decision continues after its caller's deadline: a few calls
/// could otherwise occupy a node.
#[derive(Clone, Copy, Debug)]
pub struct ExchangeLimits {
    /// Rows and queries that one decision may read. The count starts again with each new snapshot.
    pub reads: ReadLimits,
    /// Time for all attempts of one exchange together. It is checked whenever a decision waits for the database,
    /// and at its end. Computation that never waits is bounded by the size of the request and of what was read.
    pub max_duration: Duration,
    /// Time after which a stream without deliveries sends a heartbeat.
    pub heartbeat_interval: Duration,
}

/// Returns the present status of a certificate that was accepted at its handshake.
pub type CertificateStatusFn = Arc<dyn Fn(&PeerCertificate) -> CertificateStatus + Send + Sync>;

/// The shared state of all exchanges of a node.
pub struct ExchangePipeline {
    /// Every method of the gateway.
    pub methods: MethodTable,
    /// The log, its database, and the readers of both.
    pub log: LogReader,
    /// The committer: the only writer.
    pub committer: Committer,
    /// The keys that seal and open the data of children and organisations.
    pub vault: Arc<Vault>,
    /// The keys of the logs that a cursor may refer to.
    pub log_keys: Arc<LogKeyHistory>,
    /// The clock of domain rules and entries.
    pub clock: Arc<dyn Clock>,
    /// The real time, by which tokens are valid.
    pub system_clock: Arc<dyn Clock>,
    /// The source of randomness.
    pub random: Randomness,
    /// Checks a certificate for revocation and expiry since its handshake.
    pub certificate_status: CertificateStatusFn,
    /// Identifies callers by the register.
    pub identify: IdentifyCaller,
    /// The callers that were identified recently.
    pub caller_cache: CallerCache,
    /// Limits the rate of calls.
    pub limiter: CallLimiter,
    /// Logs refusals for the operator.
    pub refusal_log: RefusalLog,
    /// Identifies persons by the issuers of the register.
    pub identify_person: IdentifyPerson,
    /// The persons whose tokens were verified recently.
    pub person_cache: PersonCache,
    /// The audience that tokens name; without one every token is refused.
    pub token_audience: Option<String>,
    /// Becomes true when the node begins to shut down.
    pub stopping: watch::Receiver<bool>,
    /// The limits of one exchange.
    pub limits: ExchangeLimits,
    /// Counts outcomes and open streams.
    pub metrics: ExchangeMetrics,
    /// Settings of the capabilities, by their type. The exchange knows none of them.
    pub settings: Arc<http::Extensions>,
    /// Until when deliveries must be collected, and acted on.
    pub delivery_deadlines: Arc<DeliveryDeadlines>,
}

impl ExchangePipeline {
    /// Waits until the node begins to shut down.
    pub(super) async fn wait_until_stopping(&self) {
        if self.stopping.clone().wait_for(|stopping| *stopping).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Reserves a slot among the exchanges in flight of the caller's organisation.
    pub(super) fn reserve_slot(&self, call: &Call) -> Result<InFlightPermit, Refusal> {
        let slot = self.committer.reserve(call.peer.organisation().as_str());
        slot.ok_or_else(|| self.reject(call, Reason::TooManyInFlight))
    }

    /// Runs an exchange in its own task, which continues after the caller has disconnected. Waits first until the
    /// caller's share of memory is open, because the reply will need some.
    pub(super) async fn submit(self: &Arc<Self>, call: Call, decide: Handler) -> ExchangeResult {
        if !call.memory.begin_exchange(call.method.is_mutating()).await {
            return Err(self.refuse_overload(&call));
        }
        let slot = self.reserve_slot(&call).map_err(|refusal| refusal.status(call.exchange_id))?;
        self.submit_in_slot(slot, call, decide).await
    }

    /// Runs an exchange as [`ExchangePipeline::submit`] does, in a slot that was reserved before.
    pub(super) async fn submit_in_slot(
        self: &Arc<Self>,
        slot: InFlightPermit,
        call: Call,
        decide: Handler,
    ) -> ExchangeResult {
        let (pipeline, exchange) = (Arc::clone(self), call.exchange_id);
        // Dropped with this future, when nobody waits for the answer any more.
        let (_waiting, caller) = watch::channel(());
        let span = exchange_span(&call);
        let exchanging = async move {
            let mut bounds = DecisionBounds::new(&call, pipeline.limits.max_duration, caller);
            let answered = pipeline.run_attempts(&call, &decide, &mut bounds).await;
            call.memory.end_exchange();
            drop(slot);
            answered
        };
        let running = tokio::spawn(exchanging.instrument(span));
        running.await.unwrap_or_else(|_| Err(Refusal::from(Reason::Failed).status(exchange)))
    }

    /// Records a call that ended before its request was complete, and returns the status. The request id is not
    /// looked up, because the message may be cut short.
    pub(super) async fn record_abandoned(&self, call: &Call, refusal: Refusal) -> Status {
        // Only the caller is kept, because no snapshot is held while a commit is waited for.
        let recorded = async {
            let identified = self.request_context(call, UseCache(false)).await.map(|cx| cx.caller);
            match identified {
                Ok(caller) => self.record_refusal(call, Some(&caller), refusal, None).await,
                Err(refused) => self.refuse_identity(call, refused).await,
            }
        };
        let refused = recorded.instrument(exchange_span(call)).await;
        match refused {
            Some(Err(status)) => status,
            Some(Ok(_)) | None => unavailable(call),
        }
    }

    /// Decides and commits until an attempt succeeds or is refused, and returns the response.
    async fn run_attempts(
        &self,
        call: &Call,
        decide: &Handler,
        bounds: &mut DecisionBounds,
    ) -> ExchangeResult {
        let mut identified = None;
        // A read needs a snapshot in any case.
        let attempts = ATTEMPT_CACHE_USE.into_iter().skip(usize::from(!call.method.is_mutating()));
        let further = if emergency::is_break_glass(call) { BREAK_GLASS_ATTEMPTS } else { 0 };
        let attempts = attempts.chain(std::iter::repeat_n(UseCache(false), further));
        for use_cache in attempts {
            let attempt = self.attempt_once(call, decide, (use_cache, bounds), &mut identified);
            if let Some(answered) = attempt.await {
                return answered;
            }
        }
        let Some(caller) = identified else {
            return self.refuse_unidentified(call, Reason::Contended.into()).await;
        };
        let request = self.request_key(call, &caller);
        let refused = self.record_refusal(call, Some(&caller), Reason::Contended.into(), request).await;
        refused.unwrap_or_else(|| Err(unavailable(call)))
    }

    /// Decides and commits once. Returns `None` when the exchange must be decided again. Identity (registration,
    /// suspension, certificate, grant, method) is checked before the request id is looked up, so that only a
    /// caller that may still call gets its first response again. Everything else is checked after the lookup.
    async fn attempt_once(
        &self,
        call: &Call,
        decide: &Handler,
        (use_cache, bounds): (UseCache, &mut DecisionBounds),
        identified: &mut Option<Caller>,
    ) -> Option<ExchangeResult> {
        let permitted = self.request_context(call, use_cache).instrument(tracing::info_span!("permit"));
        let cx = match bounds.run(permitted).await {
            Ok(cx) => cx,
            Err(_) if use_cache.0 && bounds.has_time() => return None,
            Err(refused) if bounds.is_abandoned_batch() => {
                return Some(Err(refused.refusal.status(call.exchange_id)));
            }
            Err(refused) => return self.refuse_identity(call, refused).await,
        };
        let caller = identified.insert(cx.caller.clone());
        if let Err(reason) = policy::check_may_call(caller, call.method) {
            // No snapshot is held while a commit is waited for.
            drop(cx);
            return self.record_refusal(call, Some(caller), reason.into(), None).await;
        }
        let request = self.request_key(call, caller);
        let deciding = run_handler(call, decide, cx).instrument(tracing::info_span!("decide"));
        let decided = bounds.run(deciding).await;
        // The timeout cannot interrupt a decision that does not wait, so the time is checked again.
        let decided = if bounds.has_time() { decided } else { decision_timed_out() };
        let Decision { change, reply, position } = match decided {
            Ok(NextItem::Ready(decision)) => decision,
            Ok(NextItem::Nothing(read)) => return Some(Ok(NextItem::Nothing(read))),
            Err(_) if use_cache.0 && bounds.has_time() => return None,
            Err(refusal) if bounds.is_abandoned_batch() => {
                return Some(Err(refusal.status(call.exchange_id)));
            }
            Err(refusal) => return self.record_refusal(call, Some(caller), refusal, request).await,
        };
        // Before the commit, so that nothing was done when it does not fit.
        let Some(reply_charge) = call.memory.charge_reply(codec::charged_bytes(reply.len())) else {
            return Some(Err(self.refuse_overload(call)));
        };
        match self.commit(call, EntryOutcome::Done(caller, change), reply, request).await {
            CommitOutcome::Committed { receipt, reply } => Some(Ok(NextItem::Ready((
                OutboundMessage::Committed(CommittedReply::with_receipt(
                    &reply,
                    &receipt,
                    Some(reply_charge),
                )),
                position,
            )))),
            CommitOutcome::Duplicate(first) => self.replay(call, caller, &first).await,
            CommitOutcome::Stale => None,
            CommitOutcome::Failed => {
                self.record_refusal(call, Some(caller), Reason::Failed.into(), None).await
            }
            CommitOutcome::Unavailable => Some(Err(unavailable(call))),
        }
    }

    /// Identifies the caller of a method that returns hashes only, and checks that it may call the method. A refusal has
    /// an entry like any other.
    pub(super) async fn authorise_hash_query(&self, call: &Call) -> Result<RequestContext, Status> {
        let refused = match self.request_context(call, UseCache(false)).await {
            Ok(cx) => match policy::check_may_call(&cx.caller, call.method) {
                Ok(()) => return Ok(cx),
                Err(reason) => self.record_refusal(call, Some(&cx.caller), reason.into(), None).await,
            },
            Err(refused) => self.refuse_identity(call, refused).await,
        };
        Err(refused.and_then(Result::err).unwrap_or_else(|| unavailable(call)))
    }

    /// Records a refusal of identity and removes the caller from the cache. The request id is not looked up,
    /// because a caller that may no longer call does not get its earlier responses either. Returns `None` when the
    /// caller's identity has changed since.
    pub(super) async fn refuse_identity(
        &self,
        call: &Call,
        refused: RefusedIdentity,
    ) -> Option<ExchangeResult> {
        let RefusedIdentity { refusal, caller } = refused;
        // The caller of an invalid token is as it was, and the organisation acted for reads of the refusal in the log.
        if let Some(caller) = caller {
            return self.record_refusal(call, Some(&caller), refusal, None).await;
        }
        self.caller_cache.remove(&call.peer);
        // Whatever the connection was before.
        Some(self.refuse_limited(call, refusal).await)
    }

    /// Records a refusal. Returns `None` when the caller's identity has changed since. If the request id is
    /// known, the first response is returned, whatever else has changed.
    pub(super) async fn record_refusal(
        &self,
        call: &Call,
        caller: Option<&Caller>,
        refusal: Refusal,
        request: Option<RequestKey>,
    ) -> Option<ExchangeResult> {
        match self.commit(call, EntryOutcome::Refused(caller, refusal.reason), Bytes::new(), request).await {
            CommitOutcome::Committed { .. } => {
                self.refusal_log.add(call, call.exchange_id, refusal.reason);
                Some(Err(refusal.status(call.exchange_id)))
            }
            CommitOutcome::Duplicate(first) => match caller {
                Some(caller) => self.replay(call, caller, &first).await,
                None => Some(Err(unavailable(call))),
            },
            CommitOutcome::Stale => None,
            CommitOutcome::Failed | CommitOutcome::Unavailable => Some(Err(unavailable(call))),
        }
    }

    /// Returns the first response again, with the same bytes, or refuses a different request under the same id.
    /// Either is recorded. Returns `None` when the caller's identity has changed since.
    async fn replay(
        &self,
        call: &Call,
        caller: &Caller,
        first: &IdempotencyRecord,
    ) -> Option<ExchangeResult> {
        let refused = match request_id::is_same_request(call, caller, first, &self.vault.ring()) {
            Ok(true) => None,
            Ok(false) => Some(Refusal::from(Reason::RequestIdReused)),
            Err(error) => Some(Refusal::from(error)),
        };
        let outcome = match &refused {
            None => EntryOutcome::Replayed(caller),
            Some(refusal) => EntryOutcome::Refused(Some(caller), refusal.reason),
        };
        match self.commit(call, outcome, Bytes::new(), None).await {
            CommitOutcome::Committed { .. } => {}
            CommitOutcome::Stale => return None,
            CommitOutcome::Duplicate(_) | CommitOutcome::Failed | CommitOutcome::Unavailable => {
                return Some(Err(unavailable(call)));
            }
        }
        if let Some(refusal) = refused {
            self.refusal_log.add(call, call.exchange_id, refusal.reason);
            return Some(Err(refusal.status(call.exchange_id)));
        }
        let organisation = call.peer.organisation().as_str();
        Some(match self.log.load_reply(first.index, &self.vault, organisation).await {
            Ok(Some((reply, receipt))) => Ok(NextItem::Ready((
                OutboundMessage::Committed(CommittedReply::with_receipt(&reply, &receipt, None)),
                Bytes::new(),
            ))),
            Ok(None) => Err(unavailable(call)),
            Err(error) => Err(Refusal::from(error).status(call.exchange_id)),
        })
    }

    pub(super) async fn commit(
        &self,
        call: &Call,
        outcome: EntryOutcome<'_>,
        reply: Bytes,
        request: Option<RequestKey>,
    ) -> CommitOutcome {
        let number = outcome.number();
        let Some(proposal) = self.propose(call, outcome, reply, request) else {
            return CommitOutcome::Failed;
        };
        let committed = self.committer.commit(proposal).await;
        match committed {
            CommitOutcome::Committed { .. } => self.metrics.count(call.method.path, number),
            CommitOutcome::Unavailable => self.count_refusal(call, Reason::LogUnavailable),
            _ => {}
        }
        committed
    }

    /// Builds the proposal of an exchange; `None` if its salts cannot be sealed.
    pub(super) fn propose(
        &self,
        call: &Call,
        outcome: EntryOutcome<'_>,
        reply: Bytes,
        request: Option<RequestKey>,
    ) -> Option<Proposal> {
        let salts = CommitmentSalts::new(&self.random);
        let organisation = outcome.organisation(call);
        let sealed = salts.seal(&self.vault.ring(), organisation, call.exchange_id, &self.random).ok()?;
        let key = self.vault.commitment_key();
        Some(entry::exchange_proposal(call, outcome, reply, request, salts, sealed, key))
    }

    /// Counts a refusal that has no entry of its own.
    pub(super) fn count_refusal(&self, call: &Call, reason: Reason) {
        self.metrics.count(call.method.path, number_of_refusal(reason));
    }

    fn request_key(&self, call: &Call, caller: &Caller) -> Option<RequestKey> {
        request_id::request_key(call, caller, &self.vault.ring())
    }
}

pub(super) fn unavailable(call: &Call) -> Status {
    Refusal::from(Reason::LogUnavailable).status(call.exchange_id)
}
