//! Throughput and latency of the gateway, compared with baselines of the machine and with PostgreSQL as the
//! alternative, in one run: `cargo bench --bench gateway`. With `quick` each part runs for a short time only; with
//! `growth` it measures an empty database and one with ten million marks instead
//! (`cargo bench --bench gateway -- growth`), with `tokens` what the token of a person costs, with `metrics` what metrics
//! cost, and with `oversight` the rules of 100,000 placements when a Friday ends.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a bench fails at the first unexpected result, and prints rates for people"
)]

mod echo_baseline;
mod growth;
mod latency_and_memory;
#[path = "../../tests/it/limits.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod limits;
mod machine;
mod metrics;
mod nodes;
mod oversight;
#[path = "../../tests/it/postgres.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod postgres;
mod reference;
mod results;
mod rows_baseline;
mod tokens;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ap_gateway::cli::bench::fleet::{self, FleetProvider};
use ap_gateway::cli::bench::load::{self, AnswerCheck, LoadShape, SenderPool};
use ap_gateway::cli::bench::{self, SandboxProcess};
use ap_gateway::cli::sandbox;

use results::{Line, Table};

/// The allocator of the gateway, also for the load generator and the echo server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The scale of a run.
#[derive(Clone, Copy)]
struct Scale {
    /// Duration of each measurement.
    duration: Duration,
    /// Placements of each provider. A loop that submits more than two marks a day of the term for each placement
    /// reaches days that it has already filled, which is slower; this is the case for loops over one and eight
    /// connections and for batches of 1,000.
    placements: usize,
    /// Entries of the log for the measurements of verification and start.
    entries: u64,
}

impl Scale {
    const FULL: Self = Self { duration: Duration::from_secs(5), placements: 100, entries: 1_000_000 };
    const QUICK: Self = Self { duration: Duration::from_secs(1), placements: 4, entries: 100_000 };
}

/// Concurrent calls and connections of the closed loops with single marks.
const SINGLE_MARK_SHAPES: [(usize, usize); 10] =
    [(1, 1), (16, 1), (16, 8), (64, 1), (64, 8), (64, 64), (256, 1), (256, 8), (256, 64), (256, 200)];
/// Marks per call and concurrent calls of the other loops, over 64 connections.
const BATCH_SHAPES: [(usize, usize); 3] = [(30, 16), (200, 16), (1_000, 8)];
/// Command-line options of PostgreSQL, for the gateway and for the reference.
const POSTGRES_OPTIONS: &str = "-c shared_buffers=512MB -c max_wal_size=4GB";

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let argument = |at: usize| arguments.get(at).map(String::as_str);
    match argument(0) {
        Some("echo") => {
            runtime.block_on(echo_baseline::serve(Path::new(argument(1).unwrap()), argument(2).unwrap()));
        }
        Some("growth") => runtime.block_on(growth::run()),
        Some("metrics") => runtime.block_on(metrics::run()),
        Some("tokens") => runtime.block_on(tokens::run()),
        Some("oversight") => runtime.block_on(oversight::run()),
        Some(oversight::EVALUATE) => {
            runtime.block_on(oversight::evaluate(argument(1).unwrap(), argument(2).unwrap()));
        }
        Some("quick") => runtime.block_on(run(Scale::QUICK)),
        _ => runtime.block_on(run(Scale::FULL)),
    }
}

/// A served sandbox with a fleet of providers.
struct World {
    dir: tempfile::TempDir,
    server: SandboxProcess,
    fleet: Vec<FleetProvider>,
    scale: Scale,
}

impl World {
    async fn new(scale: Scale, postgres_url_file: Option<&Path>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = bench::spawn_sandbox(&binary(), dir.path(), postgres_url_file).unwrap();
        let fleet = fleet::load_or_create(dir.path(), 200, scale.placements).await.unwrap();
        let world = Self { dir, server, fleet, scale };
        world.warm_caches().await;
        world
    }

    /// Submits a mark for every placement, so that the roster caches are filled.
    async fn warm_caches(&self) {
        let senders = self.senders(self.fleet.len()).await;
        for _ in &self.fleet {
            senders.send(self.scale.placements).await.unwrap();
        }
        senders.save_progress().unwrap();
    }

    async fn senders(&self, connections: usize) -> Arc<SenderPool> {
        SenderPool::connect(self.dir.path(), &self.fleet, connections, AnswerCheck::VerifyReceipt)
            .await
            .unwrap()
    }

    /// Measures a closed loop of submissions, with the processor time of the server.
    async fn closed_loop(&self, marks: usize, in_flight: usize, connections: usize) -> Line {
        let senders = self.senders(connections).await;
        let shape = LoadShape { marks, in_flight, duration: self.scale.duration };
        let before = self.server.processor_time();
        let measured = load::run_closed_loop(&senders, shape).await.unwrap();
        let used = self.server.processor_time().saturating_sub(before);
        senders.save_progress().unwrap();
        Line::new(&measured, marks).server_time(used)
    }

    /// Submits at least `calls` calls; returns their number and the time they took.
    async fn submit_calls(
        &self,
        marks: usize,
        in_flight: usize,
        connections: usize,
        calls: u64,
    ) -> (u64, Duration) {
        let senders = self.senders(connections).await;
        let (mut sent, mut took) = (0, Duration::ZERO);
        while sent < calls {
            let shape = LoadShape { marks, in_flight, duration: self.scale.duration };
            let measured = load::run_closed_loop(&senders, shape).await.unwrap();
            sent += measured.calls;
            took += measured.elapsed;
        }
        senders.save_progress().unwrap();
        (sent, took)
    }
}

fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_ap-gateway"))
}

async fn run(scale: Scale) {
    reference::check_pgaudit();
    latency_and_memory::check_file_limit();
    machine::print();
    let mut table = Table::default();
    let world = World::new(scale, None).await;
    let (echo, rows) = measure_baselines(&mut table, &world).await;
    let sqlite = closed_loops(&mut table, &world, "SQLite").await;
    latency_and_memory::latencies(&mut table, &world).await;
    latency_and_memory::measure_others(&mut table, world).await;
    let server = postgres::Postgres::with(POSTGRES_OPTIONS);
    let world = World::new(scale, Some(&server.url_file)).await;
    let postgres = closed_loops(&mut table, &world, "PostgreSQL").await;
    nodes::measure(&mut table, &world, &server.url_file).await;
    drop((world, server));
    let reference = reference::run(POSTGRES_OPTIONS, scale.duration);
    let inserts = reference.calls_per_second;
    table.add("reference: pgbench, PostgreSQL over mTLS with pgaudit, 1 row a commit, 64 clients", reference);
    for (name, rates) in [("SQLite", sqlite), ("PostgreSQL", postgres)] {
        let others = [("echo", echo.single), ("the rows on SQLite", rows.single), ("pgbench", inserts)];
        table.add_ratios(&format!("{name}, single marks, 64 in flight"), rates.single, &others);
        let others = [("echo", echo.batches), ("the rows on SQLite", rows.batches)];
        table.add_ratios(&format!("{name}, batches of 200"), rates.batches, &others);
    }
    table.print(echo.single);
}

/// Calls per second: single marks with 64 concurrent calls, and batches of 200.
#[derive(Clone, Copy)]
struct Rates {
    single: f64,
    batches: f64,
}

/// Measures all shapes of load.
async fn closed_loops(table: &mut Table, world: &World, name: &str) -> Rates {
    let mut rates = Rates { single: 0.0, batches: 0.0 };
    let single = SINGLE_MARK_SHAPES.map(|(in_flight, connections)| (1, in_flight, connections));
    let batches = BATCH_SHAPES.map(|(marks, in_flight)| (marks, in_flight, 64));
    for (marks, in_flight, connections) in single.into_iter().chain(batches) {
        let line = world.closed_loop(marks, in_flight, connections).await;
        match (marks, in_flight, connections) {
            (1, 64, 64) => rates.single = line.calls_per_second,
            (200, ..) => rates.batches = line.calls_per_second,
            _ => {}
        }
        let what = format!("{name}, {marks} a call, {in_flight} in flight, {connections} connections");
        table.add(&what, line);
    }
    rates
}

/// Measures baselines of the machine: the same messages to a server that does nothing with them, and the same rows
/// over sqlx without a server.
async fn measure_baselines(table: &mut Table, world: &World) -> (Rates, Rates) {
    let (mut echoes, mut commits) = ([0.0; 2], [0.0; 2]);
    for (rate, marks) in echoes.iter_mut().zip([1, 200]) {
        let (_process, address) = echo_baseline::start(world.dir.path(), marks);
        let own = std::fs::read(sandbox::profile_path(world.dir.path(), "la-a")).unwrap();
        sandbox::files::write_profiles(world.dir.path(), address).unwrap();
        let senders =
            SenderPool::connect(world.dir.path(), &world.fleet, 64, AnswerCheck::DecodeOnly).await.unwrap();
        let shape = LoadShape { marks, in_flight: 64, duration: world.scale.duration };
        let line = Line::new(&load::run_closed_loop(&senders, shape).await.unwrap(), marks);
        std::fs::write(sandbox::profile_path(world.dir.path(), "la-a"), own).unwrap();
        *rate = line.calls_per_second;
        table.add(&format!("baseline: echo over the same mTLS, {marks} a call, 64 in flight"), line);
    }
    // One call of each size, whose rows the measurement writes again.
    let senders = world.senders(1).await;
    for (rate, marks) in commits.iter_mut().zip([1, 200]) {
        senders.send(marks).await.unwrap();
        senders.save_progress().unwrap();
        let line = rows_baseline::measure_baseline(
            &world.dir.path().join("gateway.sqlite"),
            marks,
            world.scale.duration,
        )
        .await;
        *rate = line.calls_per_second;
        table.add(&format!("baseline: the rows of {marks} a commit over sqlx, SQLite"), line);
    }
    let rates = |[single, batches]: [f64; 2]| Rates { single, batches };
    (rates(echoes), rates(commits))
}
