//! What metrics cost: single marks of a node that records them, scraped each second, and of one that does not, by turns,
//! as ratios.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use ap_gateway::cli::bench;
use ap_gateway::cli::bench::load::{self, LoadShape};

use super::results::{Line, Table};
use super::{Scale, World, binary, machine};

/// Turns of each load. The ratio is taken within a turn, because the rate drifts.
const TURNS: usize = 7;
/// Placements of each provider, which the load of all turns does not fill.
const PLACEMENTS: usize = 60;
/// Concurrent calls, each on a connection of its own.
const IN_FLIGHT: usize = 64;
/// Interval of scrapes; Prometheus has 15 seconds or more.
const SCRAPE_INTERVAL: Duration = Duration::from_secs(1);
/// Least median of the ratios.
const LEAST_RATIO: f64 = 0.97;

pub async fn run() {
    machine::print();
    let (mut table, scale) = (Table::default(), Scale { placements: PLACEMENTS, ..Scale::FULL });
    let without = World::new(scale, None).await;
    let with = World::new(scale, None).await.with_metrics().await;
    let (mut ratios, mut base) = (Vec::new(), 0.0);
    for turn in 1..=TURNS {
        // The first of a turn has a machine that is a little cooler.
        let (plain, recorded) = if turn % 2 == 0 {
            let plain = measure(&without).await;
            (plain, measure(&with).await)
        } else {
            let recorded = measure(&with).await;
            (measure(&without).await, recorded)
        };
        base = plain.calls_per_second;
        ratios.push(recorded.calls_per_second / base);
        table.add(&format!("SQLite, turn {turn}: single marks without metrics, 64 in flight"), plain);
        table.add(&format!("SQLite, turn {turn}: single marks with metrics, 64 in flight"), recorded);
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios.get(TURNS / 2).copied().unwrap();
    let shown: Vec<_> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
    let verdict = if median >= LEAST_RATIO { "at least" } else { "NOT at least" };
    table.add_note(format!(
        "single marks with metrics, to without, {TURNS} turns: {}; the median {median:.3} is {verdict} {LEAST_RATIO}",
        shown.join(" ")
    ));
    table.print(base);
}

impl World {
    /// Serves the folder again, with a management listener.
    async fn with_metrics(self) -> Self {
        let Self { dir, server, fleet, scale } = self;
        drop(server);
        let file = dir.path().join("gateway.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("{text}\n[management]\nlisten = \"unix:management.sock\"\n")).unwrap();
        let server = bench::spawn_sandbox(&binary(), dir.path(), None).unwrap();
        let world = Self { dir, server, fleet, scale };
        world.warm_caches().await;
        world
    }

    fn management_socket(&self) -> PathBuf {
        self.dir.path().join("management.sock")
    }
}

async fn measure(world: &World) -> Line {
    let senders = world.senders(IN_FLIGHT).await;
    let shape = LoadShape { marks: 1, in_flight: IN_FLIGHT, duration: world.scale.duration };
    let socket = world.management_socket();
    let scraping = tokio::spawn(async move {
        while socket.exists() {
            let socket = socket.clone();
            tokio::task::spawn_blocking(move || scrape(&socket)).await.unwrap();
            tokio::time::sleep(SCRAPE_INTERVAL).await;
        }
    });
    let before = world.server.processor_time();
    let measured = load::run_closed_loop(&senders, shape).await.unwrap();
    let used = world.server.processor_time().saturating_sub(before);
    scraping.abort();
    senders.save_progress().unwrap();
    Line::new(&measured, 1).server_time(used)
}

fn scrape(socket: &std::path::Path) {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.contains("grpc_server_started_total"), "the node answers a scrape");
}
