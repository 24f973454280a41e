//! Following the log: what other nodes have appended is seen within a second, at once where PostgreSQL hints
//! at it. Whoever waits for it is woken, it is kept in the anchor, and a database that does not continue what
//! was seen is not served any longer. Clocks are compared on the way.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use tokio::sync::Notify;

use super::committer::{Committer, Fatal};
use super::log::{FEW, Head, newest_after, place};
use super::progress::Progress;
use super::sql::{Conn, Database, StoreError};
use crate::clock::Clock;
use crate::proto::v1::AuditEntry;
use crate::tlog::Lineage;

/// Rest after a look, whatever is hinted: a busy node hints at each of its commits.
const PACE: Duration = Duration::from_millis(250);
/// How long a hint is waited for after that: the log is looked at once a second in any case.
const POLL: Duration = Duration::from_millis(750);
/// How long one look may take.
const LOOK: Duration = Duration::from_secs(3);
/// How far this node's clock may be from PostgreSQL's.
const APART: Duration = Duration::from_secs(2);

/// What keeps a node from serving well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each holds or not, whatever the others do")]
pub struct Condition {
    /// The database does not answer.
    pub unreachable: bool,
    /// This node's clock is more than two seconds from the database's: it appends nothing.
    pub clock_off: bool,
    /// An entry of the log was changed.
    pub altered: bool,
    /// Whether any caller can be told from a revoked one.
    pub revocation: Revocation,
    /// The key ring lacks a key that is in use: the node appends nothing.
    pub key_missing: bool,
    /// A background task has made no progress for longer than it may.
    pub stalled: bool,
}

/// Whether revocation is known of any issuer's callers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Revocation {
    /// Of at least one.
    #[default]
    Known,
    /// The revocation lists of every issuer have lapsed: nobody is served.
    Unknown,
}

/// The newest of the log that was seen in the database, with its signed note.
#[derive(Clone)]
pub struct Seen {
    pub(super) head: Head,
    pub(super) note: String,
}

/// Follows the log in a database.
pub struct Follower {
    database: Database,
    committer: Committer,
    log_key: Lineage,
    real: Arc<dyn Clock>,
}

impl Follower {
    /// A follower that tells the committer; `real` is the clock that is compared with the database's.
    #[must_use]
    pub fn new(database: Database, committer: Committer, log_key: Lineage, real: Arc<dyn Clock>) -> Self {
        Self { database, committer, log_key, real }
    }

    /// Follows until the database's log is not this node's any more.
    ///
    /// # Errors
    /// [`Fatal`]: it never ends otherwise.
    pub async fn run(self, progress: Progress) -> Result<(), Fatal> {
        let hint = Notify::new();
        tokio::select! {
            fatal = self.follow(&hint, &progress) => Err(fatal),
            () = self.database.hear(|| hint.notify_one()) => Err(Fatal::BrokeOff),
        }
    }

    async fn follow(&self, hint: &Notify, progress: &Progress) -> Fatal {
        loop {
            progress.mark();
            if let Err(fatal) = self.look().await {
                return fatal;
            }
            tokio::time::sleep(PACE).await;
            tokio::time::timeout(POLL, hint.notified()).await.ok();
        }
    }

    /// Looks once.
    ///
    /// # Errors
    /// [`Fatal::Diverged`] when the database does not continue the log that was seen.
    pub async fn look(&self) -> Result<(), Fatal> {
        // Both before the database is asked: what happens meanwhile is for the next look.
        let (known, owed) = (self.committer.known(), self.committer.bells().take_owed());
        let error = match tokio::time::timeout(LOOK, self.seen(known, owed)).await {
            Ok(Ok(clock_off)) => {
                let is_news = self.set(|now| Condition { unreachable: false, clock_off, ..now });
                if is_news && clock_off {
                    tracing::error!("this node's clock is not the database's: it appends nothing");
                }
                return Ok(());
            }
            Ok(Err(error @ (StoreError::Inconsistent(_) | StoreError::Corrupt { .. }))) => {
                return Err(Fatal::Diverged(error));
            }
            Ok(Err(error)) => error.to_string(),
            Err(elapsed) => elapsed.to_string(),
        };
        self.committer.bells().owe(owed);
        if self.set(|now| Condition { unreachable: true, ..now }) {
            tracing::warn!(error, "the log cannot be followed");
        }
        if let Err(error) = self.database.find_primary().await {
            tracing::warn!(error = %error, source = ?std::error::Error::source(&error), "no primary was found");
        }
        Ok(())
    }

    /// Reads how far the log has come, and sees to what follows from it; whether this node's clock is off.
    async fn seen(&self, known: Head, owed: u64) -> Result<bool, StoreError> {
        let mut conn = self.database.reader().await?;
        let clock_off = self.is_clock_off(&mut conn).await?;
        let (head, note) = newest_after(&mut conn, known.size, &known.root, &self.log_key).await?;
        self.ring(&mut conn, owed.min(known.size), head.size).await?;
        if head.size > known.size {
            self.committer.overtaken(Seen { head, note });
        }
        Ok(clock_off)
    }

    /// Rings for those whom these entries name, so that they read what is new.
    async fn ring(&self, conn: &mut Conn, from: u64, to: u64) -> Result<(), StoreError> {
        let bells = self.committer.bells();
        if to.saturating_sub(from) > FEW {
            bells.ring_all();
            return Ok(());
        }
        if from >= to {
            return Ok(());
        }
        let sql = "SELECT bytes FROM entries WHERE idx >= $1 AND idx < $2";
        let mut named = BTreeSet::new();
        for row in conn.fetch(sql, vec![place(from).into(), place(to).into()]).await? {
            // An entry that does not decode may concern anyone.
            let Ok(entry) = AuditEntry::decode(row.blob(0)?) else {
                bells.ring_all();
                return Ok(());
            };
            if entry.counterpart_count as usize > entry.counterparts.len() {
                bells.ring_all();
                return Ok(());
            }
            named.insert(entry.organisation);
            named.extend(entry.counterparts);
        }
        bells.ring(named.iter().map(String::as_str));
        Ok(())
    }

    /// Changes the node's condition; whether that is news.
    fn set(&self, change: impl Fn(Condition) -> Condition) -> bool {
        self.committer.condition().send_if_modified(|now| {
            let then = change(*now);
            then != std::mem::replace(now, then)
        })
    }

    /// Only PostgreSQL has a clock of its own. It was read between two looks at ours.
    async fn is_clock_off(&self, conn: &mut Conn) -> Result<bool, StoreError> {
        let before = self.real.now();
        let clock = conn.clock().await?;
        let after = self.real.now();
        Ok(clock.is_some_and(|clock| clock.plus(APART) < before || clock.minus(APART) > after))
    }
}
