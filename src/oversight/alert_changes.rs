//! The changes of system exchanges that raise and close alerts. Each is decided again from the exchange's own snapshot
//! and committed under guards on what the rule read.

use super::alerts::{self, AlertRow};
use super::rule::{Grounds, NewAlert, Rule};
use super::subject::Subject;
use crate::exchange::change::row_write;
use crate::exchange::{Change, LeafInput, Permit, RecordRef, Refusal, RequestContext};
use crate::proto::v1::{AlertState, DeliveryKind, LeafRole, RecordKind};
use crate::store::Revision;
use crate::store::proposal::RowWrite;

/// Raises what a rule finds due about a subject. `None`: nothing is due.
pub(super) async fn raise_alerts(
    mut cx: RequestContext,
    permit: Permit,
    rule: &dyn Rule,
    subject: &Subject,
) -> Result<Option<Change>, Refusal> {
    let Some(raise) = rule.decide(&mut cx, subject).await? else { return Ok(None) };
    let (grounds, mut rows) = (raise.grounds, raise.rows);
    let alerts: Vec<AlertRow> =
        raise.alerts.iter().map(|new| open_alert(&cx, rule, (subject, &grounds), new)).collect();
    rows.extend(alerts.iter().map(row_write));
    Ok(Some(write_and_deliver(cx.change(&permit), &grounds, (DeliveryKind::Alert, &alerts), rows)))
}

/// Creates an open alert.
fn open_alert(
    cx: &RequestContext,
    rule: &dyn Rule,
    (subject, grounds): (&Subject, &Grounds),
    new: &NewAlert,
) -> AlertRow {
    AlertRow {
        id: cx.random.uuid_v7(cx.now),
        version: Revision::FIRST,
        rule: rule.kind(),
        subject: subject.clone(),
        placement: grounds.child.as_ref().map(|record| record.placement),
        child: grounds.child.as_ref().map(|record| record.child),
        item: new.item,
        due_date: new.due_date,
        state: AlertState::Open,
        raised: cx.now.micros(),
        ended: None,
        resolved_by: None,
        resolution: None,
    }
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
    let change = cx.change(&permit).guard(alerts::key(newest.id), newest.version);
    let (version, ended) = (newest.version.next(), Some(cx.now.micros()));
    let next = [AlertRow { version, ended, state: AlertState::Closed, ..newest }];
    let rows = next.iter().map(row_write).collect();
    Ok(Some(write_and_deliver(change, &cause.grounds, (DeliveryKind::AlertEnded, &next), rows)))
}

/// Writes the rows under the guards of the grounds, and delivers the alerts to the recipients.
fn write_and_deliver(
    change: Change,
    grounds: &Grounds,
    (kind, alerts): (DeliveryKind, &[AlertRow]),
    rows: Vec<RowWrite>,
) -> Change {
    let versions = grounds.versions_read.iter();
    let mut change = versions.fold(change, |change, (key, version)| change.guard(key.clone(), *version));
    for alert in alerts {
        for recipient in &grounds.recipients {
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
