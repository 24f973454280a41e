//! Workbooks that an independent library made (`tests/data/workbooks/make.py`): each is read as the CSV file of the same
//! content, or refused by row, column and reason.

use super::*;

fn data(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)).unwrap()
}

fn workbook(name: &str) -> (Vec<String>, Vec<String>) {
    summarise(&data(&format!("workbooks/{name}.xlsx")))
}

#[test]
fn a_workbook_is_read_as_the_csv_file_of_the_same_content() {
    let (marks, findings) = workbook("riverside-marks");
    assert_eq!(findings, ["1 SHEETS_LEFT_OUT"]);
    assert_eq!(marks, summarise(&data("exports/riverside-marks.csv")).0);
    assert!(marks.len() > 100, "{}", marks.len());
    let book = parse(&data("workbooks/riverside-marks.xlsx"), None).map_err(|_| ()).unwrap();
    let csv = parse(&data("exports/riverside-marks.csv"), None).map_err(|_| ()).unwrap();
    let sent = |register: &Register| register.marks.iter().map(|row| row.mark.clone()).collect::<Vec<_>>();
    assert!(sent(&book) == sent(&csv), "birthdays, minutes and comments are the same too");
    assert_eq!(book.sheet.as_deref(), Some("Register"), "a sheet that is hidden is not read");
}

#[test]
fn merged_titles_and_days_above_the_marks_are_headings() {
    let (marks, findings) = workbook("week");
    assert_eq!(
        marks,
        [
            "5 E940578619469 2026-11-16 AM /",
            "5 E940578619469 2026-11-16 PM \\",
            "5 E940578619469 2026-11-17 AM I",
            "6 B334716616741 2026-11-16 AM /",
            "6 B334716616741 2026-11-16 PM \\",
            "6 B334716616741 2026-11-17 AM /",
            "6 B334716616741 2026-11-17 PM \\",
        ]
    );
    assert_eq!(findings, ["1 TITLE_ROW"]);
}

#[test]
fn dates_and_times_of_the_system_of_1904_are_those_that_are_shown() {
    let (marks, findings) = workbook("tuition-1904");
    assert_eq!(marks, ["2 BW-001 2026-11-02 TIMED16:30 1", "3 BW-001 2026-11-04 TIMED09:10 1"]);
    assert_eq!(findings, Vec::<String>::new());
    let register = parse(&data("workbooks/tuition-1904.xlsx"), None).map_err(|_| ()).unwrap();
    let mark = &register.marks[1].mark;
    assert_eq!((mark.end_time.as_str(), mark.minutes_attended), ("10:40", Some(85)));
}

#[test]
fn a_workbook_whose_meaning_is_in_doubt_is_refused_by_name() {
    for (name, faults) in [
        ("serials", vec!["2 Date DATE_FORMAT"]),
        ("merged", vec!["3 NO_MARK", "2 Mark MERGED_CELLS"]),
        ("two-marks", vec!["1 Mark COLUMN_REPEATED"]),
        ("formula", vec!["2 NO_MARK", "2 Mark FORMULA_WITHOUT_VALUE"]),
    ] {
        let (marks, findings) = workbook(name);
        assert_eq!((marks.len(), findings), (0, faults.into_iter().map(str::to_owned).collect()), "{name}");
    }
    let refusal = |bytes: &[u8]| parse(bytes, None).map(|_| ()).map_err(|failure| failure.to_string());
    let book = data("workbooks/week.xlsx");
    for cut in [4, 30, book.len() / 2, book.len() - 1] {
        assert!(refusal(&book[..cut]).unwrap_err().contains("not a workbook"), "{cut}");
    }
    assert!(refusal(b"\xd0\xcf\x11\xe0").unwrap_err().contains("with a password"));
}

proptest! {
    /// A workbook with some bytes changed is read or refused, and is no panic.
    #[test]
    fn no_workbook_is_a_panic(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut book = data("workbooks/week.xlsx");
        for (at, byte) in changes {
            let at = at.index(book.len());
            book[at] = byte;
        }
        parse(&book, None).ok();
    }
}
