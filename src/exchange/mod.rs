//! The exchange: the one door through which every method of `apgateway.v1` goes.
//!
//! identify → method → check → permit → decide → replay → commit → answer. A capability is one plain
//! `async fn` an RPC that turns a message into a [`Decided`] or a [`Refusal`]; it sees no transport and no
//! database. What it decided and the entry in the log become durable together, and only then is anything
//! answered.

pub mod caller;
pub mod change;
pub mod check;
pub mod codec;
mod deadline;
mod decision;
mod details;
mod door;
mod entry;
mod headers;
mod own;
mod page;
pub mod policy;
pub mod refusal;
mod request_id;
mod routes;
mod stream;
mod watch;

use std::sync::Arc;

use uuid::Uuid;

pub use caller::Caller;
pub use change::{Change, ChildPart, Decided, LeafRole, Record};
pub use door::{Door, ExchangeLimits};
pub use entry::log_replaced;
pub use page::Pages;
pub use policy::{Action, Basis, Facts, Part, Permit, Standing};
pub use refusal::{NextActor, Reason, Refusal, WrongState};
pub use routes::{MessageLimits, OtherHost, Routes, Service};
pub use stream::Piece;
pub use watch::{Batch, Watcher};

use crate::calendar::Date;
use crate::clock::{Instant, Randomness};
use crate::seal::Vault;
use crate::store::Snapshot;
use crate::tlog::Lineage;

/// What a capability is given for one exchange.
pub struct Cx {
    /// Who calls, and for whom.
    pub caller: Caller,
    /// The id of the exchange.
    pub exchange: Uuid,
    /// The instant at which the exchange began.
    pub now: Instant,
    /// The day that it is in England.
    pub today: Date,
    /// Everything that is read is read through this, at one moment.
    pub snapshot: Snapshot,
    /// Whether this attempt may decide from what is remembered, each fact under a guard that the commit
    /// checks. What it then refuses is decided again from the snapshot: no refusal rests on memory.
    pub recall: bool,
    /// Opens and seals what belongs to children and organisations.
    pub vault: Arc<Vault>,
    /// The logs of this gateway: the present one, and those that it replaced.
    pub logs: Arc<Lineage>,
    /// Where new ids, keys and nonces come from.
    pub random: Randomness,
}

impl Cx {
    /// A permit for the action on these facts.
    ///
    /// # Errors
    /// As [`policy::decide`].
    pub fn permit(&self, action: Action, facts: &Facts) -> Result<Permit, Refusal> {
        policy::decide(&self.caller, action, facts)
    }

    /// A new change under the permit.
    #[must_use]
    pub fn change(&self, permit: &Permit) -> Change {
        Change::new(permit, self.exchange)
    }
}
