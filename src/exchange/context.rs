//! The context of an exchange: what a capability's function receives beside its message.

use std::sync::Arc;

use uuid::Uuid;

use super::caller::Caller;
use super::change::Change;
use super::delivery_deadlines::DeliveryDeadlines;
use super::method::{Method, MethodTable};
use super::person::Person;
use super::policy::{self, Permit, PolicyFacts};
use super::refusal::{Reason, Refusal};
use crate::calendar::Date;
use crate::clock::{Instant, Randomness};
use crate::proto::v1::Officer;
use crate::seal::Vault;
use crate::store::Snapshot;
use crate::tlog::LogKeyHistory;

/// The context of one exchange, as a capability receives it.
pub struct RequestContext {
    /// The method that was called. Permits are permits for it.
    pub method: &'static Method,
    /// Every method of the gateway.
    pub methods: MethodTable,
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
    /// Until when deliveries must be collected, and acted on.
    pub delivery_deadlines: Arc<DeliveryDeadlines>,
    /// The source of new ids, keys and nonces.
    pub random: Randomness,
    /// Settings of the capabilities, by their type.
    pub settings: Arc<http::Extensions>,
}

impl RequestContext {
    /// Returns a permit for the method that was called, on these facts.
    ///
    /// # Errors
    /// As [`policy::authorise`].
    pub fn permit(&self, facts: &PolicyFacts) -> Result<Permit, Refusal> {
        policy::authorise(&self.caller, self.method, facts)
    }

    /// Returns the person for whom the system calls, if the call has a token.
    #[must_use]
    pub fn person(&self) -> Option<&Person> {
        self.caller.person.as_deref()
    }

    /// Returns the person for whom the system calls, where the exchange needs one. Only a caller that holds a permit
    /// asks: to any other, the thing does not exist.
    ///
    /// # Errors
    /// [`Reason::PersonRequired`] when the call has no token.
    pub fn require_person(&self, _: &Permit) -> Result<&Person, Refusal> {
        self.person().ok_or_else(|| Reason::PersonRequired.into())
    }

    /// Attests an officer whom the request names, if the call's token proves that this person acts. Another name is kept as
    /// it was sent, because people enter facts for others; the entry then says who entered it.
    #[must_use]
    pub fn attest(&self, officer: Option<Officer>) -> Option<Officer> {
        let mut officer = officer?;
        if let Some(person) = self.person().filter(|person| person.name == officer.name) {
            officer.role_code = person.role.into();
            officer.attested = true;
        }
        Some(officer)
    }

    /// Creates an empty change under the permit.
    #[must_use]
    pub fn change(&self, permit: &Permit) -> Change {
        Change::new(permit, self.exchange_id)
    }
}
