//! Two nodes find the same overdue items and the same moments at the same time: each alert is raised once, and each of its
//! escalations is done once.

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
async fn of_two_nodes_one_raises_and_escalates_an_alert() {
    let nodes = Nodes::new(Postgres::start());
    let server = Process::serve(&nodes.dir(NODE_NAMES[0]));
    let mut stage = Fixtures::create(&nodes.dir(NODE_NAMES[0]), Randomness::system()).await;
    for _ in 0..STARTED_PLACEMENTS {
        start_without_acknowledgement(&mut stage).await;
    }
    drop(stage);
    drop(server);
    let count = async |condition: &str| {
        let sql = format!(
            "SELECT COUNT(*) AS alerts, COUNT(DISTINCT placement) AS placements FROM alerts WHERE {condition} \
             AND idx > (SELECT MIN(idx) FROM open_items WHERE due_date > '2026-11-20')"
        );
        let row = nodes.query(sql.leak()).await.remove(0);
        (row.get::<i64>("alerts").unwrap(), row.get::<i64>("placements").unwrap())
    };
    assert_eq!(count("version = 1").await, (0, 0));
    let node = async |name: &str, at: &str| {
        let config = Config::load(&nodes.dir(name).join("gateway.toml")).unwrap();
        let tls = gateway::tls(&config).unwrap();
        let clock = Arc::new(ManualClock::new(at.parse().unwrap()));
        let environment =
            Environment { clock, system_clock: Arc::new(SystemClock), random: Randomness::system() };
        (Node::open(config, environment).await.unwrap(), tls)
    };
    // The placements started here, and the active one of the fixtures, which lacks a plan as well.
    let placements = i64::try_from(STARTED_PLACEMENTS).unwrap() + 1;
    // The second time is a Sunday, two escalations later: neither is lost or done twice.
    for (at, raised, escalated) in [
        ("2026-12-01T06:00:00Z", (placements + 1, placements), (0, 0)),
        ("2027-01-17T06:00:00Z", (placements + 1, placements), (2 * (placements + 1), placements)),
    ] {
        let [(one, tls), (two, other)] = [node(NODE_NAMES[0], at).await, node(NODE_NAMES[1], at).await];
        tokio::join!(one.raise_alerts_once(tls), two.raise_alerts_once(other));
        for node in [one, two] {
            node.close().await;
        }
        assert_eq!(count("version = 1").await, raised, "{at}");
        assert_eq!(count("version > 1").await, escalated, "{at}");
    }
    nodes.assert_log_verifies(STARTED_PLACEMENTS).await;
}
