//! The queue for a pool's connections, by organisation: when a connection becomes free, the waiting organisation that
//! uses the fewest gets it. One organisation's flood of calls therefore delays its own calls, not another's.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The owner of what the gateway reads for itself.
pub const GATEWAY: &str = "";

/// The queue for the connections of one pool. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ConnectionQueue(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// Maximum number of connections.
    max: usize,
    /// The number of connections that the database accepts at present, at least one.
    limit: usize,
    in_use: HashMap<Arc<str>, usize>,
    waiting: HashMap<Arc<str>, VecDeque<oneshot::Sender<()>>>,
    /// The owners that wait, in the order of their turns.
    turns: VecDeque<Arc<str>>,
}

/// A slot for one connection, released when dropped.
#[derive(Debug)]
pub struct Slot {
    queue: ConnectionQueue,
    owner: Arc<str>,
}

/// A waiting call. Dropped before it has its slot, it leaves the queue, or returns a slot that it was just granted.
struct Waiter {
    queue: ConnectionQueue,
    owner: Arc<str>,
    granted: Option<oneshot::Receiver<()>>,
}

impl ConnectionQueue {
    /// Makes the queue of a pool of `max` connections.
    #[must_use]
    pub fn new(max: usize) -> Self {
        let (in_use, waiting, turns) = (HashMap::new(), HashMap::new(), VecDeque::new());
        Self(Arc::new(Mutex::new(State { max, limit: max, in_use, waiting, turns })))
    }

    /// Waits for a slot. The wait is not bounded here.
    pub async fn acquire(&self, owner: &str) -> Slot {
        let mut waiter = self.enqueue(owner);
        if let Some(granted) = &mut waiter.granted {
            // The sender is dropped only when the waiter is.
            granted.await.ok();
        }
        waiter.granted = None;
        Slot { queue: self.clone(), owner: Arc::clone(&waiter.owner) }
    }

    fn enqueue(&self, owner: &str) -> Waiter {
        let (grant, granted) = oneshot::channel();
        let owner: Arc<str> = owner.into();
        let mut state = self.lock();
        let waiting = state.waiting.entry(Arc::clone(&owner)).or_default();
        waiting.push_back(grant);
        if waiting.len() == 1 {
            state.turns.push_back(Arc::clone(&owner));
        }
        state.grant();
        drop(state);
        Waiter { queue: self.clone(), owner, granted: Some(granted) }
    }

    /// Returns the number of connections that may be in use at present, and the maximum.
    #[must_use]
    pub fn limits(&self) -> (usize, usize) {
        let state = self.lock();
        (state.limit, state.max)
    }

    /// Sets the number of connections that may be in use, at least one and at most the maximum.
    pub fn set_limit(&self, limit: usize) {
        let mut state = self.lock();
        state.limit = limit.clamp(1, state.max);
        state.grant();
    }

    /// Lowers the limit because the database refused the connection of a slot: to the slots of the others, at least one.
    pub fn lower_limit(&self) {
        let mut state = self.lock();
        let others = state.total().saturating_sub(1);
        state.limit = state.limit.min(others.max(1));
    }

    /// Returns the number of calls that wait for a connection.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let waits =
            |grants: &VecDeque<oneshot::Sender<()>>| grants.iter().filter(|grant| !grant.is_closed()).count();
        self.lock().waiting.values().map(waits).sum()
    }

    /// Locks the state. A poisoned mutex is safe to use, because every change is one push, pop or count.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn total(&self) -> usize {
        self.in_use.values().sum()
    }

    fn used_by(&self, owner: &str) -> usize {
        self.in_use.get(owner).copied().unwrap_or(0)
    }

    /// Returns the largest number of connections of one owner: three quarters, so that another organisation finds one
    /// free. What the gateway reads for itself has no share.
    fn share(&self, owner: &str) -> usize {
        match owner {
            GATEWAY => self.limit,
            _ => (self.limit - self.limit.div_ceil(4)).max(1),
        }
    }

    /// Returns the position in `turns` of the owner that is next: the one that uses the fewest connections.
    fn next_turn(&self) -> Option<usize> {
        let may_have = |owner: &Arc<str>| self.used_by(owner) < self.share(owner);
        let candidates = self.turns.iter().enumerate().filter(|(_, owner)| may_have(owner));
        candidates.min_by_key(|(_, owner)| self.used_by(owner)).map(|(at, _)| at)
    }

    /// Grants the free slots.
    fn grant(&mut self) {
        while self.total() < self.limit
            && let Some(owner) = self.next_turn().and_then(|at| self.turns.remove(at))
        {
            let Some(waiting) = self.waiting.get_mut(&owner) else { continue };
            // A call that was cancelled meanwhile does not take its grant.
            let is_granted = std::iter::from_fn(|| waiting.pop_front()).any(|grant| grant.send(()).is_ok());
            if waiting.is_empty() {
                self.waiting.remove(&owner);
            } else {
                self.turns.push_back(Arc::clone(&owner));
            }
            if is_granted {
                *self.in_use.entry(owner).or_default() += 1;
            }
        }
    }

    fn release(&mut self, owner: &str) {
        if let Some(count) = self.in_use.get_mut(owner) {
            *count -= 1;
            if *count == 0 {
                self.in_use.remove(owner);
            }
        }
        self.grant();
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let Some(mut granted) = self.granted.take() else { return };
        // Grants are sent under the lock, so that none is sent after this check.
        let mut state = self.queue.lock();
        if granted.try_recv().is_ok() {
            state.release(&self.owner);
            return;
        }
        drop(granted);
        let state = &mut *state;
        if let Some(waiting) = state.waiting.get_mut(&self.owner) {
            waiting.retain(|grant| !grant.is_closed());
            if waiting.is_empty() {
                state.waiting.remove(&self.owner);
                state.turns.retain(|owner| *owner != self.owner);
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.queue.lock().release(&self.owner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Polls a wait once: returns its slot, or the wait to go on with.
    async fn poll_once<F: Future<Output = Slot> + Unpin>(wait: &mut F) -> Option<Slot> {
        tokio::select! {
            biased;
            slot = wait => Some(slot),
            () = std::future::ready(()) => None,
        }
    }

    #[tokio::test]
    async fn a_free_connection_goes_to_the_owner_that_uses_the_fewest() {
        let queue = ConnectionQueue::new(4);
        let mut busy =
            vec![queue.acquire("busy").await, queue.acquire("busy").await, queue.acquire("busy").await];
        let mut waits: Vec<_> = (0..9).map(|_| Box::pin(queue.acquire("busy"))).collect();
        for wait in &mut waits {
            assert!(poll_once(wait).await.is_none(), "the fourth connection is not for one that has three");
        }
        let other = queue.acquire("other").await;
        let mut second = Box::pin(queue.acquire("other"));
        assert!(poll_once(&mut second).await.is_none());
        assert_eq!(queue.waiting(), 10);
        busy.pop();
        assert!(poll_once(&mut second).await.is_some(), "it came last and uses the fewest");
        drop(other);
        let mut granted = 0;
        for wait in &mut waits {
            granted += usize::from(poll_once(wait).await.is_some());
        }
        // Each slot was dropped at once, so that the next wait got it.
        assert_eq!(granted, 9);
    }

    #[tokio::test]
    async fn a_cancelled_wait_takes_no_connection_with_it() {
        let queue = ConnectionQueue::new(1);
        let held = queue.acquire(GATEWAY).await;
        let mut waits: Vec<_> = (0..3).map(|_| Box::pin(queue.acquire("one"))).collect();
        for wait in &mut waits {
            assert!(poll_once(wait).await.is_none());
        }
        drop(waits.pop());
        assert_eq!(queue.waiting(), 2);
        drop(held);
        // The first has its grant and is cancelled before it takes it.
        drop(waits.remove(0));
        assert!(poll_once(&mut waits[0]).await.is_some());
        drop(waits);
        assert_eq!(queue.waiting(), 0);
        let state = queue.lock();
        assert_eq!((state.turns.len(), state.total()), (0, 0));
    }

    #[tokio::test]
    async fn a_lowered_limit_holds_until_it_is_raised() {
        let queue = ConnectionQueue::new(4);
        let held = [queue.acquire(GATEWAY).await, queue.acquire(GATEWAY).await];
        queue.lower_limit();
        assert_eq!(queue.limits(), (1, 4));
        drop(held);
        let held = queue.acquire("one").await;
        queue.lower_limit();
        assert_eq!(queue.limits(), (1, 4), "one is left to try with");
        let mut wait = Box::pin(queue.acquire("two"));
        assert!(poll_once(&mut wait).await.is_none());
        queue.set_limit(9);
        assert!(poll_once(&mut wait).await.is_some());
        assert_eq!(queue.limits(), (4, 4));
        drop(held);
    }
}
