//! Two nodes find the same overdue items at the same time: each alert is raised once.

use std::sync::Arc;

use ap_gateway::clock::{ManualClock, Randomness, SystemClock};
use ap_gateway::config::Config;
use ap_gateway::gateway::{self, Environment, Node};

use super::super::fixtures::Fixtures;
use super::super::oversight::start_without_acknowledgement;
use super::super::process::Process;
use super::super::support::Postgres;
use super::{NODE_NAMES, Nodes};

/// Placements that start with an open item.
const STARTED_PLACEMENTS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn of_two_nodes_one_raises_an_alert() {
    let nodes = Nodes::new(Postgres::start());
    let server = Process::serve(&nodes.dir(NODE_NAMES[0]));
    let mut stage = Fixtures::create(&nodes.dir(NODE_NAMES[0]), Randomness::system()).await;
    for _ in 0..STARTED_PLACEMENTS {
        start_without_acknowledgement(&mut stage).await;
    }
    drop(stage);
    drop(server);
    let raised = "SELECT COUNT(*) AS alerts, COUNT(DISTINCT placement) AS placements FROM alerts WHERE version = 1 \
                  AND idx > (SELECT MIN(idx) FROM open_items WHERE due_date > '2026-11-20')";
    let count = async || {
        let row = nodes.query(raised).await.remove(0);
        (row.get::<i64>("alerts").unwrap(), row.get::<i64>("placements").unwrap())
    };
    assert_eq!(count().await, (0, 0));
    let node = async |name: &str| {
        let config = Config::load(&nodes.dir(name).join("gateway.toml")).unwrap();
        let tls = gateway::tls(&config).unwrap();
        let clock = Arc::new(ManualClock::new("2026-12-01T06:00:00Z".parse().unwrap()));
        let environment =
            Environment { clock, system_clock: Arc::new(SystemClock), random: Randomness::system() };
        (Node::open(config, environment).await.unwrap(), tls)
    };
    let [(one, tls), (two, other)] = [node(NODE_NAMES[0]).await, node(NODE_NAMES[1]).await];
    tokio::join!(one.raise_alerts_once(tls), two.raise_alerts_once(other));
    for node in [one, two] {
        node.close().await;
    }
    // The placements started here, and the active one of the fixtures, which lacks a plan as well.
    let placements = i64::try_from(STARTED_PLACEMENTS).unwrap() + 1;
    assert_eq!(count().await, (placements + 1, placements));
    nodes.assert_log_verifies(STARTED_PLACEMENTS).await;
}
