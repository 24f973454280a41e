//! The durability worker: returns outcomes once the group is on the disk and its checkpoint is in the anchor. Its
//! thread syncs SQLite's write-ahead log and the anchor, once for all groups that were committed while it was busy, so
//! that the next transaction waits for neither sync.
//!
//! A group's rows can be read before they are synced. A response that shows them normally has a log entry of its own,
//! which is committed later and so synced with them or after them. The few responses without an entry wait for
//! [`DurabilityWaiter`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use tokio::sync::{oneshot, watch};

use super::anchor::Anchor;
use super::fatal::FatalError;
use super::log::TreeHead;
use super::mailbox_notifier::MailboxNotifier;
use super::proposal::CommitOutcome;
use super::queue::PendingProposal;
use super::sql::UnsyncedCommit;
use super::task_progress::TaskProgress;
use crate::proto::v1::Receipt;

/// Maximum number of committed groups that wait for a sync; the next transaction then waits too. A longer queue would
/// make groups smaller, so that the fixed cost of a group is shared by fewer proposals.
const MAX_QUEUED_GROUPS: usize = 1;

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
    /// The ticket that was taken before COMMIT; it advances once the group is durable.
    pub ticket: u64,
}

/// A handle to the durability thread. Dropping it waits until every committed proposal has its outcome, and closes
/// the anchor.
pub struct DurabilityWorker {
    groups: Option<SyncSender<CommittedGroup>>,
    failed: oneshot::Receiver<FatalError>,
    thread: Option<JoinHandle<()>>,
    last_ticket: Arc<AtomicU64>,
    waiter: watch::Sender<u64>,
}

/// A waiter for durability: it waits until all that can be read now is durable. Cheap to clone.
#[derive(Clone)]
pub struct DurabilityWaiter {
    last_ticket: Arc<AtomicU64>,
    durable_ticket: watch::Receiver<u64>,
}

impl DurabilityWaiter {
    /// Waits until all that can be read now is durable. Returns false if the committer ended before.
    pub async fn wait(&self) -> bool {
        let begun = self.last_ticket.load(Ordering::Acquire);
        self.durable_ticket.clone().wait_for(|durable| *durable >= begun).await.is_ok()
    }
}

impl DurabilityWorker {
    /// Starts the thread, which owns the anchor. It publishes the durable tree head and notifies organisations that
    /// have new deliveries.
    #[must_use]
    pub fn new(
        anchor: Anchor,
        head: watch::Sender<TreeHead>,
        notifier: MailboxNotifier,
        progress: TaskProgress,
    ) -> Self {
        let (to, committed) = sync_channel(MAX_QUEUED_GROUPS);
        let (fail, failed) = oneshot::channel();
        let waiter = watch::Sender::new(0);
        let answering = DurabilityThread { anchor, head, notifier, durable_ticket: waiter.clone(), progress };
        let thread = std::thread::spawn(move || {
            if let Err(error) = answering.run(&committed) {
                fail.send(error).ok();
            }
        });
        Self { groups: Some(to), failed, thread: Some(thread), last_ticket: Arc::default(), waiter }
    }

    /// Takes a ticket. Call it before COMMIT, because readers see the rows as soon as COMMIT returns.
    pub fn take_ticket(&self) -> u64 {
        self.last_ticket.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Gives up the ticket of a COMMIT that failed, so that nothing waits for it.
    pub fn abandon(&self, ticket: u64) {
        advance(&self.waiter, ticket);
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
        DurabilityWaiter {
            last_ticket: Arc::clone(&self.last_ticket),
            durable_ticket: self.waiter.subscribe(),
        }
    }
}

impl Drop for DurabilityWorker {
    fn drop(&mut self) {
        self.groups = None;
        self.thread.take().map(JoinHandle::join);
    }
}

/// The state of the thread.
struct DurabilityThread {
    anchor: Anchor,
    head: watch::Sender<TreeHead>,
    notifier: MailboxNotifier,
    durable_ticket: watch::Sender<u64>,
    progress: TaskProgress,
}

impl DurabilityThread {
    fn run(mut self, committed: &Receiver<CommittedGroup>) -> Result<(), FatalError> {
        while let Ok(first) = committed.recv() {
            self.progress.mark();
            let mut groups = vec![first];
            groups.extend(committed.try_iter());
            self.finish_groups(groups)?;
            self.progress.idle();
        }
        Ok(())
    }

    /// Syncs, anchors and answers some groups. The newest covers those before it: one sync makes all of them durable,
    /// and its checkpoint includes their entries.
    fn finish_groups(&mut self, groups: Vec<CommittedGroup>) -> Result<(), FatalError> {
        let Some(newest) = groups.last() else { return Ok(()) };
        newest.unsynced.sync().map_err(FatalError::Disk)?;
        // The groups are durable. A crash from here on loses outcomes, not exchanges: a retry gets the stored reply.
        // The anchor is written before any outcome is sent, so no answered exchange is newer than the anchor.
        self.head.send_if_modified(|head| {
            let is_news = newest.head.size > head.size;
            if is_news {
                *head = newest.head;
            }
            is_news
        });
        advance(&self.durable_ticket, newest.ticket);
        let members = groups.iter().flat_map(|group| &group.members);
        self.notifier.notify(members.flat_map(|pending| pending.proposal.organisations_to_notify()));
        if let Err(error) = self.anchor.write(&newest.note) {
            tracing::warn!(error = %error, "the anchor cannot be written");
            groups.into_iter().flat_map(|group| group.members).for_each(answer_unavailable);
            return Ok(());
        }
        self.anchor.sync().map_err(FatalError::Anchor)?;
        for CommittedGroup { members, receipts, .. } in groups {
            for (pending, receipt) in members.into_iter().zip(receipts) {
                let reply = pending.proposal.reply;
                pending.reply_to.send(CommitOutcome::Committed { receipt: Box::new(receipt), reply }).ok();
            }
        }
        Ok(())
    }
}

/// Advances the durable ticket to `ticket`; it never goes back.
fn advance(durable: &watch::Sender<u64>, ticket: u64) {
    durable.send_if_modified(|durable| {
        let is_news = ticket > *durable;
        *durable = (*durable).max(ticket);
        is_news
    });
}

fn answer_unavailable(pending: PendingProposal) {
    pending.reply_to.send(CommitOutcome::Unavailable).ok();
}
