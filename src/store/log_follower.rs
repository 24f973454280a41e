//! The log follower: polls the database once a second, and sooner after PostgreSQL's NOTIFY, for entries that other
//! nodes have appended. It notifies the organisations that they name, has the newest checkpoint written to the anchor,
//! and ends the process if the database does not continue the log. It also compares this node's clock with the
//! database's.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use tokio::sync::Notify;

use super::committer::Committer;
use super::condition::NodeCondition;
use super::fatal::FatalError;
use super::fault_log::{FaultLog, error_chain};
use super::log::{MAX_CATCH_UP_ENTRIES, SeenHead, TreeHead, db_int, load_head_continuing};
use super::sql::{Conn, Database, StoreError};
use super::task_progress::TaskProgress;
use crate::clock::Clock;
use crate::proto::v1::EntryOpenings;
use crate::tlog::LogKeyHistory;

/// Minimum interval between polls, whatever the hints: a busy node sends a NOTIFY with each commit.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(250);
/// Maximum wait for a hint after that, so that the log is polled once a second in any case.
const MAX_HINT_WAIT: Duration = Duration::from_millis(750);
/// Maximum time of one poll.
const MAX_POLL_TIME: Duration = Duration::from_secs(3);
/// Maximum difference between this node's clock and PostgreSQL's.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(2);

/// The task that polls the database for the entries of other nodes.
pub struct LogFollower {
    database: Database,
    committer: Committer,
    key_history: LogKeyHistory,
    system_clock: Arc<dyn Clock>,
    primary_faults: FaultLog,
}

impl LogFollower {
    /// Makes a follower that reports to `committer`. `real` is the clock that is compared with the database's.
    #[must_use]
    pub fn new(
        database: Database,
        committer: Committer,
        key_history: LogKeyHistory,
        system_clock: Arc<dyn Clock>,
    ) -> Self {
        Self { database, committer, key_history, system_clock, primary_faults: FaultLog::new() }
    }

    /// Polls until the database no longer continues this node's log.
    ///
    /// # Errors
    /// [`FatalError`]; the function does not return otherwise.
    pub async fn run(self, progress: TaskProgress) -> Result<(), FatalError> {
        let hint = Notify::new();
        tokio::select! {
            fatal = self.poll_loop(&hint, &progress) => Err(fatal),
            () = self.database.listen_for_commits(|| hint.notify_one()) => Err(FatalError::UnexpectedEnd),
            () = self.database.keep_connections() => Err(FatalError::UnexpectedEnd),
        }
    }

    async fn poll_loop(&self, hint: &Notify, progress: &TaskProgress) -> FatalError {
        loop {
            progress.mark();
            if let Err(fatal) = self.poll().await {
                return fatal;
            }
            tokio::time::sleep(MIN_POLL_INTERVAL).await;
            tokio::time::timeout(MAX_HINT_WAIT, hint.notified()).await.ok();
        }
    }

    /// Polls once.
    ///
    /// # Errors
    /// [`FatalError::Diverged`] if the database does not continue this node's log; [`FatalError::Damaged`].
    pub async fn poll(&self) -> Result<(), FatalError> {
        // Both are read before the database: later changes are for the next poll.
        let (known, pending) = (self.committer.known_head(), self.committer.notifier().take_pending());
        let error = match tokio::time::timeout(MAX_POLL_TIME, self.check_database(known, pending)).await {
            Ok(Ok((clock_off, durability_fault))) => {
                self.primary_faults.clear();
                self.report_durability(durability_fault);
                let is_news = self.update_condition(|now| NodeCondition {
                    database_unreachable: false,
                    clock_skewed: clock_off,
                    ..now
                });
                if is_news && clock_off {
                    tracing::error!(
                        "this node's clock differs from the database's: the node appends nothing"
                    );
                }
                return Ok(());
            }
            Ok(Err(error @ (StoreError::Inconsistent(_) | StoreError::Corrupt { .. }))) => {
                return Err(FatalError::Diverged(error));
            }
            Ok(Err(error @ StoreError::Damaged { .. })) => return Err(FatalError::Damaged(error)),
            Ok(Err(error)) => error_chain(&error),
            Err(elapsed) => elapsed.to_string(),
        };
        self.committer.notifier().mark_pending(pending);
        if self.update_condition(|now| NodeCondition { database_unreachable: true, ..now }) {
            tracing::warn!(error, "the log cannot be followed");
        }
        if let Err(error) = self.database.find_primary().await {
            let cause = error_chain(&error);
            if let Some(repeats) = self.primary_faults.due(&cause) {
                tracing::warn!(error = cause, repeats, "no primary was found");
            }
        }
        Ok(())
    }

    /// Updates the node's condition with why an acknowledged commit could be lost, and logs a change.
    fn report_durability(&self, fault: Option<&'static str>) {
        let is_news = self.committer.condition().send_if_modified(|now| {
            std::mem::replace(&mut now.not_durable, fault.is_some()) != fault.is_some()
        });
        match fault {
            Some(fault) if is_news => {
                tracing::error!(
                    "{fault}: an acknowledged commit could be lost, so this node appends nothing"
                );
            }
            None if is_news => {
                tracing::info!("PostgreSQL's settings lose no commit: this node appends again");
            }
            _ => {}
        }
    }

    /// Reads the newest tree head, notifies organisations, and reports the head to the committer. Returns whether this
    /// node's clock is off, and why an acknowledged commit could be lost.
    async fn check_database(
        &self,
        known: TreeHead,
        pending: u64,
    ) -> Result<(bool, Option<&'static str>), StoreError> {
        let mut conn = self.database.reader().await?;
        let durability_fault = conn.durability_fault().await?;
        let clock_off = self.is_clock_skewed(&mut conn).await?;
        let (head, note) =
            load_head_continuing(&mut conn, known.size, &known.root, &self.key_history).await?;
        self.notify_parties(&mut conn, pending.min(known.size), head.size).await?;
        if head.size > known.size {
            self.committer.report_seen_head(SeenHead { head, note });
        }
        Ok((clock_off, durability_fault))
    }

    /// Notifies the organisations that the entries `from..to` name; all organisations if there are too many entries.
    async fn notify_parties(&self, conn: &mut Conn, from: u64, to: u64) -> Result<(), StoreError> {
        let notifier = self.committer.notifier();
        if to.saturating_sub(from) > MAX_CATCH_UP_ENTRIES {
            notifier.notify_all();
            return Ok(());
        }
        if from >= to {
            return Ok(());
        }
        let sql = "SELECT caller, openings FROM entries WHERE idx >= $1 AND idx < $2";
        let mut named = BTreeSet::new();
        for row in conn.fetch(sql, vec![db_int(from).into(), db_int(to).into()]).await? {
            // Openings that do not decode may name any organisation.
            let Ok(openings) = EntryOpenings::decode(row.get_bytes("openings")?) else {
                notifier.notify_all();
                return Ok(());
            };
            named.insert(row.get::<String>("caller")?);
            named.extend(openings.parties.into_iter().map(|party| party.organisation));
        }
        notifier.notify(named.iter().map(String::as_str));
        Ok(())
    }

    /// Changes the node's condition. Returns whether it differs from before.
    fn update_condition(&self, change: impl Fn(NodeCondition) -> NodeCondition) -> bool {
        self.committer.condition().send_if_modified(|now| {
            let then = change(*now);
            then != std::mem::replace(now, then)
        })
    }

    /// Returns whether this node's clock is off. SQLite has no clock of its own. PostgreSQL's is read between two reads
    /// of this node's, so that the time of the query does not count as a difference.
    async fn is_clock_skewed(&self, conn: &mut Conn) -> Result<bool, StoreError> {
        let before = self.system_clock.now();
        let Some(clock) = conn.clock().await? else { return Ok(false) };
        let after = self.system_clock.now();
        let ahead = before.since(clock).as_secs_f64() - clock.since(after).as_secs_f64();
        self.committer.metrics().set_offset_from_database(ahead);
        Ok(clock.plus(MAX_CLOCK_SKEW) < before || clock.minus(MAX_CLOCK_SKEW) > after)
    }
}
