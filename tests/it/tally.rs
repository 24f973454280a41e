//! The log grows by what was called, and by nothing else: a client's own tally of exchanges against the log.

use std::collections::BTreeMap;

use ap_gateway::cli::audit;
use ap_gateway::clock::Randomness;
use ap_gateway::proto::v1::Outcome;
use prost::Message;
use prost::bytes::{Bytes, BytesMut};

use super::story::{id, mark, submission};
use super::support::World;
use super::wire::{Wire, frame, receipt};

/// Calls in all.
const CALLS: usize = 500;
const SUBMIT: &str = "/apgateway.v1.ReturnsService/SubmitAttendance";
const PLACEMENT: &str = "/apgateway.v1.PlacementService/GetPlacement";
const LIST: &str = "/apgateway.v1.PlacementService/ListPlacements";
const CHECKPOINT: &str = "/apgateway.v1.AuditService/GetCheckpoint";
const WATCH: &str = "/apgateway.v1.DeliveryService/WatchDeliveries";

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

#[tokio::test(flavor = "multi_thread")]
async fn the_tally_holds_on_sqlite() {
    let world = World::sqlite().await;
    the_log_grows_by_what_was_called(&world).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tally_holds_on_postgresql() {
    let world = World::postgres().await;
    the_log_grows_by_what_was_called(&world).await;
    world.stop().await;
}
