//! Bad input, from the data file tests/data/bad-input.csv. Every row of the catalogue (B1 to B107) is in it: tested
//! through a field check, over the wire, by raw bytes or frames, or by a test elsewhere; or with the reason why it
//! cannot be tested yet.

mod calls;
mod fields;

use std::collections::BTreeSet;
use std::path::Path;

use ap_gateway::clock::Randomness;
use ap_gateway::proto;
use prost::Message;
use prost_reflect::{DynamicMessage, Value};
use serde_json::Value as Json;
use tonic::Code;
use tonic_types::StatusExt;

use super::fixtures::{Fixtures, find_example, method_descriptor, method_path, parse_request};
use super::support::World;
use super::wire::{Answer, frame};

/// Maximum size of the headers and trailers of a refusal.
const MAX_REFUSAL_BYTES: usize = 4_096;

/// A row of the data file.
#[derive(serde::Deserialize)]
struct Case {
    id: String,
    /// `field`, `wire`, `bytes`, `metadata`, `call`, `elsewhere` or `none`.
    kind: String,
    /// A field check; `Method[@caller] [path or header]`; the name of a call or a test; or why there is none.
    input: String,
    /// JSON, a text or list perhaps repeated (`"a"*100`); hexadecimal bytes appended to the valid request; or a
    /// header.
    value: String,
    /// The gRPC status; `HTTP 415` and the like without a gRPC response; `CLOSED` without any response.
    status: String,
    reason: String,
    /// The invalid field; for an OK response, the list that contains the reason or is empty.
    field: String,
}

fn load_cases() -> Vec<Case> {
    let text = include_str!("../../data/bad-input.csv");
    csv::Reader::from_reader(text.as_bytes()).deserialize().map(Result::unwrap).collect()
}

#[test]
fn every_row_of_the_catalogue_is_accounted_for() {
    let cases = load_cases();
    let known: BTreeSet<&str> = cases.iter().map(|case| case.id.as_str()).collect();
    for number in 1..=107 {
        assert!(known.contains(format!("B{number}").as_str()), "B{number} is missing");
    }
    let kinds: BTreeSet<&str> = cases.iter().map(|case| case.kind.as_str()).collect();
    let driven = ["field", "wire", "bytes", "metadata", "call"];
    assert_eq!(kinds, driven.into_iter().chain(["elsewhere", "none"]).collect());
    for case in cases.iter().filter(|case| case.kind == "elsewhere") {
        let (file, name) = case.input.split_once("::").unwrap();
        let file = if file.starts_with("src/") { file.to_owned() } else { format!("tests/it/{file}") };
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("{file}.rs")));
        assert!(text.unwrap().contains(&format!("fn {name}(")), "{} names {name}", case.id);
    }
}

#[test]
fn every_field_is_read_as_the_catalogue_says() {
    for case in load_cases().iter().filter(|case| case.kind == "field") {
        let reason = fields::refusal_reason(&case.input, &parse_value(&case.value));
        assert_eq!(reason, case.reason, "{} {} {}", case.id, case.input, case.value);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_is_answered_as_the_catalogue_says() {
    let world = World::sqlite().await;
    let mut stage = Fixtures::create(world.dir.path(), Randomness::system()).await;
    let mut wrong = Vec::new();
    for case in &load_cases() {
        let answer = match case.kind.as_str() {
            "wire" => Ok(call_with_value(&mut stage, case).await),
            "bytes" => Ok(call_with_bytes(&mut stage, case).await),
            "metadata" => call_with_metadata(&mut stage, case).await,
            "call" => calls::make_call(&mut stage, &case.input, &case.value).await,
            _ => continue,
        };
        if let Err(what) = check_answer(case, &answer) {
            wrong.push(format!("{} {} {:.80}: {what}", case.id, case.input, case.value));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    world.stop().await;
}

/// Parses `Method[@caller] [rest]`.
fn parse_target(input: &str) -> (&str, &str, &str) {
    let (method, rest) = input.split_once(' ').unwrap_or((input, ""));
    let (method, caller) = method.split_once('@').unwrap_or((method, ""));
    (method, if caller.is_empty() { find_example(method).unwrap().caller } else { caller }, rest)
}

/// Sends the valid request with one value changed.
async fn call_with_value(stage: &mut Fixtures, case: &Case) -> Answer {
    let (method, caller, at) = parse_target(&case.input);
    let mut json: Json = serde_json::from_str(find_example(method).unwrap().json).unwrap();
    set_at_path(&mut json, at, parse_value(&case.value));
    let mut request = parse_request(method, &stage.substitute_names(&json.to_string()));
    if proto::is_mutating(&method_descriptor(method)) {
        if at != "request_id" {
            stage.set_request_id(&mut request);
        }
        request.set_field_by_name("validate_only", Value::Bool(true));
    }
    stage.call(caller, method, &request).await
}

/// Sends the valid request with bytes appended, which protobuf merges as further fields.
async fn call_with_bytes(stage: &mut Fixtures, case: &Case) -> Answer {
    let (method, caller, _) = parse_target(&case.input);
    let mut message = stage.request(find_example(method).unwrap(), true).encode_to_vec();
    for run in case.value.split(' ') {
        let (hex, times) = run.split_once('*').unwrap_or((run, "1"));
        let run: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        message.extend(run.repeat(times.parse().unwrap()));
    }
    stage.connection(caller).await.call(&method_path(&method_descriptor(method)), &message).await
}

/// Sends the valid request with a header.
async fn call_with_metadata(stage: &mut Fixtures, case: &Case) -> Result<Answer, String> {
    let (method, caller, header) = parse_target(&case.input);
    let message = stage.request(find_example(method).unwrap(), true).encode_to_vec();
    let value = match case.value.split_once('*') {
        Some((one, times)) => one.repeat(times.parse().unwrap()),
        None => case.value.clone(),
    };
    let wire = stage.connection(caller).await;
    wire.send(&method_path(&method_descriptor(method)), &[(header, &value)], frame(&message)).await
}

/// Parses JSON, or a repeated text or list.
fn parse_value(text: &str) -> Json {
    if let Ok(value) = serde_json::from_str(text) {
        return value;
    }
    let (one, times) = text.rsplit_once('*').unwrap();
    let times = times.parse().unwrap();
    match serde_json::from_str(one).unwrap() {
        Json::String(one) => Json::String(one.repeat(times)),
        Json::Array(one) => Json::Array(std::iter::repeat_n(one, times).flatten().collect()),
        other => panic!("{other} cannot be repeated"),
    }
}

/// Sets a value at a path such as `marks.0.date`; without a path, sets each field of the value at the top level.
fn set_at_path(json: &mut Json, at: &str, value: Json) {
    if at.is_empty() {
        for (name, value) in value.as_object().unwrap() {
            json[name] = value.clone();
        }
        return;
    }
    let place = at.split('.').fold(json, |json, step| match step.parse::<usize>() {
        Ok(index) => &mut json[index],
        Err(_) => &mut json[step],
    });
    *place = value;
}

/// Compares a response with the case; the error describes the difference.
fn check_answer(case: &Case, answer: &Result<Answer, String>) -> Result<(), String> {
    let Ok(answer) = answer else {
        return if case.status.contains("CLOSED") {
            Ok(())
        } else {
            Err(format!("{:?}", answer.as_ref().err()))
        };
    };
    let (status, details) = (answer.status(), answer.status().get_error_details());
    let named = match answer.http {
        200 => code_name(status.code()),
        http => format!("HTTP {http}"),
    };
    if !case.status.contains(&named) {
        return Err(format!("{named}: {}", answer.reason()));
    }
    let weight: usize =
        answer.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
    if weight > MAX_REFUSAL_BYTES {
        return Err(format!("a refusal of {weight} bytes"));
    }
    if case.kind == "wire" && status.code() != Code::Ok {
        assert_value_not_repeated(&parse_value(&case.value), status.details())?;
    }
    if status.code() == Code::Ok {
        return if case.field.is_empty() { Ok(()) } else { check_list(case, answer) };
    }
    let faults = details.bad_request().map_or(&[][..], |request| &request.field_violations);
    let faults: Vec<_> = faults.iter().map(|fault| (fault.field.as_str(), fault.reason.as_str())).collect();
    let reason = details.error_info().map_or("", |info| info.reason.as_str());
    let holds = if case.field.is_empty() {
        reason == case.reason
    } else {
        reason == "INVALID_REQUEST" && faults == [(case.field.as_str(), case.reason.as_str())]
    };
    if holds || answer.http != 200 { Ok(()) } else { Err(answer.reason()) }
}

/// Checks that the list at the case's field contains its reason, or is empty if the case names none.
fn check_list(case: &Case, answer: &Answer) -> Result<(), String> {
    let (method, ..) = parse_target(&case.input);
    let reply = DynamicMessage::decode(method_descriptor(method).output(), answer.message.clone()).unwrap();
    let reply = serde_json::to_value(reply).unwrap();
    let list = reply.pointer(&format!("/{}", case.field.replace('.', "/"))).cloned();
    let list = list.and_then(|list| list.as_array().cloned()).unwrap_or_default();
    let holds = if case.reason.is_empty() {
        list.is_empty()
    } else {
        list.contains(&Json::from(case.reason.as_str()))
    };
    if holds { Ok(()) } else { Err(format!("{} is {list:?}", case.field)) }
}

/// Checks that no submitted text of five or more characters is repeated; shorter ones may be ordinary words.
fn assert_value_not_repeated(sent: &Json, details: &[u8]) -> Result<(), String> {
    match sent {
        Json::String(text) if text.len() >= 5 && !text.starts_with('$') => {
            let found = details.windows(text.len()).any(|window| window == text.as_bytes());
            if found { Err("a value that was sent came back".to_owned()) } else { Ok(()) }
        }
        Json::Array(all) => all.iter().try_for_each(|one| assert_value_not_repeated(one, details)),
        Json::Object(all) => all.values().try_for_each(|one| assert_value_not_repeated(one, details)),
        _ => Ok(()),
    }
}

fn code_name(code: Code) -> String {
    let mut out = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.extend(letter.to_uppercase());
    }
    out
}
