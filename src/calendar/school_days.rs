//! School days: terms, half-terms, closures and the bank holidays of England, and counting of school days.
//!
//! Used for the sixth-day duty (Education Act 1996 s.19, Education and Inspections Act 2006 s.100) and all other
//! periods counted in school days. Invariant: no term is guessed. Outside the known terms, each weekday that is not a
//! bank holiday is a school day, so that a duty is due too early rather than too late.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use super::{Date, Period};

/// The known school calendar of one school or local authority.
///
/// The calendar covers the terms, and the holidays between two adjacent terms if these are in the same academic year or
/// in consecutive ones. On all other dates, also in a year without terms, the weekday rule of the module applies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchoolCalendar {
    /// Terms, half-terms included.
    pub terms: Vec<Period>,
    /// Breaks inside terms.
    pub half_terms: Vec<Period>,
    /// INSET days (staff training), on which children do not attend.
    pub inset_days: BTreeSet<Date>,
    /// Days on which the whole school is closed, planned or not.
    pub closures: Vec<Period>,
    /// Days on which one site is closed; the others may be open.
    pub site_closures: Vec<(String, Period)>,
}

impl SchoolCalendar {
    /// Returns whether children are expected on `date`.
    #[must_use]
    pub fn is_school_day(&self, date: Date) -> bool {
        self.is_term_day(date) && !self.is_closed(date, "")
    }

    /// Returns whether the whole school, or this site of it, is closed on `date`.
    #[must_use]
    pub fn is_closed(&self, date: Date, site: &str) -> bool {
        let of_site = |(closed, period): &(String, Period)| closed == site && period.contains(date);
        self.closures.iter().any(|period| period.contains(date)) || self.site_closures.iter().any(of_site)
    }

    /// Returns whether `date` is a school day, disregarding closures.
    #[must_use]
    pub fn is_term_day(&self, date: Date) -> bool {
        let falls_in = |periods: &[Period]| periods.iter().any(|period| period.contains(date));
        !date.is_weekend()
            && bank_holiday(date).is_none()
            && !falls_in(&self.half_terms)
            && !self.inset_days.contains(&date)
            && (falls_in(&self.terms) || !self.covers(date))
    }

    /// Counts the school days after `from`, up to and including `to`; 0 if `to` is not later.
    #[must_use]
    pub fn school_days_between(&self, from: Date, to: Date) -> u32 {
        u32::try_from(self.school_days_after(from, to).count()).unwrap_or(u32::MAX)
    }

    /// Returns whether there are more than `count` school days after `from`, up to and including `to`. Counting stops
    /// at `count + 1`, however long the range is.
    #[must_use]
    pub fn has_more_school_days(&self, from: Date, to: Date, count: u32) -> bool {
        self.school_days_after(from, to).nth(position(count)).is_some()
    }

    /// Returns the earliest day from which [`Self::school_days_between`] counts at most `count` school days until `to`.
    #[must_use]
    pub fn earliest_within(&self, to: Date, count: u32) -> Date {
        let mut back = self.school_days_in(Period::new(Date::MIN, to)).rev();
        back.nth(position(count)).unwrap_or(Date::MIN)
    }

    /// Returns the `count`-th school day after `date` (`date` itself for 0), at most [`Date::MAX`].
    #[must_use]
    pub fn add_school_days(&self, date: Date, count: u32) -> Date {
        let Some(before) = count.checked_sub(1) else {
            return date;
        };
        self.school_days_after(date, Date::MAX).nth(position(before)).unwrap_or(Date::MAX)
    }

    /// Returns the `n`-th school day from `first`, at most [`Date::MAX`]. `first` is the 1st if it is a school day.
    #[must_use]
    pub fn nth_school_day(&self, first: Date, n: u32) -> Date {
        let mut days = self.school_days_in(Period::new(first, Date::MAX));
        days.nth(position(n.saturating_sub(1))).unwrap_or(Date::MAX)
    }

    /// Returns the day from which an excluded child must have full-time education: the sixth school day, counted from
    /// the first excluded school day.
    #[must_use]
    pub fn sixth_school_day(&self, first_excluded_day: Date) -> Date {
        self.nth_school_day(first_excluded_day, 6)
    }

    fn school_days_after(&self, from: Date, to: Date) -> impl DoubleEndedIterator<Item = Date> {
        self.school_days_in(from.next().and_then(|next| Period::new(next, to)))
    }

    fn school_days_in(&self, days: Option<Period>) -> impl DoubleEndedIterator<Item = Date> {
        days.into_iter().flat_map(Period::days).filter(|day| self.is_school_day(*day))
    }

    /// Returns whether `date` lies in a term, or in the holidays between adjacent terms.
    fn covers(&self, date: Date) -> bool {
        let begins = self.terms.iter().map(|term| term.first());
        let before = begins.clone().filter(|first| *first <= date).max();
        let next = begins.filter(|first| *first > date).min();
        let holidays = |(before, next)| academic_year(next) - academic_year(before) <= 1;
        self.terms.iter().any(|term| term.contains(date)) || before.zip(next).is_some_and(holidays)
    }
}

/// Returns the calendar year in which the academic year of a term begins. August counts for the next academic year,
/// because some terms begin in its last days.
fn academic_year(first: Date) -> i16 {
    first.year() - i16::from(first.month() < 8)
}

/// Converts a count to an iterator position.
fn position(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Returns the name of the bank holiday on `date` in England; None if there is none.
#[must_use]
pub fn bank_holiday(date: Date) -> Option<&'static str> {
    BANK_HOLIDAYS.get(&date).copied()
}

const BANK_HOLIDAYS_CSV: &str = include_str!("../codes/tables/bank-holidays-england.csv");

static BANK_HOLIDAYS: LazyLock<BTreeMap<Date, &'static str>> = LazyLock::new(|| {
    let rows = BANK_HOLIDAYS_CSV.lines().skip(1);
    rows.filter_map(|row| row.split_once(','))
        .filter_map(|(date, name)| Some((Date::parse(date).ok()?, name)))
        .collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> Date {
        Date::parse(text).unwrap()
    }

    fn period(first: &str, last: &str) -> Period {
        Period::new(date(first), date(last)).unwrap()
    }

    fn example() -> SchoolCalendar {
        SchoolCalendar {
            terms: vec![period("2026-09-02", "2026-12-18"), period("2027-01-05", "2027-03-25")],
            half_terms: vec![period("2026-10-26", "2026-10-30")],
            ..SchoolCalendar::default()
        }
    }

    #[test]
    fn sixth_day_vectors() {
        for (first, sixth) in [
            ("2026-11-23", "2026-11-30"),
            ("2026-12-15", "2027-01-06"),
            ("2026-12-18", "2027-01-11"),
            ("2026-10-22", "2026-11-05"),
            ("2026-11-21", "2026-11-30"),
        ] {
            assert_eq!(example().sixth_school_day(date(first)), date(sixth), "{first}");
        }
    }

    #[test]
    fn the_earliest_day_within_is_where_the_count_turns() {
        let mut calendar = example();
        calendar.closures.push(period("2026-11-18", "2026-11-19"));
        for (to, count) in [("2026-11-20", 0), ("2026-11-20", 5), ("2026-11-22", 5), ("2026-11-20", 60)] {
            let earliest = calendar.earliest_within(date(to), count);
            assert!(calendar.school_days_between(earliest, date(to)) <= count, "{to} {count}");
            assert!(calendar.school_days_between(earliest.plus_days(-1), date(to)) > count, "{to} {count}");
        }
    }

    #[test]
    fn every_bank_holiday_row_is_read() {
        assert_eq!(BANK_HOLIDAYS.len(), BANK_HOLIDAYS_CSV.lines().count() - 1);
        assert_eq!(bank_holiday(date("2026-12-28")), Some("Boxing Day (substitute day)"));
    }

    #[test]
    fn closures_and_inset_days_are_no_school_days() {
        let mut calendar = example();
        calendar.inset_days.insert(date("2026-11-20"));
        calendar.closures.push(period("2026-11-18", "2026-11-19"));
        assert_eq!(calendar.school_days_between(date("2026-11-15"), date("2026-11-22")), 2);
        assert!(!calendar.is_school_day(date("2026-12-21")));
        assert!(calendar.is_term_day(date("2026-11-18")) && !calendar.is_term_day(date("2026-11-20")));
        calendar.site_closures.push(("Unit 4".to_owned(), period("2026-11-17", "2026-11-17")));
        assert!(calendar.is_school_day(date("2026-11-17")));
        assert!(
            calendar.is_closed(date("2026-11-17"), "Unit 4") && !calendar.is_closed(date("2026-11-17"), "")
        );
        assert!(calendar.is_closed(date("2026-11-18"), "Unit 4"));
    }

    #[test]
    fn weekdays_stand_in_where_no_term_is_known() {
        let calendar = SchoolCalendar::default();
        assert!(calendar.is_school_day(date("2026-08-03")));
        assert!(!calendar.is_school_day(date("2026-08-31")));
        assert!(!calendar.is_school_day(date("2026-08-01")));
        assert!(example().is_school_day(date("2027-06-07")));
        assert_eq!(calendar.add_school_days(Date::MAX, 3), Date::MAX);
    }

    #[test]
    fn a_year_without_term_dates_between_two_known_ones_has_school_days() {
        let mut calendar = example();
        calendar.terms.push(period("2028-09-04", "2028-12-15"));
        // The calendar covers neither 2027/28 nor the rest of 2026/27.
        for unknown in ["2027-04-20", "2027-09-06", "2028-02-01", "2028-06-30"] {
            assert!(calendar.is_school_day(date(unknown)), "{unknown}");
        }
        assert!(!calendar.is_school_day(date("2026-12-21")));
        assert_eq!(calendar.add_school_days(date("2027-03-25"), 1), date("2027-03-30"));
        calendar.terms.push(period("2027-04-12", "2027-07-23"));
        calendar.terms.push(period("2027-08-31", "2028-07-21"));
        for holiday in ["2027-04-05", "2027-07-26", "2027-08-26", "2028-08-01"] {
            assert!(!calendar.is_school_day(date(holiday)), "{holiday}");
        }
    }

    #[test]
    fn counting_ends_at_both_ends_of_the_calendar() {
        let mut calendar = SchoolCalendar::default();
        assert_eq!(calendar.nth_school_day(Date::MAX, 6), Date::MAX);
        assert_eq!(calendar.earliest_within(Date::MIN, 60), Date::MIN);
        assert!(calendar.school_days_between(Date::MIN, Date::MAX) > 51_000);
        assert!(calendar.has_more_school_days(Date::MIN, Date::MAX, 5));
        assert!(!calendar.has_more_school_days(Date::MAX, Date::MIN, 0));
        calendar.closures.push(Period::new(Date::MIN, Date::MAX).unwrap());
        assert_eq!(calendar.school_days_between(Date::MIN, Date::MAX), 0);
        assert_eq!(calendar.add_school_days(Date::MIN, 1), Date::MAX);
        assert_eq!(calendar.earliest_within(Date::MAX, 0), Date::MIN);
    }

    #[test]
    fn adding_and_counting_are_inverse() {
        let from = date("2026-10-20");
        for days in 0..70 {
            let to = example().add_school_days(from, days);
            assert_eq!(example().school_days_between(from, to), days);
        }
    }
}
