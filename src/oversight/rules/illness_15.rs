//! `ILLNESS_15`: a child has been ill on 15 school days of the school year, one after the other or not: the local authority
//! arranges education from then on. A session is half a day. It counts if its mark has code I, or if the register of the
//! commissioner or a school on roll has; days that are no days of education do not count. The alert ends when a correction
//! takes the count below, and with the school year, which ends on 31 July.
//!
//! Source: Education Act 1996, section 19; DfE, Arranging education for children who cannot attend school because of health
//! needs, 2023; domain facts 3.4 (14 no, 15 alert) and 1.4.

use crate::calendar::Date;
use crate::clock::Instant;
use crate::oversight::attendance_facts::{school_year_end, school_year_start};
use crate::oversight::parameter_names::SCHOOL_DAYS;
use crate::oversight::placement_facts::PlacementFacts;
use crate::oversight::placement_rule::{Evaluation, PlacementRule};
use crate::oversight::rule_book::{Parameter, RuleSettings};
use crate::oversight::rule_id::RuleId;

/// The rule.
pub struct Illness15;

impl PlacementRule for Illness15 {
    fn id(&self) -> RuleId {
        RuleId::Illness15
    }

    fn parameters(&self) -> &'static [Parameter] {
        const { &[Parameter::new(SCHOOL_DAYS, 1, 200)] }
    }

    fn has_facts(&self, facts: &PlacementFacts, _: Instant, _: &RuleSettings) -> bool {
        !facts.attendance.sessions.is_empty()
    }

    fn rests_on(&self, facts: &PlacementFacts, at: Instant, _: &RuleSettings) -> Option<Date> {
        let year = school_year_start(Date::in_london(at));
        facts.attendance.illness.iter().copied().find(|day| *day >= year)
    }

    fn evaluate(&self, facts: &PlacementFacts, at: Instant, settings: &RuleSettings) -> Evaluation {
        let today = Date::in_london(at);
        let days = settings.parameter(SCHOOL_DAYS, today).filter(|days| facts.is_active && *days > 0);
        let last = days.and_then(|days| usize::try_from(2 * days - 1).ok());
        let year = school_year_start(today)..=today;
        let mut ill = facts.attendance.illness.iter().copied().filter(|day| year.contains(day));
        let cause = last.and_then(|last| ill.nth(last));
        Evaluation { cause, next: cause.map(|_| school_year_end(today).end_of_day()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oversight::fixtures::{active, at, calendar, date, settings};

    /// Makes a child that was ill in some sessions, two a school day from a day on.
    fn ill(first: &str, sessions: u32) -> PlacementFacts {
        let mut facts = active();
        let day = |session| calendar().nth_school_day(date(first), session / 2 + 1);
        facts.attendance.illness = (0..sessions).map(day).collect();
        facts
    }

    fn cause(facts: &PlacementFacts, now: &str) -> Option<Date> {
        Illness15.evaluate(facts, at(now), &settings(RuleId::Illness15)).cause
    }

    #[test]
    fn fifteen_school_days_raise_the_alert() {
        // Over weekends, half-term, the change of the clocks, an inset day and a closure.
        for (first, last) in
            [("2026-11-26", "2026-12-16"), ("2026-10-19", "2026-11-13"), ("2026-11-09", "2026-12-01")]
        {
            for (sessions, expected) in [
                (28, None),
                (29, None),
                (30, Some(date(last))),
                (31, Some(date(last))),
                (40, Some(date(last))),
            ] {
                assert_eq!(cause(&ill(first, sessions), "2027-02-01 12:00"), expected, "{first} {sessions}");
            }
            let (facts, day) = (ill(first, 30), date(last));
            assert_eq!(cause(&facts, &format!("{} 23:59", day.previous().unwrap())), None, "{first}");
            assert_eq!(cause(&facts, &format!("{day} 00:00")), Some(day), "{first}");
        }
    }

    #[test]
    fn half_days_are_halves_also_when_they_do_not_follow_one_another() {
        let mut facts = active();
        facts.attendance.illness = (0..30).map(|week| date("2026-08-31").plus_days(7 * week)).collect();
        let fifteenth = facts.attendance.illness.last().copied();
        assert_eq!(cause(&facts, "2027-07-01 12:00"), fifteenth);
        facts.attendance.illness.pop();
        assert_eq!(cause(&facts, "2027-07-01 12:00"), None, "14.5 days");
    }

    #[test]
    fn the_school_year_ends_the_count() {
        let facts = ill("2026-11-09", 30);
        let found = Illness15.evaluate(&facts, at("2027-07-31 23:59"), &settings(RuleId::Illness15));
        assert_eq!(found.next, Some(date("2027-07-31").end_of_day()));
        assert!(found.cause.is_some());
        assert_eq!(cause(&facts, "2027-08-01 00:00"), None);
        assert_eq!(cause(&PlacementFacts { is_active: false, ..facts }, "2027-01-01 00:00"), None);
    }

    #[test]
    fn the_number_of_days_is_that_of_the_day() {
        let mut settings = settings(RuleId::Illness15);
        let values = vec![(date("2026-11-02"), 15), (date("2027-01-11"), 16)];
        settings.parameters.insert(SCHOOL_DAYS.to_owned(), values);
        let facts = ill("2026-11-09", 30);
        let at = |now: &str| Illness15.evaluate(&facts, at(now), &settings).cause;
        assert_eq!((at("2027-01-10 12:00"), at("2027-01-11 00:00")), (Some(date("2026-12-01")), None));
    }
}
