//! CSV for spreadsheets: UTF-8 with a byte order mark, RFC 4180 line ends, and no cell that a spreadsheet
//! would take for a formula (OWASP, CSV injection; ASVS 1.2.10).

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::Failure;

/// A spreadsheet that is being written. A file stands under its name only once it is whole; a FIFO, a device or
/// what stands for standard output is written to as it is, and never replaced.
pub struct Spreadsheet {
    rows: csv::Writer<BufWriter<File>>,
    /// Of a file: the name it has until it is whole.
    replacement: Option<Replacement>,
}

/// A file that takes another's place once it is whole, and is removed otherwise.
struct Replacement {
    part: PathBuf,
    path: PathBuf,
    whole: bool,
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.whole {
            std::fs::remove_file(&self.part).ok();
        }
    }
}

impl Spreadsheet {
    /// Begins the file with its heading.
    ///
    /// # Errors
    /// Exit code 69 when it cannot be written; so for every method.
    pub fn create(path: &Path, heading: &[&str]) -> Result<Self, Failure> {
        let (file, replacement) = open(path).map_err(unwritten)?;
        let mut file = BufWriter::new(file);
        file.write_all("\u{feff}".as_bytes()).map_err(unwritten)?;
        let mut rows = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(file);
        rows.write_record(heading).map_err(unwritten)?;
        Ok(Self { rows, replacement })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// As [`Spreadsheet::create`].
    pub fn row<'a>(&mut self, cells: impl IntoIterator<Item = &'a str>) -> Result<(), Failure> {
        self.rows.write_record(cells.into_iter().map(|text| cell(text).into_owned())).map_err(unwritten)
    }

    /// Whether what is written goes somewhere else than into a file of its own: perhaps to standard output.
    #[must_use]
    pub fn is_written_through(&self) -> bool {
        self.replacement.is_none()
    }

    /// Ends the file, which is on disk and has its name on return.
    ///
    /// # Errors
    /// As [`Spreadsheet::create`].
    pub fn finish(self) -> Result<(), Failure> {
        let file = self.rows.into_inner().map_err(|error| unwritten(error.into_error()))?;
        let file = file.into_inner().map_err(|error| unwritten(error.into_error()))?;
        if let Some(mut replacement) = self.replacement {
            file.sync_all().map_err(unwritten)?;
            std::fs::rename(&replacement.part, &replacement.path).map_err(unwritten)?;
            replacement.whole = true;
        }
        Ok(())
    }
}

/// Opens what a path names: a new file beside a file that is there or not, or a FIFO or a device itself.
fn open(path: &Path) -> std::io::Result<(File, Option<Replacement>)> {
    let target = match path.canonicalize() {
        Ok(target) => target,
        Err(error) if error.kind() == ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(error),
    };
    // Below these, even a regular file is an open one of some process: its standard output, say.
    let is_open = ["/dev", "/proc"].iter().any(|folder| path.starts_with(folder));
    if is_open || (target.exists() && !target.is_file()) {
        return Ok((OpenOptions::new().write(true).open(path)?, None));
    }
    let mut part = target.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    Ok((File::create(&part)?, Some(Replacement { part, path: target, whole: false })))
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
        // A link stays one; what is not finished leaves nothing.
        let link = dir.path().join("link.csv");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        Spreadsheet::create(&link, &["c"]).unwrap().finish().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "\u{feff}c\r\n");
        assert!(link.is_symlink());
        drop(Spreadsheet::create(&path, &["d"]).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "\u{feff}c\r\n");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_fifo_is_written_to_and_stays() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let reader = std::thread::spawn({
            let path = path.clone();
            move || std::fs::read_to_string(path).unwrap()
        });
        let mut sheet = Spreadsheet::create(&path, &["a"]).unwrap();
        sheet.row(["1"]).unwrap();
        sheet.finish().unwrap();
        assert_eq!(reader.join().unwrap(), "\u{feff}a\r\n1\r\n");
        assert!(std::os::unix::fs::FileTypeExt::is_fifo(&path.metadata().unwrap().file_type()));
        let full = Spreadsheet::create(Path::new("/dev/full"), &["a"]);
        assert!(full.and_then(Spreadsheet::finish).is_err());
    }
}
