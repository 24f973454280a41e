//! Measurements other than throughput: latency at a fixed rate, alone and beside large batches of another provider;
//! time from a return to the commissioner's stream; reads of the log; connections; memory; start.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ap_gateway::audit::report::VerifyReport;
use ap_gateway::cli::bench::load::{self, AnswerCheck, LoadShape, Measurement, SenderPool};
use ap_gateway::cli::bench::{self, fleet};
use ap_gateway::cli::{audit, profile, sandbox};
use ap_gateway::client::CheckpointStore;
use ap_gateway::proto::v1::{
    GetInclusionProofRequest, ListDeliveriesRequest, ListExchangesRequest, Receipt, WatchDeliveriesRequest,
    WatchPosition, audit_service, delivery_service,
};
use prost::Message;
use tokio::task::JoinSet;

use super::results::{Line, Table};
use super::{World, binary};

/// Calls per second of the open loops.
const CALLS_PER_SECOND: u32 = 200;
/// Number of idle connections.
const IDLE_CONNECTIONS: usize = 5_000;
/// Number of connections that are opened concurrently.
const CONCURRENT_OPENINGS: usize = 16;

/// Panics with advice if the limit on open files is too low.
pub fn check_file_limit() {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let files = files.split_whitespace().next().unwrap();
    let enough = files.parse().map_or(files == "unlimited", |files: usize| files > IDLE_CONNECTIONS + 200);
    assert!(enough, "{files} open files are too few: ulimit -n {}", 2 * IDLE_CONNECTIONS);
}

/// Measures single marks at a fixed rate: alone, beside ten large batches a second of another provider, and beside
/// batches sent back to back.
pub async fn latencies(table: &mut Table, world: &World) {
    let long = world.scale.duration;
    let (own, other) = (world.senders(16).await, single_provider_sender(world, 150).await);
    let alone = load::run_open_loop(&own, 1, CALLS_PER_SECOND, long).await.unwrap();
    table.add("SQLite, single marks at 200/s, open loop, alone", Line::new(&alone, 1));
    let batches = tokio::spawn({
        let other = Arc::clone(&other);
        async move { load::run_open_loop(&other, 1_000, 10, long).await }
    });
    let beside = load::run_open_loop(&own, 1, CALLS_PER_SECOND, long).await.unwrap();
    batches.await.unwrap().unwrap();
    table.add("SQLite, the same beside ten 1,000-mark batches a second of another", Line::new(&beside, 1));
    let batches = tokio::spawn({
        let other = Arc::clone(&other);
        let shape = LoadShape { marks: 1_000, in_flight: 1, duration: long };
        async move { load::run_closed_loop(&other, shape).await }
    });
    let beside = load::run_open_loop(&own, 1, CALLS_PER_SECOND, long).await.unwrap();
    batches.await.unwrap().unwrap();
    table.add("SQLite, the same while another sends them back to back", Line::new(&beside, 1));
    own.save_progress().unwrap();
    other.save_progress().unwrap();
}

/// Connects a sender for one provider that the other senders do not use.
async fn single_provider_sender(world: &World, at: usize) -> Arc<SenderPool> {
    let provider: Vec<_> = world.fleet.iter().skip(at).take(1).cloned().collect();
    SenderPool::connect(world.dir.path(), &provider, 1, AnswerCheck::VerifyReceipt).await.unwrap()
}

/// Measures everything else, on a sandbox that is not needed afterwards.
pub async fn measure_others(table: &mut Table, world: World) {
    table.add("return → commissioner's stream, one at a time", Line::new(&return_to_stream(&world).await, 1));
    log_reads(table, &world).await;
    let entries = newest_receipt(&world).await.tree_size;
    world.submit_calls(1, 256, 8, world.scale.entries.saturating_sub(entries)).await;
    let World { dir, server, fleet, scale } = world;
    table.add_note(format!("memory of the server after all of this: {} MiB", server.resident_bytes() >> 20));
    drop(server);
    let log_key = std::fs::read_to_string(dir.path().join("log-key")).unwrap();
    let (database, anchor) = (dir.path().join("gateway.sqlite"), dir.path().join("anchor"));
    let (ring, key) = (dir.path().join("key-ring"), dir.path().join("commitment-key"));
    let anchored = audit::VerifyFiles { anchor: Some(&anchor), ..audit::VerifyFiles::default() };
    let all = audit::VerifyFiles { key_ring: Some(&ring), commitment_key: Some(&key), ..anchored };
    let mut report = VerifyReport::default();
    for (files, with) in [(anchored, "log key and anchor"), (all, "all keys")] {
        let begun = Instant::now();
        report = audit::verify_database_copy(&database, &log_key, files).await.unwrap();
        let rate = report.entries as f64 / begun.elapsed().as_secs_f64();
        assert!(report.is_intact());
        table.add_note(format!(
            "audit verify on a copy, with {with}: {rate:.0} entries/s over {} entries and {} rows",
            report.entries, report.rows
        ));
    }
    let begun = Instant::now();
    let server = bench::spawn_sandbox(&binary(), dir.path(), None).unwrap();
    table.add_note(format!("READY after {} ms with {} entries", begun.elapsed().as_millis(), report.entries));
    tokio::time::sleep(scale.duration).await;
    table.add_note(format!("memory of an idle server: {} MiB", server.resident_bytes() >> 20));
    idle_connections(table, &World { dir, server, fleet, scale }).await;
    let size = std::fs::metadata(binary()).unwrap().len() as f64 / f64::from(1 << 20);
    table.add_note(format!("release binary: {size:.1} MiB"));
}

/// Makes a read and returns its receipt, which is that of the newest entry.
pub async fn newest_receipt(world: &World) -> Receipt {
    let la = profile::connect(&sandbox::profile_path(world.dir.path(), "la-a")).await.unwrap();
    let newest = ListDeliveriesRequest { page_size: 1, ..ListDeliveriesRequest::default() };
    la.call(delivery_service::LIST_DELIVERIES, &newest).await.unwrap().receipt
}

/// Measures the time from sending a return until the commissioner's stream delivers it.
async fn return_to_stream(world: &World) -> Measurement {
    let la = profile::connect(&sandbox::profile_path(world.dir.path(), "la-a")).await.unwrap();
    let head = newest_receipt(world).await.index;
    let cursor = Some(ap_gateway::proto::v1::Cursor { index: head, ..Default::default() });
    let watch = WatchDeliveriesRequest { cursor, ..WatchDeliveriesRequest::default() };
    let mut stream = la.open_stream(delivery_service::WATCH_DELIVERIES, &watch).await.unwrap();
    let position = |reply: &ap_gateway::proto::v1::WatchDeliveriesResponse| {
        let position = WatchPosition { cursor: reply.next.clone(), kinds: vec![] };
        position.encode_to_vec().into()
    };
    stream.next(position).await.unwrap().unwrap();
    let sender = single_provider_sender(world, 151).await;
    let (begun, mut latencies) = (Instant::now(), Vec::new());
    for _ in 0..300 {
        let sent = Instant::now();
        sender.send(1).await.unwrap();
        while stream.next(position).await.unwrap().unwrap().0.deliveries.is_empty() {}
        latencies.push(u32::try_from(sent.elapsed().as_micros()).unwrap());
    }
    sender.save_progress().unwrap();
    to_measured(latencies, begun)
}

fn to_measured(mut latencies: Vec<u32>, begun: Instant) -> Measurement {
    let elapsed = begun.elapsed();
    latencies.sort_unstable();
    Measurement { calls: latencies.len() as u64, elapsed, latencies }
}

/// Measures inclusion proofs and pages of exchanges.
async fn log_reads(table: &mut Table, world: &World) {
    let la = profile::connect(&sandbox::profile_path(world.dir.path(), "la-a")).await.unwrap();
    let receipt = newest_receipt(world).await;
    let request = GetInclusionProofRequest { index: receipt.index, tree_size: receipt.tree_size };
    let (begun, mut latencies) = (Instant::now(), Vec::new());
    for _ in 0..500 {
        let asked = Instant::now();
        la.call_without_receipt(audit_service::GET_INCLUSION_PROOF, &request).await.unwrap();
        latencies.push(u32::try_from(asked.elapsed().as_micros()).unwrap());
    }
    table.add("inclusion proofs, one at a time", Line::new(&to_measured(latencies, begun), 1));
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
        table.add(&what, Line::new(&to_measured(latencies, begun), 1));
    }
}

/// Measures the rate of new connections and the server memory of each idle one.
async fn idle_connections(table: &mut Table, world: &World) {
    let (before, begun, seen) =
        (world.server.resident_bytes(), Instant::now(), Arc::new(CheckpointStore::default()));
    let mut opening = JoinSet::new();
    for worker in 0..CONCURRENT_OPENINGS {
        let (dir, seen) = (world.dir.path().to_owned(), Arc::clone(&seen));
        let names: Vec<_> = world
            .fleet
            .iter()
            .cycle()
            .take(IDLE_CONNECTIONS)
            .skip(worker)
            .step_by(CONCURRENT_OPENINGS)
            .collect();
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
    let rate = IDLE_CONNECTIONS as f64 / begun.elapsed().as_secs_f64();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let each = world.server.resident_bytes().saturating_sub(before) / IDLE_CONNECTIONS as u64;
    drop(open);
    table.add_note(format!("new mTLS connections, {CONCURRENT_OPENINGS} at once: {rate:.0}/s"));
    table.add_note(format!("memory of an idle connection, of {IDLE_CONNECTIONS}: {} KiB", each >> 10));
}
