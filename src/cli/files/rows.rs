//! A row of the file as marks: one, or one for each session that has a column.

use csv::StringRecord;

use super::cells;
use super::mapping::{Column, Field, Mapping, Shape};
use super::text::clean;
use super::{Finding, Register, Row, Severity};
use crate::calendar::Date;
use crate::proto::v1::mark::Child;
use crate::proto::v1::{Mark, Session};

/// What the columns of a row say together.
struct Read {
    /// All that is not of one session.
    mark: Mark,
    week: Option<Date>,
    /// The columns that cannot be read, each with its reason.
    faults: Vec<(usize, &'static str)>,
}

/// Finds what is wrong with the headings: sessions on no day, and two columns for one.
pub fn headings(register: &mut Register) {
    let mut found = Vec::new();
    for (at, column) in register.columns.iter().enumerate() {
        let before = register.columns.iter().take(at);
        match column {
            Column::Unreadable(reason) => found.push((at, *reason)),
            Column::Session(..) | Column::Weekday(..) if before.clone().any(|earlier| earlier == column) => {
                found.push((at, "COLUMN_REPEATED"));
            }
            _ => {}
        }
    }
    for (at, reason) in found {
        register.fault(1, at, reason);
    }
}

/// Takes the marks of one row.
pub fn take(register: &mut Register, line: u64, record: &StringRecord) {
    if record.iter().all(|cell| clean(cell).is_empty()) {
        return;
    }
    if record.len() != register.headings.len() {
        register.fault(line, 0, "ROW_LENGTH");
        return;
    }
    let read = read(&register.mapping, &register.columns, record);
    let marks = match register.mapping.shape {
        Shape::MarkARow => one(register, read.mark),
        Shape::ChildARow => a_session_each(register, &read, record),
    };
    // Nothing is said of a row without a mark.
    if marks.is_empty() {
        return;
    }
    for (at, reason) in &read.faults {
        register.fault(line, *at, reason);
    }
    if read.faults.is_empty() {
        register.rows.extend(marks.into_iter().map(|(column, mark)| Row { line, mark, column }));
    }
}

fn read(mapping: &Mapping, columns: &[Column], record: &StringRecord) -> Read {
    let mut read = Read { mark: Mark::default(), week: None, faults: Vec::new() };
    for (field, words) in &mapping.defaults {
        if !columns.contains(&Column::Field(*field)) {
            // A default that cannot be read is told at every row, under the first column.
            read.fill(mapping, *field, words).unwrap_or_else(|reason| read.faults.push((0, reason)));
        }
    }
    for (at, (column, cell)) in columns.iter().zip(record).enumerate() {
        if let Column::Field(field) = column {
            read.fill(mapping, *field, cell).unwrap_or_else(|reason| read.faults.push((at, reason)));
        }
    }
    read
}

impl Read {
    /// Puts what a cell says in its place; an empty cell says nothing.
    fn fill(&mut self, mapping: &Mapping, field: Field, cell: &str) -> Result<(), &'static str> {
        let mark = &mut self.mark;
        let cell = if field == Field::Comment { cell.trim().to_owned() } else { clean(cell) };
        if cell.is_empty() {
            return Ok(());
        }
        match field {
            // Pupil numbers are capitals; spreadsheets and people write them small.
            Field::Upn => mark.child = Some(Child::Upn(cell.to_ascii_uppercase())),
            Field::ProviderReference if mark.child.is_none() => {
                mark.child = Some(Child::ProviderReference(cell));
            }
            Field::PlacementId if mark.child.is_none() => mark.child = Some(Child::PlacementId(cell)),
            Field::Surname => mark.surname = cell,
            Field::Forename => mark.forename = cell,
            Field::DateOfBirth => mark.date_of_birth = cells::date(&cell, &mapping.dates)?.to_string(),
            Field::Date => mark.date = cells::date(&cell, &mapping.dates)?.to_string(),
            Field::Session => mark.session = cells::session(&cell)? as i32,
            Field::StartTime => {
                mark.start_time = cells::time(&cell)?.to_string();
                mark.session = Session::Timed as i32;
            }
            Field::EndTime => mark.end_time = cells::time(&cell)?.to_string(),
            Field::Mark => mark.statement = mapping.statement(&cell),
            Field::MinutesLate => mark.minutes_late = Some(cells::minutes(&cell)?),
            Field::MinutesPlanned => mark.minutes_planned = Some(cells::minutes(&cell)?),
            Field::MinutesAttended => mark.minutes_attended = Some(cells::minutes(&cell)?),
            Field::Site => mark.site = cell,
            Field::Comment => mark.comment = cell,
            Field::WeekCommencing => {
                let monday = cells::date(&cell, &mapping.dates)?;
                if monday.days_since_monday() != 0 {
                    return Err("NOT_A_MONDAY");
                }
                self.week = Some(monday);
            }
            Field::Marks | Field::ProviderReference | Field::PlacementId => {}
        }
        Ok(())
    }
}

fn one(register: &mut Register, mark: Mark) -> Vec<(usize, Mark)> {
    let at = register.columns.iter().position(|column| *column == Column::Field(Field::Mark)).unwrap_or(0);
    if mark.statement.is_none() {
        register.empty += 1;
        return Vec::new();
    }
    vec![(at, mark)]
}

fn a_session_each(register: &mut Register, read: &Read, record: &StringRecord) -> Vec<(usize, Mark)> {
    let mut sessions = Vec::new();
    for (at, (column, cell)) in register.columns.iter().zip(record).enumerate() {
        let of_week =
            |days: i32| read.week.map(|monday| monday.plus_days(days).to_string()).unwrap_or_default();
        match column {
            Column::Session(date, session) => sessions.push((at, date.to_string(), *session, clean(cell))),
            Column::Weekday(days, session) => sessions.push((at, of_week(*days), *session, clean(cell))),
            Column::Field(Field::Marks) => {
                for (marked, half) in cells::string_of_marks(cell).into_iter().zip(0..) {
                    let session = if half % 2 == 0 { Session::Am } else { Session::Pm };
                    let (week, day) = (half / 10, half % 10 / 2);
                    sessions.push((at, of_week(7 * week + day), session, marked));
                }
            }
            _ => {}
        }
    }
    let mut marks = Vec::with_capacity(sessions.len());
    for (at, date, session, cell) in sessions {
        let Some(statement) = register.mapping.statement(&cell) else {
            register.empty += 1;
            continue;
        };
        let session = session as i32;
        marks.push((at, Mark { date, session, statement: Some(statement), ..read.mark.clone() }));
    }
    marks
}

impl Register {
    fn fault(&mut self, line: u64, at: usize, reason: &str) {
        self.findings.push(Finding {
            line,
            column: self.headings.get(at).cloned().unwrap_or_default(),
            reason: reason.to_owned(),
            severity: Severity::Error,
        });
    }
}
