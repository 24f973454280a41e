//! `PROGRESS_MISSING`: no progress return was received for half a term of an active placement. The alert ends with a
//! return or with the placement.

use super::SCHOOL_DAYS;
use crate::calendar::Date;
use crate::clock::Instant;
use crate::oversight::placement_facts::PlacementFacts;
use crate::oversight::placement_rule::{Evaluation, PlacementRule};
use crate::oversight::rule_book::{Parameter, RuleSettings};
use crate::oversight::rule_id::RuleId;

/// The rule.
pub struct ProgressMissing;

impl PlacementRule for ProgressMissing {
    fn id(&self) -> RuleId {
        RuleId::ProgressMissing
    }

    fn parameters(&self) -> &'static [Parameter] {
        const { &[Parameter::new(SCHOOL_DAYS, 1, 200)] }
    }

    fn evaluate(&self, facts: &PlacementFacts, at: Instant, settings: &RuleSettings) -> Evaluation {
        let today = Date::in_london(at);
        let days = settings.parameter(SCHOOL_DAYS, today);
        let Some((start, days)) = facts.start.zip(days).filter(|_| facts.is_active) else {
            return Evaluation::CLEAR;
        };
        let last = facts.progress_received.map_or(start, |received| received.max(start));
        let found = Evaluation::due_on(facts.provider_days.add_school_days(last, days), at);
        // A return is looked for once a day, because it has no key that could be watched.
        let next = if found.cause.is_some() { Some(today.end_of_day()) } else { found.next };
        Evaluation { next, ..found }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oversight::fixtures::{calendar, date, settings, shift};

    fn evaluate(facts: &PlacementFacts, at: Instant) -> Evaluation {
        ProgressMissing.evaluate(facts, at, &settings(RuleId::ProgressMissing))
    }

    fn placed(start: &str, received: Option<&str>) -> PlacementFacts {
        PlacementFacts {
            is_active: true,
            start: Some(date(start)),
            progress_received: received.map(date),
            provider_days: calendar(),
            ..PlacementFacts::default()
        }
    }

    #[test]
    fn the_alert_is_due_when_the_35th_school_day_after_the_last_return_ends() {
        for (start, received, day) in [
            // Half-term, an inset day and a closure lie between.
            ("2026-10-19", None, "2026-12-16"),
            ("2026-10-16", None, "2026-12-15"),
            ("2026-09-02", Some("2026-10-19"), "2026-12-16"),
            // A return of before the start does not count.
            ("2026-10-19", Some("2026-09-21"), "2026-12-16"),
            // Over Christmas.
            ("2026-11-30", None, "2027-02-02"),
        ] {
            let (facts, day) = (placed(start, received), Date::parse(day).unwrap());
            let due = day.end_of_day();
            assert_eq!(
                evaluate(&facts, shift(due, -1)),
                Evaluation { cause: None, next: Some(due) },
                "{start}"
            );
            let next = day.next().map(Date::end_of_day);
            for micros in [0, 1] {
                let found = evaluate(&facts, shift(due, micros));
                assert_eq!(found, Evaluation { cause: Some(day), next }, "{start}");
            }
        }
    }

    #[test]
    fn a_placement_that_is_over_is_clear() {
        let over = PlacementFacts { is_active: false, ..placed("2026-09-02", None) };
        assert_eq!(evaluate(&over, Instant::MAX), Evaluation::CLEAR);
    }
}
