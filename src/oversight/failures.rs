//! Subjects whose alerts could not be raised or closed.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::subject::Subject;
use crate::exchange::{Reason, Refusal};
use crate::proto::v1::AlertKind;

/// Interval before subjects that failed are retried.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// How often each rule failed with each subject. A failure of one subject does not affect the others.
#[derive(Default)]
pub(super) struct Failures {
    counts: HashMap<(AlertKind, Subject), u32>,
    retry: Option<Instant>,
}

impl Failures {
    /// Counts a failure of a rule with one subject, so that the others can continue. It logs the first, second, fourth,
    /// eighth failure and so on, with the subject's id, which does not identify a child.
    ///
    /// # Errors
    /// The refusal itself when the whole database is unavailable, because that affects every subject.
    pub(super) fn record(
        &mut self,
        rule: AlertKind,
        subject: &Subject,
        refusal: Refusal,
    ) -> Result<(), Refusal> {
        if refusal.reason == Reason::LogUnavailable {
            return Err(refusal);
        }
        let count = self.counts.entry((rule, subject.clone())).or_default();
        *count = count.saturating_add(1);
        if count.is_power_of_two() {
            let Subject::Placement(placement) = subject;
            tracing::error!(
                placement.id = %placement,
                rule = rule.as_str_name(),
                reason = refusal.reason.name(),
                failures = *count,
                "the alerts of a placement could not be raised or closed; other placements are not affected"
            );
        }
        self.retry.get_or_insert_with(|| Instant::now() + RETRY_INTERVAL);
        Ok(())
    }

    /// Clears the failures of a rule with a subject that succeeded.
    pub(super) fn clear(&mut self, rule: AlertKind, subject: &Subject) {
        if self.counts.is_empty() {
            return;
        }
        if let Some(failures) = self.counts.remove(&(rule, subject.clone())) {
            let Subject::Placement(placement) = subject;
            tracing::info!(placement.id = %placement, failures, "the alerts of a placement are processed again");
        }
    }

    /// Returns whether a retry of failed subjects is due, and clears it.
    pub(super) fn take_due(&mut self) -> bool {
        self.retry.take_if(|due| *due <= Instant::now()).is_some()
    }
}
