//! Local authorities in England, as published by the Department for Education, with their dates.
//!
//! The published table is embedded unchanged. Parsing leaves out rows that join two authorities and rows without a
//! code. A code may have an ended row beside a current one. Invariant: an authority's code never states where a child
//! lives.

use std::fmt;
use std::sync::LazyLock;

use crate::calendar::Date;
use crate::violation_reason::ViolationReason;

/// Local authority code of three digits, with leading zeros; listed or not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaCode([u8; 3]);

/// Error of a local authority code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LaCodeError {
    /// The text is not three ASCII digits.
    #[error("not a local authority code of three digits")]
    Format,
    /// No local authority has the code on that date.
    #[error("no local authority has this code on that date")]
    Unknown,
}

impl LaCodeError {
    /// Returns the reason name that is sent to a caller.
    #[must_use]
    pub fn reason(self) -> ViolationReason {
        match self {
            Self::Format => ViolationReason::LaCodeFormat,
            Self::Unknown => ViolationReason::LaCodeUnknown,
        }
    }
}

/// Local authority, for the period in which it existed under one national code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalAuthority {
    /// Code of the Department for Education.
    pub code: LaCode,
    /// Code of the Office for National Statistics, such as `E09000021`.
    pub ons_code: String,
    /// Name.
    pub name: String,
    /// First day.
    pub from: Date,
    /// Last day; `None` while the authority exists.
    pub to: Option<Date>,
}

impl LocalAuthority {
    /// Returns whether the authority existed on `date`.
    #[must_use]
    pub fn existed_on(&self, date: Date) -> bool {
        self.from <= date && self.to.is_none_or(|to| date <= to)
    }
}

impl LaCode {
    /// Parses three digits, listed or not.
    ///
    /// # Errors
    /// [`LaCodeError::Format`].
    pub fn parse(text: &str) -> Result<Self, LaCodeError> {
        let code: [u8; 3] = text.as_bytes().try_into().map_err(|_| LaCodeError::Format)?;
        if code.iter().all(u8::is_ascii_digit) { Ok(Self(code)) } else { Err(LaCodeError::Format) }
    }

    /// Parses the code of an authority that existed on `date`.
    ///
    /// # Errors
    /// [`LaCodeError`].
    pub fn parse_on(text: &str, date: Date) -> Result<Self, LaCodeError> {
        let code = Self::parse(text)?;
        code.authority_on(date).map(|_| code).ok_or(LaCodeError::Unknown)
    }

    /// Returns the three digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Returns the authority that had this code on `date`.
    #[must_use]
    pub fn authority_on(self, date: Date) -> Option<&'static LocalAuthority> {
        AUTHORITIES.iter().find(|authority| authority.code == self && authority.existed_on(date))
    }

    /// Returns whether pupil numbers were ever issued under the code. These are the codes of all current and ended
    /// authorities, and of the Department's pseudo-authorities.
    #[must_use]
    pub fn has_issued_upns(self) -> bool {
        AUTHORITIES.iter().any(|authority| authority.code == self)
            || matches!(self.number(), 1..=5 | 660..=681 | 701..=708 | 820 | 875 | 909 | 928)
    }

    fn number(self) -> u16 {
        self.0.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0'))
    }
}

impl fmt::Display for LaCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for LaCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Returns every authority of the published table, current and ended, in its order.
#[must_use]
pub fn local_authorities() -> &'static [LocalAuthority] {
    &AUTHORITIES
}

const PUBLISHED_TABLE: &str = include_str!("tables/local-authorities.csv");

static AUTHORITIES: LazyLock<Vec<LocalAuthority>> = LazyLock::new(|| {
    let mut table = csv::Reader::from_reader(PUBLISHED_TABLE.as_bytes());
    table.records().filter_map(|row| parse_row(&row.ok()?)).collect()
});

/// Parses a row of the table. Returns `None` for a row that is no authority: joined rows, rows whose code is `x`, and
/// the forces' schools overseas (no dates).
fn parse_row(row: &csv::StringRecord) -> Option<LocalAuthority> {
    let ended = row.get(3)?;
    Some(LocalAuthority {
        ons_code: row.get(0)?.to_owned(),
        name: row.get(1)?.to_owned(),
        from: parse_british_date(row.get(2)?)?,
        to: if ended.is_empty() { None } else { Some(parse_british_date(ended)?) },
        code: LaCode::parse(row.get(8)?).ok()?,
    })
}

fn parse_british_date(text: &str) -> Option<Date> {
    let mut parts = text.splitn(3, '/');
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    Date::parse(&format!("{year}-{month}-{day}")).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn live_on(date: &str) -> BTreeSet<LaCode> {
        let date = Date::parse(date).unwrap();
        AUTHORITIES
            .iter()
            .filter(|authority| authority.existed_on(date))
            .map(|authority| authority.code)
            .collect()
    }

    #[test]
    fn there_are_153_and_none_twice() {
        assert_eq!(live_on("2026-11-20").len(), 153);
        let day = Date::parse("2026-11-20").unwrap();
        assert_eq!(AUTHORITIES.iter().filter(|authority| authority.existed_on(day)).count(), 153);
        assert_eq!(PUBLISHED_TABLE.lines().count() - 1 - AUTHORITIES.len(), 3 + 5 + 1);
    }

    #[test]
    fn codes_have_their_dates() {
        let live = |code, date| LaCode::parse_on(code, Date::parse(date).unwrap());
        assert_eq!(live("909", "2023-03-31").unwrap().as_str(), "909");
        assert_eq!(live("909", "2023-04-01"), Err(LaCodeError::Unknown));
        assert!(live("942", "2023-04-01").is_ok());
        assert_eq!(live("702", "2026-11-20"), Err(LaCodeError::Unknown));
        for text in ["", "x", "33", "3300", "33A", "３30"] {
            assert_eq!(live(text, "2026-11-20"), Err(LaCodeError::Format));
        }
        let sheffield = LaCode::parse("373").unwrap();
        let on = |date| sheffield.authority_on(Date::parse(date).unwrap()).unwrap().ons_code.as_str();
        assert_eq!((on("2025-04-30"), on("2025-05-01")), ("E08000019", "E08000039"));
    }

    #[test]
    fn issuers_reach_back() {
        let issued = |code| LaCode::parse(code).unwrap().has_issued_upns();
        assert!(issued("941") && issued("674") && issued("001") && issued("820") && issued("702"));
        assert!(!issued("000") && !issued("999"));
    }
}
