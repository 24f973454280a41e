//! Rotation of the key ring as described in the README, on two nodes under load: no delivery lacks its content.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ap_gateway::cli::sandbox;
use ap_gateway::client::Client;
use ap_gateway::proto::v1::{
    Delivery, DeliveryKind, GetAttendanceRequest, GetPlacementRequest, ListDeliveriesResponse,
    ListExpectedReturnsRequest, WatchDeliveriesResponse,
};
use prost::Message;
use prost::bytes::Bytes;

use super::super::key_rotation::create_referral;
use super::super::process::Process;
use super::super::startup_checks::serve_briefly;
use super::super::support::{Postgres, deliveries, gateway, run};
use super::super::wire::{Wire, frame, tls};
use super::{Load, MAX_WAIT, NODE_NAMES, Nodes};

/// Runs `activate-key` for a node and returns exit code and stderr.
fn activate_key(dir: &Path) -> (i32, String) {
    let output = gateway().args(["activate-key", "--config"]).arg(dir.join("gateway.toml")).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Repeats `activate-key` until every live node has announced the key.
fn activate_key_ok(dir: &Path) {
    let begun = Instant::now();
    loop {
        let (code, stderr) = activate_key(dir);
        if code == 0 {
            return;
        }
        assert!(code == 1 && stderr.contains("do not hold the key yet"), "{code}: {stderr}");
        assert!(begun.elapsed() < MAX_WAIT, "{stderr}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Returns for each delivery of a mailbox, by cursor, whether it has content.
async fn deliveries_with_content(client: &Client) -> BTreeMap<(u64, u32), bool> {
    let place = |delivery: &Delivery| {
        let cursor = delivery.cursor.as_ref().unwrap();
        (cursor.index, cursor.ordinal)
    };
    let mail = deliveries(client).await;
    mail.iter().map(|delivery| (place(delivery), delivery.content.is_some())).collect()
}

/// Returns the id of the newest key that has sealed anything.
async fn newest_sealing_key(nodes: &Nodes) -> i64 {
    let sql = "SELECT MAX(kek_id) AS kek_id FROM child_keys";
    nodes.query(sql).await.remove(0).get("kek_id").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_leaves_no_delivery_without_its_content() {
    let nodes = Arc::new(Nodes::new(Postgres::start()));
    let [one, two] = NODE_NAMES.map(|node| nodes.dir(node));
    let before_rotation = one.join("key-ring.before");
    std::fs::copy(one.join("key-ring"), &before_rotation).unwrap();
    let made = sandbox::world::load(&one).unwrap();
    let agreed = made.agreements.iter().find(|agreed| agreed.provider == "provider-a").unwrap();
    let servers = nodes.serve();
    let las = [nodes.client(NODE_NAMES[0], "la-a").await, nodes.client(NODE_NAMES[1], "la-a").await];
    let providers = nodes.clients().await;
    // The pause is long enough that sessions are left until the end.
    let load = Load::start_paced(&nodes, 4, Duration::from_millis(200)).await;
    let before = [deliveries_with_content(&las[0]).await, deliveries_with_content(&providers[0]).await];
    create_referral(&las[0], &agreed.agreement_id).await;
    let old = newest_sealing_key(&nodes).await;

    run(gateway().args(["rotate-keys", "--config"]).arg(one.join("gateway.toml")));
    let (code, stderr) = activate_key(&one);
    assert!(code == 1 && stderr.contains("do not hold the key yet"), "{code}: {stderr}");
    create_referral(&las[0], &agreed.agreement_id).await;
    assert_eq!(newest_sealing_key(&nodes).await, old, "nothing is sealed under a key that is not active");
    run(std::process::Command::new("cp").arg("-p").args([one.join("key-ring"), two.join("key-ring")]));
    activate_key_ok(&one);
    // Node one seals under the new key and node two under the old one; each opens data of the other.
    let begun = Instant::now();
    while newest_sealing_key(&nodes).await == old {
        assert!(begun.elapsed() < MAX_WAIT, "the new key does not seal");
        for la in &las {
            create_referral(la, &agreed.agreement_id).await;
        }
    }
    activate_key_ok(&two);
    for la in las.iter().cycle().take(6) {
        create_referral(la, &agreed.agreement_id).await;
        for provider in &providers {
            let mut mail = deliveries(provider).await.into_iter();
            let newest = mail.rfind(|delivery| delivery.kind() == DeliveryKind::Referral);
            assert!(newest.unwrap().content.is_some());
        }
    }
    let answered = load.stop().await;
    assert!(!answered.is_empty());
    for (clients, before) in [&las, &providers].into_iter().zip(before) {
        for client in clients {
            for (place, has_content) in deliveries_with_content(client).await {
                let had = before.get(&place).copied().unwrap_or(true);
                assert_eq!(has_content, had, "{place:?}");
            }
        }
    }
    drop(servers);

    // A node with the ring from before the rotation does not start.
    std::fs::copy(&before_rotation, two.join("key-ring")).unwrap();
    let (code, stderr) = serve_briefly(&two);
    assert!(code == 78 && stderr.contains("it lacks key 2"), "{code}: {stderr}");
    run(std::process::Command::new("cp").arg("-p").args([one.join("key-ring"), two.join("key-ring")]));
    nodes.assert_stored_once(&answered).await;
}

/// The words of a reply's reason when this node lacks a key, or appends nothing because it does.
const UNAVAILABLE_REASONS: [&str; 2] = ["KEY_UNAVAILABLE", "AUDIT_UNAVAILABLE"];

/// Activates the pending key although the second node lacks it, as if it had been cut off for half a minute, and hides
/// from it that the key is in use, as for the first two seconds after it is back.
fn activate_unknown_to_the_second_node(nodes: &Nodes) {
    let begun = Instant::now();
    loop {
        nodes.postgres.ask("DELETE FROM nodes");
        let (code, stderr) = activate_key(&nodes.dir(NODE_NAMES[0]));
        if code == 0 {
            break;
        }
        assert!(code == 1 && stderr.contains("do not hold the key yet"), "{code}: {stderr}");
        assert!(begun.elapsed() < MAX_WAIT, "{stderr}");
    }
    nodes.postgres.ask("CREATE TABLE hidden AS SELECT * FROM activated_keys");
    nodes.postgres.ask("DELETE FROM activated_keys");
}

/// Returns the reads of a node about a new placement and one under way: path and request.
fn reads_about([placement, active]: [&str; 2]) -> Vec<(&'static str, Vec<u8>)> {
    let expected = ListExpectedReturnsRequest {
        from_date: "2026-11-16".to_owned(),
        to_date: "2026-11-20".to_owned(),
        ..ListExpectedReturnsRequest::default()
    };
    let get = GetPlacementRequest { placement_id: placement.to_owned() }.encode_to_vec();
    let attendance = GetAttendanceRequest {
        placement_id: active.to_owned(),
        from_date: "2026-11-16".to_owned(),
        to_date: "2026-11-20".to_owned(),
        ..GetAttendanceRequest::default()
    };
    vec![
        ("/apgateway.v1.PlacementService/GetPlacement", get),
        ("/apgateway.v1.PlacementService/ListPlacements", Vec::new()),
        ("/apgateway.v1.ReturnsService/GetAttendance", attendance.encode_to_vec()),
        ("/apgateway.v1.ReturnsService/ListExpectedReturns", expected.encode_to_vec()),
        ("/apgateway.v1.OversightService/ListAlerts", Vec::new()),
        (LIST_DELIVERIES, Vec::new()),
        (WATCH_DELIVERIES, Vec::new()),
    ]
}

const LIST_DELIVERIES: &str = "/apgateway.v1.DeliveryService/ListDeliveries";
const WATCH_DELIVERIES: &str = "/apgateway.v1.DeliveryService/WatchDeliveries";

/// Returns the deliveries of an answer.
fn deliveries_of(path: &str, messages: &[Bytes]) -> Vec<Delivery> {
    let decode = |message: &Bytes| match path {
        LIST_DELIVERIES => ListDeliveriesResponse::decode(message.clone()).unwrap().deliveries,
        WATCH_DELIVERIES => WatchDeliveriesResponse::decode(message.clone()).unwrap().deliveries,
        _ => Vec::new(),
    };
    messages.iter().flat_map(decode).collect()
}

/// Makes every read on a node. Each is OK with the content of every delivery, or UNAVAILABLE with the cause. Returns the
/// reasons of the refusals.
async fn read_everything(wire: &Wire, placements: [&str; 2]) -> Vec<String> {
    let mut refusals = Vec::new();
    for (path, request) in reads_about(placements) {
        // A stream is read until its deadline.
        let metadata: &[(&str, &str)] =
            if path == WATCH_DELIVERIES { &[("grpc-timeout", "1500m")] } else { &[] };
        let body = frame(&request);
        let answer = wire.send(path, metadata, body).await.unwrap();
        for delivery in deliveries_of(path, &answer.messages) {
            assert!(delivery.content.is_some(), "{path} left out the content of {delivery:?}");
        }
        let reason = answer.reason();
        let is_end_of_stream = path == WATCH_DELIVERIES && reason == "DEADLINE_EXCEEDED";
        if reason != "OK" && !is_end_of_stream {
            let is_unavailable = answer.status().code() == tonic::Code::Unavailable;
            assert!(
                is_unavailable && UNAVAILABLE_REASONS.contains(&reason.as_str()),
                "{path}: {reason} {:?}",
                answer.status()
            );
            refusals.push(format!("{path} {reason}"));
        }
    }
    refusals
}

/// Connects to a node as an organisation.
async fn connect(nodes: &Nodes, server: &Process, name: &str) -> Wire {
    let dir = nodes.dir(NODE_NAMES[1]);
    let [certificate, key] = ["pem", "key"].map(|kind| dir.join(format!("certs/{name}.{kind}")));
    let config = tls(&dir.join("ca.pem"), Some((&certificate, &key)));
    Wire::open(server.address(), config).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lacks_the_key_in_use_answers_nothing_without_its_content() {
    let nodes = Arc::new(Nodes::new(Postgres::start()));
    let [one, two] = NODE_NAMES.map(|node| nodes.dir(node));
    let made = sandbox::world::load(&one).unwrap();
    let agreed = made.agreements.iter().find(|agreed| agreed.provider == "provider-a").unwrap();
    let servers = nodes.serve();
    let la = nodes.client(NODE_NAMES[0], "la-a").await;
    let load = Load::start_paced(&nodes, 4, Duration::from_millis(100)).await;
    run(gateway().args(["rotate-keys", "--config"]).arg(one.join("gateway.toml")));
    activate_unknown_to_the_second_node(&nodes);
    let begun = Instant::now();
    let mut sealed = 1;
    while sealed < 2 {
        assert!(begun.elapsed() < MAX_WAIT, "the new key does not seal");
        create_referral(&la, &agreed.agreement_id).await;
        sealed = newest_sealing_key(&nodes).await;
    }
    let sql = "SELECT encode(id, 'hex') FROM placements ORDER BY idx DESC LIMIT 1";
    let placement = uuid::Uuid::parse_str(nodes.postgres.ask(sql).trim()).unwrap().to_string();
    let mut placed = made.placements.iter().filter(|placed| placed.commissioner == "la-a");
    let active = placed.find(|placed| placed.provider == "provider-a").unwrap();
    let placements = [&*placement, &*active.placement_id];

    // The second node opens what it can, and refuses the rest with the cause.
    let mut refused = Vec::new();
    for name in ["provider-a", "la-a"] {
        let wire = connect(&nodes, &servers[1], name).await;
        for _ in 0..2 {
            refused.extend(read_everything(&wire, placements).await);
        }
    }
    let lacks_key =
        |path: &str| refused.iter().any(|it| it.contains(path) && it.ends_with(" KEY_UNAVAILABLE"));
    for path in ["GetPlacement", "ListPlacements", "ListDeliveries", "WatchDeliveries"] {
        assert!(lacks_key(path), "{path}: {refused:?}");
    }
    let wire = connect(&nodes, &servers[0], "provider-a").await;
    assert_eq!(read_everything(&wire, placements).await, Vec::<String>::new(), "the first node has the key");

    // It appends nothing once it has seen that the key is in use.
    nodes.postgres.ask("INSERT INTO activated_keys SELECT * FROM hidden");
    let wire = connect(&nodes, &servers[1], "provider-a").await;
    let begun = Instant::now();
    while !read_everything(&wire, placements).await.iter().all(|it| it.ends_with(" AUDIT_UNAVAILABLE")) {
        assert!(begun.elapsed() < MAX_WAIT, "the node goes on without the key");
    }
    // With the key it reads everything.
    run(std::process::Command::new("cp").arg("-p").args([one.join("key-ring"), two.join("key-ring")]));
    let begun = Instant::now();
    while !read_everything(&wire, placements).await.is_empty() {
        assert!(begun.elapsed() < MAX_WAIT, "the node does not take up the key");
    }
    let answered = load.stop().await;
    for client in nodes.clients().await {
        assert!(deliveries_with_content(&client).await.values().all(|has_content| *has_content));
    }
    nodes.postgres.ask("DROP TABLE hidden");
    drop(servers);
    nodes.assert_stored_once(&answered).await;
}
