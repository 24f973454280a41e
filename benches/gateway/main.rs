//! The gateway beside the ceilings of the machine, in one run: `cargo bench --bench gateway`. With `growth` it
//! measures at no data and at ten million marks instead (`cargo bench --bench gateway -- growth`).

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a bench ends at the first surprise, and prints rates for people"
)]

mod around;
mod echo;
mod growth;
mod machine;
#[path = "../../tests/it/postgres.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod postgres;
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

/// How long each figure is measured.
const LONG: Duration = Duration::from_secs(5);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let argument = |at: usize| arguments.get(at).map(String::as_str);
    match argument(0) {
        Some("echo") => runtime.block_on(echo::serve(Path::new(argument(1).unwrap()), argument(2).unwrap())),
        Some("growth") => runtime.block_on(growth::run()),
        _ => runtime.block_on(run()),
    }
}

/// A served sandbox with a fleet of providers.
struct World {
    dir: tempfile::TempDir,
    server: Server,
    fleet: Vec<Provider>,
}

impl World {
    async fn new(placements: usize, postgres_url_file: Option<&Path>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = bench::serve(&binary(), dir.path(), postgres_url_file).unwrap();
        let fleet = fleet::make(dir.path(), 200, placements).await.unwrap();
        Self { dir, server, fleet }
    }

    async fn senders(&self, connections: usize) -> Arc<Senders> {
        Senders::connect(self.dir.path(), &self.fleet, connections, Answer::Verified).await.unwrap()
    }

    /// A closed loop of submissions, with the processor time that the server used for each.
    async fn closed(&self, marks: usize, in_flight: usize, connections: usize) -> Line {
        let senders = self.senders(connections).await;
        let shape = Shape { marks, in_flight, duration: LONG };
        let before = self.server.processor_time();
        let measured = load::closed(&senders, shape).await.unwrap();
        let used = self.server.processor_time().saturating_sub(before);
        senders.keep().unwrap();
        Line::of(&measured, marks).used(used)
    }
}

fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_ap-gateway"))
}

async fn run() {
    machine::print();
    let mut table = Table::default();
    let world = World::new(30, None).await;
    let echo = ceilings(&mut table, &world).await;
    for (marks, in_flight, connections) in
        [(1, 1, 1), (1, 16, 8), (1, 64, 64), (1, 256, 64), (30, 16, 16), (200, 16, 16), (1_000, 8, 8)]
    {
        let line = world.closed(marks, in_flight, connections).await;
        table.add(&format!("SQLite, {marks} a call, {in_flight} in flight, {connections} connections"), line);
    }
    around::latencies(&mut table, &world).await;
    around::others(&mut table, world).await;
    let postgres = postgres::Postgres::with("-c shared_buffers=512MB -c max_wal_size=4GB");
    let world = World::new(10, Some(&postgres.url_file)).await;
    for (marks, in_flight) in [(1, 64), (1, 256), (200, 16)] {
        let line = world.closed(marks, in_flight, 64).await;
        table.add(&format!("PostgreSQL, {marks} a call, {in_flight} in flight"), line);
    }
    table.print(echo);
}

/// What the machine could do at most: the same messages to a server that does nothing with them, and the same
/// rows by the same statements without a server.
async fn ceilings(table: &mut Table, world: &World) -> f64 {
    let mut first = 0.0;
    for marks in [1, 200] {
        let (_process, address) = echo::start(world.dir.path(), marks);
        let own = std::fs::read(sandbox::profile(world.dir.path(), "la-a")).unwrap();
        sandbox::files::profiles(world.dir.path(), address).unwrap();
        let senders = Senders::connect(world.dir.path(), &world.fleet, 64, Answer::Decoded).await.unwrap();
        let shape = Shape { marks, in_flight: 64, duration: LONG };
        let line = Line::of(&load::closed(&senders, shape).await.unwrap(), marks);
        std::fs::write(sandbox::profile(world.dir.path(), "la-a"), own).unwrap();
        first = if marks == 1 { line.calls } else { first };
        table.add(&format!("ceiling: echo over the same mTLS, {marks} a call, 64 in flight"), line);
    }
    // A call of each, whose rows the ceiling writes again.
    let senders = world.senders(1).await;
    for marks in [1, 200] {
        senders.send(marks).await.unwrap();
        senders.keep().unwrap();
        let line = rows::ceiling(&world.dir.path().join("gateway.sqlite"), marks, LONG).await;
        table.add(&format!("ceiling: the rows of {marks} a commit by the same statements, SQLite"), line);
    }
    first
}
