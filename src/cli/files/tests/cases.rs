//! Variants of the regression files in tests/data/cases: small files, with the rows that are read or refused.

use super::super::*;
use crate::proto::v1::mark::Child;

/// Returns the faults of a file, as `line:row reason`, and the number of its marks that would be sent.
fn read_faults(text: &str) -> (Vec<String>, usize) {
    let register = parse(text.as_bytes(), None).map_err(|failure| failure.to_string()).unwrap();
    let faults = register.diagnostics.iter().filter(|finding| finding.is_fault());
    let faults = faults.map(|finding| format!("{}:{} {}", finding.line, finding.row, finding.reason));
    (faults.collect(), register.marks.len())
}

fn assert_file_refused(text: &str, fault: &str) {
    assert_eq!(read_faults(text), (vec![fault.to_owned()], 0), "{text}");
}

fn assert_all_read(text: &str, marks: usize) {
    assert_eq!(read_faults(text), (Vec::new(), marks), "{text}");
}

const HEADING: &str = "UPN,Date,Session,Mark,Comment";
const ROW: &str = "E940578619469,16/11/2026,AM";

#[test]
fn a_quote_that_was_never_closed_takes_no_other_row_with_it() {
    let other = "B334716616741,16/11/2026,AM,I";
    assert_file_refused(&format!("{HEADING}\n{ROW},L,\"late\n{other},in hospital\n"), "2:2 QUOTE_UNCLOSED");
    assert_file_refused(
        &format!("{HEADING}\n{ROW},L,\"late\n{other},\"in hospital\"\n"),
        "2:2 TEXT_AFTER_QUOTE",
    );
    assert_file_refused(&format!("{HEADING}\n{ROW},L,late \"again\n{other},\n"), "2:2 QUOTE_INSIDE_CELL");
    assert_file_refused(
        &format!("\"Title\n{HEADING}\n{ROW},L,\n\"\n{HEADING}\n{ROW},L,\n"),
        "1:1 QUOTE_DOUBTFUL",
    );
    // Two stray quotes are balanced and enclose another row.
    assert_file_refused(&format!("{HEADING}\n{ROW},L,\"late\n{other},\"\n"), "2:2 QUOTE_DOUBTFUL");
    let heading = "UPN,Comment,Date,Session,Mark";
    let swallowed = "E940578619469,\"late,16/11/2026,AM,L\nB334716616741,\",16/11/2026,AM,I";
    assert_file_refused(&format!("{heading}\n{swallowed}\n"), "2:2 QUOTE_DOUBTFUL");
    // A reference may be a name, and the last cells of rows may be missing.
    for (heading, row, other) in [
        ("Ref,Date,Session,Mark,Comment", "ADEYEMI,16/11/2026,AM,L", "MENSAH,16/11/2026,AM,I"),
        ("Ref,Comment,Date,AM,PM,House", "ADEYEMI", "MENSAH,,16/11/2026,I"),
        ("Ref,16/11/2026 AM,16/11/2026 PM,Notes", "ADEYEMI,L,/", "MENSAH,I"),
    ] {
        assert_file_refused(&format!("{heading}\n{row},\"late\n{other}\"\n"), "2:2 QUOTE_DOUBTFUL");
    }
    assert_all_read(
        &format!("{HEADING}\n{ROW},L,\"late, \"\"again\"\"\nrang home, no answer\"\n{other},\n"),
        2,
    );
    assert_file_refused(&format!("{HEADING}\n{ROW},L\n,,,\"x\n"), "3:3 QUOTE_UNCLOSED");
}

#[test]
fn rows_and_lines_differ_after_a_line_break_in_a_cell() {
    let text = format!("{HEADING}\n{ROW},L,\"late\nagain\"\nE940578619469,31/11/2026,AM,/,\n");
    assert_eq!(read_faults(&text), (vec!["4:3 DATE_INVALID".to_owned()], 1));
}

#[test]
fn two_columns_for_one_thing_refuse_the_file() {
    for heading in ["UPN,UPN,Date,Session,Mark", "UPN,Unique Pupil Number,Date,Session,Mark"] {
        assert_file_refused(&format!("{heading}\nA1,A2,16/11/2026,AM,/\n"), "1:1 COLUMN_REPEATED");
    }
    assert_file_refused("UPN,Date,Session,Mark,Code\nA1,16/11/2026,AM,/,/\n", "1:1 COLUMN_REPEATED");
    assert_file_refused("UPN,16/11/2026 AM,2026-11-16 Morning\nA1,/,/\n", "1:1 COLUMN_REPEATED");
}

#[test]
fn a_column_of_marks_that_nobody_reads_refuses_the_file() {
    for (heading, cell) in [("Wensday AM", "I"), ("16/11", "/"), ("", "L"), ("P1", "/"), ("Mark 2", "n")] {
        assert_file_refused(
            &format!("UPN,Date,AM,{heading}\nA1,16/11/2026,/,{cell}\n"),
            "1:1 COLUMN_LEFT_OUT",
        );
    }
    for (heading, cell) in
        [("Sex", "M"), ("House", "B"), ("Total AM", "5"), ("Wensday AM", ""), ("Class", "7B")]
    {
        assert_all_read(&format!("UPN,Date,AM,{heading}\nA1,16/11/2026,/,{cell}\n"), 1);
    }
    // Columns of other codes, and of text about a mark in another column.
    for (heading, cell) in
        [("SEN Code", "K"), ("House code", "B"), ("Mark Description", "Present"), ("AM Comment", "C")]
    {
        assert_all_read(&format!("UPN,Date,AM,{heading}\nA1,16/11/2026,/,{cell}\n"), 1);
    }
    assert_file_refused(
        "UPN,Date,AM,P1\nA1,16/11/2026,/,/\nA2,16/11/2026,/,\\\nA3,16/11/2026,/,?\n",
        "1:1 COLUMN_LEFT_OUT",
    );
    assert_file_refused(
        "Ref,Date,Start,End,Attended,Mark\nB1,16/11/2026,09:00,10:00,Y,/\n",
        "1:1 COLUMN_LEFT_OUT",
    );
    let mapping = include_str!("../mappings/child-a-row.toml").replace("ignore = []", "ignore = [\"Trip\"]");
    let mapping = toml::from_str(&mapping).unwrap();
    let register = parse(b"UPN,Date,AM,Trip\nA1,16/11/2026,/,/\n", Some(mapping));
    let register = register.map_err(|failure| failure.to_string()).unwrap();
    assert_eq!((register.marks.len(), register.is_refused()), (1, false));
}

#[test]
fn a_date_that_is_month_first_condemns_its_column() {
    let rows = "A1,11/09/2026,AM,/\nA1,11/13/2026,AM,/\n";
    let text = format!("UPN,Date,Session,Mark\n{rows}");
    assert_eq!(read_faults(&text), (vec!["3:3 DATE_MONTH_FIRST".to_owned()], 0));
    assert_file_refused("UPN,DoB,Date,Session,Mark\nA1,02/26/2012,16/11/2026,AM,/\n", "2:2 DATE_MONTH_FIRST");
    assert_file_refused("UPN,11/09/2026 AM,11/13/2026 AM\nA1,/,/\n", "1:1 DATE_MONTH_FIRST");
    assert_file_refused("UPN,W/C,Mon AM\nA1,11/16/2026,/\n", "2:2 DATE_MONTH_FIRST");
    let text = "UPN,Date,Session,Mark\nA1,11/09/2026,AM,/\nA1,31/31/2026,AM,/\n";
    assert_eq!(read_faults(text), (vec!["3:3 DATE_INVALID".to_owned()], 1));
    assert_file_refused("UPN,11/09/2026 AM,11-13-2026 AM\nA1,/,/\n", "1:1 DATE_MONTH_FIRST");
    let beside =
        |cell: &str| read_faults(&format!("UPN,Date,Session,Mark\nA1,11/09/2026,AM,/\nA1,{cell},AM,/\n"));
    for cell in ["11/13/26", "11-13-2026", "11.13.2026", "11/13/2026 12:00:00 AM", "11/13/2026 0:00"] {
        assert_eq!(beside(cell), (vec!["3:3 DATE_MONTH_FIRST".to_owned()], 0), "{cell}");
    }
    for cell in ["31/31/26", "31-31-2026", "13.13.2026", "11/11/26", "11/09/2026 12:00:00 AM"] {
        assert_eq!(beside(cell), (vec!["3:3 DATE_FORMAT".to_owned()], 1), "{cell}");
    }
}

#[test]
fn cells_left_off_at_the_end_are_empty_and_others_are_missed() {
    assert_all_read(&format!("{HEADING}\n{ROW},/\n{ROW},/,,,\n{ROW}\n"), 2);
    for row in ["E940578619469,16/11/2026,/", "E940578619469;16/11/2026;AM;/", "E940578619469,AM,/"] {
        assert_row_refused(&format!("{HEADING}\n{ROW},/,\n{row}\n"), "3:3 ROW_LENGTH");
    }
    assert_row_refused(&format!("{HEADING}\n{ROW},/,\n{ROW},/,,x\n"), "3:3 ROW_LENGTH");
    assert_all_read("UPN,Date,Session,Mark,Comment,Site\nA1,16/11/2026,AM,L,\"late, 10 min\"\n", 1);
    assert_row_refused(
        "UPN,Surname,16/11/2026 AM,16/11/2026 PM\nA1,X,/,\\\nA1,\"X,\",\\\n",
        "3:3 ROW_LENGTH",
    );
}

#[test]
fn a_row_of_millions_of_cells_refuses_the_file() {
    let many = ",".repeat(3_000_000);
    assert_file_refused(&format!("{HEADING}\n{ROW},/,\n{ROW},/{many}\n{ROW},/\n"), "3:3 ROW_TOO_WIDE");
}

/// Asserts that one row has this fault and another is read.
fn assert_row_refused(text: &str, fault: &str) {
    let (faults, marks) = read_faults(text);
    assert_eq!(faults, [fault.to_owned()], "{text}");
    assert!(marks > 0);
}

#[test]
fn titles_totals_and_headings_once_more_are_left_out_by_name() {
    let text = format!("Riverside AP,,\n\n{HEADING}\n{ROW},/,\n{HEADING}\n{ROW},L,\nTotal,,,2,\n");
    let register = parse(text.as_bytes(), None).map_err(|failure| failure.to_string()).unwrap();
    let named = register.diagnostics.iter().map(|finding| (finding.line, finding.reason.as_str()));
    assert_eq!(named.collect::<Vec<_>>(), [(1, "TITLE_ROW"), (5, "HEADING_REPEATED"), (7, "TOTAL_ROW")]);
    assert_eq!(register.marks.len(), 2);
    assert_file_refused(&format!("{ROW},/,\n{HEADING}\n{ROW},L,\n"), "1:1 ROW_BEFORE_HEADINGS");
    // A child whose surname is Total is not a total.
    assert_all_read("Surname,UPN,Date,Session,Mark\nTotal,E940578619469,16/11/2026,AM,/\n", 1);
}

#[test]
fn files_without_marks_are_refused() {
    assert_file_refused(&format!("{HEADING}\n"), "1:1 FILE_WITHOUT_MARKS");
    assert_file_refused(&format!("Title\n{HEADING}\n{ROW},-,\n"), "2:2 FILE_WITHOUT_MARKS");
}

#[test]
fn a_hyphen_is_no_mark_and_no_minutes_are_no_statement() {
    assert_all_read("UPN,16/11/2026 AM,16/11/2026 PM\nA1,-,/\n", 1);
    assert_all_read(
        "UPN,Date,Session,Mark\nA1,16/11/2026,AM,-\nA1,16/11/2026,PM,\u{2013}\nA1,17/11/2026,AM,/\n",
        1,
    );
    let text = "UPN,Date,Session,Mark,Minutes Late\nA1,16/11/2026,AM,/,0\nA1,17/11/2026,AM,L,0\nA1,18/11/2026,AM,L,12.0\n";
    let register = parse(text.as_bytes(), None).map_err(|failure| failure.to_string()).unwrap();
    let minutes: Vec<_> = register.marks.iter().map(|row| row.mark.minutes_late).collect();
    assert_eq!(minutes, [None, Some(0), Some(12)]);
}

#[test]
fn a_code_of_an_activity_that_is_most_marks_is_warned_of_once() {
    let warned = |text: &str| {
        let register = parse(text.as_bytes(), None).map_err(|failure| failure.to_string()).unwrap();
        register.diagnostics.iter().filter(|finding| finding.reason == "MOSTLY_ACTIVITY").count()
    };
    assert_eq!(warned("UPN,16/11/2026 AM,16/11/2026 PM\nA1,P,P\nA2,P,\\\n"), 1);
    assert_eq!(warned("UPN,16/11/2026 AM,16/11/2026 PM\nA1,P,\\\nA2,/,\\\n"), 0);
    assert_eq!(warned("UPN,16/11/2026 AM,16/11/2026 PM\nA1,/,\\\nA2,/,\\\n"), 0);
}

#[test]
fn the_surest_identifier_names_the_child_and_the_others_go_along() {
    let text = "UPN,Ref,Placement,Date,Session,Mark\ne1,R1,p1,16/11/2026,AM,/\ne1,R1,,16/11/2026,PM,\\\n,R1,,17/11/2026,AM,/\n";
    let register = parse(text.as_bytes(), None).map_err(|failure| failure.to_string()).unwrap();
    let named = register.marks.iter().map(|row| {
        let mark = &row.mark;
        (mark.child.clone(), mark.check_upn.as_str(), mark.check_provider_reference.as_str())
    });
    let named: Vec<_> = named.collect();
    assert_eq!(named[0], (Some(Child::PlacementId("p1".to_owned())), "E1", "R1"));
    assert_eq!(named[1], (Some(Child::Upn("E1".to_owned())), "", "R1"));
    assert_eq!(named[2], (Some(Child::ProviderReference("R1".to_owned())), "", ""));
}

#[test]
fn what_a_mapping_could_translate_is_said() {
    let text = "UPN,Date,Session,Mark\nA1,16-Nov-26,AM,/\nA1,46342,AM,/\nA1,16/11/2026,1,/\n";
    let register = parse(text.as_bytes(), None).map_err(|failure| failure.to_string()).unwrap();
    let lines = fault_lines(&register.diagnostics);
    for (line, hint) in lines.iter().zip(["[\"dd mmm yy\"]", "[\"serial\"]", "[sessions]"]) {
        assert!(line.contains(hint), "{line}");
    }
}
