//! Parsers of cells other than dates: times, sessions, minutes, weekdays and marks. A cell that cannot be parsed gives
//! a reason of the catalogue; its value is never guessed and never shown.

use serde::Deserialize;

use crate::calendar::{Date, TimeError, TimeOfDay};
use crate::codes::attendance::{AttendanceCode, AttendanceCodeError};
use crate::proto::v1::{SeenMark, Session};

/// Returns a cell without what spreadsheets add: spaces and no-break spaces around it, the apostrophe that marks text,
/// and the formula `="…"` that preserves leading zeros.
#[must_use]
pub fn clean(cell: &str) -> String {
    let spaced = cell.replace(['\u{a0}', '\n', '\u{feff}'], " ");
    strip_text_guard(spaced.trim()).trim().to_owned()
}

fn strip_text_guard(cell: &str) -> &str {
    let formula = cell.strip_prefix("=\"").and_then(|rest| rest.strip_suffix('"'));
    formula.or_else(|| cell.strip_prefix('\'')).unwrap_or(cell)
}

/// Returns whether two headings or words are equal, ignoring case, spaces and underscores.
pub fn is_same_name(one: &str, other: &str) -> bool {
    let folded = |text: &str| -> String {
        let letters = text.chars().filter(|letter| !letter.is_whitespace() && *letter != '_');
        letters.flat_map(char::to_lowercase).collect()
    };
    folded(one) == folded(other)
}

/// Format of a time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum TimeStyle {
    /// `09:30`.
    #[serde(rename = "hh:mm")]
    Colon,
    /// `09.30`; accepted only if the mapping names it, because it could also be a decimal number of hours.
    #[serde(rename = "hh.mm")]
    FullStop,
}

/// Parses a time of day. Accepts `9:30` and `09:30:00`, because spreadsheets drop the leading zero and add seconds.
///
/// # Errors
/// `TIME_FORMAT`.
pub fn parse_time(cell: &str, styles: &[TimeStyle]) -> Result<TimeOfDay, &'static str> {
    for style in styles {
        let separator = if *style == TimeStyle::Colon { ':' } else { '.' };
        let parts: Vec<&str> = cell.split(separator).collect();
        if let [hours, minutes] | [hours, minutes, "00"] = parts[..] {
            return TimeOfDay::parse(&format!("{hours:0>2}:{minutes}"))
                .map_err(|error| TimeError::reason(error).name());
        }
    }
    Err("TIME_FORMAT")
}

/// Parses a session.
///
/// # Errors
/// `SESSION_UNKNOWN`.
pub fn parse_session(cell: &str) -> Result<Session, &'static str> {
    match cell.to_ascii_uppercase().replace('.', "").as_str() {
        "AM" | "MORNING" => Ok(Session::Am),
        "PM" | "AFTERNOON" => Ok(Session::Pm),
        "TIMED" => Ok(Session::Timed),
        _ => Err("SESSION_UNKNOWN"),
    }
}

/// Parses a whole number of minutes; accepts `60.0`. The gateway checks the range.
///
/// # Errors
/// `MINUTES_RANGE`.
pub fn parse_minutes(cell: &str) -> Result<i32, &'static str> {
    let whole =
        cell.split_once('.').filter(|(_, part)| !part.is_empty() && part.bytes().all(|byte| byte == b'0'));
    whole.map_or(cell, |(whole, _)| whole).parse().map_err(|_| "MINUTES_RANGE")
}

/// Parses a weekday such as `Mon`, `Tues.`, `Weds` or `Thursday`; returns the days after Monday.
#[must_use]
pub fn parse_weekday(word: &str) -> Option<i32> {
    let days = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let word = word.to_lowercase();
    let word = word.trim_end_matches('.');
    let word = if word == "weds" { "wed" } else { word };
    let at = days.iter().position(|day| word.len() >= 3 && day.starts_with(word))?;
    i32::try_from(at).ok()
}

/// Parses an observation by the names of `apgateway.v1.SeenMark`.
#[must_use]
pub fn parse_seen_mark(word: &str) -> Option<SeenMark> {
    let name = format!("SEEN_MARK_{}", word.to_uppercase().replace(' ', "_"));
    SeenMark::from_str_name(&name).filter(|seen| *seen != SeenMark::Unspecified)
}

/// Returns whether a cell means that there is no mark: empty, a hyphen or a dash.
#[must_use]
pub fn is_no_mark(cell: &str) -> bool {
    matches!(cell, "" | "-" | "\u{2013}" | "\u{2014}")
}

/// Returns whether a cell is a mark, or the two marks of a day.
#[must_use]
pub fn is_mark(cell: &str) -> bool {
    let known = |code: &str| {
        let today = Date::new(2024, 9, 2).map_err(|_| AttendanceCodeError::Unknown);
        !matches!(
            today.and_then(|day| AttendanceCode::parse_on(code, day)),
            Err(AttendanceCodeError::Unknown)
        )
    };
    let cell = cell.to_uppercase();
    let marks = split_marks(&cell);
    known(&cell)
        || parse_seen_mark(&cell).is_some()
        || (marks.len() == 2 && marks.iter().all(|mark| known(mark)))
}

/// Maximum number of sessions in the string of a week: two on each of seven days.
const SESSIONS_IN_SEVEN_DAYS: usize = 14;
/// Number of sessions from Monday to Friday.
const SESSIONS_IN_SCHOOL_WEEK: usize = 10;

/// Parses the marks of a week, one for each session from Monday morning. A string must have at most the ten sessions of
/// a school week or exactly the fourteen of seven days; with any other length the days of its marks are ambiguous.
///
/// # Errors
/// `MARKS_LENGTH`.
pub fn parse_week_of_marks(cell: &str) -> Result<Vec<String>, &'static str> {
    let marks = split_marks(strip_text_guard(cell.trim_end_matches(['\n', '\r'])));
    let count = marks.iter().rposition(|mark| !mark.is_empty()).map_or(0, |last| last + 1);
    let fits = count <= SESSIONS_IN_SCHOOL_WEEK || marks.len() == SESSIONS_IN_SEVEN_DAYS;
    if fits { Ok(marks.into_iter().take(SESSIONS_IN_SEVEN_DAYS).collect()) } else { Err("MARKS_LENGTH") }
}

/// Splits a string such as `/\/\I C2` into marks; a space or a hyphen is a session without a mark.
fn split_marks(cell: &str) -> Vec<String> {
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
            assert_eq!(parse_time(cell, &colon).unwrap().to_string(), read);
        }
        for cell in ["", "24:00", "16.30", "4:30 pm", "16:30:30", "016:30"] {
            assert_eq!(parse_time(cell, &colon), Err("TIME_FORMAT"), "{cell}");
        }
        assert_eq!(
            parse_time("9.30", &[TimeStyle::Colon, TimeStyle::FullStop]).unwrap().to_string(),
            "09:30"
        );
        assert_eq!(parse_time("9.5", &[TimeStyle::FullStop]), Err("TIME_FORMAT"));
    }

    #[test]
    fn words_of_a_register() {
        for (word, expected) in
            [("am", Ok(Session::Am)), ("a.m.", Ok(Session::Am)), ("Morning", Ok(Session::Am))]
        {
            assert_eq!(parse_session(word), expected);
        }
        assert_eq!(parse_session("Afternoon"), Ok(Session::Pm));
        assert_eq!(parse_session("EVE"), Err("SESSION_UNKNOWN"));
        assert_eq!((parse_minutes("-5"), parse_minutes("60.0"), parse_minutes("0")), (Ok(-5), Ok(60), Ok(0)));
        for cell in ["a few", "9.5", "1:30", "60."] {
            assert_eq!(parse_minutes(cell), Err("MINUTES_RANGE"), "{cell}");
        }
        for (word, day) in [("Mon.", 0), ("Tues", 1), ("Weds", 2), ("Wednes", 2), ("Thurs", 3), ("Thur", 3)] {
            assert_eq!(parse_weekday(word), Some(day), "{word}");
        }
        assert_eq!(
            (parse_weekday("Thursday"), parse_weekday("Sa"), parse_weekday("AM")),
            (Some(3), None, None)
        );
        assert_eq!(
            (parse_seen_mark("present"), parse_seen_mark("Not expected")),
            (Some(SeenMark::Present), Some(SeenMark::NotExpected))
        );
        assert_eq!((parse_seen_mark("unspecified"), parse_seen_mark("Y")), (None, None));
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
        assert_eq!(parse_week_of_marks("/\\ -C2N").unwrap(), ["/", "\\", "", "", "C2", "N"]);
        assert_eq!(parse_week_of_marks("/\\/\\/\\/\\/\\").unwrap().len(), 10);
        assert_eq!(parse_week_of_marks("/\\/\\/\\/\\/\\####").unwrap().len(), 14);
        assert_eq!(parse_week_of_marks("'/\\/\\").unwrap().len(), 4);
        for string in ["/\\/\\/\\/\\/\\#", "/\\/\\/\\/\\/\\/\\", "/\\/\\/\\/\\/\\/\\/\\/\\/\\"] {
            assert_eq!(parse_week_of_marks(string), Err("MARKS_LENGTH"));
        }
    }
}
