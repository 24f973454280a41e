//! Numbers of establishments: URN (Get Information about Schools), UKPRN (UK Register of Learning Providers), LAESTAB.
//!
//! Only the form is checked here; the register decides whether an establishment exists. None of these numbers is
//! personal.

use std::fmt;

use super::local_authority::LaCode;
use crate::violation_reason::ViolationReason;

/// Error of an establishment's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EstablishmentNumberError {
    /// A URN is six digits from 100000.
    #[error("not a URN of six digits")]
    Urn,
    /// A UKPRN is eight digits, the first a 1.
    #[error("not a UKPRN of eight digits")]
    Ukprn,
    /// A LAESTAB is an authority's three digits and the establishment's four.
    #[error("not an authority and establishment number of seven digits")]
    Laestab,
}

impl EstablishmentNumberError {
    /// Returns the reason name that is sent to a caller.
    #[must_use]
    pub fn reason(self) -> ViolationReason {
        match self {
            Self::Urn => ViolationReason::UrnFormat,
            Self::Ukprn => ViolationReason::UkprnFormat,
            Self::Laestab => ViolationReason::LaestabFormat,
        }
    }
}

/// Unique reference number of an establishment, 100000 to 999999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Urn(u32);

impl Urn {
    /// Parses six ASCII digits.
    ///
    /// # Errors
    /// [`EstablishmentNumberError::Urn`].
    pub fn parse(text: &str) -> Result<Self, EstablishmentNumberError> {
        parse_digits(text, 6).filter(|urn| *urn >= 100_000).map(Self).ok_or(EstablishmentNumberError::Urn)
    }
}

impl fmt::Display for Urn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// UK provider reference number, 10000000 to 19999999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ukprn(u32);

impl Ukprn {
    /// Parses eight ASCII digits.
    ///
    /// # Errors
    /// [`EstablishmentNumberError::Ukprn`].
    pub fn parse(text: &str) -> Result<Self, EstablishmentNumberError> {
        let number = parse_digits(text, 8).filter(|number| number / 10_000_000 == 1);
        number.map(Self).ok_or(EstablishmentNumberError::Ukprn)
    }
}

impl fmt::Display for Ukprn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// LAESTAB: a local authority code and an establishment number, written `LLL/EEEE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Laestab {
    /// Local authority code in the number; listed or not.
    pub authority: LaCode,
    /// Establishment number, 0 to 9999.
    pub establishment: u16,
}

impl Laestab {
    /// Parses `LLL/EEEE` or `LLLEEEE`.
    ///
    /// # Errors
    /// [`EstablishmentNumberError::Laestab`].
    pub fn parse(text: &str) -> Result<Self, EstablishmentNumberError> {
        let (authority, rest) = text.split_at_checked(3).ok_or(EstablishmentNumberError::Laestab)?;
        let authority = LaCode::parse(authority).map_err(|_| EstablishmentNumberError::Laestab)?;
        let establishment =
            parse_digits(rest.strip_prefix('/').unwrap_or(rest), 4).and_then(|number| number.try_into().ok());
        Ok(Self { authority, establishment: establishment.ok_or(EstablishmentNumberError::Laestab)? })
    }
}

impl fmt::Display for Laestab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:04}", self.authority, self.establishment)
    }
}

fn parse_digits(text: &str, count: usize) -> Option<u32> {
    (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        assert_eq!(Urn::parse("123456").unwrap().to_string(), "123456");
        for text in ["12345", "1234567", "099999", "12345a", "+12345", ""] {
            assert_eq!(Urn::parse(text).unwrap_err().reason().name(), "URN_FORMAT");
        }
        assert_eq!(Ukprn::parse("10001234").unwrap().to_string(), "10001234");
        for text in ["20001234", "1000123", "100012345"] {
            assert_eq!(Ukprn::parse(text).unwrap_err().reason().name(), "UKPRN_FORMAT");
        }
        assert_eq!(Laestab::parse("3301101").unwrap().to_string(), "330/1101");
        assert_eq!(Laestab::parse("001/0001").unwrap().to_string(), "001/0001");
        for text in ["330/110", "330//1101", "33/01101", "é301101"] {
            assert_eq!(Laestab::parse(text), Err(EstablishmentNumberError::Laestab));
        }
    }
}
