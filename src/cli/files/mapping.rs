//! Mappings: which column holds what, how dates are written, what cells mean. TOML that a provider edits; the
//! ones that come with the gateway are chosen by the headings of the file.

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::IntoDeserializer;
use serde::de::value::{Error, StrDeserializer};
use serde::{Deserialize, Deserializer, Serialize};

use super::super::Failure;
use super::cells::{self, DateStyle};
use crate::calendar::Date;
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

/// A word of `apgateway.v1.SeenMark`.
fn seen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SeenMark, D::Error> {
    let name = format!("SEEN_MARK_{}", String::deserialize(deserializer)?.to_uppercase());
    let seen = SeenMark::from_str_name(&name).filter(|seen| *seen != SeenMark::Unspecified);
    seen.ok_or_else(|| serde::de::Error::custom("seen is present, late, absent or not_expected"))
}

/// What a column is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// It holds a field.
    Field(Field),
    /// It holds the marks of one session.
    Session(Date, Session),
    /// It holds the marks of a session of the row's week: days after Monday.
    Weekday(i32, Session),
    /// It is left out.
    Ignored,
    /// It is headed as a session, with a date that is none.
    Unreadable(&'static str),
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
    columns: BTreeMap<Field, Vec<String>>,
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
        toml::from_str(&text).map_err(|error| unreadable(error.message()))
    }

    /// The built-in mapping whose columns these headings are.
    ///
    /// # Errors
    /// Exit code 64 when there is none.
    pub fn choose(headings: &[String]) -> Result<(Self, Vec<Column>), Failure> {
        for text in BUILT_IN {
            let mapping: Self =
                toml::from_str(text).map_err(|error| Failure::bug("a mapping of the gateway's", error))?;
            let columns = mapping.columns(headings);
            if mapping.missing(&columns).is_empty() {
                return Ok((mapping, columns));
            }
        }
        Err(Failure::input(
            "the columns are those of no register that is known: say with --mapping which holds what",
        ))
    }

    /// What each column is.
    #[must_use]
    pub fn columns(&self, headings: &[String]) -> Vec<Column> {
        let mut columns: Vec<Column> = headings.iter().map(|_| Column::Ignored).collect();
        for (field, names) in &self.columns {
            let found = names.iter().find_map(|name| headings.iter().position(|have| same(have, name)));
            if let Some(column) = found.and_then(|at| columns.get_mut(at)) {
                *column = Column::Field(*field);
            }
        }
        if self.shape == Shape::ChildARow {
            for (column, heading) in columns.iter_mut().zip(headings) {
                if *column == Column::Ignored {
                    *column = self.session(heading);
                }
            }
        }
        columns
    }

    /// `23/11/2026 AM` or `Mon AM`; anything else that ends so is a total or a note.
    fn session(&self, heading: &str) -> Column {
        let Some((day, session)) = heading.rsplit_once(char::is_whitespace) else {
            return Column::Ignored;
        };
        let (day, Ok(session)) = (day.trim(), cells::session(session)) else {
            return Column::Ignored;
        };
        match cells::weekday(day) {
            Some(weekday) => Column::Weekday(weekday, session),
            None if day.starts_with(|first: char| first.is_ascii_digit()) => {
                match cells::date(day, &self.dates) {
                    Ok(date) => Column::Session(date, session),
                    Err(reason) => Column::Unreadable(reason),
                }
            }
            None => Column::Ignored,
        }
    }

    /// What the file would need besides these columns, each by the names that its column may have.
    #[must_use]
    pub fn missing(&self, columns: &[Column]) -> Vec<String> {
        let has =
            |field: Field| columns.contains(&Column::Field(field)) || self.defaults.contains_key(&field);
        let mut missing = Vec::new();
        let mut need = |met: bool, what: &str, fields: &[Field]| {
            if !met {
                let names: Vec<&str> = fields
                    .iter()
                    .filter_map(|field| self.columns.get(field))
                    .flatten()
                    .map(String::as_str)
                    .collect();
                missing.push(format!("{what} ({})", names.join(", ")));
            }
        };
        need(CHILD.into_iter().any(has), "the child", &CHILD);
        match self.shape {
            Shape::MarkARow => {
                need(has(Field::Date), "the date", &[Field::Date]);
                need(has(Field::Mark), "the mark", &[Field::Mark]);
                let times = [Field::Session, Field::StartTime];
                need(times.into_iter().any(has), "the session or its start", &times);
            }
            Shape::ChildARow => {
                let dated = columns
                    .iter()
                    .any(|column| matches!(column, Column::Session(..) | Column::Unreadable(_)));
                let weekly =
                    columns.iter().any(|column| matches!(column, Column::Weekday(..))) || has(Field::Marks);
                need(dated || weekly, "sessions, headed as 23/11/2026 AM", &[Field::Marks]);
                need(!weekly || has(Field::WeekCommencing), "the week", &[Field::WeekCommencing]);
            }
        }
        missing
    }

    /// What a cell states; nothing where it is empty.
    #[must_use]
    pub fn statement(&self, cell: &str) -> Option<Statement> {
        if cell.is_empty() {
            return None;
        }
        let meant = self.cells.iter().find(|(word, _)| same(word, cell)).map(|(_, meant)| meant);
        match meant {
            None => Some(Statement::Code(cell.to_owned())),
            Some(Cell::Code(code)) => Some(Statement::Code(code.clone())),
            Some(Cell::NoMark) => None,
            Some(Cell::Seen(seen)) => Some(Statement::Seen(*seen as i32)),
        }
    }
}

/// Whether two headings are one: case, spaces and underscores do not count.
fn same(one: &str, other: &str) -> bool {
    let folded = |text: &str| -> String {
        let letters = text.chars().filter(|letter| !letter.is_whitespace() && *letter != '_');
        letters.flat_map(char::to_lowercase).collect()
    };
    folded(one) == folded(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headings(line: &str) -> Vec<String> {
        line.split(',').map(str::to_owned).collect()
    }

    #[test]
    fn a_built_in_mapping_is_chosen_by_the_headings() {
        for (line, name) in [
            ("UPN,Legal Surname,Date,Session,Mark", "a mark a row"),
            ("date,SESSION,attendance_code,unique pupil number", "a mark a row"),
            ("Ref,Initials,Date,Start,End,Attended", "a tuition log"),
            ("Unique Pupil Number,02/11/2026 AM,02/11/2026 PM", "a child a row"),
            ("UPN,Week Commencing,Mon AM,Mon PM", "a child a row"),
            ("UPN,Week_Commencing,Marks", "a child a row"),
        ] {
            assert_eq!(Mapping::choose(&headings(line)).unwrap().0.name, name, "{line}");
        }
        for line in [
            "UPN,Date,Session",
            "Date,Session,Mark",
            "UPN,Mon AM,Mon PM",
            "UPN,Marks",
            "UPN;Date;Session;Mark",
        ] {
            assert!(Mapping::choose(&headings(line)).is_err(), "{line}");
        }
    }

    #[test]
    fn a_session_is_headed_by_its_day() {
        let (_, columns) =
            Mapping::choose(&headings("UPN,2/11/2026 am,2026-11-03 PM,31/11/2026 AM,4/11/26 PM,Total AM"))
                .unwrap();
        let day = |text: &str| Date::parse(text).unwrap();
        assert_eq!(
            columns,
            [
                Column::Field(Field::Upn),
                Column::Session(day("2026-11-02"), Session::Am),
                Column::Session(day("2026-11-03"), Session::Pm),
                Column::Unreadable("DATE_INVALID"),
                Column::Unreadable("DATE_FORMAT"),
                Column::Ignored,
            ]
        );
    }

    #[test]
    fn a_cell_is_a_code_unless_the_mapping_says_otherwise() {
        let (mapping, _) = Mapping::choose(&headings("Ref,Date,Start,End,Attended")).unwrap();
        assert_eq!(mapping.statement("y"), Some(Statement::Seen(SeenMark::Present as i32)));
        assert_eq!(mapping.statement("No"), Some(Statement::Seen(SeenMark::Absent as i32)));
        assert_eq!(mapping.statement("\\"), Some(Statement::Code("\\".to_owned())));
        assert_eq!(mapping.statement(""), None);
        for (cells, good) in [
            ("x = { seen = 'not_expected' }", true),
            ("x = 'no_mark'", true),
            ("x = { seen = 'unspecified' }", false),
            ("x = { seen = 'asleep' }", false),
            ("x = 'absent'", false),
        ] {
            let text = format!("name = 'x'\nshape = 'mark-a-row'\ndates = []\n[columns]\n[cells]\n{cells}");
            assert_eq!(toml::from_str::<Mapping>(&text).is_ok(), good, "{cells}");
        }
    }
}
