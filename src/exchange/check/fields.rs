//! Typed readers of [`Check`], one for each kind of field (bad-input catalogue B1–B37, B49, B51).
//!
//! A reader returns `None` where it recorded a violation or, if the field is optional, where nothing was sent.
//! Invariant: a reader never repairs a value.

use std::ops::RangeInclusive;

use uuid::Uuid;

use super::{Check, TextRule, contact, text};
use crate::calendar::{Date, DateError, Period, PeriodError, TimeError, TimeOfDay};
use crate::clock::Instant;
use crate::codes::organisation::OrganisationError;
use crate::codes::upn::UpnError;
use crate::codes::{OrganisationId, Upn};
use crate::violation_reason::ViolationReason;

/// Maximum number of years between today and the end of a queried period.
const MAX_YEARS_AHEAD: i16 = 2;

/// Longest id, date or number, in bytes. A longer value is refused before it is parsed.
const MAX_IDENTIFIER_BYTES: usize = 256;

impl Check {
    /// Reads a UUID in lower case with hyphens, of any version, not nil.
    pub fn uuid(&mut self, field: &'static str, sent: &str) -> Option<Uuid> {
        self.required(field, sent).and_then(|sent| self.parse_field(field, sent, uuid))
    }

    /// Reads an optional field as [`Check::uuid`].
    pub fn optional_uuid(&mut self, field: &'static str, sent: &str) -> Option<Uuid> {
        if sent.is_empty() { None } else { self.parse_field(field, sent, uuid) }
    }

    /// Reads a date, `YYYY-MM-DD`.
    pub fn date(&mut self, field: &'static str, sent: &str) -> Option<Date> {
        self.required(field, sent).and_then(|sent| self.parse_field(field, sent, date))
    }

    /// Reads an optional field as [`Check::date`].
    pub fn optional_date(&mut self, field: &'static str, sent: &str) -> Option<Date> {
        if sent.is_empty() { None } else { self.parse_field(field, sent, date) }
    }

    /// Reads two dates, each of which may be empty. A second date before the first is a violation by the second.
    pub fn optional_days(
        &mut self,
        first: &'static str,
        from: &str,
        last: &'static str,
        to: &str,
    ) -> (Option<Date>, Option<Date>) {
        let (from, to) = (self.optional_date(first, from), self.optional_date(last, to));
        if from.zip(to).is_some_and(|(from, to)| to < from) {
            self.add_violation(last, ViolationReason::DateOrder);
        }
        (from, to)
    }

    /// Reads two dates as a period of at most `days` days. An invalid period is a violation by the second date.
    pub fn period(
        &mut self,
        first: (&'static str, &str),
        last: (&'static str, &str),
        days: usize,
    ) -> Option<Period> {
        let (from, to) = (self.date(first.0, first.1), self.date(last.0, last.1));
        match Period::with_max_days(from?, to?, days) {
            Ok(period) => Some(period),
            Err(error) => self.refuse(last.0, error.reason()),
        }
    }

    /// Reads `from_date` and `to_date` of a query as [`Check::period`]. The period ends at most two years after
    /// `today`.
    pub fn query_period(&mut self, from: &str, to: &str, days: usize, today: Date) -> Option<Period> {
        let period = self.period(("from_date", from), ("to_date", to), days)?;
        if period.last() > today.plus_years(MAX_YEARS_AHEAD) {
            return self.refuse("to_date", PeriodError::TooLong.reason());
        }
        Some(period)
    }

    /// Reads a date of birth that gives an age of 4 to 25 on `today`.
    pub fn date_of_birth(&mut self, field: &'static str, sent: &str, today: Date) -> Option<Date> {
        let born = self.date(field, sent)?;
        if (4..=25).contains(&born.age_on(today)) {
            Some(born)
        } else {
            self.refuse(field, ViolationReason::DobRange)
        }
    }

    /// Reads a clock time, `HH:MM`.
    pub fn time_of_day(&mut self, field: &'static str, sent: &str) -> Option<TimeOfDay> {
        self.required(field, sent).and_then(|sent| self.parse_field(field, sent, time))
    }

    /// Reads an optional field as [`Check::time_of_day`].
    pub fn optional_time_of_day(&mut self, field: &'static str, sent: &str) -> Option<TimeOfDay> {
        if sent.is_empty() { None } else { self.parse_field(field, sent, time) }
    }

    /// Reads a UPN, temporary or permanent.
    pub fn upn(&mut self, field: &'static str, sent: &str) -> Option<Upn> {
        self.required(field, sent)
            .and_then(|sent| self.parse_field(field, sent, |sent| Upn::parse(sent).map_err(UpnError::reason)))
    }

    /// Reads an optional field as [`Check::upn`].
    pub fn optional_upn(&mut self, field: &'static str, sent: &str) -> Option<Upn> {
        if sent.is_empty() { None } else { self.upn(field, sent) }
    }

    /// Reads a permanent UPN.
    pub fn permanent_upn(&mut self, field: &'static str, sent: &str) -> Option<Upn> {
        let upn = self.upn(field, sent)?;
        if upn.is_temporary() { self.refuse(field, ViolationReason::UpnTemporary) } else { Some(upn) }
    }

    /// Reads an organisation id, `<kind>/<id>`.
    pub fn organisation(&mut self, field: &'static str, sent: &str) -> Option<OrganisationId> {
        self.required(field, sent).and_then(|sent| self.parse_field(field, sent, organisation))
    }

    /// Reads an optional field as [`Check::organisation`].
    pub fn optional_organisation(&mut self, field: &'static str, sent: &str) -> Option<OrganisationId> {
        if sent.is_empty() { None } else { self.parse_field(field, sent, organisation) }
    }

    /// Reads an identifier with a parser of its own, such as `|sent|
    /// Urn::parse(sent).map_err(PlaceNumberError::reason)`.
    pub fn parsed<T>(
        &mut self,
        field: &'static str,
        sent: &str,
        parse: impl FnOnce(&str) -> Result<T, ViolationReason>,
    ) -> Option<T> {
        self.required(field, sent).and_then(|sent| self.parse_field(field, sent, parse))
    }

    /// Reads a text and composes it (NFC). Returns `None` also for a blank text that is not required.
    pub fn text(&mut self, field: &'static str, sent: &str, rule: TextRule) -> Option<String> {
        text::check_text(sent, rule).unwrap_or_else(|reason| self.refuse(field, reason))
    }

    /// Reads an optional postcode.
    pub fn postcode(&mut self, field: &'static str, sent: &str) -> Option<String> {
        self.matching_text(field, sent, contact::is_postcode, ViolationReason::PostcodeFormat)
    }

    /// Reads an optional telephone number.
    pub fn phone(&mut self, field: &'static str, sent: &str) -> Option<String> {
        self.matching_text(field, sent, contact::is_phone, ViolationReason::PhoneFormat)
    }

    /// Reads an optional e-mail address.
    pub fn email(&mut self, field: &'static str, sent: &str) -> Option<String> {
        self.matching_text(field, sent, contact::is_email, ViolationReason::EmailFormat)
    }

    /// Reads a whole number within `range`.
    pub fn int_range<N>(&mut self, field: &'static str, sent: N, range: RangeInclusive<i64>) -> Option<N>
    where
        N: Copy + TryInto<i64>,
    {
        self.number(field, sent, range, ViolationReason::NumberRange)
    }

    /// Reads a number of minutes within `range`.
    pub fn minutes<N>(&mut self, field: &'static str, sent: N, range: RangeInclusive<i64>) -> Option<N>
    where
        N: Copy + TryInto<i64>,
    {
        self.number(field, sent, range, ViolationReason::MinutesRange)
    }

    /// Reads a finite score within `range`. Negative zero is refused.
    pub fn score(&mut self, field: &'static str, sent: f64, range: RangeInclusive<f64>) -> Option<f64> {
        let negative_zero = sent == 0.0 && sent.is_sign_negative();
        if range.contains(&sent) && !negative_zero {
            Some(sent)
        } else {
            self.refuse(field, ViolationReason::NumberRange)
        }
    }

    /// Reads a required message: `check.present("plan", message.plan.as_ref())`.
    pub fn present<T>(&mut self, field: &'static str, sent: Option<T>) -> Option<T> {
        if sent.is_none() {
            self.add_violation(field, ViolationReason::FieldRequired);
        }
        sent
    }

    /// Reads a text that must not be empty.
    pub fn required<'t>(&mut self, field: &'static str, sent: &'t str) -> Option<&'t str> {
        if sent.is_empty() { self.refuse(field, ViolationReason::FieldRequired) } else { Some(sent) }
    }

    /// Checks that a list is no longer than `max`.
    pub fn list_len(&mut self, field: &'static str, len: usize, max: usize) -> bool {
        if len > max {
            self.add_violation(field, ViolationReason::ListTooLong);
        }
        len <= max
    }

    /// Reads an enum value other than 0, through a `TryFrom<i32>` of prost or of a code set.
    pub fn enum_value<E: TryFrom<i32>>(&mut self, field: &'static str, sent: i32) -> Option<E> {
        if sent == 0 {
            self.refuse(field, ViolationReason::EnumRequired)
        } else {
            self.optional_enum(field, sent)
        }
    }

    /// Reads an enum value as [`Check::enum_value`]; 0 gives `None`.
    pub fn optional_enum<E: TryFrom<i32>>(&mut self, field: &'static str, sent: i32) -> Option<E> {
        if sent == 0 {
            return None;
        }
        E::try_from(sent).map_or_else(|_| self.refuse(field, ViolationReason::EnumUnknown), Some)
    }

    /// Reads the number of rows per page: `default` for 0, at most `max`.
    pub fn page_size(&mut self, field: &'static str, sent: i32, default: u32, max: u32) -> Option<u32> {
        match u32::try_from(sent) {
            Ok(0) => Some(default),
            Ok(size) => Some(size.min(max)),
            Err(_) => self.refuse(field, ViolationReason::PageSize),
        }
    }

    /// Reads a timestamp.
    pub fn timestamp(
        &mut self,
        field: &'static str,
        sent: Option<&prost_types::Timestamp>,
    ) -> Option<Instant> {
        let sent = self.present(field, sent)?;
        self.optional_timestamp(field, Some(sent))
    }

    /// Reads an optional field as [`Check::timestamp`].
    pub fn optional_timestamp(
        &mut self,
        field: &'static str,
        sent: Option<&prost_types::Timestamp>,
    ) -> Option<Instant> {
        Instant::from_proto(sent?).map_or_else(|error| self.refuse(field, error.reason()), Some)
    }

    fn refuse<T>(&mut self, field: &'static str, reason: ViolationReason) -> Option<T> {
        self.add_violation(field, reason);
        None
    }

    fn parse_field<T>(
        &mut self,
        field: &'static str,
        sent: &str,
        parse: impl FnOnce(&str) -> Result<T, ViolationReason>,
    ) -> Option<T> {
        if sent.len() > MAX_IDENTIFIER_BYTES {
            return self.refuse(field, ViolationReason::FieldLength);
        }
        parse(sent).map_or_else(|reason| self.refuse(field, reason), Some)
    }

    fn matching_text(
        &mut self,
        field: &'static str,
        sent: &str,
        is_formed: fn(&str) -> bool,
        reason: ViolationReason,
    ) -> Option<String> {
        let text = self.text(field, sent, TextRule::line(MAX_IDENTIFIER_BYTES))?;
        if is_formed(&text) { Some(text) } else { self.refuse(field, reason) }
    }

    fn number<N>(
        &mut self,
        field: &'static str,
        sent: N,
        range: RangeInclusive<i64>,
        reason: ViolationReason,
    ) -> Option<N>
    where
        N: Copy + TryInto<i64>,
    {
        let held = sent.try_into().is_ok_and(|number| range.contains(&number));
        if held { Some(sent) } else { self.refuse(field, reason) }
    }
}

fn uuid(sent: &str) -> Result<Uuid, ViolationReason> {
    let hyphenated = sent.len() == 36 && !sent.bytes().any(|byte| byte.is_ascii_uppercase());
    let id = if hyphenated { Uuid::try_parse(sent).ok() } else { None };
    id.filter(|id| !id.is_nil()).ok_or(ViolationReason::IdFormat)
}

fn date(sent: &str) -> Result<Date, ViolationReason> {
    Date::parse(sent).map_err(DateError::reason)
}

fn time(sent: &str) -> Result<TimeOfDay, ViolationReason> {
    TimeOfDay::parse(sent).map_err(TimeError::reason)
}

fn organisation(sent: &str) -> Result<OrganisationId, ViolationReason> {
    OrganisationId::parse(sent).map_err(OrganisationError::reason)
}
