//! Mark-level registers as MIS systems export them: CSV, UTF-8 with or without a byte order mark, British
//! or ISO dates, one mark a row. What a row lacks is told by line, column and reason, never by its value.

use std::path::Path;

use csv::StringRecord;

use super::Failure;
use crate::calendar::Date;
use crate::proto::v1::mark::{Child, Statement};
use crate::proto::v1::{Mark, Session};

/// Largest file, in bytes.
const LARGEST: u64 = 64 << 20;

/// A row of the file, as it will be sent.
#[derive(Clone)]
pub struct Row {
    /// Line in the file, from 1.
    pub line: u64,
    /// The mark.
    pub mark: Mark,
}

/// The columns, by the names under which exports have them; case does not matter.
const COLUMNS: [(Column, &[&str]); 9] = [
    (Column::Upn, &["upn", "unique pupil number"]),
    (Column::Surname, &["legal surname", "surname"]),
    (Column::Forename, &["legal forename", "forename"]),
    (Column::DateOfBirth, &["date of birth", "dob"]),
    (Column::Date, &["date"]),
    (Column::Session, &["session"]),
    (Column::Mark, &["mark", "code"]),
    (Column::MinutesLate, &["minutes late", "mins late"]),
    (Column::Comment, &["comment", "comments"]),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Column {
    Upn,
    Surname,
    Forename,
    DateOfBirth,
    Date,
    Session,
    Mark,
    MinutesLate,
    Comment,
}

/// Reads a file: its good rows, and a sentence for every other.
///
/// # Errors
/// Exit code 64 when it is no register at all.
pub fn read(file: &Path) -> Result<(Vec<Row>, Vec<String>), Failure> {
    let told = |what: &str| Failure::input(format!("{}: {what}", file.display()));
    let size = std::fs::metadata(file).map_err(|_| told("the file cannot be read"))?.len();
    if size > LARGEST {
        return Err(told("the file is larger than 64 MiB"));
    }
    let bytes = std::fs::read(file).map_err(|_| told("the file cannot be read"))?;
    let text = String::from_utf8(bytes).map_err(|_| told("the file is not UTF-8"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    let heading = reader.headers().map_err(|_| told("the first line is not a CSV heading"))?;
    let columns: Vec<Option<Column>> = heading.iter().map(column).collect();
    for needed in [Column::Upn, Column::Date, Column::Session, Column::Mark] {
        if !columns.contains(&Some(needed)) {
            return Err(told("a register needs the columns UPN, Date, Session and Mark"));
        }
    }
    let (mut rows, mut faults, width) = (Vec::new(), Vec::new(), columns.len());
    for record in reader.records() {
        let record = record.map_err(|_| told("the file is not CSV to its end"))?;
        let line = record.position().map_or(0, csv::Position::line);
        if record.len() != width {
            faults.push(format!("line {line}: it has {} columns, the heading has {width}", record.len()));
            continue;
        }
        match mark(&columns, &record) {
            Ok(mark) => rows.push(Row { line, mark }),
            Err(found) => faults.extend(found.iter().map(|fault| format!("line {line}: {fault}"))),
        }
    }
    Ok((rows, faults))
}

fn column(heading: &str) -> Option<Column> {
    let heading = heading.trim().to_lowercase();
    COLUMNS.iter().find(|(_, names)| names.contains(&heading.as_str())).map(|(column, _)| *column)
}

fn mark(columns: &[Option<Column>], record: &StringRecord) -> Result<Mark, Vec<&'static str>> {
    let (mut mark, mut faults) = (Mark::default(), Vec::new());
    for (column, cell) in columns.iter().zip(record) {
        let cell = cell.trim();
        match column {
            None => {}
            Some(Column::DateOfBirth | Column::MinutesLate) if cell.is_empty() => {}
            Some(Column::Upn) => mark.child = Some(Child::Upn(cell.to_owned())),
            Some(Column::Surname) => cell.clone_into(&mut mark.surname),
            Some(Column::Forename) => cell.clone_into(&mut mark.forename),
            Some(Column::DateOfBirth) => match date(cell) {
                Some(date) => mark.date_of_birth = date,
                None => faults.push("Date of Birth: not a date as dd/mm/yyyy or yyyy-mm-dd"),
            },
            Some(Column::Date) => match date(cell) {
                Some(date) => mark.date = date,
                None => faults.push("Date: not a date as dd/mm/yyyy or yyyy-mm-dd"),
            },
            Some(Column::Session) => match cell {
                "AM" => mark.session = Session::Am as i32,
                "PM" => mark.session = Session::Pm as i32,
                _ => faults.push("Session: neither AM nor PM"),
            },
            Some(Column::Mark) if cell.is_empty() => faults.push("Mark: empty"),
            Some(Column::Mark) => mark.statement = Some(Statement::Code(cell.to_owned())),
            Some(Column::MinutesLate) => match cell.parse() {
                Ok(minutes) => mark.minutes_late = Some(minutes),
                Err(_) => faults.push("Minutes Late: not a whole number"),
            },
            Some(Column::Comment) => cell.clone_into(&mut mark.comment),
        }
    }
    if faults.is_empty() { Ok(mark) } else { Err(faults) }
}

/// A British or ISO date as ISO; a year has four digits, and a month is never guessed to come first.
fn date(cell: &str) -> Option<String> {
    let iso = match cell.split('/').collect::<Vec<_>>()[..] {
        [day, month, year] if day.len() <= 2 && month.len() <= 2 && year.len() == 4 => {
            format!("{year}-{month:0>2}-{day:0>2}")
        }
        _ => cell.to_owned(),
    };
    Date::parse(&iso).ok().map(|date| date.to_string())
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn a_date_is_british_or_iso_and_never_guessed() {
        assert_eq!(date("02/11/2026").as_deref(), Some("2026-11-02"));
        assert_eq!(date("2/9/2026").as_deref(), Some("2026-09-02"));
        assert_eq!(date("2026-11-02").as_deref(), Some("2026-11-02"));
        for wrong in ["11/13/2026", "02/11/26", "31/02/2026", "2026/11/02", "", "02-11-2026"] {
            assert_eq!(date(wrong), None);
        }
    }
}
