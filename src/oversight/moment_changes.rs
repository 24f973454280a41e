//! The change of a system exchange that evaluates the moment of an alert: it escalates the alert, opens it again or
//! leaves it, and sets the next moment. The moment's key is the guard, so it is done once, on whatever node.

use uuid::Uuid;

use super::alert_changes::{Notice, write_and_deliver};
use super::alerts::{self, AlertRow};
use super::cause;
use super::life::{self, AlertFacts, Step};
use super::recipients::{self, About};
use super::rule::Cause;
use super::rule_book::{Recipient, RuleBook};
use crate::calendar::SchoolCalendar;
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::exchange::change::row_write;
use crate::exchange::{Change, Permit, Refusal, RequestContext};
use crate::proto::v1::DeliveryKind;
use crate::register::terms;
use crate::store::moment::MomentRow;

/// Evaluates the moment of an alert. `None`: the moment is no longer due, because another node evaluated it.
pub(super) async fn evaluate_alert(
    mut cx: RequestContext,
    permit: Permit,
    book: &RuleBook,
    (alert, subject, now): (Uuid, &str, Instant),
) -> Result<Option<Change>, Refusal> {
    let due = MomentRow::read_due(&mut cx.snapshot, subject, now).await?;
    let Some((moment, at)) = due else { return Ok(None) };
    let Some(alert) = alerts::by_id(&mut cx.snapshot, alert).await? else { return Ok(None) };
    let cause = cause::find(&mut cx, &alert, book).await?;
    let calendar = terms::load_calendar(&mut cx.snapshot, &cx.caller.organisation).await?;
    let recipients = book.settings(alert.rule).map_or(&[][..], |settings| &settings.recipients);
    let (placement, rests_on) =
        cause.as_ref().map_or((None, None), |cause| (cause.grounds.placement.as_ref(), cause.rests_on));
    let about = About { placement, subject: &alert.subject, rests_on };
    let mut late = recipients::list_parties(recipients, about, (alert.opened, at, &calendar));
    let notified = recipients::list_notified(&mut cx.snapshot, &alert, placement).await?;
    let acted = alerts::list_acted(&mut cx.snapshot, alert.id).await?;
    late.retain(|organisation| !notified.contains(organisation));
    let facts = AlertFacts {
        state: alert.state,
        severity: alert.severity,
        level: alert.level,
        act_by: alert.act_by,
        ended: alert.ended_at(),
        is_acted_on: acted.iter().any(|organisation| notified.contains(organisation)),
        cause_holds: cause.as_ref().is_some_and(|cause| cause.holds),
        is_telling_due: !late.is_empty(),
        // Of an alert that is about no placement, others are told by alerts of their own.
        next_telling: recipients::next_telling(recipients, (alert.opened, at, &calendar))
            .filter(|_| alert.organisation.is_none()),
    };
    let (step, next) = life::decide(&facts, at, book, &calendar);
    let (step, next) = match step {
        // Another alert about the subject was raised since, and stands for the cause.
        Step::Reopen(_) if !is_newest(&mut cx, &alert).await? => (Step::Keep, None),
        // Delays count from the reopening for those who are not told by it.
        Step::Reopen(act_by) if alert.organisation.is_none() => {
            let telling = recipients::next_telling(recipients, (at, at, &calendar));
            (step, Some(telling.map_or(act_by, |telling| telling.min(act_by))))
        }
        step => (step, next),
    };
    let (guard, moment) = moment.followed_by(next);
    let change = cx.change(&permit).guard(guard.key, guard.version).append(&moment);
    let change = change.guard(alerts::key(alert.id), alert.version);
    let Some(cause) = cause else { return Ok(Some(change)) };
    let circle = Circle { recipients, notified, late, calendar: &calendar };
    Ok(Some(apply(change, (step, at), circle, (alert, &cause))))
}

/// Returns whether an alert is the newest that its rule raised about its subject.
async fn is_newest(cx: &mut RequestContext, alert: &AlertRow) -> Result<bool, Refusal> {
    let about = (alert.item, alert.organisation.as_ref());
    let newest = alerts::newest_about(&mut cx.snapshot, alert.rule, &alert.subject, about).await?;
    Ok(newest.is_none_or(|newest| newest.id == alert.id))
}

/// Who may be told of an alert.
struct Circle<'a> {
    /// Those whom the rule book names.
    recipients: &'a [Recipient],
    /// Those who were told and may read it.
    notified: Vec<OrganisationId>,
    /// Those who are to be told by now and were not.
    late: Vec<OrganisationId>,
    calendar: &'a SchoolCalendar,
}

/// Writes and delivers what a step makes of an alert. An escalation goes to all who were told, and to the commissioner,
/// which is told of the alert first if it was not, because it is to list and resolve it, and to learn of its end.
fn apply(
    change: Change,
    (step, at): (Step, Instant),
    Circle { recipients, mut notified, late, calendar }: Circle<'_>,
    (alert, cause): (AlertRow, &Cause),
) -> Change {
    let placement = cause.grounds.placement.as_ref();
    let (kind, next, to, first_to) = match step {
        Step::Keep => return change,
        Step::Tell => (DeliveryKind::Alert, alert.next(), late, Vec::new()),
        Step::Escalate(act_by) => {
            let commissioner = placement.map(|placement| placement.commissioner.clone());
            let new = commissioner.filter(|commissioner| !notified.contains(commissioner));
            notified.extend(new.clone());
            let next = alert.escalated(at, act_by);
            (DeliveryKind::AlertEscalated, next, notified, new.into_iter().collect())
        }
        Step::Reopen(act_by) => {
            let about = About { placement, subject: &alert.subject, rests_on: cause.rests_on };
            let since = (alert.raised_at(), at, calendar);
            let to = recipients::list_on_reopening(recipients, about, since, &notified);
            (DeliveryKind::Alert, alert.reopened(at, act_by), to, Vec::new())
        }
    };
    let rows = vec![row_write(&next)];
    let first = Notice { kind: DeliveryKind::Alert, alert: next.clone(), recipients: first_to };
    let notices = [first, Notice { kind, alert: next, recipients: to }];
    write_and_deliver(change, &cause.grounds, &notices, rows)
}
