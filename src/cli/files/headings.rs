//! Headings: what each column holds, what the file would need besides, and which columns are at fault.

use super::cells::{self, same};
use super::dates;
use super::mapping::{CHILD, Field, Mapping, Shape};
use crate::calendar::Date;
use crate::proto::v1::Session;

/// What a column is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// It holds a field.
    Field(Field),
    /// It holds the marks of one session.
    Session(Date, Session),
    /// It holds the marks of a session of the row's week: days after Monday.
    Weekday(i32, Session),
    /// It holds the marks of a session of the row's day.
    Half(Session),
    /// It is left out because the mapping does not know it.
    Unknown,
    /// It is left out because the mapping says so.
    Ignored,
    /// It is headed as a session, on a day that cannot be read.
    Unreadable(&'static str),
}

impl Column {
    /// Whether it holds marks.
    #[must_use]
    pub fn is_marks(self) -> bool {
        matches!(self, Self::Session(..) | Self::Weekday(..) | Self::Half(_))
            || matches!(self, Self::Field(Field::Mark | Field::Marks))
    }
}

/// A file's headings under a mapping: what each column is.
#[must_use]
pub fn columns(mapping: &Mapping, headings: &[String]) -> Vec<Column> {
    let column = |heading: &String| {
        let named = |names: &[String]| names.iter().any(|name| same(name, heading));
        let field = mapping.columns.iter().find(|(_, names)| named(names)).map(|(field, _)| *field);
        match field {
            Some(field) => Column::Field(field),
            None if named(&mapping.ignore) => Column::Ignored,
            None if mapping.shape == Shape::ChildARow => session(mapping, heading),
            None => Column::Unknown,
        }
    };
    headings.iter().map(column).collect()
}

/// Reads `23/11/2026 AM`, `Mon AM`, `AM Monday`, `Mon 23/11/2026 (PM)`, or `AM` alone.
fn session(mapping: &Mapping, heading: &str) -> Column {
    if let Ok(session @ (Session::Am | Session::Pm)) = mapping.session(heading) {
        return Column::Half(session);
    }
    let Some((day, session)) = day_and_session(mapping, heading) else { return Column::Unknown };
    if let Some(weekday) = cells::weekday(day) {
        return Column::Weekday(weekday, session);
    }
    let (weekday, day) = match day.split_once(char::is_whitespace) {
        Some((word, rest)) => match cells::weekday(word.trim_end_matches(',')) {
            Some(weekday) => (Some(weekday), rest.trim()),
            None => (None, day),
        },
        None => (None, day),
    };
    if !day.starts_with(|first: char| first.is_ascii_digit()) {
        return Column::Unknown;
    }
    match dates::date(day, &mapping.dates) {
        Ok(date) if weekday.is_some_and(|weekday| weekday != i32::from(date.days_since_monday())) => {
            Column::Unreadable("WEEKDAY_DIFFERS")
        }
        Ok(date) => Column::Session(date, session),
        Err(reason) => Column::Unreadable(reason),
    }
}

fn day_and_session<'h>(mapping: &Mapping, heading: &'h str) -> Option<(&'h str, Session)> {
    let around: &[char] = &[' ', '-', '_', '(', ')', ':', ',', '\u{a0}'];
    let heading = heading.trim_matches(around);
    let halves = |word: &str| mapping.session(word).ok().filter(|session| *session != Session::Timed);
    let apart: &[char] = &[' ', '_', '(', '-', '\n'];
    let last = heading.rfind(apart).and_then(|at| heading.split_at_checked(at));
    let first = heading.find(apart).and_then(|at| heading.split_at_checked(at));
    // `MonAM`, `23/11/2026PM`: the two letters at the end.
    let joined = heading.len().checked_sub(2).and_then(|at| heading.split_at_checked(at));
    let found = last.into_iter().chain(first.map(|(word, day)| (day, word)));
    let mut found = found.chain(joined);
    found.find_map(|(day, word)| Some((day.trim_matches(around), halves(word.trim_matches(around))?)))
}

/// Returns what a file of these columns would need besides, each with the names that its column may have.
#[must_use]
pub fn missing(mapping: &Mapping, columns: &[Column]) -> Vec<String> {
    let has = |field: Field| columns.contains(&Column::Field(field)) || mapping.defaults.contains_key(&field);
    let mut missing = Vec::new();
    let mut need = |met: bool, what: &str, fields: &[Field]| {
        if !met {
            let names = fields.iter().filter_map(|field| mapping.columns.get(field)).flatten();
            let names: Vec<&str> = names.map(String::as_str).collect();
            missing.push(format!("{what} ({})", names.join(", ")));
        }
    };
    need(CHILD.into_iter().any(has), "the child", &CHILD);
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
            let halves = any(|column| matches!(column, Column::Half(_)));
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

/// Columns at fault, each with its reason: sessions on no day, and two columns for one thing.
#[must_use]
pub fn faults(columns: &[Column]) -> Vec<(usize, &'static str)> {
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

/// Words of headings whose columns hold other codes, or words about a mark that another column holds.
const OTHER_THAN_MARKS: [&str; 14] = [
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

/// Whether a heading is about a session: it names a day, a half of a day or a mark, or it names nothing.
#[must_use]
pub fn is_about_a_session(heading: &str) -> bool {
    let heading = heading.to_lowercase();
    let words = heading.split(|letter: char| letter.is_whitespace() || "_()".contains(letter));
    // A SEN code K, a description of the mark or a comment on a morning is not one more mark.
    if words.clone().any(|word| OTHER_THAN_MARKS.contains(&word)) {
        return false;
    }
    let parts = words.clone().flat_map(|word| word.split('-'));
    let mut words = words.chain(parts).filter(|word| !word.is_empty()).peekable();
    if words.peek().is_none() {
        return true;
    }
    words.any(|word| {
        let digits = word.bytes().filter(u8::is_ascii_digit).count();
        cells::weekday(word).is_some()
            || cells::session(word).is_ok()
            || ["mark", "marks", "code", "codes", "attendance", "attended"].contains(&word)
            || (digits >= 3 && word.contains(['/', '.']))
            || digits >= 5
    })
}

/// A heading as it is shown: bounded in length, without characters that a terminal would act on.
#[must_use]
pub fn shown(heading: &str) -> String {
    const MAX_SHOWN: usize = 40;
    let visible = |letter: char| if letter.is_control() || is_format(letter) { '\u{fffd}' } else { letter };
    let mut shown: String = heading.chars().take(MAX_SHOWN).map(visible).collect();
    if heading.chars().nth(MAX_SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

/// Whether a character changes the direction of text, or is not seen.
fn is_format(letter: char) -> bool {
    matches!(letter, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Vec<Column> {
        let headings: Vec<String> = line.split(',').map(str::to_owned).collect();
        columns(&Mapping::built_in().unwrap().remove(2), &headings)
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
                Column::Half(Session::Pm),
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
            assert_eq!(faults(&read(line)), [(at, "COLUMN_REPEATED")], "{line}");
        }
        assert!(faults(&read("UPN,House,House,,")).is_empty());
    }

    #[test]
    fn headings_of_sessions_are_told_from_others() {
        for heading in ["Wedns AM", "Friday trip", "16/11", "16-11-2026", "Mark 2", "", " ", "20261116"] {
            assert!(is_about_a_session(heading), "{heading}");
        }
        for heading in ["Sex", "NC Year", "House", "SEN Code", "Mark Description", "AM Comment"] {
            assert!(!is_about_a_session(heading), "{heading}");
        }
        assert_eq!(shown("a\u{1b}[31m\u{202e}b"), "a\u{fffd}[31m\u{fffd}b");
        assert_eq!(shown(&"x".repeat(100)).chars().count(), 41);
    }
}
