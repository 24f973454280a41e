//! The layout of a file: what separates its cells, and on which row its headings stand.

use super::super::Failure;
use super::cells::{clean, session};
use super::dates::{self, DateStyle};
use super::headings::{self, Column};
use super::mapping::Mapping;
use super::records::{ROW_TOO_WIDE, Record, RecordFault, Records};

/// Separators that are tried, with what they are called.
const SEPARATORS: [(char, &str); 4] = [(',', "commas"), (';', "semicolons"), ('\t', "tabs"), ('|', "bars")];
/// Rows that are searched for headings: reports begin with a few lines of title.
const MAX_TITLE_ROWS: usize = 20;
/// Longest heading, in bytes: as many as a spreadsheet's cell has letters. A longer one is a row that is separated
/// otherwise, or none of a register's, and costs too much to compare with each name of each mapping.
const MAX_HEADING_BYTES: usize = 32_767;

/// Where everything is in a file.
pub struct Layout {
    /// What separates cells.
    pub separator: char,
    /// What that is called.
    pub separated_by: &'static str,
    /// The mapping that fits the headings.
    pub mapping: Mapping,
    /// The headings, two rows joined into one where the upper holds the days.
    pub headings: Vec<String>,
    /// What each column is.
    pub columns: Vec<Column>,
    /// The rows of the headings: one or two.
    pub rows: Vec<Record>,
}

/// Headings that fit no mapping, or the next best.
struct Nearest {
    known: usize,
    line: u64,
    found: Vec<String>,
    missing: Vec<String>,
    separated_by: &'static str,
}

/// Finds the headings: the first row, or pair of rows, that fits a mapping.
///
/// # Errors
/// Exit code 64, with what was found and what is missing.
pub fn find(text: &str, mappings: &[Mapping]) -> Result<Layout, Failure> {
    let (mut nearest, mut broken) = (None, None);
    for (separator, separated_by) in SEPARATORS {
        let mut head = Vec::new();
        for record in Records::new(text, separator).take(MAX_TITLE_ROWS) {
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
                .and_then(|above| Some((above, joined(above, record)?)));
            let alone = (vec![record.clone()], cleaned(record));
            let pair = pair.map(|(above, joined)| (vec![above.clone(), record.clone()], joined));
            for (rows, headings) in std::iter::once(alone).chain(pair) {
                let (line, found) = (record.line, headings.clone());
                let mut near = Nearest { known: 0, line, found, missing: Vec::new(), separated_by };
                for mapping in mappings {
                    let columns = headings::columns(mapping, &headings);
                    let missing = headings::missing(mapping, &columns);
                    if missing.is_empty() {
                        let mapping = mapping.clone();
                        return Ok(Layout { separator, separated_by, mapping, headings, columns, rows });
                    }
                    let known = columns.iter().filter(|column| **column != Column::Unknown).count();
                    near.missing.push(format!("for {}: {}", mapping.name, missing.join(", ")));
                    near.known = near.known.max(known);
                }
                if nearest.as_ref().is_none_or(|best: &Nearest| near.known > best.known) {
                    nearest = Some(near);
                }
            }
        }
    }
    Err(unknown(text, nearest.as_ref().filter(|nearest| nearest.known > 0), broken))
}

fn may_be_headings(record: &Record) -> bool {
    record.cells.iter().all(|cell| cell.len() <= MAX_HEADING_BYTES)
}

fn cleaned(record: &Record) -> Vec<String> {
    record.cells.iter().map(|cell| clean(cell)).collect()
}

/// Joins a row of days to the row of sessions below it: a day stands over its AM, and holds for the PM beside it.
fn joined(above: &Record, below: &Record) -> Option<Vec<String>> {
    let (above, below) = (cleaned(above), cleaned(below));
    let (mut day, mut last, mut found) = (None, None, false);
    let mut headings = Vec::with_capacity(below.len());
    for (at, heading) in below.into_iter().enumerate() {
        let upper = above.get(at).filter(|upper| !upper.is_empty());
        let Ok(session) = session(&heading) else {
            day = None;
            headings.push(match upper {
                Some(upper) if heading.is_empty() => upper.clone(),
                _ => heading,
            });
            continue;
        };
        if let Some(upper) = upper {
            (day, last) = (is_day(upper).then_some(upper), None);
        }
        // After a PM an AM is of another day, whose date is missing.
        if last.is_some_and(|last| last as i32 >= session as i32) {
            day = None;
        }
        last = Some(session);
        found |= day.is_some();
        headings.push(day.map_or_else(|| heading.clone(), |day| format!("{day} {heading}")));
    }
    found.then_some(headings)
}

fn is_day(cell: &str) -> bool {
    let known = dates::date(cell, &[DateStyle::Slashes, DateStyle::Iso]);
    super::cells::weekday(cell).is_some() || known != Err("DATE_FORMAT") || dates::hint(cell).is_some()
}

fn unknown(text: &str, nearest: Option<&Nearest>, broken: Option<RecordFault>) -> Failure {
    if text.trim().is_empty() {
        return Failure::input("the file is empty");
    }
    // No mapping makes a register of a row that is too wide; a quote matters only where nothing else is near.
    let broken = broken.filter(|fault| nearest.is_none() || fault.reason == ROW_TOO_WIDE);
    if let Some(RecordFault { line, row, reason, .. }) = broken {
        let finding = super::Finding::of_file(line, row, reason);
        return Failure::input(format!("{}; nothing was sent", finding.words()));
    }
    let advice = "If your columns are called otherwise, a mapping can say which holds what: --mapping";
    Failure::input(match nearest {
        // What stands in such a row may be a child's data; it is not shown.
        None => format!(
            "none of the first {MAX_TITLE_ROWS} rows holds the headings of a register, whether its cells are separated \
             by commas, semicolons, tabs or bars\n{advice}"
        ),
        Some(Nearest { line, found, missing, separated_by, .. }) => {
            let found: Vec<String> =
                found.iter().filter(|name| !name.is_empty()).map(|name| headings::shown(name)).collect();
            let (shown, more) = found.split_at(found.len().min(30));
            let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
            format!(
                "line {line} (cells separated by {separated_by}) is nearest to the headings of a register: found {}{more}; \
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
        find(text, &Mapping::built_in().unwrap()).map_err(|failure| failure.to_string())
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
            assert_eq!((found.mapping.name.as_str(), found.separated_by), (name, separated_by), "{text}");
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
        // Marks of a day without a date are of no day.
        assert!(layout("UPN,16/11/2026,,\n,PM,AM,PM\n").is_err());
        // A date in a title belongs to no column.
        assert!(layout("16/11/2026,,\nUPN,AM,PM\n").is_err());
        let found = layout("Printed,20/11/2026,,\nUPN,Date,AM,PM\n").unwrap();
        assert_eq!(found.headings, ["UPN", "Date", "AM", "PM"]);
    }

    #[test]
    fn headings_that_fit_nothing_are_named_with_what_is_missing() {
        let told = layout("Riverside\n\nUPN,Date,Code word\nA1,x,y\n").err().unwrap();
        assert!(told.contains("line 3 (cells separated by commas)"), "{told}");
        assert!(
            told.contains("for a mark a row: the mark (Mark, Code, Attendance Code), the session"),
            "{told}"
        );
        let told = layout("Adeyemi,José\nMensah,Aisha\n").err().unwrap();
        assert!(told.contains("none of the first 20 rows") && !told.contains("Adeyemi"), "{told}");
        assert!(layout("").err().unwrap().contains("empty"));
        let told = layout("\"UPN,Date\nA1\n").err().unwrap();
        assert!(told.contains("line 1, row 1") && told.contains("QUOTE_UNCLOSED"), "{told}");
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
        // A heading of such a length is none either.
        let refusal = layout(&format!("UPN,Date,Session,Mark{}\n", "k".repeat(3_000_000))).err().unwrap();
        assert!(refusal.contains("none of the first 20 rows"), "{refusal}");
    }
}
