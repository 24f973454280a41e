//! Limits of calls: a rate for each organisation, and one for the refusals of a certificate whose caller is not
//! established. A call beyond a limit is rejected before anything is read. Rejected calls have no entry of their own;
//! they are counted, and one entry a second, certificate and reason stands for them.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use uuid::Uuid;

use super::call::Call;
use super::refusal::Reason;
use crate::identity::PeerCertificate;
use crate::store::proposal::Proposal;

/// Number of tables of one limiter, each with a lock of its own: a power of two.
const SHARDS: usize = 16;
/// Maximum number of callers in one table. Callers that have made no call lately are removed then.
const MAX_CALLERS_PER_SHARD: usize = 4_096;
/// Maximum number of kinds of rejected calls that are counted apart within a second.
const MAX_COUNTED_KINDS: usize = 4_096;

/// Rates of calls that are not limited.
pub const UNLIMITED: u32 = u32::MAX;

/// Limits of calls.
#[derive(Clone, Copy, Debug)]
pub struct CallLimits {
    /// Calls of one organisation a second.
    pub requests_per_second: u32,
    /// Calls that an organisation may make at once after a pause.
    pub request_burst: u32,
    /// Refusals a second of one certificate whose caller is not established, and at once after a pause.
    pub refusals_per_second: u32,
}

/// A rate limiter with a bucket of tokens for each caller, by the generic cell rate algorithm (ITU-T I.371). A bucket is
/// one number: the time at which it will be full again.
struct RateLimiter<K> {
    /// Nanoseconds in which a bucket gets one token; 0 if the rate is not limited.
    interval: u64,
    /// Nanoseconds in which an empty bucket becomes full.
    capacity: u64,
    began: Instant,
    hasher: RandomState,
    shards: [Mutex<HashMap<K, u64>>; SHARDS],
    /// Whether any caller was ever limited; until then nobody is looked up.
    in_use: AtomicBool,
}

impl<K: Hash + Eq> RateLimiter<K> {
    fn new(per_second: u32, burst: u32) -> Self {
        let interval = if per_second == UNLIMITED { 0 } else { 1_000_000_000 / u64::from(per_second.max(1)) };
        Self {
            interval,
            capacity: interval.saturating_mul(u64::from(burst)),
            began: Instant::now(),
            hasher: RandomState::new(),
            shards: Default::default(),
            in_use: AtomicBool::new(false),
        }
    }

    /// Takes a token from the bucket of a caller; returns whether there was one.
    fn try_take<Q>(&self, caller: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        if self.interval == 0 {
            return true;
        }
        self.in_use.store(true, Ordering::Relaxed);
        let (mut buckets, now) = (self.shard(caller), self.now());
        if let Some(full_at) = buckets.get_mut(caller) {
            let taken = (*full_at).max(now) + self.interval;
            if taken - now > self.capacity {
                return false;
            }
            *full_at = taken;
            return true;
        }
        if buckets.len() >= MAX_CALLERS_PER_SHARD {
            buckets.retain(|_, full_at| *full_at > now);
            if buckets.len() >= MAX_CALLERS_PER_SHARD {
                buckets.clear();
            }
        }
        buckets.insert(caller.to_owned(), now + self.interval);
        true
    }

    /// Returns whether the bucket of a caller is empty.
    fn is_exhausted<Q>(&self, caller: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if !self.in_use.load(Ordering::Relaxed) {
            return false;
        }
        let full_at = self.shard(caller).get(caller).copied();
        full_at.is_some_and(|full_at| (full_at + self.interval).saturating_sub(self.now()) > self.capacity)
    }

    fn shard<Q: Hash + ?Sized>(&self, caller: &Q) -> MutexGuard<'_, HashMap<K, u64>> {
        let [first, rest @ ..] = &self.shards;
        let at = usize::try_from(self.hasher.hash_one(caller)).unwrap_or_default() % SHARDS;
        let shard = at.checked_sub(1).and_then(|at| rest.get(at)).unwrap_or(first);
        // A poisoned table is safe to use, because every change is one insertion or removal.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX / 2)
    }
}

/// How a refusal of a caller that is not established is recorded.
pub(super) enum RefusalTurn {
    /// By an entry of its own.
    OwnEntry,
    /// By the count of the repeats of this exchange, whose entry is durable.
    Repeat(Uuid),
    /// Not at all: the certificate was refused too often.
    Rejected,
}

/// Kind of rejected or repeated calls that are counted together.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct CallKind {
    certificate: [u8; 32],
    /// Path of the method; empty if the methods are counted together.
    method: &'static str,
    reason: Reason,
}

/// The calls of one kind within a second.
#[derive(Default)]
struct CountedCalls {
    /// The first refusal, whose entry is durable.
    entered: Option<Uuid>,
    /// The entry that will stand for the calls without an entry of their own.
    proposal: Option<Box<Proposal>>,
    /// Number of calls without an entry of their own, less the one of the proposal.
    further: u32,
}

/// Calls without an entry of their own, for which one entry will stand.
pub(super) struct UnenteredCalls {
    pub certificate: [u8; 32],
    /// The entry, with the number of its repeats.
    pub proposal: Proposal,
}

/// The limiter of the calls of a node.
pub struct CallLimiter {
    organisations: RateLimiter<String>,
    refusals: RateLimiter<[u8; 32]>,
    counted: Mutex<HashMap<CallKind, CountedCalls>>,
    /// Number of calls of further kinds, for which no entry will stand.
    uncounted: AtomicU64,
}

impl CallLimiter {
    /// Creates a limiter whose buckets are full.
    #[must_use]
    pub fn new(limits: CallLimits) -> Self {
        Self {
            organisations: RateLimiter::new(limits.requests_per_second, limits.request_burst),
            refusals: RateLimiter::new(limits.refusals_per_second, limits.refusals_per_second),
            counted: Mutex::default(),
            uncounted: AtomicU64::new(0),
        }
    }

    /// Admits a call, or returns why it is rejected. A certificate that is refused too often is rejected first, so that
    /// it takes nothing from the rate of its organisation.
    pub(super) fn admit(&self, peer: &PeerCertificate) -> Result<(), Reason> {
        if self.refusals.is_exhausted(&peer.fingerprint()) {
            return Err(Reason::TooManyRefusals);
        }
        let is_within_rate = self.organisations.try_take(peer.organisation().as_str());
        is_within_rate.then_some(()).ok_or(Reason::RateLimited)
    }

    /// Decides how a refusal is recorded.
    pub(super) fn take_refusal(&self, call: &Call, reason: Reason) -> RefusalTurn {
        if self.refusals.interval == 0 {
            return RefusalTurn::OwnEntry;
        }
        if !self.refusals.try_take(&call.peer.fingerprint()) {
            return RefusalTurn::Rejected;
        }
        let entered =
            self.lock().get(&CallKind::of_refusal(call, reason)).and_then(|counted| counted.entered);
        entered.map_or(RefusalTurn::OwnEntry, RefusalTurn::Repeat)
    }

    /// Records that the entry of a refusal is durable: until the next second it stands for its repeats.
    pub(super) fn set_entered(&self, call: &Call, reason: Reason) {
        let mut counted = self.lock();
        if self.refusals.interval > 0 && counted.len() < MAX_COUNTED_KINDS {
            counted.entry(CallKind::of_refusal(call, reason)).or_default().entered = Some(call.exchange_id);
        }
    }

    /// Counts a repeat of a refusal. `propose` makes the entry, if it is the first.
    pub(super) fn count_repeat(
        &self,
        call: &Call,
        reason: Reason,
        propose: impl FnOnce() -> Option<Proposal>,
    ) {
        self.count(CallKind::of_refusal(call, reason), propose);
    }

    /// Counts a rejected call. `propose` makes the entry, if it is the first.
    pub(super) fn count_rejected(
        &self,
        call: &Call,
        reason: Reason,
        propose: impl FnOnce() -> Option<Proposal>,
    ) {
        self.count(CallKind { method: "", ..CallKind::of_refusal(call, reason) }, propose);
    }

    fn count(&self, kind: CallKind, propose: impl FnOnce() -> Option<Proposal>) {
        let mut counted = self.lock();
        if let Some(CountedCalls { proposal: Some(_), further, .. }) = counted.get_mut(&kind) {
            *further = further.saturating_add(1);
            return;
        }
        if counted.len() >= MAX_COUNTED_KINDS && !counted.contains_key(&kind) {
            self.uncounted.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let counted = counted.entry(kind).or_default();
        counted.proposal = propose().map(Box::new);
    }

    /// Returns the calls without an entry of their own since the last call of this function, by kind. Nothing stands
    /// for repeats any more.
    pub(super) fn take_unentered(&self) -> Vec<UnenteredCalls> {
        let counted = std::mem::take(&mut *self.lock());
        let unentered = counted.into_iter().filter_map(|(kind, counted)| {
            let mut proposal = *counted.proposal?;
            proposal.entry.repeats = counted.further;
            Some(UnenteredCalls { certificate: kind.certificate, proposal })
        });
        unentered.collect()
    }

    /// Returns the number of calls without an entry for which none stands, because too many kinds were counted, since
    /// the last call of this function.
    pub(super) fn take_uncounted(&self) -> u64 {
        self.uncounted.swap(0, Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CallKind, CountedCalls>> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CallKind {
    fn of_refusal(call: &Call, reason: Reason) -> Self {
        Self { certificate: call.peer.fingerprint(), method: call.method.path, reason }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_caller_has_its_burst_and_then_its_rate() {
        let limiter: RateLimiter<String> = RateLimiter::new(200, 400);
        let allowed = |caller: &str| (0..1_000).take_while(|_| limiter.try_take(caller)).count();
        assert!(!limiter.is_exhausted("la/330"));
        assert_eq!(allowed("la/330"), 400);
        assert!(limiter.is_exhausted("la/330") && !limiter.is_exhausted("la/331"));
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!((allowed("la/330"), allowed("la/331")), (100, 400));
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!(allowed("la/330"), 400);
    }

    #[test]
    fn calls_of_more_kinds_than_are_counted_are_counted_together() {
        let limits = CallLimits { requests_per_second: 1, request_burst: 1, refusals_per_second: 1 };
        let limiter = CallLimiter::new(limits);
        for number in 0..u32::try_from(MAX_COUNTED_KINDS).unwrap() + 3 {
            let mut certificate = [0; 32];
            certificate[..4].copy_from_slice(&number.to_be_bytes());
            limiter.count(CallKind { certificate, method: "", reason: Reason::RateLimited }, || None);
        }
        assert_eq!((limiter.take_uncounted(), limiter.take_uncounted()), (3, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn an_unlimited_rate_keeps_no_caller_and_a_table_is_bounded() {
        let unlimited: RateLimiter<String> = RateLimiter::new(UNLIMITED, UNLIMITED);
        assert!((0..10_000).all(|_| unlimited.try_take("la/330")));
        assert!(unlimited.shards.iter().all(|shard| shard.lock().unwrap().is_empty()));
        let limiter: RateLimiter<String> = RateLimiter::new(1, 1);
        let callers = 2 * SHARDS * MAX_CALLERS_PER_SHARD;
        for caller in 0..callers {
            assert!(limiter.try_take(&*caller.to_string()));
        }
        let kept: usize = limiter.shards.iter().map(|shard| shard.lock().unwrap().len()).sum();
        assert!(kept <= SHARDS * MAX_CALLERS_PER_SHARD, "{kept}");
    }
}
