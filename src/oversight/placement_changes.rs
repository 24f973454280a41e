//! The change of a system exchange that evaluates the moment of a placement: every rule about placements is evaluated at
//! the moment's instant, raises or closes its alert, and says when it is to be evaluated next. The moment's key is the
//! guard, so it is done once, on whatever node.

use uuid::Uuid;

use super::alert_changes::{self, Notice, Opening};
use super::alerts;
use super::placement_facts::{self, LoadedFacts};
use super::rule::{Grounds, NewAlert};
use super::rule_book::RuleBook;
use super::rules::PLACEMENT_RULES;
use super::subject::Subject;
use crate::calendar::Date;
use crate::clock::Instant;
use crate::exchange::change::row_write;
use crate::exchange::{Change, Permit, Refusal, RequestContext};
use crate::proto::v1::{AlertState, DeliveryKind};
use crate::store::moment::MomentRow;

/// Evaluates the moment of a placement. `None`: the moment is no longer due, because another node evaluated it.
pub(super) async fn evaluate_placement(
    mut cx: RequestContext,
    permit: Permit,
    book: &RuleBook,
    (placement, subject, now): (Uuid, &str, Instant),
) -> Result<Option<Change>, Refusal> {
    let due = MomentRow::read_due(&mut cx.snapshot, subject, now).await?;
    let Some((moment, at)) = due else { return Ok(None) };
    let Some(loaded) = placement_facts::load_one(&mut cx, placement).await? else {
        let (guard, moment) = moment.followed_by(None);
        return Ok(Some(cx.change(&permit).guard(guard.key, guard.version).append(&moment)));
    };
    let LoadedFacts { ref facts, ref placement, .. } = loaded;
    let (facts, placement) = (facts.clone(), placement.clone());
    let grounds = loaded.into_grounds();
    let (mut change, mut notices, mut next) = (cx.change(&permit), Vec::new(), None::<Instant>);
    let today = Date::in_london(at);
    for rule in PLACEMENT_RULES {
        let Some(settings) = book.running(rule.id(), today).filter(|rule| rule.covers(facts.start)) else {
            continue;
        };
        let found = rule.evaluate(&facts, at, settings);
        next = [next, found.next].into_iter().flatten().min();
        let opening = Opening { rule: rule.id(), settings, book, at };
        let subject = Subject::Placement(placement.id);
        let notice = decide_alert(&mut cx, opening, (&subject, &grounds), found.cause).await?;
        if let Some(notice) = notice {
            if notice.kind == DeliveryKind::Alert {
                change = alert_changes::schedule_moment(&mut cx, change, opening, &notice.alert).await?;
            }
            notices.push(notice);
        }
    }
    let (guard, moment) = moment.followed_by(next);
    let change = change.guard(guard.key, guard.version).append(&moment);
    let rows = notices.iter().map(|notice| row_write(&notice.alert)).collect::<Vec<_>>();
    if rows.is_empty() {
        return Ok(Some(change));
    }
    Ok(Some(alert_changes::write_and_deliver(change, &grounds, &notices, rows)))
}

/// Opens the alert of a rule whose cause holds, and closes that of one whose cause is gone. `None`: neither.
async fn decide_alert(
    cx: &mut RequestContext,
    opening: Opening<'_>,
    (subject, grounds): (&Subject, &Grounds),
    cause: Option<Date>,
) -> Result<Option<Notice>, Refusal> {
    if let Some(due_date) = cause {
        let new = NewAlert { item: None, due_date };
        let alert = alert_changes::open_alert(cx, opening, (subject, grounds), &new).await?;
        let Some(alert) = alert else { return Ok(None) };
        return alert_changes::opening_notice(cx, opening, alert, grounds).await.map(Some);
    }
    let newest = alerts::newest_about(&mut cx.snapshot, opening.rule, subject, None).await?;
    let Some(open) = newest.filter(|newest| newest.state == AlertState::Open) else { return Ok(None) };
    cx.snapshot.record_read(alerts::key(open.id), open.version);
    alert_changes::closing(cx, open).await.map(Some)
}
