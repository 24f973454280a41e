//! Registers as management information systems and tutors write them, read into marks. A mapping says which column
//! holds what; what a row lacks is named by line, row, column and reason.
//!
//! It must never put a cell of one child's row into another's mark: a file in which that is in doubt is refused whole.

mod cells;
mod dates;
mod doubts;
mod encoding;
pub(super) mod finding;
mod headings;
mod layout;
mod mapping;
pub mod preview;
mod records;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

pub use finding::{Finding, Severity, faults, remarks};
use headings::Column;
use layout::Layout;
use mapping::{CHILD, Field, Mapping};
use records::{Record, Records};

use super::Failure;
use crate::calendar::Date;
use crate::codes::attendance::{AttendanceClass, AttendanceCode};
use crate::proto::v1::Mark;
use crate::proto::v1::mark::Statement;

/// Largest file, in bytes.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// A mark of the file, as it will be sent.
#[derive(Clone)]
pub struct Row {
    /// Line in the file, from 1.
    pub line: u64,
    /// Number of the row, as a spreadsheet counts them, from 1.
    pub number: u64,
    /// The mark.
    pub mark: Mark,
    /// The column of the mark.
    column: usize,
}

impl Row {
    /// A mark that stands in no file.
    pub fn alone(mark: Mark) -> Self {
        Self { line: 1, number: 1, mark, column: 0 }
    }
}

/// A file that was read.
pub struct Register {
    /// The mapping that read it.
    mapping: Mapping,
    /// How it was encoded.
    pub encoding: &'static str,
    separator: char,
    separated_by: &'static str,
    headings: Vec<String>,
    /// The rows of the headings.
    heading_rows: Vec<Record>,
    columns: Vec<Column>,
    /// Its marks, in order; none if the file is refused.
    pub rows: Vec<Row>,
    /// What cannot be read, and how the rest was read.
    pub findings: Vec<Finding>,
    /// Cells without a mark.
    empty: usize,
}

impl Register {
    /// The heading of the column that holds what the gateway calls `field`.
    #[must_use]
    pub fn column(&self, row: &Row, field: &str) -> String {
        let of = |field: Field| self.columns.iter().position(|column| *column == Column::Field(field));
        let at = match field {
            "code" | "seen" | "" => Some(row.column),
            "upn" | "provider_reference" | "placement_id" => CHILD.into_iter().find_map(of),
            "check_upn" => of(Field::Upn),
            "check_provider_reference" => of(Field::ProviderReference),
            "date" | "session" => Field::named(field).and_then(of).or(Some(row.column)),
            other => Field::named(other).and_then(of),
        };
        at.map_or_else(|| field.to_owned(), |at| self.heading(at))
    }

    /// Whether nothing of the file is sent, whatever else is good.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Refusal)
    }

    /// A heading as it is shown.
    fn heading(&self, at: usize) -> String {
        match self.headings.get(at) {
            Some(heading) if !heading.is_empty() => headings::shown(heading),
            _ => format!("column {}", at + 1),
        }
    }

    /// Line and row of the headings.
    fn heading_place(&self) -> (u64, u64) {
        self.heading_rows.last().map_or((1, 1), |record| (record.line, record.row))
    }

    /// Adds what is wrong with the headings; each makes the whole file doubtful.
    fn judge_headings(&mut self) {
        let (line, row) = self.heading_place();
        for (at, reason) in headings::faults(&self.columns) {
            let column = self.heading(at);
            self.findings.push(Finding { column, ..Finding::of_file(line, row, reason) });
        }
    }

    /// Warns once if most marks are one code of an activity: P is sport, although many write it for "present".
    fn judge_codes(&mut self) {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for row in &self.rows {
            if let Some(Statement::Code(code)) = &row.mark.statement {
                *counts.entry(code).or_default() += 1;
            }
        }
        let activity = |code: &str| {
            let day = self.rows.first().and_then(|row| Date::parse(&row.mark.date).ok())?;
            let code = AttendanceCode::on(code, day).ok()?;
            (code.class() == AttendanceClass::ApprovedEducationalActivity).then(|| code.meaning())
        };
        let most = counts.into_iter().find(|(_, count)| count * 2 > self.rows.len());
        if let Some((code, meaning)) = most.and_then(|(code, _)| Some((code, activity(code)?))) {
            let (line, row) = self.heading_place();
            let column = self.rows.first().map(|row| self.heading(row.column)).unwrap_or_default();
            let finding = Finding::of_row(line, row, column, "MOSTLY_ACTIVITY").weighing(Severity::Warning);
            let finding = finding.noting(format!("{code}: {meaning}"));
            self.findings.push(finding);
        }
    }
}

/// Reads a file by the mapping that is given, or by the built-in one that its headings call for.
///
/// # Errors
/// Exit code 64 when it is no register at all, 78 for the mapping.
pub fn read(file: &Path, mapping: Option<&Path>) -> Result<Register, Failure> {
    let at_fault = |what: &str| Failure::input(format!("{}: {what}", file.display()));
    let mapping = mapping.map(Mapping::load).transpose()?;
    // A pipe or a device has no size that could be asked beforehand.
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file);
    let read = opened.and_then(|opened| opened.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
    let length = read.map_err(|error| at_fault(&format!("the file cannot be read: {error}")))?;
    if length as u64 > MAX_FILE_BYTES {
        return Err(at_fault("the file is larger than 64 MiB"));
    }
    parse(&bytes, mapping).map_err(|failure| failure.of(&file.display().to_string()))
}

fn parse(bytes: &[u8], mapping: Option<Mapping>) -> Result<Register, Failure> {
    let (text, encoding) = encoding::decode(bytes).map_err(Failure::input)?;
    let mappings = mapping.map_or_else(Mapping::built_in, |mapping| Ok(vec![mapping]))?;
    let Layout { separator, separated_by, mapping, headings, columns, rows } =
        layout::find(&text, &mappings)?;
    let mut register = Register {
        mapping,
        encoding,
        separator,
        separated_by,
        headings,
        heading_rows: rows,
        columns,
        rows: Vec::new(),
        findings: Vec::new(),
        empty: 0,
    };
    register.judge_headings();
    if !encoding.starts_with("UTF-8") {
        let notice = Finding::of_row(1, 1, String::new(), "ENCODING").weighing(Severity::Notice);
        register.findings.push(notice.noting(encoding));
    }
    take_rows(&mut register, &text);
    if register.is_refused() {
        register.rows.clear();
    } else if register.rows.is_empty() && !register.findings.iter().any(Finding::is_fault) {
        let (line, row) = register.heading_place();
        register.findings.push(Finding::of_file(line, row, "FILE_WITHOUT_MARKS"));
    }
    register.judge_codes();
    Ok(register)
}

fn take_rows(register: &mut Register, text: &str) {
    let (first, last) = (register.heading_rows.first().map_or(0, |row| row.row), register.heading_place().1);
    let mut left_out = doubts::LeftOut::new(register.columns.len());
    for record in Records::new(text, register.separator) {
        match record {
            Err(fault) => {
                let column = register.heading(fault.column);
                let finding = Finding::of_file(fault.line, fault.row, fault.reason);
                register.findings.push(Finding { column, ..finding });
            }
            Ok(record) if record.row < first => take_title(register, &record),
            Ok(record) if record.row > last => {
                left_out.count(register, &record);
                rows::take(register, &record);
            }
            Ok(record) if doubts::runs_over_rows(register, &record) => {
                register.findings.push(Finding::of_file(record.line, record.row, "QUOTE_DOUBTFUL"));
            }
            Ok(_) => {}
        }
    }
    let faults = left_out.faults(register);
    register.findings.extend(faults);
}

/// Takes a row above the headings: a title, unless it reads as one of the register's.
fn take_title(register: &mut Register, record: &Record) {
    if record.cells.iter().all(|cell| cells::clean(cell).is_empty()) {
        return;
    }
    let finding = if doubts::runs_over_rows(register, record) {
        Finding::of_file(record.line, record.row, "QUOTE_DOUBTFUL")
    } else if rows::is_of_the_register(register, record) {
        Finding::of_file(record.line, record.row, "ROW_BEFORE_HEADINGS")
    } else {
        Finding::of_row(record.line, record.row, String::new(), "TITLE_ROW").weighing(Severity::Notice)
    };
    register.findings.push(finding);
}
