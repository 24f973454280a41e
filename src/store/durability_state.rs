//! How far the log is durable and anchored, by tickets, and the wait for it.
//!
//! A ticket is taken before each COMMIT. It stays open until its group is synced and the anchor holds the group's
//! checkpoint, or until its COMMIT failed. What is read at a moment is durable once no ticket is open that was taken
//! before: a later ticket that is settled or given up releases no earlier one.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::watch;

/// Maximum wait for a response without a log entry to become durable and anchored.
const MAX_DURABILITY_WAIT: Duration = Duration::from_secs(10);

/// How far the log is durable and anchored on this node.
pub struct DurabilityState {
    /// The newest ticket that was taken.
    last: u64,
    /// The tickets that are neither settled nor given up.
    open: BTreeSet<u64>,
    /// The newest ticket whose checkpoint the anchor did not take. Open tickets up to it wait for a retry.
    refused: u64,
    /// The tree size of the checkpoint in the anchor.
    anchored_size: u64,
}

impl DurabilityState {
    /// Makes the state of a node whose anchor holds the checkpoint of a tree size.
    pub fn new(anchored_size: u64) -> Self {
        Self { last: 0, open: BTreeSet::new(), refused: 0, anchored_size }
    }

    /// Takes the next ticket.
    pub fn take_ticket(&mut self) -> u64 {
        self.last += 1;
        self.open.insert(self.last);
        self.last
    }

    /// Gives up a ticket whose COMMIT failed.
    pub fn abandon(&mut self, ticket: u64) {
        self.open.remove(&ticket);
    }

    /// Settles a ticket and all earlier ones, because the anchor holds a checkpoint of `size` that includes them.
    pub fn settle(&mut self, ticket: u64, size: u64) {
        self.open = self.open.split_off(&(ticket + 1));
        self.anchored_size = self.anchored_size.max(size);
    }

    /// Records that the anchor did not take the checkpoint of a ticket.
    pub fn refuse(&mut self, ticket: u64) {
        self.refused = ticket;
    }

    /// Returns whether all commits up to a ticket and the tree of `size` are durable and anchored; `None` while that
    /// is not decided.
    fn is_durable(&self, ticket: u64, size: u64) -> Option<bool> {
        let oldest = self.open.first();
        if oldest.is_none_or(|oldest| *oldest > ticket) && self.anchored_size >= size {
            return Some(true);
        }
        oldest.filter(|oldest| **oldest <= self.refused).map(|_| false)
    }
}

/// A waiter for durability: it waits until what was read is durable and anchored. Cheap to clone.
#[derive(Clone)]
pub struct DurabilityWaiter(watch::Receiver<DurabilityState>);

impl DurabilityWaiter {
    /// Makes a waiter for the changes of a state.
    pub fn new(state: watch::Receiver<DurabilityState>) -> Self {
        Self(state)
    }

    /// Waits until all that can be read now from this node's commits is durable, and the anchor holds a checkpoint of
    /// at least `size` entries, which another node may have appended. Returns false if the anchor cannot be written,
    /// if that takes longer than ten seconds, or if the committer ended.
    pub async fn wait(&self, size: u64) -> bool {
        let ticket = self.0.borrow().last;
        let mut state = self.0.clone();
        let decided = state.wait_for(|state| state.is_durable(ticket, size).is_some());
        match tokio::time::timeout(MAX_DURABILITY_WAIT, decided).await {
            Ok(Ok(state)) => state.is_durable(ticket, size) == Some(true),
            Ok(Err(_)) | Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_that_failed_releases_none_before_it() {
        let mut state = DurabilityState::new(5);
        let (first, second) = (state.take_ticket(), state.take_ticket());
        state.abandon(second);
        assert_eq!(state.is_durable(second, 5), None, "the first is neither synced nor anchored");
        state.settle(first, 7);
        assert_eq!(state.is_durable(second, 7), Some(true));
        assert_eq!(state.is_durable(second, 8), None, "another node's checkpoint is not in the anchor");
    }

    #[test]
    fn a_checkpoint_that_the_anchor_does_not_take_is_refused_until_a_later_one_is_taken() {
        let mut state = DurabilityState::new(5);
        let first = state.take_ticket();
        state.refuse(first);
        assert_eq!(state.is_durable(first, 6), Some(false));
        assert_eq!(state.is_durable(0, 5), Some(true), "what was read before is durable");
        let second = state.take_ticket();
        assert_eq!(state.is_durable(second, 7), Some(false));
        state.settle(second, 7);
        assert_eq!(state.is_durable(second, 7), Some(true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_also_when_nothing_is_decided() {
        let sender = watch::Sender::new(DurabilityState::new(5));
        let waiter = DurabilityWaiter::new(sender.subscribe());
        assert!(waiter.wait(5).await);
        assert!(!waiter.wait(6).await, "no checkpoint of that size comes");
        let waiting = tokio::spawn(async move { waiter.wait(6).await });
        tokio::task::yield_now().await;
        sender.send_modify(|state| {
            let ticket = state.take_ticket();
            state.settle(ticket, 6);
        });
        assert!(waiting.await.unwrap());
    }
}
