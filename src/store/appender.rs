//! The committer: one thread a node, the only one that writes. It takes a group of proposals and makes all
//! their rows, their entries and one signed checkpoint durable in one transaction; only then does anyone
//! get an answer.
//!
//! The order is the design, and each step says what a crash there would mean:
//! lock → group → head → guards → rows and entries → tree → checkpoint → COMMIT → sync → anchor → answers.
//! The last three are [`Answers`]', while the next group is taken.

use std::sync::Arc;

use tokio::sync::{oneshot, watch};

use super::answers::{Answers, Committed};
use super::bells::Bells;
use super::committer::Fatal;
use super::folding::Folding;
use super::follow::{Condition, Seen};
use super::group::{self, Held, Plan};
use super::key::Key;
use super::log::{Head, Tip, UnderLock};
use super::progress::Progress;
use super::proposal::{Outcome, Remembered};
use super::queue::{Pending, Queue};
use super::sql::{Conn, Database, StoreError, Unsynced};
use super::write::{self, Written};
use crate::clock::Clock;
use crate::tlog::Signer;

/// A group of 256 is halved at most this often until the culprit stands alone.
const HALVINGS: usize = 10;

/// Pages that a group writes beside one for each of its rows, about.
const GROUP_PAGES: usize = 8;

/// The committer's own state; [`super::Appending`] runs it.
pub struct Appender {
    pub(super) database: Database,
    pub(super) queue: Arc<Queue>,
    pub(super) tip: Tip,
    pub(super) signer: Signer,
    pub(super) answers: Answers,
    pub(super) clock: Arc<dyn Clock>,
    /// How far the log is known to be durable.
    pub(super) head: watch::Receiver<Head>,
    pub(super) bells: Bells,
    /// What was seen of other nodes' entries.
    pub(super) seen: watch::Receiver<Option<Seen>>,
    pub(super) condition: watch::Receiver<Condition>,
    pub(super) folding: Folding,
    pub(super) progress: Progress,
}

/// Who is to be committed.
enum Part {
    /// The proposals that wait once the lock is held.
    Waiting,
    /// Some of a group that the database refused.
    Halved(Vec<Pending>),
}

/// What the committer has to do next.
enum Event {
    /// Proposals wait.
    Queued,
    /// Another node's entries were seen.
    Seen,
    /// The write-ahead log was folded back, or was not.
    Folded(Result<(), StoreError>),
}

/// What became of an attempt to commit some members.
enum Attempt {
    /// Everyone has an answer or waits for the next group.
    Done,
    /// The database refused something of it: nothing was done.
    Refused(Vec<Pending>),
}

impl Drop for Appender {
    /// Answers whatever waits, also when the thread panics: no caller may wait for an answer that never comes.
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl Appender {
    /// Commits groups until it is stopped or the disk fails.
    ///
    /// # Errors
    /// [`Fatal`]: the process must end, non-zero, without answering anyone.
    pub(super) async fn run(mut self, mut stopped: oneshot::Receiver<()>) -> Result<(), Fatal> {
        loop {
            self.progress.idle();
            let event = tokio::select! {
                () = self.queue.ready() => Event::Queued,
                fatal = self.answers.failed() => return Err(fatal),
                Ok(()) = self.seen.changed() => Event::Seen,
                folded = self.folding.done() => Event::Folded(folded.ok_or(Fatal::BrokeOff)?),
                _ = &mut stopped => return Ok(()),
            };
            self.progress.mark();
            match event {
                Event::Queued => self.commit().await?,
                Event::Seen => self.keep_seen(),
                Event::Folded(folded) => self.fold_rest(folded).await?,
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
            self.progress.mark();
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

    /// Returns the proposals to commit now.
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
        let must_not_append = {
            let condition = self.condition.borrow();
            condition.clock_off || condition.key_missing
        };
        if must_not_append {
            answer_unavailable(self.members(part));
            return Ok(Attempt::Done);
        }
        let begun = self.begin().await;
        // Take the group only after the lock is held: more proposals arrive while another node holds it.
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
            // The committer reads without a limit, so that one cannot be exceeded here.
            StoreError::Refused(_) | StoreError::LimitExceeded => Ok(Attempt::Refused(members)),
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
