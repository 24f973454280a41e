//! The change of a system exchange that evaluates the moment of a delivery: the rule about deliveries is evaluated at the
//! moment's instant, raises or closes its alert, and says when it is to be evaluated next. The moment's key is the guard, so
//! it is done once, on whatever node.

use super::alert_changes::{self, Opening};
use super::alerts;
use super::delivery_facts::{self, LoadedDelivery};
use super::placement_changes::decide_alert;
use super::placement_rule::Evaluation;
use super::rule_book::RuleBook;
use super::rules::{DELIVERY_RULE, not_acted_on};
use super::subject::Subject;
use crate::calendar::Date;
use crate::clock::Instant;
use crate::exchange::change::row_write;
use crate::exchange::{Change, Permit, Refusal, RequestContext};
use crate::placements::delivery_subject::DeliverySubject;
use crate::register::terms;
use crate::store::moment::MomentRow;

/// Evaluates the moment of a delivery. `None`: the moment is no longer due, because another node evaluated it.
pub(super) async fn evaluate_delivery(
    mut cx: RequestContext,
    permit: Permit,
    book: &RuleBook,
    (delivery, subject, now): (&DeliverySubject, &str, Instant),
) -> Result<Option<Change>, Refusal> {
    let due = MomentRow::read_due(&mut cx.snapshot, subject, now).await?;
    let Some((moment, at)) = due else { return Ok(None) };
    let loaded = delivery_facts::load(&mut cx, delivery).await?;
    let settings = book.running(DELIVERY_RULE, Date::in_london(at));
    let Some((LoadedDelivery { facts, grounds }, settings)) = loaded.zip(settings) else {
        let (guard, moment) = moment.followed_by(None);
        return Ok(Some(cx.change(&permit).guard(guard.key, guard.version).append(&moment)));
    };
    let found = if settings.covers(facts.stored.map(Date::in_london)) {
        not_acted_on::evaluate(&facts, at, settings)
    } else {
        Evaluation::CLEAR
    };
    let calendar = terms::load_calendar(&mut cx.snapshot, &delivery.sender).await?;
    let opening = Opening::by_life(DELIVERY_RULE, (settings, book), at, &calendar);
    let about = Subject::Delivery(delivery.clone());
    let newest = alerts::newest_about(&mut cx.snapshot, DELIVERY_RULE, &about, (None, None)).await?;
    let (guard, moment) = moment.followed_by(found.next);
    let change = cx.change(&permit).guard(guard.key, guard.version).append(&moment);
    let decided = decide_alert(&mut cx, change, opening, (&about, &grounds), (found.cause, newest)).await?;
    let (change, Some(notice)) = decided else { return Ok(Some(decided.0)) };
    let rows = vec![row_write(&notice.alert)];
    Ok(Some(alert_changes::write_and_deliver(change, &grounds, &[notice], rows)))
}
