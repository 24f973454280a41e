//! Mappings: TOML files that define the columns, the formats of dates and times, and the meanings of cells. A provider
//! may write one; otherwise a built-in mapping is chosen by the headings of the file.

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::IntoDeserializer;
use serde::de::value::{Error, StrDeserializer};
use serde::{Deserialize, Deserializer, Serialize};

use super::super::Failure;
use super::cells::{self, TimeStyle, is_same_name};
use super::dates::DateStyle;
use crate::proto::v1::mark::Statement;
use crate::proto::v1::{SeenMark, Session};

/// Built-in mappings; the first whose required columns the file has is used.
const BUILT_IN_MAPPINGS: [&str; 3] = [
    include_str!("mappings/tuition-log.toml"),
    include_str!("mappings/mark-a-row.toml"),
    include_str!("mappings/child-a-row.toml"),
];

/// Field of a mark, by its key in a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// Unique pupil number.
    Upn,
    /// The provider's own reference.
    ProviderReference,
    /// UUID of the placement.
    PlacementId,
    /// Legal surname.
    Surname,
    /// Legal forename.
    Forename,
    /// Date of birth.
    DateOfBirth,
    /// Day of the session.
    Date,
    /// AM, PM or TIMED.
    Session,
    /// Start of a timed session.
    StartTime,
    /// End of a timed session.
    EndTime,
    /// Attendance code, or a word for what the provider saw.
    Mark,
    /// Minutes late.
    MinutesLate,
    /// Minutes planned.
    MinutesPlanned,
    /// Minutes attended.
    MinutesAttended,
    /// Place of education.
    Site,
    /// Free text.
    Comment,
    /// Monday of the row's week.
    WeekCommencing,
    /// Marks of the week in one string.
    Marks,
}

impl Field {
    /// Returns the field with this name in mappings and in the protocol.
    pub fn by_name(name: &str) -> Option<Self> {
        let name: StrDeserializer<'_, Error> = name.into_deserializer();
        Self::deserialize(name).ok()
    }
}

/// Fields that identify the child.
pub const CHILD_IDENTIFIERS: [Field; 3] = [Field::Upn, Field::ProviderReference, Field::PlacementId];

/// Shape of a file: what one row holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Each row is one mark.
    MarkARow,
    /// Each row is one child, with a column for each session.
    ChildARow,
}

/// Meaning of a cell that is not itself a statutory code.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CellMeaning {
    /// An observation such as present or absent.
    #[serde(deserialize_with = "seen")]
    Seen(SeenMark),
    /// A statutory code.
    Code(String),
    /// No mark.
    NoMark,
}

fn seen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SeenMark, D::Error> {
    let seen = cells::parse_seen_mark(&String::deserialize(deserializer)?);
    seen.ok_or_else(|| serde::de::Error::custom("seen must be present, late, absent or not_expected"))
}

/// Session, by its name in a mapping.
#[derive(Clone, Copy, Debug, Deserialize)]
enum SessionName {
    #[serde(rename = "AM")]
    Am,
    #[serde(rename = "PM")]
    Pm,
    #[serde(rename = "TIMED")]
    Timed,
}

fn colon() -> Vec<TimeStyle> {
    vec![TimeStyle::Colon]
}

/// Mapping of a file to marks.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// Name for display.
    pub name: String,
    /// What one row holds.
    pub shape: Shape,
    /// Formats of dates, in the order in which they are tried.
    pub dates: Vec<DateStyle>,
    /// Formats of times, in the order in which they are tried.
    #[serde(default = "colon")]
    pub times: Vec<TimeStyle>,
    /// Accepted headings of each field's column.
    pub columns: BTreeMap<Field, Vec<String>>,
    /// Headings of columns that are not read although they may hold marks.
    #[serde(default)]
    pub ignore: Vec<String>,
    #[serde(default)]
    sessions: BTreeMap<String, SessionName>,
    #[serde(default)]
    cells: BTreeMap<String, CellMeaning>,
    /// Values of fields for which the file has no column.
    #[serde(default)]
    pub defaults: BTreeMap<Field, String>,
}

impl Mapping {
    /// Accepts ISO dates too, which the reader of workbooks writes for a date.
    pub fn accept_iso_dates(&mut self) {
        if !self.dates.contains(&DateStyle::Iso) {
            self.dates.push(DateStyle::Iso);
        }
    }

    /// Loads a mapping from a file.
    ///
    /// # Errors
    /// Exit code 78 if the file cannot be read or is not a mapping.
    pub fn load(file: &Path) -> Result<Self, Failure> {
        let unreadable = |what: &str| Failure::configuration(format!("{}: {what}", file.display()));
        let text = std::fs::read_to_string(file).map_err(|error| unreadable(&error.to_string()))?;
        let mapping: Self = toml::from_str(&text).map_err(|error| unreadable(error.message()))?;
        match mapping.duplicate_column_name() {
            Some(name) => Err(unreadable(&format!("{name} is listed for two columns"))),
            None => Ok(mapping),
        }
    }

    fn duplicate_column_name(&self) -> Option<&str> {
        let names: Vec<&String> = self.columns.values().flatten().chain(&self.ignore).collect();
        let repeated = names
            .iter()
            .enumerate()
            .find(|(at, name)| names.iter().take(*at).any(|other| is_same_name(name, other)));
        repeated.map(|(_, name)| name.as_str())
    }

    /// Returns the built-in mappings, in the order in which they are tried.
    ///
    /// # Errors
    /// Exit code 70 if one cannot be parsed, which is a bug.
    pub fn built_in() -> Result<Vec<Self>, Failure> {
        let bug = |error| Failure::bug("a built-in mapping", error);
        BUILT_IN_MAPPINGS.iter().map(|text| toml::from_str(text).map_err(bug)).collect()
    }

    /// Parses a session, by the names of the mapping first.
    ///
    /// # Errors
    /// `SESSION_UNKNOWN`.
    pub fn parse_session(&self, cell: &str) -> Result<Session, &'static str> {
        match self.sessions.iter().find(|(word, _)| is_same_name(word, cell)) {
            Some((_, SessionName::Am)) => Ok(Session::Am),
            Some((_, SessionName::Pm)) => Ok(Session::Pm),
            Some((_, SessionName::Timed)) => Ok(Session::Timed),
            None => cells::parse_session(cell),
        }
    }

    /// Returns the statement that a cell makes, or `None` if it is empty, a hyphen, or `no_mark` in the mapping.
    #[must_use]
    pub fn parse_statement(&self, cell: &str) -> Option<Statement> {
        if cell.is_empty() {
            return None;
        }
        let seen = |seen: SeenMark| Statement::Seen(seen as i32);
        match self.cells.iter().find(|(word, _)| is_same_name(word, cell)).map(|(_, meant)| meant) {
            None if cells::is_no_mark(cell) => None,
            None => Some(cells::parse_seen_mark(cell).map_or_else(|| Statement::Code(cell.to_owned()), seen)),
            Some(CellMeaning::Code(code)) => Some(Statement::Code(code.clone())),
            Some(CellMeaning::NoMark) => None,
            Some(CellMeaning::Seen(meant)) => Some(seen(*meant)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(columns: &str, rest: &str) -> Result<Mapping, String> {
        let text = format!("name = 'x'\nshape = 'mark-a-row'\ndates = []\n{rest}\n[columns]\n{columns}");
        toml::from_str(&text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_cell_is_a_code_unless_the_mapping_says_otherwise() {
        let mapping = Mapping::built_in().unwrap().remove(0);
        for (cell, stated) in [
            ("y", Some(Statement::Seen(SeenMark::Present as i32))),
            ("No", Some(Statement::Seen(SeenMark::Absent as i32))),
            ("Absent", Some(Statement::Seen(SeenMark::Absent as i32))),
            ("\\", Some(Statement::Code("\\".to_owned()))),
            ("", None),
            ("-", None),
        ] {
            assert_eq!(mapping.parse_statement(cell), stated, "{cell}");
        }
        for (cells, good) in [
            ("x = { seen = 'not_expected' }", true),
            ("x = 'no_mark'", true),
            ("x = { seen = 'unspecified' }", false),
            ("x = { seen = 'asleep' }", false),
            ("x = 'absent'", false),
        ] {
            assert_eq!(parse(&format!("[cells]\n{cells}"), "").is_ok(), good, "{cells}");
        }
    }

    #[test]
    fn a_mapping_names_sessions_and_no_column_twice() {
        let mapping = parse("[sessions]\n1 = 'AM'\n2 = 'PM'", "times = ['hh.mm']").unwrap();
        assert_eq!(
            (mapping.parse_session("1"), mapping.parse_session("pm")),
            (Ok(Session::Am), Ok(Session::Pm))
        );
        assert_eq!(mapping.parse_session("3"), Err("SESSION_UNKNOWN"));
        let twice = parse("mark = ['Code']\ncomment = ['code']", "").unwrap();
        assert!(twice.duplicate_column_name().is_some());
        assert!(parse("mark = ['Code']", "ignore = ['x']").unwrap().duplicate_column_name().is_none());
        for mapping in Mapping::built_in().unwrap() {
            assert_eq!(mapping.duplicate_column_name(), None);
        }
    }
}
