//! Calls that are rejected or refused before their caller is established: they are limited by certificate, and one entry
//! a second stands for those without an entry of their own.

use std::collections::HashMap;

use bytes::Bytes;
use tokio::task::JoinSet;
use tonic::Status;

use super::call::{Call, ExchangeResult};
use super::call_limiter::{RefusalTurn, UnenteredCalls};
use super::entry::EntryOutcome;
use super::pipeline::{ExchangePipeline, unavailable};
use super::refusal::{Reason, Refusal};
use crate::store::proposal::CommitOutcome;

/// Calls of one certificate that may be rejected within a second, before its connections are closed.
const MAX_REJECTED_CALLS: u32 = 1_000;

impl ExchangePipeline {
    /// Admits a call, or rejects it because its organisation calls too often or its certificate is refused too often.
    ///
    /// # Errors
    /// [`Reason::RateLimited`], [`Reason::TooManyRefusals`].
    pub(super) fn admit(&self, call: &Call) -> Result<(), Refusal> {
        self.limiter.admit(&call.peer).map_err(|reason| self.reject(call, reason))
    }

    /// Counts a rejected call, and returns its refusal.
    pub(super) fn reject(&self, call: &Call, reason: Reason) -> Refusal {
        self.refusal_log.add(call, call.exchange_id, reason);
        self.count_refusal(call, reason);
        self.limiter.count_rejected(call, reason, || {
            self.propose(call, EntryOutcome::Refused(None, reason), Bytes::new(), None)
        });
        reason.into()
    }

    /// Counts a request that is no call of gRPC. Unless its certificate is known, it is limited as a refusal.
    pub(super) fn reject_http(&self, call: &Call) {
        if !self.is_established(call) {
            self.limiter.take_refusal(call, Reason::Protocol);
        }
        self.reject(call, Reason::Protocol);
    }

    /// Refuses a call because memory is full. It has no entry, as other refusals for overload.
    pub(super) fn refuse_overload(&self, call: &Call) -> Status {
        self.refusal_log.add(call, call.exchange_id, Reason::BuffersFull);
        self.count_refusal(call, Reason::BuffersFull);
        Refusal::from(Reason::BuffersFull).status(call.exchange_id)
    }

    /// Checks whether the certificate of a call is known to be registered.
    fn is_established(&self, call: &Call) -> bool {
        call.memory.connection().is_registered() || self.caller_cache.get(&call.peer).is_some()
    }

    /// Refuses a call before its caller is identified. A registered caller's malformed calls are limited with its other
    /// calls.
    pub(super) async fn refuse_unidentified(&self, call: &Call, refusal: Refusal) -> ExchangeResult {
        if self.is_established(call) {
            return self.refuse_with_entry(call, refusal).await;
        }
        self.refuse_limited(call, refusal).await
    }

    async fn refuse_with_entry(&self, call: &Call, refusal: Refusal) -> ExchangeResult {
        let is_recorded = self.commit_refusal(call, refusal.reason).await;
        Err(if is_recorded { refusal.status(call.exchange_id) } else { unavailable(call) })
    }

    /// Refuses a call whose caller is not established. Repeats of a refusal within a second have no entry of their own:
    /// they are answered at once, because the entry of the first is durable, and are counted.
    pub(super) async fn refuse_limited(&self, call: &Call, refusal: Refusal) -> ExchangeResult {
        let reason = refusal.reason;
        if !is_limited(reason) {
            return self.refuse_with_entry(call, refusal).await;
        }
        match self.limiter.take_refusal(call, reason) {
            RefusalTurn::OwnEntry => {
                if self.commit_refusal(call, reason).await {
                    self.limiter.set_entered(call, reason);
                    Err(refusal.status(call.exchange_id))
                } else {
                    Err(unavailable(call))
                }
            }
            RefusalTurn::Repeat(first) => {
                self.refusal_log.add(call, first, reason);
                self.count_refusal(call, reason);
                self.limiter.count_repeat(call, reason, || {
                    self.propose(call, EntryOutcome::Refused(None, reason), Bytes::new(), None)
                });
                Err(refusal.status(first))
            }
            RefusalTurn::Rejected => Err(self.reject(call, Reason::TooManyRefusals).status(call.exchange_id)),
        }
    }

    /// Commits the entry of a refusal without an established caller. Returns whether it is durable.
    async fn commit_refusal(&self, call: &Call, reason: Reason) -> bool {
        let outcome = self.commit(call, EntryOutcome::Refused(None, reason), Bytes::new(), None).await;
        let is_durable = matches!(outcome, CommitOutcome::Committed { .. });
        if is_durable {
            self.refusal_log.add(call, call.exchange_id, reason);
        }
        is_durable
    }

    /// Commits an entry for each kind of calls that have none of their own, and logs the counts of refusals once a
    /// minute, and when the node stops (`is_last`). Returns the certificates whose connections are to be closed, because
    /// too many of their calls were rejected.
    pub async fn record_rejected(&self, is_last: bool) -> Vec<[u8; 32]> {
        let mut rejected: HashMap<[u8; 32], u32> = HashMap::new();
        let mut commits = JoinSet::new();
        for UnenteredCalls { certificate, proposal } in self.limiter.take_unentered() {
            let count = rejected.entry(certificate).or_default();
            *count = count.saturating_add(proposal.entry.repeats);
            let (committer, calls) = (self.committer.clone(), u64::from(proposal.entry.repeats) + 1);
            commits.spawn(async move {
                let outcome = committer.commit(proposal).await;
                (calls, matches!(outcome, CommitOutcome::Committed { .. }))
            });
        }
        let uncounted = self.limiter.take_uncounted();
        if uncounted > 0 {
            tracing::warn!(
                calls = uncounted,
                "rejected calls have no entry, because there were too many kinds of them"
            );
        }
        let mut lost = 0;
        while let Some(committed) = commits.join_next().await {
            lost += committed.map_or(0, |(calls, is_recorded)| if is_recorded { 0 } else { calls });
        }
        if lost > 0 {
            tracing::warn!(
                calls = lost,
                "rejected calls were not recorded, because the log could not be written"
            );
        }
        self.refusal_log.log_counts(is_last);
        rejected.into_iter().filter(|(_, count)| *count > MAX_REJECTED_CALLS).map(|(key, _)| key).collect()
    }
}

/// Checks whether a refusal counts against its certificate: not if the gateway failed, nor if a processor lacks a grant of
/// one of the organisations that it acts for.
fn is_limited(reason: Reason) -> bool {
    !matches!(
        reason,
        Reason::GrantRequired
            | Reason::LogUnavailable
            | Reason::KeyUnavailable
            | Reason::Failed
            | Reason::DecisionTooLarge
            | Reason::DeadlineExceeded
            | Reason::Contended
    )
}
