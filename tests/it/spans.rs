//! Spans of exchanges: what an exporter of traces would be given, read from the log at level trace.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;

use super::exchange_semantics::{mark, submission, submit};
use super::process::{Process, Sandbox};
use super::support::gateway;

/// The spans that an exchange has inside.
const STAGES: [&str; 6] = ["anchor", "decide", "permit", "queue", "sync", "transaction"];

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_is_a_span_with_its_stages_inside() {
    let sandbox = Sandbox::new();
    let log = sandbox.path().join("spans.log");
    let mut command = gateway();
    command.env("AP_GATEWAY_LOG", "off,ap_gateway=trace").stderr(File::create(&log).unwrap());
    let process = Process::start(command, sandbox.path(), &[]);
    let client = sandbox.client("provider-a").await;
    let stored =
        submit(&client, &submission(vec![mark(&sandbox.placement, "2026-11-02", "I")])).await.unwrap();
    drop(client);
    assert!(process.terminate().success());
    let exchange = stored.receipt.exchange_id;
    let text = std::fs::read_to_string(&log).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let mut inside: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut is_ended = false;
    for line in lines.filter(|line| line["message"] == "close") {
        assert!(line["time.idle"].is_string() || line["time.busy"].is_string(), "{line}");
        let name = line["span"]["name"].as_str().unwrap().to_owned();
        let span = if name == "exchange" { &line["span"] } else { &line["spans"][0] };
        let id = span["exchange.id"].as_str().unwrap_or_else(|| panic!("{line}")).to_owned();
        if name == "exchange" {
            is_ended |= id == exchange && span["rpc.method"] == "SubmitAttendance";
        } else {
            inside.entry(id).or_default().insert(name);
        }
    }
    assert!(is_ended, "{text}");
    let found: Vec<_> = inside[&exchange].iter().map(String::as_str).collect();
    assert_eq!(found, STAGES);
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_are_in_no_log_but_that_of_everything() {
    let sandbox = Sandbox::new();
    let log = sandbox.path().join("debug.log");
    let mut command = gateway();
    command.env("AP_GATEWAY_LOG", "debug").stderr(File::create(&log).unwrap());
    let process = Process::start(command, sandbox.path(), &[]);
    let client = sandbox.client("provider-a").await;
    submit(&client, &submission(vec![mark(&sandbox.placement, "2026-11-02", "I")])).await.unwrap();
    drop(client);
    assert!(process.terminate().success());
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(!text.is_empty() && !text.contains("\"span") && !text.contains("exchange.id"), "{text}");
}
