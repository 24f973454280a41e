//! NHS numbers, the likely consistent identifier of the Children Act 2004 s.16LA. They are optional everywhere.
//!
//! Personal: redacted in `Debug`. Ten digits alone are never taken for an NHS number, because a learner number has ten
//! digits too.

use std::fmt;

use super::uln::{parse_ten_digits, weighted_sum};
use crate::violation_reason::ViolationReason;

/// NHS number with a valid check digit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NhsNumber([u8; 10]);

/// Error of an NHS number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NhsNumberError {
    /// The text is not ten digits, or is ten times 0 or 9; these two pass the check but are never issued.
    #[error("not an NHS number of ten digits")]
    Format,
    /// The check digit does not match the other digits.
    #[error("the check digit of the NHS number is wrong")]
    CheckDigit,
}

impl NhsNumberError {
    /// Returns the reason name that is sent to a caller.
    #[must_use]
    pub fn reason(self) -> ViolationReason {
        match self {
            Self::Format => ViolationReason::NhsNumberFormat,
            Self::CheckDigit => ViolationReason::NhsNumberCheckDigit,
        }
    }
}

impl NhsNumber {
    /// Parses ten ASCII digits.
    ///
    /// # Errors
    /// [`NhsNumberError`].
    pub fn parse(text: &str) -> Result<Self, NhsNumberError> {
        let number = parse_ten_digits(text).ok_or(NhsNumberError::Format)?;
        if matches!(text, "0000000000" | "9999999999") {
            return Err(NhsNumberError::Format);
        }
        let check = (11 - weighted_sum(&number) % 11) % 11;
        if check == u32::from(number[9] - b'0') { Ok(Self(number)) } else { Err(NhsNumberError::CheckDigit) }
    }

    /// Returns the ten digits. Personal.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for NhsNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NhsNumber(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vector() {
        let expected = |text: &str| match NhsNumber::parse(text) {
            Ok(_) => "valid",
            Err(NhsNumberError::Format) => "format",
            Err(NhsNumberError::CheckDigit) => "check_digit",
        };
        assert_eq!(crate::codes::uln::assert_vectors("nhs", expected), 6);
        assert_eq!(expected("9998885981"), "valid");
    }
}
