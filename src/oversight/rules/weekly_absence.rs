//! `WEEKLY_ABSENCE`: on a Friday, one alert of a commissioner lists its children who are absent for the third expected day
//! again although `ABSENT_THIRD_DAY` alerts them only some school days after it did so last. A child leaves the list with a
//! day on which it attended, or of which an absence is explained; the alert ends with the last.
//!
//! Source: domain facts 8, OC4.

use super::absent_third_day::third_day;
use crate::calendar::Date;
use crate::clock::Instant;
use crate::oversight::parameter_names::DAYS;
use crate::oversight::placement_facts::PlacementFacts;
use crate::oversight::placement_rule::{Evaluation, PlacementRule};
use crate::oversight::rule_book::{Parameter, RuleSettings};
use crate::oversight::rule_id::RuleId;
use crate::proto::v1::AlertState;

/// Days from Monday to Friday.
const FRIDAY: i8 = 4;

/// The rule.
pub struct WeeklyAbsence;

impl PlacementRule for WeeklyAbsence {
    fn id(&self) -> RuleId {
        RuleId::WeeklyAbsence
    }

    fn parameters(&self) -> &'static [Parameter] {
        const { &[Parameter::new(DAYS, 1, 20)] }
    }

    fn joins_bundle_at(&self, at: Instant) -> bool {
        Date::in_london(at).days_since_monday() == FRIDAY
    }

    fn evaluate(&self, facts: &PlacementFacts, at: Instant, settings: &RuleSettings) -> Evaluation {
        let cause = third_day(facts, Date::in_london(at), settings).filter(|day| {
            // While its own alert is open the child needs no list. What an officer resolved is not said again.
            facts.third_day_alert.is_some_and(|(state, due)| match state {
                AlertState::Closed => true,
                AlertState::Resolved => due != *day,
                _ => false,
            })
        });
        Evaluation { cause, next: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oversight::fixtures::{at, attended, date, settings};

    #[test]
    fn a_child_is_on_the_list_while_its_own_alert_is_not_raised_again() {
        let row = "2026-11-16:OO 2026-11-17:OO 2026-11-18:OO";
        for (marks, alert, expected) in [
            (row, Some((AlertState::Closed, "2026-11-18")), Some("2026-11-18")),
            (row, Some((AlertState::Closed, "2026-11-04")), Some("2026-11-18")),
            (row, Some((AlertState::Resolved, "2026-11-04")), Some("2026-11-18")),
            (row, Some((AlertState::Resolved, "2026-11-18")), None),
            (row, Some((AlertState::Open, "2026-11-18")), None),
            (row, None, None),
            ("2026-11-17:OO 2026-11-18:OO", Some((AlertState::Closed, "2026-11-04")), None),
            (
                "2026-11-16:OO 2026-11-17:OO 2026-11-18:OO 2026-11-19:/",
                Some((AlertState::Closed, "2026-11-04")),
                None,
            ),
        ] {
            let third_day_alert = alert.map(|(state, due)| (state, date(due)));
            let facts = PlacementFacts { third_day_alert, ..attended(marks) };
            let found =
                WeeklyAbsence.evaluate(&facts, at("2026-11-20 00:00"), &settings(RuleId::WeeklyAbsence));
            assert_eq!(found, Evaluation { cause: expected.map(date), next: None }, "{marks} {alert:?}");
        }
    }

    #[test]
    fn a_child_joins_the_list_of_a_friday_only() {
        for (time, expected) in [
            ("2026-11-19 23:59", false),
            ("2026-11-20 00:00", true),
            ("2026-11-20 23:59", true),
            ("2026-11-21 00:00", false),
            // The week in which the clocks change.
            ("2026-10-23 00:00", true),
            ("2027-04-02 00:30", true),
        ] {
            assert_eq!(WeeklyAbsence.joins_bundle_at(at(time)), expected, "{time}");
        }
    }
}
