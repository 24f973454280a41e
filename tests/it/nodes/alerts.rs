//! Two nodes find the same overdue items and the same moments at the same time: each alert is raised once, and each of its
//! escalations is done once, also when one of them is killed.

use std::sync::Arc;
use std::time::Duration;

use ap_gateway::cli::{profile, sandbox};
use ap_gateway::clock::{Instant, ManualClock, Randomness, SystemClock};
use ap_gateway::config::Config;
use ap_gateway::gateway::{self, Environment, Node};
use ap_gateway::proto::sandbox::{AdvanceClockRequest, sandbox_service};

use super::super::fixtures::Fixtures;
use super::super::missing_returns::start_placement;
use super::super::oversight::start_without_acknowledgement;
use super::super::placement_rules::start_short_placement;
use super::super::process::Process;
use super::super::support::{NOW, Postgres};
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
             AND rule <> 'NOT_ACTED_ON' AND idx > (SELECT MIN(idx) FROM open_items WHERE due_date > '2026-11-20')"
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

/// Alerts that each short placement has on the Monday: no passport, a review of which nothing speaks, past its end.
const RULES: &str = "('START_WITHOUT_PASSPORT', 'REVIEW_DATE_PASSED', 'PAST_END')";
/// Maximum number of polls, 50 ms apart.
const MAX_POLLS: usize = 600;

/// Moves the clock of a node.
async fn advance(nodes: &Nodes, node: &str, to: &str) {
    let to: Instant = to.parse().unwrap();
    let to = Some(prost_types::Timestamp { seconds: to.seconds(), nanos: 0 });
    let client = nodes.client(node, "la-a").await;
    let request = AdvanceClockRequest { to };
    client.call_without_receipt(sandbox_service::ADVANCE_CLOCK, &request).await.unwrap();
}

/// Counts the versions of alerts of the rules, from a version on.
async fn count_versions(nodes: &Nodes, condition: &str) -> i64 {
    let sql = format!("SELECT COUNT(*) AS count FROM alerts WHERE rule IN {RULES} AND {condition}");
    nodes.query(sql.leak()).await.remove(0).get("count").unwrap()
}

/// Waits until there are so many versions of alerts of the rules.
async fn wait_for_versions(nodes: &Nodes, condition: &str, wanted: i64) {
    let mut found = 0;
    for _ in 0..MAX_POLLS {
        found = count_versions(nodes, condition).await;
        if found >= wanted {
            assert_eq!(found, wanted, "{condition}");
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{found} of {wanted}: {condition}");
}

/// Asserts that nothing was done twice: no alert about the same, no version of one, no delivery of one version.
async fn assert_each_once(nodes: &Nodes) {
    let own = format!("SELECT id FROM alerts WHERE rule IN {RULES}");
    for sql in [
        format!(
            "SELECT subject FROM alerts WHERE version = 1 AND id IN ({own}) GROUP BY subject, rule HAVING COUNT(*) > 1"
        ),
        "SELECT subject FROM alerts GROUP BY subject, id, version HAVING COUNT(*) > 1".to_owned(),
        "SELECT subject FROM moments GROUP BY subject, version HAVING COUNT(*) > 1".to_owned(),
        format!(
            "SELECT object FROM parties WHERE kind = 22 AND object IN ({own}) GROUP BY object, organisation HAVING COUNT(*) > 1"
        ),
        format!(
            "SELECT object FROM parties WHERE kind = 35 AND object IN ({own}) GROUP BY object, organisation HAVING COUNT(*) > 2"
        ),
    ] {
        let sql: &'static str = sql.leak();
        assert_eq!(nodes.query(sql).await.len(), 0, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_killed_loses_and_doubles_no_alert() {
    let nodes = Nodes::new(Postgres::start());
    let [one, two] = nodes.serve();
    let mut stage = Fixtures::create(&nodes.dir(NODE_NAMES[0]), Randomness::system()).await;
    let la = nodes.client(NODE_NAMES[0], "la-a").await;
    for _ in 0..STARTED_PLACEMENTS {
        start_short_placement(&mut stage, &la).await;
    }
    drop((stage, la));
    let each = i64::try_from(STARTED_PLACEMENTS).unwrap();
    // From Friday to Monday week: the ends of Friday, Monday and Tuesday are evaluated one after the other. The first node
    // is killed as soon as an alert is seen.
    let monday = "2026-11-30T00:00:01Z";
    tokio::join!(advance(&nodes, NODE_NAMES[0], monday), advance(&nodes, NODE_NAMES[1], monday));
    for _ in 0..MAX_POLLS {
        if count_versions(&nodes, "version = 1").await > 0 {
            break;
        }
    }
    drop(one);
    wait_for_versions(&nodes, "version = 1", 3 * each).await;
    assert_each_once(&nodes).await;
    // The node that comes back, with a clock that stands at the Friday, finds nothing to do, and over the next weekend both
    // escalate what nobody acted on.
    std::fs::write(nodes.dir(NODE_NAMES[0]).join("clock"), NOW).unwrap();
    let one = Process::serve(&nodes.dir(NODE_NAMES[0]));
    let next = "2026-12-07T00:00:01Z";
    tokio::join!(advance(&nodes, NODE_NAMES[0], next), advance(&nodes, NODE_NAMES[1], next));
    wait_for_versions(&nodes, "rule <> 'REVIEW_DATE_PASSED' AND version = 3", 2 * each).await;
    assert_each_once(&nodes).await;
    assert_eq!(count_versions(&nodes, "version = 1").await, 3 * each);
    drop((one, two));
    nodes.assert_log_verifies(STARTED_PLACEMENTS).await;
}
