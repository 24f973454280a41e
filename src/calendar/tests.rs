//! Tests of dates and clock times.

use proptest::prelude::*;

use super::*;

/// Dates near both ends of the calendar, and some between.
pub fn dates() -> impl Strategy<Value = Date> {
    let days = Date::MIN.days_until(Date::MAX);
    let offset = prop_oneof![0..400, (days - 400)..=days, 0..=days];
    offset.prop_map(|days| Date::MIN.plus_days(days))
}

proptest! {
    #[test]
    fn a_date_is_read_as_it_is_written(date in dates()) {
        prop_assert_eq!(Date::parse(&date.to_string()), Ok(date));
        prop_assert_eq!(Date::new(date.year(), date.month(), date.day()), Ok(date));
    }

    #[test]
    fn no_other_text_is_a_date(text in prop_oneof![
        "[0-9]{4}-[0-9]{2}-[0-9]{2}",
        "(18|19|20|21)[0-9]{2}-[01][0-9]-[0-3][0-9]",
        "[0-9+ -]{0,12}",
        ".{0,12}",
    ]) {
        if let Ok(date) = Date::parse(&text) {
            prop_assert_eq!(date.to_string(), text);
        }
    }

    #[test]
    fn days_are_counted_as_they_are_added(from in dates(), to in dates()) {
        prop_assert_eq!(from.plus_days(from.days_until(to)), to);
        prop_assert_eq!(from.days_until(to), -to.days_until(from));
        prop_assert_eq!(from.next().and_then(Date::previous), (from < Date::MAX).then_some(from));
        prop_assert_eq!(from.previous().and_then(Date::next), (from > Date::MIN).then_some(from));
    }

    #[test]
    fn a_day_ends_where_the_next_begins(date in dates()) {
        let end = date.end_of_day().micros();
        let before = Instant::from_micros(end - 1).unwrap();
        prop_assert_eq!(Date::in_london(before), date);
        let after = Date::in_london(Instant::from_micros(end).unwrap());
        prop_assert_eq!(after, date.next().unwrap_or(Date::MAX));
    }
}

#[test]
fn dates_are_read_strictly() {
    assert_eq!(Date::parse("2028-02-29").unwrap().to_string(), "2028-02-29");
    for (reason, texts) in [
        ("DATE_INVALID", &["2026-02-30", "2027-02-29", "2026-13-01", "2026-00-10", "2026-04-31"][..]),
        ("DATE_RANGE", &["0000-00-00", "10000-01-01", "1899-12-31", "2101-01-01"]),
        (
            "DATE_FORMAT",
            &[
                "",
                "2026-2-3",
                "03/02/2026",
                "2026-W06-2",
                " 2026-02-03",
                "2026-02-03 ",
                "20260203",
                "-2026-02-03",
                "+2026-02-03",
                "26-02-03",
                "２026-02-03",
                "2026-02-03T00:00",
            ],
        ),
    ] {
        for text in texts {
            assert_eq!(Date::parse(text).unwrap_err().reason().name(), reason, "{text}");
        }
    }
}

#[test]
fn today_is_londons() {
    let late = "2026-07-01T23:30:00Z".parse().unwrap();
    assert_eq!(Date::in_london(late).to_string(), "2026-07-02");
    assert_eq!(TimeOfDay::in_london(late).to_string(), "00:30");
    assert_eq!(Date::in_london("2026-11-20T23:30:00Z".parse().unwrap()).to_string(), "2026-11-20");
    assert_eq!(Date::in_london(Instant::MAX), Date::MAX);
}

#[test]
fn clock_times_and_the_two_odd_hours() {
    let at = |date: &str, time: &str| TimeOfDay::parse(time).unwrap().instant_on(Date::parse(date).unwrap());
    assert_eq!(at("2026-11-20", "16:00"), Ok("2026-11-20T16:00:00Z".parse().unwrap()));
    assert_eq!(at("2026-07-01", "09:05"), Ok("2026-07-01T08:05:00Z".parse().unwrap()));
    assert_eq!(at("2026-03-29", "01:30"), Err(TimeError::Ambiguous));
    assert_eq!(at("2026-10-25", "01:30"), Err(TimeError::Ambiguous));
    assert!(at("2026-10-25", "02:00").is_ok());
    for text in ["", "9:00", "24:00", "12:60", "12.30", "12:30:00", "１2:30", " 12:30"] {
        assert_eq!(TimeOfDay::parse(text), Err(TimeError::Format), "{text}");
    }
}

#[test]
fn date_sums_follow_the_retention_vectors() {
    let date = |text| Date::parse(text).unwrap();
    assert_eq!(date("2012-02-29").plus_years(25), date("2037-02-28"));
    assert_eq!(date("2026-11-23").plus_years(6), date("2032-11-23"));
    assert_eq!(date("2026-11-23").plus_days(84), date("2027-02-15"));
    assert_eq!(date("2026-11-23").days_until(date("2027-02-15")), 84);
    assert_eq!(date("2027-02-15").days_until(date("2026-11-23")), -84);
    assert_eq!(date("2012-02-29").age_on(date("2026-02-28")), 13);
    assert_eq!(Date::MAX.plus_days(1), Date::MAX);
    assert_eq!(Date::MAX.end_of_day(), "2101-01-01T00:00:00Z".parse().unwrap());
    assert_eq!((Date::MAX.next(), Date::MIN.previous()), (None, None));
}
