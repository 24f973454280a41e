//! What the gateway does by itself, when time has passed and nobody asks: an exchange like any other, decided
//! from a snapshot, under guards, with an entry; but no caller, no request and no answer.

use tokio::time::timeout;
use uuid::Uuid;

use super::policy::{self, Permit};
use super::{Caller, Change, Cx, Door, Reason, Refusal, entry};
use crate::calendar::Date;
use crate::codes::organisation::OrganisationId;
use crate::store::proposal::Outcome;
use crate::store::{Salts, Snapshot};

/// How often a decision is made again when what it rested on had changed.
const ATTEMPTS: usize = 5;

impl Door {
    /// What the gateway reads by itself of what is an organisation's. There is no exchange, so nothing of it may
    /// leave the node.
    #[must_use]
    pub fn own_view(&self, organisation: &OrganisationId) -> Cx {
        self.own(organisation, Uuid::nil())
    }

    /// Decides and commits something for an organisation; nothing where `decide` finds that nothing is to be done
    /// any more. Of several nodes that find the same, the guards let one do it.
    ///
    /// # Errors
    /// As `decide`; [`Reason::DecisionTooLarge`] beyond the limits of any decision; [`Reason::Contended`], [`Reason::Failed`], [`Reason::LogUnavailable`] as for any exchange.
    pub async fn by_itself<F, Fut>(
        &self,
        method: &'static str,
        organisation: &OrganisationId,
        decide: F,
    ) -> Result<(), Refusal>
    where
        F: Fn(Cx, Permit) -> Fut,
        Fut: Future<Output = Result<Option<Change>, Refusal>>,
    {
        for _ in 0..ATTEMPTS {
            let exchange = self.random.uuid_v7(self.clock.now());
            let cx = self.own(organisation, exchange);
            let (read_set, budget) = (cx.snapshot.read_set(), cx.snapshot.budget());
            let decided = timeout(self.limits.time, decide(cx, policy::by_itself())).await;
            let decided = decided.unwrap_or_else(|_| Err(Reason::DecisionTooLarge.into()));
            if budget.is_exceeded() {
                return Err(Reason::DecisionTooLarge.into());
            }
            let Some(change) = decided? else { return Ok(()) };
            let change = change.rest_on(&read_set)?;
            let salts = Salts::new(&self.random);
            let sealed = salts.seal(&self.vault.ring(), organisation.as_str(), exchange, &self.random);
            let sealed = sealed.map_err(|_| Reason::Failed)?;
            match self.committer.commit(entry::by_itself(method, organisation, change, salts, sealed)).await {
                Outcome::Committed { .. } => return Ok(()),
                Outcome::Stale => {}
                Outcome::Known(_) | Outcome::Failed => return Err(Reason::Failed.into()),
                Outcome::Unavailable => return Err(Reason::LogUnavailable.into()),
            }
        }
        Err(Reason::Contended.into())
    }

    fn own(&self, organisation: &OrganisationId, exchange: Uuid) -> Cx {
        let now = self.clock.now();
        Cx {
            caller: Caller { organisation: organisation.clone(), processor: None, guards: Vec::new() },
            exchange,
            now,
            today: Date::in_london(now),
            snapshot: Snapshot::recording(self.log.database(), self.limits.read),
            recall: false,
            vault: self.vault.clone(),
            logs: self.logs.clone(),
            random: self.random.clone(),
        }
    }
}
