//! Two nodes over one PostgreSQL: two processes, each with the keys and an anchor of its own, each under load.

use std::process::Command;
use std::sync::Arc;

use ap_gateway::cli::bench;
use ap_gateway::cli::bench::load::{self, Answer, Measured, Senders, Shape};

use super::table::Line;
use super::{World, binary, postgres};

/// As many callers as one node has in the line that this is compared with, half of them at each node.
const IN_FLIGHT: usize = 64;

/// Single marks at this world's node and at a second one, which gets a copy of its folder.
pub async fn two(world: &World, url_file: &std::path::Path) -> Line {
    let folder = tempfile::tempdir().unwrap();
    let second = folder.path().join("second");
    postgres::run(Command::new("cp").arg("-a").arg(world.dir.path()).arg(&second));
    let server = bench::serve(&binary(), &second, Some(url_file)).unwrap();
    let others: Vec<_> = world.fleet.iter().skip(world.fleet.len() / 2).cloned().collect();
    let connections = IN_FLIGHT / 2;
    let one = world.senders(connections).await;
    let other = Senders::connect(&second, &others, connections, Answer::Verified).await.unwrap();
    let used = || world.server.processor_time() + server.processor_time();
    let (before, load) = (used(), |senders: &Arc<Senders>| {
        let senders = Arc::clone(senders);
        let shape = Shape { marks: 1, in_flight: IN_FLIGHT / 2, duration: world.scale.long };
        async move { load::closed(&senders, shape).await }
    });
    let (one_measured, other_measured) = tokio::join!(load(&one), load(&other));
    let (one_measured, other_measured) = (one_measured.unwrap(), other_measured.unwrap());
    let used = used().saturating_sub(before);
    one.keep().unwrap();
    let mut latencies = [one_measured.latencies, other_measured.latencies].concat();
    latencies.sort_unstable();
    let elapsed = one_measured.elapsed.max(other_measured.elapsed);
    Line::of(&Measured { calls: latencies.len() as u64, elapsed, latencies }, 1).used(used)
}
