//! Local authorities in England as the Department for Education publishes them, with their dates.
//!
//! The published table is embedded as it came: rows joining two authorities and rows without a code are left out
//! when it is read, and a code may have an ended row beside a live one. It must never say where a child lives.

use std::fmt;
use std::sync::LazyLock;

use crate::calendar::Date;

/// A code of three digits, zeros kept; known or not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaCode([u8; 3]);

/// Why a code was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LaCodeError {
    /// Not three ASCII digits.
    #[error("not a local authority code of three digits")]
    Format,
    /// Not the code of a local authority on that date.
    #[error("no local authority has this code on that date")]
    Unknown,
}

impl LaCodeError {
    /// The reason sent to a caller.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Format => "LA_CODE_FORMAT",
            Self::Unknown => "LA_CODE_UNKNOWN",
        }
    }
}

/// One authority for the time it existed under one national code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalAuthority {
    /// The Department's code.
    pub code: LaCode,
    /// The Office for National Statistics' code, as `E09000021`.
    pub ons_code: String,
    /// Name.
    pub name: String,
    /// First day.
    pub from: Date,
    /// Last day; none while it lives.
    pub to: Option<Date>,
}

impl LocalAuthority {
    /// Whether it existed on `date`.
    #[must_use]
    pub fn lived_on(&self, date: Date) -> bool {
        self.from <= date && self.to.is_none_or(|to| date <= to)
    }
}

impl LaCode {
    /// Three digits, listed or not.
    ///
    /// # Errors
    /// [`LaCodeError::Format`].
    pub fn parse(text: &str) -> Result<Self, LaCodeError> {
        let code: [u8; 3] = text.as_bytes().try_into().map_err(|_| LaCodeError::Format)?;
        if code.iter().all(u8::is_ascii_digit) { Ok(Self(code)) } else { Err(LaCodeError::Format) }
    }

    /// The code of an authority that existed on `date`.
    ///
    /// # Errors
    /// [`LaCodeError`].
    pub fn live_on(text: &str, date: Date) -> Result<Self, LaCodeError> {
        let code = Self::parse(text)?;
        code.authority_on(date).map(|_| code).ok_or(LaCodeError::Unknown)
    }

    /// The three digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The authority that had this code on `date`.
    #[must_use]
    pub fn authority_on(self, date: Date) -> Option<&'static LocalAuthority> {
        AUTHORITIES.iter().find(|authority| authority.code == self && authority.lived_on(date))
    }

    /// Whether pupil numbers were ever issued under it: every authority's code, living or ended, and the Department's
    /// pseudo-authorities.
    #[must_use]
    pub fn has_issued(self) -> bool {
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

/// Every authority of the published table, living and ended, in its order.
#[must_use]
pub fn local_authorities() -> &'static [LocalAuthority] {
    &AUTHORITIES
}

const PUBLISHED: &str = include_str!("tables/local-authorities.csv");

static AUTHORITIES: LazyLock<Vec<LocalAuthority>> = LazyLock::new(|| {
    let mut table = csv::Reader::from_reader(PUBLISHED.as_bytes());
    table.records().filter_map(|row| authority(&row.ok()?)).collect()
});

/// None for what is no authority: joined rows, rows whose code is `x`, and the forces' schools overseas (no dates).
fn authority(row: &csv::StringRecord) -> Option<LocalAuthority> {
    let ended = row.get(3)?;
    Some(LocalAuthority {
        ons_code: row.get(0)?.to_owned(),
        name: row.get(1)?.to_owned(),
        from: british(row.get(2)?)?,
        to: if ended.is_empty() { None } else { Some(british(ended)?) },
        code: LaCode::parse(row.get(8)?).ok()?,
    })
}

fn british(text: &str) -> Option<Date> {
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
            .filter(|authority| authority.lived_on(date))
            .map(|authority| authority.code)
            .collect()
    }

    #[test]
    fn there_are_153_and_none_twice() {
        assert_eq!(live_on("2026-11-20").len(), 153);
        let day = Date::parse("2026-11-20").unwrap();
        assert_eq!(AUTHORITIES.iter().filter(|authority| authority.lived_on(day)).count(), 153);
        assert_eq!(PUBLISHED.lines().count() - 1 - AUTHORITIES.len(), 3 + 5 + 1);
    }

    #[test]
    fn codes_have_their_dates() {
        let live = |code, date| LaCode::live_on(code, Date::parse(date).unwrap());
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
        let issued = |code| LaCode::parse(code).unwrap().has_issued();
        assert!(issued("941") && issued("674") && issued("001") && issued("820") && issued("702"));
        assert!(!issued("000") && !issued("999"));
    }
}
