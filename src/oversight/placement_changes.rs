//! The change of a system exchange that evaluates the moments of placements: every rule about placements is evaluated at
//! the moments' instant, raises or closes its alert, and says when it is to be evaluated next. The moments' keys are the
//! guards, so each is done once, on whatever node.

use std::collections::HashMap;

use uuid::Uuid;

use super::alert_changes::{self, Notice, Opening};
use super::alerts::{self, AlertRow};
use super::attendance_facts;
use super::bundles::{self, Findings};
use super::placement_facts::{self, LoadedFacts};
use super::rule::{Grounds, NewAlert};
use super::rule_book::RuleBook;
use super::rule_id::RuleId;
use super::rules::PLACEMENT_RULES;
use super::subject::Subject;
use crate::calendar::{Date, SchoolCalendar};
use crate::clock::Instant;
use crate::exchange::change::row_write;
use crate::exchange::{Change, Permit, Refusal, RequestContext};
use crate::placements::moments;
use crate::proto::v1::AlertState;
use crate::register::terms;

/// The newest alert of each rule about each placement.
type NewestAlerts = HashMap<(Subject, RuleId), AlertRow>;

/// Evaluates the moments of placements of one commissioner that are due at one instant, at most 200. `None`: none of them
/// is due at that instant any more, because another node evaluated them or a fact moved them.
pub(super) async fn evaluate_placements(
    mut cx: RequestContext,
    permit: Permit,
    book: &RuleBook,
    (placements, at): (&[Uuid], Instant),
) -> Result<Option<Change>, Refusal> {
    let mut moments = moments::load(&mut cx.snapshot, placements).await?;
    moments.retain(|_, moment| moment.due == Some(at));
    if moments.is_empty() {
        return Ok(None);
    }
    let commissioner = cx.caller.organisation.clone();
    let ids: Vec<Uuid> = moments.keys().copied().collect();
    let mut loaded = placement_facts::load(&mut cx, (book, Date::in_london(at)), &commissioner, &ids).await?;
    let subjects = loaded.keys().map(|id| Subject::Placement(*id));
    let mut newest = alerts::newest_about_each(&mut cx.snapshot, subjects).await?;
    let calendar = terms::load_calendar(&mut cx.snapshot, &commissioner).await?;
    let (mut change, mut findings) = (cx.change(&permit), Findings::default());
    for (id, moment) in moments {
        // Of a child whose record was erased nothing is evaluated any more.
        let mut next = None;
        if let Some(loaded) = loaded.remove(&id) {
            let evaluation = (book, at, &calendar);
            let known = (&mut newest, &mut findings);
            (change, next) = evaluate_one(&mut cx, change, evaluation, (loaded, known)).await?;
            // A fact that came on a later day kept this instant, and is decided on at the present one.
            let is_late = Date::in_london(at) < cx.today;
            next = [next, is_late.then_some(cx.now)].into_iter().flatten().min();
        }
        let (guard, moment) = moment.evaluated_at(at, next);
        change = change.guard(guard.key, guard.version).append(&moment);
    }
    bundles::decide(&mut cx, change, (book, at), findings).await.map(Some)
}

/// Evaluates the rules about one placement. Returns when it is evaluated next.
async fn evaluate_one(
    cx: &mut RequestContext,
    mut change: Change,
    (book, at, calendar): (&RuleBook, Instant, &SchoolCalendar),
    (loaded, (newest, findings)): (LoadedFacts, (&mut NewestAlerts, &mut Findings)),
) -> Result<(Change, Option<Instant>), Refusal> {
    let (mut facts, grounds) = loaded.into_facts_and_grounds();
    let subject =
        Subject::Placement(grounds.placement.as_ref().map_or(Uuid::nil(), |placement| placement.id));
    facts.add_alert(newest.get(&(subject.clone(), RuleId::AbsentThirdDay)));
    let (mut notices, mut next, mut is_covered) = (Vec::new(), None::<Instant>, false);
    let today = Date::in_london(at);
    for rule in PLACEMENT_RULES {
        let Some(settings) = book.settings(rule.id()).filter(|rule| rule.covers(facts.start)) else {
            continue;
        };
        if facts.is_live {
            next = [next, settings.next_from_date(today).map(begin_of)].into_iter().flatten().min();
        }
        if !settings.runs_on(today) {
            continue;
        }
        is_covered = true;
        let found = rule.evaluate(&facts, at, settings);
        next = [next, found.next].into_iter().flatten().min();
        let rests_on = found.cause.and_then(|_| rule.rests_on(&facts, at, settings));
        if settings.bundle.is_some() {
            findings.add(rule.id(), &grounds, (found.cause, rule.joins_bundle_at(at), rests_on));
            continue;
        }
        let opening = Opening {
            not_again: rule.not_again_within(),
            rests_on,
            is_another_on_later_day: rule.is_another_on_later_day(),
            ..Opening::by_life(rule.id(), (settings, book), at, calendar)
        };
        let known = newest.remove(&(subject.clone(), rule.id()));
        let notice;
        (change, notice) =
            decide_alert(cx, change, opening, (&subject, &grounds), (found.cause, known)).await?;
        if rule.id() == RuleId::AbsentThirdDay
            && let Some(notice) = &notice
        {
            // The rules behind this one decide from the alert as it is now.
            facts.add_alert(Some(&notice.alert));
        }
        notices.extend(notice);
    }
    let rows = notices.iter().map(|notice| row_write(&notice.alert)).collect::<Vec<_>>();
    if !rows.is_empty() {
        change = alert_changes::write_and_deliver_of_rules(change, &grounds, &notices, rows);
    }
    // A placement that a rule covers always has a moment: by that a mark finds out that it is evaluated.
    let is_evaluated = is_covered && facts.is_active;
    Ok((change, next.or_else(|| is_evaluated.then(|| attendance_facts::next_friday(today)))))
}

/// Returns the instant at which a day begins in London.
fn begin_of(day: Date) -> Instant {
    day.previous().map_or(Instant::MIN, Date::end_of_day)
}

/// Opens the alert of a rule whose cause holds, and closes that of one whose cause is gone, and sets its moment. `None`:
/// neither.
pub(super) async fn decide_alert(
    cx: &mut RequestContext,
    change: Change,
    opening: Opening<'_>,
    (subject, grounds): (&Subject, &Grounds),
    (cause, newest): (Option<Date>, Option<AlertRow>),
) -> Result<(Change, Option<Notice>), Refusal> {
    if let Some(due_date) = cause {
        let new = NewAlert { item: None, due_date };
        let Some(alert) = alert_changes::open_alert(cx, opening, (subject, grounds), (&new, newest)) else {
            return Ok((change, None));
        };
        let notice = alert_changes::opening_notice(cx, opening, alert, grounds).await?;
        let change = alert_changes::schedule_moment(cx, change, opening, &notice.alert).await?;
        return Ok((change, Some(notice)));
    }
    let Some(open) = newest.filter(|newest| newest.state == AlertState::Open) else {
        return Ok((change, None));
    };
    cx.snapshot.record_read(alerts::key(open.id), open.version);
    let (change, notice) = alert_changes::closing(cx, change, open, grounds.placement.as_ref()).await?;
    Ok((change, Some(notice)))
}
