//! When the mark of a session is due: at the plan's cut-off, else some minutes after the session's end. What is listed as
//! missing and what is alerted rest on this one function.

pub use super::arrangement::SessionEnd;
use crate::calendar::{Date, TimeOfDay};
use crate::clock::Instant;

/// A number with the days from which its values hold, in the order of the days.
pub type ValuesByDay = Vec<(Date, u32)>;

/// What makes the cut-off of a session of which the plan has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CutOffTimes {
    /// Minutes from the end of a session to its cut-off.
    pub minutes_after_end: ValuesByDay,
    /// When a morning without times ends, in minutes of the day.
    pub morning_ends: ValuesByDay,
    /// When an afternoon without times ends, in minutes of the day.
    pub afternoon_ends: ValuesByDay,
}

impl CutOffTimes {
    /// Returns the cut-off of a session of a day in England: the plan's, else some minutes after the session's end. It is the
    /// end of the day if the clocks skip or repeat that time, if the session has no end, if the cut-off would be on the next
    /// day, and before the first value.
    #[must_use]
    pub fn cut_off(&self, day: Date, (planned, end): (Option<TimeOfDay>, SessionEnd)) -> Instant {
        let time = planned.or_else(|| self.after_end(day, end));
        time.and_then(|time| time.instant_on(day).ok()).unwrap_or_else(|| day.end_of_day())
    }

    fn after_end(&self, day: Date, end: SessionEnd) -> Option<TimeOfDay> {
        let minute = |values: &ValuesByDay| {
            let value = values.iter().rev().find(|(from, _)| *from <= day)?.1;
            u16::try_from(value).ok()
        };
        let end = match end {
            SessionEnd::Morning => minute(&self.morning_ends)?,
            SessionEnd::Afternoon => minute(&self.afternoon_ends)?,
            SessionEnd::At(time) => time.minutes(),
            SessionEnd::Day => return None,
        };
        TimeOfDay::from_minutes(end.checked_add(minute(&self.minutes_after_end)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> Date {
        Date::parse(text).unwrap()
    }

    fn time(text: &str) -> TimeOfDay {
        TimeOfDay::parse(text).unwrap()
    }

    fn times() -> CutOffTimes {
        let since = |value| vec![(date("2026-11-02"), value)];
        let minutes_after_end = vec![(date("2026-11-02"), 30), (date("2027-01-04"), 45)];
        CutOffTimes { minutes_after_end, morning_ends: since(720), afternoon_ends: since(930) }
    }

    fn cut_off(day: &str, planned: Option<&str>, end: SessionEnd) -> String {
        times().cut_off(date(day), (planned.map(time), end)).to_string()
    }

    #[test]
    fn it_is_the_plan_s_or_half_an_hour_after_the_session_s_end() {
        for (end, expected) in [
            (SessionEnd::Morning, "12:30"),
            (SessionEnd::Afternoon, "16:00"),
            (SessionEnd::At(time("10:50")), "11:20"),
            (SessionEnd::At(time("23:29")), "23:59"),
        ] {
            assert_eq!(cut_off("2026-11-20", None, end), format!("2026-11-20T{expected}:00Z"));
            assert_eq!(cut_off("2026-11-20", Some("10:00"), end), "2026-11-20T10:00:00Z");
            assert_eq!(cut_off("2027-07-01", Some("10:00"), end), "2027-07-01T09:00:00Z");
        }
        for end in [SessionEnd::Day, SessionEnd::At(time("23:30"))] {
            assert_eq!(cut_off("2026-11-20", None, end), "2026-11-21T00:00:00Z");
        }
    }

    #[test]
    fn the_minutes_are_those_of_the_day_and_a_time_that_the_clocks_skip_is_the_end_of_it() {
        assert_eq!(cut_off("2027-01-03", None, SessionEnd::Morning), "2027-01-03T12:30:00Z");
        assert_eq!(cut_off("2027-01-04", None, SessionEnd::Morning), "2027-01-04T12:45:00Z");
        assert_eq!(cut_off("2026-11-01", None, SessionEnd::Morning), "2026-11-02T00:00:00Z");
        assert_eq!(cut_off("2026-03-29", Some("01:30"), SessionEnd::Day), "2026-03-29T23:00:00Z");
    }
}
