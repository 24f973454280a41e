//! `ATTENDANCE_DROP`: on a Friday, attendance in the last 10 expected sessions is at least 20 percentage points under that of
//! the 6 calendar weeks before them, in which at least 20 sessions were possible. What was marked before the Friday counts;
//! the answer stays until the next Friday, unless a mark of before is corrected. The alert ends on a Friday on which it is
//! no longer so.
//!
//! An expected session is a possible session with a mark, and attendance is what the Department for Education counts as such
//! (domain facts 1.2 and 1.5): a session without a mark is no absence, and D, Q, X, Y, Z and # do not count. The rates are
//! compared as integers, because a rounded rate would turn 19.95 points into 20.
//!
//! Source: domain facts 8, OC4. Persistent absence is a figure of reports and no alert, because in state-funded alternative
//! provision most children are persistently absent.

use crate::calendar::Date;
use crate::clock::Instant;
use crate::codes::rates::AttendanceRates;
use crate::oversight::attendance_facts::{last_friday, next_friday};
use crate::oversight::parameter_names::{SESSIONS, WEEKS};
use crate::oversight::placement_facts::PlacementFacts;
use crate::oversight::placement_rule::{Evaluation, PlacementRule};
use crate::oversight::rule_book::{Parameter, RuleSettings};
use crate::oversight::rule_id::RuleId;

/// Name of a parameter: possible sessions that the weeks before must have.
const POSSIBLE_SESSIONS: &str = "possible_sessions";
/// Name of a parameter: percentage points.
const POINTS: &str = "points";

/// The rule.
pub struct AttendanceDrop;

impl PlacementRule for AttendanceDrop {
    fn id(&self) -> RuleId {
        RuleId::AttendanceDrop
    }

    fn parameters(&self) -> &'static [Parameter] {
        const {
            &[
                Parameter::new(SESSIONS, 1, 50),
                Parameter::new(WEEKS, 1, 26),
                Parameter::new(POSSIBLE_SESSIONS, 1, 250),
                Parameter::new(POINTS, 1, 100),
            ]
        }
    }

    fn has_facts(&self, facts: &PlacementFacts, _: Instant, _: &RuleSettings) -> bool {
        facts.attendance.weekly.is_some()
    }

    fn rests_on(&self, facts: &PlacementFacts, _: Instant, _: &RuleSettings) -> Option<Date> {
        facts.attendance.weekly.map(|weekly| weekly.first)
    }

    fn evaluate(&self, facts: &PlacementFacts, at: Instant, settings: &RuleSettings) -> Evaluation {
        if !facts.is_active {
            return Evaluation::CLEAR;
        }
        let friday = last_friday(Date::in_london(at));
        let parameter = |name| settings.parameter(name, friday);
        let weekly = facts.attendance.weekly.filter(|weekly| weekly.friday == friday);
        let cause = weekly.zip(parameter(POSSIBLE_SESSIONS)).zip(parameter(POINTS));
        let cause = cause.filter(|((weekly, possible), points)| {
            weekly.before.possible >= u64::from(*possible) && has_dropped(weekly.last, weekly.before, *points)
        });
        Evaluation { cause: cause.map(|_| friday), next: Some(next_friday(friday)) }
    }
}

/// Returns whether a rate of attendance is at least some percentage points under another. Without possible sessions there is
/// no rate.
fn has_dropped(last: AttendanceRates, before: AttendanceRates, points: u32) -> bool {
    let drop = (100 * before.attended * last.possible).checked_sub(100 * last.attended * before.possible);
    let needed = u64::from(points) * before.possible * last.possible;
    needed > 0 && drop.is_some_and(|drop| drop >= needed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oversight::attendance_facts::WeeklyTotals;
    use crate::oversight::fixtures::{active, date, settings, shift};

    fn rates(attended: u64, possible: u64) -> AttendanceRates {
        AttendanceRates { possible, attended, absent: possible - attended }
    }

    fn totals(last: AttendanceRates, before: AttendanceRates) -> PlacementFacts {
        let mut facts = active();
        facts.attendance.weekly =
            Some(WeeklyTotals { friday: date("2026-11-27"), first: date("2026-10-05"), last, before });
        facts
    }

    fn is_raised(last: AttendanceRates, before: AttendanceRates) -> bool {
        let friday = date("2026-11-26").end_of_day();
        let cause =
            AttendanceDrop.evaluate(&totals(last, before), friday, &settings(RuleId::AttendanceDrop)).cause;
        assert!(cause.is_none_or(|cause| cause == date("2026-11-27")));
        cause.is_some()
    }

    #[test]
    fn a_drop_of_twenty_points_raises_the_alert() {
        assert!(is_raised(rates(8, 10), rates(60, 60)));
        assert!(!is_raised(rates(9, 10), rates(60, 60)));
        assert!(is_raised(rates(7, 10), rates(54, 60)), "from 90 to 70 percent");
        assert!(!is_raised(rates(7, 10), rates(53, 60)), "18.3 points");
        assert!(is_raised(rates(0, 10), rates(4, 20)) && !is_raised(rates(0, 10), rates(3, 20)));
        // 19.95 points, which would be rounded to 20.0.
        assert!(!is_raised(rates(7, 10), rates(179, 199)) && is_raised(rates(7, 10), rates(180, 200)));
        assert!(!is_raised(rates(10, 10), rates(4, 20)), "it has risen");
    }

    #[test]
    fn the_weeks_before_need_twenty_possible_sessions() {
        assert!(!is_raised(rates(0, 10), rates(19, 19)));
        assert!(is_raised(rates(0, 10), rates(20, 20)) && is_raised(rates(0, 10), rates(21, 21)));
        assert!(!is_raised(rates(0, 0), rates(20, 20)) && !is_raised(rates(0, 10), rates(0, 0)));
    }

    #[test]
    fn it_is_decided_on_fridays_and_stays_until_the_next() {
        let facts = totals(rates(0, 10), rates(20, 20));
        let settings = settings(RuleId::AttendanceDrop);
        let at = |at| AttendanceDrop.evaluate(&facts, at, &settings);
        let (begin, next) = (date("2026-11-26").end_of_day(), date("2026-12-03").end_of_day());
        assert_eq!(at(shift(begin, -1)), Evaluation { cause: None, next: Some(begin) });
        for instant in [begin, shift(begin, 1), shift(next, -1)] {
            assert_eq!(at(instant), Evaluation { cause: Some(date("2026-11-27")), next: Some(next) });
        }
        assert_eq!(at(next).cause, None, "these totals are of another Friday");
        // A Friday in half-term, before the clocks change; the next is in winter time.
        let half_term = AttendanceDrop.evaluate(&active(), date("2026-10-22").end_of_day(), &settings);
        assert_eq!(half_term.next, Some(date("2026-10-29").end_of_day()));
    }

    #[test]
    fn the_points_are_those_of_the_friday() {
        let mut settings = settings(RuleId::AttendanceDrop);
        let facts = totals(rates(8, 10), rates(60, 60));
        let mut is_raised = |from: &str| {
            let values = vec![(date("2026-11-02"), 20), (date(from), 21)];
            settings.parameters.insert(POINTS.to_owned(), values);
            AttendanceDrop.evaluate(&facts, date("2026-11-26").end_of_day(), &settings).cause.is_some()
        };
        assert!(is_raised("2026-11-28") && !is_raised("2026-11-27"));
    }
}
