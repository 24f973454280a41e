//! A row of the file as marks: one, or one for each session that has a column.

use super::cells::{self, clean};
use super::dates;
use super::headings::Column;
use super::mapping::{Field, Mapping, Shape};
use super::records::Record;
use super::{Finding, Register, Row, Severity, doubts};
use crate::calendar::Date;
use crate::proto::v1::mark::{Child, Statement};
use crate::proto::v1::{Mark, SeenMark, Session};

/// A cell that cannot be read: its column, the reason, what a mapping could do.
type CellFault = (usize, &'static str, Option<&'static str>);

/// What the columns of a row say together.
struct Read {
    /// All that is not of one session.
    mark: Mark,
    upn: Option<String>,
    reference: Option<String>,
    placement: Option<String>,
    day: Option<Date>,
    week: Option<Date>,
    faults: Vec<CellFault>,
}

/// Takes the marks of one row, or says why there are none.
pub fn take(register: &mut Register, record: &Record) {
    if record.cells.iter().all(|cell| clean(cell).is_empty()) {
        return;
    }
    let (line, row) = (record.line, record.row);
    let notice = |register: &mut Register, reason: &str| {
        let finding = Finding::of_row(line, row, String::new(), reason).weighing(Severity::Notice);
        register.findings.push(finding);
    };
    if let Some(column) = doubts::swallowed_rows(register, record) {
        let finding =
            Finding { column: register.heading(column), ..Finding::of_file(line, row, "QUOTE_DOUBTFUL") };
        register.findings.push(finding);
        return;
    }
    if doubts::is_heading(register, record) {
        return notice(register, "HEADING_REPEATED");
    }
    if doubts::is_total(register, record) {
        return notice(register, "TOTAL_ROW");
    }
    let mut read = read(&register.mapping, &register.columns, record);
    let (marks, empty) = marks(register, &mut read, record);
    register.empty += empty;
    let too_long = record.cells.iter().skip(register.headings.len()).any(|cell| !clean(cell).is_empty());
    let out_of_step = doubts::is_out_of_step(register, record, marks.is_empty(), !read.faults.is_empty());
    if too_long || out_of_step {
        register.findings.push(Finding::of_row(line, row, String::new(), "ROW_LENGTH"));
        return;
    }
    // Of the faults of a row without a mark only those matter that make other rows doubtful.
    let faults =
        read.faults.iter().filter(|(_, reason, _)| !marks.is_empty() || *reason == "DATE_MONTH_FIRST");
    let faults: Vec<Finding> = faults
        .map(|(at, reason, hint)| {
            let fault = Finding::of_row(line, row, register.heading(*at), reason);
            hint.map(|hint| fault.clone().noting(hint)).unwrap_or(fault)
        })
        .collect();
    if marks.is_empty() && faults.is_empty() {
        return notice(register, "NO_MARK");
    }
    if faults.is_empty() {
        register.rows.extend(marks.into_iter().map(|(column, mark)| Row { line, number: row, mark, column }));
    }
    register.findings.extend(faults);
}

/// Whether a row above the headings would be one of the register.
pub fn is_of_the_register(register: &Register, record: &Record) -> bool {
    let mut read = read(&register.mapping, &register.columns, record);
    let named = read.upn.is_some() || read.reference.is_some() || read.placement.is_some();
    named && marks(register, &mut read, record).0.iter().any(|(_, mark)| !mark.date.is_empty())
}

fn read(mapping: &Mapping, columns: &[Column], record: &Record) -> Read {
    let mut read = Read {
        mark: Mark::default(),
        upn: None,
        reference: None,
        placement: None,
        day: None,
        week: None,
        faults: Vec::new(),
    };
    for (field, words) in &mapping.defaults {
        if !columns.contains(&Column::Field(*field)) {
            // A default that cannot be read is a fault of every row, under the first column.
            read.take(mapping, *field, words, 0);
        }
    }
    for (at, (column, cell)) in columns.iter().zip(&record.cells).enumerate() {
        if let Column::Field(field) = column {
            read.take(mapping, *field, cell, at);
        }
    }
    read.name_child();
    read.leave_out_no_minutes();
    read
}

impl Read {
    fn take(&mut self, mapping: &Mapping, field: Field, cell: &str, at: usize) {
        if let Err(reason) = self.fill(mapping, field, cell) {
            let hint = if reason == "DATE_FORMAT" { dates::hint(&clean(cell)) } else { None };
            self.faults.push((at, reason, hint));
        }
    }

    /// Puts what a cell says in its place; an empty cell says nothing.
    fn fill(&mut self, mapping: &Mapping, field: Field, cell: &str) -> Result<(), &'static str> {
        let mark = &mut self.mark;
        let cell = if field == Field::Comment { cell.trim().to_owned() } else { clean(cell) };
        if cell.is_empty() {
            return Ok(());
        }
        let date = || dates::date(&cell, &mapping.dates);
        let time = || cells::time(&cell, &mapping.times).map(|time| time.to_string());
        match field {
            // Pupil numbers are capitals; spreadsheets and people write them small.
            Field::Upn => self.upn = Some(cell.to_ascii_uppercase()),
            Field::ProviderReference => self.reference = Some(cell),
            Field::PlacementId => self.placement = Some(cell),
            Field::Surname => mark.surname = cell,
            Field::Forename => mark.forename = cell,
            Field::DateOfBirth => mark.date_of_birth = date()?.to_string(),
            Field::Date => {
                let day = date()?;
                (self.day, mark.date) = (Some(day), day.to_string());
            }
            Field::Session => mark.session = mapping.session(&cell)? as i32,
            Field::StartTime => {
                mark.start_time = time()?;
                mark.session = Session::Timed as i32;
            }
            Field::EndTime => mark.end_time = time()?,
            Field::Mark => mark.statement = mapping.statement(&cell),
            Field::MinutesLate => mark.minutes_late = Some(cells::minutes(&cell)?),
            Field::MinutesPlanned => mark.minutes_planned = Some(cells::minutes(&cell)?),
            Field::MinutesAttended => mark.minutes_attended = Some(cells::minutes(&cell)?),
            Field::Site => mark.site = cell,
            Field::Comment => mark.comment = cell,
            Field::WeekCommencing => {
                let monday = date()?;
                if monday.days_since_monday() != 0 {
                    return Err("NOT_A_MONDAY");
                }
                self.week = Some(monday);
            }
            Field::Marks => {}
        }
        Ok(())
    }

    /// Names the child by the surest identifier; the gateway checks the others against it.
    fn name_child(&mut self) {
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

    /// Drops "0 minutes late" beside a mark that is not late: systems write it into every row.
    fn leave_out_no_minutes(&mut self) {
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

/// The marks of a row, each with its column, and how many of its cells hold none.
fn marks(register: &Register, read: &mut Read, record: &Record) -> (Vec<(usize, Mark)>, usize) {
    if register.mapping.shape == Shape::MarkARow {
        let mark = Column::Field(Field::Mark);
        let at = register.columns.iter().position(|column| *column == mark).unwrap_or(0);
        return match read.mark.statement {
            None => (Vec::new(), 1),
            Some(_) => (vec![(at, read.mark.clone())], 0),
        };
    }
    let (mut marks, mut empty) = (Vec::new(), 0);
    for (at, date, session, cell) in sessions(register, read, record) {
        let Some(statement) = register.mapping.statement(&cell) else {
            empty += 1;
            continue;
        };
        let session = session as i32;
        marks.push((at, Mark { date, session, statement: Some(statement), ..read.mark.clone() }));
    }
    (marks, empty)
}

/// The cells of a row that hold marks: column, day, session and what stands there.
fn sessions(register: &Register, read: &mut Read, record: &Record) -> Vec<(usize, String, Session, String)> {
    let mut sessions = Vec::new();
    for (at, (column, cell)) in register.columns.iter().zip(&record.cells).enumerate() {
        let of_week =
            |days: i32| read.week.map(|monday| monday.plus_days(days).to_string()).unwrap_or_default();
        match column {
            Column::Session(date, session) => sessions.push((at, date.to_string(), *session, clean(cell))),
            Column::Weekday(days, session) => sessions.push((at, of_week(*days), *session, clean(cell))),
            Column::Half(session) => {
                let day = read.day.map(|day| day.to_string()).unwrap_or_default();
                sessions.push((at, day, *session, clean(cell)));
            }
            Column::Field(Field::Marks) => match cells::week_of_marks(cell) {
                Ok(marks) => {
                    for (marked, half) in marks.into_iter().zip(0..) {
                        let session = if half % 2 == 0 { Session::Am } else { Session::Pm };
                        sessions.push((at, of_week(half / 2), session, marked));
                    }
                }
                Err(reason) => {
                    read.faults.push((at, reason, None));
                    // The row has marks, although it cannot be said of which days.
                    sessions.push((at, String::new(), Session::Am, "?".to_owned()));
                }
            },
            _ => {}
        }
    }
    sessions
}
