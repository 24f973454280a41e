//! Rotation of the key ring as described in the README, on two nodes under load: no delivery lacks its content.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ap_gateway::cli::sandbox;
use ap_gateway::client::Client;
use ap_gateway::proto::v1::{Delivery, DeliveryKind};

use super::super::key_rotation::create_referral;
use super::super::startup_checks::serve_briefly;
use super::super::support::{Postgres, deliveries, gateway, run};
use super::{Load, MAX_WAIT, NODE_NAMES, Nodes};

/// Runs `activate-key` for a node and returns exit code and stderr.
fn activate_key(dir: &Path) -> (i32, String) {
    let output = gateway().args(["activate-key", "--config"]).arg(dir.join("gateway.toml")).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Repeats `activate-key` until every live node has announced the key.
fn activate_key_ok(dir: &Path) {
    let begun = Instant::now();
    loop {
        let (code, stderr) = activate_key(dir);
        if code == 0 {
            return;
        }
        assert!(code == 1 && stderr.contains("do not hold the key yet"), "{code}: {stderr}");
        assert!(begun.elapsed() < MAX_WAIT, "{stderr}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Returns for each delivery of a mailbox, by cursor, whether it has content.
async fn deliveries_with_content(client: &Client) -> BTreeMap<(u64, u32), bool> {
    let place = |delivery: &Delivery| {
        let cursor = delivery.cursor.as_ref().unwrap();
        (cursor.index, cursor.ordinal)
    };
    let mail = deliveries(client).await;
    mail.iter().map(|delivery| (place(delivery), delivery.content.is_some())).collect()
}

/// Returns the id of the newest key that has sealed anything.
async fn newest_sealing_key(nodes: &Nodes) -> i64 {
    let sql = "SELECT MAX(kek_id) AS kek_id FROM child_keys";
    nodes.query(sql).await.remove(0).get("kek_id").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_leaves_no_delivery_without_its_content() {
    let nodes = Arc::new(Nodes::new(Postgres::start()));
    let [one, two] = NODE_NAMES.map(|node| nodes.dir(node));
    let before_rotation = one.join("key-ring.before");
    std::fs::copy(one.join("key-ring"), &before_rotation).unwrap();
    let made = sandbox::world::load(&one).unwrap();
    let agreed = made.agreements.iter().find(|agreed| agreed.provider == "provider-a").unwrap();
    let servers = nodes.serve();
    let las = [nodes.client(NODE_NAMES[0], "la-a").await, nodes.client(NODE_NAMES[1], "la-a").await];
    let providers = nodes.clients().await;
    // The pause is long enough that sessions are left until the end.
    let load = Load::start_paced(&nodes, 4, Duration::from_millis(200)).await;
    let before = [deliveries_with_content(&las[0]).await, deliveries_with_content(&providers[0]).await];
    create_referral(&las[0], &agreed.agreement_id).await;
    let old = newest_sealing_key(&nodes).await;

    run(gateway().args(["rotate-keys", "--config"]).arg(one.join("gateway.toml")));
    let (code, stderr) = activate_key(&one);
    assert!(code == 1 && stderr.contains("do not hold the key yet"), "{code}: {stderr}");
    create_referral(&las[0], &agreed.agreement_id).await;
    assert_eq!(newest_sealing_key(&nodes).await, old, "nothing is sealed under a key that is not active");
    run(std::process::Command::new("cp").arg("-p").args([one.join("key-ring"), two.join("key-ring")]));
    activate_key_ok(&one);
    // Node one seals under the new key and node two under the old one; each opens data of the other.
    let begun = Instant::now();
    while newest_sealing_key(&nodes).await == old {
        assert!(begun.elapsed() < MAX_WAIT, "the new key does not seal");
        for la in &las {
            create_referral(la, &agreed.agreement_id).await;
        }
    }
    activate_key_ok(&two);
    for la in las.iter().cycle().take(6) {
        create_referral(la, &agreed.agreement_id).await;
        for provider in &providers {
            let mut mail = deliveries(provider).await.into_iter();
            let newest = mail.rfind(|delivery| delivery.kind() == DeliveryKind::Referral);
            assert!(newest.unwrap().content.is_some());
        }
    }
    let answered = load.stop().await;
    assert!(!answered.is_empty());
    for (clients, before) in [&las, &providers].into_iter().zip(before) {
        for client in clients {
            for (place, has_content) in deliveries_with_content(client).await {
                let had = before.get(&place).copied().unwrap_or(true);
                assert_eq!(has_content, had, "{place:?}");
            }
        }
    }
    drop(servers);

    // A node with the ring from before the rotation does not start.
    std::fs::copy(&before_rotation, two.join("key-ring")).unwrap();
    let (code, stderr) = serve_briefly(&two);
    assert!(code == 78 && stderr.contains("it lacks key 2"), "{code}: {stderr}");
    run(std::process::Command::new("cp").arg("-p").args([one.join("key-ring"), two.join("key-ring")]));
    nodes.assert_stored_once(&answered).await;
}
