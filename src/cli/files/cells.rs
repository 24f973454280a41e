//! Cells other than dates: times, sessions, minutes, weekdays, marks. A cell that cannot be read is a reason of the
//! catalogue; it is never guessed, and never repeated.

use serde::Deserialize;

use crate::calendar::{Date, TimeError, TimeOfDay};
use crate::codes::attendance::{AttendanceCode, CodeError};
use crate::proto::v1::{SeenMark, Session};

/// A cell without what spreadsheets put around it: spaces, those that do not break too, the apostrophe that marks a
/// text, and the formula `="…"` that keeps a number from losing its zeros.
#[must_use]
pub fn clean(cell: &str) -> String {
    let spaced = cell.replace(['\u{a0}', '\n', '\u{feff}'], " ");
    unguarded(spaced.trim()).trim().to_owned()
}

fn unguarded(cell: &str) -> &str {
    let formula = cell.strip_prefix("=\"").and_then(|rest| rest.strip_suffix('"'));
    formula.or_else(|| cell.strip_prefix('\'')).unwrap_or(cell)
}

/// Whether two headings or words are one: case, spaces and underscores do not count.
pub fn same(one: &str, other: &str) -> bool {
    let folded = |text: &str| -> String {
        let letters = text.chars().filter(|letter| !letter.is_whitespace() && *letter != '_');
        letters.flat_map(char::to_lowercase).collect()
    };
    folded(one) == folded(other)
}

/// How a time of day may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum TimeStyle {
    /// `09:30`.
    #[serde(rename = "hh:mm")]
    Colon,
    /// `09.30`, which without a mapping could be nine hours and three tenths.
    #[serde(rename = "hh.mm")]
    Stop,
}

/// Reads a time of day. Spreadsheets drop the zero of `09:30` and add seconds.
///
/// # Errors
/// `TIME_FORMAT`.
pub fn time(cell: &str, styles: &[TimeStyle]) -> Result<TimeOfDay, &'static str> {
    for style in styles {
        let separator = if *style == TimeStyle::Colon { ':' } else { '.' };
        let parts: Vec<&str> = cell.split(separator).collect();
        if let [hours, minutes] | [hours, minutes, "00"] = parts[..] {
            return TimeOfDay::parse(&format!("{hours:0>2}:{minutes}")).map_err(TimeError::reason);
        }
    }
    Err("TIME_FORMAT")
}

/// Reads a session.
///
/// # Errors
/// `SESSION_UNKNOWN`.
pub fn session(cell: &str) -> Result<Session, &'static str> {
    match cell.to_ascii_uppercase().replace('.', "").as_str() {
        "AM" | "MORNING" => Ok(Session::Am),
        "PM" | "AFTERNOON" => Ok(Session::Pm),
        "TIMED" => Ok(Session::Timed),
        _ => Err("SESSION_UNKNOWN"),
    }
}

/// Reads a whole number of minutes, `60.0` too; the gateway decides which it takes.
///
/// # Errors
/// `MINUTES_RANGE`.
pub fn minutes(cell: &str) -> Result<i32, &'static str> {
    let whole =
        cell.split_once('.').filter(|(_, part)| !part.is_empty() && part.bytes().all(|byte| byte == b'0'));
    whole.map_or(cell, |(whole, _)| whole).parse().map_err(|_| "MINUTES_RANGE")
}

/// Days after Monday of `Mon`, `Tues.`, `Weds`, `Thursday`, …
#[must_use]
pub fn weekday(word: &str) -> Option<i32> {
    let days = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let word = word.to_lowercase();
    let word = word.trim_end_matches('.');
    let word = if word == "weds" { "wed" } else { word };
    let at = days.iter().position(|day| word.len() >= 3 && day.starts_with(word))?;
    i32::try_from(at).ok()
}

/// Reads what a provider saw, by the names of `apgateway.v1.SeenMark`.
#[must_use]
pub fn seen(word: &str) -> Option<SeenMark> {
    let name = format!("SEEN_MARK_{}", word.to_uppercase().replace(' ', "_"));
    SeenMark::from_str_name(&name).filter(|seen| *seen != SeenMark::Unspecified)
}

/// Whether a cell says that nothing was marked.
#[must_use]
pub fn is_no_mark(cell: &str) -> bool {
    matches!(cell, "" | "-" | "\u{2013}" | "\u{2014}")
}

/// Whether a cell reads as a mark, or as the two marks of a day.
#[must_use]
pub fn is_mark(cell: &str) -> bool {
    let known = |code: &str| {
        let today = Date::new(2024, 9, 2).map_err(|_| CodeError::Unknown);
        !matches!(today.and_then(|day| AttendanceCode::on(code, day)), Err(CodeError::Unknown))
    };
    let cell = cell.to_uppercase();
    let marks = string_of_marks(&cell);
    known(&cell) || seen(&cell).is_some() || (marks.len() == 2 && marks.iter().all(|mark| known(mark)))
}

/// Most sessions of the string of a week: seven days.
const MAX_SESSIONS: usize = 14;
/// Sessions from Monday to Friday.
const SCHOOL_WEEK: usize = 10;

/// Reads the marks of a week, a session each from Monday morning. A string has at most the ten sessions of a school
/// week, or the fourteen of seven days: any other would end on a day that nobody can know.
///
/// # Errors
/// `MARKS_LENGTH`.
pub fn week_of_marks(cell: &str) -> Result<Vec<String>, &'static str> {
    let marks = string_of_marks(unguarded(cell.trim_end_matches(['\n', '\r'])));
    let count = marks.iter().rposition(|mark| !mark.is_empty()).map_or(0, |last| last + 1);
    let fits = count <= SCHOOL_WEEK || marks.len() == MAX_SESSIONS;
    if fits { Ok(marks.into_iter().take(MAX_SESSIONS).collect()) } else { Err("MARKS_LENGTH") }
}

/// The marks of a string such as `/\/\I C2`; a space or a hyphen is none.
fn string_of_marks(cell: &str) -> Vec<String> {
    let mut marks: Vec<String> = Vec::new();
    for letter in cell.chars() {
        match (letter, marks.last_mut()) {
            ('0'..='9', Some(code)) => code.push(letter),
            (' ' | '-' | '\u{a0}', _) => marks.push(String::new()),
            _ => marks.push(letter.to_string()),
        }
    }
    marks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_loses_what_spreadsheets_put_around_it() {
        for (cell, cleaned) in [
            (" AM ", "AM"),
            ("\u{a0}Van\u{a0}der Berg\u{a0}", "Van der Berg"),
            ("=\"0012\"", "0012"),
            ("'16/11/2026", "16/11/2026"),
            ("\\", "\\"),
            ("=cmd|x", "=cmd|x"),
        ] {
            assert_eq!(clean(cell), cleaned);
        }
    }

    #[test]
    fn a_time_survives_a_spreadsheet() {
        let colon = [TimeStyle::Colon];
        for (cell, read) in [("16:30", "16:30"), ("9:05", "09:05"), ("09:05:00", "09:05")] {
            assert_eq!(time(cell, &colon).unwrap().to_string(), read);
        }
        for cell in ["", "24:00", "16.30", "4:30 pm", "16:30:30", "016:30"] {
            assert_eq!(time(cell, &colon), Err("TIME_FORMAT"), "{cell}");
        }
        assert_eq!(time("9.30", &[TimeStyle::Colon, TimeStyle::Stop]).unwrap().to_string(), "09:30");
        assert_eq!(time("9.5", &[TimeStyle::Stop]), Err("TIME_FORMAT"));
    }

    #[test]
    fn words_of_a_register() {
        for (word, expected) in
            [("am", Ok(Session::Am)), ("a.m.", Ok(Session::Am)), ("Morning", Ok(Session::Am))]
        {
            assert_eq!(session(word), expected);
        }
        assert_eq!(session("Afternoon"), Ok(Session::Pm));
        assert_eq!(session("EVE"), Err("SESSION_UNKNOWN"));
        assert_eq!((minutes("-5"), minutes("60.0"), minutes("0")), (Ok(-5), Ok(60), Ok(0)));
        for cell in ["a few", "9.5", "1:30", "60."] {
            assert_eq!(minutes(cell), Err("MINUTES_RANGE"), "{cell}");
        }
        for (word, day) in [("Mon.", 0), ("Tues", 1), ("Weds", 2), ("Wednes", 2), ("Thurs", 3), ("Thur", 3)] {
            assert_eq!(weekday(word), Some(day), "{word}");
        }
        assert_eq!((weekday("Thursday"), weekday("Sa"), weekday("AM")), (Some(3), None, None));
        assert_eq!(
            (seen("present"), seen("Not expected")),
            (Some(SeenMark::Present), Some(SeenMark::NotExpected))
        );
        assert_eq!((seen("unspecified"), seen("Y")), (None, None));
        assert!(
            is_mark("/")
                && is_mark("C2")
                && is_mark("n")
                && is_mark("/\\")
                && is_mark("absent")
                && is_mark("H")
        );
        assert!(!is_mark("7B") && !is_mark("12") && !is_mark(""));
    }

    #[test]
    fn the_string_of_a_week_never_reaches_the_next() {
        assert_eq!(week_of_marks("/\\ -C2N").unwrap(), ["/", "\\", "", "", "C2", "N"]);
        assert_eq!(week_of_marks("/\\/\\/\\/\\/\\").unwrap().len(), 10);
        assert_eq!(week_of_marks("/\\/\\/\\/\\/\\####").unwrap().len(), 14);
        assert_eq!(week_of_marks("'/\\/\\").unwrap().len(), 4);
        for string in ["/\\/\\/\\/\\/\\#", "/\\/\\/\\/\\/\\/\\", "/\\/\\/\\/\\/\\/\\/\\/\\/\\"] {
            assert_eq!(week_of_marks(string), Err("MARKS_LENGTH"));
        }
    }
}
