//! Unique pupil numbers (Department for Education, UPN guide).
//!
//! A blind number: it must never stand in a log, an error or `Debug`, and its authority is who issued it, never
//! where the child is now.

use std::fmt;

use super::local_authority::LaCode;

/// A pupil number with a right check letter, permanent or temporary.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Upn([u8; 13]);

/// Why a pupil number was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpnError {
    /// Not a letter, eleven digits, and a digit or letter, in capitals without I, O and S.
    #[error("not a pupil number of 13 characters")]
    Format,
    /// The check letter is not the one the other characters give.
    #[error("the check letter of the pupil number is wrong")]
    CheckLetter,
    /// Issued by authority 000, which never existed.
    #[error("the pupil number names an authority that never existed")]
    LaUnknown,
    /// Temporary where a permanent one is needed.
    #[error("the pupil number is temporary")]
    Temporary,
}

impl UpnError {
    /// The reason sent to a caller.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Format => "UPN_FORMAT",
            Self::CheckLetter => "UPN_CHECK_LETTER",
            Self::LaUnknown => "UPN_LA_UNKNOWN",
            Self::Temporary => "UPN_TEMPORARY",
        }
    }
}

const LETTERS: &[u8; 23] = b"ABCDEFGHJKLMNPQRTUVWXYZ";

impl Upn {
    /// Reads a permanent or temporary number; no repair of case or space.
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

    /// Reads a permanent number.
    ///
    /// # Errors
    /// [`UpnError`].
    pub fn parse_permanent(text: &str) -> Result<Self, UpnError> {
        let upn = Self::parse(text)?;
        if upn.is_temporary() { Err(UpnError::Temporary) } else { Ok(upn) }
    }

    /// The thirteen characters. Personal: for sealing, matching and the wire only.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Whether it was issued until a permanent one is known.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        !self.0[12].is_ascii_digit()
    }

    /// Whether its issuer is a known authority; a number is taken without, with a warning.
    #[must_use]
    pub fn issuer_known(&self) -> bool {
        self.as_str().get(1..4).and_then(|la| LaCode::parse(la).ok()).is_some_and(LaCode::has_issued)
    }
}

impl fmt::Debug for Upn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upn(redacted)")
    }
}

fn letter_value(letter: u8) -> Option<u32> {
    LETTERS.iter().position(|known| *known == letter).and_then(|value| u32::try_from(value).ok())
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
        assert_eq!(crate::codes::uln::vectors("upn", expected), 24);
    }

    #[test]
    fn every_wrong_digit_is_caught() {
        let right = "Z303400126001";
        for place in 1..13 {
            for digit in '0'..='9' {
                let mut wrong = right.to_owned();
                wrong.replace_range(place..=place, &digit.to_string());
                assert_eq!(Upn::parse(&wrong).is_ok(), wrong == right);
            }
        }
    }

    #[test]
    fn issuer_and_redaction() {
        let upn = Upn::parse("R674123101121").unwrap();
        assert!(upn.issuer_known() && Upn::parse("X00180001701A").unwrap().is_temporary());
        assert_eq!(format!("{upn:?}"), "Upn(redacted)");
        for text in ["", "A1\u{200b}01200005001", "В801200005001", "B801200005001 ", "O801200005001"] {
            assert_eq!(Upn::parse(text), Err(UpnError::Format));
        }
    }
}
