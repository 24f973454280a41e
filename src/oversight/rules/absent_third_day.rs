//! `ABSENT_THIRD_DAY`: a child is absent on the third expected day in a row, and nobody has explained it. An expected day has
//! an expected session; it is a day of absence if each of its sessions is an unexplained absence (N, O, U, G, or seen to be
//! absent). A day without a mark neither counts nor ends the row, because it says nothing about the child. The alert ends
//! with a day on which the child attended, or of which an absence is explained.
//!
//! The same child is alerted again only some school days after the alert was raised. Before, it is on the weekly list:
//! [`third_day`] finds it, and [`RuleSettings::parameter`] of [`DAYS`] is what it takes; on the list are those for which it
//! holds and whose newest alert of this rule is not open.
//!
//! Source: domain facts 8, OC4; the classes of codes are those of domain facts 1.1.

use crate::calendar::Date;
use crate::clock::Instant;
use crate::oversight::attendance_facts::days_of_absence;
use crate::oversight::parameter_names::DAYS;
use crate::oversight::placement_facts::PlacementFacts;
use crate::oversight::placement_rule::{Evaluation, PlacementRule};
use crate::oversight::rule_book::{Parameter, RuleSettings};
use crate::oversight::rule_id::RuleId;

/// Name of a parameter: school days after an alert before another one.
const AGAIN_AFTER: &str = "again_after_school_days";

/// The rule.
pub struct AbsentThirdDay;

impl PlacementRule for AbsentThirdDay {
    fn id(&self) -> RuleId {
        RuleId::AbsentThirdDay
    }

    fn parameters(&self) -> &'static [Parameter] {
        const { &[Parameter::new(DAYS, 1, 20), Parameter::new(AGAIN_AFTER, 0, 200)] }
    }

    fn not_again_within(&self) -> Option<&'static str> {
        Some(AGAIN_AFTER)
    }

    fn has_facts(&self, facts: &PlacementFacts, _: Instant, _: &RuleSettings) -> bool {
        !facts.attendance.sessions.is_empty()
    }

    fn rests_on(&self, facts: &PlacementFacts, at: Instant, _: &RuleSettings) -> Option<Date> {
        days_of_absence(facts.attendance.sessions_until(Date::in_london(at))).first().copied()
    }

    fn evaluate(&self, facts: &PlacementFacts, at: Instant, settings: &RuleSettings) -> Evaluation {
        let today = Date::in_london(at);
        let cause = third_day(facts, today, settings);
        // Attendance sets no moment, so it is looked for when the day ends.
        Evaluation { cause, next: cause.map(|_| today.end_of_day()) }
    }
}

/// Returns the third day of the unexplained absence that a child has not ended until a day; `None` if there is none.
#[must_use]
pub fn third_day(facts: &PlacementFacts, today: Date, settings: &RuleSettings) -> Option<Date> {
    let count = usize::try_from(settings.parameter(DAYS, today)?).ok()?;
    let days = days_of_absence(facts.attendance.sessions_until(today));
    days.get(count.checked_sub(1)?).copied().filter(|_| facts.is_active)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oversight::fixtures::{at, attended, date, settings};

    fn cause(marks: &str, now: &str) -> Option<Date> {
        AbsentThirdDay.evaluate(&attended(marks), at(now), &settings(RuleId::AbsentThirdDay)).cause
    }

    #[test]
    fn the_third_expected_day_in_a_row_raises_the_alert() {
        for (marks, third) in [
            ("2026-11-17:OO 2026-11-18:OO", None),
            ("2026-11-17:OO 2026-11-18:OO 2026-11-19:O", Some("2026-11-19")),
            ("2026-11-17:NU 2026-11-18:G 2026-11-19:O 2026-11-23:O", Some("2026-11-19")),
            // Over a weekend, the half-term in which the clocks change, an inset day and a closure.
            ("2026-11-12:OO 2026-11-13:OO 2026-11-16:OO", Some("2026-11-16")),
            ("2026-10-22:OO 2026-10-23:OO 2026-11-02:OO", Some("2026-11-02")),
            ("2026-11-19:OO 2026-11-23:OO 2026-11-25:OO", Some("2026-11-25")),
            ("2026-11-23:OO 2026-11-24:## 2026-11-25:OO 2026-11-26:OO", Some("2026-11-26")),
            ("2026-12-17:OO 2026-12-18:OO 2027-01-05:OO", Some("2027-01-05")),
            // A child that comes on one day a week.
            ("2026-11-04:O 2026-11-11:O 2026-11-18:O", Some("2026-11-18")),
            // A day without a mark, and one that was not possible, neither count nor end the row.
            ("2026-11-16:OO 2026-11-17:QQ 2026-11-18:OO", None),
            ("2026-11-13:OO 2026-11-16:OO 2026-11-17:QQ 2026-11-19:OO", Some("2026-11-19")),
        ] {
            assert_eq!(cause(marks, "2027-01-05 16:00"), third.map(date), "{marks}");
        }
    }

    #[test]
    fn a_day_attended_or_explained_ends_the_row() {
        let row = "2026-11-16:OO 2026-11-17:OO 2026-11-18:OO";
        for next in ["2026-11-19:/", "2026-11-19:O\\", "2026-11-19:OI", "2026-11-19:M", "2026-11-19:K"] {
            assert_eq!(cause(&format!("{row} {next}"), "2026-11-19 16:00"), None, "{next}");
        }
        assert_eq!(cause(&format!("{row} 2026-11-19:O"), "2026-11-19 16:00"), Some(date("2026-11-18")));
        assert_eq!(
            cause("2026-11-16:OO 2026-11-17:O/ 2026-11-18:OO 2026-11-19:OO", "2026-11-19 16:00"),
            None
        );
        let over = PlacementFacts { is_active: false, ..attended(row) };
        let found = AbsentThirdDay.evaluate(&over, at("2026-11-19 16:00"), &settings(RuleId::AbsentThirdDay));
        assert_eq!(found, Evaluation::CLEAR);
    }

    #[test]
    fn the_number_of_days_is_that_of_the_day() {
        let mut settings = settings(RuleId::AbsentThirdDay);
        settings.parameters.insert(DAYS.to_owned(), vec![(date("2026-11-02"), 3), (date("2026-11-20"), 2)]);
        let facts = attended("2026-11-18:OO 2026-11-19:OO");
        let at = |day: &str| AbsentThirdDay.evaluate(&facts, date(day).end_of_day(), &settings).cause;
        assert_eq!((at("2026-11-18"), at("2026-11-19")), (None, Some(date("2026-11-19"))));
    }
}
