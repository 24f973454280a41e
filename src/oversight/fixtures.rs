//! Calendars and instants for the tests of oversight.

use super::rule_book::{RuleBook, RuleSettings};
use super::rule_id::RuleId;
use crate::calendar::{Date, Period, SchoolCalendar, TimeOfDay};
use crate::clock::Instant;

/// Returns a day, written as `2026-11-18`.
pub fn date(text: &str) -> Date {
    Date::parse(text).unwrap()
}

/// Returns the instant of a time in London, written as `2026-11-18 14:00`.
pub fn at(text: &str) -> Instant {
    let (day, time) = text.split_once(' ').unwrap();
    TimeOfDay::parse(time).unwrap().instant_on(date(day)).unwrap()
}

/// Adds microseconds to an instant.
pub fn shift(at: Instant, micros: i64) -> Instant {
    Instant::from_micros(at.micros() + micros).unwrap()
}

/// Returns the embedded settings of a rule.
pub fn settings(rule: RuleId) -> RuleSettings {
    RuleBook::embedded().settings(rule).unwrap().clone()
}

/// Returns a calendar of two terms without breaks.
pub fn two_terms() -> SchoolCalendar {
    SchoolCalendar {
        terms: vec![period("2026-09-02", "2026-12-18"), period("2027-01-05", "2027-03-25")],
        ..SchoolCalendar::default()
    }
}

/// Returns the two terms with a half-term, an inset day (Friday 20 November) and a closure (Tuesday 24 November).
pub fn calendar() -> SchoolCalendar {
    SchoolCalendar {
        half_terms: vec![period("2026-10-26", "2026-10-30")],
        inset_days: [date("2026-11-20")].into(),
        closures: vec![period("2026-11-24", "2026-11-24")],
        ..two_terms()
    }
}

fn period(first: &str, last: &str) -> Period {
    Period::new(date(first), date(last)).unwrap()
}
