//! Tests of expected sessions: timetable, extra dates, and closures.

use super::*;
use crate::proto::v1::{TimetableSlot, Weekday};
use crate::returns::arrangement::tests::by_school;

fn date(text: &str) -> Date {
    Date::parse(text).unwrap()
}

fn arrangement() -> Arrangement {
    let slot = |weekday: Weekday, session: Session, cut_off: &str, site: &str| TimetableSlot {
        weekday: weekday as i32,
        session: session as i32,
        cut_off: cut_off.to_owned(),
        site: site.to_owned(),
        ..TimetableSlot::default()
    };
    let plan = Plan {
        timetable: vec![
            slot(Weekday::Monday, Session::Pm, "", "Unit 4"),
            slot(Weekday::Monday, Session::Am, "10:00", ""),
            slot(Weekday::Tuesday, Session::Am, "10:00", ""),
        ],
        extra_dates: vec!["2026-10-26".to_owned(), "2026-10-31".to_owned()],
        ..Plan::default()
    };
    Arrangement::new(&by_school(), Some(&plan))
}

/// Returns day, session and closure of the sessions expected from 19 October to 1 November 2026.
fn sessions_due(calendar: &SchoolCalendar) -> Vec<(String, Option<u16>, bool)> {
    let due = expected_sessions(
        &arrangement(),
        calendar,
        (Period::new(date("2026-10-19"), date("2026-11-01")).unwrap(), &CutOffTimes::default()),
    );
    due.iter().map(|due| (due.date.to_string(), due.slot.map(SessionSlot::number), due.closed)).collect()
}

#[test]
fn the_timetable_holds_on_school_days_and_the_plan_s_extra_dates_on_any() {
    let half_term = Period::new(date("2026-10-26"), date("2026-10-30")).unwrap();
    let mut calendar = SchoolCalendar { half_terms: vec![half_term], ..SchoolCalendar::default() };
    let one = |day: &str, slot, closed| (format!("2026-10-{day}"), slot, closed);
    let expected = [
        one("19", Some(1), false),
        one("19", Some(2), false),
        one("20", Some(1), false),
        one("26", Some(1), false),
        one("26", Some(2), false),
        one("31", None, false),
    ];
    assert_eq!(sessions_due(&calendar), expected);
    let monday = Period::new(date("2026-10-19"), date("2026-10-19")).unwrap();
    calendar.site_closures.push(("Unit 4".to_owned(), monday));
    let closed: Vec<_> = sessions_due(&calendar).into_iter().filter(|(.., closed)| *closed).collect();
    assert_eq!(closed, [one("19", Some(2), true)]);
    calendar.closures.push(monday);
    assert_eq!(sessions_due(&calendar).iter().filter(|(.., closed)| *closed).count(), 2);
}
