//! Diagnostics about a file or a row, with line, row, column and reason. They never contain the value of a cell,
//! because it may be a child's data.

use serde::Serialize;

use crate::violation_reason::ViolationReason;

/// Severity of a diagnostic, the most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The whole file is refused.
    Refusal,
    /// The row is not sent.
    Error,
    /// The row is sent, but a person should review it.
    Warning,
    /// Information about how the file was read.
    Notice,
}

/// Diagnostic about a row or about the whole file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Line in the file, from 1.
    pub line: u64,
    /// Row number as a spreadsheet counts rows, from 1.
    pub row: u64,
    /// Heading of the column; empty if the diagnostic is about the row as a whole.
    pub column: String,
    /// Reason: one of the catalogue (`proto/ERRORS.md`).
    pub reason: String,
    /// Consequence for the row or the file.
    pub severity: Severity,
    /// Detail, or a hint about a mapping that would read the cell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

const CELL_WORD_HINT: &str = "if it is a word for a mark, [cells] in a mapping can define it";

/// Reasons that occur only for files, and reasons of warnings, each with its description.
pub const DESCRIPTIONS: &[(&str, &str)] = &[
    ("DATE_FORMAT", "not a date in a format of the mapping, such as 23/11/2026"),
    (
        "DATE_MONTH_FIRST",
        "a date only with the month before the day, so every date of the column is ambiguous",
    ),
    (
        "ROW_LENGTH",
        "the row has cells without a heading, or its cells are separated differently from those of other rows",
    ),
    ("ROW_TOO_WIDE", "the row has more cells than a spreadsheet has columns (16,384)"),
    ("ROW_BEFORE_HEADINGS", "a row of the register is above the headings"),
    ("NOT_A_MONDAY", "the date of a week must be a Monday"),
    ("WEEKDAY_DIFFERS", "the date is not on that day of the week"),
    ("MARKS_LENGTH", "a week must have at most ten marks, or exactly fourteen for seven days"),
    ("COLUMN_REPEATED", "an earlier column holds the same: remove one of them, or choose one in a mapping"),
    (
        "COLUMN_LEFT_OUT",
        "the column seems to hold marks and is not read: name it in a mapping, or list it under ignore",
    ),
    ("QUOTE_UNCLOSED", "the quote that opens here is never closed"),
    ("QUOTE_INSIDE_CELL", "a quote is inside a cell that does not begin with one"),
    ("TEXT_AFTER_QUOTE", "a quote that opens here was probably never closed: text follows the closing quote"),
    (
        "QUOTE_DOUBTFUL",
        "a cell that begins on this line runs over several and seems to hold other rows: is its quote closed?",
    ),
    (
        "MERGED_CELLS",
        "cells of several rows or columns are merged and have one value: split them, and fill in each",
    ),
    (
        "FORMULA_WITHOUT_VALUE",
        "the cell has a formula and no value: open the workbook in a spreadsheet and save it",
    ),
    ("SHEETS_LEFT_OUT", "the workbook has other sheets, which are not read"),
    ("ENCODING", "not UTF-8; check that names with accents are shown correctly"),
    ("TITLE_ROW", "a title above the headings, left out"),
    ("TOTAL_ROW", "a row of totals, left out"),
    ("HEADING_REPEATED", "the headings repeated, left out"),
    ("NO_MARK", "the row holds no mark; nothing is sent for it"),
    ("MOSTLY_ACTIVITY", "most marks of the file are this code, which does not mean present"),
    ("FILE_WITHOUT_MARKS", "the file has no marks"),
    ("NOT_A_SCHOOL_DAY", "no school day, and not named by the plan"),
    ("CLOSURE_DECLARED", "the provider declared a closure for the day"),
    ("SESSION_UNKNOWN", "not a session: AM, PM, Morning, Afternoon or TIMED"),
    ("SESSION_NOT_BEGUN", "marked before the plan's time for the session"),
    ("DUPLICATE_IN_BATCH", "an earlier row holds the same mark"),
    ("CODE_NEEDS_LA", "K is only for provision that a local authority arranged"),
    ("CODE_NEEDS_SCHOOL", "B is only for provision that a school arranged"),
    ("PLACE_MISSING", "neither the mark nor the plan names the place"),
    ("PART_TIME_NOT_AGREED", "the plan has no part-time timetable that is agreed and has an end"),
    ("LEGACY_CODE", "the code was withdrawn on 19 August 2024"),
    ("IDENTIFIERS_DIFFER", "the identifiers in the row name different children"),
    ("MINUTES_RANGE", "not a whole number of minutes in the range, or given with a mark that takes none"),
];

/// Hints about mappings, for cells that cannot be read.
const MAPPING_HINTS: [(&str, &str); 4] = [
    ("CODE_UNKNOWN", CELL_WORD_HINT),
    ("CODE_RETIRED", CELL_WORD_HINT),
    ("SESSION_UNKNOWN", "if it is a word for AM or PM, [sessions] in a mapping can define it"),
    ("TIME_FORMAT", "times = [\"hh.mm\"] in a mapping reads 09.30"),
];

impl Diagnostic {
    /// Makes a diagnostic that refuses the whole file, at the row where the fault was found.
    #[must_use]
    pub fn for_file(line: u64, row: u64, reason: &str) -> Self {
        Self { severity: Severity::Refusal, ..Self::for_row(line, row, String::new(), reason) }
    }

    /// Makes a diagnostic because of which a row is not sent.
    #[must_use]
    pub fn for_row(line: u64, row: u64, column: String, reason: &str) -> Self {
        let note =
            MAPPING_HINTS.iter().find(|(known, _)| *known == reason).map(|(_, hint)| (*hint).to_owned());
        // One date that is valid only month-first makes the other dates of its column ambiguous.
        let severity = if reason == "DATE_MONTH_FIRST" { Severity::Refusal } else { Severity::Error };
        Self { line, row, column, reason: reason.to_owned(), severity, note }
    }

    /// Sets the severity.
    #[must_use]
    pub fn with_severity(self, severity: Severity) -> Self {
        Self { severity, ..self }
    }

    /// Sets the note.
    #[must_use]
    pub fn with_note(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }

    /// Returns whether the row or the file is not sent because of this diagnostic.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        self.severity <= Severity::Error
    }

    /// Returns the description of the reason.
    #[must_use]
    pub fn explanation(&self) -> &'static str {
        let own = DESCRIPTIONS.iter().find(|(reason, _)| *reason == self.reason).map(|(_, words)| *words);
        let own = own.or_else(|| ViolationReason::from_name(&self.reason).map(ViolationReason::text));
        own.unwrap_or("the value is not acceptable")
    }

    /// Returns the finding as one line for people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let column = if self.column.is_empty() { String::new() } else { format!(", {}", self.column) };
        format!("line {}, row {}{column}: {}", self.line, self.row, self.reason_text())
    }

    fn reason_text(&self) -> String {
        let note = self.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
        format!("{}: {}{note}", self.reason, self.explanation())
    }
}

/// Returns one line of text for each fault. A fault that several columns of a row share takes one line.
#[must_use]
pub fn fault_lines(findings: &[Diagnostic]) -> Vec<String> {
    const MAX_COLUMNS: usize = 3;
    let mut lines: Vec<(Diagnostic, usize)> = Vec::new();
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
    let words = |(mut finding, columns): (Diagnostic, usize)| {
        if columns > MAX_COLUMNS {
            finding.column = format!("{} and {} more", finding.column, columns - MAX_COLUMNS);
        }
        finding.to_text()
    };
    lines.into_iter().map(words).collect()
}

/// Returns one line of text for each kind of warning or notice, with the numbers of the file's lines that have it.
#[must_use]
pub fn remark_lines(findings: &[Diagnostic]) -> Vec<String> {
    let mut kinds: Vec<(&Diagnostic, Vec<u64>)> = Vec::new();
    for finding in findings.iter().filter(|finding| !finding.is_fault()) {
        let same = |kind: &&mut (&Diagnostic, Vec<u64>)| {
            kind.0.reason == finding.reason && kind.0.note == finding.note
        };
        match kinds.iter_mut().find(same) {
            Some((_, lines)) => lines.push(finding.line),
            None => kinds.push((finding, vec![finding.line])),
        }
    }
    let words = |(kind, lines): (&Diagnostic, Vec<u64>)| {
        let warning = if kind.severity == Severity::Warning { " (warning)" } else { "" };
        format!("{}{warning}: {}", kind.reason_text(), ranges(lines))
    };
    kinds.into_iter().map(words).collect()
}

/// Formats line numbers as ranges, such as `lines 3, 5-9`.
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
        let fault = |row: u64, column: &str, reason| Diagnostic::for_row(row, row, column.to_owned(), reason);
        let warned = |line| fault(line, "Date", "NOT_A_SCHOOL_DAY").with_severity(Severity::Warning);
        let mut findings: Vec<Diagnostic> = ["Mon AM", "Mon PM", "Tue AM", "Tue PM"]
            .map(|column| fault(2, column, "PLACEMENT_NOT_ACTIVE"))
            .into();
        findings.extend([fault(3, "UPN", "UPN_FORMAT"), warned(4), warned(5), warned(5), warned(9)]);
        let faults = fault_lines(&findings);
        assert_eq!(faults.len(), 2);
        assert!(
            faults[0].starts_with("line 2, row 2, Mon AM, Mon PM, Tue AM and 1 more: PLACEMENT_NOT_ACTIVE: ")
        );
        assert_eq!(
            remark_lines(&findings),
            ["NOT_A_SCHOOL_DAY: no school day, and not named by the plan (warning): lines 4-5, 9"]
        );
    }
}
