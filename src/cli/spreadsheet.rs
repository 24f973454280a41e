//! CSV for spreadsheets: UTF-8 with a byte order mark, RFC 4180 line ends, and no cell that a spreadsheet
//! would take for a formula (OWASP, CSV injection; ASVS 1.2.10).

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::Failure;

/// A file that is being written; it stands under its name only once it is whole.
pub struct Spreadsheet {
    rows: csv::Writer<BufWriter<File>>,
    part: PathBuf,
    path: PathBuf,
}

impl Spreadsheet {
    /// Begins the file with its heading.
    ///
    /// # Errors
    /// Exit code 69 when it cannot be written; so for every method.
    pub fn create(path: &Path, heading: &[&str]) -> Result<Self, Failure> {
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let mut file = BufWriter::new(File::create(&part).map_err(unwritten)?);
        file.write_all("\u{feff}".as_bytes()).map_err(unwritten)?;
        let mut rows = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(file);
        rows.write_record(heading).map_err(unwritten)?;
        Ok(Self { rows, part, path: path.to_owned() })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// As [`Spreadsheet::create`].
    pub fn row<'a>(&mut self, cells: impl IntoIterator<Item = &'a str>) -> Result<(), Failure> {
        self.rows.write_record(cells.into_iter().map(|text| cell(text).into_owned())).map_err(unwritten)
    }

    /// Ends the file.
    ///
    /// # Errors
    /// As [`Spreadsheet::create`].
    pub fn finish(self) -> Result<(), Failure> {
        let file = self.rows.into_inner().map_err(|error| unwritten(error.into_error()))?;
        file.into_inner().map_err(|error| unwritten(error.into_error()))?;
        std::fs::rename(&self.part, &self.path).map_err(unwritten)
    }
}

fn unwritten(error: impl std::error::Error) -> Failure {
    Failure::unavailable("the file", error)
}

/// The text with an apostrophe before what begins a formula, also in full-width forms, or could move to
/// where one begins.
fn cell(text: &str) -> Cow<'_, str> {
    match text.chars().next() {
        Some('=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠' | '\t' | '\r' | '\n' | '\0') => {
            Cow::Owned(format!("'{text}"))
        }
        _ => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_begins_a_formula() {
        for text in [
            "=HYPERLINK(\"x\")",
            "+1",
            "-1",
            "@SUM",
            "\tx",
            "\rx",
            "\nx",
            "\0x",
            "＝1",
            "＋1",
            "－1",
            "＠SUM",
        ] {
            assert_eq!(cell(text), format!("'{text}"));
        }
        for text in ["", "a=1", "1-1", "'=1", "provider/riverside", "O’Brien"] {
            assert_eq!(cell(text), text);
        }
    }

    #[test]
    fn a_file_is_whole_or_not_there() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("log.csv");
        let mut sheet = Spreadsheet::create(&path, &["a", "b"]).unwrap();
        sheet.row(["=1", "two\r\nlines, \"quoted\""]).unwrap();
        assert!(!path.exists());
        sheet.finish().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "\u{feff}a,b\r\n'=1,\"two\r\nlines, \"\"quoted\"\"\"\r\n");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
