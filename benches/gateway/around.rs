//! What surrounds the throughput: latencies at a fixed rate, alone and beside another's big batches; the way
//! from a return to the commissioner's stream; reading the log; connections; memory; start.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ap_gateway::cli::bench::load::{self, Answer, Measured, Senders, Shape};
use ap_gateway::cli::bench::{self, fleet};
use ap_gateway::cli::{audit, profile, sandbox};
use ap_gateway::client::Seen;
use ap_gateway::proto::v1::{
    GetInclusionProofRequest, ListDeliveriesRequest, WatchDeliveriesRequest, WatchPosition, audit_service,
    delivery_service,
};
use prost::Message;

use super::table::{Line, Table};
use super::{LONG, World, binary};

/// Calls a second of the open loops.
const RATE: u32 = 200;
/// Idle connections.
const IDLE: usize = 2_000;

/// Single marks at a fixed rate: alone, beside ten big batches a second of another, and beside as many as it
/// can send.
pub async fn latencies(table: &mut Table, world: &World) {
    let (own, other) = (world.senders(16).await, one(world, 150).await);
    let alone = load::open(&own, 1, RATE, LONG).await.unwrap();
    table.add("SQLite, single marks at 200/s, open loop, alone", Line::of(&alone, 1));
    let batches = tokio::spawn({
        let other = Arc::clone(&other);
        async move { load::open(&other, 1_000, 10, LONG).await }
    });
    let beside = load::open(&own, 1, RATE, LONG).await.unwrap();
    batches.await.unwrap().unwrap();
    table.add("SQLite, the same beside ten 1,000-mark batches a second of another", Line::of(&beside, 1));
    let batches = tokio::spawn({
        let other = Arc::clone(&other);
        let shape = Shape { marks: 1_000, in_flight: 1, duration: LONG };
        async move { load::closed(&other, shape).await }
    });
    let beside = load::open(&own, 1, RATE, LONG).await.unwrap();
    batches.await.unwrap().unwrap();
    table.add("SQLite, the same while another sends them back to back", Line::of(&beside, 1));
    own.keep().unwrap();
    other.keep().unwrap();
}

/// A sender of one provider that the others do not use.
async fn one(world: &World, at: usize) -> Arc<Senders> {
    let provider: Vec<_> = world.fleet.iter().skip(at).take(1).cloned().collect();
    Senders::connect(world.dir.path(), &provider, 1, Answer::Verified).await.unwrap()
}

/// Everything else, on a world that is not needed any more.
pub async fn others(table: &mut Table, world: World) {
    table.add("return → commissioner's stream, one at a time", Line::of(&to_the_stream(&world).await, 1));
    table.add("inclusion proofs, one at a time", Line::of(&proofs(&world).await, 1));
    idle(table, &world).await;
    let (dir, server) = (world.dir, world.server);
    drop(server);
    let log_key = std::fs::read_to_string(dir.path().join("log-key")).unwrap();
    let (database, anchor) = (dir.path().join("gateway.sqlite"), dir.path().join("anchor"));
    let begun = Instant::now();
    let report = audit::verify_copy(&database, &log_key, Some(&anchor), None).await.unwrap();
    let rate = report.entries as f64 / begun.elapsed().as_secs_f64();
    assert!(report.findings.is_empty());
    table.note(format!("audit verify on a copy: {rate:.0} entries/s over {} entries", report.entries));
    let begun = Instant::now();
    drop(bench::serve(&binary(), dir.path(), None).unwrap());
    table.note(format!("READY after {} ms with {} entries", begun.elapsed().as_millis(), report.entries));
    let size = std::fs::metadata(binary()).unwrap().len() / (1 << 20);
    table.note(format!("release binary: {size} MiB"));
}

/// From before a return is sent until the commissioner's stream has given it.
async fn to_the_stream(world: &World) -> Measured {
    let la = profile::connect(&sandbox::profile(world.dir.path(), "la-a")).await.unwrap();
    let newest = ListDeliveriesRequest { page_size: 1, ..ListDeliveriesRequest::default() };
    let head = la.call(delivery_service::LIST_DELIVERIES, &newest).await.unwrap().receipt.index;
    let cursor = Some(ap_gateway::proto::v1::Cursor { index: head, ..Default::default() });
    let watch = WatchDeliveriesRequest { cursor, ..WatchDeliveriesRequest::default() };
    let mut stream = la.watch(delivery_service::WATCH_DELIVERIES, &watch).await.unwrap();
    let position = |reply: &ap_gateway::proto::v1::WatchDeliveriesResponse| {
        let position = WatchPosition { cursor: reply.next.clone(), kinds: vec![] };
        position.encode_to_vec().into()
    };
    stream.next(position).await.unwrap().unwrap();
    let sender = one(world, 151).await;
    let (begun, mut latencies) = (Instant::now(), Vec::new());
    for _ in 0..300 {
        let sent = Instant::now();
        sender.send(1).await.unwrap();
        while stream.next(position).await.unwrap().unwrap().0.deliveries.is_empty() {}
        latencies.push(u32::try_from(sent.elapsed().as_micros()).unwrap());
    }
    let elapsed = begun.elapsed();
    latencies.sort_unstable();
    Measured { calls: latencies.len() as u64, elapsed, latencies }
}

async fn proofs(world: &World) -> Measured {
    let la = profile::connect(&sandbox::profile(world.dir.path(), "la-a")).await.unwrap();
    let newest = ListDeliveriesRequest { page_size: 1, ..ListDeliveriesRequest::default() };
    let receipt = la.call(delivery_service::LIST_DELIVERIES, &newest).await.unwrap().receipt;
    let request = GetInclusionProofRequest { index: receipt.index, tree_size: receipt.tree_size };
    let (begun, mut latencies) = (Instant::now(), Vec::new());
    for _ in 0..500 {
        let asked = Instant::now();
        la.hashes(audit_service::GET_INCLUSION_PROOF, &request).await.unwrap();
        latencies.push(u32::try_from(asked.elapsed().as_micros()).unwrap());
    }
    let elapsed = begun.elapsed();
    latencies.sort_unstable();
    Measured { calls: latencies.len() as u64, elapsed, latencies }
}

/// New connections one after the other, and what each keeps of the server's memory while it is idle.
async fn idle(table: &mut Table, world: &World) {
    let (before, begun, seen) = (world.server.resident(), Instant::now(), Arc::new(Seen::default()));
    let mut open = Vec::with_capacity(IDLE);
    for provider in world.fleet.iter().cycle().take(IDLE) {
        open.push(fleet::connect(world.dir.path(), &provider.name, &seen).await.unwrap());
    }
    let rate = IDLE as f64 / begun.elapsed().as_secs_f64();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let each = world.server.resident().saturating_sub(before) / IDLE as u64;
    table.note(format!("new mTLS connections, one after the other: {rate:.0}/s"));
    table.note(format!(
        "memory of the server: {} MiB, and {} KiB an idle connection",
        before >> 20,
        each >> 10
    ));
}
