//! Rows and columns that may not be what they seem: rows inside a cell, totals, headings once more, rows out of step
//! with the headings, columns of marks that nobody reads.

use super::cells::{self, clean};
use super::dates;
use super::headings::{self, Column};
use super::mapping::{CHILD, Field};
use super::records::Record;
use super::{Finding, Register};

/// Returns the column of a cell that runs over several lines and may have swallowed other rows: two quotes that were
/// never closed, or never meant, can make one cell of everything between them, and shift what follows.
pub fn swallowed_rows(register: &Register, record: &Record) -> Option<usize> {
    let child =
        register.columns.iter().position(|column| CHILD.iter().any(|field| *column == Column::Field(*field)));
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
            separators > 0 && (separators >= at || named || upn || is_in_step(register, &cells))
        };
        let mut later = cell.split('\n').skip(1);
        // A quote that closes in another column than it opened leaves the row longer or shorter.
        let out_of_step = record.cells.len() != register.headings.len()
            && (too_long
                || cell.ends_with('\n')
                || later.clone().any(|line| line.contains(register.separator)));
        !free_text || out_of_step || later.any(row_like)
    };
    let mut over_lines = record.cells.iter().enumerate().filter(|(_, cell)| cell.contains('\n'));
    over_lines.find(|found| doubtful(*found)).map(|(at, _)| at)
}

/// Whether a line has a date or a mark in a column that holds such: a reference may be a name, which tells nothing.
fn is_in_step(register: &Register, cells: &[&str]) -> bool {
    let dated = [Column::Field(Field::Date), Column::Field(Field::WeekCommencing)];
    register.columns.iter().zip(cells).any(|(column, cell)| {
        let cell = clean(cell);
        (column.is_marks() && cells::is_mark(&cell))
            || (dated.contains(column) && dates::date(&cell, &register.mapping.dates).is_ok())
    })
}

/// Whether a cell of a title or heading runs over several lines and holds separators: other rows may be in it.
pub fn runs_over_rows(register: &Register, record: &Record) -> bool {
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

/// Whether a row is one of the headings once more, as reports print them on each page.
pub fn is_heading(register: &Register, record: &Record) -> bool {
    let cells = |record: &Record| -> Vec<String> {
        let cells: Vec<String> = record.cells.iter().map(|cell| clean(cell)).collect();
        let end = cells.iter().rposition(|cell| !cell.is_empty()).map_or(0, |last| last + 1);
        cells.into_iter().take(end).collect()
    };
    let row = cells(record);
    register.heading_rows.iter().any(|heading| cells(heading) == row)
}

/// Whether a row is a total: it begins with that word, and no other cell names a child.
pub fn is_total(register: &Register, record: &Record) -> bool {
    let mut filled = record.cells.iter().enumerate().filter(|(_, cell)| !clean(cell).is_empty());
    let Some((first, word)) = filled.next() else { return false };
    let word = clean(word).to_lowercase();
    let word =
        word.split(|letter: char| letter.is_whitespace() || ":-".contains(letter)).next().unwrap_or_default();
    let names_child = |(at, cell): (usize, &String)| {
        let column = register.columns.get(at);
        let named = column.is_some_and(|column| CHILD.iter().any(|field| *column == Column::Field(*field)));
        (named && at != first) || is_upn_like(cell)
    };
    ["total", "totals", "subtotal", "sum", "count", "grand"].contains(&word) && !filled.any(names_child)
}

/// Whether a row with fewer cells than headings is not in step with them: a cell is left out in its middle, its cells
/// are separated otherwise, or a stray quote joined two of them. Cells may be left off at the end only.
pub fn is_out_of_step(register: &Register, record: &Record, has_no_mark: bool, has_faults: bool) -> bool {
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
        // Only behind a cell that holds a separator, and may be two, can marks be in the wrong place.
        let joined = record.cells.iter().position(|cell| cell.contains(register.separator));
        return joined.is_some_and(|joined| {
            let marks_behind = register.columns.iter().skip(joined + 1).any(|column| column.is_marks());
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

/// Columns that are left out and hold marks, each a fault of the whole file.
pub struct LeftOut {
    filled: Vec<usize>,
    marks: Vec<usize>,
    strokes: Vec<usize>,
}

impl LeftOut {
    /// Counts nothing yet, for so many columns.
    pub fn new(columns: usize) -> Self {
        Self { filled: vec![0; columns], marks: vec![0; columns], strokes: vec![0; columns] }
    }

    /// Counts the cells of a row.
    pub fn count(&mut self, register: &Register, record: &Record) {
        let counts = self.filled.iter_mut().zip(&mut self.marks).zip(&mut self.strokes);
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

    /// Returns a fault for each column that holds marks.
    pub fn faults(&self, register: &Register) -> Vec<Finding> {
        let counts = self.filled.iter().zip(&self.marks).zip(&self.strokes);
        let held = counts.enumerate().filter(|(at, ((filled, marks), strokes))| {
            let heading = register.headings.get(*at).map_or("", String::as_str);
            let about_a_session = headings::is_about_a_session(heading) && **marks > 0;
            about_a_session || (**strokes > 0 && **marks * 2 > **filled)
        });
        let (line, row) = register.heading_place();
        let fault =
            |at| Finding { column: register.heading(at), ..Finding::of_file(line, row, "COLUMN_LEFT_OUT") };
        held.map(|(at, _)| fault(at)).collect()
    }
}
