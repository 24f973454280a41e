//! School days: terms, half-terms, closures and the bank holidays of England, and counting by them.
//!
//! Serves the sixth-day duty (Education Act 1996 s.19, Education and Inspections Act 2006 s.100) and every other
//! clock that runs in school days. It must never guess a term: where none is known a weekday that is no bank
//! holiday is a school day, so that a duty falls early rather than late.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use super::Date;

/// A run of days, the first and the last included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period {
    first: Date,
    last: Date,
}

impl Period {
    /// None if `last` is before `first`.
    #[must_use]
    pub fn new(first: Date, last: Date) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// The first day.
    #[must_use]
    pub fn first(self) -> Date {
        self.first
    }

    /// The last day.
    #[must_use]
    pub fn last(self) -> Date {
        self.last
    }

    /// Whether `date` falls in the run.
    #[must_use]
    pub fn contains(self, date: Date) -> bool {
        (self.first..=self.last).contains(&date)
    }
}

/// What is known of one school's or authority's year.
///
/// The dates known reach from the first day of the first term to the last day of the last; outside that span the
/// weekday rule stands in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchoolCalendar {
    /// Terms, half-terms included.
    pub terms: Vec<Period>,
    /// Breaks inside terms.
    pub half_terms: Vec<Period>,
    /// Days on which staff come and children do not.
    pub inset_days: BTreeSet<Date>,
    /// Days the place is closed, planned or not.
    pub closures: Vec<Period>,
    /// Days on which a site of it is closed while the rest may be open.
    pub site_closures: Vec<(String, Period)>,
}

impl SchoolCalendar {
    /// Whether children are expected on `date`.
    #[must_use]
    pub fn is_school_day(&self, date: Date) -> bool {
        self.is_term_day(date) && !self.is_closed(date, "")
    }

    /// Whether the place, or the site of it that is named, is closed on `date`.
    #[must_use]
    pub fn is_closed(&self, date: Date, site: &str) -> bool {
        let of_site = |(closed, period): &(String, Period)| closed == site && period.contains(date);
        self.closures.iter().any(|period| period.contains(date)) || self.site_closures.iter().any(of_site)
    }

    /// Whether `date` is a school day but for closures.
    #[must_use]
    pub fn is_term_day(&self, date: Date) -> bool {
        let falls_in = |periods: &[Period]| periods.iter().any(|period| period.contains(date));
        !date.is_weekend()
            && bank_holiday(date).is_none()
            && !falls_in(&self.half_terms)
            && !self.inset_days.contains(&date)
            && (falls_in(&self.terms) || !self.knows(date))
    }

    /// School days after `from`, up to and including `to`; 0 if `to` is not later.
    #[must_use]
    pub fn school_days_between(&self, from: Date, to: Date) -> u32 {
        let mut count = 0;
        let mut day = from;
        while day < to {
            day = day.plus_days(1);
            count += u32::from(self.is_school_day(day));
        }
        count
    }

    /// The earliest day from which no more than `count` school days lead up to and including `to`: from a day before
    /// it, [`Self::school_days_between`] counts more.
    #[must_use]
    pub fn earliest_within(&self, to: Date, count: u32) -> Date {
        let (mut day, mut left) = (to, count);
        while day > Date::MIN {
            let counts = u32::from(self.is_school_day(day));
            if counts > left {
                break;
            }
            left -= counts;
            day = day.plus_days(-1);
        }
        day
    }

    /// The `count`-th school day after `date` (`date` itself for 0), held to [`Date::MAX`].
    #[must_use]
    pub fn add_school_days(&self, date: Date, count: u32) -> Date {
        let mut left = count;
        let mut day = date;
        while left > 0 && day < Date::MAX {
            day = day.plus_days(1);
            left -= u32::from(self.is_school_day(day));
        }
        day
    }

    /// The `n`-th school day counting from `first`, which is the 1st if it is a school day.
    #[must_use]
    pub fn nth_school_day(&self, first: Date, n: u32) -> Date {
        self.add_school_days(first.plus_days(-1), n)
    }

    /// The day from which an excluded child must have full-time education: the first excluded school day is day 1.
    #[must_use]
    pub fn sixth_school_day(&self, first_excluded_day: Date) -> Date {
        self.nth_school_day(first_excluded_day, 6)
    }

    fn knows(&self, date: Date) -> bool {
        let opens = self.terms.iter().map(|term| term.first).min();
        let closes = self.terms.iter().map(|term| term.last).max();
        opens.zip(closes).is_some_and(|(opens, closes)| (opens..=closes).contains(&date))
    }
}

/// The name of the bank holiday that falls on `date` in England.
#[must_use]
pub fn bank_holiday(date: Date) -> Option<&'static str> {
    BANK_HOLIDAYS.get(&date).copied()
}

const PUBLISHED: &str = include_str!("../codes/tables/bank-holidays-england.csv");

static BANK_HOLIDAYS: LazyLock<BTreeMap<Date, &'static str>> = LazyLock::new(|| {
    let rows = PUBLISHED.lines().skip(1);
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
        assert_eq!(BANK_HOLIDAYS.len(), PUBLISHED.lines().count() - 1);
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
    fn adding_and_counting_are_inverse() {
        let from = date("2026-10-20");
        for days in 0..70 {
            let to = example().add_school_days(from, days);
            assert_eq!(example().school_days_between(from, to), days);
        }
    }
}
