//! The durability worker: returns outcomes once the group is on the disk and its checkpoint is in the anchor. Its
//! thread syncs SQLite's write-ahead log and the anchor, once for all groups that were committed while it was busy, so
//! that the next transaction waits for neither sync.
//!
//! A group's rows can be read before they are synced. A response that shows them normally has a log entry of its own,
//! which is committed later and so synced and anchored with them or after them. The few responses without an entry wait
//! for [`DurabilityWaiter`].

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::anchor::Anchor;
use super::durability_state::{DurabilityState, DurabilityWaiter};
use super::fatal::FatalError;
use super::log::TreeHead;
use super::mailbox_notifier::MailboxNotifier;
use super::proposal::CommitOutcome;
use super::queue::PendingProposal;
use super::sql::{StoreError, UnsyncedCommit};
use super::task_progress::TaskProgress;
use super::write_reporter::WriteReporter;
use crate::metrics::{CommitMetrics, CommitStage};
use crate::proto::v1::Receipt;

/// Maximum number of committed groups that wait for a sync; the next transaction then waits too. A longer queue would
/// make groups smaller, so that the fixed cost of a group is shared by fewer proposals.
const MAX_QUEUED_GROUPS: usize = 1;
/// Interval of retries while the anchor cannot be written and no group is committed.
const ANCHOR_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// A committed group whose proposals have no outcome yet, because it may not be durable.
pub struct CommittedGroup {
    /// The tree head after the group.
    pub head: TreeHead,
    /// The signed checkpoint.
    pub note: String,
    /// The proposals, in the order of their entries.
    pub members: Vec<PendingProposal>,
    /// One receipt a proposal, in the same order.
    pub receipts: Vec<Receipt>,
    /// The commit, to be synced.
    pub unsynced: UnsyncedCommit,
    /// The ticket that was taken before COMMIT; it is settled once the group is durable and anchored.
    pub ticket: u64,
}

/// A handle to the durability thread. Dropping it waits until every committed proposal has its outcome, and closes
/// the anchor.
pub struct DurabilityWorker {
    groups: Option<SyncSender<CommittedGroup>>,
    failed: oneshot::Receiver<FatalError>,
    thread: Option<JoinHandle<()>>,
    state: watch::Sender<DurabilityState>,
}

impl DurabilityWorker {
    /// Starts the thread, which owns the anchor. It publishes the newest tree head that is durable and anchored, which
    /// at first is the one in `head`, and notifies organisations that have new deliveries.
    #[must_use]
    pub fn new(
        (anchor, anchor_writes): (Anchor, WriteReporter),
        head: watch::Sender<TreeHead>,
        notifier: MailboxNotifier,
        (progress, metrics): (TaskProgress, CommitMetrics),
    ) -> Self {
        let (to, committed) = sync_channel(MAX_QUEUED_GROUPS);
        let (fail, failed) = oneshot::channel();
        let state = watch::Sender::new(DurabilityState::new(head.borrow().size));
        let answering = DurabilityThread {
            anchor,
            anchor_writes,
            head,
            notifier,
            state: state.clone(),
            unanchored: None,
            progress,
            metrics,
        };
        let thread = std::thread::spawn(move || {
            if let Err(error) = answering.run(&committed) {
                fail.send(error).ok();
            }
        });
        Self { groups: Some(to), failed, thread: Some(thread), state }
    }

    /// Takes a ticket. Call it before COMMIT, because readers see the rows as soon as COMMIT returns.
    pub fn take_ticket(&self) -> u64 {
        let mut ticket = 0;
        self.state.send_if_modified(|state| {
            ticket = state.take_ticket();
            false
        });
        ticket
    }

    /// Gives up the ticket of a COMMIT that failed, so that nothing waits for it. Earlier tickets stay as they are.
    pub fn abandon(&self, ticket: u64) {
        self.state.send_modify(|state| state.abandon(ticket));
    }

    /// Enqueues a committed group. After a failed sync the thread is gone: the group is dropped, which closes its
    /// proposals' channels, and their outcome is `Unavailable`.
    pub fn enqueue(&self, committed: CommittedGroup) {
        self.groups.as_ref().and_then(|to| to.send(committed).ok());
    }

    /// Waits for a failed sync, after which the process must end.
    pub async fn failed(&mut self) -> FatalError {
        (&mut self.failed).await.unwrap_or(FatalError::UnexpectedEnd)
    }

    /// Returns a waiter, for responses that have no log entry.
    #[must_use]
    pub fn waiter(&self) -> DurabilityWaiter {
        DurabilityWaiter::new(self.state.subscribe())
    }
}

impl Drop for DurabilityWorker {
    fn drop(&mut self) {
        self.groups = None;
        self.thread.take().map(JoinHandle::join);
    }
}

/// A durable checkpoint that the anchor does not hold yet.
struct UnanchoredCheckpoint {
    head: TreeHead,
    note: String,
    ticket: u64,
}

/// The state of the thread.
struct DurabilityThread {
    anchor: Anchor,
    anchor_writes: WriteReporter,
    head: watch::Sender<TreeHead>,
    notifier: MailboxNotifier,
    state: watch::Sender<DurabilityState>,
    /// The newest checkpoint, while the anchor cannot be written.
    unanchored: Option<UnanchoredCheckpoint>,
    progress: TaskProgress,
    metrics: CommitMetrics,
}

impl DurabilityThread {
    fn run(mut self, committed: &Receiver<CommittedGroup>) -> Result<(), FatalError> {
        loop {
            let received = match self.unanchored {
                None => committed.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(_) => committed.recv_timeout(ANCHOR_RETRY_INTERVAL),
            };
            self.progress.mark();
            match received {
                Ok(first) => {
                    let mut groups = vec![first];
                    groups.extend(committed.try_iter());
                    self.finish_groups(groups)?;
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.write_anchor()?;
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            self.progress.idle();
        }
    }

    /// Syncs, anchors and answers some groups. The newest covers those before it: one sync makes all of them durable,
    /// and its checkpoint includes their entries.
    fn finish_groups(&mut self, mut groups: Vec<CommittedGroup>) -> Result<(), FatalError> {
        let synced_from = Instant::now();
        // Of several commits, one of another node may be the newest; it is synced already.
        let unsynced = groups.iter().rev().find(|group| !group.unsynced.is_synced());
        unsynced.map_or(Ok(()), |group| group.unsynced.sync()).map_err(FatalError::Disk)?;
        self.metrics.observe(CommitStage::Sync, synced_from.elapsed());
        for pending in groups.iter_mut().flat_map(|group| &mut group.members) {
            pending.stages.enter(CommitStage::Anchor);
        }
        // The groups are durable. A crash from here on loses outcomes, not exchanges: a retry gets the stored reply.
        // Streams are notified in any case, because nothing notifies them again once the anchor can be written.
        let members = groups.iter().flat_map(|group| &group.members);
        self.notifier.notify(members.flat_map(|pending| pending.proposal.organisations_to_notify()));
        let mut outcomes = Vec::new();
        for CommittedGroup { head, note, members, receipts, ticket, .. } in groups {
            self.unanchored = Some(UnanchoredCheckpoint { head, note, ticket });
            outcomes.extend(members.into_iter().zip(receipts));
        }
        // The anchor is written before any outcome is sent, so no answered exchange is newer than the anchor.
        let anchored_from = Instant::now();
        let is_anchored = self.write_anchor()?;
        self.metrics.observe(CommitStage::Anchor, anchored_from.elapsed());
        for (PendingProposal { proposal, reply_to, .. }, receipt) in outcomes {
            let committed = CommitOutcome::Committed { receipt: Box::new(receipt), reply: proposal.reply };
            reply_to.send(if is_anchored { committed } else { CommitOutcome::Unavailable }).ok();
        }
        Ok(())
    }

    /// Writes the newest checkpoint to the anchor, and publishes that it and all before it are durable. Returns false
    /// if the anchor cannot be written; the write may then be retried.
    fn write_anchor(&mut self) -> Result<bool, FatalError> {
        let Some(UnanchoredCheckpoint { head, note, ticket }) = &self.unanchored else { return Ok(true) };
        let anchored = *self.head.borrow();
        if head.size < anchored.size || (head.size == anchored.size && head.root != anchored.root) {
            let two_logs = "a checkpoint was signed that does not continue the one in the anchor";
            return Err(FatalError::Diverged(StoreError::Inconsistent(two_logs)));
        }
        if let Err(error) = self.anchor.write(note) {
            self.anchor_writes.report_failure(&error);
            self.state.send_modify(|state| state.refuse(*ticket));
            return Ok(false);
        }
        self.anchor.sync().map_err(FatalError::Anchor)?;
        self.anchor_writes.report_success();
        self.head.send_replace(*head);
        self.state.send_modify(|state| state.settle(*ticket, head.size));
        self.unanchored = None;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::super::write_reporter::WriteTarget;
    use super::*;
    use crate::clock::Instant;
    use crate::tlog::leaf_hash;

    fn group(worker: &DurabilityWorker, head: TreeHead, note: &str) -> CommittedGroup {
        CommittedGroup {
            head,
            note: note.to_owned(),
            members: Vec::new(),
            receipts: Vec::new(),
            unsynced: UnsyncedCommit::ALREADY_SYNCED,
            ticket: worker.take_ticket(),
        }
    }

    #[tokio::test]
    async fn a_second_checkpoint_of_one_size_is_not_anchored_and_ends_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("anchor");
        Anchor::create(&path, "empty").unwrap();
        let head = |size, content: &[u8]| TreeHead {
            size,
            time: Instant::from_micros(0).unwrap(),
            root: leaf_hash(content),
        };
        let (published, notifier) = (watch::Sender::new(head(0, b"")), MailboxNotifier::default());
        let (anchor, progress) = (Anchor::open(&path).unwrap().0, TaskProgress::default());
        let writes = WriteReporter::new(WriteTarget::Anchor, watch::Sender::default());
        let mut worker = DurabilityWorker::new(
            (anchor, writes),
            published,
            notifier,
            (progress, CommitMetrics::default()),
        );
        let first = group(&worker, head(1, b"one log"), "first");
        worker.enqueue(first);
        assert!(worker.waiter().wait(1).await);
        let second = group(&worker, head(1, b"another log"), "second");
        worker.enqueue(second);
        assert!(matches!(worker.failed().await, FatalError::Diverged(StoreError::Inconsistent(_))));
        drop(worker);
        assert_eq!(Anchor::read_newest_note(&path).unwrap(), "first");
    }
}
