//! The changes of system exchanges that raise and close alerts. Each is decided again from the exchange's own snapshot
//! and committed under guards on what the rule read.

use prost::Message;
use uuid::Uuid;

use super::act_by::act_by;
use super::alerts::{self, AlertRow};
use super::cause;
use super::life::{self, OnRaise};
use super::recipients::{self, About};
use super::rule::{Grounds, NewAlert, Rule};
use super::rule_book::{RuleBook, RuleSettings};
use super::rule_id::RuleId;
use super::subject::Subject;
use crate::calendar::{Date, SchoolCalendar};
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::exchange::change::row_write;
use crate::exchange::{Change, LeafInput, Permit, RecordRef, Refusal, RequestContext};
use crate::placements::Placement;
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
    let calendar = terms::load_calendar(&mut cx.snapshot, &cx.caller.organisation).await?;
    let (mut change, mut notices) = (cx.change(&permit), Vec::new());
    for new in raise.alerts.iter().filter(|_| settings.covers(start)) {
        let (at, calendar) = (cx.now, &calendar);
        let opening = Opening::by_life(rule.id(), (settings, book), at, calendar);
        let newest = alerts::newest_about(&mut cx.snapshot, rule.id(), subject, (new.item, None)).await?;
        let Some(alert) = open_alert(&mut cx, opening, (subject, &grounds), (new, newest)) else { continue };
        let notice = opening_notice(&mut cx, opening, alert, &grounds).await?;
        change = schedule_moment(&mut cx, change, opening, &notice.alert).await?;
        rows.push(row_write(&notice.alert));
        notices.push(notice);
    }
    Ok(Some(write_and_deliver(change, &grounds, &notices, rows)))
}

/// A version of an alert, and to whom it is delivered.
pub(super) struct Notice {
    pub(super) kind: DeliveryKind,
    pub(super) alert: AlertRow,
    pub(super) recipients: Vec<OrganisationId>,
}

/// The rule that opens an alert, and when.
#[derive(Clone, Copy)]
pub(super) struct Opening<'a> {
    pub(super) rule: RuleId,
    pub(super) settings: &'a RuleSettings,
    pub(super) book: &'a RuleBook,
    /// The instant from which somebody has time to act.
    pub(super) at: Instant,
    /// The school days of the subject's controller.
    pub(super) calendar: &'a SchoolCalendar,
    /// The parameter that says how soon the rule raises another alert; `None` if the life of alerts decides.
    pub(super) not_again: Option<&'static str>,
    /// Whether a cause of a later day than that of an alert opens it again at once, although it was resolved.
    pub(super) is_another_on_later_day: bool,
    /// The earliest day of attendance on which the cause rests; `None` if it rests on none.
    pub(super) rests_on: Option<Date>,
}

impl<'a> Opening<'a> {
    /// The rule leaves to the life of alerts when an alert is opened again.
    pub(super) const fn by_life(
        rule: RuleId,
        (settings, book): (&'a RuleSettings, &'a RuleBook),
        at: Instant,
        calendar: &'a SchoolCalendar,
    ) -> Self {
        Self {
            rule,
            settings,
            book,
            at,
            calendar,
            not_again: None,
            is_another_on_later_day: false,
            rests_on: None,
        }
    }
}

/// Creates an open alert, or opens the rule's newest about the subject again. `None`: that one still stands.
pub(super) fn open_alert(
    cx: &mut RequestContext,
    opening: Opening<'_>,
    (subject, grounds): (&Subject, &Grounds),
    (new, newest): (&NewAlert, Option<AlertRow>),
) -> Option<AlertRow> {
    let alert = open_or_reopen(cx, opening, (subject, new, newest))?;
    let child = grounds.child.as_ref();
    Some(AlertRow {
        placement: child.map(|record| record.placement),
        child: child.map(|record| record.child),
        ..alert
    })
}

/// Creates an open alert that is about no placement yet, or opens the newest again. `None`: that one still stands.
pub(super) fn open_or_reopen(
    cx: &mut RequestContext,
    opening: Opening<'_>,
    (subject, new, newest): (&Subject, &NewAlert, Option<AlertRow>),
) -> Option<AlertRow> {
    let Opening { rule, settings, book, at, calendar, not_again, .. } = opening;
    let act_by = || act_by(at, book.act_within(settings.severity), book.school_hours, calendar);
    if let Some(newest) = newest {
        let days = not_again.and_then(|name| settings.parameter(name, Date::in_london(at)));
        let on_raise = if let Some(days) = days {
            let times = (newest.raised_at(), newest.ended_at());
            life::on_raise_after((newest.state, times), at, (days, book), calendar)
        } else {
            let is_another = opening.is_another_on_later_day && new.due_date > newest.due_date;
            life::on_raise((newest.state, newest.ended_at(), is_another), at, book, calendar)
        };
        match on_raise {
            OnRaise::Keep => return None,
            OnRaise::Reopen => {
                cx.snapshot.record_read(alerts::key(newest.id), newest.version);
                return Some(AlertRow { due_date: new.due_date, ..newest.reopened(at, act_by()) });
            }
            OnRaise::New => {}
        }
    }
    Some(AlertRow {
        id: cx.random.uuid_v7(cx.now),
        version: Revision::FIRST,
        rule,
        subject: subject.clone(),
        placement: None,
        organisation: None,
        figures: None,
        child: None,
        item: new.item,
        due_date: new.due_date,
        severity: settings.severity,
        state: AlertState::Open,
        raised: cx.now.micros(),
        opened: at,
        times_raised: 1,
        level: 0,
        act_by: act_by(),
        escalated: None,
        ended: None,
        resolved_by: None,
        resolution: None,
    })
}

/// Makes the notice of an alert that was opened, for those who are told at once. Those who were told when it was open
/// before and may read it are told at once too, because they can list it.
pub(super) async fn opening_notice(
    cx: &mut RequestContext,
    Opening { settings, at, calendar, rests_on, .. }: Opening<'_>,
    alert: AlertRow,
    grounds: &Grounds,
) -> Result<Notice, Refusal> {
    let recipients = &settings.recipients;
    let about = About { placement: grounds.placement.as_ref(), subject: &alert.subject, rests_on };
    let recipients = if alert.times_raised > 1 {
        let notified = recipients::list_notified(&mut cx.snapshot, &alert, about.placement).await?;
        let since = (alert.raised_at(), at, calendar);
        recipients::list_on_reopening(recipients, about, since, &notified)
    } else {
        recipients::list_parties(recipients, about, (at, at, calendar))
    };
    Ok(Notice { kind: DeliveryKind::Alert, alert, recipients })
}

/// Sets the moment at which another party is told of an alert that was opened, or somebody must have acted on it.
pub(super) async fn schedule_moment(
    cx: &mut RequestContext,
    change: Change,
    Opening { settings, at, calendar, .. }: Opening<'_>,
    alert: &AlertRow,
) -> Result<Change, Refusal> {
    let telling = recipients::next_telling(&settings.recipients, (at, at, calendar));
    // Of an alert that is about no placement, others are told by alerts of their own.
    let telling = telling.filter(|_| alert.organisation.is_none());
    let due = telling.map_or(alert.act_by, |telling| telling.min(alert.act_by));
    let subject = alert_subject(alert.id);
    let (guard, moment) = MomentRow::schedule(&mut cx.snapshot, subject, Some(due)).await?;
    Ok(change.guard(guard.key, guard.version).append(&moment))
}

/// Returns the subject of an alert's moments.
pub(super) fn alert_subject(alert: Uuid) -> String {
    format!("alert/{}", alert.hyphenated())
}

/// Closes an alert, unless an officer has resolved it meanwhile or its cause holds again; also if the child's record was
/// erased. If it holds with other figures, they are brought up to date.
pub(super) async fn close_alert(
    mut cx: RequestContext,
    permit: Permit,
    book: &RuleBook,
    alert: &AlertRow,
) -> Result<Option<Change>, Refusal> {
    let newest = alerts::by_id(&mut cx.snapshot, alert.id).await?;
    let Some(newest) = newest.filter(|newest| newest.state == AlertState::Open) else { return Ok(None) };
    let cause = cause::find(&mut cx, &newest, book).await?;
    let mut change = cx.change(&permit).guard(alerts::key(newest.id), newest.version);
    let Some(cause) = cause else {
        // The child's record was erased: nobody can read the alert any more, so nobody is told.
        let (change, notice) = closing(&mut cx, change, newest, None).await?;
        return Ok(Some(change.append(&notice.alert)));
    };
    let notice = if cause.holds {
        let figures = cause.figures.as_ref().map(Message::encode_to_vec);
        if figures == newest.figures {
            return Ok(None);
        }
        let alert = AlertRow { figures, ..newest.next() };
        Notice { kind: DeliveryKind::Alert, alert, recipients: Vec::new() }
    } else {
        let notice;
        (change, notice) = closing(&mut cx, change, newest, cause.grounds.placement.as_ref()).await?;
        notice
    };
    let rows = vec![row_write(&notice.alert)];
    Ok(Some(write_and_deliver(change, &cause.grounds, &[notice], rows)))
}

/// Makes the version of an alert that is closed now, for all who were told and may read its placement, and cancels its
/// moment, because nothing is to be done with it until its rule opens it again.
pub(super) async fn closing(
    cx: &mut RequestContext,
    change: Change,
    alert: AlertRow,
    placement: Option<&Placement>,
) -> Result<(Change, Notice), Refusal> {
    let recipients = recipients::list_notified(&mut cx.snapshot, &alert, placement).await?;
    let (guard, moment) = MomentRow::schedule(&mut cx.snapshot, alert_subject(alert.id), None).await?;
    let alert = AlertRow { ended: Some(cx.now.micros()), state: AlertState::Closed, ..alert.next() };
    let change = change.guard(guard.key, guard.version).append(&moment);
    Ok((change, Notice { kind: DeliveryKind::AlertEnded, alert, recipients }))
}

/// Writes the rows under the guards of the grounds, and delivers the alerts to the recipients. The leaf of the child names
/// the first alert, so all alerts must have the same recipients.
pub(super) fn write_and_deliver(
    change: Change,
    grounds: &Grounds,
    notices: &[Notice],
    rows: Vec<RowWrite>,
) -> Change {
    let first = notices.first().map(|notice| (notice.alert.id, notice.alert.version));
    let record = first.map(|(id, version)| RecordRef::new(RecordKind::Alert, id, version));
    write_under(change, grounds, record, (notices, rows))
}

/// Writes and delivers as [`write_and_deliver`] does, alerts of several rules about one placement. The leaf names none of
/// them, also if there is one alone: a party that is told of one would else learn of another of which it is not told.
pub(super) fn write_and_deliver_of_rules(
    change: Change,
    grounds: &Grounds,
    notices: &[Notice],
    rows: Vec<RowWrite>,
) -> Change {
    write_under(change, grounds, None, (notices, rows))
}

/// Writes and delivers under a leaf that names a record; `None`: the placement.
fn write_under(
    change: Change,
    grounds: &Grounds,
    record: Option<RecordRef>,
    (notices, rows): (&[Notice], Vec<RowWrite>),
) -> Change {
    let versions = grounds.versions_read.iter();
    let mut change = versions.fold(change, |change, (key, version)| change.guard(key.clone(), *version));
    for Notice { kind, alert, recipients } in notices {
        for recipient in recipients {
            change = change.deliver(recipient, *kind, alert.id, alert.placement);
        }
    }
    let part = grounds.child.as_ref().map(|child| LeafInput {
        placement: child.placement,
        role: LeafRole::Submitted,
        record: record.unwrap_or(RecordRef::unversioned(RecordKind::Alert, child.placement)),
        sender: &child.sender,
        key: &child.key,
        reply: b"",
    });
    change.append_children_rows(part.as_slice(), rows)
}
