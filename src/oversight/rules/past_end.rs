//! `PAST_END`: a placement is active after its planned end. The alert ends with the placement, or when a plan moves the
//! end.

use crate::clock::Instant;
use crate::oversight::placement_facts::PlacementFacts;
use crate::oversight::placement_rule::{Evaluation, PlacementRule};
use crate::oversight::rule_book::RuleSettings;
use crate::oversight::rule_id::RuleId;

/// The rule.
pub struct PastEnd;

impl PlacementRule for PastEnd {
    fn id(&self) -> RuleId {
        RuleId::PastEnd
    }

    fn has_facts(&self, facts: &PlacementFacts, _: Instant, _: &RuleSettings) -> bool {
        facts.planned_end.is_some()
    }

    fn evaluate(&self, facts: &PlacementFacts, at: Instant, _: &RuleSettings) -> Evaluation {
        match facts.planned_end {
            Some(end) if facts.is_active => Evaluation::due_on(end, at),
            _ => Evaluation::CLEAR,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::Date;
    use crate::oversight::fixtures::{settings, shift};

    #[test]
    fn the_alert_is_due_when_the_planned_last_day_ends() {
        // A Friday in term, a Sunday on which the clocks change, a bank holiday, the last day of winter time.
        for end in ["2026-11-27", "2026-10-25", "2026-12-25", "2027-03-27", "2027-03-28"] {
            let end = Date::parse(end).unwrap();
            let facts =
                PlacementFacts { is_active: true, planned_end: Some(end), ..PlacementFacts::default() };
            let at = |micros| {
                PastEnd.evaluate(&facts, shift(end.end_of_day(), micros), &settings(RuleId::PastEnd))
            };
            assert_eq!(at(-1), Evaluation { cause: None, next: Some(end.end_of_day()) }, "{end}");
            for micros in [0, 1, 86_400_000_000] {
                assert_eq!(at(micros), Evaluation { cause: Some(end), next: None }, "{end}");
            }
        }
    }

    #[test]
    fn a_placement_that_is_over_or_without_an_end_is_clear() {
        let end = Date::parse("2026-11-27").ok();
        for facts in [
            PlacementFacts { planned_end: end, ..PlacementFacts::default() },
            PlacementFacts { is_active: true, ..PlacementFacts::default() },
        ] {
            assert_eq!(PastEnd.evaluate(&facts, Instant::MAX, &settings(RuleId::PastEnd)), Evaluation::CLEAR);
        }
    }
}
