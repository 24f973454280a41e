//! What verbs print: protobuf JSON for scripts, columns for people.

use std::io::{IsTerminal, Write};

use prost::Message;
use prost_reflect::{DynamicMessage, SerializeOptions};

use super::{Failure, say};
use crate::proto;

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
