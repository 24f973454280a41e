//! `REVIEW_DATE_PASSED`: a day of review that the plan names has passed, and since then neither a plan was put nor a
//! progress return was received. The alert ends with either, or with the placement.

use crate::calendar::Date;
use crate::clock::Instant;
use crate::oversight::placement_facts::PlacementFacts;
use crate::oversight::placement_rule::{Evaluation, PlacementRule};
use crate::oversight::rule_book::RuleSettings;
use crate::oversight::rule_id::RuleId;

/// The rule.
pub struct ReviewDatePassed;

impl PlacementRule for ReviewDatePassed {
    fn id(&self) -> RuleId {
        RuleId::ReviewDatePassed
    }

    fn is_another_on_later_day(&self) -> bool {
        true
    }

    fn has_facts(&self, facts: &PlacementFacts, _: Instant, _: &RuleSettings) -> bool {
        !facts.review_dates.is_empty()
    }

    fn evaluate(&self, facts: &PlacementFacts, at: Instant, _: &RuleSettings) -> Evaluation {
        if !facts.is_active {
            return Evaluation::CLEAR;
        }
        let today = Date::in_london(at);
        let passed = facts.review_dates.iter().rev().find(|date| **date < today);
        let spoken = facts.plan_put.max(facts.progress_received);
        let cause = passed.copied().filter(|date| spoken.is_none_or(|spoken| spoken < *date));
        let next = facts.review_dates.iter().copied().find(|date| *date >= today);
        // A progress return is looked for once a day, because it has no key that could be watched.
        let next = if cause.is_some() { Some(today) } else { next };
        Evaluation { cause, next: next.map(Date::end_of_day) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oversight::fixtures::{date, settings, shift};

    fn evaluate(facts: &PlacementFacts, at: Instant) -> Evaluation {
        ReviewDatePassed.evaluate(facts, at, &settings(RuleId::ReviewDatePassed))
    }

    fn planned(review_dates: &[&str], plan_put: &str) -> PlacementFacts {
        let review_dates = review_dates.iter().map(|text| date(text)).collect();
        let plan_put = Some(date(plan_put));
        PlacementFacts { is_active: true, review_dates, plan_put, ..PlacementFacts::default() }
    }

    #[test]
    fn the_alert_is_due_when_the_day_of_a_review_ends() {
        // A Friday, and the Sunday on which the clocks change.
        for review in ["2026-11-27", "2026-10-25"] {
            let (facts, due) = (planned(&[review, "2027-02-01"], "2026-09-01"), date(review).end_of_day());
            let clear = Evaluation { cause: None, next: Some(due) };
            assert_eq!(evaluate(&facts, shift(due, -1)), clear, "{review}");
            // It is looked at again when the next day ends.
            let next = date(review).next().map(Date::end_of_day);
            for micros in [0, 1] {
                let found = evaluate(&facts, shift(due, micros));
                assert_eq!(found, Evaluation { cause: Some(date(review)), next }, "{review}");
            }
        }
    }

    #[test]
    fn a_plan_or_a_progress_return_of_the_day_or_later_speaks_of_the_review() {
        let at = date("2026-11-30").end_of_day();
        let cause = |facts: &PlacementFacts| evaluate(facts, at).cause;
        for (put, holds) in [("2026-11-26", true), ("2026-11-27", false), ("2026-11-28", false)] {
            let expected = holds.then(|| date("2026-11-27"));
            assert_eq!(cause(&planned(&["2026-11-27"], put)), expected, "{put}");
            let progress_received = Some(date(put));
            let returned = PlacementFacts { progress_received, ..planned(&["2026-11-27"], "2026-09-01") };
            assert_eq!(cause(&returned), expected, "{put}");
        }
        let over = PlacementFacts { is_active: false, ..planned(&["2026-11-27"], "2026-09-01") };
        assert_eq!(evaluate(&over, at), Evaluation::CLEAR);
        let two = planned(&["2026-11-20", "2026-11-27"], "2026-11-23");
        assert_eq!(cause(&two), Some(date("2026-11-27")), "a plan speaks of the reviews before it");
    }
}
