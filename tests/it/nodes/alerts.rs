//! Two nodes find at the same moment that the same things are overdue: each is told once.

use std::sync::Arc;

use ap_gateway::clock::{HeldClock, Randomness, SystemClock};
use ap_gateway::config::Config;
use ap_gateway::gateway::{self, Node, Surroundings};

use super::super::oversight::start;
use super::super::process::Process;
use super::super::stage::Stage;
use super::super::support::Postgres;
use super::{NODES, Nodes};

/// Placements whose start leaves something open.
const STARTS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn of_two_nodes_one_raises_an_alert() {
    let nodes = Nodes::over(Postgres::start());
    let server = Process::serve(&nodes.dir(NODES[0]));
    let mut stage = Stage::set(&nodes.dir(NODES[0]), Randomness::system()).await;
    for _ in 0..STARTS {
        start(&mut stage).await;
    }
    drop(stage);
    drop(server);
    let raised = "SELECT COUNT(*), COUNT(DISTINCT placement) FROM alerts WHERE version = 1 \
                  AND idx > (SELECT MIN(idx) FROM open_items WHERE due_date > '2026-11-20')";
    let count = async || {
        let row = nodes.query(raised).await.remove(0);
        (row.int(0).unwrap(), row.int(1).unwrap())
    };
    assert_eq!(count().await, (0, 0));
    let node = async |name: &str| {
        let config = Config::load(&nodes.dir(name).join("gateway.toml")).unwrap();
        let tls = gateway::tls(&config).unwrap();
        let clock = Arc::new(HeldClock::new("2026-12-01T06:00:00Z".parse().unwrap()));
        let surroundings = Surroundings { clock, real: Arc::new(SystemClock), random: Randomness::system() };
        (Node::open(config, surroundings).await.unwrap(), tls)
    };
    let [(one, tls), (two, other)] = [node(NODES[0]).await, node(NODES[1]).await];
    tokio::join!(one.look_over(tls), two.look_over(other));
    for node in [one, two] {
        node.close().await;
    }
    // Those that were started here, and the one of the stage that goes on, which lacks a plan too.
    let placements = i64::try_from(STARTS).unwrap() + 1;
    assert_eq!(count().await, (placements + 1, placements));
    nodes.verifies(STARTS).await;
}
