//! Records of a file of separated values, read strictly (RFC 4180): a quote opens only at the start of a cell, and
//! after the closing quote comes a separator or the end of the row. Lenient readers take the next children's rows
//! into a cell whose quote was never closed.

/// Most cells of a row: as many as a spreadsheet has columns.
pub const MAX_CELLS: usize = 16_384;
/// The reason of a row with more cells.
pub const ROW_TOO_WIDE: &str = "ROW_TOO_WIDE";

/// A row of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Line on which it begins, from 1.
    pub line: u64,
    /// Its number among the rows, from 1; it is less than the line after a line break within a cell.
    pub row: u64,
    /// Its cells, without quotes.
    pub cells: Vec<String>,
}

/// A quote that is not as the format has it, or a row of too many cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordFault {
    /// Line on which the quote opens, or stands; or the first cell that is too many.
    pub line: u64,
    /// Row in which it stands.
    pub row: u64,
    /// Its cell, from 0.
    pub column: usize,
    /// The reason that is shown.
    pub reason: &'static str,
}

/// Reads records one after the other; ends after the first fault.
pub struct Records<'a> {
    rest: &'a str,
    separator: char,
    line: u64,
    row: u64,
}

impl<'a> Records<'a> {
    /// Reads a text whose cells stand apart by `separator`.
    pub fn new(text: &'a str, separator: char) -> Self {
        Self { rest: text, separator, line: 1, row: 0 }
    }

    /// Consumes one character; every kind of line break is one, and counts a line.
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

    /// Reads a cell that does not begin with a quote; returns whether the row goes on.
    fn plain(&mut self, cell: &mut String) -> Result<bool, &'static str> {
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

    /// Reads a cell behind its opening quote; returns whether the row goes on.
    fn quoted(&mut self, cell: &mut String) -> Result<bool, &'static str> {
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

impl Iterator for Records<'_> {
    type Item = Result<Record, RecordFault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        self.row += 1;
        let (begins, row, mut cells) = (self.line, self.row, Vec::new());
        loop {
            let (line, mut cell) = (self.line, String::new());
            if cells.len() == MAX_CELLS {
                self.rest = "";
                return Some(Err(RecordFault { line, row, column: MAX_CELLS, reason: ROW_TOO_WIDE }));
            }
            // Systems guard the zeros of a number by a formula: `="0012"`.
            let guarded = self.rest.strip_prefix("=\"");
            let more = if let Some(rest) = guarded.or_else(|| self.rest.strip_prefix('"')) {
                self.rest = rest;
                self.quoted(&mut cell)
            } else {
                self.plain(&mut cell)
            };
            match more {
                Err(reason) => {
                    self.rest = "";
                    return Some(Err(RecordFault { line, row, column: cells.len(), reason }));
                }
                Ok(_) => cells.push(cell),
            }
            if more != Ok(true) {
                return Some(Ok(Record { line: begins, row, cells }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Vec<Record>, RecordFault> {
        Records::new(text, ',').collect()
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
        let row = ",".repeat(MAX_CELLS - 1);
        let found = read(&format!("{row}\n{row}")).unwrap();
        assert_eq!(found.iter().map(|found| found.cells.len()).collect::<Vec<_>>(), [MAX_CELLS; 2]);
        let commas = format!("a\n{}", ",".repeat(3_000_000));
        let mut records = Records::new(&commas, ',');
        assert!(records.next().unwrap().is_ok());
        let fault = RecordFault { line: 2, row: 2, column: MAX_CELLS, reason: ROW_TOO_WIDE };
        assert_eq!((records.next(), records.next()), (Some(Err(fault)), None));
    }

    proptest! {
        /// Whatever the `csv` crate writes is read as it was.
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
