//! Findings: what is wrong with a file or a row, or worth a second look; by line, row, column and reason, never by
//! the value of a cell.

use serde::Serialize;

use crate::exchange::check::description;

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing of the file is sent.
    Refusal,
    /// The row is not sent.
    Error,
    /// The row is sent; somebody should look at it.
    Warning,
    /// Nothing is wrong; it says how the file was read.
    Notice,
}

/// Something about a row, or about the whole file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Line in the file, from 1.
    pub line: u64,
    /// Row, as a spreadsheet counts them, from 1.
    pub row: u64,
    /// Heading of the column; empty where it is about the row.
    pub column: String,
    /// A reason of the catalogue, or one of the reader's.
    pub reason: String,
    /// What it means for the row and the file.
    pub severity: Severity,
    /// What it is in particular, or what a mapping could do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

const CELLS: &str = "if it is a word for a mark, [cells] in a mapping can say which";

/// What only a file can be told, and what warnings say.
pub const WORDS: &[(&str, &str)] = &[
    ("DATE_FORMAT", "not a date that the mapping knows, such as 23/11/2026"),
    (
        "DATE_MONTH_FIRST",
        "a date only if the month comes before the day, so that no date of the column is sure",
    ),
    (
        "ROW_LENGTH",
        "the row has cells that have no heading, or its cells are not separated as those of the others",
    ),
    ("ROW_TOO_WIDE", "the row has more cells than a spreadsheet has columns (16,384)"),
    ("ROW_BEFORE_HEADINGS", "a row of the register stands above the headings"),
    ("NOT_A_MONDAY", "a week begins on a Monday"),
    ("WEEKDAY_DIFFERS", "the date is not on that day of the week"),
    ("MARKS_LENGTH", "the marks of a week are at most ten, or the fourteen of seven days"),
    (
        "COLUMN_REPEATED",
        "an earlier column holds the same: leave one out, or name the one that counts in a mapping",
    ),
    (
        "COLUMN_LEFT_OUT",
        "the column seems to hold marks and is not read: a mapping can name it, or say ignore",
    ),
    ("QUOTE_UNCLOSED", "the quote that opens here is never closed"),
    ("QUOTE_INSIDE_CELL", "a quote stands inside a cell that does not begin with one"),
    (
        "TEXT_AFTER_QUOTE",
        "a quote that opens here was probably never closed: text follows the quote that would close it",
    ),
    (
        "QUOTE_DOUBTFUL",
        "a cell that begins on this line runs over several and seems to hold other rows: is its quote closed?",
    ),
    ("ENCODING", "not UTF-8; names with accents show whether this is right"),
    ("TITLE_ROW", "above the headings, left out"),
    ("TOTAL_ROW", "a total, left out"),
    ("HEADING_REPEATED", "the headings once more, left out"),
    ("NO_MARK", "the row holds no mark; nothing is said of the session"),
    ("MOSTLY_ACTIVITY", "most marks of the file are this code, which does not mean present"),
    ("FILE_WITHOUT_MARKS", "the file has no marks"),
    ("NOT_A_SCHOOL_DAY", "no school day, and not named by the plan"),
    ("CLOSURE_DECLARED", "the provider declared a closure for the day"),
    ("SESSION_UNKNOWN", "not a session: AM, PM, Morning, Afternoon or TIMED"),
    ("SESSION_NOT_BEGUN", "marked before the plan's time for the session"),
    ("DUPLICATE_IN_BATCH", "an earlier row says the same"),
    ("CODE_NEEDS_LA", "K is for what a local authority arranged"),
    ("CODE_NEEDS_SCHOOL", "B is for what a school arranged"),
    ("PLACE_MISSING", "neither the mark nor the plan names the place"),
    ("PART_TIME_NOT_AGREED", "the plan holds no part-time timetable that is agreed and ends"),
    ("LEGACY_CODE", "the code was withdrawn on 19 August 2024"),
    ("IDENTIFIERS_DIFFER", "the UPN and the reference, or the placement, name two children"),
    ("MINUTES_RANGE", "not a whole number of minutes in the range, or beside a mark that has none"),
];

/// What a mapping could do about a cell that cannot be read.
const HINTS: [(&str, &str); 4] = [
    ("CODE_UNKNOWN", CELLS),
    ("CODE_RETIRED", CELLS),
    ("SESSION_UNKNOWN", "if it is a word for AM or PM, [sessions] in a mapping can say which"),
    ("TIME_FORMAT", "times = [\"hh.mm\"] in a mapping reads 09.30"),
];

impl Finding {
    /// A finding about the whole file, at the row that shows it.
    #[must_use]
    pub fn of_file(line: u64, row: u64, reason: &str) -> Self {
        Self { severity: Severity::Refusal, ..Self::of_row(line, row, String::new(), reason) }
    }

    /// A finding because of which a row is not sent.
    #[must_use]
    pub fn of_row(line: u64, row: u64, column: String, reason: &str) -> Self {
        let note = HINTS.iter().find(|(known, _)| *known == reason).map(|(_, hint)| (*hint).to_owned());
        // One date that is possible only month-first makes the others of its column doubtful.
        let severity = if reason == "DATE_MONTH_FIRST" { Severity::Refusal } else { Severity::Error };
        Self { line, row, column, reason: reason.to_owned(), severity, note }
    }

    /// The same, with this weight.
    #[must_use]
    pub fn weighing(self, severity: Severity) -> Self {
        Self { severity, ..self }
    }

    /// The same, with a note.
    #[must_use]
    pub fn noting(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }

    /// Whether a row, or the file, is not sent because of it.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        self.severity <= Severity::Error
    }

    /// What the reason says.
    #[must_use]
    pub fn meaning(&self) -> &'static str {
        let own = WORDS.iter().find(|(reason, _)| *reason == self.reason).map(|(_, words)| *words);
        own.unwrap_or_else(|| description(&self.reason))
    }

    /// For people: one line.
    #[must_use]
    pub fn words(&self) -> String {
        let column = if self.column.is_empty() { String::new() } else { format!(", {}", self.column) };
        format!("line {}, row {}{column}: {}", self.line, self.row, self.sense())
    }

    fn sense(&self) -> String {
        let note = self.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
        format!("{}: {}{note}", self.reason, self.meaning())
    }
}

/// Faults in words, a line each: a fault of one row that several columns share is one line.
#[must_use]
pub fn faults(findings: &[Finding]) -> Vec<String> {
    const MAX_COLUMNS: usize = 3;
    let mut lines: Vec<(Finding, usize)> = Vec::new();
    for finding in findings.iter().filter(|finding| finding.is_fault()) {
        match lines.last_mut() {
            Some((first, columns)) if first.row == finding.row && first.reason == finding.reason => {
                *columns += 1;
                if *columns <= MAX_COLUMNS {
                    first.column = format!("{}, {}", first.column, finding.column);
                }
            }
            _ => lines.push((finding.clone(), 1)),
        }
    }
    let words = |(mut finding, columns): (Finding, usize)| {
        if columns > MAX_COLUMNS {
            finding.column = format!("{} and {} more", finding.column, columns - MAX_COLUMNS);
        }
        finding.words()
    };
    lines.into_iter().map(words).collect()
}

/// Warnings and notices in words: a line for each kind, with the lines of the file on which it holds.
#[must_use]
pub fn remarks(findings: &[Finding]) -> Vec<String> {
    let mut kinds: Vec<(&Finding, Vec<u64>)> = Vec::new();
    for finding in findings.iter().filter(|finding| !finding.is_fault()) {
        let same =
            |kind: &&mut (&Finding, Vec<u64>)| kind.0.reason == finding.reason && kind.0.note == finding.note;
        match kinds.iter_mut().find(same) {
            Some((_, lines)) => lines.push(finding.line),
            None => kinds.push((finding, vec![finding.line])),
        }
    }
    let words = |(kind, lines): (&Finding, Vec<u64>)| {
        let warning = if kind.severity == Severity::Warning { " (warning)" } else { "" };
        format!("{}{warning}: {}", kind.sense(), ranges(lines))
    };
    kinds.into_iter().map(words).collect()
}

/// Lines as ranges: `lines 3, 5-9`.
fn ranges(mut lines: Vec<u64>) -> String {
    const MAX_RANGES: usize = 12;
    lines.sort_unstable();
    lines.dedup();
    let word = if lines.len() == 1 { "line" } else { "lines" };
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for line in lines {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == line => *last = line,
            _ => ranges.push((line, line)),
        }
    }
    let shown = ranges
        .iter()
        .take(MAX_RANGES)
        .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") });
    let shown = shown.collect::<Vec<_>>().join(", ");
    let more = if ranges.len() > MAX_RANGES { " and others" } else { "" };
    format!("{word} {shown}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_fault_of_a_row_is_one_line_and_one_kind_of_warning_too() {
        let fault = |row: u64, column: &str, reason| Finding::of_row(row, row, column.to_owned(), reason);
        let warned = |line| fault(line, "Date", "NOT_A_SCHOOL_DAY").weighing(Severity::Warning);
        let mut findings: Vec<Finding> = ["Mon AM", "Mon PM", "Tue AM", "Tue PM"]
            .map(|column| fault(2, column, "PLACEMENT_NOT_ACTIVE"))
            .into();
        findings.extend([fault(3, "UPN", "UPN_FORMAT"), warned(4), warned(5), warned(5), warned(9)]);
        let faults = faults(&findings);
        assert_eq!(faults.len(), 2);
        assert!(
            faults[0].starts_with("line 2, row 2, Mon AM, Mon PM, Tue AM and 1 more: PLACEMENT_NOT_ACTIVE: ")
        );
        assert_eq!(
            remarks(&findings),
            ["NOT_A_SCHOOL_DAY: no school day, and not named by the plan (warning): lines 4-5, 9"]
        );
    }
}
