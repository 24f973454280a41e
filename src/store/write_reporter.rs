//! Reports whether the database and the anchor can be written: to the node's condition, which the health service
//! reports, and with the cause to the operator's log.

use std::error::Error;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::condition::NodeCondition;

/// Interval at which a failure that lasts is logged again.
const REPEAT_INTERVAL: Duration = Duration::from_mins(1);

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteTarget {
    /// The database.
    Database,
    /// The anchor.
    Anchor,
}

/// The reporter of the writes to one target.
pub struct WriteReporter {
    target: WriteTarget,
    condition: watch::Sender<NodeCondition>,
    /// When the present failure was last logged; `None` while writes succeed.
    failure_logged: Option<Instant>,
}

impl WriteReporter {
    /// Creates a reporter to a node's condition. Writes are taken to succeed until one fails.
    pub fn new(target: WriteTarget, condition: watch::Sender<NodeCondition>) -> Self {
        Self { target, condition, failure_logged: None }
    }

    /// Returns whether the last write failed.
    pub fn is_failing(&self) -> bool {
        self.failure_logged.is_some()
    }

    /// Reports that a write succeeded.
    pub fn report_success(&mut self) {
        if self.failure_logged.take().is_some() {
            self.set(false);
            tracing::warn!("the {} can be written again: calls are answered", self.target.name());
        }
    }

    /// Reports that a write failed.
    pub fn report_failure(&mut self, error: &(dyn Error + 'static)) {
        let is_due = self.failure_logged.is_none_or(|logged| logged.elapsed() >= REPEAT_INTERVAL);
        if is_due {
            self.failure_logged = Some(Instant::now());
            let source = error.source().map(ToString::to_string);
            tracing::error!(error = %error, source, "the {} cannot be written: nothing is answered", self.target.name());
        }
        self.set(true);
    }

    fn set(&self, fails: bool) {
        self.condition.send_if_modified(|condition| {
            let flag = match self.target {
                WriteTarget::Database => &mut condition.database_unwritable,
                WriteTarget::Anchor => &mut condition.anchor_unwritable,
            };
            std::mem::replace(flag, fails) != fails
        });
    }
}

impl WriteTarget {
    fn name(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Anchor => "anchor",
        }
    }
}
