//! A database with at least 2,000 entries and every kind of record in every table, for the tests that edit it.

use std::collections::{BTreeMap, BTreeSet};

use ap_gateway::clock::Randomness;
use ap_gateway::proto;
use ap_gateway::proto::v1::{
    DeliveryStage, GetPassportRequest, GetPlacementRequest, ListPlacementsRequest, Session, passport_service,
    placement_service,
};
use ap_gateway::store::Database;
use prost::Message;
use prost_reflect::DynamicMessage;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::super::documents::{acknowledge, put_passport, share_passport};
use super::super::example_requests::EXAMPLE_REQUESTS;
use super::super::exchange_semantics::{mark, new_id, submission, submit};
use super::super::fixtures::{Fixtures, find_example, method_descriptor, method_path, parse_request};
use super::super::support::{Postgres, World, gateway, run};
use super::super::upload::{Upload, marks, part};
use super::super::wire::{Answer, Wire, frame};
use super::super::{break_glass, break_glass_count};

/// Minimum number of entries.
pub const MIN_ENTRIES: i64 = 2_000;
/// Values that some row of a table has in a column: every state and kind that a method makes. A FAILED entry is missing,
/// because only a fault of the gateway makes one.
pub const KINDS: &[(&str, &str, &[i64])] = &[
    ("acknowledgements", "stage", &[3, 4]),
    ("agreements", "state", &[1, 2, 3]),
    ("alerts", "state", &[1, 2, 3]),
    ("break_glass", "over_limit", &[0, 1]),
    ("certificates", "state", &[1, 2]),
    ("closures", "withdrawn", &[0, 1]),
    ("entries", "outcome", &[1, 2, 3, 4]),
    ("grants", "ended", &[0, 1]),
    ("grants", "kind", &[1, 2]),
    ("issuers", "ended", &[0, 1]),
    ("marks", "revision", &[1, 2]),
    ("open_items", "is_checked", &[0, 1]),
    ("open_items", "is_raised", &[0, 1]),
    ("organisations", "state", &[1, 2]),
    ("parties", "kind", &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 20, 21, 22, 23, 32, 33, 36]),
    ("placements", "state", &[1, 2, 3, 4, 5, 6, 7]),
    ("plans", "version", &[1, 2]),
    ("practitioners", "ended", &[0, 1]),
    ("progress", "revision", &[1, 2]),
    ("returns", "is_last", &[0, 1]),
    ("returns", "is_nil", &[0, 1]),
    ("returns", "part", &[0, 1, 2]),
    ("statements", "kind", &[1, 2]),
    ("statements", "revision", &[1, 2]),
    ("term_dates", "version", &[1, 2]),
    ("voids", "part", &[0, 1]),
];

/// Number of times that the examples are sent, each time about new objects.
const ROUNDS: usize = 3;
/// Time of the last round: the items that the first rounds left open are overdue.
const LATER: &str = "2026-12-04T09:00:00Z";
/// Number of single marks and reads that are sent at a time.
const CALLS_AT_ONCE: usize = 25;

/// A database that is not served, with the files of its gateway.
pub struct FilledDatabase {
    /// The sandbox's folder: configuration, keys, anchor, and the file of a SQLite database.
    pub dir: TempDir,
    /// The server of a PostgreSQL database.
    pub postgres: Option<Postgres>,
    /// Ids of objects, by their names in the examples.
    pub names: BTreeMap<String, String>,
}

impl FilledDatabase {
    /// Makes the database, in SQLite or in a server.
    pub async fn create(postgres: Option<Postgres>) -> Self {
        let world = match postgres {
            None => World::sqlite().await,
            Some(postgres) => World::with_postgres(postgres).await,
        };
        submit_by_processor(&world).await;
        break_the_glass(&world).await;
        let random = Randomness::seeded(b"the callers of the filled database");
        for round in 0..ROUNDS - 1 {
            drop(send_round(&world, round, &random).await);
        }
        supply_a_missing_item(&world).await;
        activate_new_keys(&world).await;
        let world = world.restart_at(LATER).await;
        let stage = send_round(&world, ROUNDS - 1, &random).await;
        let names = stage.names.clone();
        drop(stage);
        send_parts(&world).await;
        send_many(&world).await;
        announce_ended_nodes(&world).await;
        let (dir, postgres) = world.stop_serving().await;
        Self { dir, postgres, names }
    }
}

/// Makes new fixtures, sends every example, repeats it, sends it as a caller without the right, sends a malformed one,
/// and sends the requests that lead to the other states. Only in the first round must every example be accepted, because some objects of the
/// sandbox are there once.
pub async fn send_round(world: &World, round: usize, random: &Randomness) -> Fixtures {
    let mut stage = Fixtures::create(world.dir.path(), random.clone()).await;
    for row in EXAMPLE_REQUESTS {
        let request = stage.request(row, false);
        if row.method == "WatchDeliveries" {
            let (path, body) =
                (method_path(&method_descriptor(row.method)), stage.request_body(row.method, &request));
            let wire = stage.connection(row.caller).await;
            wire.send(&path, &[("grpc-timeout", "1S")], body).await.unwrap();
            continue;
        }
        let reason = stage.call(row.caller, row.method, &request).await.reason();
        assert!(round > 0 || reason == "OK", "{}: {reason}", row.method);
        stage.call(row.caller, row.method, &request).await;
        stage.call("auditor", row.method, &request).await;
        let path = method_path(&method_descriptor(row.method));
        stage.connection(row.caller).await.send(&path, &[], frame(&[0xff])).await.unwrap();
    }
    if round == 0 {
        change_organisations(&mut stage).await;
    }
    reach_other_states(&mut stage, round).await;
    stage
}

/// Sends a request that is given as JSON, and asserts that it is accepted.
async fn send(stage: &mut Fixtures, caller: &str, method: &str, json: &str) {
    let answer = try_send(stage, caller, method, json).await;
    assert_eq!(answer.reason(), "OK", "{method} {json}");
}

async fn try_send(stage: &mut Fixtures, caller: &str, method: &str, json: &str) -> Answer {
    let mut request: DynamicMessage = parse_request(method, &stage.substitute_names(json));
    if proto::is_mutating(&method_descriptor(method)) {
        stage.set_request_id(&mut request);
    }
    stage.call(caller, method, &request).await
}

/// Suspends and restores organisations. The newcomer stays suspended.
async fn change_organisations(stage: &mut Fixtures) {
    let changes = [
        ("provider/brightwater", 2, "SUSPENDED"),
        ("provider/brightwater", 3, "ACTIVE"),
        ("partner/newcomer", 1, "SUSPENDED"),
        ("partner/newcomer", 2, "ACTIVE"),
        ("partner/newcomer", 3, "SUSPENDED"),
    ];
    for (organisation, etag, state) in changes {
        let json = format!(
            r#"{{"organisation": "{organisation}", "etag": "{etag}", "state": "ORGANISATION_STATE_{state}",
                "reason": "an inspection", "officer": {{"name": "Kit Example", "role": "service manager"}}}}"#
        );
        send(stage, "operator", "UpdateOrganisation", &json).await;
    }
}

/// Corrects, withdraws, declines and lifts what the examples made.
async fn reach_other_states(stage: &mut Fixtures, round: usize) {
    let example = |method| find_example(method).unwrap().json;
    let progress = example("SubmitProgress").trim_end().strip_suffix('}').unwrap();
    let progress = progress.replace(r#""incidents": 2"#, &format!(r#""incidents": {}"#, round + 3));
    let plan = example("PutPlan").replacen('{', r#"{"etag": "1", "#, 1).replace("62 %", "63 %");
    let terms = example("PutTermDates").replace("2027-12-17", &format!("2027-12-{}", round + 10));
    let requests = [
        ("provider-a", "SubmitAttendance", r#"{"nil_return": true}"#.to_owned()),
        (
            "provider-a",
            "SubmitAttendance",
            r#"{"marks": [{"placement_id": "$active", "date": "2026-09-02", "session": "SESSION_AM", "code": "O",
                "comment": "nobody telephoned", "correction_reason": "the note was about another day"}]}"#
                .to_owned(),
        ),
        (
            "provider-a",
            "VoidReturn",
            r#"{"return_id": "$streamed", "part": 1, "reason": "the register of another day"}"#.to_owned(),
        ),
        (
            "la-a",
            "ConfirmMarks",
            r#"{"confirmations": [{"placement_id": "$active", "date": "2026-09-02", "session": "SESSION_AM",
                "code": "M", "correction_reason": "it was an appointment"}]}"#
                .to_owned(),
        ),
        (
            "la-a",
            "NotifyExpectedAbsence",
            r#"{"placement_id": "$active", "withdrawn": true,
                "sessions": [{"date": "2026-09-03", "session": "SESSION_AM"}]}"#
                .to_owned(),
        ),
        (
            "provider-a",
            "DeclareClosure",
            r#"{"closure_id": "$closure", "etag": "1", "withdrawn": true, "site": "Unit 4",
                "from_date": "2026-11-23", "to_date": "2026-11-23", "kind": "CLOSURE_KIND_PLANNED",
                "reason_code": "\#"}"#
                .replace("\\#", "#"),
        ),
        ("la-a", "PutPlan", plan),
        ("la-a", "PutTermDates", terms),
        ("provider-a", "SubmitProgress", format!(r#"{progress}, "correction_reason": "counted again"}}"#)),
        (
            "la-a",
            "WithholdInformation",
            r#"{"placement_id": "$carried", "blocks": ["PASSPORT_BLOCK_KIND_VOICE"], "reason": "the child asked",
                "officer": {"name": "Sam Example", "role": "AP officer"}}"#
                .to_owned(),
        ),
    ];
    for (caller, method, json) in requests {
        send(stage, caller, method, &json).await;
    }
    stage.create_placement(0).await;
    let decline = r#"{"placement_id": "$referred", "etag": "$referred.etag",
        "decline": {"reason": "DECLINE_REASON_NO_PLACE", "note": "full until spring"}}"#;
    send(stage, "provider-a", "RespondToReferral", decline).await;
    stage.create_placement(1).await;
    let reject = example("DecidePlacement").replace(r#""approved": true"#, r#""approved": false"#);
    send(stage, "la-a", "DecidePlacement", &reject).await;
}

/// Reads the passport of a child in an emergency, once more than the limit of a day.
pub async fn break_the_glass(world: &World) {
    let dsl = break_glass::person(world, "provider-a", "dsl").await;
    let placement = world.placements("la-a", "provider-a").remove(0);
    let request = GetPassportRequest { request_id: new_id(), ..break_glass::emergency(&placement) };
    dsl.call(passport_service::GET_PASSPORT, &request).await.unwrap();
    assert_eq!(break_glass_count::break_at_once(&[dsl], &placement, 10).await, 1);
}

/// Submits marks by a processor, while it has a grant.
async fn submit_by_processor(world: &World) {
    let wire = Wire::connect(world.dir.path(), "processor").await;
    let placement = world.placements("la-a", "provider-a").remove(0);
    let path = method_path(&method_descriptor("SubmitAttendance"));
    for day in 10..13 {
        let request = submission(vec![mark(&placement, &format!("2026-11-{day}"), "/")]).encode_to_vec();
        let metadata = [("ap-on-behalf-of", "provider/riverside")];
        let answer = wire.send(&path, &metadata, frame(&request)).await.unwrap();
        assert_eq!(answer.reason(), "OK");
    }
}

/// Supplies the item that one start left open, in the second version of a passport, so that the gateway closes its
/// alert.
pub async fn supply_a_missing_item(world: &World) {
    let (la, brightwater) = (world.client("la-a").await, world.client("provider-c").await);
    let placement = world.placements("la-a", "provider-c").remove(0);
    let etag = put_passport(&la, &placement, "").await.unwrap().etag;
    let etag = put_passport(&la, &placement, &etag).await.unwrap().etag;
    share_passport(&la, &placement, &etag).await.unwrap();
    acknowledge(&brightwater, &placement, DeliveryStage::Acknowledged).await;
    acknowledge(&brightwater, &placement, DeliveryStage::ActedOn).await;
    for _ in 0..400 {
        let database = world.database().await;
        let sql = "SELECT COUNT(*) AS count FROM alerts WHERE state = 3";
        let row = database.reader().await.unwrap().fetch_one(sql, vec![]).await.unwrap().unwrap();
        database.close().await;
        if row.get::<i64>("count").unwrap() > 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("no alert was closed");
}

/// Activates three new keys of the ring, one after the other.
async fn activate_new_keys(world: &World) {
    let config = world.dir.path().join("gateway.toml");
    for _ in 0..3 {
        run(gateway().args(["rotate-keys", "--config"]).arg(&config));
        let mut activated = false;
        for _ in 0..100 {
            // A PostgreSQL database accepts the key when the node that serves has announced it.
            let output = gateway().args(["activate-key", "--config"]).arg(&config).output().unwrap();
            activated = output.status.success();
            if activated {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        assert!(activated, "a new key is not activated");
    }
}

/// Sends a return in two parts.
pub async fn send_parts(world: &World) {
    let wire = Wire::connect(world.dir.path(), "provider-a").await;
    let (mut upload, opened) = Upload::start(&wire, "").await;
    let marks = marks(&world.placements("la-a", "provider-a"), 8);
    for (number, marks) in (1..).zip(marks.chunks(4)) {
        upload.part(&part(&opened.return_id, number, marks, 2, number == 2)).await.unwrap();
    }
}

/// Sends single marks and reads, many at once, until there are enough entries.
async fn send_many(world: &World) {
    let (riverside, la) = (world.client("provider-a").await, world.client("la-a").await);
    let placements =
        [world.placements("la-a", "provider-a"), world.placements("school", "provider-a")].concat();
    let size = {
        let database = world.database().await;
        let sql = "SELECT COUNT(*) AS count FROM entries";
        let row = database.reader().await.unwrap().fetch_one(sql, vec![]).await.unwrap().unwrap();
        database.close().await;
        usize::try_from(row.get::<i64>("count").unwrap()).unwrap()
    };
    let wanted = usize::try_from(MIN_ENTRIES).unwrap() + 60;
    for (second, first) in (size..wanted).step_by(CALLS_AT_ONCE).enumerate() {
        world.advance(&format!("2026-12-04T10:{:02}:{:02}Z", second / 60, second % 60));
        let mut calls = JoinSet::new();
        for number in first..first + CALLS_AT_ONCE {
            let placement = placements[number % placements.len()].clone();
            let day = number / placements.len();
            let date = format!("2026-{:02}-{:02}", 9 + day / 30 % 3, day % 30 + 1);
            let session = if day / 90 % 2 == 0 { Session::Am } else { Session::Pm } as i32;
            let (riverside, la) = (riverside.clone(), la.clone());
            calls.spawn(async move {
                if number % 10 == 3 {
                    let request = GetPlacementRequest { placement_id: placement };
                    // A placement of the school is refused.
                    drop(la.call(placement_service::GET_PLACEMENT, &request).await);
                } else if number % 50 == 7 {
                    let request = ListPlacementsRequest::default();
                    riverside.call(placement_service::LIST_PLACEMENTS, &request).await.unwrap();
                } else {
                    let marked = ap_gateway::proto::v1::Mark { session, ..mark(&placement, &date, "/") };
                    // A mark that a part has stored already would need the reason of a correction.
                    drop(submit(&riverside, &submission(vec![marked])).await);
                }
            });
        }
        calls.join_all().await;
    }
}

/// Adds the rows of three nodes that ended without removing them. On SQLite no node announces itself.
pub async fn announce_ended_nodes(world: &World) {
    let database = world.database().await;
    let mut conn = database.writer().await.unwrap();
    for node in 1..=3_u8 {
        let sql = "INSERT INTO nodes (node, name, keys, seen) VALUES ($1, $2, $3, $4)";
        let name = format!("host-{node} 127.0.0.1:4433 (process {node})");
        let arguments =
            vec![vec![node; 16].into(), name.as_str().into(), vec![node; 12].into(), 1_i64.into()];
        conn.execute(sql, arguments).await.unwrap();
    }
    drop(conn);
    database.close().await;
}

/// Returns the number of rows of a table.
pub async fn count_rows(database: &Database, table: &str) -> i64 {
    let sql = format!("SELECT COUNT(*) AS count FROM {table}").leak();
    let row = database.reader().await.unwrap().fetch_one(sql, vec![]).await.unwrap();
    row.unwrap().get("count").unwrap()
}

/// Returns the values of an integer column, each once.
pub async fn distinct_values(database: &Database, table: &str, column: &str) -> BTreeSet<i64> {
    let sql = format!("SELECT DISTINCT {column} AS value FROM {table}").leak();
    let rows = database.reader().await.unwrap().fetch(sql, vec![]).await.unwrap();
    rows.iter().map(|row| row.get("value").unwrap()).collect()
}
