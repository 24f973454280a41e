//! Subjects whose alerts could not be raised or closed.

use std::collections::HashMap;
use std::fmt::Display;
use std::time::Duration;

use tokio::time::Instant;

use crate::exchange::{Reason, Refusal};

/// Interval before subjects that failed are retried.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// How often each rule, and the evaluation of moments, failed with each subject. A failure of one subject does not affect the others.
#[derive(Default)]
pub(super) struct Failures {
    counts: HashMap<(&'static str, String), u32>,
    retry: Option<Instant>,
}

impl Failures {
    /// Counts a failure with one subject of a rule, or of the moments, so that the others can continue. It logs the
    /// first, second, fourth, eighth failure and so on, with the subject's id, which does not identify a child.
    ///
    /// # Errors
    /// The refusal itself when the whole database is unavailable, because that affects every subject.
    pub(super) fn record(
        &mut self,
        work: &'static str,
        subject: &impl Display,
        refusal: Refusal,
    ) -> Result<(), Refusal> {
        if refusal.reason == Reason::LogUnavailable {
            return Err(refusal);
        }
        let count = self.counts.entry((work, subject.to_string())).or_default();
        *count = count.saturating_add(1);
        if count.is_power_of_two() {
            tracing::error!(
                %subject,
                work,
                reason = refusal.reason.name(),
                failures = *count,
                "the alerts of a subject could not be raised, escalated or closed; other subjects are not affected"
            );
        }
        self.schedule_retry();
        Ok(())
    }

    /// Has failed subjects retried after the interval, unless they are retried before.
    pub(super) fn schedule_retry(&mut self) {
        self.retry.get_or_insert_with(|| Instant::now() + RETRY_INTERVAL);
    }

    /// Clears the failures with a subject that succeeded.
    pub(super) fn clear(&mut self, work: &'static str, subject: &impl Display) {
        if self.counts.is_empty() {
            return;
        }
        if let Some(failures) = self.counts.remove(&(work, subject.to_string())) {
            tracing::info!(%subject, failures, "the alerts of a subject are processed again");
        }
    }

    /// Returns whether a retry of failed subjects is due, and clears it.
    pub(super) fn take_due(&mut self) -> bool {
        self.retry.take_if(|due| *due <= Instant::now()).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_retry_is_due_once_for_each_time_it_is_scheduled() {
        let mut failures = Failures::default();
        for _ in 0..2 {
            assert!(!failures.take_due());
            failures.schedule_retry();
            assert!(!failures.take_due(), "not before the interval");
            tokio::time::advance(RETRY_INTERVAL).await;
            assert!(failures.take_due());
        }
        assert!(!failures.take_due());
    }
}
