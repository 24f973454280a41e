//! Layout detection: finds the separator of a file's cells and the row of its headings.

use super::super::Failure;
use super::cells::{clean, parse_session};
use super::csv_reader::{CsvError, CsvReader, CsvRecord, ROW_TOO_WIDE};
use super::dates::{self, DateStyle};
use super::headings::{self, Column};
use super::mapping::Mapping;

/// Separators that are tried, each with its name in messages.
const SEPARATORS: [(char, &str); 4] = [(',', "commas"), (';', "semicolons"), ('\t', "tabs"), ('|', "bars")];
/// Number of rows that are searched for headings, because reports begin with a few title lines.
const MAX_TITLE_ROWS: usize = 20;
/// Longest heading, in bytes: the most characters that a spreadsheet's cell can hold. A longer cell belongs to a row
/// with another separator or to no register, and would be expensive to compare with each name of each mapping.
const MAX_HEADING_BYTES: usize = 32_767;

/// Layout of a file.
pub struct Layout {
    /// Separator between cells.
    pub separator: char,
    /// Name of the separator in messages.
    pub separator_name: &'static str,
    /// The mapping that fits the headings.
    pub mapping: Mapping,
    /// The headings; if there are two rows of them, with the days in the upper, joined into one.
    pub headings: Vec<String>,
    /// Content of each column.
    pub columns: Vec<Column>,
    /// The one or two rows that hold the headings.
    pub heading_rows: Vec<CsvRecord>,
}

/// The closest row to headings when none fits a mapping, for the error message.
struct ClosestMatch {
    recognised: usize,
    line: u64,
    found: Vec<String>,
    missing: Vec<String>,
    separator_name: &'static str,
}

/// Returns the layout whose headings are the first row, or pair of rows, that fits a mapping. Without `separator` every
/// separator is tried.
///
/// # Errors
/// Exit code 64, with the closest headings and what they lack.
pub fn detect(text: &str, mappings: &[Mapping], separator: Option<char>) -> Result<Layout, Failure> {
    let (mut nearest, mut broken) = (None, None);
    let is_tried = |(known, _): &(char, &str)| separator.is_none_or(|only| only == *known);
    for (separator, separated_by) in SEPARATORS.into_iter().filter(is_tried) {
        let mut head = Vec::new();
        for record in CsvReader::new(text, separator).take(MAX_TITLE_ROWS) {
            match record {
                Ok(record) => head.push(record),
                Err(fault) => {
                    broken.get_or_insert(fault);
                    break;
                }
            }
        }
        for (at, record) in head.iter().enumerate().filter(|(_, record)| may_be_headings(record)) {
            let pair = at
                .checked_sub(1)
                .and_then(|above| head.get(above).filter(|above| may_be_headings(above)))
                .and_then(|above| Some((above, join_day_row(above, record)?)));
            let alone = (vec![record.clone()], clean_cells(record));
            let pair = pair.map(|(above, joined)| (vec![above.clone(), record.clone()], joined));
            for (rows, headings) in std::iter::once(alone).chain(pair) {
                let (line, found) = (record.line, headings.clone());
                let mut near = ClosestMatch {
                    recognised: 0,
                    line,
                    found,
                    missing: Vec::new(),
                    separator_name: separated_by,
                };
                for mapping in mappings {
                    let columns = headings::classify_columns(mapping, &headings);
                    let missing = headings::missing_fields(mapping, &columns);
                    if missing.is_empty() {
                        let mapping = mapping.clone();
                        return Ok(Layout {
                            separator,
                            separator_name: separated_by,
                            mapping,
                            headings,
                            columns,
                            heading_rows: rows,
                        });
                    }
                    let known = columns.iter().filter(|column| **column != Column::Unknown).count();
                    near.missing.push(format!("for {}: {}", mapping.name, missing.join(", ")));
                    near.recognised = near.recognised.max(known);
                }
                if nearest.as_ref().is_none_or(|best: &ClosestMatch| near.recognised > best.recognised) {
                    nearest = Some(near);
                }
            }
        }
    }
    Err(no_layout_failure(text, nearest.as_ref().filter(|nearest| nearest.recognised > 0), broken))
}

fn may_be_headings(record: &CsvRecord) -> bool {
    record.cells.iter().all(|cell| cell.len() <= MAX_HEADING_BYTES)
}

fn clean_cells(record: &CsvRecord) -> Vec<String> {
    record.cells.iter().map(|cell| clean(cell)).collect()
}

/// Joins a row of days to the row of sessions below it. A day is above its AM column and applies to the PM column next
/// to it. Returns `None` if no session has a day.
fn join_day_row(above: &CsvRecord, below: &CsvRecord) -> Option<Vec<String>> {
    let (above, below) = (clean_cells(above), clean_cells(below));
    let (mut day, mut last, mut found) = (None, None, false);
    let mut headings = Vec::with_capacity(below.len());
    for (at, heading) in below.into_iter().enumerate() {
        let upper = above.get(at).filter(|upper| !upper.is_empty());
        let Ok(session) = parse_session(&heading) else {
            day = None;
            headings.push(match upper {
                Some(upper) if heading.is_empty() => upper.clone(),
                _ => heading,
            });
            continue;
        };
        if let Some(upper) = upper {
            (day, last) = (is_day_name_or_date(upper).then_some(upper), None);
        }
        // An AM after a PM belongs to another day, and its date is missing.
        if last.is_some_and(|last| last as i32 >= session as i32) {
            day = None;
        }
        last = Some(session);
        found |= day.is_some();
        headings.push(day.map_or_else(|| heading.clone(), |day| format!("{day} {heading}")));
    }
    found.then_some(headings)
}

fn is_day_name_or_date(cell: &str) -> bool {
    let known = dates::parse_date(cell, &[DateStyle::Slashes, DateStyle::Iso]);
    super::cells::parse_weekday(cell).is_some()
        || known != Err("DATE_FORMAT")
        || dates::mapping_hint(cell).is_some()
}

fn no_layout_failure(text: &str, nearest: Option<&ClosestMatch>, broken: Option<CsvError>) -> Failure {
    if text.trim().is_empty() {
        return Failure::input("the file is empty");
    }
    // A row that is too wide fails with every mapping. A quote fault is reported only if no row resembles headings.
    let broken = broken.filter(|fault| nearest.is_none() || fault.reason == ROW_TOO_WIDE);
    if let Some(CsvError { line, row, reason, .. }) = broken {
        let finding = super::Diagnostic::for_file(line, row, reason);
        return Failure::input(format!("{}; nothing was sent", finding.to_text()));
    }
    let advice = "If your columns have other names, describe them in a mapping: --mapping";
    Failure::input(match nearest {
        // The rows are not shown, because they may contain a child's data.
        None => format!(
            "none of the first {MAX_TITLE_ROWS} rows holds the headings of a register, with cells separated by commas, \
             semicolons, tabs or bars\n{advice}"
        ),
        Some(ClosestMatch { line, found, missing, separator_name: separated_by, .. }) => {
            let found: Vec<String> = found
                .iter()
                .filter(|name| !name.is_empty())
                .map(|name| headings::display_heading(name))
                .collect();
            let (shown, more) = found.split_at(found.len().min(30));
            let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
            format!(
                "line {line} (cells separated by {separated_by}) is closest to the headings of a register: found {}{more}; \
                 missing {}\n{advice}",
                shown.join(", "),
                missing.join("; ")
            )
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(text: &str) -> Result<Layout, String> {
        detect(text, &Mapping::built_in().unwrap(), None).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_built_in_mapping_is_chosen_by_the_headings() {
        for (text, name, separated_by) in [
            ("UPN,Legal Surname,Date,Session,Mark", "a mark a row", "commas"),
            ("date,SESSION,attendance_code,unique pupil number", "a mark a row", "commas"),
            ("Ref,Initials,Date,Start,End,Attended", "a tuition log", "commas"),
            ("Unique Pupil Number,02/11/2026 AM,02/11/2026 PM", "a child a row", "commas"),
            ("UPN,Week Commencing,Mon AM,Mon PM", "a child a row", "commas"),
            ("UPN,Week_Commencing,Marks", "a child a row", "commas"),
            ("UPN;Date;Session;Mark", "a mark a row", "semicolons"),
            ("sep=;\n\"UPN\";\"Date\";\"Session\";\"Mark\"", "a mark a row", "semicolons"),
            ("UPN\tDate\tAM\tPM", "a child a row", "tabs"),
            ("UPN|Date|Session|Mark", "a mark a row", "bars"),
            ("Title, of a kind\n\n,,\nUPN,Date,Session,Mark", "a mark a row", "commas"),
        ] {
            let found = layout(text).unwrap();
            assert_eq!((found.mapping.name.as_str(), found.separator_name), (name, separated_by), "{text}");
        }
    }

    #[test]
    fn two_rows_of_headings_are_joined() {
        let found = layout("UPN,Surname,16/11/2026,,17/11/2026,\n,,AM,PM,AM,PM\n").unwrap();
        assert_eq!(
            found.headings,
            ["UPN", "Surname", "16/11/2026 AM", "16/11/2026 PM", "17/11/2026 AM", "17/11/2026 PM"]
        );
        let found = layout(",W/C,Mon,,Tues,\nUPN,,AM,PM,AM,PM\n").unwrap();
        assert_eq!(found.headings, ["UPN", "W/C", "Mon AM", "Mon PM", "Tues AM", "Tues PM"]);
        // Marks under a day without a date cannot be assigned.
        assert!(layout("UPN,16/11/2026,,\n,PM,AM,PM\n").is_err());
        // A date in a title is not the date of a column.
        assert!(layout("16/11/2026,,\nUPN,AM,PM\n").is_err());
        let found = layout("Printed,20/11/2026,,\nUPN,Date,AM,PM\n").unwrap();
        assert_eq!(found.headings, ["UPN", "Date", "AM", "PM"]);
    }

    #[test]
    fn headings_that_fit_nothing_are_named_with_what_is_missing() {
        let message = layout("Riverside\n\nUPN,Date,Code word\nA1,x,y\n").err().unwrap();
        assert!(message.contains("line 3 (cells separated by commas)"), "{message}");
        assert!(
            message.contains("for a mark a row: the mark (Mark, Code, Attendance Code), the session"),
            "{message}"
        );
        let message = layout("Adeyemi,José\nMensah,Aisha\n").err().unwrap();
        assert!(message.contains("none of the first 20 rows") && !message.contains("Adeyemi"), "{message}");
        assert!(layout("").err().unwrap().contains("empty"));
        let message = layout("\"UPN,Date\nA1\n").err().unwrap();
        assert!(message.contains("line 1, row 1") && message.contains("QUOTE_UNCLOSED"), "{message}");
    }

    #[test]
    fn a_row_of_millions_of_cells_is_refused_by_its_line() {
        for (separator, _) in SEPARATORS {
            let many = separator.to_string().repeat(1_000_000);
            for (above, line) in [("UPN", 1), ("Title\nUPN", 2), ("UPN\n", 2)] {
                let refusal = layout(&format!("{above}{many}\n")).err().unwrap();
                let place = format!("line {line}, row {line}: ROW_TOO_WIDE: ");
                assert!(refusal.starts_with(&place), "{separator:?} {refusal}");
            }
        }
        // A cell of that length is not a heading.
        let refusal = layout(&format!("UPN,Date,Session,Mark{}\n", "k".repeat(3_000_000))).err().unwrap();
        assert!(refusal.contains("none of the first 20 rows"), "{refusal}");
    }
}
