//! Headings: the content of each column, the fields that the file lacks, and faulty columns.

use super::cells::{self, is_same_name};
use super::dates;
use super::mapping::{CHILD_IDENTIFIERS, Field, Mapping, Shape};
use crate::calendar::Date;
use crate::proto::v1::Session;

/// Content of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// A field.
    Field(Field),
    /// Marks of one session of one date.
    Session(Date, Session),
    /// Marks of a session of the row's week; the number is the days after Monday.
    Weekday(i32, Session),
    /// Marks of the AM or PM session of the row's date.
    HalfDay(Session),
    /// Not read, because the mapping does not name it.
    Unknown,
    /// Not read, because the mapping ignores it.
    Ignored,
    /// Marks of a session whose date cannot be read, with the reason.
    Unreadable(&'static str),
}

impl Column {
    /// Returns whether the column holds marks.
    #[must_use]
    pub fn has_marks(self) -> bool {
        matches!(self, Self::Session(..) | Self::Weekday(..) | Self::HalfDay(_))
            || matches!(self, Self::Field(Field::Mark | Field::Marks))
    }
}

/// Returns the content of each column by its heading, according to a mapping.
#[must_use]
pub fn classify_columns(mapping: &Mapping, headings: &[String]) -> Vec<Column> {
    let column = |heading: &String| {
        let named = |names: &[String]| names.iter().any(|name| is_same_name(name, heading));
        let field = mapping.columns.iter().find(|(_, names)| named(names)).map(|(field, _)| *field);
        match field {
            Some(field) => Column::Field(field),
            None if named(&mapping.ignore) => Column::Ignored,
            None if mapping.shape == Shape::ChildARow => classify_session_heading(mapping, heading),
            None => Column::Unknown,
        }
    };
    headings.iter().map(column).collect()
}

/// Reads `23/11/2026 AM`, `Mon AM`, `AM Monday`, `Mon 23/11/2026 (PM)`, or `AM` alone.
fn classify_session_heading(mapping: &Mapping, heading: &str) -> Column {
    if let Ok(session @ (Session::Am | Session::Pm)) = mapping.parse_session(heading) {
        return Column::HalfDay(session);
    }
    let Some((day, session)) = split_day_and_session(mapping, heading) else { return Column::Unknown };
    if let Some(weekday) = cells::parse_weekday(day) {
        return Column::Weekday(weekday, session);
    }
    let (weekday, day) = match day.split_once(char::is_whitespace) {
        Some((word, rest)) => match cells::parse_weekday(word.trim_end_matches(',')) {
            Some(weekday) => (Some(weekday), rest.trim()),
            None => (None, day),
        },
        None => (None, day),
    };
    if !day.starts_with(|first: char| first.is_ascii_digit()) {
        return Column::Unknown;
    }
    match dates::parse_date(day, &mapping.dates) {
        Ok(date) if weekday.is_some_and(|weekday| weekday != i32::from(date.days_since_monday())) => {
            Column::Unreadable("WEEKDAY_DIFFERS")
        }
        Ok(date) => Column::Session(date, session),
        Err(reason) => Column::Unreadable(reason),
    }
}

fn split_day_and_session<'h>(mapping: &Mapping, heading: &'h str) -> Option<(&'h str, Session)> {
    let around: &[char] = &[' ', '-', '_', '(', ')', ':', ',', '\u{a0}'];
    let heading = heading.trim_matches(around);
    let halves = |word: &str| mapping.parse_session(word).ok().filter(|session| *session != Session::Timed);
    let separators: &[char] = &[' ', '_', '(', '-', '\n'];
    let last = heading.rfind(separators).and_then(|at| heading.split_at_checked(at));
    let first = heading.find(separators).and_then(|at| heading.split_at_checked(at));
    // `MonAM`, `23/11/2026PM`: the two letters at the end.
    let joined = heading.len().checked_sub(2).and_then(|at| heading.split_at_checked(at));
    let found = last.into_iter().chain(first.map(|(word, day)| (day, word)));
    let mut found = found.chain(joined);
    found.find_map(|(day, word)| Some((day.trim_matches(around), halves(word.trim_matches(around))?)))
}

/// Returns the required fields that these columns lack, each with the names that its column may have.
#[must_use]
pub fn missing_fields(mapping: &Mapping, columns: &[Column]) -> Vec<String> {
    let has = |field: Field| columns.contains(&Column::Field(field)) || mapping.defaults.contains_key(&field);
    let mut missing = Vec::new();
    let mut need = |met: bool, what: &str, fields: &[Field]| {
        if !met {
            let names = fields.iter().filter_map(|field| mapping.columns.get(field)).flatten();
            let names: Vec<&str> = names.map(String::as_str).collect();
            missing.push(format!("{what} ({})", names.join(", ")));
        }
    };
    need(CHILD_IDENTIFIERS.into_iter().any(has), "the child", &CHILD_IDENTIFIERS);
    match mapping.shape {
        Shape::MarkARow => {
            need(has(Field::Date), "the date", &[Field::Date]);
            need(has(Field::Mark), "the mark", &[Field::Mark]);
            let times = [Field::Session, Field::StartTime];
            need(times.into_iter().any(has), "the session or its start", &times);
        }
        Shape::ChildARow => {
            let any = |is: fn(&Column) -> bool| columns.iter().any(is);
            let dated = any(|column| matches!(column, Column::Session(..) | Column::Unreadable(_)));
            let weekly = any(|column| matches!(column, Column::Weekday(..))) || has(Field::Marks);
            let halves = any(|column| matches!(column, Column::HalfDay(_)));
            need(
                dated || weekly || halves,
                "sessions, headed as 23/11/2026 AM, Mon AM or AM",
                &[Field::Marks],
            );
            need(!weekly || has(Field::WeekCommencing), "the week", &[Field::WeekCommencing]);
            need(!halves || has(Field::Date), "the date", &[Field::Date]);
        }
    }
    missing
}

/// Returns the faulty columns, each with its reason: a session without a valid date, or a repeated column.
#[must_use]
pub fn column_faults(columns: &[Column]) -> Vec<(usize, &'static str)> {
    let fault = |(at, column): (usize, &Column)| match column {
        Column::Unreadable(reason) => Some((at, *reason)),
        Column::Unknown | Column::Ignored => None,
        column => {
            let repeated = columns.iter().take(at).any(|earlier| earlier == column);
            repeated.then_some((at, "COLUMN_REPEATED"))
        }
    };
    columns.iter().enumerate().filter_map(fault).collect()
}

/// Words in headings of columns that hold other codes, or text about a mark in another column.
const NON_MARK_WORDS: [&str; 14] = [
    "sen",
    "send",
    "house",
    "post",
    "ethnicity",
    "ethnic",
    "language",
    "gender",
    "description",
    "meaning",
    "comment",
    "comments",
    "note",
    "notes",
];

/// Returns whether a heading may be that of a column of marks: it names a day, a session or a mark, or it is empty.
#[must_use]
pub fn is_session_heading(heading: &str) -> bool {
    let heading = heading.to_lowercase();
    let words = heading.split(|letter: char| letter.is_whitespace() || "_()".contains(letter));
    // Examples are a SEN code K, a description of the mark, or a comment on a morning.
    if words.clone().any(|word| NON_MARK_WORDS.contains(&word)) {
        return false;
    }
    let parts = words.clone().flat_map(|word| word.split('-'));
    let mut words = words.chain(parts).filter(|word| !word.is_empty()).peekable();
    if words.peek().is_none() {
        return true;
    }
    words.any(|word| {
        let digits = word.bytes().filter(u8::is_ascii_digit).count();
        cells::parse_weekday(word).is_some()
            || cells::parse_session(word).is_ok()
            || ["mark", "marks", "code", "codes", "attendance", "attended"].contains(&word)
            || (digits >= 3 && word.contains(['/', '.']))
            || digits >= 5
    })
}

/// Returns a heading for display: shortened, and without control characters that a terminal would interpret.
#[must_use]
pub fn display_heading(heading: &str) -> String {
    const MAX_SHOWN: usize = 40;
    let visible =
        |letter: char| if letter.is_control() || is_format_character(letter) { '\u{fffd}' } else { letter };
    let mut shown: String = heading.chars().take(MAX_SHOWN).map(visible).collect();
    if heading.chars().nth(MAX_SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

/// Returns whether a character is invisible or changes the direction of text.
fn is_format_character(letter: char) -> bool {
    matches!(letter, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Vec<Column> {
        let headings: Vec<String> = line.split(',').map(str::to_owned).collect();
        classify_columns(&Mapping::built_in().unwrap().remove(2), &headings)
    }

    #[test]
    fn a_session_is_headed_by_its_day() {
        let monday = Column::Session(Date::parse("2026-11-02").unwrap(), Session::Am);
        for heading in [
            "2/11/2026 am",
            "02/11/2026 AM",
            "2026-11-02 AM",
            "02/11/2026AM",
            "AM 02/11/2026",
            "02/11/2026 (a.m.)",
            "Mon 02/11/2026 AM",
            "Monday 02/11/2026 Morning",
            "02/11/2026_AM",
            "02/11/2026 00:00 AM",
        ] {
            assert_eq!(read(heading), [monday], "{heading}");
        }
        for heading in ["Mon AM", "Mon. AM", "Monday Morning", "MonAM", "Mon-AM", "AM Mon", "Mon (AM)"] {
            assert_eq!(read(heading), [Column::Weekday(0, Session::Am)], "{heading}");
        }
        assert_eq!(
            read("Weds PM,Afternoon,31/11/2026 AM,4/11/26 PM,11/13/2026 AM,Tue 02/11/2026 AM,Total AM,Sex"),
            [
                Column::Weekday(2, Session::Pm),
                Column::HalfDay(Session::Pm),
                Column::Unreadable("DATE_INVALID"),
                Column::Unreadable("DATE_FORMAT"),
                Column::Unreadable("DATE_MONTH_FIRST"),
                Column::Unreadable("WEEKDAY_DIFFERS"),
                Column::Unknown,
                Column::Unknown,
            ]
        );
    }

    #[test]
    fn two_columns_for_one_thing_are_a_fault() {
        for (line, at) in [
            ("UPN,Unique Pupil Number,Mon AM", 1),
            ("UPN,02/11/2026 AM,2/11/2026 am", 2),
            ("UPN,Weds AM,Wednesday Morning", 2),
            ("UPN,Surname,Last Name", 2),
            ("AM,UPN,Morning", 2),
        ] {
            assert_eq!(column_faults(&read(line)), [(at, "COLUMN_REPEATED")], "{line}");
        }
        assert!(column_faults(&read("UPN,House,House,,")).is_empty());
    }

    #[test]
    fn headings_of_sessions_are_told_from_others() {
        for heading in ["Wedns AM", "Friday trip", "16/11", "16-11-2026", "Mark 2", "", " ", "20261116"] {
            assert!(is_session_heading(heading), "{heading}");
        }
        for heading in ["Sex", "NC Year", "House", "SEN Code", "Mark Description", "AM Comment"] {
            assert!(!is_session_heading(heading), "{heading}");
        }
        assert_eq!(display_heading("a\u{1b}[31m\u{202e}b"), "a\u{fffd}[31m\u{fffd}b");
        assert_eq!(display_heading(&"x".repeat(100)).chars().count(), 41);
    }
}
