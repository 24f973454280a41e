//! Throughput of two nodes on one PostgreSQL: two processes, each with the keys, its own anchor and its own load.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use ap_gateway::cli::bench::load::{self, AnswerCheck, LoadShape, Measurement, SenderPool};
use ap_gateway::cli::bench::{self, SandboxProcess};

use super::results::{Line, Table};
use super::{World, binary, postgres};

/// Concurrent calls: all on one node, then half on each.
const IN_FLIGHT: [usize; 2] = [64, 256];

/// Measures single marks on one node, and then also on a second one, which gets a copy of the folder.
pub async fn measure(table: &mut Table, world: &World, url_file: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let second = folder.path().join("second");
    postgres::run(Command::new("cp").arg("-a").arg(world.dir.path()).arg(&second));
    let server = bench::spawn_sandbox(&binary(), &second, Some(url_file)).unwrap();
    let others: Vec<_> = world.fleet.iter().skip(world.fleet.len() / 2).cloned().collect();
    let other = SenderPool::connect(&second, &others, 32, AnswerCheck::VerifyReceipt).await.unwrap();
    for in_flight in IN_FLIGHT {
        let one = world.closed_loop(1, in_flight, 64).await;
        let two = load_both_nodes(world, &server, &other, in_flight / 2).await;
        let ratio = two.calls_per_second / one.calls_per_second;
        table.add(&format!("PostgreSQL, one node beside two: 1 a call, {in_flight} in flight"), one);
        table.add(&format!("PostgreSQL, two nodes, 1 a call, {} in flight at each", in_flight / 2), two);
        table.add_note(format!("PostgreSQL, two nodes, {in_flight} in flight: {ratio:.2} × one node"));
    }
}

/// Measures a closed loop with `at_each` concurrent calls on each of two nodes.
async fn load_both_nodes(
    world: &World,
    second: &SandboxProcess,
    other: &Arc<SenderPool>,
    at_each: usize,
) -> Line {
    let one = world.senders(32).await;
    let used = || world.server.processor_time() + second.processor_time();
    let (before, load) = (used(), |senders: &Arc<SenderPool>| {
        let senders = Arc::clone(senders);
        let shape = LoadShape { marks: 1, in_flight: at_each, duration: world.scale.duration };
        async move { load::run_closed_loop(&senders, shape).await }
    });
    let (one_measured, other_measured) = tokio::join!(load(&one), load(other));
    let (one_measured, other_measured) = (one_measured.unwrap(), other_measured.unwrap());
    let used = used().saturating_sub(before);
    one.save_progress().unwrap();
    let mut latencies = [one_measured.latencies, other_measured.latencies].concat();
    latencies.sort_unstable();
    let elapsed = one_measured.elapsed.max(other_measured.elapsed);
    Line::new(&Measurement { calls: latencies.len() as u64, elapsed, latencies }, 1).server_time(used)
}
