//! Throughput of the commit path as the database grows: single marks and batches in an empty database and with ten
//! million marks and a million entries, on SQLite and PostgreSQL; on PostgreSQL also while a snapshot has been open
//! for ten minutes.

use std::path::Path;
use std::time::Duration;

use ap_gateway::cli::bench::load::{self, LoadShape};
use ap_gateway::store::{Database, DatabaseLocation};

use super::postgres::Postgres;
use super::results::{Line, Table};
use super::{Scale, World, latency_and_memory, machine};

/// Number of marks in the grown database; `AP_GATEWAY_BENCH_MARKS` overrides it. There are a tenth as many entries.
const DEFAULT_MARKS: u64 = 10_000_000;
/// Placements of each provider: as many as the marks need at two a day of the term. With fewer, marks would be
/// added to days long past, each on a different page, which no real register does.
const PLACEMENTS: usize = 600;
/// Duration for which a snapshot is held open on PostgreSQL.
const SNAPSHOT_DURATION: Duration = Duration::from_mins(10);

pub async fn run() {
    machine::print();
    let (mut table, scale) = (Table::default(), Scale { placements: PLACEMENTS, ..Scale::FULL });
    let world = World::new(scale, None).await;
    let none = measure_single_and_batches(&mut table, &world, "SQLite, no data").await;
    grow(&mut table, &world).await;
    let grown = measure_single_and_batches(&mut table, &world, "SQLite, grown").await;
    table.add_note(format!(
        "SQLite grown to none: {:.2} single marks, {:.2} batches",
        grown.0 / none.0,
        grown.1 / none.1
    ));
    drop(world);
    let postgres = Postgres::with("-c shared_buffers=1GB -c max_wal_size=8GB");
    let world = World::new(scale, Some(&postgres.url_file)).await;
    let none = measure_single_and_batches(&mut table, &world, "PostgreSQL, no data").await;
    grow(&mut table, &world).await;
    let grown = measure_single_and_batches(&mut table, &world, "PostgreSQL, grown").await;
    table.add_note(format!(
        "PostgreSQL grown to none: {:.2} single marks, {:.2} batches",
        grown.0 / none.0,
        grown.1 / none.1
    ));
    let held = measure_under_snapshot(&mut table, &world, &postgres.url_file).await;
    table.add_note(format!(
        "PostgreSQL with a snapshot open for ten minutes, to grown: {:.2}",
        held / grown.0
    ));
    table.print(none.0);
}

/// Measures single marks and batches of 200; returns the calls per second of each.
async fn measure_single_and_batches(table: &mut Table, world: &World, when: &str) -> (f64, f64) {
    let mut rates = [0.0; 2];
    for (rate, (marks, in_flight)) in rates.iter_mut().zip([(1, 64), (200, 16)]) {
        let line = world.closed_loop(marks, in_flight, 64).await;
        *rate = line.calls_per_second;
        table.add(&format!("{when}: {marks} a call, {in_flight} in flight"), line);
    }
    (rates[0], rates[1])
}

async fn grow(table: &mut Table, world: &World) {
    let wanted = std::env::var("AP_GATEWAY_BENCH_MARKS")
        .ok()
        .and_then(|marks| marks.parse().ok())
        .unwrap_or(DEFAULT_MARKS);
    let (calls, took) = world.submit_calls(1_000, 8, 200, wanted.div_ceil(1_000)).await;
    table.add_note(format!("{} marks were stored in {} s, 1,000 a call", calls * 1_000, took.as_secs()));
    let entries = latency_and_memory::newest_receipt(world).await.tree_size;
    let (calls, took) = world.submit_calls(1, 256, 8, (wanted / 10).saturating_sub(entries)).await;
    table.add_note(format!("{calls} marks were stored in {} s, one a call", took.as_secs()));
    table.add_note(format!("{} entries", latency_and_memory::newest_receipt(world).await.tree_size));
}

/// Measures single marks after a load during which another transaction held its snapshot open, so that dead
/// versions of `heads` could not be vacuumed.
async fn measure_under_snapshot(table: &mut Table, world: &World, url_file: &Path) -> f64 {
    let url = std::fs::read_to_string(url_file).unwrap();
    let database = Database::open(&DatabaseLocation::Postgres(url)).await.unwrap();
    let mut conn = database.reader().await.unwrap();
    conn.begin_read().await.unwrap();
    conn.fetch("SELECT COUNT(*) FROM organisations", vec![]).await.unwrap();
    // All providers, because 64 would reach days that they have already filled.
    let senders = world.senders(world.fleet.len()).await;
    let shape = LoadShape { marks: 1, in_flight: 64, duration: SNAPSHOT_DURATION };
    load::run_closed_loop(&senders, shape).await.unwrap();
    senders.save_progress().unwrap();
    let line: Line = world.closed_loop(1, 64, 64).await;
    let rate = line.calls_per_second;
    table.add("PostgreSQL, grown, a snapshot open for ten minutes: 1 a call, 64 in flight", line);
    conn.rollback().await;
    rate
}
