//! Reports whether the database and the anchor can be written: to the node's condition, which the health service
//! reports, and with the cause to the operator's log.

use std::error::Error;

use tokio::sync::watch;

use super::condition::NodeCondition;
use super::fault_log::{FaultLog, error_chain};

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
    is_failing: bool,
    faults: FaultLog,
}

impl WriteReporter {
    /// Creates a reporter to a node's condition. Writes are taken to succeed until one fails.
    pub fn new(target: WriteTarget, condition: watch::Sender<NodeCondition>) -> Self {
        Self { target, condition, is_failing: false, faults: FaultLog::new() }
    }

    /// Returns whether the last write failed.
    pub fn is_failing(&self) -> bool {
        self.is_failing
    }

    /// Reports that a write succeeded.
    pub fn report_success(&mut self) {
        if std::mem::take(&mut self.is_failing) {
            self.faults.clear();
            self.set(false);
            tracing::warn!("the {} can be written again: calls are answered", self.target.name());
        }
    }

    /// Reports that a write failed.
    pub fn report_failure(&mut self, error: &(dyn Error + 'static)) {
        self.is_failing = true;
        let error = error_chain(error);
        if let Some(repeats) = self.faults.due(&error) {
            tracing::error!(
                error,
                repeats,
                "the {} cannot be written: nothing is answered",
                self.target.name()
            );
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
