//! Registers as management information systems and tutors write them, read into marks. Which column holds what
//! is a mapping's to say; what a row lacks is told by line, column and reason.

mod cells;
pub(super) mod finding;
mod mapping;
pub mod preview;
mod rows;
#[cfg(test)]
mod tests;
mod text;

use std::path::Path;

pub use finding::{Finding, Severity};
use mapping::{CHILD, Column, Field, Mapping};

use super::Failure;
use crate::proto::v1::Mark;

/// Largest file, in bytes.
const LARGEST: u64 = 64 << 20;

/// A mark of the file, as it will be sent.
#[derive(Clone)]
pub struct Row {
    /// Line in the file, from 1.
    pub line: u64,
    /// The mark.
    pub mark: Mark,
    /// The column of the mark.
    column: usize,
}

impl Row {
    /// A mark that stands in no file.
    pub fn alone(mark: Mark) -> Self {
        Self { line: 1, mark, column: 0 }
    }
}

/// A file that was read.
pub struct Register {
    /// The mapping that read it.
    mapping: Mapping,
    /// How it was encoded.
    pub encoding: &'static str,
    headings: Vec<String>,
    columns: Vec<Column>,
    /// Its marks, in order.
    pub rows: Vec<Row>,
    /// What cannot be read.
    pub findings: Vec<Finding>,
    /// Cells without a mark.
    empty: usize,
}

impl Register {
    /// The heading of the column that holds what the gateway calls `field`.
    #[must_use]
    pub fn column(&self, row: &Row, field: &str) -> String {
        let of = |field: Field| self.columns.iter().position(|column| *column == Column::Field(field));
        let at = match field {
            "code" | "seen" | "" => Some(row.column),
            "upn" | "provider_reference" | "placement_id" => CHILD.into_iter().find_map(of),
            "date" | "session" => Field::named(field).and_then(of).or(Some(row.column)),
            other => Field::named(other).and_then(of),
        };
        at.and_then(|at| self.headings.get(at)).map_or(field, String::as_str).to_owned()
    }
}

/// Reads a file by the mapping that is given, or by the built-in one that its headings call for.
///
/// # Errors
/// Exit code 64 when it is no register at all, 78 for the mapping.
pub fn read(file: &Path, mapping: Option<&Path>) -> Result<Register, Failure> {
    let told = |what: &str| Failure::input(format!("{}: {what}", file.display()));
    let mapping = mapping.map(Mapping::load).transpose()?;
    let size = std::fs::metadata(file).map_err(|_| told("the file cannot be read"))?.len();
    if size > LARGEST {
        return Err(told("the file is larger than 64 MiB"));
    }
    let bytes = std::fs::read(file).map_err(|_| told("the file cannot be read"))?;
    parse(&bytes, mapping).map_err(|failure| failure.of(&file.display().to_string()))
}

fn parse(bytes: &[u8], mapping: Option<Mapping>) -> Result<Register, Failure> {
    let (text, encoding) = text::decode(bytes).map_err(Failure::input)?;
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    let headings = reader.headers().map_err(|_| Failure::input("the first line is not a CSV heading"))?;
    let headings: Vec<String> = headings.iter().map(text::clean).collect();
    let (mapping, columns) = match mapping {
        None => Mapping::choose(&headings)?,
        Some(mapping) => {
            let columns = mapping.columns(&headings);
            let missing = mapping.missing(&columns);
            if !missing.is_empty() {
                return Err(Failure::input(format!("no column holds {}", missing.join("; nor "))));
            }
            (mapping, columns)
        }
    };
    let mut register =
        Register { mapping, encoding, headings, columns, rows: Vec::new(), findings: Vec::new(), empty: 0 };
    rows::headings(&mut register);
    let mut lines = Lines { text: text.as_bytes(), at: 0, line: 1 };
    for record in reader.records() {
        let record = record.map_err(|_| Failure::input("the file is not CSV to its end"))?;
        let line = lines.at(record.position().map_or(0, csv::Position::byte));
        rows::take(&mut register, line, &record);
    }
    Ok(register)
}

/// Counts lines as an editor does: the CSV reader counts CRLF only when it meets the next record.
struct Lines<'a> {
    text: &'a [u8],
    at: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line of the record that begins at or after a byte; records come in order.
    fn at(&mut self, byte: u64) -> u64 {
        let mut end = usize::try_from(byte).unwrap_or(self.at);
        while matches!(self.text.get(end), Some(b'\r' | b'\n')) {
            end += 1;
        }
        let passed = self.text.get(self.at..end).unwrap_or_default();
        self.line += passed.iter().map(|byte| u64::from(*byte == b'\n')).sum::<u64>();
        self.at = end;
        self.line
    }
}
