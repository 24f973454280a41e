//! Ranges of days, which are validated on creation, and their iterator, which ends at both ends of the calendar.
//!
//! Invariant: no other module steps from day to day. [`Date::plus_days`] saturates at [`Date::MAX`], so a loop that
//! adds days until it passes the last day would not end there. The test `tidy` checks this invariant.

use std::iter::FusedIterator;

use super::Date;
use crate::violation_reason::ViolationReason;

/// A non-empty range of days, including the first and the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period {
    first: Date,
    last: Date,
}

/// Why two dates do not form a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeriodError {
    /// The last day is before the first day.
    #[error("the end is before the start")]
    Order,
    /// The range exceeds the maximum number of days.
    #[error("the range holds too many days")]
    TooLong,
}

impl PeriodError {
    /// Returns the reason that is sent to a caller.
    #[must_use]
    pub fn reason(self) -> ViolationReason {
        match self {
            Self::Order => ViolationReason::DateOrder,
            Self::TooLong => ViolationReason::RangeTooLong,
        }
    }
}

impl Period {
    /// Creates a period; None if `last` is before `first`.
    #[must_use]
    pub fn new(first: Date, last: Date) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// Creates a period of at most `max_days` days.
    ///
    /// # Errors
    /// [`PeriodError`] if `last` is before `first`, or if the period is too long.
    pub fn with_max_days(first: Date, last: Date, max_days: usize) -> Result<Self, PeriodError> {
        let period = Self::new(first, last).ok_or(PeriodError::Order)?;
        if period.days().len() > max_days { Err(PeriodError::TooLong) } else { Ok(period) }
    }

    /// Returns the first day.
    #[must_use]
    pub fn first(self) -> Date {
        self.first
    }

    /// Returns the last day.
    #[must_use]
    pub fn last(self) -> Date {
        self.last
    }

    /// Returns whether `date` lies in the period.
    #[must_use]
    pub fn contains(self, date: Date) -> bool {
        (self.first..=self.last).contains(&date)
    }

    /// Returns the days that both periods contain; None if there are none.
    #[must_use]
    pub fn intersect(self, other: Self) -> Option<Self> {
        Self::new(self.first.max(other.first), self.last.min(other.last))
    }

    /// Iterates over the days.
    #[must_use]
    pub fn days(self) -> Days {
        Days(Some(self))
    }
}

/// An iterator over the days of a period, from either end.
#[derive(Clone, Debug)]
pub struct Days(Option<Period>);

impl Iterator for Days {
    type Item = Date;

    fn next(&mut self) -> Option<Date> {
        let Period { first, last } = self.0.take()?;
        self.0 = first.next().and_then(|next| Period::new(next, last));
        Some(first)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.0.map_or(0, |left| left.first.days_until(left.last) + 1);
        let left = usize::try_from(left).unwrap_or(0);
        (left, Some(left))
    }
}

impl DoubleEndedIterator for Days {
    fn next_back(&mut self) -> Option<Date> {
        let Period { first, last } = self.0.take()?;
        self.0 = last.previous().and_then(|previous| Period::new(first, previous));
        Some(last)
    }
}

impl ExactSizeIterator for Days {}

impl FusedIterator for Days {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::dates;
    use super::*;

    #[test]
    fn iteration_ends_at_both_ends_of_the_calendar() {
        for day in [Date::MIN, Date::MAX] {
            let mut days = Period::new(day, day).unwrap().days();
            assert_eq!((days.len(), days.next(), days.next(), days.next_back()), (1, Some(day), None, None));
        }
        let all = Period::new(Date::MIN, Date::MAX).unwrap();
        assert_eq!(all.days().count(), 73_414);
        assert_eq!(all.days().rev().nth(73_413), Some(Date::MIN));
    }

    #[test]
    fn a_bounded_period_holds_its_days_and_no_more() {
        let first = Date::parse("2100-12-01").unwrap();
        assert_eq!(Period::with_max_days(first, Date::MAX, 31).map(|period| period.days().len()), Ok(31));
        assert_eq!(Period::with_max_days(first, Date::MAX, 30), Err(PeriodError::TooLong));
        assert_eq!(Period::with_max_days(Date::MIN, Date::MAX, 31), Err(PeriodError::TooLong));
        assert_eq!(Period::with_max_days(Date::MAX, first, 31), Err(PeriodError::Order));
    }

    proptest! {
        #[test]
        fn the_days_of_a_period_are_each_there_once_from_either_end(one in dates(), other in dates()) {
            let period = Period::new(one.min(other), one.max(other)).unwrap();
            let length = usize::try_from(period.first().days_until(period.last())).unwrap() + 1;
            prop_assert_eq!(period.days().len(), length);
            let days = period.days().take(500);
            prop_assert!(days.clone().zip(days.skip(1)).all(|(day, next)| day.next() == Some(next)));
            let (mut days, mut seen) = (period.days(), 0);
            while let Some(day) = if seen % 2 == 0 { days.next() } else { days.next_back() } {
                prop_assert!(period.contains(day));
                seen += 1;
            }
            prop_assert_eq!(seen, length);
        }

        #[test]
        fn an_intersection_holds_the_days_of_both(dates in [dates(), dates(), dates(), dates()], day in dates()) {
            let [a, b, c, d] = dates;
            let (one, other) = (Period::new(a.min(b), a.max(b)).unwrap(), Period::new(c.min(d), c.max(d)).unwrap());
            let both = one.intersect(other);
            prop_assert_eq!(both, other.intersect(one));
            let of_both = one.contains(day) && other.contains(day);
            prop_assert_eq!(both.is_some_and(|both| both.contains(day)), of_both);
        }
    }
}
