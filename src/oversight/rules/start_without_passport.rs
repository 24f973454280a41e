//! `START_WITHOUT_PASSPORT`: a placement has been active for a school day, and its provider has not acknowledged the
//! newest passport, or there is none. A passport that replaces an acknowledged one may be acknowledged within a school day,
//! too. The alert ends with the acknowledgement or the placement.

use super::SCHOOL_DAYS;
use crate::calendar::Date;
use crate::clock::Instant;
use crate::oversight::placement_facts::PlacementFacts;
use crate::oversight::placement_rule::{Evaluation, PlacementRule};
use crate::oversight::rule_book::{Parameter, PartyRole, RuleSettings};
use crate::oversight::rule_id::RuleId;

/// The rule.
pub struct StartWithoutPassport;

impl PlacementRule for StartWithoutPassport {
    fn id(&self) -> RuleId {
        RuleId::StartWithoutPassport
    }

    fn may_tell(&self) -> &'static [PartyRole] {
        &[PartyRole::Commissioner, PartyRole::Provider]
    }

    fn parameters(&self) -> &'static [Parameter] {
        const { &[Parameter::new(SCHOOL_DAYS, 1, 60)] }
    }

    fn evaluate(&self, facts: &PlacementFacts, at: Instant, settings: &RuleSettings) -> Evaluation {
        let days = settings.parameter(SCHOOL_DAYS, Date::in_london(at));
        match facts.start.zip(days) {
            Some((start, days)) if facts.is_active && !facts.passport_acknowledged => {
                // The first day counts if it is a school day.
                let since = facts.passport_replaced.map_or(start, |replaced| replaced.max(start));
                Evaluation::due_on(facts.provider_days.nth_school_day(since, days), at)
            }
            _ => Evaluation::CLEAR,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oversight::fixtures::{calendar, settings, shift};

    fn evaluate(facts: &PlacementFacts, at: Instant) -> Evaluation {
        StartWithoutPassport.evaluate(facts, at, &settings(RuleId::StartWithoutPassport))
    }

    fn started(start: &str) -> PlacementFacts {
        let (start, provider_days) = (Date::parse(start).ok(), calendar());
        PlacementFacts { is_active: true, start, provider_days, ..PlacementFacts::default() }
    }

    #[test]
    fn the_alert_is_due_when_the_first_school_day_ends() {
        for (start, day) in [
            ("2026-11-18", "2026-11-18"),
            ("2026-11-21", "2026-11-23"), // a Saturday
            ("2026-11-20", "2026-11-23"), // an inset day
            ("2026-11-24", "2026-11-25"), // a closure
            ("2026-10-24", "2026-11-02"), // before half-term, in which the clocks change
            ("2026-12-19", "2027-01-05"), // the Christmas holidays
        ] {
            let (facts, day) = (started(start), Date::parse(day).unwrap());
            let due = day.end_of_day();
            let clear = Evaluation { cause: None, next: Some(due) };
            assert_eq!(evaluate(&facts, shift(due, -1)), clear, "{start}");
            for micros in [0, 1] {
                let found = evaluate(&facts, shift(due, micros));
                assert_eq!(found, Evaluation { cause: Some(day), next: None }, "{start}");
            }
        }
    }

    #[test]
    fn a_placement_that_is_over_or_whose_passport_was_acknowledged_is_clear() {
        let acknowledged = PlacementFacts { passport_acknowledged: true, ..started("2026-11-18") };
        let over = PlacementFacts { is_active: false, ..started("2026-11-18") };
        for facts in [acknowledged, over] {
            assert_eq!(evaluate(&facts, Instant::MAX), Evaluation::CLEAR);
        }
    }

    #[test]
    fn a_passport_that_replaces_an_acknowledged_one_has_a_school_day_of_its_own() {
        let replaced =
            |day: &str| PlacementFacts { passport_replaced: Date::parse(day).ok(), ..started("2026-11-16") };
        for (day, due) in [
            ("2026-11-10", "2026-11-16"), // before the start
            ("2026-11-18", "2026-11-18"),
            ("2026-11-21", "2026-11-23"), // a Saturday
            ("2026-12-19", "2027-01-05"), // the Christmas holidays
        ] {
            let due = Date::parse(due).unwrap().end_of_day();
            assert_eq!(evaluate(&replaced(day), shift(due, -1)).cause, None, "{day}");
            assert!(evaluate(&replaced(day), due).cause.is_some(), "{day}");
        }
    }

    #[test]
    fn the_number_of_days_is_that_of_the_day() {
        let mut settings = settings(RuleId::StartWithoutPassport);
        let since = |text: &str| Date::parse(text).unwrap();
        let values = vec![(since("2026-09-01"), 1), (since("2026-11-19"), 3)];
        settings.parameters.insert(SCHOOL_DAYS.to_owned(), values);
        let facts = started("2026-11-16");
        let at = |day: &str| StartWithoutPassport.evaluate(&facts, since(day).end_of_day(), &settings).cause;
        // The end of Monday is the first instant of Tuesday.
        assert_eq!(at("2026-11-17"), Some(since("2026-11-16")));
        assert_eq!(at("2026-11-18"), Some(since("2026-11-18")), "three days from the 19th on");
        settings.parameters.insert(SCHOOL_DAYS.to_owned(), vec![(since("2026-11-19"), 1)]);
        let at = StartWithoutPassport.evaluate(&facts, since("2026-11-16").end_of_day(), &settings);
        assert_eq!(at, Evaluation::CLEAR, "before the first value");
    }
}
