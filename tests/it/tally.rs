//! The log grows by what was called, and by nothing else: a client's own tally of exchanges against the log.

use std::collections::{BTreeMap, BTreeSet};

use ap_gateway::cli::audit;
use ap_gateway::clock::Randomness;
use ap_gateway::proto;
use ap_gateway::proto::v1::Outcome;
use prost::Message;
use prost::bytes::{Bytes, BytesMut};

use super::rows::ROWS;
use super::stage::{Stage, descriptor, path, row};
use super::story::{id, mark, submission};
use super::support::World;
use super::wire::{Wire, frame, receipt, receipt_of};

/// Calls in all.
const CALLS: usize = 500;
const SUBMIT: &str = "/apgateway.v1.ReturnsService/SubmitAttendance";
const PLACEMENT: &str = "/apgateway.v1.PlacementService/GetPlacement";
const LIST: &str = "/apgateway.v1.PlacementService/ListPlacements";
const CHECKPOINT: &str = "/apgateway.v1.AuditService/GetCheckpoint";
const WATCH: &str = "/apgateway.v1.DeliveryService/WatchDeliveries";

/// How often a method had an outcome.
type Tally = BTreeMap<(String, i32), usize>;

/// A call, what it is told, and what the log keeps of it: nothing where it is on the closed list.
struct Call {
    path: &'static str,
    metadata: &'static [(&'static str, &'static str)],
    body: Bytes,
    told: &'static str,
    entry: Option<Outcome>,
}

fn call(path: &'static str, body: Bytes, told: &'static str, entry: Outcome) -> Call {
    Call { path, metadata: &[], body, told, entry: Some(entry) }
}

/// Everything that can be said to the gateway, well or badly. `repeated` has had its effect.
fn calls(placement: &str, repeated: &Bytes) -> Vec<Call> {
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
        call(SUBMIT, one.clone(), "OK", Outcome::Ok),
        call(PLACEMENT, get(placement), "OK", Outcome::Ok),
        call(LIST, frame(&[]), "OK", Outcome::Ok),
        call(WATCH, frame(&[0x0a, 6, 0x10, 0xff, 0xff, 0xff, 0xff, 7]), "OK", Outcome::Ok),
        call(SUBMIT, repeated.clone(), "OK", Outcome::Replayed),
        call(PLACEMENT, get(&id()), "NOT_FOUND", Outcome::Refused),
        call(SUBMIT, submit("?"), "INVALID_REQUEST", Outcome::Refused),
        call(SUBMIT, frame(&[]), "INVALID_REQUEST", Outcome::Refused),
        call(
            "/apgateway.v1.RegisterService/ListOrganisations",
            frame(&[]),
            "METHOD_NOT_ALLOWED",
            Outcome::Refused,
        ),
        call("/apgateway.v1.ReturnsService/Nothing", frame(&[]), "UNKNOWN_METHOD", Outcome::Refused),
        call("/elsewhere", frame(&[]), "UNKNOWN_METHOD", Outcome::Refused),
        call(SUBMIT, frame(&[0xff; 20]), "MALFORMED", Outcome::Malformed),
        call(PLACEMENT, frame(&[0x0a, 2, 0xc0, 0x80]), "MALFORMED", Outcome::Malformed),
        call(WATCH, frame(&[0x0a]), "MALFORMED", Outcome::Malformed),
        call(SUBMIT, Bytes::new(), "MALFORMED", Outcome::Malformed),
        call(SUBMIT, one.slice(..one.len() - 1), "MALFORMED", Outcome::Malformed),
        call(SUBMIT, two.into(), "MALFORMED", Outcome::Malformed),
        call(SUBMIT, flagged(1), "MALFORMED", Outcome::Malformed),
        call(SUBMIT, flagged(7), "MALFORMED", Outcome::Malformed),
        call(SUBMIT, large, "MESSAGE_TOO_LARGE", Outcome::Refused),
    ];
    calls.push(Call { metadata: gzip, ..call(SUBMIT, flagged(1), "MALFORMED", Outcome::Malformed) });
    let brotli: &[(&str, &str)] = &[("grpc-encoding", "br")];
    calls.push(Call { metadata: brotli, ..call(SUBMIT, one.clone(), "ENCODING_UNKNOWN", Outcome::Refused) });
    let unentered = |path, body, told| Call { entry: None, ..call(path, body, told, Outcome::Ok) };
    calls.push(unentered(CHECKPOINT, frame(&[]), "OK"));
    calls.push(unentered(CHECKPOINT, frame(&[0xff]), "MALFORMED"));
    calls.push(unentered("/grpc.health.v1.Health/Check", frame(&[]), "OK"));
    calls
}

async fn the_log_grows_by_what_was_called(world: &World) {
    let (wire, random) =
        (Wire::of(world.dir.path(), "provider-a").await, Randomness::seeded(b"which call is next"));
    let placement = world.placements("la-a", "provider-a").remove(0);
    let repeated = frame(&submission(vec![mark(&placement, "2026-11-03", "/")]).encode_to_vec());
    let first = receipt(&wire.send(SUBMIT, &[], repeated.clone()).await.unwrap()).index;
    let mut tally: BTreeMap<i32, usize> = BTreeMap::new();
    for at in 0..CALLS {
        let mut calls = calls(&placement, &repeated);
        let mut chance = [0; 1];
        random.fill(&mut chance);
        // Each at least once, then as it falls.
        let at = if at < calls.len() { at } else { usize::from(chance[0]) % calls.len() };
        let Call { path, metadata, body, told, entry } = calls.swap_remove(at);
        let answer = wire.send(path, metadata, body).await.unwrap();
        assert!(answer.told().starts_with(told), "{path} call {at}: {}, not {told}", answer.told());
        if let Some(outcome) = entry {
            *tally.entry(outcome as i32).or_default() += 1;
        }
    }
    // The reading itself is an exchange, of which it does not know yet.
    let exchanges = audit::exchanges(&world.client("provider-a").await).await.unwrap();
    let mut entered: BTreeMap<i32, usize> = BTreeMap::new();
    for exchange in exchanges.iter().filter(|exchange| exchange.index > first) {
        *entered.entry(exchange.outcome).or_default() += 1;
    }
    assert_eq!(entered, tally);
    let last = receipt(&wire.call(LIST, &[]).await).index;
    let all: usize = tally.values().sum();
    let readings = exchanges.len().div_ceil(1_000);
    assert_eq!(last - first, (all + readings + 1) as u64, "nobody else called");
    assert!(tally.len() == 4 && all > CALLS * 3 / 4, "{tally:?}");
}

/// How often each method had each outcome, as its callers know it. Each method is called by its row, again,
/// with what is no message, and in an encoding that nobody reads; the answers of a stream are exchanges each.
async fn call_every_method(stage: &mut Stage) -> Tally {
    let mut tally = Tally::new();
    for row in ROWS {
        let (method, request) = (descriptor(row.method), stage.request(row, false));
        let (path, body) = (path(&method), stage.body(row.method, &request));
        let wire = stage.wire(row.caller).await;
        // Hashes only are on the closed list, unless tonic refused the call.
        let entered = method.output().get_field(15).is_some();
        let mut count = |outcome: Outcome, times: usize| {
            if entered || outcome == Outcome::Refused {
                *tally.entry((path.clone(), outcome as i32)).or_default() += times;
            }
        };
        // A stream ends with its caller's patience; what it brought until then came with a receipt each.
        let patience: &[_] = if method.is_server_streaming() { &[("grpc-timeout", "2S")] } else { &[] };
        let answer = wire.send(&path, patience, body.clone()).await.unwrap();
        let brought = answer.messages.iter().filter(|message| receipt_of(message).is_some()).count();
        assert!(!answer.messages.is_empty(), "{path}: {}", answer.told());
        count(Outcome::Ok, brought);
        if !method.is_server_streaming() {
            assert_eq!(wire.send(&path, &[], body.clone()).await.unwrap().told(), "OK", "{path} again");
            count(if proto::is_mutating(&method) { Outcome::Replayed } else { Outcome::Ok }, 1);
        }
        assert_eq!(wire.send(&path, &[], frame(&[0xff])).await.unwrap().told(), "MALFORMED", "{path}");
        count(Outcome::Malformed, 1);
        let unread = wire.send(&path, &[("grpc-encoding", "br")], body).await.unwrap();
        assert_eq!(unread.told(), "ENCODING_UNKNOWN", "{path}");
        count(Outcome::Refused, 1);
    }
    tally
}

async fn the_log_grows_by_what_each_method_was_called(world: &World) {
    let mut stage = Stage::set(world.dir.path(), Randomness::system()).await;
    let list = stage.request(row("ListPlacements").unwrap(), false);
    let first = receipt(&stage.call("la-a", "ListPlacements", &list).await).index;
    let tally = call_every_method(&mut stage).await;
    for method in proto::methods() {
        let called = tally.keys().any(|(called, _)| *called == path(&method));
        assert!(called, "{} has no row in tests/it/rows.rs", method.name());
    }
    let database = world.database().await;
    let sql = "SELECT method, outcome, COUNT(*) FROM entries WHERE idx > $1 GROUP BY method, outcome";
    let entered =
        database.reader().await.unwrap().fetch(sql, vec![i64::try_from(first).unwrap().into()]).await;
    let entered = entered.unwrap().into_iter().map(|row| {
        let outcome = i32::try_from(row.int(1).unwrap()).unwrap();
        ((row.text(0).unwrap().to_owned(), outcome), usize::try_from(row.int(2).unwrap()).unwrap())
    });
    let (called, entered): (BTreeSet<_>, BTreeSet<_>) = (tally.into_iter().collect(), entered.collect());
    assert_eq!(called.difference(&entered).collect::<Vec<_>>(), [] as [&_; 0], "called, and not entered so");
    assert_eq!(entered.difference(&called).collect::<Vec<_>>(), [] as [&_; 0], "entered, and not called so");
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
