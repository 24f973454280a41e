//! Checks of a file's structure: rows swallowed by a quoted cell, totals, repeated headings, rows misaligned with the
//! headings, and columns of marks that the mapping does not read.

use super::cells::{self, clean};
use super::csv_reader::CsvRecord;
use super::dates;
use super::headings::{self, Column};
use super::mapping::{CHILD_IDENTIFIERS, Field};
use super::{Diagnostic, Register};

/// Returns the column of a multi-line cell that may have swallowed other rows. Two stray quotes turn everything between
/// them into one cell and shift the cells after it.
pub fn find_swallowed_rows(register: &Register, record: &CsvRecord) -> Option<usize> {
    let child = register
        .columns
        .iter()
        .position(|column| CHILD_IDENTIFIERS.iter().any(|field| *column == Column::Field(*field)));
    let too_long = record.cells.iter().skip(register.headings.len()).any(|cell| !clean(cell).is_empty());
    let doubtful = |(at, cell): (usize, &String)| {
        let free_text = match register.columns.get(at) {
            Some(Column::Field(field)) => matches!(field, Field::Comment | Field::Site),
            Some(Column::Unknown | Column::Ignored) => true,
            _ => false,
        };
        let row_like = |line: &str| {
            let cells: Vec<&str> = line.split(register.separator).collect();
            let separators = cells.len() - 1;
            let named = child.and_then(|child| cells.get(child)).is_some_and(|cell| is_identifier(cell));
            let upn = cells.iter().any(|cell| is_upn_like(cell));
            separators > 0
                && (separators >= at || named || upn || has_date_or_mark_in_place(register, &cells))
        };
        let mut later = cell.split('\n').skip(1);
        // A quote that closes in another column than the one it opened in makes the row longer or shorter.
        let out_of_step = record.cells.len() != register.headings.len()
            && (too_long
                || cell.ends_with('\n')
                || later.clone().any(|line| line.contains(register.separator)));
        !free_text || out_of_step || later.any(row_like)
    };
    let mut over_lines = record.cells.iter().enumerate().filter(|(_, cell)| cell.contains('\n'));
    over_lines.find(|found| doubtful(*found)).map(|(at, _)| at)
}

/// Returns whether a line has a date in a date column or a mark in a mark column. Identifiers are not considered,
/// because a provider's reference may be a name and look like any text.
fn has_date_or_mark_in_place(register: &Register, cells: &[&str]) -> bool {
    let dated = [Column::Field(Field::Date), Column::Field(Field::WeekCommencing)];
    register.columns.iter().zip(cells).any(|(column, cell)| {
        let cell = clean(cell);
        (column.has_marks() && cells::is_mark(&cell))
            || (dated.contains(column) && dates::parse_date(&cell, &register.mapping.dates).is_ok())
    })
}

/// Returns whether a title or heading row has a multi-line cell with separators, which may contain other rows.
pub fn may_contain_rows(register: &Register, record: &CsvRecord) -> bool {
    let separated = |cell: &String| cell.split('\n').skip(1).any(|line| line.contains(register.separator));
    record.cells.iter().any(separated)
}

fn is_identifier(cell: &str) -> bool {
    let cell = clean(cell);
    cell.len() >= 3 && !cell.contains(char::is_whitespace) && cell.bytes().any(|byte| byte.is_ascii_digit())
}

fn is_upn_like(cell: &str) -> bool {
    let cell = clean(cell);
    let digits = cell.bytes().filter(u8::is_ascii_digit).count();
    (12..=14).contains(&cell.len()) && digits >= 11 && cell.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Returns whether a row repeats a row of the headings, which reports print on each page.
pub fn is_repeated_heading(register: &Register, record: &CsvRecord) -> bool {
    let cells = |record: &CsvRecord| -> Vec<String> {
        let cells: Vec<String> = record.cells.iter().map(|cell| clean(cell)).collect();
        let end = cells.iter().rposition(|cell| !cell.is_empty()).map_or(0, |last| last + 1);
        cells.into_iter().take(end).collect()
    };
    let row = cells(record);
    register.heading_rows.iter().any(|heading| cells(heading) == row)
}

/// Returns whether a row is a total: its first word is one such as `Total`, and no other cell identifies a child.
pub fn is_total_row(register: &Register, record: &CsvRecord) -> bool {
    let mut filled = record.cells.iter().enumerate().filter(|(_, cell)| !clean(cell).is_empty());
    let Some((first, word)) = filled.next() else { return false };
    let word = clean(word).to_lowercase();
    let word =
        word.split(|letter: char| letter.is_whitespace() || ":-".contains(letter)).next().unwrap_or_default();
    let names_child = |(at, cell): (usize, &String)| {
        let column = register.columns.get(at);
        let named = column
            .is_some_and(|column| CHILD_IDENTIFIERS.iter().any(|field| *column == Column::Field(*field)));
        (named && at != first) || is_upn_like(cell)
    };
    ["total", "totals", "subtotal", "sum", "count", "grand"].contains(&word) && !filled.any(names_child)
}

/// Returns whether a row is misaligned with the headings: a stray quote joined two cells, a cell is missing in the
/// middle, or another separator is used. Cells may be missing only at the end.
pub fn is_misaligned(register: &Register, record: &CsvRecord, has_no_mark: bool, has_faults: bool) -> bool {
    let joined = |(column, cell): (&Column, &String)| {
        let free_text = matches!(
            column,
            Column::Field(Field::Comment | Field::Site | Field::Surname | Field::Forename)
                | Column::Unknown
                | Column::Ignored
        );
        !free_text && cell.contains(register.separator)
    };
    if register.columns.iter().zip(&record.cells).any(joined) {
        return true;
    }
    if record.cells.len() >= register.headings.len() {
        return false;
    }
    if !has_no_mark {
        // Marks can be in the wrong column only after a cell that contains a separator, because it may be two cells.
        let joined = record.cells.iter().position(|cell| cell.contains(register.separator));
        return joined.is_some_and(|joined| {
            let marks_behind = register.columns.iter().skip(joined + 1).any(|column| column.has_marks());
            record.cells.len() > joined + 1 || marks_behind
        });
    }
    let other_separator = |cell: &String| {
        let others = [',', ';', '\t', '|'].into_iter().filter(|other| *other != register.separator);
        others.into_iter().any(|other| cell.matches(other).count() >= 2)
    };
    let last = record.cells.iter().rev().map(|cell| clean(cell)).find(|cell| !cell.is_empty());
    has_faults || record.cells.iter().any(other_separator) || last.is_some_and(|last| cells::is_mark(&last))
}

/// Counter of marks in columns that the mapping does not read; each such column refuses the whole file.
pub struct UnreadMarkColumns {
    filled: Vec<usize>,
    marks: Vec<usize>,
    slashes: Vec<usize>,
}

impl UnreadMarkColumns {
    /// Makes a counter for a number of columns.
    pub fn new(columns: usize) -> Self {
        Self { filled: vec![0; columns], marks: vec![0; columns], slashes: vec![0; columns] }
    }

    /// Counts the cells of a row.
    pub fn count_row(&mut self, register: &Register, record: &CsvRecord) {
        let counts = self.filled.iter_mut().zip(&mut self.marks).zip(&mut self.slashes);
        for (((filled, marks), strokes), (column, cell)) in
            counts.zip(register.columns.iter().zip(&record.cells))
        {
            let cell = clean(cell);
            if *column == Column::Unknown && !cells::is_no_mark(&cell) {
                *filled += 1;
                *marks += usize::from(cells::is_mark(&cell));
                *strokes += usize::from(cell.starts_with(['/', '\\']));
            }
        }
    }

    /// Returns a fault for each unread column that holds marks.
    pub fn faults(&self, register: &Register) -> Vec<Diagnostic> {
        let counts = self.filled.iter().zip(&self.marks).zip(&self.slashes);
        let held = counts.enumerate().filter(|(at, ((filled, marks), strokes))| {
            let heading = register.headings.get(*at).map_or("", String::as_str);
            let about_a_session = headings::is_session_heading(heading) && **marks > 0;
            about_a_session || (**strokes > 0 && **marks * 2 > **filled)
        });
        let (line, row) = register.heading_position();
        let fault = |at| Diagnostic {
            column: register.heading(at),
            ..Diagnostic::for_file(line, row, "COLUMN_LEFT_OUT")
        };
        held.map(|(at, _)| fault(at)).collect()
    }
}
