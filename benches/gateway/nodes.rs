//! Two nodes over one PostgreSQL: two processes, each with the keys and an anchor of its own, each under load.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use ap_gateway::cli::bench::load::{self, Answer, Measured, Senders, Shape};
use ap_gateway::cli::bench::{self, Server};

use super::table::{Line, Table};
use super::{World, binary, postgres};

/// Callers at once: all at one node, then half of them at each.
const IN_FLIGHT: [usize; 2] = [64, 256];

/// Single marks at this world's node alone, and then at a second one too, which gets a copy of its folder.
pub async fn measure(table: &mut Table, world: &World, url_file: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let second = folder.path().join("second");
    postgres::run(Command::new("cp").arg("-a").arg(world.dir.path()).arg(&second));
    let server = bench::serve(&binary(), &second, Some(url_file)).unwrap();
    let others: Vec<_> = world.fleet.iter().skip(world.fleet.len() / 2).cloned().collect();
    let other = Senders::connect(&second, &others, 32, Answer::Verified).await.unwrap();
    for in_flight in IN_FLIGHT {
        let one = world.closed(1, in_flight, 64).await;
        let two = two(world, &server, &other, in_flight / 2).await;
        let ratio = two.calls / one.calls;
        table.add(&format!("PostgreSQL, one node beside two: 1 a call, {in_flight} in flight"), one);
        table.add(&format!("PostgreSQL, two nodes, 1 a call, {} in flight at each", in_flight / 2), two);
        table.note(format!("PostgreSQL, two nodes, {in_flight} in flight: {ratio:.2} × one node"));
    }
}

/// So many callers at each of two nodes.
async fn two(world: &World, second: &Server, other: &Arc<Senders>, at_each: usize) -> Line {
    let one = world.senders(32).await;
    let used = || world.server.processor_time() + second.processor_time();
    let (before, load) = (used(), |senders: &Arc<Senders>| {
        let senders = Arc::clone(senders);
        let shape = Shape { marks: 1, in_flight: at_each, duration: world.scale.long };
        async move { load::closed(&senders, shape).await }
    });
    let (one_measured, other_measured) = tokio::join!(load(&one), load(other));
    let (one_measured, other_measured) = (one_measured.unwrap(), other_measured.unwrap());
    let used = used().saturating_sub(before);
    one.keep().unwrap();
    let mut latencies = [one_measured.latencies, other_measured.latencies].concat();
    latencies.sort_unstable();
    let elapsed = one_measured.elapsed.max(other_measured.elapsed);
    Line::of(&Measured { calls: latencies.len() as u64, elapsed, latencies }, 1).used(used)
}
