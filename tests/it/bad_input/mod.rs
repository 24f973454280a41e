//! Bad input as one data file, tests/data/bad-input.csv. Every row of the catalogue (B1 to B107) stands in it:
//! driven through a field's reader, over the wire or by bytes and frames of its own; driven by a test
//! elsewhere; or with the reason why it cannot be driven yet.

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

use super::stage::{Stage, descriptor, path, read, row};
use super::support::World;
use super::wire::{Answer, frame};

/// Most that a refusal may weigh, in bytes of headers and trailers.
const TRAILERS: usize = 4_096;

/// A row of the file.
#[derive(serde::Deserialize)]
struct Case {
    id: String,
    /// `field`, `wire`, `bytes`, `metadata`, `call`, `elsewhere` or `none`.
    way: String,
    /// A reader; `Method[@caller] [path or header]`; the name of a call, of a test, or why there is none.
    input: String,
    /// JSON, text or list perhaps repeated (`"a"*100`); bytes behind the valid request, hexadecimal; a header.
    value: String,
    /// `HTTP 415` and the like where gRPC was not reached; `CLOSED` where no answer came.
    status: String,
    reason: String,
    /// The field at fault; of an answer, the list that holds the reason, or is empty.
    field: String,
}

fn cases() -> Vec<Case> {
    let text = include_str!("../../data/bad-input.csv");
    csv::Reader::from_reader(text.as_bytes()).deserialize().map(Result::unwrap).collect()
}

#[test]
fn every_row_of_the_catalogue_is_accounted_for() {
    let cases = cases();
    let known: BTreeSet<&str> = cases.iter().map(|case| case.id.as_str()).collect();
    for number in 1..=107 {
        assert!(known.contains(format!("B{number}").as_str()), "B{number} is missing");
    }
    let driven = cases.iter().filter(|case| !["none", "elsewhere"].contains(&case.way.as_str())).count();
    assert!(driven >= 250, "{driven}");
    for case in cases.iter().filter(|case| case.way == "elsewhere") {
        let (file, name) = case.input.split_once("::").unwrap();
        let file = if file.starts_with("src/") { file.to_owned() } else { format!("tests/it/{file}") };
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("{file}.rs")));
        assert!(text.unwrap().contains(&format!("fn {name}(")), "{} names {name}", case.id);
    }
}

#[test]
fn every_field_is_read_as_the_catalogue_says() {
    for case in cases().iter().filter(|case| case.way == "field") {
        let reason = fields::reason(&case.input, &value(&case.value));
        assert_eq!(reason, case.reason, "{} {} {}", case.id, case.input, case.value);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_is_answered_as_the_catalogue_says() {
    let world = World::sqlite().await;
    let mut stage = Stage::set(world.dir.path(), Randomness::system()).await;
    let mut wrong = Vec::new();
    for case in &cases() {
        let answer = match case.way.as_str() {
            "wire" => Ok(wire(&mut stage, case).await),
            "bytes" => Ok(bytes(&mut stage, case).await),
            "metadata" => metadata(&mut stage, case).await,
            "call" => calls::call(&mut stage, &case.input, &case.value).await,
            _ => continue,
        };
        if let Err(what) = judge(case, &answer) {
            wrong.push(format!("{} {} {:.80}: {what}", case.id, case.input, case.value));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    world.stop().await;
}

/// `Method[@caller] [rest]`.
fn target(input: &str) -> (&str, &str, &str) {
    let (method, rest) = input.split_once(' ').unwrap_or((input, ""));
    let (method, caller) = method.split_once('@').unwrap_or((method, ""));
    (method, if caller.is_empty() { row(method).unwrap().caller } else { caller }, rest)
}

/// The method's valid request with one thing changed.
async fn wire(stage: &mut Stage, case: &Case) -> Answer {
    let (method, caller, at) = target(&case.input);
    let mut json: Json = serde_json::from_str(row(method).unwrap().json).unwrap();
    put(&mut json, at, value(&case.value));
    let mut request = read(method, &stage.named(&json.to_string()));
    if proto::is_mutating(&descriptor(method)) {
        if at != "request_id" {
            stage.renew(&mut request);
        }
        request.set_field_by_name("validate_only", Value::Bool(true));
    }
    stage.call(caller, method, &request).await
}

/// The method's valid request with bytes behind it, as protobuf joins messages.
async fn bytes(stage: &mut Stage, case: &Case) -> Answer {
    let (method, caller, _) = target(&case.input);
    let mut message = stage.request(row(method).unwrap(), true).encode_to_vec();
    for run in case.value.split(' ') {
        let (hex, times) = run.split_once('*').unwrap_or((run, "1"));
        let run: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        message.extend(run.repeat(times.parse().unwrap()));
    }
    stage.wire(caller).await.call(&path(&descriptor(method)), &message).await
}

/// The method's valid request with a header.
async fn metadata(stage: &mut Stage, case: &Case) -> Result<Answer, String> {
    let (method, caller, header) = target(&case.input);
    let message = stage.request(row(method).unwrap(), true).encode_to_vec();
    let value = match case.value.split_once('*') {
        Some((one, times)) => one.repeat(times.parse().unwrap()),
        None => case.value.clone(),
    };
    let wire = stage.wire(caller).await;
    wire.send(&path(&descriptor(method)), &[(header, &value)], frame(&message)).await
}

/// JSON, or a text or a list of JSON so many times.
fn value(text: &str) -> Json {
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

/// Puts a value at a path such as `marks.0.date`; without a path, each of its fields at the top.
fn put(json: &mut Json, at: &str, value: Json) {
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

/// What is wrong with an answer.
fn judge(case: &Case, answer: &Result<Answer, String>) -> Result<(), String> {
    let Ok(answer) = answer else {
        return if case.status.contains("CLOSED") {
            Ok(())
        } else {
            Err(format!("{:?}", answer.as_ref().err()))
        };
    };
    let (status, details) = (answer.status(), answer.status().get_error_details());
    let named = match answer.http {
        200 => screaming(status.code()),
        http => format!("HTTP {http}"),
    };
    if !case.status.contains(&named) {
        return Err(format!("{named}: {}", answer.told()));
    }
    let weight: usize =
        answer.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
    if weight > TRAILERS {
        return Err(format!("a refusal of {weight} bytes"));
    }
    if case.way == "wire" && status.code() != Code::Ok {
        not_repeated(&value(&case.value), status.details())?;
    }
    if status.code() == Code::Ok {
        return if case.field.is_empty() { Ok(()) } else { listed(case, answer) };
    }
    let faults = details.bad_request().map_or(&[][..], |request| &request.field_violations);
    let faults: Vec<_> = faults.iter().map(|fault| (fault.field.as_str(), fault.reason.as_str())).collect();
    let reason = details.error_info().map_or("", |info| info.reason.as_str());
    let holds = if case.field.is_empty() {
        reason == case.reason
    } else {
        reason == "INVALID_REQUEST" && faults == [(case.field.as_str(), case.reason.as_str())]
    };
    if holds || answer.http != 200 { Ok(()) } else { Err(answer.told()) }
}

/// The list at the case's field of the reply holds its reason, or is empty where none is named.
fn listed(case: &Case, answer: &Answer) -> Result<(), String> {
    let (method, ..) = target(&case.input);
    let reply = DynamicMessage::decode(descriptor(method).output(), answer.message.clone()).unwrap();
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

/// No text that was sent comes back. Shorter ones are words of any language.
fn not_repeated(sent: &Json, details: &[u8]) -> Result<(), String> {
    match sent {
        Json::String(text) if text.len() >= 5 && !text.starts_with('$') => {
            let found = details.windows(text.len()).any(|window| window == text.as_bytes());
            if found { Err("a value that was sent came back".to_owned()) } else { Ok(()) }
        }
        Json::Array(all) => all.iter().try_for_each(|one| not_repeated(one, details)),
        Json::Object(all) => all.values().try_for_each(|one| not_repeated(one, details)),
        _ => Ok(()),
    }
}

fn screaming(code: Code) -> String {
    let mut out = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.extend(letter.to_uppercase());
    }
    out
}
