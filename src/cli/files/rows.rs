//! Conversion of a row into marks: one mark, or one for each session column.

use super::cells::{self, clean};
use super::csv_reader::CsvRecord;
use super::dates;
use super::headings::Column;
use super::mapping::{Field, Mapping, Shape};
use super::{Diagnostic, FileMark, Register, Severity, structure_checks};
use crate::calendar::Date;
use crate::proto::v1::mark::{Child, Statement};
use crate::proto::v1::{Mark, SeenMark, Session};

/// Fault of a cell: its column index, the reason, and a hint about a mapping that would read it.
type CellFault = (usize, &'static str, Option<&'static str>);

/// Fields of a row that its marks share.
struct ParsedRow {
    /// Mark with the shared fields set.
    mark: Mark,
    upn: Option<String>,
    reference: Option<String>,
    placement: Option<String>,
    date: Option<Date>,
    week_commencing: Option<Date>,
    faults: Vec<CellFault>,
}

/// Adds the marks of one row to the register, or diagnostics that give the reason why it has none.
pub fn read_row(register: &mut Register, record: &CsvRecord) {
    if record.cells.iter().all(|cell| clean(cell).is_empty()) {
        return;
    }
    let (line, row) = (record.line, record.row);
    let notice = |register: &mut Register, reason: &str| {
        let finding = Diagnostic::for_row(line, row, String::new(), reason).with_severity(Severity::Notice);
        register.diagnostics.push(finding);
    };
    if let Some(column) = structure_checks::find_swallowed_rows(register, record) {
        let finding = Diagnostic {
            column: register.heading(column),
            ..Diagnostic::for_file(line, row, "QUOTE_DOUBTFUL")
        };
        register.diagnostics.push(finding);
        return;
    }
    if structure_checks::is_repeated_heading(register, record) {
        return notice(register, "HEADING_REPEATED");
    }
    if structure_checks::is_total_row(register, record) {
        return notice(register, "TOTAL_ROW");
    }
    let mut read = parse_row(&register.mapping, &register.columns, record);
    let (marks, empty) = marks_of_row(register, &mut read, record);
    register.empty_cells += empty;
    let too_long = record.cells.iter().skip(register.headings.len()).any(|cell| !clean(cell).is_empty());
    let out_of_step =
        structure_checks::is_misaligned(register, record, marks.is_empty(), !read.faults.is_empty());
    if too_long || out_of_step {
        register.diagnostics.push(Diagnostic::for_row(line, row, String::new(), "ROW_LENGTH"));
        return;
    }
    // A row without a mark is not sent, so only its faults that make other rows ambiguous are reported.
    let faults =
        read.faults.iter().filter(|(_, reason, _)| !marks.is_empty() || *reason == "DATE_MONTH_FIRST");
    let faults: Vec<Diagnostic> = faults
        .map(|(at, reason, hint)| {
            let fault = Diagnostic::for_row(line, row, register.heading(*at), reason);
            hint.map(|hint| fault.clone().with_note(hint)).unwrap_or(fault)
        })
        .collect();
    if marks.is_empty() && faults.is_empty() {
        return notice(register, "NO_MARK");
    }
    if faults.is_empty() {
        register.marks.extend(marks.into_iter().map(|(column, mark)| FileMark {
            line,
            row_number: row,
            mark,
            column,
        }));
    }
    register.diagnostics.extend(faults);
}

/// Returns whether a row above the headings could be a row of the register: it has a child, a date and a mark.
pub fn is_register_row(register: &Register, record: &CsvRecord) -> bool {
    let mut read = parse_row(&register.mapping, &register.columns, record);
    let named = read.upn.is_some() || read.reference.is_some() || read.placement.is_some();
    named && marks_of_row(register, &mut read, record).0.iter().any(|(_, mark)| !mark.date.is_empty())
}

fn parse_row(mapping: &Mapping, columns: &[Column], record: &CsvRecord) -> ParsedRow {
    let mut read = ParsedRow {
        mark: Mark::default(),
        upn: None,
        reference: None,
        placement: None,
        date: None,
        week_commencing: None,
        faults: Vec::new(),
    };
    for (field, words) in &mapping.defaults {
        if !columns.contains(&Column::Field(*field)) {
            // A default that cannot be parsed is a fault of every row; it is reported at the first column.
            read.set_field_or_fault(mapping, *field, words, 0);
        }
    }
    for (at, (column, cell)) in columns.iter().zip(&record.cells).enumerate() {
        if let Column::Field(field) = column {
            read.set_field_or_fault(mapping, *field, cell, at);
        }
    }
    read.set_child();
    read.clear_zero_minutes_late();
    read
}

impl ParsedRow {
    fn set_field_or_fault(&mut self, mapping: &Mapping, field: Field, cell: &str, at: usize) {
        if let Err(reason) = self.set_field(mapping, field, cell) {
            let hint = if reason == "DATE_FORMAT" { dates::mapping_hint(&clean(cell)) } else { None };
            self.faults.push((at, reason, hint));
        }
    }

    /// Sets the field that a cell holds; an empty cell sets nothing.
    fn set_field(&mut self, mapping: &Mapping, field: Field, cell: &str) -> Result<(), &'static str> {
        let mark = &mut self.mark;
        let cell = if field == Field::Comment { cell.trim().to_owned() } else { clean(cell) };
        if cell.is_empty() {
            return Ok(());
        }
        let date = || dates::parse_date(&cell, &mapping.dates);
        let time = || cells::parse_time(&cell, &mapping.times).map(|time| time.to_string());
        match field {
            // UPNs are upper case, but are often written in lower case.
            Field::Upn => self.upn = Some(cell.to_ascii_uppercase()),
            Field::ProviderReference => self.reference = Some(cell),
            Field::PlacementId => self.placement = Some(cell),
            Field::Surname => mark.surname = cell,
            Field::Forename => mark.forename = cell,
            Field::DateOfBirth => mark.date_of_birth = date()?.to_string(),
            Field::Date => {
                let day = date()?;
                (self.date, mark.date) = (Some(day), day.to_string());
            }
            Field::Session => mark.session = mapping.parse_session(&cell)? as i32,
            Field::StartTime => {
                mark.start_time = time()?;
                mark.session = Session::Timed as i32;
            }
            Field::EndTime => mark.end_time = time()?,
            Field::Mark => mark.statement = mapping.parse_statement(&cell),
            Field::MinutesLate => mark.minutes_late = Some(cells::parse_minutes(&cell)?),
            Field::MinutesPlanned => mark.minutes_planned = Some(cells::parse_minutes(&cell)?),
            Field::MinutesAttended => mark.minutes_attended = Some(cells::parse_minutes(&cell)?),
            Field::Site => mark.site = cell,
            Field::Comment => mark.comment = cell,
            Field::WeekCommencing => {
                let monday = date()?;
                if monday.days_since_monday() != 0 {
                    return Err("NOT_A_MONDAY");
                }
                self.week_commencing = Some(monday);
            }
            Field::Marks => {}
        }
        Ok(())
    }

    /// Identifies the child by placement id, UPN or provider reference, in this order. The gateway checks the others
    /// against it.
    fn set_child(&mut self) {
        let mark = &mut self.mark;
        if let Some(placement) = &self.placement {
            mark.child = Some(Child::PlacementId(placement.clone()));
            mark.check_upn = self.upn.clone().unwrap_or_default();
        } else {
            mark.child = self.upn.clone().map(Child::Upn);
        }
        match (&mark.child, &self.reference) {
            (None, Some(reference)) => mark.child = Some(Child::ProviderReference(reference.clone())),
            (Some(_), Some(reference)) => mark.check_provider_reference.clone_from(reference),
            (_, None) => {}
        }
    }

    /// Clears `minutes_late` if it is 0 and the mark is not late, because some systems write 0 into every row.
    fn clear_zero_minutes_late(&mut self) {
        let mark = &mut self.mark;
        let late = match &mark.statement {
            Some(Statement::Code(code)) => matches!(code.as_str(), "L" | "U"),
            Some(Statement::Seen(seen)) => *seen == SeenMark::Late as i32,
            None => false,
        };
        if mark.minutes_late == Some(0) && !late {
            mark.minutes_late = None;
        }
    }
}

/// Returns the marks of a row, each with its column, and the number of its mark cells that are empty.
fn marks_of_row(
    register: &Register,
    read: &mut ParsedRow,
    record: &CsvRecord,
) -> (Vec<(usize, Mark)>, usize) {
    if register.mapping.shape == Shape::MarkARow {
        let mark = Column::Field(Field::Mark);
        let at = register.columns.iter().position(|column| *column == mark).unwrap_or(0);
        return match read.mark.statement {
            None => (Vec::new(), 1),
            Some(_) => (vec![(at, read.mark.clone())], 0),
        };
    }
    let (mut marks, mut empty) = (Vec::new(), 0);
    for (at, date, session, cell) in session_cells(register, read, record) {
        let Some(statement) = register.mapping.parse_statement(&cell) else {
            empty += 1;
            continue;
        };
        let session = session as i32;
        marks.push((at, Mark { date, session, statement: Some(statement), ..read.mark.clone() }));
    }
    (marks, empty)
}

/// Returns the session cells of a row: column index, date, session and text.
fn session_cells(
    register: &Register,
    read: &mut ParsedRow,
    record: &CsvRecord,
) -> Vec<(usize, String, Session, String)> {
    let mut sessions = Vec::new();
    for (at, (column, cell)) in register.columns.iter().zip(&record.cells).enumerate() {
        let of_week = |days: i32| {
            read.week_commencing.map(|monday| monday.plus_days(days).to_string()).unwrap_or_default()
        };
        match column {
            Column::Session(date, session) => sessions.push((at, date.to_string(), *session, clean(cell))),
            Column::Weekday(days, session) => sessions.push((at, of_week(*days), *session, clean(cell))),
            Column::HalfDay(session) => {
                let day = read.date.map(|day| day.to_string()).unwrap_or_default();
                sessions.push((at, day, *session, clean(cell)));
            }
            Column::Field(Field::Marks) => match cells::parse_week_of_marks(cell) {
                Ok(marks) => {
                    for (marked, half) in marks.into_iter().zip(0..) {
                        let session = if half % 2 == 0 { Session::Am } else { Session::Pm };
                        sessions.push((at, of_week(half / 2), session, marked));
                    }
                }
                Err(reason) => {
                    read.faults.push((at, reason, None));
                    // A placeholder, so that the row counts as one with marks although their days are unknown.
                    sessions.push((at, String::new(), Session::Am, "?".to_owned()));
                }
            },
            _ => {}
        }
    }
    sessions
}
