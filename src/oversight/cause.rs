//! Whether the cause of an alert still holds, by the rule that raised it.

use super::alerts::AlertRow;
use super::bundle_facts;
use super::delivery_facts::{self, LoadedDelivery};
use super::placement_facts::{self, PlacementFacts};
use super::provider_facts;
use super::provider_rule::ProviderRule;
use super::rule::{Cause, ChildRecord, Grounds};
use super::rule_book::RuleBook;
use super::rules::{self, AnyRule, not_acted_on};
use super::subject::Subject;
use crate::calendar::Date;
use crate::exchange::{Refusal, RequestContext};
use crate::store::StoreError;

/// Reads whether the cause of an alert holds; that of a rule that does not run holds no longer, so its alerts close. `None`: this cannot be decided, because the child's record was erased.
///
/// # Errors
/// As the rule; [`Reason::Failed`](crate::exchange::Reason::Failed) for an alert of a rule without settings.
pub(super) async fn find(
    cx: &mut RequestContext,
    alert: &AlertRow,
    book: &RuleBook,
) -> Result<Option<Cause>, Refusal> {
    // A node whose clock is behind that of the one which raised the alert would find that the rule does not run yet.
    let day = cx.today.max(Date::in_london(alert.opened));
    let runs = book.running(alert.rule, day).is_some();
    let cause = find_by_rule(cx, alert, book).await?;
    Ok(cause.map(|cause| Cause { holds: cause.holds && runs, ..cause }))
}

/// Reads whether the cause of an alert holds, whether or not its rule runs.
async fn find_by_rule(
    cx: &mut RequestContext,
    alert: &AlertRow,
    book: &RuleBook,
) -> Result<Option<Cause>, Refusal> {
    let corrupt = || StoreError::corrupt("alerts", "rule");
    let rule = match rules::by_id(alert.rule).ok_or_else(corrupt)? {
        AnyRule::Listed(rule) => return rule.find_cause(cx, alert).await,
        AnyRule::OfProvider(rule) => return find_of_provider(cx, alert, (rule, book)).await.map(Some),
        AnyRule::OfPlacement(rule) => rule,
        AnyRule::OfDelivery => return find_of_delivery(cx, alert, book).await,
    };
    if alert.organisation.is_some() {
        return bundle_facts::find_cause(cx, alert, (rule, book)).await.map(Some);
    }
    let Subject::Placement(placement) = &alert.subject else {
        return Err(StoreError::corrupt("alerts", "subject").into());
    };
    let at = alert.not_before_opening(cx.now);
    let Some(loaded) = placement_facts::load_one(cx, (book, Date::in_london(at)), *placement).await? else {
        return Ok(None);
    };
    let settings = book.settings(alert.rule).ok_or_else(corrupt)?;
    let (facts, grounds) = loaded.into_facts_and_grounds();
    let holds = rule.evaluate(&facts, at, settings).cause.is_some();
    let rests_on = rule.rests_on(&facts, at, settings);
    Ok(Some(Cause { holds, figures: None, rests_on, grounds }))
}

/// Reads whether the cause of an organisation's alert about a provider still holds for its children.
async fn find_of_provider(
    cx: &mut RequestContext,
    alert: &AlertRow,
    (rule, book): (&dyn ProviderRule, &RuleBook),
) -> Result<Cause, Refusal> {
    let corrupt = |column| StoreError::corrupt("alerts", column);
    let Subject::Provider(provider, cut_off) = &alert.subject else { return Err(corrupt("subject").into()) };
    let organisation = alert.organisation.as_ref().ok_or_else(|| corrupt("organisation"))?;
    let settings = book.settings(alert.rule).ok_or_else(|| corrupt("rule"))?;
    let facts = provider_facts::load(cx, (provider, alert.due_date), (rule, settings)).await?;
    let roles: Vec<_> = settings.recipients.iter().map(|recipient| recipient.party).collect();
    let figures = rule.evaluate(&facts.sessions, *cut_off, (organisation, &roles));
    let grounds = Grounds::without_placement(facts.versions_read);
    Ok(Cause { holds: figures.is_some(), figures, rests_on: None, grounds })
}

/// Reads whether the cause of an alert about a delivery holds.
async fn find_of_delivery(
    cx: &mut RequestContext,
    alert: &AlertRow,
    book: &RuleBook,
) -> Result<Option<Cause>, Refusal> {
    let Subject::Delivery(delivery) = &alert.subject else {
        return Err(StoreError::corrupt("alerts", "subject").into());
    };
    let Some(LoadedDelivery { facts, grounds }) = delivery_facts::load(cx, delivery).await? else {
        return Ok(None);
    };
    let settings = book.settings(alert.rule).ok_or_else(|| StoreError::corrupt("alerts", "rule"))?;
    let holds = not_acted_on::evaluate(&facts, alert.not_before_opening(cx.now), settings).cause.is_some();
    Ok(Some(Cause { holds, figures: None, rests_on: None, grounds }))
}

impl placement_facts::LoadedFacts {
    /// Returns the facts, and what a decision from them rests on and whom it concerns.
    pub(super) fn into_facts_and_grounds(self) -> (PlacementFacts, Grounds) {
        let child = ChildRecord {
            placement: self.placement.id,
            child: self.placement.child,
            sender: self.placement.commissioner.clone(),
            key: self.key,
        };
        let (child, placement) = (Some(child), Some(self.placement));
        (self.facts, Grounds { versions_read: self.versions_read, child, placement })
    }
}
