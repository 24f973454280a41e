//! Unique learner numbers (Learning Records Service), for learners aged 14 and over.
//!
//! An NHS number has ten digits too, so ten digits alone are never taken for either. Personal: redacted in `Debug`.

use std::fmt;

use crate::violation_reason::ViolationReason;

/// Unique learner number with a valid check digit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uln([u8; 10]);

/// Error of a learner number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UlnError {
    /// The text is not ten digits, or has a leading zero.
    #[error("not a learner number of ten digits")]
    Format,
    /// The check digit does not match the other digits.
    #[error("the check digit of the learner number is wrong")]
    CheckDigit,
    /// No check digit exists for the first nine digits.
    #[error("no learner number starts with these digits")]
    NoCheckDigit,
    /// The number is 9999999999, which means unknown and never matches a learner.
    #[error("the learner number stands for an unknown learner")]
    Sentinel,
}

impl UlnError {
    /// Returns the reason name that is sent to a caller: the same for all, as in the catalogue (B11).
    #[must_use]
    pub fn reason(self) -> ViolationReason {
        ViolationReason::UlnCheckDigit
    }
}

impl Uln {
    /// Parses ten ASCII digits.
    ///
    /// # Errors
    /// [`UlnError`].
    pub fn parse(text: &str) -> Result<Self, UlnError> {
        let uln = parse_ten_digits(text).ok_or(UlnError::Format)?;
        if uln.starts_with(b"0") {
            return Err(UlnError::Format);
        }
        if text == "9999999999" {
            return Err(UlnError::Sentinel);
        }
        match weighted_sum(&uln) % 11 {
            0 => Err(UlnError::NoCheckDigit),
            remainder if 10 - remainder == u32::from(uln[9] - b'0') => Ok(Self(uln)),
            _ => Err(UlnError::CheckDigit),
        }
    }

    /// Returns the ten digits. Personal.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Uln {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Uln(redacted)")
    }
}

/// Returns the bytes of `text` if it is ten ASCII digits.
pub(super) fn parse_ten_digits(text: &str) -> Option<[u8; 10]> {
    let digits: [u8; 10] = text.as_bytes().try_into().ok()?;
    digits.iter().all(u8::is_ascii_digit).then_some(digits)
}

/// Returns the sum of the first nine digits, weighted 10 down to 2.
pub(super) fn weighted_sum(digits: &[u8; 10]) -> u32 {
    (2..=10).rev().zip(digits).map(|(weight, digit)| weight * u32::from(digit - b'0')).sum()
}

/// Checks `expected` against every vector of `kind`, and returns their number.
#[cfg(test)]
pub(super) fn assert_vectors(kind: &str, expected: impl Fn(&str) -> &'static str) -> usize {
    let table = include_str!("../../tests/data/identifier-vectors.csv");
    let mut vectors = csv::Reader::from_reader(table.as_bytes());
    let rows: Vec<_> = vectors.records().map(Result::unwrap).filter(|row| &row[0] == kind).collect();
    for row in &rows {
        assert_eq!(expected(&row[1]), &row[2], "{}", &row[1]);
    }
    rows.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vector() {
        let expected = |text: &str| match Uln::parse(text) {
            Ok(_) => "valid",
            Err(UlnError::Format) => "format",
            Err(UlnError::CheckDigit) => "check_digit",
            Err(UlnError::NoCheckDigit) => "no_valid_check_digit",
            Err(UlnError::Sentinel) => "sentinel",
        };
        assert_eq!(assert_vectors("uln", expected), 11);
        assert_eq!(expected("1000000044"), "check_digit");
        assert_eq!(expected("10000000430"), "format");
    }
}
