//! `LONG_NON_SCHOOL`: a child has been placed outside schools for too many days with too many sessions a week. The limit is
//! not law yet, so the embedded rule has no first day and does not run. The alert ends with a plan that has fewer sessions,
//! or with the placement.

use crate::calendar::Date;
use crate::clock::Instant;
use crate::oversight::placement_facts::PlacementFacts;
use crate::oversight::placement_rule::{Evaluation, PlacementRule};
use crate::oversight::rule_book::{Parameter, RuleSettings};
use crate::oversight::rule_id::RuleId;

/// Name of a parameter: days for which a placement may be active.
const DAYS: &str = "days";
/// Name of a parameter: sessions that a week may have, however long the placement is.
const SESSIONS: &str = "sessions";

/// The rule.
pub struct LongNonSchool;

impl PlacementRule for LongNonSchool {
    fn id(&self) -> RuleId {
        RuleId::LongNonSchool
    }

    fn parameters(&self) -> &'static [Parameter] {
        const { &[Parameter::new(DAYS, 0, 1_000), Parameter::new(SESSIONS, 0, 50)] }
    }

    fn has_facts(&self, facts: &PlacementFacts, _: Instant, _: &RuleSettings) -> bool {
        facts.plan.weeks.last().is_some_and(|week| week.sessions.is_some())
    }

    fn evaluate(&self, facts: &PlacementFacts, at: Instant, settings: &RuleSettings) -> Evaluation {
        let parameter = |name| settings.parameter(name, Date::in_london(at));
        let (Some(days), Some(limit), Some(start)) = (parameter(DAYS), parameter(SESSIONS), facts.start)
        else {
            return Evaluation::CLEAR;
        };
        let sessions = facts.plan.weeks.last().and_then(|week| week.sessions);
        if facts.is_active && facts.plan.is_non_school && sessions.is_some_and(|sessions| sessions > limit) {
            Evaluation::due_on(start.plus_days(i32::try_from(days).unwrap_or(i32::MAX)), at)
        } else {
            Evaluation::CLEAR
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oversight::fixtures::{date, settings, shift};
    use crate::oversight::plan_facts::{PlanFacts, PlannedWeek};
    use crate::oversight::rule_book::RuleBook;

    fn evaluate(facts: &PlacementFacts, at: Instant) -> Evaluation {
        LongNonSchool.evaluate(facts, at, &settings(RuleId::LongNonSchool))
    }

    fn placed(start: &str, sessions: Option<u32>) -> PlacementFacts {
        let week =
            PlannedWeek { put: None, sessions, minutes: None, rest_minutes: None, part_time_review: None };
        let plan = PlanFacts { weeks: vec![week], is_non_school: true, ..PlanFacts::default() };
        PlacementFacts { is_active: true, start: Some(date(start)), plan, ..PlacementFacts::default() }
    }

    #[test]
    fn the_alert_is_due_when_the_day_after_twelve_weeks_ends() {
        // The vector of the planned limit, and one over the change of the clocks.
        for (start, day) in [("2026-11-23", "2027-02-15"), ("2026-10-24", "2027-01-16")] {
            let (facts, day) = (placed(start, Some(5)), date(day));
            let due = day.end_of_day();
            assert_eq!(evaluate(&facts, shift(due, -1)), Evaluation { cause: None, next: Some(due) });
            for micros in [0, 1] {
                let found = evaluate(&facts, shift(due, micros));
                assert_eq!(found, Evaluation { cause: Some(day), next: None });
            }
        }
    }

    #[test]
    fn more_than_four_sessions_outside_schools_are_alerted() {
        let at = date("2027-02-15").end_of_day();
        let cause = |facts: &PlacementFacts| evaluate(facts, at).cause.is_some();
        let with = |sessions| placed("2026-11-23", sessions);
        assert_eq!([3, 4, 5].map(|sessions| cause(&with(Some(sessions)))), [false, false, true]);
        assert!(!cause(&with(None)), "unknown");
        let school = PlanFacts { is_non_school: false, ..with(Some(5)).plan };
        assert!(!cause(&PlacementFacts { plan: school, ..with(Some(5)) }));
        assert!(!cause(&PlacementFacts { is_active: false, ..with(Some(5)) }));
    }

    #[test]
    fn the_rule_runs_only_with_a_day_of_an_override() {
        assert_eq!(RuleBook::embedded().running(RuleId::LongNonSchool, Date::MAX), None);
        let text = "[rules.LONG_NON_SCHOOL]\nfrom = \"2027-01-04\"\nfindings = [\"OC5\"]\nseverity = 3\n\
                    recipients = [\"commissioner\", \"residence\"]\n[rules.LONG_NON_SCHOOL.parameters]\n\
                    days = [{ from = \"2027-01-04\", value = 84 }]\n\
                    sessions = [{ from = \"2027-01-04\", value = 4 }, { from = \"2027-02-15\", value = 5 }]\n";
        let book = RuleBook::with_overrides(text).unwrap();
        assert_eq!(book.running(RuleId::LongNonSchool, date("2027-01-03")), None);
        let settings = book.running(RuleId::LongNonSchool, date("2027-01-04")).unwrap();
        let cause = |start: &str, at: &str| {
            LongNonSchool.evaluate(&placed(start, Some(5)), date(at).end_of_day(), settings).cause
        };
        assert!(!settings.covers(Some(date("2027-01-03"))) && settings.covers(Some(date("2027-01-04"))));
        // The end of a day is the first instant of the next.
        assert_eq!(cause("2026-11-20", "2027-02-13"), Some(date("2027-02-12")));
        assert_eq!(cause("2026-11-20", "2027-02-14"), None, "five sessions may be from the 15th on");
    }
}
