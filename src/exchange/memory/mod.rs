//! Budget of bytes for the messages of calls: requests as they arrive and replies until they are sent. Every byte
//! is charged when it is there; nothing is charged, or reserved, by a declared length. A body is read on, and an
//! exchange is begun, only while its share is open; the bytes are released when the buffers are dropped.
//!
//! An organisation has a share of its own, so that one cannot stop the others. Certificates that are not
//! registered have one small share together.

mod budget;

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;

use budget::{Budget, READ_BYTES, Share, lock};
pub use budget::{Charge, MemoryBudget, MemoryLimits};

/// Charge of a call for its stream, its ordinary headers and the state of its exchange.
const CALL_BYTES: usize = 4 << 10;
/// Bytes of headers that the charge of a call covers.
const ORDINARY_HEADER_BYTES: usize = 1 << 10;
/// Charge of an exchange under way that writes, whose reply is short.
const MUTATION_BYTES: usize = 16 << 10;
/// Bytes of one call that are read even if its share is spent, so that a small request is answered at once.
const FREE_BYTES: usize = 2 * CALL_BYTES;
/// Minimum time between two lookups of a certificate that was not registered.
const LOOKUP_INTERVAL: Duration = Duration::from_secs(1);
/// Maximum wait for a share to open again.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// Memory of one connection's calls: the share of its organisation once that is known to be registered.
pub struct ConnectionMemory {
    budget: Arc<Budget>,
    organisation: String,
    registered: OnceLock<Arc<Share>>,
    /// Wakes who waits for the registration.
    was_registered: Notify,
    looked_up: Mutex<Option<Instant>>,
}

/// Memory of one call.
#[derive(Clone)]
pub struct CallMemory(Arc<CallState>);

struct CallState {
    connection: Arc<ConnectionMemory>,
    /// Charges of the request's bytes that its decoder has not taken yet.
    request: Mutex<Vec<Charge>>,
    /// Charges of replies that are not yet in the response's body.
    response: Mutex<Vec<Charge>>,
    /// Charge of the exchange under way, until its reply is known.
    working: Mutex<Option<Charge>>,
    /// What was full when the call was refused; empty if it was not.
    full_part: Mutex<&'static str>,
    _call: Charge,
}

/// Message that releases its bytes when its last reference is dropped.
struct ChargedMessage {
    message: Bytes,
    _charge: Charge,
}

impl AsRef<[u8]> for ChargedMessage {
    fn as_ref(&self) -> &[u8] {
        &self.message
    }
}

impl MemoryBudget {
    /// Returns the memory of a new connection. It is charged to the share of unregistered certificates until
    /// [`ConnectionMemory::mark_registered`].
    #[must_use]
    pub fn connection(&self, organisation: &str) -> Arc<ConnectionMemory> {
        Arc::new(ConnectionMemory {
            budget: Arc::clone(&self.0),
            organisation: organisation.to_owned(),
            registered: OnceLock::new(),
            was_registered: Notify::new(),
            looked_up: Mutex::default(),
        })
    }
}

impl ConnectionMemory {
    /// Charges further calls to the share of the certificate's organisation, because the register holds it.
    pub fn mark_registered(&self) {
        self.registered.get_or_init(|| self.budget.share_of(&self.organisation));
        self.was_registered.notify_one();
    }

    /// Waits until the certificate is known to be registered. One task may wait.
    pub async fn wait_until_registered(&self) {
        while !self.is_registered() {
            self.was_registered.notified().await;
        }
    }

    /// Checks whether the certificate is known to be registered.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        self.registered.get().is_some()
    }

    /// Returns whether the certificate may be looked up now: at most once a second.
    pub(super) fn begin_lookup(&self) -> bool {
        let mut last = lock(&self.looked_up);
        let is_due = last.is_none_or(|last| last.elapsed() >= LOOKUP_INTERVAL);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }

    /// Begins a call with headers of a number of bytes.
    #[must_use]
    pub fn call(self: &Arc<Self>, header_bytes: usize) -> CallMemory {
        let bytes = CALL_BYTES + header_bytes.saturating_sub(ORDINARY_HEADER_BYTES);
        CallMemory(Arc::new(CallState {
            connection: Arc::clone(self),
            request: Mutex::default(),
            response: Mutex::default(),
            working: Mutex::default(),
            full_part: Mutex::default(),
            _call: self.charge(bytes),
        }))
    }

    fn share(&self) -> &Arc<Share> {
        self.registered.get().unwrap_or(&self.budget.unregistered)
    }

    fn charge(&self, bytes: usize) -> Charge {
        Charge::new(Arc::clone(&self.budget), Arc::clone(self.share()), bytes)
    }
}

impl CallMemory {
    /// Returns memory without limits, for a service that no listener bounds.
    #[must_use]
    pub fn unlimited() -> Self {
        let most = usize::MAX;
        let limits = MemoryLimits { total: most, organisation: most, unregistered: most };
        MemoryBudget::new(limits).connection("").call(0)
    }

    /// Returns the memory of the call's connection.
    #[must_use]
    pub fn connection(&self) -> &Arc<ConnectionMemory> {
        &self.0.connection
    }

    /// Checks whether more may be read for a call that holds `held` bytes.
    pub(super) fn is_open(&self, held: usize) -> bool {
        held < FREE_BYTES || self.0.connection.budget.fits(self.0.connection.share(), 1)
    }

    /// Waits until the share is open, and charges the exchange that begins: what it reads, and its reply. Returns
    /// false when that takes too long.
    pub(super) async fn begin_exchange(&self, is_mutating: bool) -> bool {
        let is_open = self.wait_until_fits(READ_BYTES, |share| &share.has_room).await;
        if is_open {
            let bytes = if is_mutating { MUTATION_BYTES } else { READ_BYTES };
            *lock(&self.0.working) = Some(self.charge(bytes));
        }
        is_open
    }

    /// Releases what the exchange was charged, because its reply is charged or there is none.
    pub(super) fn end_exchange(&self) {
        lock(&self.0.working).take();
    }

    /// Waits until the share is open. Returns false, and notes what was full, when that takes too long.
    pub(super) async fn wait_until_open(&self) -> bool {
        self.wait_until_fits(1, |share| &share.opened).await
    }

    async fn wait_until_fits(&self, bytes: usize, notify: fn(&Share) -> &Notify) -> bool {
        let connection = &self.0.connection;
        if connection.budget.fits(connection.share(), bytes) {
            return true;
        }
        let opened = async {
            while !connection.budget.fits(connection.share(), bytes) {
                notify(connection.share()).notified().await;
            }
            connection.budget.wake(connection.share());
        };
        let is_open = tokio::time::timeout(MAX_WAIT, opened).await.is_ok();
        if !is_open {
            self.note_full(connection.share(), bytes);
        }
        is_open
    }

    /// Names what was full when this call was refused: `total`, `organisation` or `unregistered`; empty if it was not.
    pub(super) fn full_part(&self) -> &'static str {
        *lock(&self.0.full_part)
    }

    fn note_full(&self, share: &Share, bytes: usize) {
        *lock(&self.0.full_part) = self.0.connection.budget.full_part(share, bytes);
    }

    /// Checks whether this call was refused because no room was left for it.
    pub(super) fn is_exhausted(&self) -> bool {
        !self.full_part().is_empty()
    }

    /// Charges bytes that are there already.
    #[must_use]
    pub fn charge(&self, bytes: usize) -> Charge {
        self.0.connection.charge(bytes)
    }

    /// Charges a reply before it is committed, in place of what the exchange was charged. Returns `None` when the
    /// difference does not fit.
    pub(super) fn charge_reply(&self, bytes: usize) -> Option<Charge> {
        let mut charge = lock(&self.0.working).take().unwrap_or_else(|| self.charge(0));
        let missing = bytes.saturating_sub(charge.bytes);
        if missing > 0 && !charge.budget.fits(&charge.share, missing) {
            self.note_full(&charge.share, missing);
            return None;
        }
        charge.add(missing);
        charge.release_up_to(charge.bytes - bytes);
        Some(charge)
    }

    /// Passes the charge of a request message to its decoder.
    pub(super) fn add_request(&self, charge: Charge) {
        lock(&self.0.request).push(charge);
    }

    /// Attaches the charges of a decoded message to it. A compressed message is larger than what arrived: `None`
    /// when the difference does not fit.
    pub(super) fn attach_request(&self, message: Bytes) -> Option<Bytes> {
        // Dropped only after the message is charged.
        let received = std::mem::take(&mut *lock(&self.0.request));
        let received_bytes: usize = received.iter().map(|charge| charge.bytes).sum();
        if message.len() > received_bytes && !self.is_open(message.len()) {
            self.note_full(self.0.connection.share(), 1);
            return None;
        }
        Some(self.attach(message))
    }

    /// Charges a message until its last reference is dropped.
    pub(super) fn attach(&self, message: Bytes) -> Bytes {
        if message.is_empty() {
            return message;
        }
        let charge = self.charge(message.len());
        Bytes::from_owner(ChargedMessage { message, _charge: charge })
    }

    /// Passes the charge of a reply to the response's body.
    pub(super) fn add_response(&self, charge: Charge) {
        lock(&self.0.response).push(charge);
    }

    /// Returns the charge of a frame of the response's body: what was charged for replies, and the rest anew.
    #[must_use]
    pub fn take_response(&self, bytes: usize) -> Charge {
        let whole = self.charge(bytes);
        let mut replies = lock(&self.0.response);
        let mut taken = 0;
        while taken < bytes
            && let Some(mut charge) = replies.pop()
        {
            taken += charge.release_up_to(bytes - taken);
            if charge.bytes > 0 {
                replies.push(charge);
            }
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::budget::MIN_SHARE_BYTES;
    use std::sync::atomic::Ordering;

    use super::*;

    const MIB: usize = 1 << 20;

    fn budget() -> MemoryBudget {
        MemoryBudget::new(MemoryLimits { total: 8 * MIB, organisation: 4 * MIB, unregistered: 2 * MIB })
    }

    fn registered(budget: &MemoryBudget, organisation: &str) -> CallMemory {
        let connection = budget.connection(organisation);
        connection.mark_registered();
        connection.call(0)
    }

    #[tokio::test(start_paused = true)]
    async fn an_organisation_spends_its_own_share_and_gets_it_back() {
        let budget = budget();
        let (first, second) = (registered(&budget, "la/330"), registered(&budget, "la/330"));
        let other = registered(&budget, "la/331");
        let held = first.charge(4 * MIB);
        assert!(!first.is_open(FREE_BYTES) && !second.is_open(FREE_BYTES));
        assert!(second.is_open(0), "the first bytes of a call are always read");
        assert!(other.is_open(FREE_BYTES) && other.wait_until_open().await);
        let waiting = tokio::spawn(async move { second.wait_until_open().await });
        tokio::task::yield_now().await;
        drop(held);
        assert!(waiting.await.unwrap());
        let _held = first.charge(4 * MIB);
        assert!(!first.is_exhausted() && !first.wait_until_open().await && first.is_exhausted());
        assert_eq!(first.full_part(), "organisation");
    }

    #[tokio::test(start_paused = true)]
    async fn a_spent_total_leaves_each_organisation_a_minimum() {
        let budget = budget();
        let (first, second) = (registered(&budget, "la/330"), registered(&budget, "la/331"));
        let held = [first.charge(4 * MIB), second.charge(4 * MIB)];
        let third = registered(&budget, "la/332");
        assert!(third.is_open(FREE_BYTES));
        let _own = third.charge(MIN_SHARE_BYTES);
        assert!(!third.is_open(FREE_BYTES));
        let waiting = tokio::spawn(async move { third.wait_until_open().await });
        tokio::task::yield_now().await;
        drop(held);
        assert!(waiting.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn an_exchange_waits_no_longer_when_the_total_becomes_free_in_small_steps() {
        let budget = budget();
        let (first, second) = (registered(&budget, "la/330"), registered(&budget, "la/331"));
        let third = registered(&budget, "la/332");
        let _own = third.charge(MIN_SHARE_BYTES);
        let _others = second.charge(3 * MIB);
        let mut held = first.charge(4 * MIB);
        let waiting = tokio::spawn(async move { third.begin_exchange(false).await });
        tokio::task::yield_now().await;
        for _ in 0..16 {
            held.release_up_to(READ_BYTES / 8);
            tokio::task::yield_now().await;
        }
        let begun = tokio::time::timeout(Duration::from_millis(1), waiting).await;
        assert!(begun.expect("nobody was woken").unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn certificates_that_are_not_registered_share_one_limit() {
        let budget = budget();
        let strangers = ["la/900", "la/901"].map(|name| budget.connection(name));
        let _held = strangers[0].call(0).charge(2 * MIB);
        assert!(!strangers[1].call(0).is_open(FREE_BYTES));
        strangers[1].mark_registered();
        assert!(strangers[1].call(0).is_open(FREE_BYTES));
    }

    #[tokio::test(start_paused = true)]
    async fn long_headers_are_charged() {
        let budget = budget();
        let connection = budget.connection("la/330");
        let _short = connection.call(ORDINARY_HEADER_BYTES);
        assert_eq!(budget.0.used.load(Ordering::Relaxed), CALL_BYTES);
        let _long = connection.call(ORDINARY_HEADER_BYTES + 9_000);
        assert_eq!(budget.0.used.load(Ordering::Relaxed), 2 * CALL_BYTES + 9_000);
    }

    #[tokio::test(start_paused = true)]
    async fn every_byte_is_released() {
        let budget = budget();
        let call = registered(&budget, "la/330");
        call.add_request(call.charge(1_000));
        let message = call.attach_request(Bytes::from(vec![0; 3_000])).unwrap();
        let part = message.slice(..10);
        assert!(call.begin_exchange(false).await);
        let reply = call.charge_reply(MIB).unwrap();
        assert!(call.charge_reply(8 * MIB).is_none());
        call.add_response(reply);
        let frames = [call.take_response(MIB / 2), call.take_response(MIB / 2)];
        assert_eq!(budget.0.used.load(Ordering::Relaxed), CALL_BYTES + 3_000 + MIB);
        drop((message, frames));
        assert_eq!(budget.0.used.load(Ordering::Relaxed), CALL_BYTES + 3_000);
        drop((part, call));
        assert_eq!(budget.0.used.load(Ordering::Relaxed), 0);
    }
}
