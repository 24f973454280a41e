//! NHS numbers, the likely consistent identifier of the Children Act 2004 s.16LA; optional everywhere.
//!
//! Personal: redacted in `Debug`. Never guessed from ten digits, which a learner number has too.

use std::fmt;

use super::uln::{ten_digits, weighted};

/// An NHS number with a right check digit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NhsNumber([u8; 10]);

/// Why an NHS number was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NhsNumberError {
    /// Not ten digits, or all ten the same 0 or 9, which pass the sum and belong to nobody.
    #[error("not an NHS number of ten digits")]
    Format,
    /// The last digit is not the one the others give.
    #[error("the check digit of the NHS number is wrong")]
    CheckDigit,
}

impl NhsNumberError {
    /// The reason sent to a caller.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Format => "NHS_NUMBER_FORMAT",
            Self::CheckDigit => "NHS_NUMBER_CHECK_DIGIT",
        }
    }
}

impl NhsNumber {
    /// Reads ten ASCII digits.
    ///
    /// # Errors
    /// [`NhsNumberError`].
    pub fn parse(text: &str) -> Result<Self, NhsNumberError> {
        let number = ten_digits(text).ok_or(NhsNumberError::Format)?;
        if matches!(text, "0000000000" | "9999999999") {
            return Err(NhsNumberError::Format);
        }
        let check = (11 - weighted(&number) % 11) % 11;
        if check == u32::from(number[9] - b'0') { Ok(Self(number)) } else { Err(NhsNumberError::CheckDigit) }
    }

    /// The ten digits. Personal.
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
        assert_eq!(crate::codes::uln::vectors("nhs", expected), 6);
        assert_eq!(expected("9998885981"), "valid");
    }
}
