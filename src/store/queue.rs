//! The committer's queue: bounded for each organisation, and emptied by deficit round robin over
//! organisations weighted by rows, so that one organisation's flood of big batches does not starve
//! another's single marks (M. Shreedhar and G. Varghese, 1995).

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::proposal::{Outcome, Proposal};

/// Changes of one group.
pub const GROUP: usize = 256;
/// Rows of one group, of all tables together; a larger change goes alone.
pub const GROUP_ROWS: usize = 1_200;
/// Rows that an organisation may add to its claim each round.
const QUANTUM: usize = 64;
/// Exchanges of one organisation that may be deciding or waiting at once.
const IN_FLIGHT: usize = 1_024;

/// A proposal and whoever waits for its outcome.
pub struct Pending {
    /// What is proposed.
    pub proposal: Proposal,
    /// Where its outcome goes; nobody may be listening any more.
    pub answer: oneshot::Sender<Outcome>,
}

/// The queue. Any task adds; the committer alone takes.
#[derive(Default)]
pub struct Queue {
    lanes: Mutex<Lanes>,
    filled: Notify,
}

#[derive(Default)]
struct Lanes {
    waiting: HashMap<String, Lane>,
    /// Organisations with something waiting, in the order of their turns.
    turns: VecDeque<String>,
    in_flight: HashMap<String, usize>,
    held: bool,
    /// Nothing takes any more: what is added is answered at once.
    closed: bool,
}

#[derive(Default)]
struct Lane {
    proposals: VecDeque<Pending>,
    deficit: usize,
}

/// A place among an organisation's exchanges in flight; given back when dropped.
pub struct Slot {
    queue: Arc<Queue>,
    organisation: String,
}

impl Queue {
    /// Takes a place for one exchange of the organisation; `None` when it has too many in flight.
    #[must_use]
    pub fn reserve(self: &Arc<Self>, organisation: &str) -> Option<Slot> {
        let mut lanes = self.lock();
        let count = lanes.in_flight.entry(organisation.to_owned()).or_default();
        if *count >= IN_FLIGHT {
            return None;
        }
        *count += 1;
        Some(Slot { queue: Arc::clone(self), organisation: organisation.to_owned() })
    }

    /// Adds a proposal at the end of its organisation's lane. Once the queue is closed the proposal is answered
    /// [`Outcome::Unavailable`] at once, because nothing would ever take it.
    pub fn push(&self, pending: Pending) {
        let mut lanes = self.lock();
        if lanes.closed {
            drop(lanes);
            pending.answer.send(Outcome::Unavailable).ok();
            return;
        }
        lanes.lane(pending.proposal.organisation()).proposals.push_back(pending);
        drop(lanes);
        self.filled.notify_one();
    }

    /// Closes the queue because its committer has ended: answers [`Outcome::Unavailable`] to every proposal that
    /// waits, and to every later one.
    pub fn close(&self) {
        let waiting = {
            let mut lanes = self.lock();
            lanes.closed = true;
            lanes.turns.clear();
            std::mem::take(&mut lanes.waiting)
        };
        for pending in waiting.into_values().flat_map(|lane| lane.proposals) {
            pending.answer.send(Outcome::Unavailable).ok();
        }
    }

    /// Puts proposals back where they were: in front, in their order.
    pub fn put_back(&self, deferred: Vec<Pending>) {
        let mut lanes = self.lock();
        for pending in deferred.into_iter().rev() {
            lanes.lane(pending.proposal.organisation()).proposals.push_front(pending);
        }
        drop(lanes);
        self.filled.notify_one();
    }

    /// Waits until there is something to take.
    pub async fn ready(&self) {
        while !self.lock().gives() {
            self.filled.notified().await;
        }
    }

    /// The next group, in the order in which guards are checked; empty when nothing waits.
    #[must_use]
    pub fn take(&self) -> Vec<Pending> {
        self.lock().take()
    }

    /// While held, nothing is taken: a test fills a group with it.
    pub fn hold(&self, held: bool) {
        self.lock().held = held;
        self.filled.notify_one();
    }

    /// How many proposals wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().waiting.values().map(|lane| lane.proposals.len()).sum()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A panic elsewhere cannot leave the lanes half changed: every change is one push or pop.
    fn lock(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lanes {
    fn lane(&mut self, organisation: &str) -> &mut Lane {
        if !self.waiting.contains_key(organisation) {
            self.turns.push_back(organisation.to_owned());
        }
        self.waiting.entry(organisation.to_owned()).or_default()
    }

    /// Whether there is something to take, and it may be taken.
    fn gives(&self) -> bool {
        !self.held && !self.turns.is_empty()
    }

    fn take(&mut self) -> Vec<Pending> {
        let (mut group, mut rows) = (Vec::new(), 0);
        if !self.gives() {
            return group;
        }
        while group.len() < GROUP && rows < GROUP_ROWS {
            let Some(organisation) = self.turns.pop_front() else {
                break;
            };
            let Some(lane) = self.waiting.get_mut(&organisation) else {
                continue;
            };
            lane.deficit += QUANTUM;
            let mut full = false;
            while let Some(next) = lane.proposals.front() {
                let weight = next.proposal.weight();
                full = group.len() >= GROUP || (rows > 0 && rows + weight > GROUP_ROWS);
                // An organisation that is alone need not save up for its turn.
                let claims = lane.deficit >= weight || (self.turns.is_empty() && group.is_empty());
                if full || !claims {
                    break;
                }
                lane.deficit = lane.deficit.saturating_sub(weight);
                rows += weight;
                group.extend(lane.proposals.pop_front());
            }
            if lane.proposals.is_empty() {
                self.waiting.remove(&organisation);
            } else if full {
                self.turns.push_front(organisation);
                break;
            } else {
                self.turns.push_back(organisation);
            }
        }
        group
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut lanes = self.queue.lock();
        if let Some(count) = lanes.in_flight.get_mut(&self.organisation) {
            *count -= 1;
            if *count == 0 {
                lanes.in_flight.remove(&self.organisation);
            }
        }
    }
}
