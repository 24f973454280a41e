//! What the checks of the alert scheduler share: the pipeline, the failures and the progress marker.

use std::sync::Arc;

use super::failures::Failures;
use super::rule::MomentState;
use super::rule_book::RuleBook;
use crate::calendar::Date;
use crate::exchange::{ExchangePipeline, Method};
use crate::store::TaskProgress;

/// Method name in entries in which the gateway checked what was due, raised alerts, or closed an alert. It is not
/// callable.
pub const ALERT_METHOD: &Method = &Method::of_system_exchange("/apgateway.v1/alert");

/// Rows that one query reads.
pub(super) const ROWS_PER_STEP: i64 = 500;
/// Maximum number of queries of one rule, and of the check of open alerts, in one tick.
pub(super) const MAX_STEPS: usize = 1_000;

/// What the check of due subjects and that of open alerts use.
pub(super) struct CheckContext {
    pub(super) pipeline: Arc<ExchangePipeline>,
    pub(super) failures: Failures,
    pub(super) progress: TaskProgress,
    pub(super) book: Arc<RuleBook>,
}

impl CheckContext {
    /// Returns the state now.
    pub(super) fn moment_state(&self) -> MomentState {
        MomentState {
            day: Date::in_london(self.pipeline.clock.now()),
            log_size: self.pipeline.committer.head().borrow().size,
        }
    }
}
