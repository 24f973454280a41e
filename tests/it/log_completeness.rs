//! Completeness of the log: it contains exactly the calls that a client has counted.

use std::collections::{BTreeMap, BTreeSet};

use ap_gateway::cli::audit;
use ap_gateway::clock::Randomness;
use ap_gateway::proto;
use ap_gateway::proto::v1::Outcome;
use prost::Message;
use prost::bytes::{Bytes, BytesMut};

use super::example_requests::EXAMPLE_REQUESTS;
use super::exchange_semantics::{mark, new_id, submission};
use super::fixtures::{Fixtures, find_example, method_descriptor, method_path};
use super::support::World;
use super::wire::{Wire, frame, receipt, receipt_of};

/// Total number of calls.
const CALL_COUNT: usize = 500;
const SUBMIT: &str = "/apgateway.v1.ReturnsService/SubmitAttendance";
const PLACEMENT: &str = "/apgateway.v1.PlacementService/GetPlacement";
const LIST: &str = "/apgateway.v1.PlacementService/ListPlacements";
const CHECKPOINT: &str = "/apgateway.v1.AuditService/GetCheckpoint";
const WATCH: &str = "/apgateway.v1.DeliveryService/WatchDeliveries";

/// The number of calls by method and outcome.
type OutcomeCounts = BTreeMap<(String, i32), usize>;

/// A call with its expected result and its outcome in the log; `None` for the methods without entries.
struct Call {
    path: &'static str,
    metadata: &'static [(&'static str, &'static str)],
    body: Bytes,
    reason: &'static str,
    logged_outcome: Option<Outcome>,
}

fn logged_call(path: &'static str, body: Bytes, reason: &'static str, entry: Outcome) -> Call {
    Call { path, metadata: &[], body, reason, logged_outcome: Some(entry) }
}

/// Returns valid and invalid calls of every kind. `repeated` has already been submitted.
fn all_calls(placement: &str, repeated: &Bytes) -> Vec<Call> {
    let submit = |code: &str| frame(&submission(vec![mark(placement, "2026-11-02", code)]).encode_to_vec());
    let one = submit("/");
    let two = [&one[..], &one[..]].concat();
    let get = |id: &str| frame(&[&[0x0a, 36], id.as_bytes()].concat());
    let flagged = |flag: u8| {
        let mut bytes = BytesMut::from(&frame(b"not what it says")[..]);
        bytes[0] = flag;
        bytes.freeze()
    };
    let large = frame(&vec![0x0a; (1 << 20) + 1]);
    let gzip: &[(&str, &str)] = &[("grpc-encoding", "gzip")];
    let mut calls = vec![
        logged_call(SUBMIT, one.clone(), "OK", Outcome::Ok),
        logged_call(PLACEMENT, get(placement), "OK", Outcome::Ok),
        logged_call(LIST, frame(&[]), "OK", Outcome::Ok),
        logged_call(WATCH, frame(&[0x0a, 6, 0x10, 0xff, 0xff, 0xff, 0xff, 7]), "OK", Outcome::Ok),
        logged_call(SUBMIT, repeated.clone(), "OK", Outcome::Replayed),
        logged_call(PLACEMENT, get(&new_id()), "NOT_FOUND", Outcome::Refused),
        logged_call(SUBMIT, submit("?"), "INVALID_REQUEST", Outcome::Refused),
        logged_call(SUBMIT, frame(&[]), "INVALID_REQUEST", Outcome::Refused),
        logged_call(
            "/apgateway.v1.RegisterService/ListOrganisations",
            frame(&[]),
            "METHOD_NOT_ALLOWED",
            Outcome::Refused,
        ),
        logged_call("/apgateway.v1.ReturnsService/Nothing", frame(&[]), "UNKNOWN_METHOD", Outcome::Refused),
        logged_call("/elsewhere", frame(&[]), "UNKNOWN_METHOD", Outcome::Refused),
        logged_call(SUBMIT, frame(&[0xff; 20]), "MALFORMED", Outcome::Malformed),
        logged_call(PLACEMENT, frame(&[0x0a, 2, 0xc0, 0x80]), "MALFORMED", Outcome::Malformed),
        logged_call(WATCH, frame(&[0x0a]), "MALFORMED", Outcome::Malformed),
        logged_call(SUBMIT, Bytes::new(), "MALFORMED", Outcome::Malformed),
        logged_call(SUBMIT, one.slice(..one.len() - 1), "MALFORMED", Outcome::Malformed),
        logged_call(SUBMIT, two.into(), "MALFORMED", Outcome::Malformed),
        logged_call(SUBMIT, flagged(1), "MALFORMED", Outcome::Malformed),
        logged_call(SUBMIT, flagged(7), "MALFORMED", Outcome::Malformed),
        logged_call(SUBMIT, large, "MESSAGE_TOO_LARGE", Outcome::Refused),
    ];
    calls.push(Call { metadata: gzip, ..logged_call(SUBMIT, flagged(1), "MALFORMED", Outcome::Malformed) });
    let brotli: &[(&str, &str)] = &[("grpc-encoding", "br")];
    calls.push(Call {
        metadata: brotli,
        ..logged_call(SUBMIT, one.clone(), "ENCODING_UNKNOWN", Outcome::Refused)
    });
    let unentered =
        |path, body, reason| Call { logged_outcome: None, ..logged_call(path, body, reason, Outcome::Ok) };
    calls.push(unentered(CHECKPOINT, frame(&[]), "OK"));
    calls.push(unentered(CHECKPOINT, frame(&[0xff]), "MALFORMED"));
    calls.push(unentered("/grpc.health.v1.Health/Check", frame(&[]), "OK"));
    calls
}

async fn the_log_grows_by_what_was_called(world: &World) {
    let (wire, random) =
        (Wire::connect(world.dir.path(), "provider-a").await, Randomness::seeded(b"which call is next"));
    let placement = world.placements("la-a", "provider-a").remove(0);
    let repeated = frame(&submission(vec![mark(&placement, "2026-11-03", "/")]).encode_to_vec());
    let first = receipt(&wire.send(SUBMIT, &[], repeated.clone()).await.unwrap()).index;
    let mut tally: BTreeMap<i32, usize> = BTreeMap::new();
    for at in 0..CALL_COUNT {
        let mut calls = all_calls(&placement, &repeated);
        let mut chance = [0; 1];
        random.fill(&mut chance);
        // Each call is made once, then at random.
        let at = if at < calls.len() { at } else { usize::from(chance[0]) % calls.len() };
        let Call { path, metadata, body, reason, logged_outcome: entry } = calls.swap_remove(at);
        let answer = wire.send(path, metadata, body).await.unwrap();
        assert!(answer.reason().starts_with(reason), "{path} call {at}: {}, not {reason}", answer.reason());
        if let Some(outcome) = entry {
            *tally.entry(outcome as i32).or_default() += 1;
        }
    }
    // The list does not contain its own exchange.
    let exchanges = audit::list_all_exchanges(&world.client("provider-a").await).await.unwrap();
    let mut entered: BTreeMap<i32, usize> = BTreeMap::new();
    for exchange in exchanges.iter().filter(|exchange| exchange.index > first) {
        *entered.entry(exchange.outcome).or_default() += 1;
    }
    assert_eq!(entered, tally);
    let last = receipt(&wire.call(LIST, &[]).await).index;
    let all: usize = tally.values().sum();
    let readings = exchanges.len().div_ceil(1_000);
    assert_eq!(last - first, (all + readings + 1) as u64, "nobody else called");
    assert!(tally.len() == 4 && all > CALL_COUNT * 3 / 4, "{tally:?}");
}

/// Calls each method with its example, again, with a malformed message, and with an unsupported encoding, and
/// counts the outcomes. Each response of a stream is an exchange.
async fn call_every_method(stage: &mut Fixtures) -> OutcomeCounts {
    let mut tally = OutcomeCounts::new();
    for row in EXAMPLE_REQUESTS {
        let (method, request) = (method_descriptor(row.method), stage.request(row, false));
        let (path, body) = (method_path(&method), stage.request_body(row.method, &request));
        let wire = stage.connection(row.caller).await;
        // Methods that return only hashes have no entries, except for calls that tonic refuses.
        let entered = method.output().get_field(15).is_some();
        let mut count = |outcome: Outcome, times: usize| {
            if entered || outcome == Outcome::Refused {
                *tally.entry((path.clone(), outcome as i32)).or_default() += times;
            }
        };
        // A stream ends at its caller's deadline; the messages until then have a receipt each.
        let patience: &[_] = if method.is_server_streaming() { &[("grpc-timeout", "2S")] } else { &[] };
        let answer = wire.send(&path, patience, body.clone()).await.unwrap();
        let brought = answer.messages.iter().filter(|message| receipt_of(message).is_some()).count();
        assert!(!answer.messages.is_empty(), "{path}: {}", answer.reason());
        count(Outcome::Ok, brought);
        if !method.is_server_streaming() {
            assert_eq!(wire.send(&path, &[], body.clone()).await.unwrap().reason(), "OK", "{path} again");
            count(if proto::is_mutating(&method) { Outcome::Replayed } else { Outcome::Ok }, 1);
        }
        assert_eq!(wire.send(&path, &[], frame(&[0xff])).await.unwrap().reason(), "MALFORMED", "{path}");
        count(Outcome::Malformed, 1);
        let unread = wire.send(&path, &[("grpc-encoding", "br")], body).await.unwrap();
        assert_eq!(unread.reason(), "ENCODING_UNKNOWN", "{path}");
        count(Outcome::Refused, 1);
    }
    tally
}

async fn the_log_grows_by_what_each_method_was_called(world: &World) {
    let mut stage = Fixtures::create(world.dir.path(), Randomness::system()).await;
    let list = stage.request(find_example("ListPlacements").unwrap(), false);
    let first = receipt(&stage.call("la-a", "ListPlacements", &list).await).index;
    let tally = call_every_method(&mut stage).await;
    for method in proto::methods() {
        let called = tally.keys().any(|(called, _)| *called == method_path(&method));
        assert!(called, "{} has no example in tests/it/example_requests.rs", method.name());
    }
    let database = world.database().await;
    // Exchanges of the gateway's own, which evaluate what the calls made due, are no calls.
    let sql = "SELECT method, outcome, COUNT(*) AS count FROM entries WHERE idx > $1 AND method <> $2 \
               GROUP BY method, outcome";
    let arguments = vec![i64::try_from(first).unwrap().into(), "/apgateway.v1/alert".into()];
    let entered = database.reader().await.unwrap().fetch(sql, arguments).await;
    let entered = entered.unwrap().into_iter().map(|row| {
        let count: i64 = row.get("count").unwrap();
        ((row.get("method").unwrap(), row.get("outcome").unwrap()), usize::try_from(count).unwrap())
    });
    let (called, entered): (BTreeSet<_>, BTreeSet<_>) = (tally.into_iter().collect(), entered.collect());
    assert_eq!(called.difference(&entered).collect::<Vec<_>>(), [] as [&_; 0], "called, but not in the log");
    assert_eq!(entered.difference(&called).collect::<Vec<_>>(), [] as [&_; 0], "in the log, but not called");
    database.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tally_holds_on_sqlite() {
    let world = World::sqlite().await;
    the_log_grows_by_what_was_called(&world).await;
    the_log_grows_by_what_each_method_was_called(&world).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tally_holds_on_postgresql() {
    let world = World::postgres().await;
    the_log_grows_by_what_was_called(&world).await;
    the_log_grows_by_what_each_method_was_called(&world).await;
    world.stop().await;
}
