//! Reader of attendance registers and tutors' logs: parses a CSV file, or the first sheet of a workbook, into marks. A
//! mapping assigns each column to a field; each fault is reported by line, row, column and reason.
//!
//! Safety rule: a cell of one child's row must never reach another child's mark. A file in which that could happen is
//! refused whole.

mod cells;
mod csv_reader;
mod dates;
pub(super) mod diagnostics;
mod encoding;
mod headings;
mod layout;
mod mapping;
pub mod preview;
mod rows;
mod sheet_checks;
mod structure_checks;
#[cfg(test)]
mod tests;
mod workbook;

use std::collections::BTreeMap;
use std::path::Path;

use csv_reader::{CsvReader, CsvRecord};
pub use diagnostics::{Diagnostic, Severity, fault_lines, remark_lines};
use headings::Column;
use layout::Layout;
use mapping::{CHILD_IDENTIFIERS, Field, Mapping};

use super::{Failure, input};
use crate::calendar::Date;
use crate::codes::attendance::{AttendanceClass, AttendanceCode};
use crate::proto::v1::Mark;
use crate::proto::v1::mark::Statement;

/// Largest file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// A mark of a file, as it will be sent, with its position in the file.
#[derive(Clone)]
pub struct FileMark {
    /// Line in the file, from 1.
    pub line: u64,
    /// Row number as a spreadsheet counts rows, from 1.
    pub row_number: u64,
    /// The mark.
    pub mark: Mark,
    /// Index of the column that holds the mark, from 0.
    column: usize,
}

impl FileMark {
    /// Makes a row for a mark that was not read from a file.
    #[cfg(feature = "world")]
    pub fn without_file(mark: Mark) -> Self {
        Self { line: 1, row_number: 1, mark, column: 0 }
    }
}

/// A register file that was read.
pub struct Register {
    /// The mapping by which the file was read.
    mapping: Mapping,
    /// Name of the text encoding.
    pub encoding: &'static str,
    separator: char,
    separator_name: &'static str,
    /// Name of the sheet, if the file is a workbook.
    sheet: Option<String>,
    headings: Vec<String>,
    /// The one or two rows that hold the headings.
    heading_rows: Vec<CsvRecord>,
    columns: Vec<Column>,
    /// Marks in the order of the file; empty if the file is refused.
    pub marks: Vec<FileMark>,
    /// Diagnostics: faults, warnings and notices.
    pub diagnostics: Vec<Diagnostic>,
    /// Number of mark cells that are empty.
    empty_cells: usize,
}

impl Register {
    /// Returns the heading of the column that holds a field of `Mark`, named as in the protocol.
    #[must_use]
    pub fn heading_of_field(&self, row: &FileMark, field: &str) -> String {
        let index_of = |field: Field| self.columns.iter().position(|column| *column == Column::Field(field));
        let at = match field {
            "code" | "seen" | "" => Some(row.column),
            "upn" | "provider_reference" | "placement_id" => CHILD_IDENTIFIERS.into_iter().find_map(index_of),
            "check_upn" => index_of(Field::Upn),
            "check_provider_reference" => index_of(Field::ProviderReference),
            "date" | "session" => Field::by_name(field).and_then(index_of).or(Some(row.column)),
            other => Field::by_name(other).and_then(index_of),
        };
        at.map_or_else(|| field.to_owned(), |at| self.heading(at))
    }

    /// Returns whether the file as a whole is refused, so that none of its rows is sent.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.diagnostics.iter().any(|finding| finding.severity == Severity::Refusal)
    }

    /// Returns the heading of a column for display.
    fn heading(&self, at: usize) -> String {
        match self.headings.get(at) {
            Some(heading) if !heading.is_empty() => headings::display_heading(heading),
            _ => format!("column {}", at + 1),
        }
    }

    /// Returns the line and row of the headings.
    fn heading_position(&self) -> (u64, u64) {
        self.heading_rows.last().map_or((1, 1), |record| (record.line, record.row))
    }

    /// Adds the faults of the headings; each refuses the whole file.
    fn check_headings(&mut self) {
        let (line, row) = self.heading_position();
        for (at, reason) in headings::column_faults(&self.columns) {
            let column = self.heading(at);
            self.diagnostics.push(Diagnostic { column, ..Diagnostic::for_file(line, row, reason) });
        }
    }

    /// Warns once if most marks are the same activity code. P means sport, although many people write it for "present".
    fn warn_if_mostly_activity(&mut self) {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for row in &self.marks {
            if let Some(Statement::Code(code)) = &row.mark.statement {
                *counts.entry(code).or_default() += 1;
            }
        }
        let activity = |code: &str| {
            let day = self.marks.first().and_then(|row| Date::parse(&row.mark.date).ok())?;
            let code = AttendanceCode::parse_on(code, day).ok()?;
            (code.class() == AttendanceClass::ApprovedEducationalActivity).then(|| code.meaning())
        };
        let most = counts.into_iter().find(|(_, count)| count * 2 > self.marks.len());
        if let Some((code, meaning)) = most.and_then(|(code, _)| Some((code, activity(code)?))) {
            let (line, row) = self.heading_position();
            let column = self.marks.first().map(|row| self.heading(row.column)).unwrap_or_default();
            let finding =
                Diagnostic::for_row(line, row, column, "MOSTLY_ACTIVITY").with_severity(Severity::Warning);
            let finding = finding.with_note(format!("{code}: {meaning}"));
            self.diagnostics.push(finding);
        }
    }
}

/// Reads a file with the given mapping, or with the built-in mapping that fits its headings.
///
/// # Errors
/// Exit code 64 if the file is not a register, 78 if the mapping is invalid.
pub fn read_file(file: &Path, mapping: Option<&Path>) -> Result<Register, Failure> {
    let mapping = mapping.map(Mapping::load).transpose()?;
    let bytes = input::read_bytes(file, MAX_FILE_BYTES)?;
    parse(&bytes, mapping).map_err(|failure| failure.with_subject(&input::name_of(file)))
}

fn parse(bytes: &[u8], mapping: Option<Mapping>) -> Result<Register, Failure> {
    let sheet = workbook::is_workbook(bytes).then(|| workbook::read(bytes)).transpose()?;
    let (text, encoding) = match &sheet {
        Some(sheet) => (sheet.text.clone(), "UTF-8"),
        None => encoding::decode(bytes).map_err(Failure::input)?,
    };
    let mut mappings = mapping.map_or_else(Mapping::built_in, |mapping| Ok(vec![mapping]))?;
    if sheet.is_some() {
        mappings.iter_mut().for_each(Mapping::accept_iso_dates);
    }
    let separator = sheet.as_ref().map(|_| ',');
    let Layout { separator, separator_name: separated_by, mapping, headings, columns, heading_rows: rows } =
        layout::detect(&text, &mappings, separator)?;
    let mut register = Register {
        mapping,
        encoding,
        separator,
        separator_name: separated_by,
        sheet: sheet.as_ref().map(|sheet| sheet.name.clone()),
        headings,
        heading_rows: rows,
        columns,
        marks: Vec::new(),
        diagnostics: Vec::new(),
        empty_cells: 0,
    };
    register.check_headings();
    if !encoding.starts_with("UTF-8") {
        let notice = Diagnostic::for_row(1, 1, String::new(), "ENCODING").with_severity(Severity::Notice);
        register.diagnostics.push(notice.with_note(encoding));
    }
    read_rows(&mut register, &text);
    if let Some(sheet) = &sheet {
        sheet_checks::check_sheet(&mut register, sheet, &text);
    }
    if register.is_refused() {
        register.marks.clear();
    } else if register.marks.is_empty() && !register.diagnostics.iter().any(Diagnostic::is_fault) {
        let (line, row) = register.heading_position();
        register.diagnostics.push(Diagnostic::for_file(line, row, "FILE_WITHOUT_MARKS"));
    }
    register.warn_if_mostly_activity();
    Ok(register)
}

fn read_rows(register: &mut Register, text: &str) {
    let (first, last) =
        (register.heading_rows.first().map_or(0, |row| row.row), register.heading_position().1);
    let mut left_out = structure_checks::UnreadMarkColumns::new(register.columns.len());
    for record in CsvReader::new(text, register.separator) {
        match record {
            Err(fault) => {
                let column = register.heading(fault.column);
                let finding = Diagnostic::for_file(fault.line, fault.row, fault.reason);
                register.diagnostics.push(Diagnostic { column, ..finding });
            }
            Ok(record) if record.row < first => check_title_row(register, &record),
            Ok(record) if record.row > last => {
                left_out.count_row(register, &record);
                rows::read_row(register, &record);
            }
            Ok(record) if structure_checks::may_contain_rows(register, &record) => {
                register.diagnostics.push(Diagnostic::for_file(record.line, record.row, "QUOTE_DOUBTFUL"));
            }
            Ok(_) => {}
        }
    }
    let faults = left_out.faults(register);
    register.diagnostics.extend(faults);
}

/// Reports a row above the headings: as a title, or as a fault if it could be a row of the register.
fn check_title_row(register: &mut Register, record: &CsvRecord) {
    if record.cells.iter().all(|cell| cells::clean(cell).is_empty()) {
        return;
    }
    let finding = if structure_checks::may_contain_rows(register, record) {
        Diagnostic::for_file(record.line, record.row, "QUOTE_DOUBTFUL")
    } else if rows::is_register_row(register, record) {
        Diagnostic::for_file(record.line, record.row, "ROW_BEFORE_HEADINGS")
    } else {
        Diagnostic::for_row(record.line, record.row, String::new(), "TITLE_ROW")
            .with_severity(Severity::Notice)
    };
    register.diagnostics.push(finding);
}
