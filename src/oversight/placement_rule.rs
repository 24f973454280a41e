//! The interface of a rule about a placement: a pure function of what is known of the placement, an instant and the
//! rule's settings. The facts are loaded once for all rules.

use super::placement_facts::PlacementFacts;
use super::rule_book::{Parameter, PartyRole, RuleSettings};
use super::rule_id::RuleId;
use crate::calendar::Date;
use crate::clock::Instant;

/// A rule about a placement.
pub trait PlacementRule: Send + Sync {
    /// Returns its id, which is stored with its alerts.
    fn id(&self) -> RuleId;

    /// Returns who may be told at most: those who may read everything on which the rule rests. The rule book names some of
    /// them.
    fn may_tell(&self) -> &'static [PartyRole] {
        &PartyRole::ALL
    }

    /// Returns its parameters, which the rule book must hold.
    fn parameters(&self) -> &'static [Parameter] {
        &[]
    }

    /// Returns the name of the parameter that holds how many school days must pass after an alert was raised before another
    /// one is raised about the same subject; `None` if the life of alerts decides, as for most rules.
    fn not_again_within(&self) -> Option<&'static str> {
        None
    }

    /// Returns whether a cause of a later day than that of an alert is another cause, which opens the alert again at once
    /// although it was resolved.
    fn is_another_on_later_day(&self) -> bool {
        false
    }

    /// Returns whether a placement whose cause holds joins the bundle of the day at an instant, if the rule book bundles the
    /// rule's alerts. One that has joined stays until its cause is gone.
    fn joins_bundle_at(&self, _: Instant) -> bool {
        true
    }

    /// Returns whether enough is known of an active placement at an instant for the rule to pass it. A report says of a
    /// placement of which not enough is known that there are no facts.
    fn has_facts(&self, _: &PlacementFacts, _: Instant, _: &RuleSettings) -> bool {
        true
    }

    /// Returns the earliest day of attendance on which a cause that holds rests, as far as days decide who may be told:
    /// whoever may not read that day is not. `None`: the cause rests on no day of attendance.
    fn rests_on(&self, _: &PlacementFacts, _: Instant, _: &RuleSettings) -> Option<Date> {
        None
    }

    /// Decides whether the rule's cause holds at an instant, and when the answer may change although no fact does.
    fn evaluate(&self, facts: &PlacementFacts, at: Instant, settings: &RuleSettings) -> Evaluation;
}

/// What a rule finds at an instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evaluation {
    /// The day by which the cause should have been gone, if it holds.
    pub cause: Option<Date>,
    /// When the rule may find something else, if no fact changes before.
    pub next: Option<Instant>,
}

impl Evaluation {
    /// The cause does not hold, and time alone does not change that.
    pub const CLEAR: Self = Self { cause: None, next: None };

    /// The cause holds since the end of a day, or will hold then.
    #[must_use]
    pub fn due_on(day: Date, at: Instant) -> Self {
        let due = day.end_of_day();
        if due <= at { Self { cause: Some(day), next: None } } else { Self { cause: None, next: Some(due) } }
    }
}
