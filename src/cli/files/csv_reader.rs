//! Strict CSV reader (RFC 4180): a quote opens only at the start of a cell, and a closing quote is followed by a
//! separator or the end of the row. A lenient reader would put other children's rows into a cell whose quote was never
//! closed.

/// Maximum number of cells in a row: the number of columns of a spreadsheet.
pub const MAX_CELLS_PER_ROW: usize = 16_384;
/// Reason of the fault of a row with more cells than [`MAX_CELLS_PER_ROW`].
pub const ROW_TOO_WIDE: &str = "ROW_TOO_WIDE";

/// Row of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvRecord {
    /// Line on which the row begins, from 1.
    pub line: u64,
    /// Row number, from 1; less than the line number after a row with a line break in a cell.
    pub row: u64,
    /// Cells, without quotes.
    pub cells: Vec<String>,
}

/// Syntax error: a misplaced or unclosed quote, or a row with too many cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CsvError {
    /// Line of the quote, or of the first excess cell.
    pub line: u64,
    /// Row number, from 1.
    pub row: u64,
    /// Column index of the cell, from 0.
    pub column: usize,
    /// Reason, as in diagnostics.
    pub reason: &'static str,
}

/// Iterator over the rows of a text; it ends after the first error.
pub struct CsvReader<'a> {
    rest: &'a str,
    separator: char,
    line: u64,
    row: u64,
}

impl<'a> CsvReader<'a> {
    /// Reads a text whose cells are separated by `separator`.
    pub fn new(text: &'a str, separator: char) -> Self {
        Self { rest: text, separator, line: 1, row: 0 }
    }

    /// Consumes one character. Returns each kind of line break as `\n` and counts a line.
    fn bump(&mut self) -> Option<char> {
        let mut letters = self.rest.chars();
        let mut letter = letters.next()?;
        if letter == '\r' {
            letter = '\n';
            if letters.as_str().starts_with('\n') {
                letters.next();
            }
        }
        self.rest = letters.as_str();
        if letter == '\n' {
            self.line += 1;
        }
        Some(letter)
    }

    /// Reads an unquoted cell; returns whether another cell of the row follows.
    fn read_unquoted(&mut self, cell: &mut String) -> Result<bool, &'static str> {
        while let Some(letter) = self.bump() {
            match letter {
                '\n' => return Ok(false),
                '"' => return Err("QUOTE_INSIDE_CELL"),
                letter if letter == self.separator => return Ok(true),
                letter => cell.push(letter),
            }
        }
        Ok(false)
    }

    /// Reads a cell after its opening quote; returns whether another cell of the row follows.
    fn read_quoted(&mut self, cell: &mut String) -> Result<bool, &'static str> {
        loop {
            match self.bump().ok_or("QUOTE_UNCLOSED")? {
                '"' if self.rest.starts_with('"') => {
                    self.bump();
                    cell.push('"');
                }
                '"' => break,
                letter => cell.push(letter),
            }
        }
        match self.bump() {
            None | Some('\n') => Ok(false),
            Some(letter) if letter == self.separator => Ok(true),
            Some(_) => Err("TEXT_AFTER_QUOTE"),
        }
    }
}

impl Iterator for CsvReader<'_> {
    type Item = Result<CsvRecord, CsvError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        self.row += 1;
        let (begins, row, mut cells) = (self.line, self.row, Vec::new());
        loop {
            let (line, mut cell) = (self.line, String::new());
            if cells.len() == MAX_CELLS_PER_ROW {
                self.rest = "";
                return Some(Err(CsvError { line, row, column: MAX_CELLS_PER_ROW, reason: ROW_TOO_WIDE }));
            }
            // Some systems preserve leading zeros with a formula: `="0012"`.
            let guarded = self.rest.strip_prefix("=\"");
            let more = if let Some(rest) = guarded.or_else(|| self.rest.strip_prefix('"')) {
                self.rest = rest;
                self.read_quoted(&mut cell)
            } else {
                self.read_unquoted(&mut cell)
            };
            match more {
                Err(reason) => {
                    self.rest = "";
                    return Some(Err(CsvError { line, row, column: cells.len(), reason }));
                }
                Ok(_) => cells.push(cell),
            }
            if more != Ok(true) {
                return Some(Ok(CsvRecord { line: begins, row, cells }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Vec<CsvRecord>, CsvError> {
        CsvReader::new(text, ',').collect()
    }

    #[test]
    fn a_quote_opens_at_the_start_of_a_cell_and_closes_at_its_end() {
        for (text, line, row, reason) in [
            ("a,b\nc,\"d\ne,f\n", 2, 2, "QUOTE_UNCLOSED"),
            ("a,b\nc,\"d\ne,\"f\n", 2, 2, "TEXT_AFTER_QUOTE"),
            ("a,\"x\r\ny\"\r\nc,d \"e\"\r\n", 3, 2, "QUOTE_INSIDE_CELL"),
            ("a, \"b\"", 1, 1, "QUOTE_INSIDE_CELL"),
            ("=\"a\nb", 1, 1, "QUOTE_UNCLOSED"),
            ("\"a\" ,b", 1, 1, "TEXT_AFTER_QUOTE"),
            ("\"", 1, 1, "QUOTE_UNCLOSED"),
        ] {
            let fault = read(text).unwrap_err();
            assert_eq!((fault.line, fault.row, fault.reason), (line, row, reason), "{text:?}");
        }
    }

    #[test]
    fn rows_are_counted_as_a_spreadsheet_does_and_lines_as_an_editor_does() {
        assert_eq!(read("=\"0012\",b").unwrap()[0].cells, ["0012", "b"]);
        let found = read("a,\"b\r\nb\"\r\n\r\nc,\"\"\"d\"\"\"\re").unwrap();
        let short: Vec<_> =
            found.iter().map(|found| (found.line, found.row, found.cells.join("|"))).collect();
        let expected = [(1, 1, "a|b\nb"), (3, 2, ""), (4, 3, "c|\"d\""), (5, 4, "e")];
        assert_eq!(short, expected.map(|(line, row, cells)| (line, row, cells.to_owned())));
    }

    #[test]
    fn a_row_ends_the_reading_at_the_first_cell_that_is_too_many() {
        let row = ",".repeat(MAX_CELLS_PER_ROW - 1);
        let found = read(&format!("{row}\n{row}")).unwrap();
        assert_eq!(found.iter().map(|found| found.cells.len()).collect::<Vec<_>>(), [MAX_CELLS_PER_ROW; 2]);
        let commas = format!("a\n{}", ",".repeat(3_000_000));
        let mut records = CsvReader::new(&commas, ',');
        assert!(records.next().unwrap().is_ok());
        let fault = CsvError { line: 2, row: 2, column: MAX_CELLS_PER_ROW, reason: ROW_TOO_WIDE };
        assert_eq!((records.next(), records.next()), (Some(Err(fault)), None));
    }

    proptest! {
        /// Text that the `csv` crate writes is read back unchanged.
        #[test]
        fn what_a_writer_quotes_is_read_back(
            rows in proptest::collection::vec(proptest::collection::vec("[a,\"\n é;]{0,4}", 2..5), 1..5),
        ) {
            let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
            for row in &rows {
                writer.write_record(row).unwrap();
            }
            let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
            let found = read(&text).unwrap();
            prop_assert_eq!(found.into_iter().map(|record| record.cells).collect::<Vec<_>>(), rows);
        }
    }
}
