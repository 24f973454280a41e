//! The evaluation of moments that are due: each is one system exchange, in the order of their instants. It is decided
//! from the moment's own instant, so a node that was down does what it missed as if it had been there.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::check_context::{ALERT_METHOD, CheckContext, MAX_STEPS, ROWS_PER_STEP};
use super::subject::Subject;
use super::{alerts, moment_changes, placement_changes};
use crate::clock::Instant;
use crate::exchange::Refusal;
use crate::store::moment::{self, MomentPosition, MomentRow};
use crate::store::{Snapshot, StoreError};

/// What failures of moments are counted under.
const MOMENTS: &str = "moments";

/// How far the moments were evaluated.
pub(super) struct DueMoments {
    /// All moments that were due until then were evaluated, except those that failed.
    until: MomentPosition,
    /// All moments that were set up to this index, and were due by then, were evaluated, except those that failed.
    set_until: i64,
    /// Moments that failed: the instant and the subject.
    failed: BTreeSet<(i64, String)>,
}

impl Default for DueMoments {
    fn default() -> Self {
        Self { until: position(i64::MIN, -1), set_until: -1, failed: BTreeSet::new() }
    }
}

/// Returns the position behind all moments that are due at an instant and were set up to an index.
const fn position(due: i64, index: i64) -> MomentPosition {
    MomentPosition { due, index, ordinal: i64::MAX }
}

impl DueMoments {
    /// Evaluates the moments that are due, the earliest first.
    pub(super) async fn evaluate(&mut self, context: &mut CheckContext, retry: bool) -> Result<(), Refusal> {
        let now = context.pipeline.clock.now();
        let size = context.pipeline.committer.head().borrow().size;
        let set_until = i64::try_from(size).unwrap_or(i64::MAX) - 1;
        let mut due = self.list(context, (now, set_until)).await?;
        if retry {
            due.append(&mut self.failed);
        }
        for _ in 0..MAX_STEPS * usize::try_from(ROWS_PER_STEP).unwrap_or(1) {
            let Some((_, subject)) = due.pop_first() else { break };
            context.progress.mark();
            match context.evaluate_moment(&subject, now).await {
                Ok(next) => {
                    context.failures.clear(MOMENTS, &subject);
                    due.extend(next.filter(|next| *next <= now).map(|next| (next.micros(), subject)));
                }
                Err(refusal) => {
                    context.failures.record(MOMENTS, &subject, refusal)?;
                    self.failed.insert((now.micros(), subject));
                }
            }
        }
        // What is left because there was too much is found by the next tick.
        if due.is_empty() {
            (self.until, self.set_until) = (position(now.micros(), i64::MAX), set_until);
        }
        Ok(())
    }

    /// Lists the moments that became due since the last evaluation, and those that were set since then.
    async fn list(
        &self,
        context: &CheckContext,
        (now, set_until): (Instant, i64),
    ) -> Result<BTreeSet<(i64, String)>, Refusal> {
        let mut due = BTreeSet::new();
        let mut snapshot = Snapshot::new(context.pipeline.log.database());
        let (mut after, mut is_by_due) = (self.until, true);
        for _ in 0..MAX_STEPS {
            let found = if is_by_due {
                moment::list_due(&mut snapshot, after, now, ROWS_PER_STEP).await?
            } else if self.set_until < set_until {
                moment::list_set(&mut snapshot, after, now, ROWS_PER_STEP).await?
            } else {
                break;
            };
            match found.last() {
                Some((last, _)) => after = *last,
                None if is_by_due => (after, is_by_due) = (position(i64::MIN, self.set_until), false),
                None => break,
            }
            due.extend(found.into_iter().map(|(position, subject)| (position.due, subject)));
        }
        Ok(due)
    }
}

impl CheckContext {
    /// Evaluates the moment of a subject, if it is still due. Returns when the subject is evaluated next.
    async fn evaluate_moment(&self, subject: &str, now: Instant) -> Result<Option<Instant>, Refusal> {
        let mut snapshot = Snapshot::new(self.pipeline.log.database());
        let evaluated = EvaluatedSubject::parse(subject).ok_or_else(unreadable)?;
        let about = match evaluated {
            EvaluatedSubject::Alert(id) => {
                alerts::by_id(&mut snapshot, id).await?.ok_or_else(unreadable)?.subject
            }
            EvaluatedSubject::Placement(id) => Subject::Placement(id),
        };
        let Some(controller) = about.controller(&mut snapshot).await? else { return Ok(None) };
        drop(snapshot);
        let (book, pipeline) = (&*self.book, &self.pipeline);
        match evaluated {
            EvaluatedSubject::Alert(id) => {
                let decide =
                    |cx, permit| moment_changes::evaluate_alert(cx, permit, book, (id, subject, now));
                pipeline.submit_system_exchange(ALERT_METHOD, &controller, decide).await?;
            }
            EvaluatedSubject::Placement(id) => {
                let decide =
                    |cx, permit| placement_changes::evaluate_placement(cx, permit, book, (id, subject, now));
                pipeline.submit_system_exchange(ALERT_METHOD, &controller, decide).await?;
            }
        }
        let mut snapshot = Snapshot::new(self.pipeline.log.database());
        let newest: Option<MomentRow> = snapshot.newest(&moment::key(subject)).await?;
        Ok(newest.and_then(|moment| moment.due))
    }
}

/// What a moment evaluates.
#[derive(Clone, Copy)]
enum EvaluatedSubject {
    Alert(Uuid),
    Placement(Uuid),
}

impl EvaluatedSubject {
    fn parse(subject: &str) -> Option<Self> {
        let (kind, id) = subject.split_once('/')?;
        let id = Uuid::parse_str(id).ok()?;
        match kind {
            "alert" => Some(Self::Alert(id)),
            "placement" => Some(Self::Placement(id)),
            _ => None,
        }
    }
}

fn unreadable() -> StoreError {
    StoreError::corrupt("moments", "subject")
}
