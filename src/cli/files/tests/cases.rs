//! Relatives of the files that went wrong (tests/data/cases): small files, and what is read or refused of each.

use super::super::*;
use crate::proto::v1::mark::Child;

/// The reasons because of which the file, or rows of it, are not sent, and how many marks are.
fn read(text: &str) -> (Vec<String>, usize) {
    let register = parse(text.as_bytes(), None).map_err(|failure| failure.to_string()).unwrap();
    let faults = register.findings.iter().filter(|finding| finding.is_fault());
    let faults = faults.map(|finding| format!("{}:{} {}", finding.line, finding.row, finding.reason));
    (faults.collect(), register.rows.len())
}

fn refused(text: &str, fault: &str) {
    assert_eq!(read(text), (vec![fault.to_owned()], 0), "{text}");
}

fn taken(text: &str, marks: usize) {
    assert_eq!(read(text), (Vec::new(), marks), "{text}");
}

const HEADING: &str = "UPN,Date,Session,Mark,Comment";
const ROW: &str = "E940578619469,16/11/2026,AM";

#[test]
fn a_quote_that_was_never_closed_takes_no_other_row_with_it() {
    let other = "B334716616741,16/11/2026,AM,I";
    refused(&format!("{HEADING}\n{ROW},L,\"late\n{other},in hospital\n"), "2:2 QUOTE_UNCLOSED");
    refused(&format!("{HEADING}\n{ROW},L,\"late\n{other},\"in hospital\"\n"), "2:2 TEXT_AFTER_QUOTE");
    refused(&format!("{HEADING}\n{ROW},L,late \"again\n{other},\n"), "2:2 QUOTE_INSIDE_CELL");
    refused(&format!("\"Title\n{HEADING}\n{ROW},L,\n\"\n{HEADING}\n{ROW},L,\n"), "1:1 QUOTE_DOUBTFUL");
    // Two stray quotes are balanced, and hold a row between them.
    refused(&format!("{HEADING}\n{ROW},L,\"late\n{other},\"\n"), "2:2 QUOTE_DOUBTFUL");
    let heading = "UPN,Comment,Date,Session,Mark";
    let swallowed = "E940578619469,\"late,16/11/2026,AM,L\nB334716616741,\",16/11/2026,AM,I";
    refused(&format!("{heading}\n{swallowed}\n"), "2:2 QUOTE_DOUBTFUL");
    // A reference may be a name, and the last cells of the rows may be left off.
    for (heading, row, other) in [
        ("Ref,Date,Session,Mark,Comment", "ADEYEMI,16/11/2026,AM,L", "MENSAH,16/11/2026,AM,I"),
        ("Ref,Comment,Date,AM,PM,House", "ADEYEMI", "MENSAH,,16/11/2026,I"),
        ("Ref,16/11/2026 AM,16/11/2026 PM,Notes", "ADEYEMI,L,/", "MENSAH,I"),
    ] {
        refused(&format!("{heading}\n{row},\"late\n{other}\"\n"), "2:2 QUOTE_DOUBTFUL");
    }
    taken(&format!("{HEADING}\n{ROW},L,\"late, \"\"again\"\"\nrang home, no answer\"\n{other},\n"), 2);
    refused(&format!("{HEADING}\n{ROW},L\n,,,\"x\n"), "3:3 QUOTE_UNCLOSED");
}

#[test]
fn rows_and_lines_differ_after_a_line_break_in_a_cell() {
    let text = format!("{HEADING}\n{ROW},L,\"late\nagain\"\nE940578619469,31/11/2026,AM,/,\n");
    assert_eq!(read(&text), (vec!["4:3 DATE_INVALID".to_owned()], 1));
}

#[test]
fn two_columns_for_one_thing_refuse_the_file() {
    for heading in ["UPN,UPN,Date,Session,Mark", "UPN,Unique Pupil Number,Date,Session,Mark"] {
        refused(&format!("{heading}\nA1,A2,16/11/2026,AM,/\n"), "1:1 COLUMN_REPEATED");
    }
    refused("UPN,Date,Session,Mark,Code\nA1,16/11/2026,AM,/,/\n", "1:1 COLUMN_REPEATED");
    refused("UPN,16/11/2026 AM,2026-11-16 Morning\nA1,/,/\n", "1:1 COLUMN_REPEATED");
}

#[test]
fn a_column_of_marks_that_nobody_reads_refuses_the_file() {
    for (heading, cell) in [("Wensday AM", "I"), ("16/11", "/"), ("", "L"), ("P1", "/"), ("Mark 2", "n")] {
        refused(&format!("UPN,Date,AM,{heading}\nA1,16/11/2026,/,{cell}\n"), "1:1 COLUMN_LEFT_OUT");
    }
    for (heading, cell) in
        [("Sex", "M"), ("House", "B"), ("Total AM", "5"), ("Wensday AM", ""), ("Class", "7B")]
    {
        taken(&format!("UPN,Date,AM,{heading}\nA1,16/11/2026,/,{cell}\n"), 1);
    }
    // Columns of other codes, and words about the mark that another column holds.
    for (heading, cell) in
        [("SEN Code", "K"), ("House code", "B"), ("Mark Description", "Present"), ("AM Comment", "C")]
    {
        taken(&format!("UPN,Date,AM,{heading}\nA1,16/11/2026,/,{cell}\n"), 1);
    }
    refused(
        "UPN,Date,AM,P1\nA1,16/11/2026,/,/\nA2,16/11/2026,/,\\\nA3,16/11/2026,/,?\n",
        "1:1 COLUMN_LEFT_OUT",
    );
    refused("Ref,Date,Start,End,Attended,Mark\nB1,16/11/2026,09:00,10:00,Y,/\n", "1:1 COLUMN_LEFT_OUT");
    let mapping = include_str!("../mappings/child-a-row.toml").replace("ignore = []", "ignore = [\"Trip\"]");
    let mapping = toml::from_str(&mapping).unwrap();
    let register = parse(b"UPN,Date,AM,Trip\nA1,16/11/2026,/,/\n", Some(mapping));
    let register = register.map_err(|failure| failure.to_string()).unwrap();
    assert_eq!((register.rows.len(), register.is_refused()), (1, false));
}

#[test]
fn a_date_that_is_month_first_condemns_its_column() {
    let rows = "A1,11/09/2026,AM,/\nA1,11/13/2026,AM,/\n";
    let text = format!("UPN,Date,Session,Mark\n{rows}");
    assert_eq!(read(&text), (vec!["3:3 DATE_MONTH_FIRST".to_owned()], 0));
    refused("UPN,DoB,Date,Session,Mark\nA1,02/26/2012,16/11/2026,AM,/\n", "2:2 DATE_MONTH_FIRST");
    refused("UPN,11/09/2026 AM,11/13/2026 AM\nA1,/,/\n", "1:1 DATE_MONTH_FIRST");
    refused("UPN,W/C,Mon AM\nA1,11/16/2026,/\n", "2:2 DATE_MONTH_FIRST");
    let text = "UPN,Date,Session,Mark\nA1,11/09/2026,AM,/\nA1,31/31/2026,AM,/\n";
    assert_eq!(read(text), (vec!["3:3 DATE_INVALID".to_owned()], 1));
    refused("UPN,11/09/2026 AM,11-13-2026 AM\nA1,/,/\n", "1:1 DATE_MONTH_FIRST");
    let beside = |cell: &str| read(&format!("UPN,Date,Session,Mark\nA1,11/09/2026,AM,/\nA1,{cell},AM,/\n"));
    for cell in ["11/13/26", "11-13-2026", "11.13.2026", "11/13/2026 12:00:00 AM", "11/13/2026 0:00"] {
        assert_eq!(beside(cell), (vec!["3:3 DATE_MONTH_FIRST".to_owned()], 0), "{cell}");
    }
    for cell in ["31/31/26", "31-31-2026", "13.13.2026", "11/11/26", "11/09/2026 12:00:00 AM"] {
        assert_eq!(beside(cell), (vec!["3:3 DATE_FORMAT".to_owned()], 1), "{cell}");
    }
}

#[test]
fn cells_left_off_at_the_end_are_empty_and_others_are_missed() {
    taken(&format!("{HEADING}\n{ROW},/\n{ROW},/,,,\n{ROW}\n"), 2);
    for row in ["E940578619469,16/11/2026,/", "E940578619469;16/11/2026;AM;/", "E940578619469,AM,/"] {
        refused_row(&format!("{HEADING}\n{ROW},/,\n{row}\n"), "3:3 ROW_LENGTH");
    }
    refused_row(&format!("{HEADING}\n{ROW},/,\n{ROW},/,,x\n"), "3:3 ROW_LENGTH");
    taken("UPN,Date,Session,Mark,Comment,Site\nA1,16/11/2026,AM,L,\"late, 10 min\"\n", 1);
    refused_row("UPN,Surname,16/11/2026 AM,16/11/2026 PM\nA1,X,/,\\\nA1,\"X,\",\\\n", "3:3 ROW_LENGTH");
}

#[test]
fn a_row_of_millions_of_cells_refuses_the_file() {
    let many = ",".repeat(3_000_000);
    refused(&format!("{HEADING}\n{ROW},/,\n{ROW},/{many}\n{ROW},/\n"), "3:3 ROW_TOO_WIDE");
}

/// One row is refused, the other sent.
fn refused_row(text: &str, fault: &str) {
    let (faults, marks) = read(text);
    assert_eq!(faults, [fault.to_owned()], "{text}");
    assert!(marks > 0);
}

#[test]
fn titles_totals_and_headings_once_more_are_left_out_by_name() {
    let text = format!("Riverside AP,,\n\n{HEADING}\n{ROW},/,\n{HEADING}\n{ROW},L,\nTotal,,,2,\n");
    let register = parse(text.as_bytes(), None).map_err(|failure| failure.to_string()).unwrap();
    let named = register.findings.iter().map(|finding| (finding.line, finding.reason.as_str()));
    assert_eq!(named.collect::<Vec<_>>(), [(1, "TITLE_ROW"), (5, "HEADING_REPEATED"), (7, "TOTAL_ROW")]);
    assert_eq!(register.rows.len(), 2);
    refused(&format!("{ROW},/,\n{HEADING}\n{ROW},L,\n"), "1:1 ROW_BEFORE_HEADINGS");
    // A child whose surname is Total is no total.
    taken("Surname,UPN,Date,Session,Mark\nTotal,E940578619469,16/11/2026,AM,/\n", 1);
}

#[test]
fn files_without_marks_are_refused() {
    refused(&format!("{HEADING}\n"), "1:1 FILE_WITHOUT_MARKS");
    refused(&format!("Title\n{HEADING}\n{ROW},-,\n"), "2:2 FILE_WITHOUT_MARKS");
}

#[test]
fn a_hyphen_is_no_mark_and_no_minutes_are_no_statement() {
    taken("UPN,16/11/2026 AM,16/11/2026 PM\nA1,-,/\n", 1);
    taken("UPN,Date,Session,Mark\nA1,16/11/2026,AM,-\nA1,16/11/2026,PM,\u{2013}\nA1,17/11/2026,AM,/\n", 1);
    let text = "UPN,Date,Session,Mark,Minutes Late\nA1,16/11/2026,AM,/,0\nA1,17/11/2026,AM,L,0\nA1,18/11/2026,AM,L,12.0\n";
    let register = parse(text.as_bytes(), None).map_err(|failure| failure.to_string()).unwrap();
    let minutes: Vec<_> = register.rows.iter().map(|row| row.mark.minutes_late).collect();
    assert_eq!(minutes, [None, Some(0), Some(12)]);
}

#[test]
fn a_code_of_an_activity_that_is_most_marks_is_warned_of_once() {
    let warned = |text: &str| {
        let register = parse(text.as_bytes(), None).map_err(|failure| failure.to_string()).unwrap();
        register.findings.iter().filter(|finding| finding.reason == "MOSTLY_ACTIVITY").count()
    };
    assert_eq!(warned("UPN,16/11/2026 AM,16/11/2026 PM\nA1,P,P\nA2,P,\\\n"), 1);
    assert_eq!(warned("UPN,16/11/2026 AM,16/11/2026 PM\nA1,P,\\\nA2,/,\\\n"), 0);
    assert_eq!(warned("UPN,16/11/2026 AM,16/11/2026 PM\nA1,/,\\\nA2,/,\\\n"), 0);
}

#[test]
fn the_surest_identifier_names_the_child_and_the_others_go_along() {
    let text = "UPN,Ref,Placement,Date,Session,Mark\ne1,R1,p1,16/11/2026,AM,/\ne1,R1,,16/11/2026,PM,\\\n,R1,,17/11/2026,AM,/\n";
    let register = parse(text.as_bytes(), None).map_err(|failure| failure.to_string()).unwrap();
    let named = register.rows.iter().map(|row| {
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
    let lines = faults(&register.findings);
    for (line, hint) in lines.iter().zip(["[\"dd mmm yy\"]", "[\"serial\"]", "[sessions]"]) {
        assert!(line.contains(hint), "{line}");
    }
}
