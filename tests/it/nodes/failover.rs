//! Failover: when PostgreSQL's primary dies, nodes continue with a standby that has all commits, and refuse one
//! that has not.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::super::process::Process;
use super::super::rollback::accept_rollback_ok;
use super::super::startup_checks::{HEALTH_CHECK, serve_briefly};
use super::super::support::{Postgres, curl_post};
use super::{Load, MAX_WAIT, NODE_NAMES, Nodes};

/// Sets `single_primary` in a node's configuration.
pub fn set_single_primary(dir: &Path, may: bool) {
    let file = dir.join("gateway.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(file, text.replace(&format!("primary = {}", !may), &format!("primary = {may}"))).unwrap();
}

/// Asserts that a node refuses a configuration in which PostgreSQL acknowledges commits before a standby has them.
fn weak_replication_is_refused(nodes: &Nodes) {
    let dir = nodes.dir(NODE_NAMES[0]);
    set_single_primary(&dir, false);
    let (code, stderr) = serve_briefly(&dir);
    assert!(code == 1 && stderr.contains("PostgreSQL has no synchronous standby"), "{code}: {stderr}");
    set_single_primary(&dir, true);
}

/// Waits until the first node's health service returns a status: 2 is `NOT_SERVING`, 1 is SERVING.
pub async fn wait_for_health(nodes: &Nodes, one: &Process, status: &str) {
    let mut response = String::new();
    for _ in 0..200 {
        response = curl_post(&nodes.dir(NODE_NAMES[0]), one.address(), HEALTH_CHECK);
        if response.contains(status) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{response}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_takes_over_if_it_has_everything() {
    let nodes = Nodes::new(Postgres::start());
    weak_replication_is_refused(&nodes);
    let primary = &nodes.postgres;
    let (standby, behind) = (primary.copy(), primary.copy());
    standby.serve();
    // The standby of the standby, because a server that is promoted needs one too.
    let second = standby.copy();
    second.serve();
    primary.set("synchronous_standby_names", "*");
    primary.has_standby();
    let servers = [primary.url(), standby.url(), behind.url()];
    std::fs::write(&primary.url_file, servers.join("\n")).unwrap();
    let nodes = Arc::new(nodes);
    set_single_primary(&nodes.dir(NODE_NAMES[0]), false);
    let [one, two] = nodes.serve();
    let load = Load::start(&nodes).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    nodes.postgres.kill();
    wait_for_health(&nodes, &one, "\u{8}\u{2}").await;
    standby.promote();
    standby.set("synchronous_standby_names", "*");
    standby.has_standby();
    let clients = nodes.clients().await;
    let mut answered = vec![
        nodes.submit_until_answered(&clients[..1]).await,
        nodes.submit_until_answered(&clients[1..]).await,
    ];
    answered.extend(load.stop().await);
    wait_for_health(&nodes, &one, "\u{8}\u{1}").await;
    drop((one, two));
    // The old primary comes back, and nodes skip it.
    nodes.postgres.serve();
    set_single_primary(&nodes.dir(NODE_NAMES[0]), true);
    nodes.assert_stored_once(&answered).await;

    let servers = nodes.serve();
    nodes.postgres.kill();
    standby.kill();
    behind.serve();
    behind.promote();
    for server in servers {
        assert_eq!(server.wait_for_exit_within(MAX_WAIT).code(), Some(1));
    }
    for node in NODE_NAMES {
        let (code, stderr) = serve_briefly(&nodes.dir(node));
        assert!(code == 1 && stderr.contains("rolled back or its tail was cut"), "{code}: {stderr}");
    }

    // The commits that the standby lacks are abandoned: the nodes continue with a new log, the second one after it
    // has the new keys.
    let [one, two] = NODE_NAMES.map(|node| nodes.dir(node));
    accept_rollback_ok(&one, "ap-gateway-sandbox/log-2");
    let (code, stderr) = serve_briefly(&two);
    assert!(code == 1 && stderr.contains("not signed by this log's key"), "{code}: {stderr}");
    for file in ["log-signing-key", "log-key", "anchor"] {
        std::fs::copy(one.join(file), two.join(file)).unwrap();
    }
    let servers = nodes.serve();
    let clients = nodes.clients().await;
    let answered = vec![
        nodes.submit_until_answered(&clients[..1]).await,
        nodes.submit_until_answered(&clients[1..]).await,
    ];
    drop(servers);
    nodes.assert_stored_once(&answered).await;
}
