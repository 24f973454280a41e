//! The changes of system exchanges that raise and close alerts. Each is decided again from the exchange's own snapshot
//! and committed under guards on what the rule read.

use uuid::Uuid;

use super::act_by::act_by;
use super::alerts::{self, AlertRow};
use super::life::{self, OnRaise};
use super::rule::{Grounds, NewAlert, Rule};
use super::rule_book::{RuleBook, RuleSettings};
use super::subject::Subject;
use super::told;
use crate::codes::organisation::OrganisationId;
use crate::exchange::change::row_write;
use crate::exchange::{Change, LeafInput, Permit, RecordRef, Refusal, RequestContext};
use crate::proto::v1::{AlertState, DeliveryKind, LeafRole, RecordKind};
use crate::register::terms;
use crate::store::Revision;
use crate::store::moment::MomentRow;
use crate::store::proposal::RowWrite;

/// Raises what a rule finds due about a subject. `None`: nothing is due.
pub(super) async fn raise_alerts(
    mut cx: RequestContext,
    permit: Permit,
    (rule, book): (&dyn Rule, &RuleBook),
    subject: &Subject,
) -> Result<Option<Change>, Refusal> {
    let Some(settings) = book.running(rule.id(), cx.today) else { return Ok(None) };
    let Some(raise) = rule.decide(&mut cx, subject).await? else { return Ok(None) };
    let (grounds, mut rows) = (raise.grounds, raise.rows);
    let start = grounds.placement.as_ref().and_then(|placement| placement.start_date);
    let (mut change, mut raised) = (cx.change(&permit), Vec::new());
    for new in raise.alerts.iter().filter(|_| settings.covers(start)) {
        let opened = open_alert(&mut cx, (rule, book, settings), (subject, &grounds), new).await?;
        let Some(alert) = opened else { continue };
        change = schedule_moment(&mut cx, change, &alert).await?;
        raised.push(alert);
    }
    rows.extend(raised.iter().map(row_write));
    let told = told::list_parties(&settings.told, grounds.placement.as_ref());
    Ok(Some(write_and_deliver(change, &grounds, (DeliveryKind::Alert, &raised, &told), rows)))
}

/// Creates an open alert, or opens the rule's newest about the subject again. `None`: that one still stands.
async fn open_alert(
    cx: &mut RequestContext,
    (rule, book, settings): (&dyn Rule, &RuleBook, &RuleSettings),
    (subject, grounds): (&Subject, &Grounds),
    new: &NewAlert,
) -> Result<Option<AlertRow>, Refusal> {
    let calendar = terms::load_calendar(&mut cx.snapshot, &cx.caller.organisation).await?;
    let act_by = act_by(cx.now, book.act_within(settings.severity), book.school_hours, &calendar);
    if let Some(newest) = alerts::newest_about(&mut cx.snapshot, rule.id(), subject, new.item).await? {
        match life::on_raise((newest.state, newest.ended_at()), cx.now, book, &calendar) {
            OnRaise::Keep => return Ok(None),
            OnRaise::Reopen => {
                cx.snapshot.record_read(alerts::key(newest.id), newest.version);
                return Ok(Some(newest.reopened(act_by)));
            }
            OnRaise::New => {}
        }
    }
    Ok(Some(AlertRow {
        id: cx.random.uuid_v7(cx.now),
        version: Revision::FIRST,
        rule: rule.id(),
        subject: subject.clone(),
        placement: grounds.child.as_ref().map(|record| record.placement),
        child: grounds.child.as_ref().map(|record| record.child),
        item: new.item,
        due_date: new.due_date,
        severity: settings.severity,
        state: AlertState::Open,
        raised: cx.now.micros(),
        times_raised: 1,
        level: 0,
        act_by,
        escalated: None,
        ended: None,
        resolved_by: None,
        resolution: None,
    }))
}

/// Sets the moment at which somebody must have acted on an alert that was opened.
async fn schedule_moment(
    cx: &mut RequestContext,
    change: Change,
    alert: &AlertRow,
) -> Result<Change, Refusal> {
    let subject = alert_subject(alert.id);
    let (guard, moment) = MomentRow::schedule(&mut cx.snapshot, subject, Some(alert.act_by)).await?;
    Ok(change.guard(guard.key, guard.version).append(&moment))
}

/// Returns the subject of an alert's moments.
pub(super) fn alert_subject(alert: Uuid) -> String {
    format!("alert/{}", alert.hyphenated())
}

/// Closes an alert, unless an officer has resolved it meanwhile or its cause holds again.
pub(super) async fn close_alert(
    mut cx: RequestContext,
    permit: Permit,
    rule: &dyn Rule,
    alert: &AlertRow,
) -> Result<Option<Change>, Refusal> {
    let newest = alerts::by_id(&mut cx.snapshot, alert.id).await?;
    let Some(newest) = newest.filter(|newest| newest.state == AlertState::Open) else { return Ok(None) };
    let Some(cause) = rule.find_cause(&mut cx, &newest).await? else { return Ok(None) };
    if cause.holds {
        return Ok(None);
    }
    let told = alerts::list_told(&mut cx.snapshot, newest.id).await?;
    let change = cx.change(&permit).guard(alerts::key(newest.id), newest.version);
    let (version, ended) = (newest.version.next(), Some(cx.now.micros()));
    let next = [AlertRow { version, ended, state: AlertState::Closed, ..newest }];
    let rows = next.iter().map(row_write).collect();
    Ok(Some(write_and_deliver(change, &cause.grounds, (DeliveryKind::AlertEnded, &next, &told), rows)))
}

/// Writes the rows under the guards of the grounds, and delivers the alerts to the recipients.
pub(super) fn write_and_deliver(
    change: Change,
    grounds: &Grounds,
    (kind, alerts, recipients): (DeliveryKind, &[AlertRow], &[OrganisationId]),
    rows: Vec<RowWrite>,
) -> Change {
    let versions = grounds.versions_read.iter();
    let mut change = versions.fold(change, |change, (key, version)| change.guard(key.clone(), *version));
    for alert in alerts {
        for recipient in recipients {
            change = change.deliver(recipient, kind, alert.id, alert.placement);
        }
    }
    let alert = alerts.first().map(|alert| (alert.id, alert.version));
    let part = grounds.child.as_ref().map(|child| LeafInput {
        placement: child.placement,
        role: LeafRole::Submitted,
        record: match alert {
            Some((id, version)) => RecordRef::new(RecordKind::Alert, id, version),
            None => RecordRef::unversioned(RecordKind::Alert, child.placement),
        },
        sender: &child.sender,
        key: &child.key,
        reply: b"",
    });
    change.append_children_rows(part.as_slice(), rows)
}
