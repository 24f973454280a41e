//! Calendars and instants for the tests of oversight.

use super::attendance_facts::Session;
use super::placement_facts::PlacementFacts;
use super::rule_book::{RuleBook, RuleSettings};
use super::rule_id::RuleId;
use crate::calendar::{Date, Period, SchoolCalendar, TimeOfDay};
use crate::clock::Instant;
use crate::codes::attendance::AttendanceCode;
use crate::returns::SessionSlot;
use crate::returns::mark_meaning::MarkMeaning;

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

/// Returns the facts of an active placement with the calendar of [`calendar`].
pub fn active() -> PlacementFacts {
    PlacementFacts { is_active: true, provider_days: calendar(), ..PlacementFacts::default() }
}

/// Returns the facts of an active placement with some marks, as [`sessions`] reads them.
pub fn attended(marks: &str) -> PlacementFacts {
    let mut facts = active();
    facts.attendance.sessions = sessions(marks);
    facts
}

/// Reads marks, written as `2026-11-18:/O 2026-11-19:N`: days, each with a code for the morning, the afternoon and a session
/// at 16:00. A space stands for no mark, `@` for C2, `Q` and `#` and `X` for sessions that are not possible.
pub fn sessions(marks: &str) -> Vec<Session> {
    let evening = SessionSlot::timed(TimeOfDay::parse("16:00").unwrap());
    let mut sessions = Vec::new();
    let days = marks.split(" 2").enumerate().filter(|(_, day)| !day.is_empty());
    for (at, day) in days {
        let day = if at == 0 { day.to_owned() } else { format!("2{day}") };
        let (day, codes) = day.split_once(':').unwrap();
        for (slot, code) in [SessionSlot::AM, SessionSlot::PM, evening].into_iter().zip(codes.chars()) {
            if code == ' ' {
                continue;
            }
            let code = if code == '@' { "C2".to_owned() } else { code.to_string() };
            let meaning = MarkMeaning::of_code(AttendanceCode::parse_on(&code, date(day)).unwrap());
            if meaning.is_possible() {
                sessions.push(Session { date: date(day), slot, meaning, end: None });
            }
        }
    }
    sessions
}
