//! The instant by which somebody must act on an alert: school hours or school days after it was raised.

use std::time::Duration;

use crate::calendar::{Date, SchoolCalendar, TimeOfDay};
use crate::clock::Instant;

/// How long somebody has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActWithin {
    /// Minutes of school hours.
    SchoolMinutes(u32),
    /// School days after the day; until the last of them ends.
    SchoolDays(u32),
}

/// The hours of a school day in London.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchoolHours {
    /// Begin.
    pub from: TimeOfDay,
    /// End; later than the begin.
    pub to: TimeOfDay,
}

/// Returns the instant by which somebody must act on what was raised at an instant.
#[must_use]
pub fn act_by(raised: Instant, within: ActWithin, hours: SchoolHours, calendar: &SchoolCalendar) -> Instant {
    match within {
        ActWithin::SchoolDays(days) => end_of_school_days(raised, days, calendar),
        ActWithin::SchoolMinutes(minutes) => add_school_minutes(raised, minutes, hours, calendar),
    }
}

/// Returns the end of the last of some school days after the day of an instant in London. Midnight is of the day that ends
/// then, so what a day's end raises has not a day more than what the day itself raised.
#[must_use]
pub fn end_of_school_days(from: Instant, days: u32, calendar: &SchoolCalendar) -> Instant {
    let day = Date::in_london(from.minus(Duration::from_micros(1)));
    calendar.add_school_days(day, days).end_of_day()
}

/// Adds minutes of school hours. A day that is no school day has none.
fn add_school_minutes(from: Instant, minutes: u32, hours: SchoolHours, calendar: &SchoolCalendar) -> Instant {
    let mut left = i64::from(minutes) * 60_000_000;
    let mut day = calendar.nth_school_day(Date::in_london(from), 1);
    // Each school day has a minute at least, so this many days are enough.
    for _ in 0..=minutes.saturating_add(1) {
        let (Ok(begin), Ok(end)) = (hours.from.instant_on(day), hours.to.instant_on(day)) else { break };
        let begin = begin.max(from);
        let of_day = end.micros() - begin.micros();
        if of_day >= left {
            return Instant::from_micros(begin.micros() + left).unwrap_or(Instant::MAX);
        }
        left -= of_day.max(0);
        day = calendar.add_school_days(day, 1);
    }
    day.end_of_day()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::Period;
    use crate::oversight::fixtures::{at, calendar, date};

    const HOURS: (&str, &str) = ("09:00", "15:30");

    fn two_hours_after(from: &str) -> Instant {
        let time = |text: &str| TimeOfDay::parse(text).unwrap();
        let hours = SchoolHours { from: time(HOURS.0), to: time(HOURS.1) };
        act_by(at(from), ActWithin::SchoolMinutes(120), hours, &calendar())
    }

    #[test]
    fn school_hours_run_on_school_days_only() {
        for (from, to) in [
            ("2026-11-18 07:00", "2026-11-18 11:00"),
            ("2026-11-18 09:00", "2026-11-18 11:00"),
            ("2026-11-18 13:29", "2026-11-18 15:29"),
            ("2026-11-18 13:30", "2026-11-18 15:30"),
            ("2026-11-18 13:31", "2026-11-19 09:01"),
            ("2026-11-18 15:30", "2026-11-19 11:00"),
            // Friday 20 November is an inset day, Tuesday 24 a closure.
            ("2026-11-19 14:30", "2026-11-23 10:00"),
            ("2026-11-21 12:00", "2026-11-23 11:00"),
            ("2026-11-23 15:00", "2026-11-25 10:30"),
            // Over half-term, in which the clocks change on Sunday 25 October.
            ("2026-10-23 15:00", "2026-11-02 10:30"),
            ("2026-12-18 14:30", "2027-01-05 10:00"),
        ] {
            assert_eq!(two_hours_after(from), at(to), "{from}");
        }
    }

    #[test]
    fn school_days_end_with_the_last_of_them() {
        let hours = SchoolHours { from: TimeOfDay::NOON, to: TimeOfDay::NOON };
        for (from, days, last) in [
            // Friday 20 November is an inset day, so the two days after Tuesday end on Thursday.
            ("2026-11-18 00:00", 2, "2026-11-19"),
            ("2026-11-18 00:01", 2, "2026-11-23"),
            ("2026-11-18 23:59", 2, "2026-11-23"),
            ("2026-11-21 12:00", 2, "2026-11-25"),
            ("2026-10-22 12:00", 2, "2026-11-02"),
            ("2026-12-17 12:00", 10, "2027-01-15"),
        ] {
            let by = act_by(at(from), ActWithin::SchoolDays(days), hours, &calendar());
            assert_eq!(by, date(last).end_of_day(), "{from}");
        }
    }

    #[test]
    fn the_end_of_the_calendar_ends_the_count() {
        let mut closed = calendar();
        closed.closures.push(Period::new(Date::MIN, Date::MAX).unwrap());
        let hours = SchoolHours { from: TimeOfDay::NOON, to: TimeOfDay::NOON };
        let by = act_by(at("2026-11-18 12:00"), ActWithin::SchoolMinutes(120), hours, &closed);
        assert_eq!(by, Date::MAX.end_of_day());
    }
}
