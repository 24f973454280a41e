//! PostgreSQL's primary dies. A standby that has everything takes over, and the nodes go on with it; one that
//! has not is not served as the same log.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::super::opening::{HEALTH, serve};
use super::super::process::Process;
use super::super::rollback::accepted;
use super::super::support::{Postgres, post};
use super::{BOUND, Load, NODES, Nodes};

/// Says in a node's configuration whether it may do without a standby.
fn single_primary(dir: &Path, may: bool) {
    let file = dir.join("gateway.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(file, text.replace(&format!("primary = {}", !may), &format!("primary = {may}"))).unwrap();
}

/// What PostgreSQL would acknowledge before a standby has it, or before its own disk has, is not served.
fn refused(nodes: &Nodes) {
    let dir = nodes.dir(NODES[0]);
    let refused = |why: &str| {
        let (code, told) = serve(&dir);
        assert!(code == 1 && told.contains(why), "{code}: {told}");
    };
    single_primary(&dir, false);
    refused("PostgreSQL has no synchronous standby");
    single_primary(&dir, true);
    nodes.postgres.set("synchronous_commit", "local");
    refused("synchronous_commit is below on");
    nodes.postgres.set("synchronous_commit", "on");
}

/// Waits until the first node's health service says this: 2 for `NOT_SERVING`, 1 for SERVING.
async fn says(nodes: &Nodes, one: &Process, status: &str) {
    let mut told = String::new();
    for _ in 0..200 {
        told = post(&nodes.dir(NODES[0]), one.address(), HEALTH);
        if told.contains(status) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_takes_over_if_it_has_everything() {
    let nodes = Nodes::over(Postgres::start());
    refused(&nodes);
    let primary = &nodes.postgres;
    let (standby, behind) = (primary.copy(), primary.copy());
    standby.serve();
    primary.set("synchronous_standby_names", "*");
    primary.has_standby();
    let servers = [primary.url(), standby.url(), behind.url()];
    std::fs::write(&primary.url_file, servers.join("\n")).unwrap();
    let nodes = Arc::new(nodes);
    single_primary(&nodes.dir(NODES[0]), false);
    let [one, two] = nodes.serve();
    let load = Load::on(&nodes).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    nodes.postgres.kill();
    says(&nodes, &one, "\u{8}\u{2}").await;
    standby.promote();
    let clients = nodes.clients().await;
    let mut answered = vec![nodes.answered(&clients[..1]).await, nodes.answered(&clients[1..]).await];
    answered.extend(load.end().await);
    says(&nodes, &one, "\u{8}\u{1}").await;
    drop((one, two));
    // The one that died comes back, as if nothing had happened: it is passed over.
    nodes.postgres.serve();
    single_primary(&nodes.dir(NODES[0]), true);
    nodes.hold(&answered).await;

    let servers = nodes.serve();
    nodes.postgres.kill();
    standby.kill();
    behind.serve();
    behind.promote();
    for server in servers {
        assert_eq!(server.ended_within(BOUND).code(), Some(1));
    }
    for node in NODES {
        let (code, told) = serve(&nodes.dir(node));
        assert!(code == 1 && told.contains("rolled back or its tail was cut"), "{code}: {told}");
    }

    // What the standby had not is given up: the nodes go on as a new log, once the second has its keys.
    let [one, two] = NODES.map(|node| nodes.dir(node));
    accepted(&one, "ap-gateway-sandbox/log-2");
    let (code, told) = serve(&two);
    assert!(code == 1 && told.contains("signature is wrong"), "{code}: {told}");
    for file in ["log-signing-key", "log-key", "anchor"] {
        std::fs::copy(one.join(file), two.join(file)).unwrap();
    }
    let servers = nodes.serve();
    let clients = nodes.clients().await;
    let answered = vec![nodes.answered(&clients[..1]).await, nodes.answered(&clients[1..]).await];
    drop(servers);
    nodes.hold(&answered).await;
}
