//! Limits of calls on `serve` with a real configuration: an unregistered certificate is rejected after some refusals, an
//! organisation has its rate, and every call that was rejected is counted in the log.

use std::time::{Duration, Instant};

use ap_gateway::proto::v1::AuditEntry;
use ap_gateway::store::{Database, DatabaseLocation};
use prost::Message;
use tonic_types::StatusExt;

use super::fixtures::current_validity;
use super::listener::connect;
use super::serve_process::{LIST_PLACEMENTS, ServeFolder, wait_until_closed};
use super::wire::{Wire, frame};

const GET_CHECKPOINT: &str = "/apgateway.v1.AuditService/GetCheckpoint";
const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";
const UNKNOWN: &str = "/apgateway.v1.NoService/NoMethod";
/// A caller whose certificate is not registered.
const STRANGER: &str = "spiffe://sandbox.ap.example/provider/riverside/stranger";
/// Maximum length of a line of the operator's log about a refusal.
const MAX_LINE_BYTES: usize = 200;

/// A folder that knows the stranger, with these limits.
fn folder_with_limits(limits: &str) -> ServeFolder {
    let folder = ServeFolder::new();
    let issued = folder.authority().issue_client(&[STRANGER], 77, current_validity()).unwrap();
    folder.write_key_pair("stranger", &issued);
    folder.write("gateway.toml", &format!("{}\n[limits]\n{limits}\n", folder.configuration()));
    folder
}

/// Returns the entries of one system, in the order of the log.
async fn entries_of(folder: &ServeFolder, system: &str) -> Vec<AuditEntry> {
    let location = DatabaseLocation::Sqlite(folder.file_path("gateway.sqlite"));
    let database = Database::open(&location).await.unwrap();
    let sql = "SELECT bytes FROM entries WHERE system = $1 ORDER BY idx";
    let rows = database.reader().await.unwrap().fetch(sql, vec![system.into()]).await.unwrap();
    database.close().await;
    rows.iter().map(|row| AuditEntry::decode(row.get_bytes("bytes").unwrap()).unwrap()).collect()
}

/// Returns the number of calls for which the entries stand.
fn calls_of(entries: &[AuditEntry]) -> usize {
    entries.iter().map(|entry| 1 + usize::try_from(entry.repeats).unwrap()).sum()
}

/// Makes the calls of an attacker one after the other, and returns the reasons of their refusals.
async fn call_by_turns(wire: &Wire, paths: &[&str], calls: usize) -> Vec<String> {
    let mut reasons = Vec::new();
    for path in paths.iter().cycle().take(calls) {
        reasons.push(wire.send(path, &[], frame(&[])).await.unwrap().reason());
    }
    reasons
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unregistered_certificate_is_rejected_after_some_refusals_and_every_call_is_counted() {
    let folder = folder_with_limits("refusals_per_second = 8");
    let served = folder.serve();
    let canary = folder.connect(&served, "provider-a").await.unwrap();
    let stranger = folder.connect(&served, "stranger").await.unwrap();
    let begun = Instant::now();
    let mut reasons = call_by_turns(&stranger, &[LIST_PLACEMENTS, GET_CHECKPOINT, UNKNOWN], 300).await;
    assert_eq!(canary.call(LIST_PLACEMENTS, &[]).await.reason(), "OK", "others go on");
    let get = || http::Request::get("https://localhost/").body(tonic::body::Body::empty()).unwrap();
    for _ in 0..20 {
        stranger.send_request(get()).await.unwrap();
    }
    let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap() + 1;
    let cut = reasons.iter().filter(|reason| *reason == "TOO_MANY_REFUSALS").count();
    reasons.sort();
    reasons.dedup();
    assert_eq!(reasons, ["CERT_NOT_REGISTERED", "TOO_MANY_REFUSALS", "UNKNOWN_METHOD"]);
    assert!(cut >= 300 - 8 * (seconds + 1), "{cut} calls in {seconds} seconds");
    // The certificate gets the cause again once it has paused.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(stranger.call(LIST_PLACEMENTS, &[]).await.reason(), "CERT_NOT_REGISTERED");
    served.signal("TERM");
    assert_eq!(served.wait_for_exit().code(), Some(0));
    let entries = entries_of(&folder, "stranger").await;
    assert_eq!(calls_of(&entries), 321, "each call is in an entry");
    // In a second: a first entry and one for the repeats of each of three methods, one for what was cut, one for HTTP.
    assert!(entries.len() <= 8 * (seconds + 3), "{} entries in {seconds} seconds", entries.len());
    assert!(entries.iter().any(|entry| entry.repeats > 50 && entry.reason == "TOO_MANY_REFUSALS"));
    assert!(entries.iter().any(|entry| entry.method == GET_CHECKPOINT), "a refused query for hashes");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unregistered_certificate_that_goes_on_loses_its_connection() {
    let folder = folder_with_limits("refusals_per_second = 1");
    let served = folder.serve();
    let stranger = folder.connect(&served, "stranger").await.unwrap();
    let calls = (0..16).map(|_| {
        let stranger = stranger.clone();
        tokio::spawn(async move {
            let begun = Instant::now();
            while stranger.send(LIST_PLACEMENTS, &[], frame(&[])).await.is_ok() {
                assert!(begun.elapsed() < Duration::from_mins(1), "the connection was not closed");
            }
        })
    });
    for calling in calls.collect::<Vec<_>>() {
        calling.await.unwrap();
    }
    wait_until_closed(&stranger).await;
    served.wait_for_log("refused: too many rejected calls; 127.0.0.1; serial 4d; ").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_of_a_stranger_take_no_place_of_the_organisation_that_it_names() {
    let folder = ServeFolder::new();
    let uri = "spiffe://sandbox.ap.example/la/331/other";
    let issued = folder.authority().issue_client(&[uri], 78, current_validity()).unwrap();
    folder.write_key_pair("stranger", &issued);
    let served = folder.serve();
    let config = std::sync::Arc::new(folder.tls("stranger"));
    let mut idle = Vec::new();
    for _ in 0..70 {
        idle.push(connect(served.address, &config).await);
    }
    served.wait_for_log("full: connections_per_organisation; 127.0.0.1; serial 4e; ").await;
    let mut open = Vec::new();
    for _ in 0..8 {
        let honest = folder.connect(&served, "la-b").await.unwrap();
        assert_eq!(honest.call(LIST_PLACEMENTS, &[]).await.reason(), "OK");
        open.push(honest);
    }
    drop(idle);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organisation_has_its_rate_and_what_is_beyond_it_is_counted() {
    let folder = folder_with_limits("requests_per_second = 2\nrequest_burst = 20");
    let served = folder.serve();
    let [riverside, la] = [("provider-a"), ("la-a")].map(|name| folder.connect(&served, name));
    let (riverside, la) = (riverside.await.unwrap(), la.await.unwrap());
    let begun = Instant::now();
    let mut answered = 0;
    for _ in 0..100 {
        let answer = riverside.send(LIST_PLACEMENTS, &[], frame(&[])).await.unwrap();
        match answer.reason().as_str() {
            "OK" => answered += 1,
            reason => {
                assert_eq!(reason, "RATE_LIMITED");
                let retry = answer.status().get_details_retry_info().unwrap().retry_delay.unwrap();
                assert_eq!(retry, Duration::from_secs(1));
            }
        }
    }
    let most = 20 + 2 * (usize::try_from(begun.elapsed().as_secs()).unwrap() + 1);
    assert!((20..=most).contains(&answered), "{answered}, not 20 to {most}");
    assert_eq!(
        la.call(LIST_PLACEMENTS, &[]).await.reason(),
        "OK",
        "another organisation has a rate of its own"
    );
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(riverside.call(LIST_PLACEMENTS, &[]).await.reason(), "OK");
    served.signal("TERM");
    assert_eq!(served.wait_for_exit().code(), Some(0));
    let entries = entries_of(&folder, "register").await;
    let limited: Vec<_> = entries.into_iter().filter(|entry| entry.reason == "RATE_LIMITED").collect();
    assert_eq!(calls_of(&limited), 100 - answered);
    assert!(limited.len() <= 100 - answered && !limited.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_a_line_of_the_operator_s_log_and_its_repeats_are_a_count() {
    let folder = folder_with_limits("refusals_per_second = 8");
    let served = folder.serve();
    let stranger = folder.connect(&served, "stranger").await.unwrap();
    let first = stranger.call(LIST_PLACEMENTS, &[]).await;
    assert_eq!(first.reason(), "CERT_NOT_REGISTERED");
    for _ in 0..40 {
        stranger.call(LIST_PLACEMENTS, &[]).await;
    }
    let riverside = folder.connect(&served, "provider-a").await.unwrap();
    let refused = riverside.call("/apgateway.v1.RegisterService/ListOrganisations", &[]).await;
    assert_eq!(refused.reason(), "METHOD_NOT_ALLOWED");
    served.wait_for_log("METHOD_NOT_ALLOWED").await;
    let log = served.log_path();
    served.signal("TERM");
    assert_eq!(served.wait_for_exit().code(), Some(0));
    let text = std::fs::read_to_string(log).unwrap();
    let lines: Vec<&str> =
        text.lines().filter(|line| line.contains("refused ") || line.contains("\"+")).collect();
    assert!(lines.iter().all(|line| line.len() <= MAX_LINE_BYTES), "{text}");
    assert!(lines.len() <= 6, "{text}");
    let about = |words: &[&str]| lines.iter().any(|line| words.iter().all(|word| line.contains(word)));
    let exchange = first.exchange();
    let stranger = "provider/riverside/stranger ";
    assert!(about(&["refused ", &exchange, "CERT_NOT_REGISTERED", "ListPlacements", stranger]), "{text}");
    assert!(about(&["refused ", "TOO_MANY_REFUSALS", stranger]), "{text}");
    assert!(about(&["\"+", "TOO_MANY_REFUSALS", stranger]), "{text}");
    let registered = "provider/riverside/register ";
    assert!(
        about(&["refused ", &refused.exchange(), "METHOD_NOT_ALLOWED ListOrganisations", registered]),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn health_has_the_rate_of_its_certificates_organisation_and_no_entry() {
    let folder = folder_with_limits("requests_per_second = 1\nrequest_burst = 20");
    let served = folder.serve();
    let stranger = folder.connect(&served, "stranger").await.unwrap();
    let begun = Instant::now();
    let reasons = call_by_turns(&stranger, &[HEALTH_CHECK], 100).await;
    let answered = reasons.iter().filter(|reason| *reason == "OK").count();
    let most = 20 + usize::try_from(begun.elapsed().as_secs()).unwrap() + 1;
    assert!((20..=most).contains(&answered), "{answered}, not 20 to {most}");
    assert!(reasons.iter().all(|reason| ["OK", "RATE_LIMITED"].contains(&reason.as_str())));
    assert_eq!(served.wait_for_log(" RATE_LIMITED ").await, 1, "repeats are folded");
    served.signal("TERM");
    assert_eq!(served.wait_for_exit().code(), Some(0));
    assert!(entries_of(&folder, "stranger").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registered_caller_is_not_limited_as_a_stranger_before_its_first_good_call() {
    let folder = folder_with_limits("refusals_per_second = 1");
    let served = folder.serve();
    let riverside = folder.connect(&served, "provider-a").await.unwrap();
    let reasons = call_by_turns(&riverside, &[UNKNOWN], 20).await;
    assert!(reasons.iter().all(|reason| reason == "UNKNOWN_METHOD"), "{reasons:?}");
}
