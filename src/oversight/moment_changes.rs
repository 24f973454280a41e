//! The change of a system exchange that evaluates the moment of an alert: it escalates the alert, opens it again or
//! leaves it, and sets the next moment. The moment's key is the guard, so it is done once, on whatever node.

use uuid::Uuid;

use super::alert_changes::{Notice, write_and_deliver};
use super::alerts::{self, AlertRow};
use super::cause;
use super::life::{self, AlertFacts, Step};
use super::recipients;
use super::rule::Cause;
use super::rule_book::RuleBook;
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
    let placement = cause.as_ref().and_then(|cause| cause.grounds.placement.as_ref());
    let mut late = recipients::list_parties(recipients, placement, (alert.opened, at, &calendar));
    let notified = alerts::list_recipients(&mut cx.snapshot, alert.id).await?;
    late.retain(|organisation| !notified.contains(organisation));
    let facts = AlertFacts {
        state: alert.state,
        severity: alert.severity,
        level: alert.level,
        act_by: alert.act_by,
        ended: alert.ended_at(),
        is_acted_on: alerts::is_acted_on(&mut cx.snapshot, alert.id).await?,
        cause_holds: cause.as_ref().is_some_and(|cause| cause.holds),
        is_telling_due: !late.is_empty(),
        // Of an alert that is about no placement, others are told by alerts of their own.
        next_telling: recipients::next_telling(recipients, (alert.opened, at, &calendar))
            .filter(|_| alert.organisation.is_none()),
    };
    let (step, next) = life::decide(&facts, at, book, &calendar);
    let (guard, moment) = moment.followed_by(next);
    let change = cx.change(&permit).guard(guard.key, guard.version).append(&moment);
    let change = change.guard(alerts::key(alert.id), alert.version);
    let Some(cause) = cause else { return Ok(Some(change)) };
    Ok(Some(apply(change, (step, at), (notified, late), (alert, &cause))))
}

/// Writes and delivers what a step makes of an alert. An escalation goes to all who were told, and to the commissioner.
fn apply(
    change: Change,
    (step, at): (Step, Instant),
    (notified, late): (Vec<OrganisationId>, Vec<OrganisationId>),
    (alert, cause): (AlertRow, &Cause),
) -> Change {
    let (kind, next, mut recipients) = match step {
        Step::Keep => return change,
        Step::Tell => (DeliveryKind::Alert, alert.next(), late),
        Step::Escalate(act_by) => (DeliveryKind::AlertEscalated, alert.escalated(at, act_by), notified),
        Step::Reopen(act_by) => (DeliveryKind::Alert, alert.reopened(at, act_by), notified),
    };
    let commissioner = cause.grounds.placement.as_ref().map(|placement| &placement.commissioner);
    if kind == DeliveryKind::AlertEscalated
        && let Some(commissioner) = commissioner.filter(|commissioner| !recipients.contains(commissioner))
    {
        recipients.push(commissioner.clone());
    }
    let rows = vec![row_write(&next)];
    let notice = Notice { kind, alert: next, recipients };
    write_and_deliver(change, &cause.grounds, &[notice], rows)
}
