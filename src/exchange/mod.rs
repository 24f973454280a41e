//! The exchange pipeline: every method of `apgateway.v1` runs through it.
//!
//! identify → method → check → permit → decide → replay → commit → answer. A capability is one plain `async fn`
//! per RPC. It turns a message into a [`Decided`] or a [`Refusal`], and has access to neither the transport nor
//! the database. The decision and its log entry become durable in one transaction; the response is sent only
//! after that.

pub mod caller;
pub mod change;
pub mod check;
pub mod codec;
mod deadline;
mod decision;
mod entry;
mod error_details;
mod headers;
mod page_token;
mod part_stream;
mod pipeline;
pub mod policy;
pub mod refusal;
mod request_id;
mod routes;
mod system_exchange;
mod watch;

use std::sync::Arc;

use uuid::Uuid;

pub use caller::Caller;
pub use change::{Change, Decided, LeafInput, LeafRole, Record};
pub use entry::log_replaced_proposal;
pub use page_token::PageTokens;
pub use part_stream::PartMessage;
pub use pipeline::{ExchangeLimits, ExchangePipeline};
pub use policy::{Action, CallerRole, Permit, PolicyFacts, RoleStatus, SharingBasis};
pub use refusal::{NextActor, Reason, Refusal, WrongState};
pub use routes::{ExchangeService, HostMismatch, MessageLimits, Routes};
pub use watch::{FeedBatch, Watcher};

use crate::calendar::Date;
use crate::clock::{Instant, Randomness};
use crate::seal::Vault;
use crate::store::Snapshot;
use crate::tlog::LogKeyHistory;

/// The context of one exchange, as a capability receives it.
pub struct RequestContext {
    /// The calling organisation, and the processor that acts for it, if any.
    pub caller: Caller,
    /// The id of the exchange.
    pub exchange_id: Uuid,
    /// The time at which the exchange began.
    pub now: Instant,
    /// The date in England at `now`.
    pub today: Date,
    /// The snapshot of the database, taken at one moment, through which everything is read.
    pub snapshot: Snapshot,
    /// Whether this attempt may decide from cached facts. The commit checks a guard on each cached fact. A
    /// refusal from cached facts is decided again from the snapshot, because no refusal may rest on the cache.
    pub use_cache: bool,
    /// The keys that seal and open the data of children and organisations.
    pub vault: Arc<Vault>,
    /// The log keys of this gateway: those of the present log and of the logs that it replaced.
    pub log_keys: Arc<LogKeyHistory>,
    /// The source of new ids, keys and nonces.
    pub random: Randomness,
}

impl RequestContext {
    /// Returns a permit for the action on these facts.
    ///
    /// # Errors
    /// As [`policy::authorise`].
    pub fn permit(&self, action: Action, facts: &PolicyFacts) -> Result<Permit, Refusal> {
        policy::authorise(&self.caller, action, facts)
    }

    /// Creates an empty change under the permit.
    #[must_use]
    pub fn change(&self, permit: &Permit) -> Change {
        Change::new(permit, self.exchange_id)
    }
}
