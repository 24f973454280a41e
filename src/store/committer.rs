//! The door's end of the committer: a proposal goes in, and its outcome comes back. [`Appender`] does the work.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::anchor::Anchor;
use super::answers::{Answers, Settled};
use super::appender::Appender;
use super::appending::SEQUENCER;
use super::bells::Bells;
use super::folding::Folding;
use super::follow::{Condition, Seen};
use super::log::{Head, Tip};
use super::progress::BackgroundTask;
use super::proposal::{Outcome, Proposal};
use super::queue::{Pending, Queue, Slot};
use super::sql::{Database, StoreError};
use crate::clock::Clock;
use crate::tlog::Signer;

/// Longest time in which a group is committed, or made durable.
const MAX_GROUP_TIME: Duration = Duration::from_secs(30);
/// Longest time in which the write-ahead log is copied into the database.
const MAX_WAL_CHECKPOINT_TIME: Duration = Duration::from_mins(5);

/// The door's end of the committer. Cheap to clone.
#[derive(Clone)]
pub struct Committer {
    queue: Arc<Queue>,
    head: watch::Receiver<Head>,
    bells: Bells,
    seen: watch::Sender<Option<Seen>>,
    condition: watch::Sender<Condition>,
    settled: Settled,
    tasks: Arc<[BackgroundTask]>,
}

/// Why the committer ended; the process must end with it.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// A sync failed: what is on the disk is not known any more.
    #[error("the disk failed while the log was written")]
    Disk(#[source] StoreError),
    /// The anchor could not be synced.
    #[error("the disk failed while the anchor was synced")]
    Anchor(#[source] std::io::Error),
    /// The log in the database is not the one that this process wrote.
    #[error("the log in the database does not continue this node's")]
    Diverged(#[source] StoreError),
    /// A fault of the program.
    #[error("the committer broke off")]
    BrokeOff,
    /// A background task ended that never ends by itself: a fault of the program.
    #[error("the background task {0} ended")]
    TaskEnded(&'static str),
}

impl Committer {
    /// A committer over an opened log, and what its thread runs; SQLite's write-ahead log is folded back after
    /// about `fold_after` pages.
    #[must_use]
    pub fn new(
        database: Database,
        tip: Tip,
        signer: Signer,
        anchor: Anchor,
        clock: Arc<dyn Clock>,
        fold_after: usize,
    ) -> (Self, Appender) {
        let queue = Arc::new(Queue::default());
        let (sender, head) = watch::channel(tip.head());
        let bells = Bells::default();
        let (see, seen) = watch::channel(None);
        let condition = watch::Sender::default();
        let [sequencer, durability, folding] = [
            BackgroundTask::new(SEQUENCER, MAX_GROUP_TIME),
            BackgroundTask::new("durability", MAX_GROUP_TIME),
            BackgroundTask::new("WAL checkpoint", MAX_WAL_CHECKPOINT_TIME),
        ];
        let answers = Answers::new(anchor, sender, bells.clone(), durability.progress.clone());
        let settled = answers.settled();
        let appender = Appender {
            folding: Folding::start(&database, fold_after, folding.progress.clone()),
            progress: sequencer.progress.clone(),
            database,
            queue: Arc::clone(&queue),
            tip,
            signer,
            answers,
            clock,
            head: head.clone(),
            bells: bells.clone(),
            seen,
            condition: condition.subscribe(),
        };
        let tasks = Arc::new([sequencer, durability, folding]);
        (Self { queue, head, bells, seen: see, condition, settled, tasks }, appender)
    }

    /// A place for one exchange of the organisation, `None` when too many of its are in flight. Taken
    /// before deciding, so that a flood costs nothing.
    #[must_use]
    pub fn reserve(&self, organisation: &str) -> Option<Slot> {
        self.queue.reserve(organisation)
    }

    /// Commits a proposal. When this returns [`Outcome::Committed`] everything in it is durable, here and
    /// in the anchor; with any other outcome nothing of it has an effect, except that after
    /// [`Outcome::Unavailable`] this is not known. Once the committer has ended, by a fault or because it was
    /// stopped, the outcome is [`Outcome::Unavailable`], also for what was waiting.
    pub async fn commit(&self, proposal: Proposal) -> Outcome {
        let (answer, outcome) = oneshot::channel();
        self.queue.push(Pending { proposal, answer });
        outcome.await.unwrap_or(Outcome::Unavailable)
    }

    /// The newest head of the log, to wait for its growth.
    #[must_use]
    pub fn head(&self) -> watch::Receiver<Head> {
        self.head.clone()
    }

    /// Waits until what can be read by now is durable, for an answer that has no entry of its own; false when that
    /// will never be known.
    pub async fn settled(&self) -> bool {
        self.settled.wait().await
    }

    /// Waits for the organisation's mail, or for news of its authority.
    #[must_use]
    pub fn mailbox(&self, organisation: &str) -> watch::Receiver<()> {
        self.bells.listen(organisation)
    }

    /// The most that is known of the log: what of it has been committed or seen here.
    pub(super) fn known(&self) -> Head {
        *self.head.borrow()
    }

    /// This was seen in the database, where another node has appended.
    pub(super) fn overtaken(&self, seen: Seen) {
        self.seen.send_replace(Some(seen));
    }

    /// The bells of those who wait.
    pub(super) fn bells(&self) -> &Bells {
        &self.bells
    }

    /// What keeps the node from serving well.
    #[must_use]
    pub fn condition(&self) -> &watch::Sender<Condition> {
        &self.condition
    }

    /// The threads of the committer, for the supervisor.
    #[must_use]
    pub fn tasks(&self) -> &[BackgroundTask] {
        &self.tasks
    }

    /// The queue, which tests hold to fill a group.
    #[must_use]
    pub fn queue(&self) -> &Queue {
        &self.queue
    }
}
