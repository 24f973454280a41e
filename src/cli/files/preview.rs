//! What a file would send, shown before anything is sent.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{Failure, output, say};
use super::headings::Column;
use super::mapping::Field;
use super::{Register, Row, faults, remarks};
use crate::calendar::Date;
use crate::codes::attendance::AttendanceCode;
use crate::proto::v1::mark::{Child, Statement};
use crate::proto::v1::{Mark, SeenMark, Session};

/// Rows that are shown.
const SHOWN: usize = 10;

/// Shows what would be sent; for scripts every mark, as it would be sent.
///
/// # Errors
/// Exit code 64 when a row cannot be read.
pub fn show(register: &Register, json: bool) -> Result<(), Failure> {
    if json {
        for row in &register.rows {
            output::json("Mark", &row.mark)?;
        }
    } else {
        columns(register)?;
        if register.is_refused() {
            say("Nothing of the file would be sent");
        } else {
            rows(&register.rows);
            counts(register);
        }
    }
    if !json {
        for remark in remarks(&register.findings) {
            say(&remark);
        }
    }
    let faults = faults(&register.findings);
    if faults.is_empty() { Ok(()) } else { Err(Failure::input(faults.join("\n"))) }
}

fn columns(register: &Register) -> Result<(), Failure> {
    let Register { mapping, encoding, separated_by, .. } = register;
    say(&format!("Read as {}, {encoding}, cells separated by {separated_by}", mapping.name));
    let (mut ignored, mut sessions) = (Vec::new(), Vec::new());
    for (at, column) in register.columns.iter().enumerate() {
        let heading = register.heading(at);
        match column {
            Column::Field(field) => say(&format!("  {heading}: {}", named(*field)?)),
            Column::Session(..) | Column::Weekday(..) | Column::Half(_) => sessions.push(heading),
            Column::Unknown | Column::Ignored => ignored.push(heading),
            Column::Unreadable(_) => {}
        }
    }
    if let (Some(first), Some(last)) = (sessions.first(), sessions.last()) {
        say(&format!("  {} columns of marks, from {first} to {last}", sessions.len()));
    }
    say(&format!("Left out: {}", if ignored.is_empty() { "nothing".to_owned() } else { ignored.join(", ") }));
    Ok(())
}

fn rows(rows: &[Row]) {
    let number = |minutes: Option<i32>| minutes.map(|minutes| minutes.to_string()).unwrap_or_default();
    let shown: Vec<[String; 7]> = (rows.iter().take(SHOWN))
        .map(|Row { line, mark, .. }| {
            [
                line.to_string(),
                child(mark),
                mark.date.clone(),
                session(mark),
                stated(mark),
                number(mark.minutes_late),
                number(mark.minutes_attended),
            ]
        })
        .collect();
    output::table(["LINE", "CHILD", "DATE", "SESSION", "MARK", "LATE", "ATTENDED"], &shown);
    if rows.len() > SHOWN {
        say(&format!("… and {} more", rows.len() - SHOWN));
    }
}

fn counts(register: &Register) {
    let mut marks: BTreeMap<(String, &str), usize> = BTreeMap::new();
    for row in &register.rows {
        *marks.entry((stated(&row.mark), meaning(&row.mark))).or_default() += 1;
    }
    let children: BTreeSet<String> = register.rows.iter().map(|row| child(&row.mark)).collect();
    let days: BTreeSet<&str> = register.rows.iter().map(|row| row.mark.date.as_str()).collect();
    let marks: Vec<[String; 3]> = marks
        .into_iter()
        .map(|((mark, meaning), count)| [mark, count.to_string(), meaning.to_owned()])
        .collect();
    output::table(["MARK", "TIMES", "MEANING"], &marks);
    let (first, last) = (days.first().copied().unwrap_or("-"), days.last().copied().unwrap_or("-"));
    say(&format!(
        "{} marks of {} children on {} days, {first} to {last}; {} empty cells are no mark",
        register.rows.len(),
        children.len(),
        days.len(),
        register.empty
    ));
    say("Nothing was sent");
}

/// A field as a mapping calls it.
fn named(field: Field) -> Result<String, Failure> {
    let name = serde_json::to_value(field).map_err(|error| Failure::bug("a field", error))?;
    Ok(name.as_str().unwrap_or_default().to_owned())
}

fn child(mark: &Mark) -> String {
    match &mark.child {
        Some(Child::Upn(name) | Child::ProviderReference(name) | Child::PlacementId(name)) => name.clone(),
        None => String::new(),
    }
}

fn session(mark: &Mark) -> String {
    match Session::try_from(mark.session) {
        Ok(Session::Timed) => format!("{}-{}", mark.start_time, mark.end_time),
        Ok(session) => session.as_str_name().trim_start_matches("SESSION_").to_owned(),
        Err(_) => String::new(),
    }
}

fn stated(mark: &Mark) -> String {
    match &mark.statement {
        Some(Statement::Code(code)) => code.clone(),
        Some(Statement::Seen(seen)) => {
            let seen = SeenMark::try_from(*seen).unwrap_or_default().as_str_name();
            seen.trim_start_matches("SEEN_MARK_").to_lowercase().replace('_', " ")
        }
        None => String::new(),
    }
}

/// What a code means on its day.
fn meaning(mark: &Mark) -> &'static str {
    match &mark.statement {
        Some(Statement::Code(code)) => {
            let code = Date::parse(&mark.date).ok().and_then(|day| AttendanceCode::on(code, day).ok());
            code.map_or("not a code of that day", AttendanceCode::meaning)
        }
        Some(Statement::Seen(_)) => "as the provider saw it",
        None => "",
    }
}
