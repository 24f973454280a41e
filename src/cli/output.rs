//! What verbs print: protobuf JSON for scripts, columns for people. The one place that writes to standard output.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::sync::OnceLock;

use prost::Message;
use prost_reflect::{DynamicMessage, SerializeOptions};

use super::Failure;
use crate::proto;

/// The first failure of standard output. Nothing is written after it, and no verb succeeds.
static FAILED: OnceLock<std::io::Error> = OnceLock::new();

/// Writes a line for people or scripts to standard output and flushes it. [`written`] returns what failed; `main`
/// asks it at the end of every verb.
pub fn say(line: &str) {
    if FAILED.get().is_some() {
        return;
    }
    let mut out = std::io::stdout().lock();
    if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush()) {
        FAILED.set(error).ok();
    }
}

/// Checks that every line so far was written and flushed.
///
/// # Errors
/// Exit code 69 when standard output is closed or full.
pub fn written() -> Result<(), Failure> {
    FAILED.get().map_or(Ok(()), |error| Err(Failure::unavailable("standard output", error)))
}

/// As [`written`]; what went to a file is on its disk as well.
///
/// # Errors
/// As [`written`].
pub fn stored() -> Result<(), Failure> {
    written()?;
    let file = std::io::stdout().as_fd().try_clone_to_owned().map(File::from);
    let stored = file.and_then(|file| if file.metadata()?.is_file() { file.sync_data() } else { Ok(()) });
    stored.map_err(|error| Failure::unavailable("standard output", error))
}

/// Checks that standard output leads to somebody. A program that was started with it closed finds the null device in
/// its place, where every write succeeds and is lost.
///
/// # Errors
/// Exit code 69.
pub fn heard() -> Result<(), Failure> {
    let unavailable = |error| Failure::unavailable("standard output", error);
    let out = std::io::stdout().as_fd().try_clone_to_owned().map(File::from).map_err(unavailable)?;
    let (out, null) = (out.metadata().map_err(unavailable)?, std::fs::metadata("/dev/null"));
    if null.is_ok_and(|null| out.file_type().is_char_device() && out.rdev() == null.rdev()) {
        let lost = std::io::Error::other("closed, or /dev/null: what is new would be lost");
        return Err(unavailable(lost));
    }
    Ok(())
}

/// Prints a message of `apgateway.v1` as one line of protobuf JSON, with the field names of the protos.
///
/// # Errors
/// Exit code 70 only.
pub fn json(name: &str, message: &impl Message) -> Result<(), Failure> {
    say(&to_json(name, message)?.to_string());
    Ok(())
}

/// A message of `apgateway.v1` as protobuf JSON.
///
/// # Errors
/// Exit code 70 only.
pub fn to_json(name: &str, message: &impl Message) -> Result<serde_json::Value, Failure> {
    let bug = |what: String| Failure::bug("a message as JSON", std::io::Error::other(what));
    let full = format!("apgateway.v1.{name}");
    let descriptor = proto::descriptors().get_message_by_name(&full);
    let descriptor = descriptor.ok_or_else(|| bug(format!("{full} is not described")))?;
    let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice());
    dynamic_json(&dynamic.map_err(|error| bug(error.to_string()))?)
}

/// A message that is known by its descriptor alone, as protobuf JSON.
///
/// # Errors
/// Exit code 70 only.
pub fn dynamic_json(message: &DynamicMessage) -> Result<serde_json::Value, Failure> {
    let options = SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(true);
    let value = message.serialize_with_options(serde_json::value::Serializer, &options);
    value.map_err(|error| Failure::bug("a message as JSON", error))
}

/// Writes a line for people to standard error, beside what a verb prints.
pub fn note(text: &str) {
    writeln!(std::io::stderr().lock(), "ap-gateway: {text}").ok();
}

/// How far a long verb has come, on a terminal alone; an empty text clears it.
pub fn progress(text: &str) {
    let mut err = std::io::stderr().lock();
    if err.is_terminal() {
        write!(err, "\r\x1b[K{text}").and_then(|()| err.flush()).ok();
    }
}

/// Prints rows under a heading, each column as wide as its widest cell.
pub fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) {
    let mut widths = heading.map(|cell| cell.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: [&str; N]| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        say(padded.collect::<Vec<_>>().join("  ").trim_end());
    };
    line(heading);
    for row in rows {
        line(row.each_ref().map(String::as_str));
    }
}
