//! Two nodes find the same overdue items and the same moments at the same time: each alert is raised once, and each of its
//! escalations is done once.

use std::sync::Arc;

use ap_gateway::cli::{profile, sandbox};
use ap_gateway::clock::{ManualClock, Randomness, SystemClock};
use ap_gateway::config::Config;
use ap_gateway::gateway::{self, Environment, Node};

use super::super::fixtures::Fixtures;
use super::super::missing_returns::start_placement;
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

/// Of a provider's missing returns at a cut-off, each organisation is told once, and so it is of the escalation, although
/// both nodes evaluate the same moments at once and neither ran at the cut-off.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_nodes_one_tells_of_missing_returns() {
    let nodes = Nodes::new(Postgres::start());
    let dir = nodes.dir(NODE_NAMES[0]);
    let server = Process::serve(&dir);
    let mut stage = Fixtures::create(&dir, Randomness::system()).await;
    let la = profile::connect(&sandbox::profile_path(&dir, "la-a")).await.unwrap();
    start_placement(&mut stage, &la, "la/331").await;
    drop((stage, la, server));
    // Monday 7 December, an hour after the cut-off; and two school days later.
    for (at, versions) in [("2026-12-07T11:00:00Z", 3), ("2026-12-10T00:30:00Z", 6)] {
        let node = async |name: &str| {
            let config = Config::load(&nodes.dir(name).join("gateway.toml")).unwrap();
            let tls = gateway::tls(&config).unwrap();
            let clock = Arc::new(ManualClock::new(at.parse().unwrap()));
            let environment =
                Environment { clock, system_clock: Arc::new(SystemClock), random: Randomness::system() };
            (Node::open(config, environment).await.unwrap(), tls)
        };
        let [(one, tls), (two, other)] = [node(NODE_NAMES[0]).await, node(NODE_NAMES[1]).await];
        // What one tick sets, another evaluates.
        for _ in 0..4 {
            tokio::join!(one.raise_alerts_once(tls.clone()), two.raise_alerts_once(other.clone()));
        }
        for node in [one, two] {
            node.close().await;
        }
        let sql = "SELECT COUNT(*) AS versions, COUNT(DISTINCT organisation) AS organisations FROM alerts WHERE \
                   subject = 'provider/provider/riverside/2026-12-07T10:00:00Z' AND rule = 'RETURN_MISSING'";
        let row = nodes.query(sql).await.remove(0);
        let found: (i64, i64) = (row.get("versions").unwrap(), row.get("organisations").unwrap());
        assert_eq!(found, (versions, 3), "{at}");
    }
    nodes.assert_log_verifies(1).await;
}
