//! Requests in protobuf JSON, sent with the commands of the CLI.

use std::process::Output;

use ap_gateway::cli::sandbox;
use ap_gateway::client::{Client, ClientError, explain};
use ap_gateway::proto::v1::{
    DeliveryKind, GetProgressRequest, ListPlacementsRequest, ProgressRecord, placement_service,
    returns_service,
};
use serde_json::{Value, json};

use super::push_command::referral;
use super::support::{World, deliveries, gateway};

/// Runs a command as one of the sandbox's organisations.
fn run_command(world: &World, name: &str, words: &[&str]) -> Output {
    let profile = sandbox::profile_path(world.dir.path(), name);
    gateway().args(words).args(["--json", "--profile"]).arg(profile).output().unwrap()
}

/// Runs a command on a file with the request.
fn run_with_request(world: &World, name: &str, [verb_of, what]: [&str; 2], request: &Value) -> Output {
    let file = world.dir.path().join("request.json");
    std::fs::write(&file, request.to_string()).unwrap();
    run_command(world, name, &[verb_of, what, file.to_str().unwrap()])
}

fn exit_code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stderr_text(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Checks that `push` accepts requests as protobuf prints them, and names an error by its path.
#[tokio::test(flavor = "multi_thread")]
async fn requests_are_pushed_as_protobuf_prints_them() {
    let world = World::sqlite().await;
    let push = |what: &str, request: &Value| run_with_request(&world, "la-a", ["push", what], request);
    let mut referral = referral(&world);
    // protobuf's JSON reads a field by both of its names.
    let forename = referral["child"].as_object_mut().unwrap().remove("legal_forename").unwrap();
    referral["child"]["legalForename"] = forename;
    let made = push("referral", &referral);
    assert_eq!(exit_code(&made), 0, "{}", String::from_utf8_lossy(&made.stderr));
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let plan = json!({ "placement_id": made["placement_id"], "plan": { "purpose": 7, "dual": true } });
    let refused = push("plan", &plan);
    let stderr = String::from_utf8(refused.stderr.clone()).unwrap();
    assert_eq!(exit_code(&refused), 64);
    assert!(
        stderr.contains("plan.purpose: not a text") && stderr.contains("plan.dual: Plan has no such field"),
        "{stderr}"
    );
    referral["child"]["date_of_birth"] = "2012-05-32".into();
    referral["requested_start"] = "soon".into();
    let refused = push("referral", &referral);
    let stderr = String::from_utf8(refused.stderr.clone()).unwrap();
    assert_eq!(exit_code(&refused), 1);
    assert!(stderr.contains("child.date_of_birth") && stderr.contains("requested_start"), "{stderr}");
    assert!(!stderr.contains("2012-05-32") && !stderr.contains("soon"), "{stderr}");
    let refused =
        push("passport", &json!({ "placement_id": made["placement_id"], "blocks": [{ "voice": {} }] }));
    assert_eq!(exit_code(&refused), 1);
    assert!(String::from_utf8(refused.stderr).unwrap().contains("blocks"));
    world.stop().await;
}

/// Checks that a provider reads the blocks of a passport that it may see, and gets a notice for each other block.
#[tokio::test(flavor = "multi_thread")]
async fn a_passport_is_read_by_the_child_s_provider() {
    let world = World::sqlite().await;
    let placement = world.placements("la-a", "provider-a").remove(0);
    let get = |name: &str, placement: &str| run_command(&world, name, &["passport", "get", placement]);
    let read = get("provider-a", &placement);
    let passport: Value = serde_json::from_slice(&read.stdout).unwrap();
    assert_eq!((exit_code(&read), &passport["sender"]), (0, &"la/330".into()));
    assert!(passport["blocks"].as_array().unwrap().iter().any(|block| block.get("emergency").is_some()));
    let notices: Vec<_> = passport["notices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|notice| notice["kind"].as_str().unwrap())
        .collect();
    assert_eq!(notices, ["PASSPORT_BLOCK_KIND_HEALTH", "PASSPORT_BLOCK_KIND_SAFEGUARDING"]);
    // Another's placement and a missing one get the same response.
    let stranger = get("provider-c", &placement);
    let nowhere = get("provider-a", "6f1c2a34-0000-4000-8000-000000000000");
    for refused in [&stranger, &nowhere] {
        assert_eq!((exit_code(refused), refused.stdout.len()), (1, 0));
    }
    assert_eq!(stderr_text(&stranger), stderr_text(&nowhere));
    let malformed = get("provider-a", "Canary");
    assert_eq!((exit_code(&malformed), malformed.stdout.len()), (1, 0));
    assert!(stderr_text(&malformed).contains("placement_id") && !stderr_text(&malformed).contains("Canary"));
    world.stop().await;
}

fn progress_json(placement: &str) -> Value {
    json!({
        "placement_id": placement,
        "progress": {
            "from_date": "2026-09-01", "to_date": "2026-10-23", "planEtag": "1", "signed_on": "2026-11-02",
            "wellbeing": "sleeps better",
            "outcomes": [{ "outcome": 0, "rag": "RAG_GREEN", "evidence": "comes every day" }],
            "author": { "name": "Jo Example", "role": "Head of centre" },
        },
    })
}

/// Returns all revisions of the progress returns that a commissioner reads, and the number of deliveries about
/// them.
async fn progress_and_deliveries(la: &Client, placement: &str) -> (Vec<ProgressRecord>, usize) {
    let request = GetProgressRequest {
        placement_id: placement.to_owned(),
        with_earlier: true,
        ..GetProgressRequest::default()
    };
    let read = la.call(returns_service::GET_PROGRESS, &request).await.unwrap().message.records;
    let delivered = deliveries(la).await.into_iter();
    (read, delivered.filter(|one| one.kind == DeliveryKind::Progress as i32).count())
}

/// Checks that errors in the file are found before anything is sent and errors in its content by the gateway, each
/// with its path, and that nothing is stored.
async fn a_return_at_fault(world: &World, la: &Client, placement: &str) {
    let submit = |request: &Value| run_with_request(world, "provider-a", ["submit", "progress"], request);
    let mut unreadable = progress_json(placement);
    unreadable["progress"]["outcomes"][0]["rag"] = "Canary".into();
    unreadable["progress"]["semh"] = json!({ "leuven_wellbeing": "Canary" });
    unreadable["progress"]["mood"] = "Canary".into();
    let mut untrue = progress_json(placement);
    untrue["progress"]["to_date"] = "2031-01-02".into();
    untrue["progress"]["semh"] = json!({ "leuven_wellbeing": 77 });
    untrue["progress"]["outcomes"][0]["rag"] = 88.into();
    let paths = ["progress.outcomes[0].rag", "progress.semh.leuven_wellbeing"];
    for (request, exit, path) in [(unreadable, 64, "progress.mood"), (untrue, 1, "progress.to_date")] {
        let refused = submit(&request);
        let message = stderr_text(&refused);
        assert_eq!((exit_code(&refused), refused.stdout.len()), (exit, 0), "{message}");
        assert!(paths.iter().chain([&path]).all(|path| message.contains(path)), "{message}");
        assert!(!["Canary", "2031", "77,", "88,"].iter().any(|value| message.contains(value)), "{message}");
    }
    let mut another = progress_json(placement);
    another["progress"]["outcomes"][0]["outcome"] = 1.into();
    let refused = submit(&another);
    assert_eq!(exit_code(&refused), 1);
    assert!(stderr_text(&refused).contains("progress.outcomes[0].outcome"), "{}", stderr_text(&refused));
    let stranger = run_with_request(world, "provider-b", ["submit", "progress"], &progress_json(placement));
    assert_eq!((exit_code(&stranger), stranger.stdout.len()), (1, 0));
    assert_eq!(progress_and_deliveries(la, placement).await, (vec![], 0));
}

/// Checks that a page token is bound to its query and its method.
async fn pages_are_bound_to_their_query(la: &Client, placement: &str) {
    let one = GetProgressRequest {
        placement_id: placement.to_owned(),
        with_earlier: true,
        page_size: 1,
        ..GetProgressRequest::default()
    };
    let first = la.call(returns_service::GET_PROGRESS, &one).await.unwrap().message;
    let next = GetProgressRequest { page_token: first.next_page_token, ..one };
    let second = la.call(returns_service::GET_PROGRESS, &next).await.unwrap().message;
    assert_eq!((first.records[0].revision, second.records[0].revision), (1, 2));
    assert_eq!((second.records.len(), second.next_page_token.as_str()), (1, ""));
    let list = ListPlacementsRequest { page_size: 1, ..ListPlacementsRequest::default() };
    let listed = la.call(placement_service::LIST_PLACEMENTS, &list).await.unwrap().message;
    let after = ListPlacementsRequest { page_token: listed.next_page_token.clone(), ..list.clone() };
    let behind = la.call(placement_service::LIST_PLACEMENTS, &after).await.unwrap().message;
    assert!(behind.placements[0].placement_id > listed.placements[0].placement_id);
    let newest = GetProgressRequest { with_earlier: false, ..next.clone() };
    let of_a_list = GetProgressRequest { page_token: listed.next_page_token, ..next.clone() };
    for request in [&newest, &of_a_list] {
        let refused = la.call(returns_service::GET_PROGRESS, request).await.unwrap_err();
        assert!(matches!(refused, ClientError::Refused(status) if explain(&status).contains("page_token")));
    }
    let of_progress = ListPlacementsRequest { page_token: next.page_token, ..list };
    let refused = la.call(placement_service::LIST_PLACEMENTS, &of_progress).await.unwrap_err();
    assert!(matches!(refused, ClientError::Refused(status) if explain(&status).contains("page_token")));
}

/// Checks that a progress return is stored and read, that a repetition is unchanged, and that a change needs a
/// reason.
#[tokio::test(flavor = "multi_thread")]
async fn a_progress_return_is_sent_from_a_file() {
    let world = World::sqlite().await;
    let la = world.client("la-a").await;
    let placement = world.placements("la-a", "provider-a").remove(2);
    a_return_at_fault(&world, &la, &placement).await;
    let submit = |request: &Value| {
        let sent = run_with_request(&world, "provider-a", ["submit", "progress"], request);
        assert_eq!(exit_code(&sent), 0, "{}", stderr_text(&sent));
        let reply: Value = serde_json::from_slice(&sent.stdout).unwrap();
        (reply["outcome"].as_str().unwrap().to_owned(), reply["revision"].as_u64().unwrap())
    };
    let mut request = progress_json(&placement);
    assert_eq!(submit(&request), ("PROGRESS_OUTCOME_STORED".to_owned(), 1));
    assert_eq!(submit(&request), ("PROGRESS_OUTCOME_UNCHANGED".to_owned(), 1));
    let (read, delivered) = progress_and_deliveries(&la, &placement).await;
    let kept = read[0].progress.as_ref().unwrap();
    assert_eq!((read.len(), delivered), (1, 1));
    assert_eq!(
        (kept.wellbeing.as_str(), kept.outcomes[0].evidence.as_str()),
        ("sleeps better", "comes every day")
    );
    request["progress"]["wellbeing"] = "Canary".into();
    let refused = run_with_request(&world, "provider-a", ["submit", "progress"], &request);
    assert_eq!((exit_code(&refused), refused.stdout.len()), (1, 0));
    assert!(stderr_text(&refused).contains("correction_reason") && !stderr_text(&refused).contains("Canary"));
    request["correction_reason"] = "of another child".into();
    assert_eq!(submit(&request), ("PROGRESS_OUTCOME_CORRECTED".to_owned(), 2));
    let (read, delivered) = progress_and_deliveries(&la, &placement).await;
    assert_eq!((read.len(), read[1].correction_reason.as_str(), delivered), (2, "of another child", 2));
    pages_are_bound_to_their_query(&la, &placement).await;
    world.stop().await;
}
