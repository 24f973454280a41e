//! Parser of dates as people and spreadsheets write them. Only the formats that the mapping names are accepted.

use serde::Deserialize;

use crate::calendar::{Date, DateError};

/// Format of a date. The day always precedes the month in numeric formats other than ISO: `11/02/2026` is 11 February.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum DateStyle {
    /// British.
    #[serde(rename = "dd/mm/yyyy")]
    Slashes,
    /// With hyphens.
    #[serde(rename = "dd-mm-yyyy")]
    Hyphens,
    /// With full stops.
    #[serde(rename = "dd.mm.yyyy")]
    FullStops,
    /// ISO 8601.
    #[serde(rename = "yyyy-mm-dd")]
    Iso,
    /// British with a two-digit year, from 2000 to 2099.
    #[serde(rename = "dd/mm/yy")]
    ShortYear,
    /// With the name of the month: `16 November 2026`, `16-Nov-2026`.
    #[serde(rename = "dd mmm yyyy")]
    NamedMonth,
    /// With the name of the month and a two-digit year, from 2000 to 2099: `16-Nov-26`.
    #[serde(rename = "dd mmm yy")]
    NamedMonthShortYear,
    /// Serial day number of a spreadsheet: 46342 is 16 November 2026.
    #[serde(rename = "serial")]
    Serial,
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// First date with the same serial number in every spreadsheet, and that number.
const FIRST_SERIAL: (&str, i32) = ("1900-03-01", 61);
/// Largest serial number that is accepted as a date: 31 December 2099.
const MAX_SERIAL: i32 = 73_050;

/// Splits a cell of this format into year, month and day, as text; `None` if it has another format.
fn split_date(cell: &str, style: DateStyle) -> Option<(String, String, String)> {
    let separators: &[char] = match style {
        DateStyle::Slashes | DateStyle::ShortYear => &['/'],
        DateStyle::Hyphens | DateStyle::Iso => &['-'],
        DateStyle::FullStops => &['.'],
        DateStyle::NamedMonth | DateStyle::NamedMonthShortYear => &[' ', '-', '/'],
        DateStyle::Serial => return None,
    };
    let found: Vec<&str> = cell.split(separators).collect();
    let [first, month, last] = found[..] else { return None };
    if style == DateStyle::Iso {
        let fits = first.len() == 4 && month.len() == 2 && last.len() == 2;
        return fits.then(|| (first.to_owned(), month.to_owned(), last.to_owned()));
    }
    let (day, year) = (first, last);
    let short = matches!(style, DateStyle::ShortYear | DateStyle::NamedMonthShortYear);
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !(1..=2).contains(&day.len()) || year.len() != if short { 2 } else { 4 } || !digits(year) {
        return None;
    }
    let year = if short { format!("20{year}") } else { year.to_owned() };
    let month = match style {
        DateStyle::NamedMonth | DateStyle::NamedMonthShortYear => month_number(month)?.to_string(),
        _ => Some(month).filter(|month| (1..=2).contains(&month.len()))?.to_owned(),
    };
    Some((year, month, day.to_owned()))
}

fn month_number(word: &str) -> Option<usize> {
    let word = word.to_lowercase();
    let word = word.trim_end_matches('.');
    let word = if word == "sept" { "sep" } else { word };
    MONTHS.iter().position(|month| *month == word || month.get(..3) == Some(word)).map(|at| at + 1)
}

/// Returns the cell without a time of midnight, which spreadsheets and databases append to a date.
fn without_midnight(cell: &str) -> &str {
    let Some((date, time)) = cell.split_once([' ', 'T']) else { return cell };
    let time = time.trim_end_matches('Z');
    let time = time
        .split_once('.')
        .map_or(time, |(time, fraction)| if fraction.bytes().all(|byte| byte == b'0') { time } else { "" });
    if matches!(time.trim(), "00:00" | "0:00" | "00:00:00" | "0:00:00") { date } else { cell }
}

/// Parses a date in the first format that fits. Accepts `2/9` and a time of midnight, which spreadsheets write.
///
/// # Errors
/// `DATE_FORMAT`, `DATE_INVALID` or `DATE_RANGE`; `DATE_MONTH_FIRST` if the cell is a date only with the month before
/// the day, in a format of the mapping or in another.
pub fn parse_date(cell: &str, styles: &[DateStyle]) -> Result<Date, &'static str> {
    let cell = without_midnight(cell);
    for style in styles {
        if *style == DateStyle::Serial {
            if let Some(date) = parse_serial(cell) {
                return Ok(date);
            }
            continue;
        }
        let Some((year, month, day)) = split_date(cell, *style) else { continue };
        return date_from_parts(&year, &month, &day).map_err(|error| {
            let named = matches!(style, DateStyle::NamedMonth | DateStyle::NamedMonthShortYear);
            let swapped = *style != DateStyle::Iso && !named && date_from_parts(&year, &day, &month).is_ok();
            if swapped { "DATE_MONTH_FIRST" } else { DateError::reason(error).name() }
        });
    }
    Err(if is_month_first_only(cell) { "DATE_MONTH_FIRST" } else { "DATE_FORMAT" })
}

fn date_from_parts(year: &str, month: &str, day: &str) -> Result<Date, DateError> {
    Date::parse(&format!("{year}-{month:0>2}-{day:0>2}"))
}

/// Returns whether a cell that fits no format is a date only with the month before the day, with any separator and any
/// time after it. Such a cell makes the rest of its column ambiguous in every format: spreadsheets keep it as text
/// while they convert the other cells to dates with the day first.
fn is_month_first_only(cell: &str) -> bool {
    let numbers = cell.replace(['-', '.'], "/");
    let mut words = numbers.split([' ', ',', 'T']);
    // A weekday may precede the date.
    let Some(word) = words.find(|word| word.starts_with(|first: char| first.is_ascii_digit())) else {
        return false;
    };
    let mut styles = [DateStyle::Slashes, DateStyle::ShortYear].into_iter();
    let found = styles.find_map(|style| split_date(word, style));
    found.is_some_and(|(year, month, day)| {
        date_from_parts(&year, &month, &day).is_err() && date_from_parts(&year, &day, &month).is_ok()
    })
}

fn parse_serial(cell: &str) -> Option<Date> {
    let (first, number) = FIRST_SERIAL;
    let days = cell.strip_suffix(".0").unwrap_or(cell).parse::<i32>().ok()?;
    let known = (number..=MAX_SERIAL).contains(&days);
    known.then(|| Date::parse(first).ok().map(|first| first.plus_days(days - number))).flatten()
}

/// Returns a hint about the mapping that would read this cell as a date.
pub fn mapping_hint(cell: &str) -> Option<&'static str> {
    let reads = |style| parse_date(cell, &[style]).is_ok();
    let hints = [
        (DateStyle::Slashes, "dates = [\"dd/mm/yyyy\"] in a mapping reads it"),
        (DateStyle::Hyphens, "dates = [\"dd-mm-yyyy\"] in a mapping reads it"),
        (DateStyle::FullStops, "dates = [\"dd.mm.yyyy\"] in a mapping reads it"),
        (DateStyle::Iso, "dates = [\"yyyy-mm-dd\"] in a mapping reads it"),
        (DateStyle::ShortYear, "the year has two digits: dates = [\"dd/mm/yy\"] in a mapping reads it"),
        (DateStyle::NamedMonth, "the month is named: dates = [\"dd mmm yyyy\"] in a mapping reads it"),
        (DateStyle::NamedMonthShortYear, "the month is named: dates = [\"dd mmm yy\"] in a mapping reads it"),
        (DateStyle::Serial, "a serial day number: dates = [\"serial\"] in a mapping reads it"),
    ];
    hints.into_iter().find(|(style, _)| reads(*style)).map(|(_, hint)| hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [DateStyle; 2] = [DateStyle::Slashes, DateStyle::Iso];

    #[test]
    fn a_date_is_british_or_iso_and_never_guessed() {
        let read = |cell: &str| parse_date(cell, &BOTH).map(|date| date.to_string());
        for (cell, expected) in [
            ("02/11/2026", "2026-11-02"),
            ("2/9/2026", "2026-09-02"),
            ("2026-11-02", "2026-11-02"),
            ("16/11/2026 00:00", "2026-11-16"),
            ("16/11/2026 0:00:00", "2026-11-16"),
            ("2026-11-16T00:00:00", "2026-11-16"),
            ("2026-11-16 00:00:00.000", "2026-11-16"),
            ("2026-11-16T00:00:00Z", "2026-11-16"),
        ] {
            assert_eq!(read(cell).as_deref(), Ok(expected), "{cell}");
        }
        for (cell, reason) in [
            ("11/13/2026", "DATE_MONTH_FIRST"),
            ("13/13/2026", "DATE_INVALID"),
            ("31/02/2026", "DATE_INVALID"),
            ("31/11/2026", "DATE_INVALID"),
            ("02/11/26", "DATE_FORMAT"),
            ("2026/11/02", "DATE_FORMAT"),
            ("02-11-2026", "DATE_FORMAT"),
            ("2026-2-3", "DATE_FORMAT"),
            ("2026-13-02", "DATE_INVALID"),
            ("/11/2026", "DATE_FORMAT"),
            ("46342", "DATE_FORMAT"),
            ("16/11/2026 09:30", "DATE_FORMAT"),
            ("2026-11-15T23:00:00Z", "DATE_FORMAT"),
            ("aa/11/2026", "DATE_FORMAT"),
            ("01/01/1899", "DATE_RANGE"),
        ] {
            assert_eq!(read(cell), Err(reason), "{cell}");
        }
    }

    #[test]
    fn a_date_in_an_unknown_style_is_month_first_only_if_it_reads_no_other_way() {
        for cell in [
            "11/13/26",
            "11-13-2026",
            "11.13.2026",
            "1-31-26",
            "11/13/2026 12:00:00 AM",
            "11/13/2026 0:00",
            "11/13/2026 9:30",
            "11-13-2026T09:30:00Z",
            "11/13/26, 9:30 PM",
            "Fri 11/13/2026",
        ] {
            assert_eq!(parse_date(cell, &BOTH), Err("DATE_MONTH_FIRST"), "{cell}");
            assert_eq!(parse_date(cell, &[DateStyle::Serial]), Err("DATE_MONTH_FIRST"), "{cell}");
        }
        for cell in [
            "11/09/26",
            "11-09-2026",
            "11.11.2026",
            "11/09/2026 12:00:00 AM",
            "13/11/26",
            // Impossible both ways.
            "31/31/26",
            "13.13.2026",
            "31-02-2026",
            "11/13/1899 9:30",
            // A time with full stops is not a date.
            "2026-11-16 09.30.15",
            "2026/11/13",
            "11/13",
            "Monday",
            "",
        ] {
            assert_eq!(parse_date(cell, &BOTH), Err("DATE_FORMAT"), "{cell}");
        }
    }

    #[test]
    fn other_styles_are_read_by_mapping_and_hinted_at_otherwise() {
        for (cell, style, expected) in [
            ("02-11-2026", DateStyle::Hyphens, "2026-11-02"),
            ("02.11.2026", DateStyle::FullStops, "2026-11-02"),
            ("16/11/26", DateStyle::ShortYear, "2026-11-16"),
            ("16 November 2026", DateStyle::NamedMonth, "2026-11-16"),
            ("16-Nov-2026", DateStyle::NamedMonth, "2026-11-16"),
            ("1 Sept 2026", DateStyle::NamedMonth, "2026-09-01"),
            ("16-Nov-26", DateStyle::NamedMonthShortYear, "2026-11-16"),
            ("46342", DateStyle::Serial, "2026-11-16"),
        ] {
            assert_eq!(parse_date(cell, &[style]).unwrap().to_string(), expected, "{cell}");
            assert!(mapping_hint(cell).is_some(), "{cell}");
            assert!(parse_date(cell, &BOTH).is_err());
        }
        assert_eq!(mapping_hint("Monday"), None);
    }
}
