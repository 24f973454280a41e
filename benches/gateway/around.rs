//! What surrounds the throughput: latencies at a fixed rate, alone and beside another's big batches; the way
//! from a return to the commissioner's stream; reading the log; connections; memory; start.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ap_gateway::cli::bench::load::{self, Answer, Measured, Senders, Shape};
use ap_gateway::cli::bench::{self, fleet};
use ap_gateway::cli::{audit, profile, sandbox};
use ap_gateway::client::Seen;
use ap_gateway::proto::v1::{
    GetInclusionProofRequest, ListDeliveriesRequest, ListExchangesRequest, Receipt, WatchDeliveriesRequest,
    WatchPosition, audit_service, delivery_service,
};
use prost::Message;
use tokio::task::JoinSet;

use super::table::{Line, Table};
use super::{World, binary};

/// Calls a second of the open loops.
const RATE: u32 = 200;
/// Idle connections.
const IDLE: usize = 5_000;
/// Of them, how many are being opened at once.
const AT_ONCE: usize = 16;

/// Panics, with what to do, where a process may not have so many connections.
pub fn check() {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let files = files.split_whitespace().next().unwrap();
    let enough = files.parse().map_or(files == "unlimited", |files: usize| files > IDLE + 200);
    assert!(enough, "{files} open files are too few: ulimit -n {}", 2 * IDLE);
}

/// Single marks at a fixed rate: alone, beside ten big batches a second of another, and beside as many as it
/// can send.
pub async fn latencies(table: &mut Table, world: &World) {
    let long = world.scale.long;
    let (own, other) = (world.senders(16).await, one(world, 150).await);
    let alone = load::open(&own, 1, RATE, long).await.unwrap();
    table.add("SQLite, single marks at 200/s, open loop, alone", Line::of(&alone, 1));
    let batches = tokio::spawn({
        let other = Arc::clone(&other);
        async move { load::open(&other, 1_000, 10, long).await }
    });
    let beside = load::open(&own, 1, RATE, long).await.unwrap();
    batches.await.unwrap().unwrap();
    table.add("SQLite, the same beside ten 1,000-mark batches a second of another", Line::of(&beside, 1));
    let batches = tokio::spawn({
        let other = Arc::clone(&other);
        let shape = Shape { marks: 1_000, in_flight: 1, duration: long };
        async move { load::closed(&other, shape).await }
    });
    let beside = load::open(&own, 1, RATE, long).await.unwrap();
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
    reading(table, &world).await;
    let entries = newest(&world).await.tree_size;
    world.fill(1, 256, 8, world.scale.entries.saturating_sub(entries)).await;
    let World { dir, server, fleet, scale } = world;
    table.note(format!("memory of the server after all of this: {} MiB", server.resident() >> 20));
    drop(server);
    let log_key = std::fs::read_to_string(dir.path().join("log-key")).unwrap();
    let (database, anchor) = (dir.path().join("gateway.sqlite"), dir.path().join("anchor"));
    let begun = Instant::now();
    let report = audit::verify_copy(&database, &log_key, Some(&anchor), None).await.unwrap();
    let rate = report.entries as f64 / begun.elapsed().as_secs_f64();
    assert!(report.findings.is_empty());
    table.note(format!("audit verify on a copy: {rate:.0} entries/s over {} entries", report.entries));
    let begun = Instant::now();
    let server = bench::serve(&binary(), dir.path(), None).unwrap();
    table.note(format!("READY after {} ms with {} entries", begun.elapsed().as_millis(), report.entries));
    tokio::time::sleep(scale.long).await;
    table.note(format!("memory of an idle server: {} MiB", server.resident() >> 20));
    idle(table, &World { dir, server, fleet, scale }).await;
    let size = std::fs::metadata(binary()).unwrap().len() as f64 / f64::from(1 << 20);
    table.note(format!("release binary: {size:.1} MiB"));
}

/// The receipt of a reading that was made now: the newest entry.
pub async fn newest(world: &World) -> Receipt {
    let la = profile::connect(&sandbox::profile(world.dir.path(), "la-a")).await.unwrap();
    let newest = ListDeliveriesRequest { page_size: 1, ..ListDeliveriesRequest::default() };
    la.call(delivery_service::LIST_DELIVERIES, &newest).await.unwrap().receipt
}

/// From before a return is sent until the commissioner's stream has given it.
async fn to_the_stream(world: &World) -> Measured {
    let la = profile::connect(&sandbox::profile(world.dir.path(), "la-a")).await.unwrap();
    let head = newest(world).await.index;
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
    sender.keep().unwrap();
    measured(latencies, begun)
}

fn measured(mut latencies: Vec<u32>, begun: Instant) -> Measured {
    let elapsed = begun.elapsed();
    latencies.sort_unstable();
    Measured { calls: latencies.len() as u64, elapsed, latencies }
}

/// The log: proofs that an entry is in it, and pages of exchanges.
async fn reading(table: &mut Table, world: &World) {
    let la = profile::connect(&sandbox::profile(world.dir.path(), "la-a")).await.unwrap();
    let receipt = newest(world).await;
    let request = GetInclusionProofRequest { index: receipt.index, tree_size: receipt.tree_size };
    let (begun, mut latencies) = (Instant::now(), Vec::new());
    for _ in 0..500 {
        let asked = Instant::now();
        la.hashes(audit_service::GET_INCLUSION_PROOF, &request).await.unwrap();
        latencies.push(u32::try_from(asked.elapsed().as_micros()).unwrap());
    }
    table.add("inclusion proofs, one at a time", Line::of(&measured(latencies, begun), 1));
    let placement_id = world.fleet.last().unwrap().placements.last().unwrap().clone();
    let of_one = ListExchangesRequest { placement_id, ..ListExchangesRequest::default() };
    for (what, request) in [("", ListExchangesRequest::default()), (" of one placement", of_one)] {
        let (begun, mut latencies) = (Instant::now(), Vec::new());
        for _ in 0..100 {
            let asked = Instant::now();
            la.call(audit_service::LIST_EXCHANGES, &request).await.unwrap();
            latencies.push(u32::try_from(asked.elapsed().as_micros()).unwrap());
        }
        let what = format!("ListExchanges{what}, 100 a page, one at a time");
        table.add(&what, Line::of(&measured(latencies, begun), 1));
    }
}

/// New connections, and what each keeps of the server's memory while it is idle.
async fn idle(table: &mut Table, world: &World) {
    let (before, begun, seen) = (world.server.resident(), Instant::now(), Arc::new(Seen::default()));
    let mut opening = JoinSet::new();
    for worker in 0..AT_ONCE {
        let (dir, seen) = (world.dir.path().to_owned(), Arc::clone(&seen));
        let names: Vec<_> = world.fleet.iter().cycle().take(IDLE).skip(worker).step_by(AT_ONCE).collect();
        let names: Vec<String> = names.into_iter().map(|provider| provider.name.clone()).collect();
        opening.spawn(async move {
            let mut open = Vec::with_capacity(names.len());
            for name in names {
                open.push(fleet::connect(&dir, &name, &seen).await.unwrap());
            }
            open
        });
    }
    let open = opening.join_all().await;
    let rate = IDLE as f64 / begun.elapsed().as_secs_f64();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let each = world.server.resident().saturating_sub(before) / IDLE as u64;
    drop(open);
    table.note(format!("new mTLS connections, {AT_ONCE} at once: {rate:.0}/s"));
    table.note(format!("memory of an idle connection, of {IDLE}: {} KiB", each >> 10));
}
