//! The gateway beside the ceilings of the machine and beside what a user would otherwise run, in one run:
//! `cargo bench --bench gateway`. With `quick` every part is run, for a moment each; with `growth` it measures
//! at no data and at ten million marks instead (`cargo bench --bench gateway -- growth`).

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a bench ends at the first surprise, and prints rates for people"
)]

mod around;
mod echo;
mod growth;
#[path = "../../tests/it/limits.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod limits;
mod machine;
mod nodes;
#[path = "../../tests/it/postgres.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod postgres;
mod reference;
mod rows;
mod table;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ap_gateway::cli::bench::fleet::{self, Provider};
use ap_gateway::cli::bench::load::{self, Answer, Senders, Shape};
use ap_gateway::cli::bench::{self, Server};
use ap_gateway::cli::sandbox;

use table::{Line, Table};

/// The gateway's own, for the load and the echo too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How much is measured.
#[derive(Clone, Copy)]
struct Scale {
    /// How long each figure is measured.
    long: Duration,
    /// Placements of each provider. A loop that sends more than two marks a day of the term for each comes back to days
    /// that it has filled, which costs it: those over one and eight connections do, and batches of 1,000.
    placements: usize,
    /// Entries of the log that is verified and started with.
    entries: u64,
}

impl Scale {
    const FULL: Self = Self { long: Duration::from_secs(5), placements: 100, entries: 1_000_000 };
    const QUICK: Self = Self { long: Duration::from_secs(1), placements: 4, entries: 100_000 };
}

/// Callers at once and connections of the closed loops of single marks.
const SINGLE: [(usize, usize); 10] =
    [(1, 1), (16, 1), (16, 8), (64, 1), (64, 8), (64, 64), (256, 1), (256, 8), (256, 64), (256, 200)];
/// Marks a call and callers at once of the others, over 64 connections.
const BATCHES: [(usize, usize); 3] = [(30, 16), (200, 16), (1_000, 8)];
/// How PostgreSQL is started, for the gateway and for the reference.
const POSTGRES: &str = "-c shared_buffers=512MB -c max_wal_size=4GB";

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let argument = |at: usize| arguments.get(at).map(String::as_str);
    match argument(0) {
        Some("echo") => runtime.block_on(echo::serve(Path::new(argument(1).unwrap()), argument(2).unwrap())),
        Some("growth") => runtime.block_on(growth::run()),
        Some("quick") => runtime.block_on(run(Scale::QUICK)),
        _ => runtime.block_on(run(Scale::FULL)),
    }
}

/// A served sandbox with a fleet of providers.
struct World {
    dir: tempfile::TempDir,
    server: Server,
    fleet: Vec<Provider>,
    scale: Scale,
}

impl World {
    async fn new(scale: Scale, postgres_url_file: Option<&Path>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = bench::serve(&binary(), dir.path(), postgres_url_file).unwrap();
        let fleet = fleet::make(dir.path(), 200, scale.placements).await.unwrap();
        let world = Self { dir, server, fleet, scale };
        world.warm().await;
        world
    }

    /// A mark of every placement: what a register is decided from is read once, and not again for days.
    async fn warm(&self) {
        let senders = self.senders(self.fleet.len()).await;
        for _ in &self.fleet {
            senders.send(self.scale.placements).await.unwrap();
        }
        senders.keep().unwrap();
    }

    async fn senders(&self, connections: usize) -> Arc<Senders> {
        Senders::connect(self.dir.path(), &self.fleet, connections, Answer::Verified).await.unwrap()
    }

    /// A closed loop of submissions, with the processor time that the server used for each.
    async fn closed(&self, marks: usize, in_flight: usize, connections: usize) -> Line {
        let senders = self.senders(connections).await;
        let shape = Shape { marks, in_flight, duration: self.scale.long };
        let before = self.server.processor_time();
        let measured = load::closed(&senders, shape).await.unwrap();
        let used = self.server.processor_time().saturating_sub(before);
        senders.keep().unwrap();
        Line::of(&measured, marks).used(used)
    }

    /// Sends until so many calls have been answered: how many were, and how long it took.
    async fn fill(&self, marks: usize, in_flight: usize, connections: usize, calls: u64) -> (u64, Duration) {
        let senders = self.senders(connections).await;
        let (mut sent, mut took) = (0, Duration::ZERO);
        while sent < calls {
            let shape = Shape { marks, in_flight, duration: self.scale.long };
            let measured = load::closed(&senders, shape).await.unwrap();
            sent += measured.calls;
            took += measured.elapsed;
        }
        senders.keep().unwrap();
        (sent, took)
    }
}

fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_ap-gateway"))
}

async fn run(scale: Scale) {
    reference::check();
    around::check();
    machine::print();
    let mut table = Table::default();
    let world = World::new(scale, None).await;
    let (echo, rows) = ceilings(&mut table, &world).await;
    let sqlite = closed_loops(&mut table, &world, "SQLite").await;
    around::latencies(&mut table, &world).await;
    around::others(&mut table, world).await;
    let server = postgres::Postgres::with(POSTGRES);
    let world = World::new(scale, Some(&server.url_file)).await;
    let postgres = closed_loops(&mut table, &world, "PostgreSQL").await;
    nodes::measure(&mut table, &world, &server.url_file).await;
    drop((world, server));
    let reference = reference::run(POSTGRES, scale.long);
    let inserts = reference.calls;
    table.add("reference: pgbench, PostgreSQL over mTLS with pgaudit, 1 row a commit, 64 clients", reference);
    for (name, rates) in [("SQLite", sqlite), ("PostgreSQL", postgres)] {
        let others = [("echo", echo.single), ("the rows on SQLite", rows.single), ("pgbench", inserts)];
        table.ratios(&format!("{name}, single marks, 64 in flight"), rates.single, &others);
        let others = [("echo", echo.batches), ("the rows on SQLite", rows.batches)];
        table.ratios(&format!("{name}, batches of 200"), rates.batches, &others);
    }
    table.print(echo.single);
}

/// Calls a second of single marks by 64 callers, and of batches of 200.
#[derive(Clone, Copy)]
struct Rates {
    single: f64,
    batches: f64,
}

/// Every shape of load.
async fn closed_loops(table: &mut Table, world: &World, name: &str) -> Rates {
    let mut rates = Rates { single: 0.0, batches: 0.0 };
    let single = SINGLE.map(|(in_flight, connections)| (1, in_flight, connections));
    let batches = BATCHES.map(|(marks, in_flight)| (marks, in_flight, 64));
    for (marks, in_flight, connections) in single.into_iter().chain(batches) {
        let line = world.closed(marks, in_flight, connections).await;
        match (marks, in_flight, connections) {
            (1, 64, 64) => rates.single = line.calls,
            (200, ..) => rates.batches = line.calls,
            _ => {}
        }
        let what = format!("{name}, {marks} a call, {in_flight} in flight, {connections} connections");
        table.add(&what, line);
    }
    rates
}

/// What the machine could do at most: the same messages to a server that does nothing with them, and the same
/// rows over sqlx without a server.
async fn ceilings(table: &mut Table, world: &World) -> (Rates, Rates) {
    let (mut echoes, mut commits) = ([0.0; 2], [0.0; 2]);
    for (rate, marks) in echoes.iter_mut().zip([1, 200]) {
        let (_process, address) = echo::start(world.dir.path(), marks);
        let own = std::fs::read(sandbox::profile(world.dir.path(), "la-a")).unwrap();
        sandbox::files::profiles(world.dir.path(), address).unwrap();
        let senders = Senders::connect(world.dir.path(), &world.fleet, 64, Answer::Decoded).await.unwrap();
        let shape = Shape { marks, in_flight: 64, duration: world.scale.long };
        let line = Line::of(&load::closed(&senders, shape).await.unwrap(), marks);
        std::fs::write(sandbox::profile(world.dir.path(), "la-a"), own).unwrap();
        *rate = line.calls;
        table.add(&format!("ceiling: echo over the same mTLS, {marks} a call, 64 in flight"), line);
    }
    // A call of each, whose rows the ceiling writes again.
    let senders = world.senders(1).await;
    for (rate, marks) in commits.iter_mut().zip([1, 200]) {
        senders.send(marks).await.unwrap();
        senders.keep().unwrap();
        let line = rows::ceiling(&world.dir.path().join("gateway.sqlite"), marks, world.scale.long).await;
        *rate = line.calls;
        table.add(&format!("ceiling: the rows of {marks} a commit over sqlx, SQLite"), line);
    }
    let rates = |[single, batches]: [f64; 2]| Rates { single, batches };
    (rates(echoes), rates(commits))
}
