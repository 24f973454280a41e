//! The evaluation of moments that are due, in the order of their instants. Each is decided from its own instant, so a node
//! that was down does what it missed as if it had been there. The moment of an alert is one system exchange; those of one
//! commissioner's placements that are due at the same instant are one together, because a commit for each would take too
//! long when a day ends.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::check_context::{ALERT_METHOD, CheckContext, MAX_STEPS, ROWS_PER_STEP};
use super::due_subjects::{self, DueSubjects, EvaluatedSubject, FailedMoments, Together};
use super::rule_book::RuleBook;
use super::subject::Subject;
use super::{
    agreement_changes, alerts, delivery_changes, moment_changes, placement_changes, provider_changes,
};
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Change, Permit, Reason, Refusal, RequestContext};
use crate::placements::{moments, rows};
use crate::store::moment::{self, MomentPosition, MomentRow};
use crate::store::version_key::{KeyFamily, VersionKey};
use crate::store::{Snapshot, StoreError};

/// What failures of moments are counted under.
const MOMENTS: &str = "moments";
/// Maximum number of placements whose moments are evaluated in one exchange.
const MAX_GROUP: usize = 200;

/// Subjects that one query reads when a node starts.
const SUBJECTS_PER_STEP: i64 = 5_000;

/// How far the moments were evaluated.
pub(super) struct DueMoments {
    /// All moments that were due until then were evaluated, except those that failed.
    until: MomentPosition,
    /// All moments that were set up to this index, and were due by then, were evaluated, except those that failed.
    set_until: i64,
    /// Moments that failed.
    failed: FailedMoments,
}

impl Default for DueMoments {
    fn default() -> Self {
        Self { until: position(i64::MIN, -1), set_until: -1, failed: FailedMoments::default() }
    }
}

/// Returns the position behind all moments that are due at an instant and were set up to an index.
const fn position(due: i64, index: i64) -> MomentPosition {
    MomentPosition { due, index, ordinal: i64::MAX }
}

/// Which moments are evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// All that are due.
    Due,
    /// Those that were set since the last evaluation and are due.
    Set,
}

impl DueMoments {
    /// Evaluates the moments that are due, the earliest first. While some have failed a retry is due again later, because
    /// their instants lie before those up to which all were evaluated.
    pub(super) async fn evaluate(
        &mut self,
        context: &mut CheckContext,
        scope: Scope,
        retry: bool,
    ) -> Result<(), Refusal> {
        let evaluated = self.evaluate_due(context, scope, retry).await;
        if !self.failed.is_empty() {
            context.failures.schedule_retry();
        }
        evaluated
    }

    async fn evaluate_due(
        &mut self,
        context: &mut CheckContext,
        scope: Scope,
        retry: bool,
    ) -> Result<(), Refusal> {
        let now = context.pipeline.clock.now();
        let size = context.pipeline.committer.head().borrow().size;
        let set_until = i64::try_from(size).unwrap_or(i64::MAX) - 1;
        let mut due = self.list(context, scope, (now, set_until)).await?;
        if retry {
            due.extend(self.failed.iter().cloned());
        }
        let mut left = MAX_STEPS * usize::try_from(ROWS_PER_STEP).unwrap_or(1);
        while left > 0
            && let Some((at, together)) = due_subjects::pop_together(&mut due)
        {
            let subjects = together.subjects();
            left = left.saturating_sub(subjects.len());
            let done = match together {
                Together::Placements(placements) => context.evaluate_placements(placements, at).await?,
                Together::One(subject) => context.evaluate_one(subject, now).await?,
            };
            due.extend(done.next.into_iter().filter(|(next, _)| *next <= now.micros()));
            self.failed.replace(at, subjects, done.failed);
        }
        // What is left because there was too much is found by the next tick.
        if due.is_empty() {
            if scope == Scope::Due {
                self.until = position(now.micros(), i64::MAX);
            }
            self.set_until = set_until;
        }
        Ok(())
    }

    /// Lists the moments that became due since the last evaluation, and those that were set since then.
    async fn list(
        &self,
        context: &CheckContext,
        scope: Scope,
        (now, set_until): (Instant, i64),
    ) -> Result<DueSubjects, Refusal> {
        let (mut due, set) = (BTreeSet::new(), position(i64::MIN, self.set_until));
        let mut snapshot = Snapshot::new(context.pipeline.log.database());
        if scope == Scope::Due && self.until.due == i64::MIN {
            return list_present(context, &mut snapshot, now).await;
        }
        let (mut after, mut is_by_due) = if scope == Scope::Due { (self.until, true) } else { (set, false) };
        for _ in 0..MAX_STEPS {
            context.progress.mark();
            let found = if is_by_due {
                moment::list_due(&mut snapshot, after, now, ROWS_PER_STEP).await?
            } else if self.set_until < set_until {
                moment::list_set(&mut snapshot, after, now, ROWS_PER_STEP).await?
            } else {
                break;
            };
            match found.last() {
                Some((last, _)) => after = *last,
                None if is_by_due => (after, is_by_due) = (set, false),
                None => break,
            }
            due.extend(found.into_iter().map(|(position, subject)| (position.due, subject)));
        }
        Ok(due)
    }
}

/// Lists all moments that are due, for a node that has evaluated none yet.
async fn list_present(
    context: &CheckContext,
    snapshot: &mut Snapshot,
    now: Instant,
) -> Result<DueSubjects, Refusal> {
    let (mut due, mut after) = (BTreeSet::new(), VersionKey::new(KeyFamily::Moment));
    for _ in 0..MAX_STEPS {
        context.progress.mark();
        let (found, last) = moment::list_present(snapshot, &after, now, SUBJECTS_PER_STEP).await?;
        due.extend(found.into_iter().map(|(position, subject)| (position.due, subject)));
        let Some(last) = last else { break };
        after = last;
    }
    Ok(due)
}

/// The result of an evaluation.
#[derive(Default)]
struct Done {
    /// When subjects are due next.
    next: Vec<(i64, String)>,
    /// Subjects that could not be evaluated.
    failed: Vec<String>,
}

impl CheckContext {
    /// Evaluates the moment of one subject.
    async fn evaluate_one(&mut self, subject: String, now: Instant) -> Result<Done, Refusal> {
        self.progress.mark();
        let mut done = Done::default();
        match self.evaluate_moment(&subject, now).await {
            Ok(next) => {
                self.failures.clear(MOMENTS, &subject);
                done.next.extend(next.map(|next| (next.micros(), subject)));
            }
            Err(refusal) => {
                self.failures.record(MOMENTS, &subject, refusal)?;
                done.failed.push(subject);
            }
        }
        Ok(done)
    }

    /// Evaluates the moments of placements that are due at one instant, those of one commissioner together. A group that
    /// cannot be evaluated is halved, so that a placement that is damaged or busy keeps no other.
    async fn evaluate_placements(&mut self, placements: Vec<Uuid>, at: Instant) -> Result<Done, Refusal> {
        let (mut done, mut by_commissioner) = (Done::default(), BTreeMap::<OrganisationId, Vec<Uuid>>::new());
        for some in placements.chunks(usize::try_from(ROWS_PER_STEP).unwrap_or(1)) {
            let mut snapshot = Snapshot::new(self.pipeline.log.database());
            for (placement, commissioner) in rows::commissioners_of(&mut snapshot, some).await? {
                match commissioner {
                    Ok(commissioner) => by_commissioner.entry(commissioner).or_default().push(placement),
                    Err(error) => self.fail(&mut done, placement, error.into())?,
                }
            }
        }
        for (commissioner, placements) in by_commissioner {
            let mut groups: Vec<&[Uuid]> = placements.chunks(MAX_GROUP).rev().collect();
            while let Some(group) = groups.pop() {
                self.progress.mark();
                match self.evaluate_group(&commissioner, group, at).await {
                    Ok(next) => {
                        for placement in group {
                            self.failures.clear(MOMENTS, &Subject::Placement(*placement));
                        }
                        done.next.extend(next);
                    }
                    Err(refusal) if refusal.reason == Reason::LogUnavailable => return Err(refusal),
                    Err(refusal) => match group {
                        [placement] => self.fail(&mut done, *placement, refusal)?,
                        group => {
                            let (first, second) = group.split_at(group.len() / 2);
                            groups.extend([second, first]);
                        }
                    },
                }
            }
        }
        Ok(done)
    }

    fn fail(&mut self, done: &mut Done, placement: Uuid, refusal: Refusal) -> Result<(), Refusal> {
        let subject = Subject::Placement(placement);
        self.failures.record(MOMENTS, &subject, refusal)?;
        done.failed.push(subject.to_string());
        Ok(())
    }

    /// Evaluates the moments of placements of one commissioner in one exchange. Returns when they are evaluated next.
    async fn evaluate_group(
        &self,
        commissioner: &OrganisationId,
        placements: &[Uuid],
        at: Instant,
    ) -> Result<Vec<(i64, String)>, Refusal> {
        let book = &*self.book;
        let decide = |cx, permit| placement_changes::evaluate_placements(cx, permit, book, (placements, at));
        self.pipeline.submit_system_exchange(ALERT_METHOD, commissioner, decide).await?;
        let mut snapshot = Snapshot::new(self.pipeline.log.database());
        let moments = moments::load(&mut snapshot, placements).await?;
        Ok(moments.into_values().filter_map(|moment| Some((moment.due?.micros(), moment.subject))).collect())
    }

    /// Evaluates the moment of a subject, if it is still due. Returns when the subject is evaluated next.
    async fn evaluate_moment(&self, subject: &str, now: Instant) -> Result<Option<Instant>, Refusal> {
        let mut snapshot = Snapshot::new(self.pipeline.log.database());
        let evaluated = EvaluatedSubject::parse(subject).ok_or_else(unreadable)?;
        let controller = match &evaluated {
            EvaluatedSubject::Alert(id) => {
                let alert = alerts::by_id(&mut snapshot, *id).await?.ok_or_else(unreadable)?;
                alert.controller(&mut snapshot).await?
            }
            EvaluatedSubject::Provider(provider) | EvaluatedSubject::ProviderDay(provider, _) => {
                Some(provider.clone())
            }
            EvaluatedSubject::Delivery(delivery) => Some(delivery.sender.clone()),
            EvaluatedSubject::Agreement(page) => agreement_changes::party_of(&mut snapshot, *page).await?,
            // Placements are evaluated in groups.
            EvaluatedSubject::Placement(_) => return Err(unreadable().into()),
        };
        drop(snapshot);
        let Some(controller) = controller else { return Ok(None) };
        let decide = |cx, permit| evaluate_in_exchange(cx, permit, &self.book, (&evaluated, subject, now));
        self.pipeline.submit_system_exchange(ALERT_METHOD, &controller, decide).await?;
        let mut snapshot = Snapshot::new(self.pipeline.log.database());
        let newest: Option<MomentRow> = snapshot.newest(&moment::key(subject)).await?;
        Ok(newest.and_then(|moment| moment.due))
    }
}

/// Decides the exchange that evaluates the moment of one subject, which is no placement.
async fn evaluate_in_exchange(
    cx: RequestContext,
    permit: Permit,
    book: &RuleBook,
    (evaluated, subject, now): (&EvaluatedSubject, &str, Instant),
) -> Result<Option<Change>, Refusal> {
    match evaluated {
        EvaluatedSubject::Alert(id) => {
            moment_changes::evaluate_alert(cx, permit, book, (*id, subject, now)).await
        }
        EvaluatedSubject::Provider(provider) => {
            provider_changes::evaluate_provider(cx, permit, book, (provider, subject, now)).await
        }
        EvaluatedSubject::ProviderDay(provider, day) => {
            let evaluated = (provider, *day, subject, now);
            provider_changes::evaluate_provider_day(cx, permit, book, evaluated).await
        }
        EvaluatedSubject::Agreement(page) => {
            agreement_changes::evaluate_agreement(cx, permit, (*page, subject, now)).await
        }
        EvaluatedSubject::Delivery(delivery) => {
            delivery_changes::evaluate_delivery(cx, permit, book, (delivery, subject, now)).await
        }
        EvaluatedSubject::Placement(_) => Ok(None),
    }
}

fn unreadable() -> StoreError {
    StoreError::corrupt("moments", "subject")
}
