//! Preview of a file: prints what would be sent, and sends nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{Failure, output, print_line};
use super::headings::Column;
use super::mapping::Field;
use super::{FileMark, Register, fault_lines, remark_lines};
use crate::calendar::Date;
use crate::codes::attendance::AttendanceCode;
use crate::proto::v1::mark::{Child, Statement};
use crate::proto::v1::{Mark, SeenMark, Session};

/// Maximum number of marks that the preview lists.
const MAX_PREVIEW_ROWS: usize = 10;

/// Prints what would be sent: columns, the first marks and counts; with `json` every mark as protobuf JSON.
///
/// # Errors
/// Exit code 64 if a row or the file has a fault.
pub fn print_preview(register: &Register, json: bool) -> Result<(), Failure> {
    if json {
        for row in &register.marks {
            output::print_json("Mark", &row.mark)?;
        }
    } else {
        print_columns(register)?;
        if register.is_refused() {
            print_line("Nothing of the file would be sent");
        } else {
            print_marks(&register.marks);
            print_counts(register);
        }
    }
    if !json {
        for remark in remark_lines(&register.diagnostics) {
            print_line(&remark);
        }
    }
    let faults = fault_lines(&register.diagnostics);
    if faults.is_empty() { Ok(()) } else { Err(Failure::input(faults.join("\n"))) }
}

fn print_columns(register: &Register) -> Result<(), Failure> {
    let Register { mapping, encoding, separator_name: separated_by, sheet, .. } = register;
    print_line(&match sheet {
        Some(sheet) => format!("Read as {}, the sheet {sheet} of a workbook", mapping.name),
        None => format!("Read as {}, {encoding}, cells separated by {separated_by}", mapping.name),
    });
    let (mut ignored, mut sessions) = (Vec::new(), Vec::new());
    for (at, column) in register.columns.iter().enumerate() {
        let heading = register.heading(at);
        match column {
            Column::Field(field) => print_line(&format!("  {heading}: {}", field_name(*field)?)),
            Column::Session(..) | Column::Weekday(..) | Column::HalfDay(_) => sessions.push(heading),
            Column::Unknown | Column::Ignored => ignored.push(heading),
            Column::Unreadable(_) => {}
        }
    }
    if let (Some(first), Some(last)) = (sessions.first(), sessions.last()) {
        print_line(&format!("  {} columns of marks, from {first} to {last}", sessions.len()));
    }
    print_line(&format!(
        "Left out: {}",
        if ignored.is_empty() { "nothing".to_owned() } else { ignored.join(", ") }
    ));
    Ok(())
}

fn print_marks(rows: &[FileMark]) {
    let number = |minutes: Option<i32>| minutes.map(|minutes| minutes.to_string()).unwrap_or_default();
    let shown: Vec<[String; 7]> = (rows.iter().take(MAX_PREVIEW_ROWS))
        .map(|FileMark { line, mark, .. }| {
            [
                line.to_string(),
                child_identifier(mark),
                mark.date.clone(),
                session_text(mark),
                statement_text(mark),
                number(mark.minutes_late),
                number(mark.minutes_attended),
            ]
        })
        .collect();
    output::print_table(["LINE", "CHILD", "DATE", "SESSION", "MARK", "LATE", "ATTENDED"], &shown);
    if rows.len() > MAX_PREVIEW_ROWS {
        print_line(&format!("… and {} more", rows.len() - MAX_PREVIEW_ROWS));
    }
}

fn print_counts(register: &Register) {
    let mut marks: BTreeMap<(String, &str), usize> = BTreeMap::new();
    for row in &register.marks {
        *marks.entry((statement_text(&row.mark), statement_meaning(&row.mark))).or_default() += 1;
    }
    let children: BTreeSet<String> = register.marks.iter().map(|row| child_identifier(&row.mark)).collect();
    let days: BTreeSet<&str> = register.marks.iter().map(|row| row.mark.date.as_str()).collect();
    let marks: Vec<[String; 3]> = marks
        .into_iter()
        .map(|((mark, meaning), count)| [mark, count.to_string(), meaning.to_owned()])
        .collect();
    output::print_table(["MARK", "TIMES", "MEANING"], &marks);
    let (first, last) = (days.first().copied().unwrap_or("-"), days.last().copied().unwrap_or("-"));
    print_line(&format!(
        "{} marks of {} children on {} days, {first} to {last}; {} empty cells are no mark",
        register.marks.len(),
        children.len(),
        days.len(),
        register.empty_cells
    ));
    print_line("Nothing was sent");
}

/// Returns the name of a field in mappings.
fn field_name(field: Field) -> Result<String, Failure> {
    let name = serde_json::to_value(field).map_err(|error| Failure::bug("a field", error))?;
    Ok(name.as_str().unwrap_or_default().to_owned())
}

fn child_identifier(mark: &Mark) -> String {
    match &mark.child {
        Some(Child::Upn(name) | Child::ProviderReference(name) | Child::PlacementId(name)) => name.clone(),
        None => String::new(),
    }
}

fn session_text(mark: &Mark) -> String {
    match Session::try_from(mark.session) {
        Ok(Session::Timed) => format!("{}-{}", mark.start_time, mark.end_time),
        Ok(session) => session.as_str_name().trim_start_matches("SESSION_").to_owned(),
        Err(_) => String::new(),
    }
}

fn statement_text(mark: &Mark) -> String {
    match &mark.statement {
        Some(Statement::Code(code)) => code.clone(),
        Some(Statement::Seen(seen)) => {
            let seen = SeenMark::try_from(*seen).unwrap_or_default().as_str_name();
            seen.trim_start_matches("SEEN_MARK_").to_lowercase().replace('_', " ")
        }
        None => String::new(),
    }
}

/// Returns the meaning of a mark; a code is interpreted on its date.
fn statement_meaning(mark: &Mark) -> &'static str {
    match &mark.statement {
        Some(Statement::Code(code)) => {
            let code = Date::parse(&mark.date).ok().and_then(|day| AttendanceCode::parse_on(code, day).ok());
            code.map_or("not a code of that day", AttendanceCode::meaning)
        }
        Some(Statement::Seen(_)) => "as the provider saw it",
        None => "",
    }
}
