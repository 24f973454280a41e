//! Decoder of requests in protobuf JSON. It reports every invalid field by its path, and never repeats a value.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fmt;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::de::StrRead;
use serde_json::{Map, Value as Json, json};

/// Parses a message from its JSON.
///
/// # Errors
/// Every invalid field, each by its path.
pub fn parse(text: &str, message: &MessageDescriptor) -> Result<DynamicMessage, Vec<String>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (json, duplicates) = parse_json(text).map_err(|error| vec![error])?;
    decode(json, message, "", duplicates)
}

/// Parses the messages of a text, one after the other.
///
/// # Errors
/// Every invalid field of every message, each by the number of its message, if there are several, and its path.
pub fn parse_all(text: &str, message: &MessageDescriptor) -> Result<Vec<DynamicMessage>, Vec<String>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = serde_json::Deserializer::from_str(text);
    let (mut found, mut faults) = (Vec::new(), Vec::new());
    while reader.end().is_err() {
        let (json, duplicates) = parse_next(&mut reader).map_err(|error| vec![error])?;
        found.push(decode(json, message, "", duplicates));
    }
    let is_one = found.len() == 1;
    let mut messages = Vec::with_capacity(found.len());
    for (at, found) in found.into_iter().enumerate() {
        match found {
            Ok(message) => messages.push(message),
            Err(of_one) if is_one => faults.extend(of_one),
            Err(of_one) => faults.extend(of_one.iter().map(|fault| format!("message {}: {fault}", at + 1))),
        }
    }
    if faults.is_empty() { Ok(messages) } else { Err(faults) }
}

/// Parses JSON; returns it with a line for each member that an object has twice.
///
/// # Errors
/// What is wrong, with its line and column.
pub fn parse_json(text: &str) -> Result<(Json, Vec<String>), String> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let found = parse_next(&mut reader)?;
    reader.end().map_err(|error| json_fault(&error))?;
    Ok(found)
}

/// Parses the next value of a text as [`parse_json`] does.
fn parse_next(reader: &mut serde_json::Deserializer<StrRead<'_>>) -> Result<(Json, Vec<String>), String> {
    let duplicates = RefCell::new(Vec::new());
    let json = JsonAtPath { path: String::new(), duplicates: &duplicates }.deserialize(reader);
    Ok((json.map_err(|error| json_fault(&error))?, duplicates.into_inner()))
}

fn json_fault(error: &serde_json::Error) -> String {
    let fault = if error.is_eof() { "the JSON ends too early" } else { "not JSON" };
    format!("line {}, column {}: {fault}", error.line(), error.column())
}

/// Decodes a message from the JSON at `path`; `faults` are those found before.
///
/// # Errors
/// Every invalid field, each by its path, and the faults found before.
pub fn decode(
    json: Json,
    message: &MessageDescriptor,
    path: &str,
    mut faults: Vec<String>,
) -> Result<DynamicMessage, Vec<String>> {
    check_message(&json, message, path, &mut faults);
    if !faults.is_empty() {
        return Err(faults);
    }
    let read = DynamicMessage::deserialize(message.clone(), json);
    read.map_err(|_| vec!["two fields are set of which only one may be set".to_owned()])
}

fn check_message(json: &Json, message: &MessageDescriptor, path: &str, faults: &mut Vec<String>) {
    let Some(fields) = json.as_object() else {
        let subject = if path.is_empty() { "the file" } else { path };
        faults.push(format!("{subject}: not an object in braces"));
        return;
    };
    let (mut spelt, mut chosen) = (HashMap::new(), HashMap::new());
    for (name, value) in fields {
        let path = member_path(path, name);
        let known = message.get_field_by_json_name(name).or_else(|| message.get_field_by_name(name));
        if let Some(field) = known.as_ref().filter(|_| !value.is_null()) {
            if let Some(other) = spelt.insert(field.number(), name) {
                faults.push(format!("{path}: given as {other} as well"));
            } else if let Some(one_of) = field.containing_oneof()
                && let Some(other) = chosen.insert(one_of.name().to_owned(), name)
            {
                faults.push(format!("{path}: only one of it and {other} can be given"));
            }
        }
        match (known, value) {
            (None, _) => faults.push(format!("{path}: {} has no such field", message.name())),
            (Some(_), Json::Null) => {}
            (Some(field), Json::Array(values)) if field.is_list() => {
                for (at, value) in values.iter().enumerate() {
                    check_field(value, &field, &format!("{path}[{at}]"), faults);
                }
            }
            (Some(field), _) if field.is_list() => faults.push(format!("{path}: not a list in brackets")),
            (Some(field), _) => check_field(value, &field, &path, faults),
        }
    }
}

/// Returns the path of a member of the object at `path`.
fn member_path(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Deserializer of the JSON value at a path. It records every duplicate key of an object; `serde_json` alone would
/// silently keep the last value.
struct JsonAtPath<'a> {
    path: String,
    duplicates: &'a RefCell<Vec<String>>,
}

impl<'de> DeserializeSeed<'de> for JsonAtPath<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for JsonAtPath<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
        let mut values = Vec::new();
        loop {
            let path = format!("{}[{}]", self.path, values.len());
            match list.next_element_seed(JsonAtPath { path, duplicates: self.duplicates })? {
                Some(value) => values.push(value),
                None => return Ok(Json::Array(values)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Json, A::Error> {
        let (mut fields, mut noted) = (Map::new(), HashSet::new());
        while let Some(name) = object.next_key::<String>()? {
            let path = member_path(&self.path, &name);
            let value =
                object.next_value_seed(JsonAtPath { path: path.clone(), duplicates: self.duplicates })?;
            if fields.insert(name.clone(), value).is_some() && noted.insert(name) {
                self.duplicates.borrow_mut().push(format!("{path}: given twice"));
            }
        }
        Ok(Json::Object(fields))
    }
}

fn check_field(json: &Json, field: &FieldDescriptor, path: &str, faults: &mut Vec<String>) {
    if let Kind::Message(inner) = field.kind()
        && inner.package_name() != "google.protobuf"
        && !field.is_map()
    {
        return check_message(json, &inner, path, faults);
    }
    let value = if field.is_list() { json!([json]) } else { json.clone() };
    let alone = json!({ field.name(): value });
    if json.is_null() || DynamicMessage::deserialize(field.parent_message().clone(), alone).is_err() {
        faults.push(format!("{path}: {}", type_fault(&field.kind())));
    }
}

/// Returns the fault of a value that does not have the type of its field.
fn type_fault(kind: &Kind) -> String {
    match kind {
        Kind::Bool => "neither true nor false".to_owned(),
        Kind::String => "not a text in quotation marks".to_owned(),
        Kind::Bytes => "not base64".to_owned(),
        Kind::Double | Kind::Float => "not a number".to_owned(),
        Kind::Enum(list) => {
            let names: Vec<String> = list.values().map(|value| value.name().to_owned()).collect();
            format!("not one of {}", names.join(", "))
        }
        Kind::Message(message) if message.name() == "Timestamp" => {
            "not a time such as 2026-11-20T16:00:00Z".to_owned()
        }
        Kind::Message(message) => format!("not a {}", message.name()),
        _ => "not a whole number in range".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::output;
    use super::*;

    fn input(method: &str) -> MessageDescriptor {
        crate::proto::methods().find(|known| known.name() == method).unwrap().input()
    }

    fn referral(text: &str) -> Result<DynamicMessage, Vec<String>> {
        parse(text, &input("CreateReferral"))
    }

    #[test]
    fn every_field_at_fault_is_named_and_no_value_repeated() {
        let faults = referral(
            r#"{ "provider": 7, "child": { "legalSurname": "Canary", "surname": "Canary", "year_group": "Canary" },
                "schools_on_roll": "Canary", "reason": "CANARY", "officer": [], "validate_only": "Canary" }"#,
        )
        .unwrap_err();
        let mut paths: Vec<&str> = faults.iter().map(|fault| fault.split(':').next().unwrap()).collect();
        paths.sort_unstable();
        assert_eq!(
            paths,
            [
                "child.surname",
                "child.year_group",
                "officer",
                "provider",
                "reason",
                "schools_on_roll",
                "validate_only"
            ]
        );
        assert!(!faults.concat().to_lowercase().contains("canary"), "{faults:?}");
        assert_eq!(referral("{").unwrap_err(), ["line 1, column 1: the JSON ends too early"]);
        assert_eq!(referral("{]").unwrap_err(), ["line 1, column 2: not JSON"]);
        assert_eq!(referral("[]").unwrap_err(), ["the file: not an object in braces"]);
        assert_eq!(
            parse(r#"{"plan": {"outcomes": [{}, {"target": 1}]}}"#, &input("PutPlan")).unwrap_err(),
            ["plan.outcomes[1].target: not a text in quotation marks"]
        );
    }

    #[test]
    fn json_is_taken_as_protobuf_prints_it() {
        for text in [
            r#"{ "child": { "legal_surname": "Ó", "yearGroup": 9 }, "legal_basis": "LEGAL_BASIS_SECTION_19" }"#,
            "\u{feff}{ \"child\": { \"legalSurname\": \"Ó\", \"year_group\": \"9\" }, \"legalBasis\": 1, \"needs\": null }",
        ] {
            let json = output::dynamic_to_json(&referral(text).unwrap()).unwrap();
            assert_eq!(json["child"], json!({ "legal_surname": "Ó", "year_group": 9 }), "{text}");
        }
    }

    #[test]
    fn what_is_given_twice_is_named() {
        for (text, faults) in [
            (r#"{ "needs": "a", "needs": "a", "needs": "b" }"#, vec!["needs: given twice"]),
            (r#"{ "child": { "sex": "F", "sex": "M" } }"#, vec!["child.sex: given twice"]),
            (r#"{ "requestId": "a", "request_id": "a" }"#, vec!["request_id: given as requestId as well"]),
            (r#"{ "officer": { "name": "a" }, "officer": null }"#, vec!["officer: given twice"]),
        ] {
            assert_eq!(referral(text).unwrap_err(), faults, "{text}");
        }
        let marks = r#"{ "marks": [{}, { "upn": "a", "placementId": "b", "date": "c", "date": "c" }] }"#;
        let mut faults = parse(marks, &input("SubmitAttendance")).unwrap_err();
        faults.sort_unstable();
        assert_eq!(
            faults,
            ["marks[1].date: given twice", "marks[1].upn: only one of it and placementId can be given"]
        );
        assert!(referral(r#"{ "requestId": null, "request_id": "a", "needs": "b" }"#).is_ok());
    }
}
