//! Named officers: the token of a person attests the officer whom a request names, in every method that names one who
//! acts. Another name is kept as it was sent, and the entry names the person who entered it.

use std::collections::BTreeSet;

use ap_gateway::clock::Randomness;
use ap_gateway::proto;
use ap_gateway::proto::v1::{AuditEntry, Receipt};
use prost::Message;
use prost_reflect::{DynamicMessage, Kind, MessageDescriptor};
use serde_json::{Value, json};

use super::fixtures::{Fixtures, find_example, method_descriptor, method_path, parse_request};
use super::support::World;
use super::tokens::TestIssuer;

/// Methods whose request names an officer who acts, and the path of its field. Each acts on an object of its own.
const ACTING: [(&str, &str); 8] = [
    ("CreateReferral", "officer"),
    ("DecidePlacement", "decision.decided_by"),
    ("StartPlacement", "officer"),
    ("WithholdInformation", "officer"),
    ("SubmitProgress", "progress.author"),
    ("ConfirmMarks", "officer"),
    ("AcknowledgeDelivery", "officer"),
    ("ResolveAlert", "officer"),
];
/// Methods whose request names officers, none of whom a token attests: documents that only name them, and a method of
/// operators, who have no issuers.
const NOT_ATTESTED: [&str; 3] = ["PutPlan", "PutPassport", "UpdateOrganisation"];
/// What is read back: by whom, and with what request. Nobody reads the officer of an acknowledgement.
const READ: [(&str, &str, &str); 6] = [
    ("la-a", "GetPlacement", r#"{"placement_id": "$accepted"}"#),
    ("la-a", "GetPlacement", r#"{"placement_id": "$approved"}"#),
    ("la-a", "GetPassport", r#"{"placement_id": "$carried"}"#),
    ("provider-a", "GetProgress", r#"{"placement_id": "$carried"}"#),
    (
        "la-a",
        "GetAttendance",
        r#"{"placement_id": "$active", "from_date": "2026-09-01", "to_date": "2026-11-20"}"#,
    ),
    ("provider-a", "ListAlerts", "{}"),
];

/// Returns whether a message has an officer, in itself or in a message inside it.
fn names_officer(message: &MessageDescriptor, seen: &mut BTreeSet<String>) -> bool {
    message.name() == "Officer"
        || seen.insert(message.full_name().to_owned())
            && message.fields().any(|field| match field.kind() {
                Kind::Message(inner) => names_officer(&inner, seen),
                _ => false,
            })
}

/// Sets the name of the officer in a request.
fn name_officer(request: &mut DynamicMessage, path: &str, name: &str) {
    let (field, rest) = path.split_once('.').unwrap_or((path, ""));
    let inner = request.get_field_by_name_mut(field).unwrap().as_message_mut().unwrap();
    if rest.is_empty() {
        inner.set_field_by_name("name", prost_reflect::Value::String(name.to_owned()));
    } else {
        name_officer(inner, rest, name);
    }
}

/// Collects every officer of that name in a JSON value, as (role code, whether it is attested).
fn collect_officers(json: &Value, name: &str, found: &mut Vec<(String, bool)>) {
    match json {
        Value::Object(members) => {
            if members.get("name").and_then(Value::as_str) == Some(name) {
                let role = json["roleCode"].as_str().unwrap_or_default();
                found.push((role.to_owned(), json["attested"] == Value::Bool(true)));
            }
            members.values().for_each(|inner| collect_officers(inner, name, found));
        }
        Value::Array(all) => all.iter().for_each(|inner| collect_officers(inner, name, found)),
        _ => {}
    }
}

/// Sends each request with a token, and returns everything that can be read of it afterwards.
async fn act_and_read(stage: &mut Fixtures, of_token: impl Fn(&str) -> String) -> Value {
    for (method, path) in ACTING {
        let example = find_example(method).unwrap();
        let mut request = stage.request(example, false);
        name_officer(&mut request, path, &officer_of(method));
        let token =
            TestIssuer::load(&stage.dir, example.caller).token(&stage.dir, example.caller, |claims| {
                claims["name"] = json!(of_token(method));
                claims["role"] = json!("head");
            });
        let header = format!("Bearer {token}");
        let body = stage.request_body(method, &request);
        let wire = stage.connection(example.caller).await;
        let path = method_path(&method_descriptor(method));
        let answer = wire.send(&path, &[("authorization", &header)], body).await.unwrap();
        assert_eq!(answer.reason(), "OK", "{method}");
        let reply = DynamicMessage::decode(method_descriptor(method).output(), answer.message).unwrap();
        let receipt = reply.get_field_by_name("receipt").unwrap();
        let receipt: Receipt = receipt.as_message().unwrap().transcode_to().unwrap();
        let entry = AuditEntry::decode(receipt.entry).unwrap();
        assert_eq!((entry.practitioner.len(), &*entry.role), (32, "head"), "{method}");
        if method == "CreateReferral" {
            stage
                .names
                .insert("accepted.made".to_owned(), super::fixtures::text_field(&reply, "placement_id"));
        }
    }
    let made = ("la-a", "GetPlacement", r#"{"placement_id": "$accepted.made"}"#);
    let mut all = Vec::new();
    for (caller, method, json) in READ.into_iter().chain([made]) {
        let request = parse_request(method, &stage.substitute_names(json));
        let answer = stage.call(caller, method, &request).await;
        assert_eq!(answer.reason(), "OK", "{method}");
        let reply = DynamicMessage::decode(method_descriptor(method).output(), answer.message).unwrap();
        all.push(serde_json::to_value(reply).unwrap());
    }
    Value::Array(all)
}

fn officer_of(method: &str) -> String {
    format!("Officer of {method}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_attests_the_officer_of_every_method_that_names_one() {
    for attested in [true, false] {
        let world = World::sqlite().await;
        let mut stage = Fixtures::create(world.dir.path(), Randomness::system()).await;
        let of_token = |method: &str| if attested { officer_of(method) } else { "Somebody Else".to_owned() };
        let read = act_and_read(&mut stage, of_token).await;
        for (method, _) in ACTING.into_iter().filter(|(method, _)| *method != "AcknowledgeDelivery") {
            let mut found = Vec::new();
            collect_officers(&read, &officer_of(method), &mut found);
            let role = if attested { "ROLE_CODE_HEAD" } else { "" };
            assert!(!found.is_empty(), "{method}");
            assert!(
                found.iter().all(|officer| *officer == (role.to_owned(), attested)),
                "{method}: {found:?}"
            );
        }
        let mut recorder = Vec::new();
        collect_officers(&read, "Somebody Else", &mut recorder);
        assert_eq!(recorder, [], "the recorder is in the entry, not in place of the officer");
        world.stop().await;
    }
}

/// Nobody attests by saying so, and a return that was attested is unchanged when a system sends it again.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_attests_by_saying_so() {
    let world = World::sqlite().await;
    let mut stage = Fixtures::create(world.dir.path(), Randomness::system()).await;
    for (method, path) in ACTING {
        let example = find_example(method).unwrap();
        let mut request = stage.request(example, true);
        let mut inner = &mut request;
        for field in path.split('.') {
            inner = inner.get_field_by_name_mut(field).unwrap().as_message_mut().unwrap();
        }
        inner.set_field_by_name("attested", prost_reflect::Value::Bool(true));
        let answer = stage.call(example.caller, method, &request).await;
        let fault = format!("INVALID_REQUEST {path}.attested: ");
        assert!(answer.reason().starts_with(&fault), "{method}: {}", answer.reason());
    }
    act_and_read(&mut stage, officer_of).await;
    let example = find_example("SubmitProgress").unwrap();
    let mut again = stage.request(example, false);
    name_officer(&mut again, "progress.author", &officer_of("SubmitProgress"));
    let answer = stage.call(example.caller, "SubmitProgress", &again).await;
    assert_eq!(answer.reason(), "OK");
    let reply = DynamicMessage::decode(method_descriptor("SubmitProgress").output(), answer.message).unwrap();
    let reply = serde_json::to_value(reply).unwrap();
    assert_eq!(reply["outcome"], "PROGRESS_OUTCOME_UNCHANGED", "{reply}");
    world.stop().await;
}

/// A new method that names an officer must be attested, or be listed as one that is not.
#[test]
fn every_method_that_names_an_officer_is_listed() {
    let naming = proto::methods().filter(|method| names_officer(&method.input(), &mut BTreeSet::new()));
    let naming: BTreeSet<String> = naming.map(|method| method.name().to_owned()).collect();
    let listed = ACTING.iter().map(|(method, _)| *method).chain(NOT_ATTESTED);
    assert_eq!(naming, listed.map(str::to_owned).collect());
}
