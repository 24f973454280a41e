//! System exchanges: changes that the gateway makes without a call, when time has passed. A system exchange is
//! decided from a snapshot, under guards, and has an entry; it has no caller, no request and no response.

use tokio::time::timeout;
use tracing::Instrument as _;
use uuid::Uuid;

use super::caller::Caller;
use super::change::Change;
use super::context::RequestContext;
use super::entry;
use super::method::Method;
use super::outcomes::DONE;
use super::pipeline::ExchangePipeline;
use super::policy::{self, Permit};
use super::refusal::{Reason, Refusal};
use super::spans::system_exchange_span;
use crate::calendar::Date;
use crate::codes::organisation::OrganisationId;
use crate::store::proposal::CommitOutcome;
use crate::store::{CommitmentSalts, Snapshot};

/// Maximum number of attempts at one system exchange. A guard that failed at the commit causes the next attempt.
const MAX_ATTEMPTS: usize = 5;

impl ExchangePipeline {
    /// Returns a context that reads in an organisation's name. It belongs to no exchange, so nothing read through
    /// it may leave the node.
    #[must_use]
    pub fn system_read_context(
        &self,
        method: &'static Method,
        organisation: &OrganisationId,
    ) -> RequestContext {
        self.system_context(method, organisation, Uuid::nil())
    }

    /// Decides and commits a system exchange for an organisation. Does nothing if `decide` returns `None`,
    /// because nothing is left to do. When several nodes find the same work, the guards let one of them do it.
    ///
    /// # Errors
    /// As `decide`; [`Reason::DecisionTooLarge`] beyond the limits of any decision; [`Reason::Contended`],
    /// [`Reason::Failed`] and [`Reason::LogUnavailable`] as with any exchange.
    pub async fn submit_system_exchange<F, Fut>(
        &self,
        method: &'static Method,
        organisation: &OrganisationId,
        decide: F,
    ) -> Result<(), Refusal>
    where
        F: Fn(RequestContext, Permit) -> Fut,
        Fut: Future<Output = Result<Option<Change>, Refusal>>,
    {
        for _ in 0..MAX_ATTEMPTS {
            let exchange = self.random.uuid_v7(self.clock.now());
            let cx = self.system_context(method, organisation, exchange);
            let (read_set, budget) = (cx.snapshot.read_set(), cx.snapshot.budget());
            let span = system_exchange_span(method, exchange);
            let deciding =
                decide(cx, policy::system_permit()).instrument(tracing::info_span!(parent: &span, "decide"));
            let decided = timeout(self.limits.max_duration, deciding).await;
            let decided = decided.unwrap_or_else(|_| Err(Reason::DecisionTooLarge.into()));
            if budget.is_exceeded() {
                return Err(Reason::DecisionTooLarge.into());
            }
            let Some(change) = decided? else { return Ok(()) };
            let change = change.with_read_guards(&read_set)?;
            let salts = CommitmentSalts::new(&self.random);
            let sealed = salts.seal(&self.vault.ring(), organisation.as_str(), exchange, &self.random);
            let sealed = sealed.map_err(|_| Reason::Failed)?;
            let key = self.vault.commitment_key();
            let proposal = entry::system_proposal(method.path, organisation, change, salts, sealed, key);
            match self.committer.commit(proposal).instrument(span).await {
                CommitOutcome::Committed { .. } => {
                    self.metrics.count(method.path, DONE);
                    return Ok(());
                }
                CommitOutcome::Stale => {}
                CommitOutcome::Duplicate(_) | CommitOutcome::Failed => return Err(Reason::Failed.into()),
                CommitOutcome::Unavailable => return Err(Reason::LogUnavailable.into()),
            }
        }
        Err(Reason::Contended.into())
    }

    fn system_context(
        &self,
        method: &'static Method,
        organisation: &OrganisationId,
        exchange: Uuid,
    ) -> RequestContext {
        let now = self.clock.now();
        RequestContext {
            method,
            methods: self.methods,
            caller: Caller {
                organisation: organisation.clone(),
                processor: None,
                person: None,
                person_record: None,
                guards: Vec::new(),
            },
            exchange_id: exchange,
            now,
            today: Date::in_london(now),
            snapshot: Snapshot::recording(self.log.database(), self.limits.reads),
            use_cache: false,
            vault: self.vault.clone(),
            log_keys: self.log_keys.clone(),
            delivery_deadlines: self.delivery_deadlines.clone(),
            random: self.random.clone(),
            settings: self.settings.clone(),
        }
    }
}
