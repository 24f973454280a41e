//! What the token of a person costs: single marks with one and without, by turns, as ratios.

use std::sync::Arc;

use ap_gateway::cli::bench::load::{self, LoadShape, SenderPool};

use super::postgres::Postgres;
use super::results::{Line, Table};
use super::{POSTGRES_OPTIONS, Scale, World, machine};

/// Turns of each load. The ratio is taken within a turn, because the rate drifts.
const TURNS: usize = 5;
/// Placements of each provider, which both loads of all turns do not fill.
const PLACEMENTS: usize = 40;
/// Concurrent calls, each on a connection of its own.
const IN_FLIGHT: usize = 64;

pub async fn run() {
    machine::print();
    let (mut table, scale) = (Table::default(), Scale { placements: PLACEMENTS, ..Scale::FULL });
    let world = World::new(scale, None).await;
    measure(&mut table, &world, "SQLite").await;
    drop(world);
    let postgres = Postgres::with(POSTGRES_OPTIONS);
    let world = World::new(scale, Some(&postgres.url_file)).await;
    let base = measure(&mut table, &world, "PostgreSQL").await;
    table.print(base);
}

/// Measures both loads by turns; returns the last rate without tokens.
async fn measure(table: &mut Table, world: &World, database: &str) -> f64 {
    let (mut ratios, mut base) = (Vec::new(), 0.0);
    for turn in 1..=TURNS {
        let without = measure_load(world, &world.senders(IN_FLIGHT).await).await;
        let senders = SenderPool::connect_persons(world.dir.path(), &world.fleet, IN_FLIGHT).await.unwrap();
        let with = measure_load(world, &senders).await;
        base = without.calls_per_second;
        ratios.push(with.calls_per_second / base);
        table.add(&format!("{database}, turn {turn}: single marks without a token, 64 in flight"), without);
        table.add(&format!("{database}, turn {turn}: single marks with a token, 64 in flight"), with);
    }
    ratios.sort_by(f64::total_cmp);
    let shown: Vec<_> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
    table.add_note(format!(
        "{database}: single marks with a token, to without, {TURNS} turns: {}",
        shown.join(" ")
    ));
    base
}

async fn measure_load(world: &World, senders: &Arc<SenderPool>) -> Line {
    let shape = LoadShape { marks: 1, in_flight: IN_FLIGHT, duration: world.scale.duration };
    let before = world.server.processor_time();
    let measured = load::run_closed_loop(senders, shape).await.unwrap();
    let used = world.server.processor_time().saturating_sub(before);
    senders.save_progress().unwrap();
    Line::new(&measured, 1).server_time(used)
}
