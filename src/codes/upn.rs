//! Unique pupil numbers (Department for Education, UPN guide).
//!
//! Invariant: a UPN never appears in a log, an error or `Debug`. Its authority is the one that issued it, not the one
//! where the child is now.

use std::fmt;

use super::local_authority::LaCode;
use crate::violation_reason::ViolationReason;

/// Unique pupil number with a valid check letter, permanent or temporary.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Upn([u8; 13]);

/// Error of a pupil number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpnError {
    /// The text is not a letter, eleven digits, and a digit or letter, in capitals without I, O and S.
    #[error("not a pupil number of 13 characters")]
    Format,
    /// The check letter does not match the other characters.
    #[error("the check letter of the pupil number is wrong")]
    CheckLetter,
    /// The number names authority 000, which never existed.
    #[error("the pupil number names an authority that never existed")]
    LaUnknown,
    /// The number is temporary, but a permanent one is needed.
    #[error("the pupil number is temporary")]
    Temporary,
}

impl UpnError {
    /// Returns the reason name that is sent to a caller.
    #[must_use]
    pub fn reason(self) -> ViolationReason {
        match self {
            Self::Format => ViolationReason::UpnFormat,
            Self::CheckLetter => ViolationReason::UpnCheckLetter,
            Self::LaUnknown => ViolationReason::UpnLaUnknown,
            Self::Temporary => ViolationReason::UpnTemporary,
        }
    }
}

const CHECK_LETTERS: &[u8; 23] = b"ABCDEFGHJKLMNPQRTUVWXYZ";

impl Upn {
    /// Parses a permanent or temporary number. Case and spaces are not corrected.
    ///
    /// # Errors
    /// [`UpnError`], all but [`UpnError::Temporary`].
    pub fn parse(text: &str) -> Result<Self, UpnError> {
        let upn: [u8; 13] = text.as_bytes().try_into().map_err(|_| UpnError::Format)?;
        let [check, middle @ .., last] = &upn;
        if !middle.iter().all(u8::is_ascii_digit) {
            return Err(UpnError::Format);
        }
        let check = letter_value(*check).ok_or(UpnError::Format)?;
        let last = if last.is_ascii_digit() {
            u32::from(last - b'0')
        } else {
            letter_value(*last).ok_or(UpnError::Format)?
        };
        let sum: u32 = (2..).zip(middle).map(|(weight, digit)| weight * u32::from(digit - b'0')).sum();
        if (sum + 13 * last) % 23 != check {
            return Err(UpnError::CheckLetter);
        }
        if middle.starts_with(b"000") { Err(UpnError::LaUnknown) } else { Ok(Self(upn)) }
    }

    /// Parses a permanent number.
    ///
    /// # Errors
    /// [`UpnError`].
    pub fn parse_permanent(text: &str) -> Result<Self, UpnError> {
        let upn = Self::parse(text)?;
        if upn.is_temporary() { Err(UpnError::Temporary) } else { Ok(upn) }
    }

    /// Returns the thirteen characters. Personal: for sealing, matching and the wire only.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Returns whether the number is temporary: issued until a permanent one is known.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        !self.0[12].is_ascii_digit()
    }

    /// Returns whether the issuer is a known authority. A number of an unknown issuer is accepted.
    #[must_use]
    pub fn has_known_issuer(&self) -> bool {
        self.as_str().get(1..4).and_then(|la| LaCode::parse(la).ok()).is_some_and(LaCode::has_issued_upns)
    }
}

impl fmt::Debug for Upn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upn(redacted)")
    }
}

fn letter_value(letter: u8) -> Option<u32> {
    CHECK_LETTERS.iter().position(|known| *known == letter).and_then(|value| u32::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vector() {
        let expected = |text: &str| match Upn::parse_permanent(text) {
            Ok(_) => "valid",
            Err(UpnError::Format) => "format",
            Err(UpnError::CheckLetter) => "check_letter",
            Err(UpnError::LaUnknown) => "la_unknown",
            Err(UpnError::Temporary) => "temporary",
        };
        assert_eq!(crate::codes::uln::assert_vectors("upn", expected), 24);
    }

    #[test]
    fn every_wrong_digit_is_caught() {
        let right = "Z303400126001";
        for position in 1..13 {
            for digit in '0'..='9' {
                let mut wrong = right.to_owned();
                wrong.replace_range(position..=position, &digit.to_string());
                assert_eq!(Upn::parse(&wrong).is_ok(), wrong == right);
            }
        }
    }

    #[test]
    fn issuer_and_redaction() {
        let upn = Upn::parse("R674123101121").unwrap();
        assert!(upn.has_known_issuer() && Upn::parse("X00180001701A").unwrap().is_temporary());
        assert_eq!(format!("{upn:?}"), "Upn(redacted)");
        for text in ["", "A1\u{200b}01200005001", "В801200005001", "B801200005001 ", "O801200005001"] {
            assert_eq!(Upn::parse(text), Err(UpnError::Format));
        }
    }
}
