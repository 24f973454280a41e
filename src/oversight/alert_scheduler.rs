//! The alert scheduler: runs the rules of which a moment has occurred, raises the alerts that are due, closes alerts whose
//! cause is gone, and evaluates the moments that are due. It runs every second, and evaluates moments also when a commit
//! sets one to now. Each write is a system exchange on behalf of the subject's controller.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::alert_changes;
use super::check_context::{ALERT_METHOD, CheckContext, MAX_STEPS, ROWS_PER_STEP};
use super::due_moments::{DueMoments, Scope};
use super::failures::Failures;
use super::open_alerts::OpenAlerts;
use super::rule::{DuePosition, Moment, MomentState, Rule};
use super::rule_book::RuleBook;
use super::rule_id::RuleId;
use super::rules::RULES;
use super::subject::{DamagedSubject, Subject};
use crate::exchange::{ExchangePipeline, Reason, Refusal};
use crate::store::{FatalError, Snapshot, TaskProgress};

/// Interval between two ticks.
const TICK_INTERVAL: Duration = Duration::from_secs(1);
/// From the start of one check of open alerts to that of the next, in times of what the first took.
const CLOSE_PAUSE: u32 = 10;
/// Interval after a commit was looked at, in which further commits wait for each other.
const WAKE_INTERVAL: Duration = Duration::from_millis(50);
/// How often a tick evaluates what its own evaluations have set.
const MAX_FOLLOWING: usize = 2;
/// Moments at which the cause of an alert may end. A rule finds a cause by the versions of keys, which only commits
/// change.
const CLOSES_ON: &[Moment] = &[Moment::Commit];

/// The scheduler and the state that it keeps between ticks.
pub struct AlertScheduler {
    /// The pipeline and the state that both checks use.
    context: CheckContext,
    /// The state of things, by rule, when all that was due had been raised, except for subjects that failed.
    raised: HashMap<RuleId, MomentState>,
    /// The state of things when the open alerts were last checked.
    closed: Option<MomentState>,
    /// When they may be checked again. The check reads all of them, so it takes longer the more there are.
    close_from: tokio::time::Instant,
    /// How long the next check of open alerts waits, in times of what the last one took.
    close_pause: u32,
    open_alerts: OpenAlerts,
    due_moments: DueMoments,
    /// Whether the moments that were missing when the node started were set.
    missing_set: bool,
}

impl AlertScheduler {
    /// Creates a scheduler that has checked nothing yet.
    #[must_use]
    pub fn new(pipeline: Arc<ExchangePipeline>, book: Arc<RuleBook>) -> Self {
        let (failures, progress) = (Failures::default(), TaskProgress::default());
        Self {
            context: CheckContext { pipeline, failures, progress, book },
            raised: HashMap::new(),
            closed: None,
            close_from: tokio::time::Instant::now(),
            close_pause: CLOSE_PAUSE,
            open_alerts: OpenAlerts::default(),
            due_moments: DueMoments::default(),
            missing_set: false,
        }
    }

    /// Sets the progress marker that the supervisor watches.
    #[must_use]
    pub fn with_progress(mut self, progress: TaskProgress) -> Self {
        self.context.progress = progress;
        self
    }

    /// Checks the open alerts at each tick, for a caller that decides itself when a tick is, as a moved clock does.
    #[must_use]
    pub const fn without_pause(mut self) -> Self {
        self.close_pause = 0;
        self
    }

    /// Runs a tick every second until the node stops, and evaluates a moment that a commit sets to now at once. It uses
    /// the monotonic clock, so changes of the system time do not affect the intervals.
    ///
    /// # Errors
    /// None: it never returns.
    pub async fn run(mut self) -> Result<(), FatalError> {
        let mut interval = tokio::time::interval(TICK_INTERVAL);
        let mut head = self.context.pipeline.committer.head();
        loop {
            tokio::select! {
                biased;
                _ = interval.tick() => self.tick().await,
                Ok(()) = head.changed() => {
                    self.evaluate_set_moments().await;
                    tokio::time::sleep(WAKE_INTERVAL).await;
                }
            }
        }
    }

    /// Evaluates the moments that were set since the last tick and are due, because a fact that matters now is to be seen
    /// within half a second.
    async fn evaluate_set_moments(&mut self) {
        self.context.progress.mark();
        if let Err(refusal) = self.due_moments.evaluate(&mut self.context, Scope::Set, false).await {
            log_failure(&refusal);
        }
    }

    /// Runs what is due once. The next tick retries what failed.
    pub async fn tick(&mut self) {
        self.context.progress.mark();
        let retry = self.context.failures.take_due();
        if !self.raise_and_close(retry).await {
            if retry {
                // It was taken, but the moments that failed were not evaluated again.
                self.context.failures.schedule_retry();
            }
            return;
        }
        if !self.missing_set {
            match self.context.set_missing_moments().await {
                Ok(()) => self.missing_set = true,
                Err(refusal) => log_failure(&refusal),
            }
        }
        // After alerts were closed, because one whose cause is gone is not escalated.
        if let Err(refusal) = self.due_moments.evaluate(&mut self.context, Scope::Due, retry).await {
            log_failure(&refusal);
        }
        // A look-up sets the moment of a provider's day, and that the moments of alerts.
        for _ in 0..MAX_FOLLOWING {
            self.evaluate_set_moments().await;
        }
    }

    /// Raises and closes the alerts for which that is due. Returns whether the moments can be evaluated.
    async fn raise_and_close(&mut self, retry: bool) -> bool {
        for rule in RULES {
            if let Err(refusal) = self.raise_if_due(*rule, retry).await {
                log_failure(&refusal);
                if refusal.reason == Reason::LogUnavailable {
                    return false;
                }
            }
        }
        let closed = self.close_if_due(retry).await;
        if let Err(refusal) = &closed {
            log_failure(refusal);
        }
        closed.is_ok()
    }

    /// Raises the alerts of a rule if one of its moments has occurred since it did so last, or a retry is due.
    async fn raise_if_due(&mut self, rule: &dyn Rule, retry: bool) -> Result<(), Refusal> {
        let present = self.context.moment_state();
        if self.context.book.running(rule.id(), present.day).is_none() {
            return Ok(());
        }
        if retry || present.has_passed(rule.raises_on(), self.raised.get(&rule.id())) {
            self.raised.remove(&rule.id());
            self.context.raise_due(rule).await?;
            self.raised.insert(rule.id(), present);
        }
        Ok(())
    }

    /// Closes the alerts whose cause is gone, if a cause may have ended since it did so last, or a retry is due.
    async fn close_if_due(&mut self, retry: bool) -> Result<(), Refusal> {
        let (present, begun) = (self.context.moment_state(), tokio::time::Instant::now());
        if retry {
            // Also if it is not yet time for the next check.
            self.closed = None;
        }
        if begun >= self.close_from && present.has_passed(CLOSES_ON, self.closed.as_ref()) {
            self.closed = None;
            self.open_alerts.close_obsolete(&mut self.context).await?;
            self.closed = Some(present);
            self.close_from = begun + begun.elapsed() * self.close_pause;
        }
        Ok(())
    }
}

impl CheckContext {
    /// Raises what a rule finds due, one subject at a time. A failure of one subject does not affect the others.
    async fn raise_due(&mut self, rule: &dyn Rule) -> Result<(), Refusal> {
        let (now, mut after) = (self.pipeline.clock.now(), DuePosition::START);
        for _ in 0..MAX_STEPS {
            // A snapshot of its own for each page, because none is held while the exchanges below wait for theirs.
            let mut snapshot = Snapshot::new(self.pipeline.log.database());
            let page = rule.list_due(&mut snapshot, now, &after, ROWS_PER_STEP).await?;
            drop(snapshot);
            let Some(last) = page.last else { return Ok(()) };
            after = last;
            let mut subjects = BTreeSet::new();
            for subject in page.subjects {
                match subject {
                    Ok(subject) => drop(subjects.insert(subject)),
                    Err(DamagedSubject { subject, error }) => {
                        self.failures.record(rule.id().as_str(), &subject, error.into())?;
                    }
                }
            }
            for subject in subjects {
                self.progress.mark();
                match self.raise_about(rule, &subject).await {
                    Ok(()) => self.failures.clear(rule.id().as_str(), &subject),
                    Err(refusal) => self.failures.record(rule.id().as_str(), &subject, refusal)?,
                }
            }
        }
        Ok(())
    }

    /// Raises the alerts about one subject.
    async fn raise_about(&self, rule: &dyn Rule, subject: &Subject) -> Result<(), Refusal> {
        // Uses a new snapshot, because a failed query may have ended the caller's.
        let mut snapshot = Snapshot::new(self.pipeline.log.database());
        let Some(controller) = subject.controller(&mut snapshot).await? else { return Ok(()) };
        drop(snapshot);
        let decide = |cx, permit| alert_changes::raise_alerts(cx, permit, (rule, &self.book), subject);
        self.pipeline.submit_system_exchange(ALERT_METHOD, &controller, decide).await
    }
}

fn log_failure(refusal: &Refusal) {
    tracing::warn!(
        reason = refusal.reason.name(),
        "the check of overdue items, open alerts and moments failed"
    );
}
