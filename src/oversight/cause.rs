//! Whether the cause of an alert still holds, by the rule that raised it.

use super::alerts::AlertRow;
use super::placement_facts::{self, PlacementFacts};
use super::rule::{Cause, ChildRecord, Grounds};
use super::rule_book::RuleBook;
use super::rules::{self, AnyRule};
use super::subject::Subject;
use crate::exchange::{Refusal, RequestContext};
use crate::store::StoreError;

/// Reads whether the cause of an alert holds. `None`: this cannot be decided, because the child's record was erased.
///
/// # Errors
/// As the rule; [`Reason::Failed`](crate::exchange::Reason::Failed) for an alert of a rule without settings.
pub(super) async fn find(
    cx: &mut RequestContext,
    alert: &AlertRow,
    book: &RuleBook,
) -> Result<Option<Cause>, Refusal> {
    let corrupt = || StoreError::corrupt("alerts", "rule");
    let rule = match rules::by_id(alert.rule).ok_or_else(corrupt)? {
        AnyRule::Listed(rule) => return rule.find_cause(cx, alert).await,
        AnyRule::OfPlacement(rule) => rule,
    };
    let Subject::Placement(placement) = &alert.subject;
    let Some(loaded) = placement_facts::load_one(cx, *placement).await? else { return Ok(None) };
    let settings = book.settings(alert.rule).ok_or_else(corrupt)?;
    let (facts, grounds) = loaded.into_facts_and_grounds();
    Ok(Some(Cause { holds: rule.evaluate(&facts, cx.now, settings).cause.is_some(), grounds }))
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
