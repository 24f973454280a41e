//! Output of the commands: protobuf JSON for scripts, tables for people. Only this module writes to standard output.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::sync::OnceLock;

use prost::Message;
use prost_reflect::{DynamicMessage, SerializeOptions};
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};

use super::Failure;
use crate::proto;

/// First error of standard output. After it nothing more is written, and the command fails.
static STDOUT_ERROR: OnceLock<std::io::Error> = OnceLock::new();

/// Writes a line to standard output and flushes it. An error is stored; [`check_written`] returns it, and `main` calls that
/// at the end of every command.
pub fn print_line(line: &str) {
    if STDOUT_ERROR.get().is_some() {
        return;
    }
    let mut out = std::io::stdout().lock();
    if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush()) {
        STDOUT_ERROR.set(error).ok();
    }
}

/// Checks that all lines so far were written and flushed.
///
/// # Errors
/// Exit code 69 if standard output is closed or full.
pub fn check_written() -> Result<(), Failure> {
    STDOUT_ERROR.get().map_or(Ok(()), |error| Err(Failure::unavailable("standard output", error)))
}

/// Checks as [`check_written`] does, at the end of a command whose call may have had an effect.
///
/// # Errors
/// As [`check_written`], with a line that the gateway has responded.
pub fn check_response_written() -> Result<(), Failure> {
    check_written().map_err(|failure| {
        failure.with_advice("the gateway has responded, but the response could not be written")
    })
}

/// Checks as [`check_written`] does, and syncs standard output to disk if it is a file.
///
/// # Errors
/// As [`check_written`].
pub fn sync_stdout() -> Result<(), Failure> {
    check_written()?;
    let file = std::io::stdout().as_fd().try_clone_to_owned().map(File::from);
    let stored = file.and_then(|file| if file.metadata()?.is_file() { file.sync_data() } else { Ok(()) });
    stored.map_err(|error| Failure::unavailable("standard output", error))
}

/// Checks that standard output is not the null device, where every write succeeds and is lost. A program that is
/// started with standard output closed gets the null device in its place.
///
/// # Errors
/// Exit code 69 if it is the null device or cannot be inspected.
pub fn check_stdout_is_read() -> Result<(), Failure> {
    let unavailable = |error| Failure::unavailable("standard output", error);
    let out = std::io::stdout().as_fd().try_clone_to_owned().map(File::from).map_err(unavailable)?;
    let (out, null) = (out.metadata().map_err(unavailable)?, std::fs::metadata("/dev/null"));
    if null.is_ok_and(|null| out.file_type().is_char_device() && out.rdev() == null.rdev()) {
        let lost = std::io::Error::other("closed, or /dev/null: new deliveries would be lost");
        return Err(unavailable(lost));
    }
    Ok(())
}

/// Prints a message of `apgateway.v1` as one line of protobuf JSON, with the field names of the protos.
///
/// # Errors
/// Exit code 70 if the message cannot be converted, which is a bug.
pub fn print_json(name: &str, message: &impl Message) -> Result<(), Failure> {
    print_line(&to_json(name, message)?.to_string());
    Ok(())
}

/// Converts a message of `apgateway.v1` to protobuf JSON.
///
/// # Errors
/// Exit code 70 if the message cannot be converted, which is a bug.
pub fn to_json(name: &str, message: &impl Message) -> Result<serde_json::Value, Failure> {
    let bug = |what: String| Failure::bug("a message as JSON", std::io::Error::other(what));
    let full = format!("apgateway.v1.{name}");
    let descriptor = proto::descriptor_pool().get_message_by_name(&full);
    let descriptor = descriptor.ok_or_else(|| bug(format!("{full} is not described")))?;
    let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice());
    dynamic_to_json(&dynamic.map_err(|error| bug(error.to_string()))?)
}

/// Converts a dynamic message to protobuf JSON.
///
/// # Errors
/// Exit code 70 if the message cannot be converted, which is a bug.
pub fn dynamic_to_json(message: &DynamicMessage) -> Result<serde_json::Value, Failure> {
    let value = message.serialize_with_options(serde_json::value::Serializer, &json_options());
    value.map_err(|error| Failure::bug("a message as JSON", error))
}

/// Converts a dynamic message to one line of protobuf JSON, in the order of its fields.
///
/// # Errors
/// Exit code 70 if the message cannot be converted, which is a bug.
pub fn compact_json(message: &DynamicMessage) -> Result<String, Failure> {
    write_json(message, CompactFormatter)
}

/// Converts a dynamic message to protobuf JSON for people, in the order of its fields.
///
/// # Errors
/// As [`compact_json`].
pub fn pretty_json(message: &DynamicMessage) -> Result<String, Failure> {
    write_json(message, PrettyFormatter::new())
}

fn write_json(message: &DynamicMessage, formatter: impl Formatter) -> Result<String, Failure> {
    let mut text = Vec::new();
    let mut writer = serde_json::Serializer::with_formatter(&mut text, formatter);
    message
        .serialize_with_options(&mut writer, &json_options())
        .map_err(|error| Failure::bug("a message as JSON", error))?;
    String::from_utf8(text).map_err(|error| Failure::bug("a message as JSON", error))
}

fn json_options() -> SerializeOptions {
    SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(true)
}

/// Writes a line for people to standard error, separate from the command's output.
pub fn print_note(text: &str) {
    writeln!(std::io::stderr().lock(), "ap-gateway: {text}").ok();
}

/// Shows the progress of a long command on standard error if that is a terminal; an empty text clears it.
pub fn print_progress(text: &str) {
    let mut err = std::io::stderr().lock();
    if err.is_terminal() {
        write!(err, "\r\x1b[K{text}").and_then(|()| err.flush()).ok();
    }
}

/// Prints a table with a heading; each column is as wide as its widest cell. Control characters are escaped, because
/// cells hold what others sent.
pub fn print_table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) {
    for line in table_lines(heading, rows) {
        print_line(&line);
    }
}

/// Returns the lines of a table.
fn table_lines<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> Vec<String> {
    let cells: Vec<[String; N]> = std::iter::once(heading.map(str::to_owned))
        .chain(rows.iter().map(|row| row.each_ref().map(|cell| escape_control(cell))))
        .collect();
    let mut widths = [0; N];
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; N]| {
        let padded = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    cells.iter().map(line).collect()
}

/// Escapes the characters that would move a terminal's cursor, break a line or turn the direction of a text.
#[must_use]
pub fn escape_control(text: &str) -> String {
    let is_escaped = |character: char| {
        character.is_control()
            || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if is_escaped(character) {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_cannot_write_to_the_terminal_or_begin_a_line() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned);
        let rows = [row(["Zoë", "a\u{1b}[2J"]), row(["two\nlines", "\u{202e}b\u{9b}"])];
        let lines = table_lines(["NAME", "SUBJECT"], &rows);
        assert_eq!(lines, ["NAME        SUBJECT", r"Zoë         a\u{1b}[2J", r"two\nlines  \u{202e}b\u{9b}"]);
    }
}
