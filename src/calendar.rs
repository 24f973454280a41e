//! Dates and times of day in England: ISO 8601 text, time zone Europe/London.
//!
//! Dates and clock times are parsed strictly (reliability catalogue B17–B19, B25). School days and their counting are
//! in [`school_days`], ranges of days in [`period`]. No function reads a clock; the instant is a parameter.

pub mod period;
pub mod school_days;

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use jiff::civil;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Span, ToSpan};

use crate::clock::Instant;
use crate::violation_reason::ViolationReason;
pub use period::{Period, PeriodError};
pub use school_days::{SchoolCalendar, bank_holiday};

/// A civil date from 1900-01-01 to 2100-12-31.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(civil::Date);

/// Why a date is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DateError {
    /// The text is not `YYYY-MM-DD` in ASCII digits.
    #[error("not a date written as YYYY-MM-DD")]
    Format,
    /// The month has no such day.
    #[error("no such day in the calendar")]
    Invalid,
    /// The year is before 1900 or after 2100.
    #[error("the year is not between 1900 and 2100")]
    Range,
}

impl DateError {
    /// Returns the reason that is sent to a caller.
    #[must_use]
    pub fn reason(self) -> ViolationReason {
        match self {
            Self::Format => ViolationReason::DateFormat,
            Self::Invalid => ViolationReason::DateInvalid,
            Self::Range => ViolationReason::DateRange,
        }
    }
}

impl Date {
    /// The first supported date.
    pub const MIN: Self = Self(civil::date(1900, 1, 1));
    /// The last supported date.
    pub const MAX: Self = Self(civil::date(2100, 12, 31));

    /// Creates a date from year, month and day (both from 1).
    ///
    /// # Errors
    /// [`DateError::Range`] for the year, [`DateError::Invalid`] for a day that does not exist.
    pub fn new(year: i16, month: i8, day: i8) -> Result<Self, DateError> {
        if !(1900..=2100).contains(&year) {
            return Err(DateError::Range);
        }
        civil::Date::new(year, month, day).map(Self).map_err(|_| DateError::Invalid)
    }

    /// Parses `YYYY-MM-DD` and no other form.
    ///
    /// # Errors
    /// [`DateError`]: the format is checked first, then the range, then the day.
    pub fn parse(text: &str) -> Result<Self, DateError> {
        let mut parts = text.split('-');
        let (Some(year), Some(month), Some(day), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(DateError::Format);
        };
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if month.len() != 2 || day.len() != 2 || ![year, month, day].into_iter().all(digits) {
            return Err(DateError::Format);
        }
        match year.len() {
            4 => {}
            5..=9 => return Err(DateError::Range),
            _ => return Err(DateError::Format),
        }
        let year = year.parse().map_err(|_| DateError::Format)?;
        let month = month.parse().map_err(|_| DateError::Format)?;
        let day = day.parse().map_err(|_| DateError::Format)?;
        Self::new(year, month, day)
    }

    /// Returns the date in Europe/London at an instant, clamped to the range.
    #[must_use]
    pub fn in_london(at: Instant) -> Self {
        Self::clamped(LONDON.to_datetime(at.to_timestamp()).date())
    }

    /// Returns the instant of the midnight that ends the day in Europe/London.
    #[must_use]
    pub fn end_of_day(self) -> Instant {
        // Not `plus_days`: it would clamp the day after `Date::MAX`.
        let midnight = self.0.tomorrow().ok().map(|next| next.to_datetime(civil::Time::midnight()));
        let moment = midnight.and_then(|at| LONDON.to_ambiguous_timestamp(at).unambiguous().ok());
        moment.map_or(Instant::MAX, Instant::from_timestamp)
    }

    /// Returns the year, such as 2026.
    #[must_use]
    pub fn year(self) -> i16 {
        self.0.year()
    }

    /// Returns the month, 1 to 12.
    #[must_use]
    pub fn month(self) -> i8 {
        self.0.month()
    }

    /// Returns the day of the month, 1 to 31.
    #[must_use]
    pub fn day(self) -> i8 {
        self.0.day()
    }

    /// Returns whether the date is a Saturday or Sunday.
    #[must_use]
    pub fn is_weekend(self) -> bool {
        matches!(self.0.weekday(), civil::Weekday::Saturday | civil::Weekday::Sunday)
    }

    /// Returns the number of days since Monday, 0 to 6.
    #[must_use]
    pub fn days_since_monday(self) -> i8 {
        self.0.weekday().to_monday_zero_offset()
    }

    /// Returns the next day; None for [`Date::MAX`].
    #[must_use]
    pub fn next(self) -> Option<Self> {
        self.0.tomorrow().ok().filter(|next| *next <= Self::MAX.0).map(Self)
    }

    /// Returns the previous day; None for [`Date::MIN`].
    #[must_use]
    pub fn previous(self) -> Option<Self> {
        self.0.yesterday().ok().filter(|previous| *previous >= Self::MIN.0).map(Self)
    }

    /// Adds whole days, which may be negative. Clamps the result to the range.
    #[must_use]
    pub fn plus_days(self, days: i32) -> Self {
        Self::clamped(self.0.saturating_add(days.days()))
    }

    /// Adds whole months. A day that the month lacks becomes its last day. Clamps the result to the range.
    #[must_use]
    pub fn plus_months(self, months: i16) -> Self {
        Self::clamped(self.0.saturating_add(months.months()))
    }

    /// Adds whole years. 29 February becomes 28 February in a common year. Clamps the result to the range.
    #[must_use]
    pub fn plus_years(self, years: i16) -> Self {
        Self::clamped(self.0.saturating_add(years.years()))
    }

    /// Returns the number of calendar days from this date to `later`; negative if `later` is earlier.
    #[must_use]
    pub fn days_until(self, later: Self) -> i32 {
        self.0.until(later.0).as_ref().map_or(0, Span::get_days)
    }

    /// Returns the age on `day`, in completed years, of a person born on this date; negative before birth.
    #[must_use]
    pub fn age_on(self, day: Self) -> i16 {
        let years = day.year() - self.year();
        if (day.month(), day.day()) < (self.month(), self.day()) { years - 1 } else { years }
    }

    fn clamped(date: civil::Date) -> Self {
        Self(date.clamp(Self::MIN.0, Self::MAX.0))
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for Date {
    type Err = DateError;

    fn from_str(text: &str) -> Result<Self, DateError> {
        Self::parse(text)
    }
}

/// A clock time in whole minutes, 00:00 to 23:59.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeOfDay(u16);

/// Why a clock time is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// The text is not `HH:MM` from 00:00 to 23:59.
    #[error("not a time written as HH:MM")]
    Format,
    /// The time does not exist on this date in Europe/London, or exists twice (change of summer time).
    #[error("the clocks skip or repeat this time on this date")]
    Ambiguous,
}

impl TimeError {
    /// Returns the reason that is sent to a caller.
    #[must_use]
    pub fn reason(self) -> ViolationReason {
        match self {
            Self::Format => ViolationReason::TimeFormat,
            Self::Ambiguous => ViolationReason::TimestampAmbiguous,
        }
    }
}

impl TimeOfDay {
    /// 12:00, before which no afternoon session begins.
    pub const NOON: Self = Self(12 * 60);

    /// Parses `HH:MM` and no other form.
    ///
    /// # Errors
    /// [`TimeError::Format`] for any other text.
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        let [h1, h2, b':', m1, m2] = *text.as_bytes() else {
            return Err(TimeError::Format);
        };
        if ![h1, h2, m1, m2].iter().all(u8::is_ascii_digit) {
            return Err(TimeError::Format);
        }
        let two = |tens: u8, ones: u8| u16::from(tens - b'0') * 10 + u16::from(ones - b'0');
        let (hours, minutes) = (two(h1, h2), two(m1, m2));
        if hours > 23 || minutes > 59 { Err(TimeError::Format) } else { Ok(Self(hours * 60 + minutes)) }
    }

    /// Creates a time from minutes since midnight; None above 1,439.
    #[must_use]
    pub fn from_minutes(minutes: u16) -> Option<Self> {
        (minutes < 1_440).then_some(Self(minutes))
    }

    /// Returns minutes since midnight.
    #[must_use]
    pub const fn minutes(self) -> u16 {
        self.0
    }

    /// Returns the instant of this time on `date` in Europe/London.
    ///
    /// # Errors
    /// [`TimeError::Ambiguous`] in the hour that the clocks skip or repeat.
    pub fn instant_on(self, date: Date) -> Result<Instant, TimeError> {
        let local = date.0.to_datetime(civil::Time::midnight()).saturating_add(i64::from(self.0).minutes());
        let moment = LONDON.to_ambiguous_timestamp(local).unambiguous().map_err(|_| TimeError::Ambiguous)?;
        Ok(Instant::from_timestamp(moment))
    }

    /// Returns the time of day in Europe/London at an instant, truncated to minutes.
    #[must_use]
    pub fn in_london(at: Instant) -> Self {
        let time = LONDON.to_datetime(at.to_timestamp()).time();
        let part = |value: i8| u16::try_from(value).unwrap_or(0);
        Self(part(time.hour()) * 60 + part(time.minute()))
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl fmt::Debug for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TimeOfDay {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        Self::parse(text)
    }
}

/// Europe/London from the time zone database in the binary, so that all nodes agree. The fallback is the rule in force
/// since 1996.
static LONDON: LazyLock<TimeZone> = LazyLock::new(|| {
    TimeZoneDatabase::bundled()
        .get("Europe/London")
        .or_else(|_| TimeZone::posix("GMT0BST,M3.5.0/1,M10.5.0"))
        .unwrap_or(TimeZone::UTC)
});

impl From<Date> for jiff::civil::Date {
    fn from(date: Date) -> Self {
        date.0
    }
}

#[cfg(test)]
mod tests;
