//! `push`, `submit progress` and `passport get`: a method that is known by its descriptor alone, its request
//! written as protobuf JSON. Every field at fault is named by its path, and no value is repeated.

use std::path::Path;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, Value};
use serde_json::{Value as Json, json};

use super::args::{GetPassport, PushFile};
use super::{Failure, output, profile, say};
use crate::client::Client;
use crate::clock::Randomness;
use crate::proto;

/// Largest file, in bytes: the gateway takes no larger message.
const LARGEST: u64 = 1 << 20;

/// Sends the request in a file to a method of the gateway, and shows the reply.
///
/// # Errors
/// Exit code 64 for the file, with every field at fault; or the client's.
pub async fn send(method: &str, args: &PushFile) -> Result<(), Failure> {
    let (method, request) = read(method, &args.file)?;
    let client = profile::open(&args.of).await?;
    show(&call(&client, &method, request).await?, args.of.json)
}

/// Shows what the caller's system may read of a passport.
///
/// # Errors
/// The client's.
pub async fn passport(args: &GetPassport) -> Result<(), Failure> {
    let method = find("GetPassport")?;
    let mut request = DynamicMessage::new(method.input());
    request.set_field_by_name("placement_id", Value::String(args.placement.clone()));
    let client = profile::open(&args.of).await?;
    show(&call(&client, &method, request).await?, args.of.json)
}

/// Calls a method; a request without an id is given one.
///
/// # Errors
/// The client's.
pub async fn call(
    client: &Client,
    method: &MethodDescriptor,
    mut request: DynamicMessage,
) -> Result<DynamicMessage, Failure> {
    let mut id = request.get_field_by_name("request_id").and_then(|id| Some(id.as_str()?.to_owned()));
    if let Some(id) = id.as_mut().filter(|id| id.is_empty()) {
        *id = Randomness::system().uuid_v4().hyphenated().to_string();
        request.set_field_by_name("request_id", Value::String(id.clone()));
    }
    client.call_described(method, &request).await.map_err(|error| match id {
        Some(id) => Failure::from(error)
            .and(&format!("sent with request_id {id}: it takes effect once, however often it is sent")),
        None => error.into(),
    })
}

fn find(name: &str) -> Result<MethodDescriptor, Failure> {
    let found = proto::methods().find(|method| method.name() == name);
    found.ok_or_else(|| Failure::usage(format!("this release has no method {name}")))
}

fn show(reply: &DynamicMessage, json: bool) -> Result<(), Failure> {
    let reply = output::dynamic_json(reply)?;
    if json {
        say(&reply.to_string());
        return Ok(());
    }
    for (name, value) in reply.as_object().into_iter().flatten().filter(|(name, _)| *name != "receipt") {
        let text = value.as_str().map_or_else(|| format!("{value:#}"), str::to_owned);
        say(&format!("{name}: {text}"));
    }
    Ok(())
}

/// Reads a request of a method from a file.
///
/// # Errors
/// Exit code 64 for the file, with every field at fault.
pub fn read(method: &str, file: &Path) -> Result<(MethodDescriptor, DynamicMessage), Failure> {
    let method = find(method)?;
    let told = |what: &str| Failure::input(format!("{}: {what}", file.display()));
    let size = std::fs::metadata(file).map_err(|_| told("the file cannot be read"))?.len();
    if size > LARGEST {
        return Err(told("the file is larger than 1 MiB"));
    }
    let text = std::fs::read_to_string(file).map_err(|_| told("the file is not UTF-8 text"))?;
    let request = parse(&text, &method.input()).map_err(|faults| told(&faults.join("\n  ")))?;
    Ok((method, request))
}

/// Reads a message from its JSON.
fn parse(text: &str, message: &MessageDescriptor) -> Result<DynamicMessage, Vec<String>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let json: Json = serde_json::from_str(text)
        .map_err(|error| vec![format!("line {}, column {}: not JSON", error.line(), error.column())])?;
    let mut faults = Vec::new();
    of_message(&json, message, "", &mut faults);
    if !faults.is_empty() {
        return Err(faults);
    }
    let read = DynamicMessage::deserialize(message.clone(), json);
    read.map_err(|_| vec!["two fields of which only one can be said are both there".to_owned()])
}

fn of_message(json: &Json, message: &MessageDescriptor, path: &str, faults: &mut Vec<String>) {
    let Some(fields) = json.as_object() else {
        let whole = if path.is_empty() { "the file" } else { path };
        faults.push(format!("{whole}: not an object in braces"));
        return;
    };
    for (name, value) in fields {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let known = message.get_field_by_json_name(name).or_else(|| message.get_field_by_name(name));
        match (known, value) {
            (None, _) => faults.push(format!("{path}: {} has no such field", message.name())),
            (Some(_), Json::Null) => {}
            (Some(field), Json::Array(values)) if field.is_list() => {
                for (at, value) in values.iter().enumerate() {
                    of_field(value, &field, &format!("{path}[{at}]"), faults);
                }
            }
            (Some(field), _) if field.is_list() => faults.push(format!("{path}: not a list in brackets")),
            (Some(field), _) => of_field(value, &field, &path, faults),
        }
    }
}

fn of_field(json: &Json, field: &FieldDescriptor, path: &str, faults: &mut Vec<String>) {
    if let Kind::Message(inner) = field.kind()
        && inner.package_name() != "google.protobuf"
        && !field.is_map()
    {
        return of_message(json, &inner, path, faults);
    }
    let value = if field.is_list() { json!([json]) } else { json.clone() };
    let alone = json!({ field.name(): value });
    if json.is_null() || DynamicMessage::deserialize(field.parent_message().clone(), alone).is_err() {
        faults.push(format!("{path}: {}", wanted(&field.kind())));
    }
}

/// What a field would take.
fn wanted(kind: &Kind) -> String {
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
            "not a moment such as 2026-11-20T16:00:00Z".to_owned()
        }
        Kind::Message(message) => format!("not a {}", message.name()),
        _ => "not a whole number in range".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn referral(text: &str) -> Result<DynamicMessage, Vec<String>> {
        parse(text, &find("CreateReferral").unwrap().input())
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
        assert_eq!(referral("{").unwrap_err(), ["line 1, column 1: not JSON"]);
        assert_eq!(referral("[]").unwrap_err(), ["the file: not an object in braces"]);
        assert_eq!(
            parse(r#"{"plan": {"outcomes": [{}, {"target": 1}]}}"#, &find("PutPlan").unwrap().input())
                .unwrap_err(),
            ["plan.outcomes[1].target: not a text in quotation marks"]
        );
    }

    #[test]
    fn json_is_taken_as_protobuf_prints_it() {
        for text in [
            r#"{ "child": { "legal_surname": "Ó", "yearGroup": 9 }, "legal_basis": "LEGAL_BASIS_SECTION_19" }"#,
            "\u{feff}{ \"child\": { \"legalSurname\": \"Ó\", \"year_group\": \"9\" }, \"legalBasis\": 1, \"needs\": null }",
        ] {
            let json = output::dynamic_json(&referral(text).unwrap()).unwrap();
            assert_eq!(json["child"], json!({ "legal_surname": "Ó", "year_group": 9 }), "{text}");
        }
    }
}
