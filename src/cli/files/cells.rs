//! What cells say: dates, times, sessions, minutes. A cell that says nothing that can be read is a reason of
//! the catalogue; it is never guessed, and never repeated.

use serde::Deserialize;

use crate::calendar::{Date, DateError, TimeError, TimeOfDay};
use crate::proto::v1::Session;

/// How a date may be written. The month never comes before its day: `11/02/2026` is 11 February.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum DateStyle {
    /// As in Britain.
    #[serde(rename = "dd/mm/yyyy")]
    Slashes,
    /// With hyphens.
    #[serde(rename = "dd-mm-yyyy")]
    Hyphens,
    /// With full stops.
    #[serde(rename = "dd.mm.yyyy")]
    Stops,
    /// ISO 8601.
    #[serde(rename = "yyyy-mm-dd")]
    Iso,
}

/// Reads a date in the first style that fits. Spreadsheets drop the zero of `02/09`; a year has four digits.
///
/// # Errors
/// `DATE_FORMAT`, `DATE_INVALID` or `DATE_RANGE`.
pub fn date(cell: &str, styles: &[DateStyle]) -> Result<Date, &'static str> {
    for style in styles {
        let separator = match style {
            DateStyle::Slashes => '/',
            DateStyle::Hyphens | DateStyle::Iso => '-',
            DateStyle::Stops => '.',
        };
        let parts: Vec<&str> = cell.split(separator).collect();
        let (year, month, day) = match (style, &parts[..]) {
            (DateStyle::Iso, [year, month, day]) if month.len() == 2 && day.len() == 2 => (year, month, day),
            (DateStyle::Iso, _) => continue,
            (_, [day, month, year]) if (1..=2).contains(&day.len()) && (1..=2).contains(&month.len()) => {
                (year, month, day)
            }
            _ => continue,
        };
        if year.len() == 4 {
            return Date::parse(&format!("{year}-{month:0>2}-{day:0>2}")).map_err(DateError::reason);
        }
    }
    Err("DATE_FORMAT")
}

/// Reads a time of day. Spreadsheets drop the zero of `09:30` and add seconds.
///
/// # Errors
/// `TIME_FORMAT`.
pub fn time(cell: &str) -> Result<TimeOfDay, &'static str> {
    let cell = match cell.split(':').collect::<Vec<_>>()[..] {
        [hours, minutes] | [hours, minutes, "00"] => format!("{hours:0>2}:{minutes}"),
        _ => cell.to_owned(),
    };
    TimeOfDay::parse(&cell).map_err(TimeError::reason)
}

/// Reads a session.
///
/// # Errors
/// `SESSION_UNKNOWN`.
pub fn session(cell: &str) -> Result<Session, &'static str> {
    match cell.to_ascii_uppercase().as_str() {
        "AM" => Ok(Session::Am),
        "PM" => Ok(Session::Pm),
        "TIMED" => Ok(Session::Timed),
        _ => Err("SESSION_UNKNOWN"),
    }
}

/// Reads a number of minutes; the gateway knows which it takes.
///
/// # Errors
/// `MINUTES_RANGE`.
pub fn minutes(cell: &str) -> Result<i32, &'static str> {
    cell.parse().map_err(|_| "MINUTES_RANGE")
}

/// Days after Monday of `Mon`, `Tuesday`, …
#[must_use]
pub fn weekday(word: &str) -> Option<i32> {
    let days = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let word = word.to_lowercase();
    let at = days.iter().position(|day| word.len() >= 3 && day.starts_with(&word))?;
    i32::try_from(at).ok()
}

/// The marks of a string such as `/\/\I C2`, a session each from Monday morning; a space or a hyphen is none.
#[must_use]
pub fn string_of_marks(cell: &str) -> Vec<String> {
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

    const BOTH: [DateStyle; 2] = [DateStyle::Slashes, DateStyle::Iso];

    #[test]
    fn a_date_is_british_or_iso_and_never_guessed() {
        let read = |cell: &str| date(cell, &BOTH).map(|date| date.to_string());
        assert_eq!(read("02/11/2026").as_deref(), Ok("2026-11-02"));
        assert_eq!(read("2/9/2026").as_deref(), Ok("2026-09-02"));
        assert_eq!(read("2026-11-02").as_deref(), Ok("2026-11-02"));
        for (cell, reason) in [
            ("11/13/2026", "DATE_INVALID"),
            ("31/02/2026", "DATE_INVALID"),
            ("02/11/26", "DATE_FORMAT"),
            ("2026/11/02", "DATE_FORMAT"),
            ("02-11-2026", "DATE_FORMAT"),
            ("2026-2-3", "DATE_FORMAT"),
            ("/11/2026", "DATE_FORMAT"),
            ("46343", "DATE_FORMAT"),
            ("aa/11/2026", "DATE_FORMAT"),
            ("01/01/1899", "DATE_RANGE"),
        ] {
            assert_eq!(read(cell), Err(reason), "{cell}");
        }
        assert_eq!(date("02-11-2026", &[DateStyle::Iso, DateStyle::Hyphens]).unwrap().month(), 11);
        assert_eq!(date("02.11.2026", &[DateStyle::Stops]).unwrap().day(), 2);
    }

    #[test]
    fn a_time_survives_a_spreadsheet() {
        for (cell, read) in [("16:30", "16:30"), ("9:05", "09:05"), ("09:05:00", "09:05")] {
            assert_eq!(time(cell).unwrap().to_string(), read);
        }
        for cell in ["", "24:00", "16.30", "4:30 pm", "16:30:30", "016:30"] {
            assert_eq!(time(cell), Err("TIME_FORMAT"), "{cell}");
        }
    }

    #[test]
    fn words_of_a_register() {
        assert_eq!(session("am"), Ok(Session::Am));
        assert_eq!(session("EVE"), Err("SESSION_UNKNOWN"));
        assert_eq!(minutes("-5"), Ok(-5));
        assert_eq!(minutes("a few"), Err("MINUTES_RANGE"));
        assert_eq!(
            (weekday("Mon"), weekday("Thursday"), weekday("Sa"), weekday("AM")),
            (Some(0), Some(3), None, None)
        );
        assert_eq!(string_of_marks("/\\ -C2N"), ["/", "\\", "", "", "C2", "N"]);
    }
}
