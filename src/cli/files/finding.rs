//! What is wrong with a row, or worth a second look: by line, column and reason, never by its value.

use serde::Serialize;

use crate::exchange::check::description;

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The row is not sent.
    Error,
    /// The row is sent; somebody should look at it.
    Warning,
}

/// Something about one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Line in the file, from 1.
    pub line: u64,
    /// Heading of the column.
    pub column: String,
    /// A reason of the catalogue, or one of the reader's.
    pub reason: String,
    /// Whether the row can be sent.
    pub severity: Severity,
}

/// What only a file can be told, and what warnings say.
pub const WORDS: &[(&str, &str)] = &[
    ("DATE_FORMAT", "not a date that the mapping knows, such as 23/11/2026"),
    ("ROW_LENGTH", "the row has more or fewer cells than the heading"),
    ("NOT_A_MONDAY", "a week begins on a Monday"),
    ("COLUMN_REPEATED", "an earlier column is headed the same"),
    ("SESSION_UNKNOWN", "not a session: AM, PM or TIMED"),
    ("CLOSURE_DECLARED", "the provider declared a closure for the day"),
    ("NOT_A_SCHOOL_DAY", "no school day, and not named by the plan"),
    ("DUPLICATE_IN_BATCH", "an earlier row says the same"),
    ("CODE_NEEDS_LA", "K is for what a local authority arranged"),
    ("CODE_NEEDS_SCHOOL", "B is for what a school arranged"),
    ("PLACE_MISSING", "neither the mark nor the plan names the place"),
    ("PART_TIME_NOT_AGREED", "the plan holds no part-time timetable that is agreed and ends"),
    ("LEGACY_CODE", "the code was withdrawn on 19 August 2024"),
];

impl Finding {
    /// What the reason says.
    #[must_use]
    pub fn meaning(&self) -> &'static str {
        let own = WORDS.iter().find(|(reason, _)| *reason == self.reason).map(|(_, words)| *words);
        own.unwrap_or_else(|| description(&self.reason))
    }

    /// For people: one line.
    #[must_use]
    pub fn words(&self) -> String {
        let warning = if self.severity == Severity::Warning { " (warning)" } else { "" };
        format!("line {}, {}: {}: {}{warning}", self.line, self.column, self.reason, self.meaning())
    }
}
