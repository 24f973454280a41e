//! The changes of system exchanges that evaluate the moments of a provider. When a day begins, or what is expected of the
//! day has changed, its first cut-off is looked up; at a cut-off, and when somebody else is to be told, the day's returns
//! are evaluated. The moment's key is the guard, so each is done once, on whatever node.

use std::collections::BTreeSet;

use super::alert_changes::{self, Notice, Opening};
use super::organisation_alerts::View;
use super::provider_facts::{self, ProviderFacts};
use super::provider_rule::ProviderRule;
use super::rule::Grounds;
use super::rule_book::{PartyRole, Recipient, RuleBook, RuleSettings};
use super::rules::PROVIDER_RULES;
use super::subject::Subject;
use crate::calendar::Date;
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::exchange::change::row_write;
use crate::exchange::{Change, Permit, Refusal, RequestContext};
use crate::register::{moments, terms};
use crate::store::moment::MomentRow;

/// Sets the moment at which a provider's present day is evaluated first, and the next day's look-up. `None`: the moment is
/// no longer due, because another node evaluated it.
pub(super) async fn evaluate_provider(
    mut cx: RequestContext,
    permit: Permit,
    book: &RuleBook,
    (provider, subject, now): (&OrganisationId, &str, Instant),
) -> Result<Option<Change>, Refusal> {
    let due = MomentRow::read_due(&mut cx.snapshot, subject, now).await?;
    let Some((moment, at)) = due else { return Ok(None) };
    let (day, mut first, mut goes_on) = (Date::in_london(at), None::<Instant>, false);
    for (rule, settings) in with_settings(book) {
        let facts = provider_facts::load(&mut cx, (provider, day), (rule, settings)).await?;
        first = [first, facts.cut_offs().first().copied()].into_iter().flatten().min();
        goes_on |= facts.goes_on;
    }
    let (guard, next) = moment.evaluated_at(at, goes_on.then(|| day.end_of_day()));
    let change = cx.change(&permit).guard(guard.key, guard.version).append(&next);
    let Some(first) = first else { return Ok(Some(change)) };
    let subject = moments::provider_day_subject(provider, day);
    let due = (cx.now, first.max(at));
    let (guard, moment) = MomentRow::bring_forward(&mut cx.snapshot, subject, due).await?;
    let change = change.guard(guard.key, guard.version);
    Ok(Some(moment.iter().fold(change, Change::append)))
}

/// Evaluates a provider's returns of a day at every cut-off that has passed. `None`: the moment is no longer due, because
/// another node evaluated it.
pub(super) async fn evaluate_provider_day(
    mut cx: RequestContext,
    permit: Permit,
    book: &RuleBook,
    (provider, day, subject, now): (&OrganisationId, Date, &str, Instant),
) -> Result<Option<Change>, Refusal> {
    let due = MomentRow::read_due(&mut cx.snapshot, subject, now).await?;
    let Some((moment, at)) = due else { return Ok(None) };
    let mut decision = Decision { change: cx.change(&permit), notices: Vec::new(), next: None };
    let (mut versions_read, calendar) = (Vec::new(), terms::load_calendar(&mut cx.snapshot, provider).await?);
    for (rule, settings) in with_settings(book) {
        let mut facts = provider_facts::load(&mut cx, (provider, day), (rule, settings)).await?;
        versions_read.append(&mut facts.versions_read);
        let calendar = &calendar;
        let opening = Opening::by_life(rule.id(), (settings, book), at, calendar);
        for cut_off in facts.cut_offs() {
            if cut_off > at {
                decision.evaluate_at(cut_off);
                break;
            }
            let due = CutOff { subject: Subject::Provider(provider.clone(), cut_off), at: cut_off, day };
            decision = evaluate_cut_off(&mut cx, decision, opening, (rule, &facts, &due)).await?;
        }
    }
    let Decision { change, notices, next } = decision;
    let (guard, moment) = moment.evaluated_at(at, next);
    let change = change.guard(guard.key, guard.version).append(&moment);
    let rows = notices.iter().map(|notice| row_write(&notice.alert)).collect();
    let grounds = Grounds::without_placement(versions_read);
    Ok(Some(alert_changes::write_and_deliver(change, &grounds, &notices, rows)))
}

/// Returns the rules about a provider that have a first day. The placements that each covers start on it or later.
fn with_settings(book: &RuleBook) -> impl Iterator<Item = (&'static dyn ProviderRule, &RuleSettings)> {
    let rules = PROVIDER_RULES.iter().map(|rule| (*rule, book.settings(rule.id())));
    rules.filter_map(|(rule, settings)| Some((rule, settings.filter(|settings| settings.from.is_some())?)))
}

/// What an exchange will write, and when the day is evaluated next.
struct Decision {
    change: Change,
    notices: Vec<Notice>,
    next: Option<Instant>,
}

impl Decision {
    fn evaluate_at(&mut self, at: Instant) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }
}

/// A cut-off that has passed.
struct CutOff {
    subject: Subject,
    at: Instant,
    day: Date,
}

/// Decides the alerts of all organisations about one cut-off. One that is told later is told if marks of its own children
/// are still missing then. That depends on no other child, and not on what another organisation did with its alert.
async fn evaluate_cut_off(
    cx: &mut RequestContext,
    mut decision: Decision,
    opening: Opening<'_>,
    (rule, facts, cut_off): (&dyn ProviderRule, &ProviderFacts, &CutOff),
) -> Result<Decision, Refusal> {
    let told_at = |recipient: &Recipient| recipient.told_at(cut_off.at, opening.calendar);
    let (due, later): (Vec<&Recipient>, Vec<&Recipient>) =
        opening.settings.recipients.iter().partition(|recipient| told_at(recipient) <= opening.at);
    for recipient in later {
        let organisations = facts.organisations(cut_off.at, recipient.party);
        let mut found = organisations.into_iter().map(|organisation| {
            rule.evaluate(&facts.sessions, cut_off.at, (organisation, &[recipient.party]))
        });
        if found.any(|figures| figures.is_some()) {
            decision.evaluate_at(told_at(recipient));
        }
    }
    let roles: Vec<PartyRole> = due.iter().map(|recipient| recipient.party).collect();
    let organisations: BTreeSet<&OrganisationId> =
        roles.iter().flat_map(|role| facts.organisations(cut_off.at, *role)).collect();
    for organisation in organisations {
        let figures = rule.evaluate(&facts.sessions, cut_off.at, (organisation, &roles));
        let view = View { subject: &cut_off.subject, organisation, due_date: cut_off.day };
        let notice;
        (decision.change, notice) = view.decide(cx, decision.change, opening, figures.as_ref()).await?;
        decision.notices.extend(notice);
    }
    Ok(decision)
}
