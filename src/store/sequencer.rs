//! The sequencer: the committer's thread, one a node, and the only code that writes. It takes a group of proposals
//! and makes their rows, their entries and one signed checkpoint durable in one transaction. No proposal gets its
//! outcome before that.
//!
//! The order of the steps matters; comments state what a crash after a step means:
//! lock → group → tree head → guards → rows and entries → tree → checkpoint → COMMIT → sync → anchor → outcomes.
//! [`DurabilityWorker`] does the last three while the next group is taken.

use std::sync::Arc;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::condition::NodeCondition;
use super::durability::{CommittedGroup, DurabilityWorker};
use super::fatal::FatalError;
use super::group_plan::{self, GroupLookups, GroupPlan};
use super::group_writer::{self, WrittenGroup};
use super::log::{LockedState, LogTree, SeenHead, TreeHead};
use super::mailbox_notifier::MailboxNotifier;
use super::proposal::{CommitOutcome, IdempotencyRecord};
use super::queue::{PendingProposal, ProposalQueue};
use super::sql::{Conn, Database, StoreError, UnsyncedCommit};
use super::task_progress::TaskProgress;
use super::wal_checkpointer::WalCheckpointer;
use super::write_probe::{self, PROBE_INTERVAL};
use super::write_reporter::WriteReporter;
use crate::clock::Clock;
use crate::metrics::{CommitMetrics, CommitStage};
use crate::tlog::Signer;

/// Maximum number of halvings until the one refused proposal of a group of 256 is alone.
const MAX_HALVINGS: usize = 10;

/// Estimated number of pages that a group writes in addition to one a row.
const PAGES_PER_GROUP: usize = 8;

/// The state of the committer's thread; [`super::SequencerHandle`] runs it.
pub struct Sequencer {
    pub(super) database: Database,
    pub(super) queue: Arc<ProposalQueue>,
    pub(super) tree: LogTree,
    /// Size of the newest tree whose checkpoint is in the anchor or enqueued for it.
    pub(super) anchored_or_enqueued: u64,
    pub(super) signer: Signer,
    pub(super) durability: DurabilityWorker,
    pub(super) clock: Arc<dyn Clock>,
    /// The newest tree head that is durable and anchored.
    pub(super) head: watch::Receiver<TreeHead>,
    pub(super) notifier: MailboxNotifier,
    /// The newest tree head of another node that was read from the database.
    pub(super) seen_head: watch::Receiver<Option<SeenHead>>,
    pub(super) condition: watch::Receiver<NodeCondition>,
    pub(super) writes: WriteReporter,
    pub(super) wal_checkpointer: WalCheckpointer,
    pub(super) progress: TaskProgress,
    pub(super) metrics: CommitMetrics,
}

/// The proposals of the next attempt.
enum GroupSource {
    /// Those that are in the queue once the lock is held.
    Waiting,
    /// Half of a group that the database refused.
    Half(Vec<PendingProposal>),
}

/// An event that the sequencer waits for.
enum Event {
    /// Proposals are in the queue.
    Queued,
    /// Another node has appended entries.
    OtherNodeAppended,
    /// A checkpoint of the write-ahead log ended.
    WalCheckpointed(Result<(), StoreError>),
    /// No group was committed for some time.
    ProbeDue,
}

/// The result of an attempt to commit some proposals.
enum Attempt {
    /// Each proposal has its outcome or waits for the next group.
    Done,
    /// The database refused at least one of them; nothing was written.
    Refused(Vec<PendingProposal>),
}

impl Drop for Sequencer {
    /// Answers every queued proposal, also when the thread panics, because its caller would wait for ever.
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl Sequencer {
    /// Commits groups until it is stopped or an error ends it.
    ///
    /// # Errors
    /// [`FatalError`]: the process must exit non-zero without answering any caller.
    pub(super) async fn run(mut self, mut stopped: oneshot::Receiver<()>) -> Result<(), FatalError> {
        loop {
            self.progress.idle();
            let event = tokio::select! {
                () = self.queue.ready() => Event::Queued,
                fatal = self.durability.failed() => return Err(fatal),
                Ok(()) = self.seen_head.changed() => Event::OtherNodeAppended,
                folded = self.wal_checkpointer.next_result() => Event::WalCheckpointed(folded.ok_or(FatalError::UnexpectedEnd)?),
                _ = &mut stopped => return Ok(()),
                () = tokio::time::sleep(PROBE_INTERVAL) => Event::ProbeDue,
            };
            self.progress.mark();
            match event {
                Event::Queued => self.commit().await?,
                Event::OtherNodeAppended => self.anchor_seen_head(),
                Event::WalCheckpointed(folded) => self.checkpoint_wal_rest(folded).await?,
                Event::ProbeDue => self.probe().await?,
            }
        }
    }

    /// Writes another node's newest checkpoint to this node's anchor, so that a database without its entries is
    /// never served again.
    fn anchor_seen_head(&mut self) {
        let seen = self.seen_head.borrow_and_update().clone();
        if let Some(SeenHead { head, note }) = seen
            && head.size > self.anchored_or_enqueued
        {
            let (members, receipts, ticket) = (Vec::new(), Vec::new(), self.durability.take_ticket());
            let unsynced = UnsyncedCommit::ALREADY_SYNCED;
            self.enqueue(CommittedGroup { head, note, members, receipts, unsynced, ticket });
        }
    }

    /// Has a group made durable and anchored, and its proposals answered.
    fn enqueue(&mut self, committed: CommittedGroup) {
        self.anchored_or_enqueued = committed.head.size;
        self.durability.enqueue(committed);
    }

    /// Returns the size of the newest tree that this node has committed or seen.
    fn known_size(&self) -> u64 {
        self.head.borrow().size.max(self.tree.range.size())
    }

    /// Commits a group. If the database refuses it, halves it until the refused proposal is alone.
    async fn commit(&mut self) -> Result<(), FatalError> {
        let mut work = vec![GroupSource::Waiting];
        for _ in 0..=MAX_HALVINGS * super::queue::MAX_GROUP_PROPOSALS {
            let Some(part) = work.pop() else { break };
            self.progress.mark();
            match self.attempt(part).await? {
                Attempt::Done => {}
                Attempt::Refused(mut part) if part.len() > 1 => {
                    let second = part.split_off(part.len() / 2);
                    work.push(GroupSource::Half(second));
                    work.push(GroupSource::Half(part));
                }
                Attempt::Refused(part) => {
                    for pending in part {
                        tracing::error!(exchange.id = %pending.proposal.exchange_id, "the database refused an exchange");
                        pending.reply_to.send(CommitOutcome::Failed).ok();
                    }
                }
            }
        }
        Ok(())
    }

    /// Returns the proposals to commit now.
    fn members(&self, part: GroupSource) -> Vec<PendingProposal> {
        match part {
            GroupSource::Waiting => {
                let mut group = self.queue.take_group();
                for pending in &mut group {
                    let waited = pending.stages.enter(CommitStage::Transaction);
                    self.metrics.observe(CommitStage::Queue, waited);
                }
                group
            }
            GroupSource::Half(members) => members,
        }
    }

    /// Begins a transaction and takes the lock.
    async fn begin(&self) -> Result<Conn, StoreError> {
        let mut conn = self.database.writer().await?;
        match conn.begin_write().await {
            Ok(()) => Ok(conn),
            Err(error) => {
                conn.rollback().await;
                Err(error)
            }
        }
    }

    /// Tries to commit a group in one transaction.
    async fn attempt(&mut self, part: GroupSource) -> Result<Attempt, FatalError> {
        let must_not_append = {
            let condition = self.condition.borrow();
            condition.clock_skewed || condition.key_missing || condition.not_durable
        };
        if must_not_append || self.clock.trusted_now().is_none() {
            answer_unavailable(self.members(part));
            return Ok(Attempt::Done);
        }
        let (begun, locked_at) = (self.begin().await, Instant::now());
        // Take the group only after the lock is held: more proposals arrive while another node holds it.
        let group = self.members(part);
        let mut conn = match begun {
            Ok(conn) => conn,
            Err(error) => return self.handle_failed_write(group, error),
        };
        let looked_up = self.look_up(&mut conn, &group).await;
        let (tree, held) = match looked_up {
            Ok(looked_up) => looked_up,
            Err(error) => {
                conn.rollback().await;
                return self.handle_failed_write(group, error);
            }
        };
        let (GroupPlan { mut members, answered, deferred }, versions) = group_plan::plan_group(group, held);
        for (pending, outcome) in answered {
            pending.reply_to.send(outcome).ok();
        }
        self.queue.put_back(deferred);
        if members.is_empty() {
            conn.rollback().await;
            return Ok(Attempt::Done);
        }
        let Some(now) = self.clock.trusted_now() else {
            conn.rollback().await;
            answer_unavailable(members);
            return Ok(Attempt::Done);
        };
        let written =
            group_writer::write_group(&mut conn, tree, &members, &versions, &self.signer, now).await;
        let written = match written {
            Ok(written) => written,
            Err(error) => {
                conn.rollback().await;
                return self.handle_failed_write(members, error);
            }
        };
        // A crash before COMMIT leaves nothing. A crash during COMMIT leaves the whole group or nothing; a retry with
        // the same request id finds out which. The ticket is taken before COMMIT, because readers see the rows as
        // soon as COMMIT returns.
        let ticket = self.durability.take_ticket();
        let unsynced = match conn.commit_unsynced().await {
            Ok(unsynced) => unsynced,
            Err(error) => {
                self.durability.abandon(ticket);
                conn.rollback().await;
                return self.handle_failed_commit(members, error);
            }
        };
        drop(conn);
        self.writes.report_success();
        self.metrics.observe(CommitStage::Transaction, locked_at.elapsed());
        self.metrics.observe_group(members.len());
        for pending in &mut members {
            pending.stages.enter(CommitStage::Sync);
        }
        let WrittenGroup { tree, note, receipts } = written;
        let weights = members.iter().map(|pending| pending.proposal.weight());
        self.wal_checkpointer.count_pages(PAGES_PER_GROUP + weights.sum::<usize>());
        self.enqueue(CommittedGroup { head: tree.head(), note, members, receipts, unsynced, ticket });
        self.tree = tree;
        Ok(Attempt::Done)
    }

    /// Checkpoints the frames that were written to the write-ahead log during the background checkpoint.
    async fn checkpoint_wal_rest(&mut self, folded: Result<(), StoreError>) -> Result<(), FatalError> {
        let rest = async {
            folded?;
            self.database.writer().await?.checkpoint_wal()
        };
        match rest.await {
            Err(error @ StoreError::Disk(_)) => Err(FatalError::Disk(error)),
            Err(error @ StoreError::Damaged { .. }) => Err(FatalError::Damaged(error)),
            Err(error) => {
                tracing::warn!(error = %error, "the write-ahead log could not be checkpointed");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Reads, under the lock, the tree and what the group's guards and request ids are checked against.
    async fn look_up(
        &mut self,
        conn: &mut Conn,
        group: &[PendingProposal],
    ) -> Result<(LogTree, GroupLookups), StoreError> {
        let known = self.known_size();
        let read = LockedState::load(
            conn,
            &self.tree,
            group_plan::guarded_keys(group),
            group_plan::request_ids(group),
        )
        .await?;
        let tree = LogTree::catch_up(conn, self.tree.clone(), self.signer.key_history(), &read).await?;
        if tree.range.size() > known {
            self.notifier.mark_pending(known);
        }
        self.tree = tree.clone();
        let mut held = GroupLookups::default();
        for row in &read.versions {
            held.versions.insert(row.get("bytes")?, row.get("number")?);
        }
        for row in &read.requests {
            let remembered =
                IdempotencyRecord { mac: row.get("mac")?, index: row.get::<i64>("number")?.unsigned_abs() };
            held.requests.insert((row.get("text")?, row.get("bytes")?), remembered);
        }
        Ok((tree, held))
    }

    /// Probes whether a group could be committed now.
    async fn probe(&mut self) -> Result<(), FatalError> {
        match write_probe::probe(&self.database, self.writes.is_failing()).await {
            Ok(pages) => {
                self.writes.report_success();
                self.wal_checkpointer.count_pages(pages);
                Ok(())
            }
            Err(error) => self.handle_failed_write(Vec::new(), error).map(drop),
        }
    }

    /// Handles an error before COMMIT, when nothing was written: answers `Unavailable`, or has the group halved.
    fn handle_failed_write(
        &mut self,
        members: Vec<PendingProposal>,
        error: StoreError,
    ) -> Result<Attempt, FatalError> {
        match error {
            StoreError::Disk(_) => Err(FatalError::Disk(error)),
            StoreError::Damaged { .. } => Err(FatalError::Damaged(error)),
            StoreError::Inconsistent(_) | StoreError::Corrupt { .. } | StoreError::Anchor { .. } => {
                Err(FatalError::Diverged(error))
            }
            // The committer reads without a limit, so that one cannot be exceeded here.
            StoreError::Refused(_) | StoreError::LimitExceeded => Ok(Attempt::Refused(members)),
            StoreError::Full(_)
            | StoreError::Unreachable(_)
            | StoreError::Unusable(_)
            | StoreError::NotDurable(_) => {
                self.writes.report_failure(&error);
                answer_unavailable(members);
                Ok(Attempt::Done)
            }
        }
    }

    /// Handles an error of COMMIT itself: the group may be committed or not, so each outcome is `Unavailable`.
    fn handle_failed_commit(
        &mut self,
        members: Vec<PendingProposal>,
        error: StoreError,
    ) -> Result<Attempt, FatalError> {
        match error {
            StoreError::Disk(_) => return Err(FatalError::Disk(error)),
            StoreError::Damaged { .. } => return Err(FatalError::Damaged(error)),
            _ => {}
        }
        if !self.writes.is_failing() {
            tracing::warn!("a COMMIT failed: its outcome is not known");
        }
        self.writes.report_failure(&error);
        answer_unavailable(members);
        Ok(Attempt::Done)
    }
}

fn answer_unavailable(members: Vec<PendingProposal>) {
    for pending in members {
        pending.reply_to.send(CommitOutcome::Unavailable).ok();
    }
}
