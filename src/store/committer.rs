//! The committer: one thread a node, the only one that writes. It takes a group of proposals and makes all
//! their rows, their entries and one signed checkpoint durable in one transaction; only then does anyone
//! get an answer.
//!
//! The order is the design, and each step says what a crash there would mean:
//! lock → group → head → guards → rows and entries → tree → checkpoint → COMMIT → sync → anchor → answers.
//! The last three are [`Answers`]', while the next group is taken.

use std::sync::Arc;

use tokio::sync::{oneshot, watch};

use super::anchor::Anchor;
use super::answers::{Answers, Committed, Settled};
use super::bells::Bells;
use super::folding::Folding;
use super::follow::{Condition, Seen};
use super::group::{self, Held, Plan};
use super::key::Key;
use super::log::{Head, Tip, UnderLock};
use super::proposal::{Outcome, Proposal, Remembered};
use super::queue::{Pending, Queue, Slot};
use super::sql::{Conn, Database, StoreError, Unsynced};
use super::write::{self, Written};
use crate::clock::Clock;
use crate::tlog::Signer;

/// A group of 256 is halved at most this often until the culprit stands alone.
const HALVINGS: usize = 10;

/// Pages that a group writes beside one for each of its rows, about.
const GROUP_PAGES: usize = 8;

/// The door's end of the committer. Cheap to clone.
#[derive(Clone)]
pub struct Committer {
    queue: Arc<Queue>,
    head: watch::Receiver<Head>,
    bells: Bells,
    seen: watch::Sender<Option<Seen>>,
    condition: watch::Sender<Condition>,
    settled: Settled,
}

/// The committer's own state; [`super::Appending`] runs it.
pub struct Appender {
    database: Database,
    queue: Arc<Queue>,
    tip: Tip,
    signer: Signer,
    answers: Answers,
    clock: Arc<dyn Clock>,
    /// How far the log is known to be durable.
    head: watch::Receiver<Head>,
    bells: Bells,
    /// What was seen of other nodes' entries.
    seen: watch::Receiver<Option<Seen>>,
    condition: watch::Receiver<Condition>,
    folding: Folding,
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
        let answers = Answers::new(anchor, sender, bells.clone());
        let settled = answers.settled();
        let appender = Appender {
            folding: Folding::start(&database, fold_after),
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
        (Self { queue, head, bells, seen: see, condition, settled }, appender)
    }

    /// A place for one exchange of the organisation, `None` when too many of its are in flight. Taken
    /// before deciding, so that a flood costs nothing.
    #[must_use]
    pub fn reserve(&self, organisation: &str) -> Option<Slot> {
        self.queue.reserve(organisation)
    }

    /// Commits a proposal. When this returns [`Outcome::Committed`] everything in it is durable, here and
    /// in the anchor; with any other outcome nothing of it has an effect, except that after
    /// [`Outcome::Unavailable`] this is not known.
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

    /// The queue, which tests hold to fill a group.
    #[must_use]
    pub fn queue(&self) -> &Queue {
        &self.queue
    }
}

/// Who is to be committed.
enum Part {
    /// Whoever waits once it is this node's turn.
    Waiting,
    /// Some of a group that the database refused.
    Halved(Vec<Pending>),
}

/// What became of an attempt to commit some members.
enum Attempt {
    /// Everyone has an answer or waits for the next group.
    Done,
    /// The database refused something of it: nothing was done.
    Refused(Vec<Pending>),
}

impl Appender {
    /// Commits groups until it is stopped or the disk fails.
    ///
    /// # Errors
    /// [`Fatal`]: the process must end, non-zero, without answering anyone.
    pub(super) async fn run(mut self, mut stopped: oneshot::Receiver<()>) -> Result<(), Fatal> {
        loop {
            tokio::select! {
                () = self.queue.ready() => self.commit().await?,
                fatal = self.answers.failed() => return Err(fatal),
                Ok(()) = self.seen.changed() => self.keep_seen(),
                folded = self.folding.done() => self.fold_rest(folded).await?,
                _ = &mut stopped => return Ok(()),
            }
        }
    }

    /// Anchors what other nodes have appended: whatever is served after them must hold it.
    fn keep_seen(&mut self) {
        let seen = self.seen.borrow_and_update().clone();
        if let Some(Seen { head, note }) = seen
            && head.size > self.known()
        {
            let (members, receipts, ticket) = (Vec::new(), Vec::new(), self.answers.begin());
            self.answers.give(Committed { head, note, members, receipts, unsynced: Unsynced::NONE, ticket });
        }
    }

    /// Entries that this node has committed or seen.
    fn known(&self) -> u64 {
        self.head.borrow().size.max(self.tip.edge.size())
    }

    /// Commits a group, or halves of it until whoever the database refuses stands alone.
    async fn commit(&mut self) -> Result<(), Fatal> {
        let mut work = vec![Part::Waiting];
        for _ in 0..=HALVINGS * super::queue::GROUP {
            let Some(part) = work.pop() else { break };
            match self.attempt(part).await? {
                Attempt::Done => {}
                Attempt::Refused(mut part) if part.len() > 1 => {
                    let second = part.split_off(part.len() / 2);
                    work.push(Part::Halved(second));
                    work.push(Part::Halved(part));
                }
                Attempt::Refused(part) => {
                    for pending in part {
                        tracing::error!(exchange.id = %pending.proposal.exchange, "the database refused an exchange");
                        pending.answer.send(Outcome::Failed).ok();
                    }
                }
            }
        }
        Ok(())
    }

    /// Whoever is to be committed, by now.
    fn members(&self, part: Part) -> Vec<Pending> {
        match part {
            Part::Waiting => self.queue.take(),
            Part::Halved(members) => members,
        }
    }

    /// A transaction under the lock.
    async fn begin(&self) -> Result<Conn, StoreError> {
        let mut conn = self.database.writer().await?;
        match conn.begin_write().await {
            Ok(()) => Ok(conn),
            Err(error) => {
                conn.abandon().await;
                Err(error)
            }
        }
    }

    async fn attempt(&mut self, part: Part) -> Result<Attempt, Fatal> {
        if self.condition.borrow().clock_off {
            answer_unavailable(self.members(part));
            return Ok(Attempt::Done);
        }
        let begun = self.begin().await;
        // Only now, for while another node had its turn more have come.
        let group = self.members(part);
        let mut conn = match begun {
            Ok(conn) => conn,
            Err(error) => return Self::nothing_done(group, error),
        };
        let looked_up = self.look_up(&mut conn, &group).await;
        let (tip, held) = match looked_up {
            Ok(looked_up) => looked_up,
            Err(error) => {
                conn.abandon().await;
                return Self::nothing_done(group, error);
            }
        };
        let (Plan { members, answered, deferred }, versions) = group::plan(group, held);
        for (pending, outcome) in answered {
            pending.answer.send(outcome).ok();
        }
        self.queue.put_back(deferred);
        if members.is_empty() {
            conn.abandon().await;
            return Ok(Attempt::Done);
        }
        let written = write::group(&mut conn, tip, &members, &versions, &self.signer, self.clock.now()).await;
        let written = match written {
            Ok(written) => written,
            Err(error) => {
                conn.abandon().await;
                return Self::nothing_done(members, error);
            }
        };
        // A crash before this line leaves nothing; during it, all or nothing, which the retry finds out.
        let ticket = self.answers.begin();
        let unsynced = match conn.commit_unsynced().await {
            Ok(unsynced) => unsynced,
            Err(error) => {
                self.answers.forget(ticket);
                conn.abandon().await;
                return Self::nothing_known(members, error);
            }
        };
        drop(conn);
        let Written { tip, note, receipts } = written;
        let weights = members.iter().map(|pending| pending.proposal.weight());
        self.folding.written(GROUP_PAGES + weights.sum::<usize>());
        self.answers.give(Committed { head: tip.head(), note, members, receipts, unsynced, ticket });
        self.tip = tip;
        Ok(Attempt::Done)
    }

    /// Folds back what was written while the rest of the write-ahead log was folded back.
    async fn fold_rest(&mut self, folded: Result<(), StoreError>) -> Result<(), Fatal> {
        let rest = async {
            folded?;
            self.database.writer().await?.fold_back()
        };
        match rest.await {
            Err(error @ StoreError::Disk(_)) => Err(Fatal::Disk(error)),
            Err(error) => {
                tracing::warn!(error = %error, "the write-ahead log could not be folded back");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Reads under the lock all that the group asks about.
    async fn look_up(&mut self, conn: &mut Conn, group: &[Pending]) -> Result<(Tip, Held), StoreError> {
        let known = self.known();
        let read = UnderLock::read(conn, &self.tip, group::keys(group), group::request_ids(group)).await?;
        let tip = Tip::follow(conn, self.tip.clone(), self.signer.lineage(), &read).await?;
        if tip.edge.size() > known {
            self.bells.owe(known);
        }
        self.tip = tip.clone();
        let mut held = Held::default();
        for row in &read.versions {
            held.versions.insert(Key::from(row.blob(3)?.to_vec()), row.int(0)?);
        }
        for row in &read.requests {
            let remembered = Remembered { mac: row.blob(4)?.to_vec(), index: row.int(0)?.unsigned_abs() };
            held.requests.insert((row.text(2)?.to_owned(), row.id(3)?), remembered);
        }
        Ok((tip, held))
    }

    /// The transaction was not committed: its members are told so, or tried in halves.
    fn nothing_done(members: Vec<Pending>, error: StoreError) -> Result<Attempt, Fatal> {
        match error {
            StoreError::Disk(_) => Err(Fatal::Disk(error)),
            StoreError::Inconsistent(_) | StoreError::Corrupt { .. } | StoreError::Anchor { .. } => {
                Err(Fatal::Diverged(error))
            }
            StoreError::Refused(_) => Ok(Attempt::Refused(members)),
            StoreError::Full(_) | StoreError::Unreachable(_) => {
                tracing::warn!(error = %error, source = ?std::error::Error::source(&error), "the log cannot be written");
                answer_unavailable(members);
                Ok(Attempt::Done)
            }
        }
    }

    /// COMMIT failed: it may have happened. Nobody gets an answer that says otherwise.
    fn nothing_known(members: Vec<Pending>, error: StoreError) -> Result<Attempt, Fatal> {
        if let StoreError::Disk(_) = error {
            return Err(Fatal::Disk(error));
        }
        tracing::warn!(error = %error, "the outcome of a commit is not known");
        answer_unavailable(members);
        Ok(Attempt::Done)
    }
}

fn answer_unavailable(members: Vec<Pending>) {
    for pending in members {
        pending.answer.send(Outcome::Unavailable).ok();
    }
}
