//! Following the log: what other nodes have appended is seen within a second, at once where PostgreSQL hints
//! at it. Whoever waits for it is woken, it is kept in the anchor, and a database that does not continue what
//! was seen is not served any longer. Clocks are compared on the way.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::committer::{Committer, Fatal};
use super::log::{Head, newest_after};
use super::sql::{Conn, Database, StoreError};
use crate::clock::Clock;
use crate::tlog::Verifier;

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
pub struct Condition {
    /// The database does not answer.
    pub unreachable: bool,
    /// This node's clock is more than two seconds from the database's: it appends nothing.
    pub clock_off: bool,
    /// An entry of the log was changed.
    pub altered: bool,
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
    log_key: Verifier,
    real: Arc<dyn Clock>,
}

impl Follower {
    /// A follower that tells the committer; `real` is the clock that is compared with the database's.
    #[must_use]
    pub fn new(database: Database, committer: Committer, log_key: Verifier, real: Arc<dyn Clock>) -> Self {
        Self { database, committer, log_key, real }
    }

    /// Follows until the database's log is not this node's any more.
    pub async fn run(self) -> Fatal {
        let hint = Notify::new();
        tokio::select! {
            fatal = self.follow(&hint) => fatal,
            () = self.database.hear(|| hint.notify_one()) => Fatal::BrokeOff,
        }
    }

    async fn follow(&self, hint: &Notify) -> Fatal {
        loop {
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
        let seen = tokio::time::timeout(LOOK, self.seen()).await;
        let condition = self.committer.condition();
        match seen {
            Ok(Ok((seen, clock_off))) => {
                if clock_off && !condition.borrow().clock_off {
                    tracing::error!("this node's clock is not the database's: it appends nothing");
                }
                set(condition, |now| Condition { unreachable: false, clock_off, ..now });
                self.committer.overtaken(seen);
                return Ok(());
            }
            Ok(Err(error @ (StoreError::Inconsistent(_) | StoreError::Corrupt { .. }))) => {
                return Err(Fatal::Diverged(error));
            }
            Ok(Err(error)) => tracing::warn!(error = %error, "the log could not be followed"),
            Err(_) => tracing::warn!("the database did not answer in time"),
        }
        set(condition, |now| Condition { unreachable: true, ..now });
        if let Err(error) = self.database.find_primary().await {
            tracing::warn!(error = %error, "no primary was found");
        }
        Ok(())
    }

    async fn seen(&self) -> Result<(Seen, bool), StoreError> {
        let known = self.committer.known();
        let mut conn = self.database.reader().await?;
        let clock_off = self.is_clock_off(&mut conn).await?;
        let (head, note) = newest_after(&mut conn, known.size, &known.root, &self.log_key).await?;
        Ok((Seen { head, note }, clock_off))
    }

    /// Only PostgreSQL has a clock of its own. It was read between two looks at ours.
    async fn is_clock_off(&self, conn: &mut Conn) -> Result<bool, StoreError> {
        let before = self.real.now();
        let clock = conn.clock().await?;
        let after = self.real.now();
        Ok(clock.is_some_and(|clock| clock.plus(APART) < before || clock.minus(APART) > after))
    }
}

fn set(condition: &watch::Sender<Condition>, change: impl Fn(Condition) -> Condition) {
    condition.send_if_modified(|now| {
        let then = change(*now);
        then != std::mem::replace(now, then)
    });
}
