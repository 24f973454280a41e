//! CSV writer for spreadsheets: UTF-8 with a byte order mark, line ends of RFC 4180, and no cell that a spreadsheet
//! would interpret as a formula (OWASP, CSV injection; ASVS 1.2.10).

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::Failure;

/// Writer of one CSV file. A regular file gets its name only when it is complete; a FIFO, a device or a path that
/// denotes standard output is written in place and never replaced.
pub struct SpreadsheetWriter {
    writer: csv::Writer<BufWriter<File>>,
    /// Temporary file of a regular file; `None` if the target is written in place.
    replacement: Option<PartFile>,
}

/// Temporary file that replaces the target when it is complete, and is removed on drop otherwise.
struct PartFile {
    temporary: PathBuf,
    path: PathBuf,
    is_complete: bool,
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if !self.is_complete {
            std::fs::remove_file(&self.temporary).ok();
        }
    }
}

impl SpreadsheetWriter {
    /// Creates the file and writes its heading.
    ///
    /// # Errors
    /// Exit code 69 if the file cannot be written, as for every method.
    pub fn create(path: &Path, heading: &[&str]) -> Result<Self, Failure> {
        let (file, replacement) = open_target(path).map_err(write_failure)?;
        let mut file = BufWriter::new(file);
        file.write_all("\u{feff}".as_bytes()).map_err(write_failure)?;
        let mut rows = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(file);
        rows.write_record(heading).map_err(write_failure)?;
        Ok(Self { writer: rows, replacement })
    }

    /// Writes a row.
    ///
    /// # Errors
    /// As [`SpreadsheetWriter::create`].
    pub fn write_row<'a>(&mut self, cells: impl IntoIterator<Item = &'a str>) -> Result<(), Failure> {
        self.writer
            .write_record(cells.into_iter().map(|text| escape_formula(text).into_owned()))
            .map_err(write_failure)
    }

    /// Returns whether the target is written in place, and may therefore be standard output.
    #[must_use]
    pub fn is_written_in_place(&self) -> bool {
        self.replacement.is_none()
    }

    /// Completes the file. On return it is on disk under its name.
    ///
    /// # Errors
    /// As [`SpreadsheetWriter::create`].
    pub fn finish(self) -> Result<(), Failure> {
        let file = self.writer.into_inner().map_err(|error| write_failure(error.into_error()))?;
        let file = file.into_inner().map_err(|error| write_failure(error.into_error()))?;
        if let Some(mut replacement) = self.replacement {
            file.sync_all().map_err(write_failure)?;
            std::fs::rename(&replacement.temporary, &replacement.path).map_err(write_failure)?;
            replacement.is_complete = true;
        }
        Ok(())
    }
}

/// Opens the target of a path: a temporary file next to a regular or new file, or a FIFO or a device itself.
fn open_target(path: &Path) -> std::io::Result<(File, Option<PartFile>)> {
    let target = match path.canonicalize() {
        Ok(target) => target,
        Err(error) if error.kind() == ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(error),
    };
    // In these folders even a regular file is an open file of a process, such as its standard output.
    let is_open = ["/dev", "/proc"].iter().any(|folder| path.starts_with(folder));
    if is_open || (target.exists() && !target.is_file()) {
        return Ok((OpenOptions::new().write(true).open(path)?, None));
    }
    let mut part = target.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    Ok((File::create(&part)?, Some(PartFile { temporary: part, path: target, is_complete: false })))
}

fn write_failure(error: impl std::error::Error) -> Failure {
    Failure::unavailable("the file", error)
}

/// Returns the text with an apostrophe in front if its first character begins a formula, also in its full-width form,
/// or is a control character that a spreadsheet may strip from the front of a formula.
fn escape_formula(text: &str) -> Cow<'_, str> {
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
            assert_eq!(escape_formula(text), format!("'{text}"));
        }
        for text in ["", "a=1", "1-1", "'=1", "provider/riverside", "O’Brien"] {
            assert_eq!(escape_formula(text), text);
        }
    }

    #[test]
    fn a_file_is_whole_or_not_there() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("log.csv");
        let mut sheet = SpreadsheetWriter::create(&path, &["a", "b"]).unwrap();
        sheet.write_row(["=1", "two\r\nlines, \"quoted\""]).unwrap();
        assert!(!path.exists());
        sheet.finish().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "\u{feff}a,b\r\n'=1,\"two\r\nlines, \"\"quoted\"\"\"\r\n");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        // A link is preserved, and an unfinished file is removed.
        let link = dir.path().join("link.csv");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        SpreadsheetWriter::create(&link, &["c"]).unwrap().finish().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "\u{feff}c\r\n");
        assert!(link.is_symlink());
        drop(SpreadsheetWriter::create(&path, &["d"]).unwrap());
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
        let mut sheet = SpreadsheetWriter::create(&path, &["a"]).unwrap();
        sheet.write_row(["1"]).unwrap();
        sheet.finish().unwrap();
        assert_eq!(reader.join().unwrap(), "\u{feff}a\r\n1\r\n");
        assert!(std::os::unix::fs::FileTypeExt::is_fifo(&path.metadata().unwrap().file_type()));
        let full = SpreadsheetWriter::create(Path::new("/dev/full"), &["a"]);
        assert!(full.and_then(SpreadsheetWriter::finish).is_err());
    }
}
