//! Mappings: which column holds what, how dates are written, what cells mean. TOML that a provider edits; the
//! ones that come with the gateway are chosen by the headings of the file.

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::IntoDeserializer;
use serde::de::value::{Error, StrDeserializer};
use serde::{Deserialize, Deserializer, Serialize};

use super::super::Failure;
use super::cells::{self, TimeStyle, same};
use super::dates::DateStyle;
use crate::proto::v1::mark::Statement;
use crate::proto::v1::{SeenMark, Session};

/// The mappings that come with the gateway; the first whose columns a file has reads it.
const BUILT_IN: [&str; 3] = [
    include_str!("mappings/tuition-log.toml"),
    include_str!("mappings/mark-a-row.toml"),
    include_str!("mappings/child-a-row.toml"),
];

/// What the gateway can be told of a mark.
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
    /// The mark.
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
    /// Monday of the week that a row is about.
    WeekCommencing,
    /// The marks of the week in one string.
    Marks,
}

impl Field {
    /// The field that a mapping, or the gateway, calls so.
    pub fn named(name: &str) -> Option<Self> {
        let name: StrDeserializer<'_, Error> = name.into_deserializer();
        Self::deserialize(name).ok()
    }
}

/// What names the child.
pub const CHILD: [Field; 3] = [Field::Upn, Field::ProviderReference, Field::PlacementId];

/// How a file lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// A row is a mark.
    MarkARow,
    /// A row is a child, with a column a session.
    ChildARow,
}

/// What a cell means that is no statutory code.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cell {
    /// What the provider saw.
    #[serde(deserialize_with = "seen")]
    Seen(SeenMark),
    /// A statutory code.
    Code(String),
    /// Nothing was marked.
    NoMark,
}

fn seen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SeenMark, D::Error> {
    let seen = cells::seen(&String::deserialize(deserializer)?);
    seen.ok_or_else(|| serde::de::Error::custom("seen is present, late, absent or not_expected"))
}

/// A word for AM, PM or TIMED.
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

/// How a file is read.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// What a person calls it.
    pub name: String,
    /// How the file lies.
    pub shape: Shape,
    /// How dates are written.
    pub dates: Vec<DateStyle>,
    /// How times are written.
    #[serde(default = "colon")]
    pub times: Vec<TimeStyle>,
    /// The names that the column of a field may have.
    pub columns: BTreeMap<Field, Vec<String>>,
    /// Columns that are left out although they may hold marks.
    #[serde(default)]
    pub ignore: Vec<String>,
    #[serde(default)]
    sessions: BTreeMap<String, SessionName>,
    #[serde(default)]
    cells: BTreeMap<String, Cell>,
    /// What is said where the file has no column for it.
    #[serde(default)]
    pub defaults: BTreeMap<Field, String>,
}

impl Mapping {
    /// Reads a provider's own mapping.
    ///
    /// # Errors
    /// Exit code 78.
    pub fn load(file: &Path) -> Result<Self, Failure> {
        let unreadable = |what: &str| Failure::configuration(format!("{}: {what}", file.display()));
        let text = std::fs::read_to_string(file).map_err(|error| unreadable(&error.to_string()))?;
        let mapping: Self = toml::from_str(&text).map_err(|error| unreadable(error.message()))?;
        match mapping.name_of_two_columns() {
            Some(name) => Err(unreadable(&format!("{name} is the name of two columns"))),
            None => Ok(mapping),
        }
    }

    fn name_of_two_columns(&self) -> Option<&str> {
        let names: Vec<&String> = self.columns.values().flatten().chain(&self.ignore).collect();
        let repeated =
            names.iter().enumerate().find(|(at, name)| names.iter().take(*at).any(|other| same(name, other)));
        repeated.map(|(_, name)| name.as_str())
    }

    /// The mappings that come with the gateway, in the order in which they are tried.
    ///
    /// # Errors
    /// Exit code 70 only.
    pub fn built_in() -> Result<Vec<Self>, Failure> {
        let bug = |error| Failure::bug("a mapping of the gateway's", error);
        BUILT_IN.iter().map(|text| toml::from_str(text).map_err(bug)).collect()
    }

    /// Reads the name of a session.
    ///
    /// # Errors
    /// `SESSION_UNKNOWN`.
    pub fn session(&self, cell: &str) -> Result<Session, &'static str> {
        match self.sessions.iter().find(|(word, _)| same(word, cell)) {
            Some((_, SessionName::Am)) => Ok(Session::Am),
            Some((_, SessionName::Pm)) => Ok(Session::Pm),
            Some((_, SessionName::Timed)) => Ok(Session::Timed),
            None => cells::session(cell),
        }
    }

    /// What a cell states; nothing where it is empty or a hyphen.
    #[must_use]
    pub fn statement(&self, cell: &str) -> Option<Statement> {
        if cell.is_empty() {
            return None;
        }
        let seen = |seen: SeenMark| Statement::Seen(seen as i32);
        match self.cells.iter().find(|(word, _)| same(word, cell)).map(|(_, meant)| meant) {
            None if cells::is_no_mark(cell) => None,
            None => Some(cells::seen(cell).map_or_else(|| Statement::Code(cell.to_owned()), seen)),
            Some(Cell::Code(code)) => Some(Statement::Code(code.clone())),
            Some(Cell::NoMark) => None,
            Some(Cell::Seen(meant)) => Some(seen(*meant)),
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
            assert_eq!(mapping.statement(cell), stated, "{cell}");
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
        assert_eq!((mapping.session("1"), mapping.session("pm")), (Ok(Session::Am), Ok(Session::Pm)));
        assert_eq!(mapping.session("3"), Err("SESSION_UNKNOWN"));
        let twice = parse("mark = ['Code']\ncomment = ['code']", "").unwrap();
        assert!(twice.name_of_two_columns().is_some());
        assert!(parse("mark = ['Code']", "ignore = ['x']").unwrap().name_of_two_columns().is_none());
        for mapping in Mapping::built_in().unwrap() {
            assert_eq!(mapping.name_of_two_columns(), None);
        }
    }
}
