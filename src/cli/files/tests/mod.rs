//! Tests of the reader: the marks and diagnostics of small files.

mod cases;
mod generator;
mod random_files;
mod rng;
mod workbooks;

use proptest::prelude::*;

use super::*;
use crate::proto::v1::Session;
use crate::proto::v1::mark::{Child, Statement};

/// Returns a short text for each mark and for each diagnostic.
fn read_summary(text: &str) -> (Vec<String>, Vec<String>) {
    summarise(text.as_bytes())
}

/// Returns these texts for a file of any kind.
fn summarise(bytes: &[u8]) -> (Vec<String>, Vec<String>) {
    let register = parse(bytes, None).map_err(|failure| failure.to_string()).unwrap();
    let marks = register.marks.iter().map(|row| {
        let mark = &row.mark;
        let child = match mark.child.as_ref() {
            Some(Child::Upn(name) | Child::ProviderReference(name) | Child::PlacementId(name)) => name,
            None => "nobody",
        };
        let session = Session::try_from(mark.session).unwrap().as_str_name().trim_start_matches("SESSION_");
        let said = match mark.statement.as_ref().unwrap() {
            Statement::Code(code) => code.clone(),
            Statement::Seen(seen) => seen.to_string(),
        };
        format!("{} {child} {} {session}{} {said}", row.line, mark.date, mark.start_time)
    });
    let findings = register.diagnostics.iter();
    let findings =
        findings.map(|found| format!("{} {} {}", found.line, found.column, found.reason).replace("  ", " "));
    (marks.collect(), findings.collect())
}

#[test]
fn empty_cells_are_no_mark_and_say_nothing() {
    let (marks, findings) = read_summary(
        "UPN,Date,Session,Mark\nA1,02/11/2026,AM,/\nA1,02/11/26,PM,\n,,,\n\nA1,03/11/2026,am,#\n",
    );
    assert_eq!(marks, ["2 A1 2026-11-02 AM /", "6 A1 2026-11-03 AM #"]);
    assert_eq!(findings, ["3 NO_MARK"]);
    let (marks, _) = read_summary("UPN,02/11/2026 AM,02/11/2026 PM\r\nA1,,\\\r\nA2,\u{a0},\r\n");
    assert_eq!(marks, ["2 A1 2026-11-02 PM \\"]);
}

#[test]
fn every_fault_of_a_row_is_told_by_line_and_column() {
    let (marks, findings) = read_summary(
        "UPN,DoB,Date,Session,Mark,Minutes Late\r\n\
         A1,1/2/03,31/11/2026,EVE,L,ten\r\n\
         A1,,02/11/2026,AM,/,,more\r\n\
         A1,,2/11/26,AM,/,\r\n",
    );
    assert!(marks.is_empty());
    assert_eq!(
        findings,
        [
            "2 DoB DATE_FORMAT",
            "2 Date DATE_INVALID",
            "2 Session SESSION_UNKNOWN",
            "2 Minutes Late MINUTES_RANGE",
            "3 ROW_LENGTH",
            "4 Date DATE_FORMAT",
        ]
    );
}

#[test]
fn what_spreadsheets_do_is_undone() {
    let (marks, _) =
        read_summary("UPN, date ,SESSION,Attendance_Code\n=\"a1\",2/9/2026, AM ,\u{a0}/\u{a0}\n");
    assert_eq!(marks, ["2 A1 2026-09-02 AM /"]);
}

#[test]
fn a_week_is_a_column_a_session_or_a_string() {
    let weekly = "UPN,Week Commencing,Mon AM,Mon PM,Tuesday AM\nA1,02/11/2026,/,C2,N\nA1,03/11/2026,/,,\n";
    let (marks, findings) = read_summary(weekly);
    assert_eq!(marks, ["2 A1 2026-11-02 AM /", "2 A1 2026-11-02 PM C2", "2 A1 2026-11-03 AM N"]);
    assert_eq!(findings, ["3 Week Commencing NOT_A_MONDAY"]);
    let (marks, findings) = read_summary(
        "UPN,Week Commencing,Marks\nA1,02/11/2026,/C2 -/\\/\\/\\\nA2,02/11/2026,/\\/\\/\\/\\/\\/\n",
    );
    assert_eq!(
        marks,
        [
            "2 A1 2026-11-02 AM /",
            "2 A1 2026-11-02 PM C2",
            "2 A1 2026-11-04 AM /",
            "2 A1 2026-11-04 PM \\",
            "2 A1 2026-11-05 AM /",
            "2 A1 2026-11-05 PM \\",
            "2 A1 2026-11-06 AM /",
            "2 A1 2026-11-06 PM \\",
        ]
    );
    assert_eq!(findings, ["3 Marks MARKS_LENGTH"]);
}

#[test]
fn headings_that_are_no_day_are_told_before_any_row() {
    let (marks, findings) = read_summary("UPN,31/11/2026 AM,02/11/2026 AM,2/11/2026 am\nA1,/,/,/\n");
    assert!(marks.is_empty(), "a column that cannot be read makes the file doubtful");
    assert_eq!(findings, ["1 31/11/2026 AM DATE_INVALID", "1 2/11/2026 am COLUMN_REPEATED"]);
}

#[test]
fn a_tutor_s_lesson_has_a_start() {
    let (marks, findings) = read_summary(
        "Ref,Date,Start,End,Attended\nBW-1,2026-11-02,9:30,11:00:00,y\nBW-1,2026-11-02,noon,13:00,N\n",
    );
    assert_eq!(marks, ["2 BW-1 2026-11-02 TIMED09:30 1"]);
    assert_eq!(findings, ["3 Start TIME_FORMAT"]);
}

proptest! {
    #[test]
    fn no_file_is_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), line in "[ -~\r\n\"\\\\\u{a0}é]{0,300}") {
        parse(&bytes, None).ok();
        let file = format!("UPN,Week Commencing,Mon AM,02/11/2026 PM,Marks\n{line}");
        if let Ok(register) = parse(file.as_bytes(), None) {
            for row in &register.marks {
                prop_assert!(row.mark.statement.is_some());
            }
        }
    }
}
