//! Readable form of a log entry: JSON decoded from the entry's bytes by the descriptors of the protos. Identifiers are
//! UUIDs, times RFC 3339, other bytes hexadecimal; members have the names of the fields, in which a time's unit (`_us`)
//! is left out.

use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, Value};
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use crate::clock::Instant;
use crate::proto;

/// Decodes the bytes of an entry. Only the one encoding that the log writes is accepted, so that no two readers can
/// decode the same bytes differently.
///
/// # Errors
/// What is wrong, if the bytes are not an entry, have a field or a value that this release does not know, or are
/// encoded in another way.
pub fn decode_entry(bytes: &[u8]) -> Result<Map<String, Json>, String> {
    let message = proto::descriptor_pool().get_message_by_name("apgateway.v1.AuditEntry");
    let message = message.ok_or_else(|| "entry: not described".to_owned())?;
    let entry = DynamicMessage::decode(message, bytes)
        .map_err(|_| "receipt.entry: not the encoding of an entry".to_owned())?;
    let members = readable_members(&entry, "entry")?;
    if entry.encode_to_vec() != bytes {
        return Err("receipt.entry: not encoded as the log encodes an entry".to_owned());
    }
    Ok(members)
}

fn readable_members(message: &DynamicMessage, path: &str) -> Result<Map<String, Json>, String> {
    if let Some(unknown) = message.unknown_fields().next() {
        let number = unknown.number();
        return Err(format!("{path}: field {number} is not known to this release"));
    }
    let member = |(field, value): (FieldDescriptor, &Value)| {
        let name = field.name();
        let name = if is_time(&field) { name.trim_end_matches("_us") } else { name };
        Ok((name.to_owned(), readable_value(value, &field, &format!("{path}.{name}"))?))
    };
    message.fields().map(member).collect()
}

fn readable_value(value: &Value, field: &FieldDescriptor, path: &str) -> Result<Json, String> {
    let unreadable = || format!("{path}: has no readable form");
    Ok(match value {
        Value::Bool(value) => Json::from(*value),
        Value::I32(value) => Json::from(*value),
        Value::U32(value) => Json::from(*value),
        Value::I64(value) if is_time(field) => {
            Instant::from_micros(*value).map_err(|_| unreadable())?.to_string().into()
        }
        Value::I64(value) => value.to_string().into(),
        Value::U64(value) => value.to_string().into(),
        Value::String(value) => value.as_str().into(),
        Value::Bytes(value) if field.name().ends_with("_id") => {
            Uuid::from_slice(value).map_err(|_| unreadable())?.hyphenated().to_string().into()
        }
        Value::Bytes(value) => {
            value.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}")).into()
        }
        Value::EnumNumber(number) => {
            let kind = field.kind();
            let known = kind.as_enum().and_then(|known| known.get_value(*number));
            known.ok_or_else(unreadable)?.name().into()
        }
        Value::Message(message) => readable_members(message, path)?.into(),
        Value::List(values) => {
            let value = |value| readable_value(value, field, path);
            Json::Array(values.iter().map(value).collect::<Result<_, _>>()?)
        }
        Value::F32(_) | Value::F64(_) | Value::Map(_) => return Err(unreadable()),
    })
}

/// Returns whether a field is a time in microseconds since 1970.
fn is_time(field: &FieldDescriptor) -> bool {
    field.kind() == Kind::Int64 && field.name().ends_with("_us")
}
