//! Answers leave only when what they speak of is on the disk and the anchor holds their checkpoint. A thread of its
//! own syncs SQLite's write-ahead log and the anchor, once for all groups that were committed while it was busy, so
//! that the next transaction waits for neither.
//!
//! What a group wrote can be read before it is synced. Whoever reads it answers by an exchange of its own, which is
//! committed behind it and so synced with it; the few answers without one wait for [`Settled`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use tokio::sync::{oneshot, watch};

use super::anchor::Anchor;
use super::bells::Bells;
use super::committer::Fatal;
use super::log::Head;
use super::progress::Progress;
use super::proposal::Outcome;
use super::queue::Pending;
use super::sql::Unsynced;
use crate::proto::v1::Receipt;

/// Groups that wait for a sync to end before the next transaction waits too: with more of them each would be small,
/// and what a group costs by itself would weigh on fewer.
const WAITING: usize = 1;

/// A group that was committed: not durable and not answered yet.
pub struct Committed {
    /// The log with it.
    pub head: Head,
    /// Its signed checkpoint.
    pub note: String,
    /// Its members, in order.
    pub members: Vec<Pending>,
    /// A receipt each.
    pub receipts: Vec<Receipt>,
    /// What makes it durable.
    pub unsynced: Unsynced,
    /// Its ticket: what is seen with it is durable once the ticket is settled.
    pub ticket: u64,
}

/// The committer's end. Dropping it waits until everything committed is answered, and gives up the anchor.
pub struct Answers {
    to: Option<SyncSender<Committed>>,
    failed: oneshot::Receiver<Fatal>,
    thread: Option<JoinHandle<()>>,
    begun: Arc<AtomicU64>,
    settled: watch::Sender<u64>,
}

/// Waits until what can be read by now is durable. Cheap to clone.
#[derive(Clone)]
pub struct Settled {
    begun: Arc<AtomicU64>,
    settled: watch::Receiver<u64>,
}

impl Settled {
    /// Waits; false when it will never be known, for the committer has ended.
    pub async fn wait(&self) -> bool {
        let begun = self.begun.load(Ordering::Acquire);
        self.settled.clone().wait_for(|settled| *settled >= begun).await.is_ok()
    }
}

impl Answers {
    /// Starts the thread that owns the anchor. It tells how far the log is durable, and rings for those who have mail.
    #[must_use]
    pub fn new(anchor: Anchor, head: watch::Sender<Head>, bells: Bells, progress: Progress) -> Self {
        let (to, committed) = sync_channel(WAITING);
        let (fail, failed) = oneshot::channel();
        let settled = watch::Sender::new(0);
        let answering = Answering { anchor, head, bells, settled: settled.clone(), progress };
        let thread = std::thread::spawn(move || {
            if let Err(error) = answering.run(&committed) {
                fail.send(error).ok();
            }
        });
        Self { to: Some(to), failed, thread: Some(thread), begun: Arc::default(), settled }
    }

    /// A ticket for what is about to be committed. Taken before, for it can be read at once then.
    pub fn begin(&self) -> u64 {
        self.begun.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// What was about to be committed was not, or nobody will know.
    pub fn forget(&self, ticket: u64) {
        settle(&self.settled, ticket);
    }

    /// Hands on a group that was committed. After a failure of the disk nobody takes it: its members are told that
    /// nothing is known, by the end of their channels.
    pub fn give(&self, committed: Committed) {
        self.to.as_ref().and_then(|to| to.send(committed).ok());
    }

    /// Waits for a failed sync: the process must end then.
    pub async fn failed(&mut self) -> Fatal {
        (&mut self.failed).await.unwrap_or(Fatal::BrokeOff)
    }

    /// For those whose answers have no entry.
    #[must_use]
    pub fn settled(&self) -> Settled {
        Settled { begun: Arc::clone(&self.begun), settled: self.settled.subscribe() }
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.to = None;
        self.thread.take().map(JoinHandle::join);
    }
}

/// What the thread owns.
struct Answering {
    anchor: Anchor,
    head: watch::Sender<Head>,
    bells: Bells,
    settled: watch::Sender<u64>,
    progress: Progress,
}

impl Answering {
    fn run(mut self, committed: &Receiver<Committed>) -> Result<(), Fatal> {
        while let Ok(first) = committed.recv() {
            self.progress.mark();
            let mut groups = vec![first];
            groups.extend(committed.try_iter());
            self.answer(groups)?;
            self.progress.idle();
        }
        Ok(())
    }

    /// The newest group stands for those before it: its sync covers theirs, its checkpoint holds their entries.
    fn answer(&mut self, groups: Vec<Committed>) -> Result<(), Fatal> {
        let Some(newest) = groups.last() else { return Ok(()) };
        newest.unsynced.sync().map_err(Fatal::Disk)?;
        // Durable. A crash from here on loses answers, not exchanges: their retries get them. The anchor is written
        // before any answer, so no answered exchange is newer than it.
        self.head.send_if_modified(|head| {
            let is_news = newest.head.size > head.size;
            if is_news {
                *head = newest.head;
            }
            is_news
        });
        settle(&self.settled, newest.ticket);
        let members = groups.iter().flat_map(|group| &group.members);
        self.bells.ring(members.flat_map(|pending| pending.proposal.concerned()));
        if let Err(error) = self.anchor.write(&newest.note) {
            tracing::warn!(error = %error, "the anchor cannot be written");
            groups.into_iter().flat_map(|group| group.members).for_each(unavailable);
            return Ok(());
        }
        self.anchor.sync().map_err(Fatal::Anchor)?;
        for Committed { members, receipts, .. } in groups {
            for (pending, receipt) in members.into_iter().zip(receipts) {
                let reply = pending.proposal.reply;
                pending.answer.send(Outcome::Committed { receipt: Box::new(receipt), reply }).ok();
            }
        }
        Ok(())
    }
}

/// Settles a ticket and those before it.
fn settle(settled: &watch::Sender<u64>, ticket: u64) {
    settled.send_if_modified(|settled| {
        let is_news = ticket > *settled;
        *settled = (*settled).max(ticket);
        is_news
    });
}

fn unavailable(pending: Pending) {
    pending.answer.send(Outcome::Unavailable).ok();
}
