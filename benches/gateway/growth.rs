//! The commit path as the database grows: single marks and batches at no data and at ten million marks with a million
//! entries, on SQLite and on PostgreSQL, there also while a snapshot has been open for ten minutes.

use std::path::Path;
use std::time::Duration;

use ap_gateway::cli::bench::load::{self, Shape};
use ap_gateway::store::{Database, Location};

use super::postgres::Postgres;
use super::table::{Line, Table};
use super::{Scale, World, around, machine};

/// Marks at which growth is measured; `AP_GATEWAY_BENCH_MARKS` sets another number. Entries are a tenth of it.
const MARKS: u64 = 10_000_000;
/// Placements of each provider: as many as the marks need, two a day of the term. Were there fewer, days long past
/// would be filled anew, which no register does, each mark on a page of its own.
const PLACEMENTS: usize = 600;
/// How long a snapshot is held open on PostgreSQL.
const SNAPSHOT: Duration = Duration::from_mins(10);

pub async fn run() {
    machine::print();
    let (mut table, scale) = (Table::default(), Scale { placements: PLACEMENTS, ..Scale::FULL });
    let world = World::new(scale, None).await;
    let none = both(&mut table, &world, "SQLite, no data").await;
    grow(&mut table, &world).await;
    let grown = both(&mut table, &world, "SQLite, grown").await;
    table.note(format!(
        "SQLite grown to none: {:.2} single marks, {:.2} batches",
        grown.0 / none.0,
        grown.1 / none.1
    ));
    drop(world);
    let postgres = Postgres::with("-c shared_buffers=1GB -c max_wal_size=8GB");
    let world = World::new(scale, Some(&postgres.url_file)).await;
    let none = both(&mut table, &world, "PostgreSQL, no data").await;
    grow(&mut table, &world).await;
    let grown = both(&mut table, &world, "PostgreSQL, grown").await;
    table.note(format!(
        "PostgreSQL grown to none: {:.2} single marks, {:.2} batches",
        grown.0 / none.0,
        grown.1 / none.1
    ));
    let held = under_a_snapshot(&mut table, &world, &postgres.url_file).await;
    table.note(format!("PostgreSQL with a snapshot open for ten minutes, to grown: {:.2}", held / grown.0));
    table.print(none.0);
}

/// Single marks and batches of 200, calls a second of each.
async fn both(table: &mut Table, world: &World, when: &str) -> (f64, f64) {
    let mut rates = [0.0; 2];
    for (rate, (marks, in_flight)) in rates.iter_mut().zip([(1, 64), (200, 16)]) {
        let line = world.closed(marks, in_flight, 64).await;
        *rate = line.calls;
        table.add(&format!("{when}: {marks} a call, {in_flight} in flight"), line);
    }
    (rates[0], rates[1])
}

async fn grow(table: &mut Table, world: &World) {
    let wanted =
        std::env::var("AP_GATEWAY_BENCH_MARKS").ok().and_then(|marks| marks.parse().ok()).unwrap_or(MARKS);
    let (calls, took) = world.fill(1_000, 8, 200, wanted.div_ceil(1_000)).await;
    table.note(format!("{} marks were stored in {} s, 1,000 a call", calls * 1_000, took.as_secs()));
    let entries = around::newest(world).await.tree_size;
    let (calls, took) = world.fill(1, 256, 8, (wanted / 10).saturating_sub(entries)).await;
    table.note(format!("{calls} marks were stored in {} s, one a call", took.as_secs()));
    table.note(format!("{} entries", around::newest(world).await.tree_size));
}

/// Single marks while another transaction has held its snapshot open, and the heads were replaced under it.
async fn under_a_snapshot(table: &mut Table, world: &World, url_file: &Path) -> f64 {
    let url = std::fs::read_to_string(url_file).unwrap();
    let database = Database::open(&Location::Postgres(url)).await.unwrap();
    let mut conn = database.reader().await.unwrap();
    conn.begin_read().await.unwrap();
    conn.fetch("SELECT COUNT(*) FROM organisations", vec![]).await.unwrap();
    // All of them: 64 would come back to days that they have filled.
    let senders = world.senders(world.fleet.len()).await;
    let shape = Shape { marks: 1, in_flight: 64, duration: SNAPSHOT };
    load::closed(&senders, shape).await.unwrap();
    senders.keep().unwrap();
    let line: Line = world.closed(1, 64, 64).await;
    let rate = line.calls;
    table.add("PostgreSQL, grown, a snapshot open for ten minutes: 1 a call, 64 in flight", line);
    conn.abandon().await;
    rate
}
