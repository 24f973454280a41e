//! The budget, the shares of organisations, and charges.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

/// Bytes that an organisation may hold when the total is spent: one request or one ordinary page of a list.
pub(super) const MIN_SHARE_BYTES: usize = 1 << 20;
/// Charge of an exchange under way that reads: its rows and its reply, until that is known.
pub(super) const READ_BYTES: usize = 256 << 10;

/// Limits of the budget, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct MemoryLimits {
    /// All messages together.
    pub total: usize,
    /// The messages of one organisation.
    pub organisation: usize,
    /// The messages of all certificates that are not registered.
    pub unregistered: usize,
}

/// The budget of a node.
#[derive(Clone)]
pub struct MemoryBudget(pub(super) Arc<Budget>);

pub(super) struct Budget {
    limits: MemoryLimits,
    pub(super) used: AtomicUsize,
    organisations: Mutex<HashMap<String, Weak<Share>>>,
    pub(super) unregistered: Arc<Share>,
}

/// The part of the budget that is an organisation's, or of all certificates that are not registered.
pub(super) struct Share {
    limit: usize,
    /// Bytes that may be held when the total is spent.
    minimum: usize,
    used: AtomicUsize,
    /// Notified when a body may be read on.
    pub(super) opened: Notify,
    /// Notified when an exchange may begin.
    pub(super) has_room: Notify,
}

/// Charged bytes. They are released when this is dropped.
pub struct Charge {
    pub(super) budget: Arc<Budget>,
    pub(super) share: Arc<Share>,
    pub(super) bytes: usize,
}

impl MemoryBudget {
    /// Creates a budget of which nothing is used.
    #[must_use]
    pub fn new(limits: MemoryLimits) -> Self {
        let unregistered = Arc::new(Share::new(limits.unregistered, 0));
        Self(Arc::new(Budget {
            limits,
            used: AtomicUsize::new(0),
            organisations: Mutex::default(),
            unregistered,
        }))
    }
}

impl Budget {
    /// Returns the share of an organisation. It exists as long as a connection or a charge refers to it.
    pub(super) fn share_of(&self, organisation: &str) -> Arc<Share> {
        let mut shares = lock(&self.organisations);
        if let Some(share) = shares.get(organisation).and_then(Weak::upgrade) {
            return share;
        }
        shares.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Share::new(self.limits.organisation, MIN_SHARE_BYTES));
        shares.insert(organisation.to_owned(), Arc::downgrade(&share));
        share
    }

    /// Checks whether `more` bytes fit into a share and into the total.
    pub(super) fn fits(&self, share: &Share, more: usize) -> bool {
        let held = share.used.load(Ordering::SeqCst).saturating_add(more);
        let total = self.used.load(Ordering::SeqCst).saturating_add(more);
        held <= share.limit && (total <= self.limits.total || held <= share.minimum)
    }

    /// Names what has no room for `more` bytes of a share.
    pub(super) fn full_part(&self, share: &Share, more: usize) -> &'static str {
        if share.used.load(Ordering::SeqCst).saturating_add(more) <= share.limit {
            "total"
        } else if std::ptr::eq(share, Arc::as_ptr(&self.unregistered)) {
            "unregistered"
        } else {
            "organisation"
        }
    }

    /// Releases bytes, and wakes those that wait for the share, or for the total while it was too full for any of them.
    fn release(&self, share: &Share, bytes: usize) {
        share.used.fetch_sub(bytes, Ordering::SeqCst);
        let total_before = self.used.fetch_sub(bytes, Ordering::SeqCst);
        self.wake(share);
        // Not only when the limit is crossed, because an exchange waits until there is room for all that it reads.
        let limit = self.limits.total;
        if total_before.saturating_add(READ_BYTES) > limit && total_before - bytes < limit {
            self.wake(&self.unregistered);
            let shares: Vec<_> = lock(&self.organisations).values().filter_map(Weak::upgrade).collect();
            for share in shares {
                self.wake(&share);
            }
        }
    }

    /// Wakes one waiter of each kind. Each that goes on wakes the next.
    pub(super) fn wake(&self, share: &Share) {
        if self.fits(share, 1) {
            share.opened.notify_one();
        }
        if self.fits(share, READ_BYTES) {
            share.has_room.notify_one();
        }
    }
}

impl Share {
    fn new(limit: usize, minimum: usize) -> Self {
        Self { limit, minimum, used: AtomicUsize::new(0), opened: Notify::new(), has_room: Notify::new() }
    }
}

impl Charge {
    pub(super) fn new(budget: Arc<Budget>, share: Arc<Share>, bytes: usize) -> Self {
        share.used.fetch_add(bytes, Ordering::Relaxed);
        budget.used.fetch_add(bytes, Ordering::Relaxed);
        Self { budget, share, bytes }
    }

    /// Adds bytes that are there already.
    pub fn add(&mut self, bytes: usize) {
        self.share.used.fetch_add(bytes, Ordering::Relaxed);
        self.budget.used.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
    }

    /// Splits off up to `bytes`.
    pub(in super::super) fn split_to(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self { budget: Arc::clone(&self.budget), share: Arc::clone(&self.share), bytes }
    }

    /// Releases up to `bytes`, and returns how many.
    pub(super) fn release_up_to(&mut self, bytes: usize) -> usize {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.budget.release(&self.share, bytes);
        bytes
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.release(&self.share, self.bytes);
        }
    }
}

/// Ignores poisoning: every change is one insertion or removal.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
