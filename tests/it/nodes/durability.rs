//! Durability with PostgreSQL while nodes serve: nothing is acknowledged that the standby does not have, whatever the
//! server's defaults are, and a node stops appending while a setting would let an acknowledged commit be lost.

use std::time::{Duration, Instant};

use ap_gateway::client::Client;

use super::super::ended_rights::get_riverside;
use super::super::exchange_semantics::submit;
use super::super::faults::assert_unavailable;
use super::super::process::Process;
use super::super::startup_checks::serve_briefly;
use super::super::support::Postgres;
use super::failover::{set_single_primary, wait_for_health};
use super::{MAX_WAIT, NODE_NAMES, Nodes};

const SERVING: &str = "\u{8}\u{1}";
const NOT_SERVING: &str = "\u{8}\u{2}";

/// Cancels every wait for the standby, as soon as there is one.
fn cancel_waits(postgres: &Postgres) {
    let sql = "SELECT COUNT(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    let begun = Instant::now();
    while postgres.ask(sql).trim() == "0" {
        assert!(begun.elapsed() < MAX_WAIT, "no COMMIT waits for the standby");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Starts a standby that the primary waits for.
fn start_standby(primary: &Postgres) -> Postgres {
    let standby = primary.copy();
    standby.serve();
    primary.set("synchronous_standby_names", "*");
    primary.has_standby();
    standby
}

/// Starts a node that needs the standby, with a client of provider-a.
async fn serve_with_standby(nodes: &Nodes) -> (Process, Client) {
    let dir = nodes.dir(NODE_NAMES[0]);
    set_single_primary(&dir, false);
    let node = Process::serve(&dir);
    (node, nodes.client(NODE_NAMES[0], "provider-a").await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_wait_for_the_standby_is_cancelled_is_not_acknowledged() {
    let nodes = Nodes::new(Postgres::start());
    let primary = &nodes.postgres;
    let standby = start_standby(primary);
    // The committer's connections set their own.
    primary.set("synchronous_commit", "off");
    let (one, client) = serve_with_standby(&nodes).await;
    get_riverside(&client).await.unwrap();

    standby.stop();
    let request = nodes.next_mark();
    let submitting = tokio::spawn({
        let (client, request) = (client.clone(), request.clone());
        async move { submit(&client, &request).await }
    });
    cancel_waits(primary);
    assert_unavailable(submitting.await.unwrap());

    standby.serve();
    primary.has_standby();
    let begun = Instant::now();
    while submit(&client, &request).await.is_err() {
        assert!(begun.elapsed() < MAX_WAIT, "the node does not go on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(submit(&client, &request).await.unwrap().message.stored, 1);
    assert_eq!(nodes.query("SELECT idx FROM marks").await.len(), 1);
    drop(one);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_could_lose_a_commit_stops_appending_until_it_is_right_again() {
    let nodes = Nodes::new(Postgres::start());
    let primary = &nodes.postgres;
    let _standby = start_standby(primary);
    let (one, client) = serve_with_standby(&nodes).await;
    let dir = nodes.dir(NODE_NAMES[0]);
    for (setting, bad, good, why) in [
        ("synchronous_standby_names", "", "*", "PostgreSQL has no synchronous standby"),
        ("fsync", "off", "on", "PostgreSQL's fsync is off"),
        ("full_page_writes", "off", "on", "PostgreSQL's full_page_writes is off"),
    ] {
        get_riverside(&client).await.unwrap();
        let marks = nodes.query("SELECT idx FROM marks").await.len();
        primary.set(setting, bad);
        // From the next transaction on, before the node's health says so.
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_unavailable(submit(&client, &nodes.next_mark()).await);
        wait_for_health(&nodes, &one, NOT_SERVING).await;
        assert_unavailable(submit(&client, &nodes.next_mark()).await);
        let (code, stderr) = serve_briefly(&dir);
        assert!(code == 1 && stderr.contains(why), "{code}: {stderr}");
        primary.set(setting, good);
        wait_for_health(&nodes, &one, SERVING).await;
        assert_eq!(nodes.query("SELECT idx FROM marks").await.len(), marks, "{setting}");
        submit(&client, &nodes.next_mark()).await.unwrap();
    }
    drop(one);
}
