//! The committer as the exchange pipeline uses it: it takes a proposal and returns its outcome. [`Sequencer`] does the
//! work on its own thread.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::anchor::Anchor;
use super::condition::NodeCondition;
use super::durability::DurabilityWorker;
use super::durability_state::DurabilityWaiter;
use super::log::{LogTree, SeenHead, TreeHead};
use super::mailbox_notifier::MailboxNotifier;
use super::proposal::{CommitOutcome, Proposal};
use super::queue::{InFlightPermit, PendingProposal, ProposalQueue};
use super::sequencer::Sequencer;
use super::sequencer_handle::SEQUENCER_THREAD;
use super::sql::Database;
use super::stage_timer::StageTimer;
use super::task_progress::BackgroundTask;
use super::wal_checkpointer::WalCheckpointer;
use super::write_reporter::{WriteReporter, WriteTarget};
use crate::clock::Clock;
use crate::metrics::CommitMetrics;
use crate::tlog::Signer;

/// Maximum time for a group to be committed, and again to be made durable.
const MAX_GROUP_TIME: Duration = Duration::from_secs(30);
/// Maximum time of a checkpoint of SQLite's write-ahead log.
const MAX_WAL_CHECKPOINT_TIME: Duration = Duration::from_mins(5);

/// A handle to the committer. Cheap to clone.
#[derive(Clone)]
pub struct Committer {
    queue: Arc<ProposalQueue>,
    head: watch::Receiver<TreeHead>,
    notifier: MailboxNotifier,
    seen_head: watch::Sender<Option<SeenHead>>,
    condition: watch::Sender<NodeCondition>,
    durability_waiter: DurabilityWaiter,
    tasks: Arc<[BackgroundTask]>,
    metrics: CommitMetrics,
}

impl Committer {
    /// Makes a committer for an opened log, and the sequencer that its thread runs. SQLite's write-ahead log is
    /// checkpointed after about `fold_after` pages.
    #[must_use]
    pub fn new(
        database: Database,
        tree: LogTree,
        signer: Signer,
        anchor: Anchor,
        clock: Arc<dyn Clock>,
        fold_after: usize,
        metrics: &CommitMetrics,
    ) -> (Self, Sequencer) {
        let queue = Arc::new(ProposalQueue::default());
        let (sender, head) = watch::channel(tree.head());
        let notifier = MailboxNotifier::default();
        let (see, seen) = watch::channel(None);
        let condition: watch::Sender<NodeCondition> = watch::Sender::default();
        let [sequencer_task, durability_task, checkpoint_task] = [
            BackgroundTask::new(SEQUENCER_THREAD, MAX_GROUP_TIME),
            BackgroundTask::new("durability", MAX_GROUP_TIME),
            BackgroundTask::new("WAL checkpoint", MAX_WAL_CHECKPOINT_TIME),
        ];
        let anchor_writes = WriteReporter::new(WriteTarget::Anchor, condition.clone());
        let progress = durability_task.progress.clone();
        let progress = (progress, metrics.clone());
        let durability = DurabilityWorker::new((anchor, anchor_writes), sender, notifier.clone(), progress);
        let durability_waiter = durability.waiter();
        let sequencer = Sequencer {
            wal_checkpointer: WalCheckpointer::start(&database, fold_after, checkpoint_task.progress.clone()),
            progress: sequencer_task.progress.clone(),
            database,
            queue: Arc::clone(&queue),
            anchored_or_enqueued: tree.head().size,
            tree,
            signer,
            durability,
            clock,
            head: head.clone(),
            notifier: notifier.clone(),
            seen_head: seen,
            condition: condition.subscribe(),
            writes: WriteReporter::new(WriteTarget::Database, condition.clone()),
            metrics: metrics.clone(),
        };
        let tasks = Arc::new([sequencer_task, durability_task, checkpoint_task]);
        let metrics = metrics.clone();
        (
            Self { queue, head, notifier, seen_head: see, condition, durability_waiter, tasks, metrics },
            sequencer,
        )
    }

    /// Reserves capacity for one exchange of the organisation; `None` when too many of its exchanges are in flight.
    /// Callers reserve before they decide, so that refusing a flood costs little.
    #[must_use]
    pub fn reserve(&self, organisation: &str) -> Option<InFlightPermit> {
        self.queue.reserve(organisation)
    }

    /// Commits a proposal. After [`CommitOutcome::Committed`] everything in it is durable, and its checkpoint is in the
    /// anchor. After [`CommitOutcome::Unavailable`] it may have been committed or not. After any other outcome it has no
    /// effect. Once the committer has ended, the outcome is [`CommitOutcome::Unavailable`], also for queued proposals.
    pub async fn commit(&self, proposal: Proposal) -> CommitOutcome {
        let (answer, outcome) = oneshot::channel();
        self.queue.push(PendingProposal { proposal, reply_to: answer, stages: StageTimer::start() });
        outcome.await.unwrap_or(CommitOutcome::Unavailable)
    }

    /// Returns a receiver of the newest tree head that is durable and anchored, to wait for the log to grow.
    #[must_use]
    pub fn head(&self) -> watch::Receiver<TreeHead> {
        self.head.clone()
    }

    /// Waits until all that can be read now from this node's commits is durable, and the anchor holds a checkpoint of
    /// at least `tree_size` entries: that of the largest tree which the response shows. Responses that have no log
    /// entry of their own need this. Returns false if the anchor cannot be written, if that takes longer than ten
    /// seconds, or if the committer ended.
    pub async fn wait_until_durable(&self, tree_size: u64) -> bool {
        self.durability_waiter.wait(tree_size).await
    }

    /// Subscribes to notifications of the organisation: new deliveries, or a change of its authority.
    #[must_use]
    pub fn subscribe(&self, organisation: &str) -> watch::Receiver<()> {
        self.notifier.subscribe(organisation)
    }

    /// Returns the newest tree head in this node's anchor.
    pub(super) fn known_head(&self) -> TreeHead {
        *self.head.borrow()
    }

    /// Reports a tree head in the database to which another node has appended.
    pub(super) fn report_seen_head(&self, seen: SeenHead) {
        self.seen_head.send_replace(Some(seen));
    }

    /// Returns the notifier of all organisations.
    pub(super) fn notifier(&self) -> &MailboxNotifier {
        &self.notifier
    }

    /// Returns the sender of the node's condition.
    #[must_use]
    pub fn condition(&self) -> &watch::Sender<NodeCondition> {
        &self.condition
    }

    /// Returns the committer's threads, for the supervisor.
    #[must_use]
    pub fn tasks(&self) -> &[BackgroundTask] {
        &self.tasks
    }

    /// Returns the metrics of commits.
    #[must_use]
    pub fn metrics(&self) -> &CommitMetrics {
        &self.metrics
    }

    /// Returns the queue. Tests pause it to fill a group.
    #[must_use]
    pub fn queue(&self) -> &ProposalQueue {
        &self.queue
    }
}
