//! The committer's queue: bounded for each organisation, and scheduled by deficit round robin over
//! organisations, weighted by rows, so that one organisation's flood of big batches does not starve
//! another's single marks (M. Shreedhar and G. Varghese, 1995).

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::proposal::{CommitOutcome, Proposal};
use super::stage_timer::StageTimer;
use crate::metrics::CommitStage;

/// Maximum number of proposals of one group.
pub const MAX_GROUP_PROPOSALS: usize = 256;
/// Maximum number of rows of one group, over all tables. A larger proposal is a group of its own.
pub const MAX_GROUP_ROWS: usize = 1_200;
/// Rows that are added to an organisation's deficit each round.
const QUANTUM_ROWS: usize = 64;
/// Maximum number of exchanges of one organisation that are being decided or queued.
const MAX_IN_FLIGHT_PER_ORGANISATION: usize = 1_024;

/// A queued proposal and the channel for its outcome.
pub struct PendingProposal {
    /// The proposal.
    pub proposal: Proposal,
    /// Where its outcome is sent. The receiver may be gone.
    pub reply_to: oneshot::Sender<CommitOutcome>,
    /// The stage in which it is.
    pub stages: StageTimer,
}

/// The queue. Any task adds proposals; only the committer takes them.
#[derive(Default)]
pub struct ProposalQueue {
    lanes: Mutex<Lanes>,
    filled: Notify,
}

/// All lanes, under the queue's mutex.
#[derive(Default)]
struct Lanes {
    waiting: HashMap<String, Lane>,
    /// Organisations with queued proposals, in the order of their turns.
    turns: VecDeque<String>,
    in_flight: HashMap<String, usize>,
    is_paused: bool,
    /// Set once the committer has ended: a proposal that is added is answered at once.
    is_closed: bool,
}

/// The queued proposals of one organisation, with its deficit in rows.
#[derive(Default)]
struct Lane {
    proposals: VecDeque<PendingProposal>,
    deficit: usize,
}

/// A permit for one exchange in flight of an organisation, released when dropped.
pub struct InFlightPermit {
    queue: Arc<ProposalQueue>,
    organisation: String,
}

impl ProposalQueue {
    /// Reserves a permit for one exchange of the organisation; `None` when it has too many in flight.
    #[must_use]
    pub fn reserve(self: &Arc<Self>, organisation: &str) -> Option<InFlightPermit> {
        let mut lanes = self.lock();
        let count = lanes.in_flight.entry(organisation.to_owned()).or_default();
        if *count >= MAX_IN_FLIGHT_PER_ORGANISATION {
            return None;
        }
        *count += 1;
        Some(InFlightPermit { queue: Arc::clone(self), organisation: organisation.to_owned() })
    }

    /// Adds a proposal at the end of its organisation's lane. Once the queue is closed, the outcome is
    /// [`CommitOutcome::Unavailable`] at once, because nothing would ever take the proposal.
    pub fn push(&self, pending: PendingProposal) {
        let mut lanes = self.lock();
        if lanes.is_closed {
            drop(lanes);
            pending.reply_to.send(CommitOutcome::Unavailable).ok();
            return;
        }
        lanes.lane(pending.proposal.organisation()).proposals.push_back(pending);
        drop(lanes);
        self.filled.notify_one();
    }

    /// Closes the queue because its committer has ended: the outcome of every queued and every later proposal is
    /// [`CommitOutcome::Unavailable`].
    pub fn close(&self) {
        let waiting = {
            let mut lanes = self.lock();
            lanes.is_closed = true;
            lanes.turns.clear();
            std::mem::take(&mut lanes.waiting)
        };
        for pending in waiting.into_values().flat_map(|lane| lane.proposals) {
            pending.reply_to.send(CommitOutcome::Unavailable).ok();
        }
    }

    /// Puts proposals back at the front of their lanes, in their order.
    pub fn put_back(&self, deferred: Vec<PendingProposal>) {
        let mut lanes = self.lock();
        for mut pending in deferred.into_iter().rev() {
            pending.stages.enter(CommitStage::Queue);
            lanes.lane(pending.proposal.organisation()).proposals.push_front(pending);
        }
        drop(lanes);
        self.filled.notify_one();
    }

    /// Waits until there is a proposal to take.
    pub async fn ready(&self) {
        while !self.lock().can_take() {
            self.filled.notified().await;
        }
    }

    /// Takes the next group, in the order in which guards are checked; empty when nothing is queued.
    #[must_use]
    pub fn take_group(&self) -> Vec<PendingProposal> {
        self.lock().take_group()
    }

    /// Pauses or resumes taking. Tests pause the queue to fill a group.
    pub fn set_paused(&self, held: bool) {
        self.lock().is_paused = held;
        self.filled.notify_one();
    }

    /// Returns the number of queued proposals.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().waiting.values().map(|lane| lane.proposals.len()).sum()
    }

    /// Returns whether no proposal is queued.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Locks the lanes. A poisoned mutex is safe to use, because every change is one push or pop.
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

    /// Returns whether there is a proposal to take and the queue is not paused.
    fn can_take(&self) -> bool {
        !self.is_paused && !self.turns.is_empty()
    }

    fn take_group(&mut self) -> Vec<PendingProposal> {
        let (mut group, mut rows) = (Vec::new(), 0);
        if !self.can_take() {
            return group;
        }
        while group.len() < MAX_GROUP_PROPOSALS && rows < MAX_GROUP_ROWS {
            let Some(organisation) = self.turns.pop_front() else {
                break;
            };
            let Some(lane) = self.waiting.get_mut(&organisation) else {
                continue;
            };
            lane.deficit += QUANTUM_ROWS;
            let mut full = false;
            while let Some(next) = lane.proposals.front() {
                let weight = next.proposal.weight();
                full = group.len() >= MAX_GROUP_PROPOSALS || (rows > 0 && rows + weight > MAX_GROUP_ROWS);
                // An organisation without competitors need not accumulate a deficit.
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

impl Drop for InFlightPermit {
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
