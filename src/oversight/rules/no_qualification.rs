//! `NO_QUALIFICATION`: a child of the last years of school has been placed for too many days, and neither the newest plan nor
//! a progress return names a qualification towards which it works. The alert ends with either, or with the placement.

use crate::calendar::Date;
use crate::clock::Instant;
use crate::oversight::placement_facts::PlacementFacts;
use crate::oversight::placement_rule::{Evaluation, PlacementRule};
use crate::oversight::rule_book::{Parameter, RuleSettings};
use crate::oversight::rule_id::RuleId;

/// Name of a parameter: days for which a placement may be active.
const DAYS: &str = "days";
/// Name of a parameter: the first year in school.
const FIRST_YEAR: &str = "first_year";
/// Name of a parameter: the last year in school.
const LAST_YEAR: &str = "last_year";

/// The rule.
pub struct NoQualification;

impl PlacementRule for NoQualification {
    fn id(&self) -> RuleId {
        RuleId::NoQualification
    }

    fn parameters(&self) -> &'static [Parameter] {
        const {
            &[
                Parameter::new(DAYS, 0, 365),
                Parameter::new(FIRST_YEAR, 0, 14).not_above(LAST_YEAR),
                Parameter::new(LAST_YEAR, 0, 14),
            ]
        }
    }

    fn has_facts(&self, facts: &PlacementFacts, at: Instant, _: &RuleSettings) -> bool {
        facts.plan.has_qualification || facts.plan.year_group(Date::in_london(at)).is_some()
    }

    fn evaluate(&self, facts: &PlacementFacts, at: Instant, settings: &RuleSettings) -> Evaluation {
        let today = Date::in_london(at);
        let parameter = |name| settings.parameter(name, today);
        let years = parameter(FIRST_YEAR).zip(parameter(LAST_YEAR));
        let Some(((days, (first, last)), start)) = parameter(DAYS).zip(years).zip(facts.start) else {
            return Evaluation::CLEAR;
        };
        let year = facts.plan.year_group(today).and_then(|year| u32::try_from(year).ok());
        let Some(year) = year.filter(|_| facts.is_active && !facts.plan.has_qualification) else {
            return Evaluation::CLEAR;
        };
        if year < first {
            return Evaluation { cause: None, next: next_school_year(today) };
        }
        if year > last {
            return Evaluation::CLEAR;
        }
        let found = Evaluation::due_on(start.plus_days(i32::try_from(days).unwrap_or(i32::MAX)), at);
        if found.cause.is_some() {
            // A progress return is looked for once a day, because it has no key that could be watched.
            return Evaluation { next: Some(today.end_of_day()), ..found };
        }
        found
    }
}

/// Returns the instant at which the next school year begins, the first of 1 September.
fn next_school_year(today: Date) -> Option<Instant> {
    let year = today.year() + i16::from(today.month() >= 9);
    Date::new(year, 8, 31).ok().map(Date::end_of_day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oversight::fixtures::{date, settings, shift};
    use crate::oversight::plan_facts::PlanFacts;

    fn evaluate(facts: &PlacementFacts, at: Instant) -> Evaluation {
        NoQualification.evaluate(facts, at, &settings(RuleId::NoQualification))
    }

    /// Returns the facts of a child that began year 0 in September of a year: 2016 is year 10 in 2026.
    fn placed(start: &str, cohort: i16) -> PlacementFacts {
        let plan = PlanFacts { cohort: Some(cohort), ..PlanFacts::default() };
        PlacementFacts { is_active: true, start: Some(date(start)), plan, ..PlacementFacts::default() }
    }

    #[test]
    fn the_alert_is_due_when_the_31st_day_ends() {
        for (start, day) in [
            ("2026-11-18", "2026-12-18"),
            ("2026-09-25", "2026-10-25"), // the day on which the clocks change
            ("2026-10-24", "2026-11-23"),
            ("2026-11-25", "2026-12-25"), // a bank holiday
            ("2027-02-27", "2027-03-29"),
        ] {
            for cohort in [2016, 2015] {
                let (facts, day) = (placed(start, cohort), date(day));
                let due = day.end_of_day();
                let clear = Evaluation { cause: None, next: Some(due) };
                assert_eq!(evaluate(&facts, shift(due, -1)), clear, "{start}");
                let next = day.next().map(Date::end_of_day);
                for micros in [0, 1] {
                    let found = evaluate(&facts, shift(due, micros));
                    assert_eq!(found, Evaluation { cause: Some(day), next }, "{start}");
                }
            }
        }
    }

    #[test]
    fn only_years_10_and_11_are_alerted() {
        let at = date("2027-03-01").end_of_day();
        let cause = |cohort| evaluate(&placed("2026-11-18", cohort), at).cause.is_some();
        assert_eq!([2018, 2017, 2016, 2015, 2014].map(cause), [false, false, true, true, false]);
        let september = Some(date("2027-08-31").end_of_day());
        let younger = placed("2026-11-18", 2017);
        assert_eq!(evaluate(&younger, at), Evaluation { cause: None, next: september });
        let begun = evaluate(&younger, date("2027-08-31").end_of_day());
        assert_eq!(begun.cause, Some(date("2026-12-18")), "year 10 begins");
        assert_eq!(evaluate(&placed("2026-11-18", 2014), at), Evaluation::CLEAR);
        let in_december = evaluate(&younger, date("2026-12-01").end_of_day());
        assert_eq!(in_december.next, september);
    }

    #[test]
    fn a_qualification_an_end_and_an_unknown_year_are_clear() {
        let late = placed("2026-11-18", 2016);
        let named = PlanFacts { has_qualification: true, ..late.plan.clone() };
        let unknown = PlanFacts { cohort: None, ..late.plan.clone() };
        for facts in [
            PlacementFacts { plan: named, ..late.clone() },
            PlacementFacts { plan: unknown, ..late.clone() },
            PlacementFacts { is_active: false, ..late },
        ] {
            assert_eq!(evaluate(&facts, date("2027-03-01").end_of_day()), Evaluation::CLEAR);
        }
    }

    #[test]
    fn the_number_of_days_is_that_of_the_day() {
        let mut settings = settings(RuleId::NoQualification);
        settings.parameters.insert(DAYS.to_owned(), vec![(date("2026-09-01"), 30), (date("2026-12-20"), 60)]);
        let cause = |day: &str| {
            let at = date(day).end_of_day();
            NoQualification.evaluate(&placed("2026-11-18", 2016), at, &settings).cause
        };
        assert_eq!(cause("2026-12-18"), Some(date("2026-12-18")));
        assert_eq!(cause("2026-12-19"), None, "60 days from the 20th on");
    }
}
