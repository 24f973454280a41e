//! Answers leave only when the anchor holds their checkpoint. A thread of its own writes and syncs the anchor,
//! once for all groups that were committed while it was busy, so that the next transaction does not wait for
//! the disk twice.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::anchor::Anchor;
use super::proposal::Outcome;
use super::queue::Pending;
use crate::proto::v1::Receipt;

/// A group that was committed: not answered yet.
pub struct Committed {
    /// Its signed checkpoint.
    pub note: String,
    /// Its members, in order.
    pub members: Vec<Pending>,
    /// A receipt each.
    pub receipts: Vec<Receipt>,
}

/// The committer's end. Dropping it waits until everything committed is answered, and gives up the anchor.
pub struct Answers {
    to: Option<Sender<Committed>>,
    failed: oneshot::Receiver<io::Error>,
    thread: Option<JoinHandle<()>>,
}

impl Answers {
    /// Starts the thread that owns the anchor.
    #[must_use]
    pub fn new(anchor: Anchor) -> Self {
        let (to, committed) = channel();
        let (fail, failed) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            if let Err(error) = run(anchor, &committed) {
                fail.send(error).ok();
            }
        });
        Self { to: Some(to), failed, thread: Some(thread) }
    }

    /// Hands on a group that is durable in the database. After a failure of the disk nobody takes it: its
    /// members are told that nothing is known, by the end of their channels.
    pub fn give(&self, committed: Committed) {
        self.to.as_ref().and_then(|to| to.send(committed).ok());
    }

    /// Waits for a failed sync of the anchor: the process must end then.
    pub async fn failed(&mut self) -> io::Error {
        (&mut self.failed).await.unwrap_or_else(|_| io::Error::other("the anchor's thread broke off"))
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.to = None;
        self.thread.take().map(JoinHandle::join);
    }
}

fn run(mut anchor: Anchor, committed: &Receiver<Committed>) -> io::Result<()> {
    while let Ok(first) = committed.recv() {
        // The newest checkpoint stands for those before it.
        let mut groups = vec![first];
        groups.extend(committed.try_iter());
        let written = groups.last().map_or(Ok(()), |newest| anchor.write(&newest.note));
        if let Err(error) = written {
            tracing::warn!(error = %error, "the anchor cannot be written");
            groups.into_iter().flat_map(|group| group.members).for_each(unavailable);
            continue;
        }
        anchor.sync()?;
        for Committed { members, receipts, .. } in groups {
            for (pending, receipt) in members.into_iter().zip(receipts) {
                let reply = pending.proposal.reply;
                pending.answer.send(Outcome::Committed { receipt: Box::new(receipt), reply }).ok();
            }
        }
    }
    Ok(())
}

fn unavailable(pending: Pending) {
    pending.answer.send(Outcome::Unavailable).ok();
}
