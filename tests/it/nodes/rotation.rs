//! The key ring is rotated as the README says, on two nodes under load: no delivery comes without its content.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ap_gateway::cli::sandbox;
use ap_gateway::client::Client;
use ap_gateway::proto::v1::{Delivery, DeliveryKind};

use super::super::opening::serve;
use super::super::rotation::refer;
use super::super::support::{Postgres, deliveries, gateway, run};
use super::{BOUND, Load, NODES, Nodes};

/// Runs `activate-key` for a node: its exit code, and what it says.
fn activate(dir: &Path) -> (i32, String) {
    let output = gateway().args(["activate-key", "--config"]).arg(dir.join("gateway.toml")).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The same, until every live node has announced the key.
fn activated(dir: &Path) {
    let begun = Instant::now();
    loop {
        let (code, told) = activate(dir);
        if code == 0 {
            return;
        }
        assert!(code == 1 && told.contains("do not hold the key yet"), "{code}: {told}");
        assert!(begun.elapsed() < BOUND, "{told}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Which deliveries of a mailbox have content, by their places.
async fn contents(client: &Client) -> BTreeMap<(u64, u32), bool> {
    let place = |delivery: &Delivery| {
        let cursor = delivery.cursor.as_ref().unwrap();
        (cursor.index, cursor.ordinal)
    };
    let mail = deliveries(client).await;
    mail.iter().map(|delivery| (place(delivery), delivery.content.is_some())).collect()
}

/// The newest key of the ring under which anything was sealed.
async fn newest_key(nodes: &Nodes) -> i64 {
    let sql = "SELECT MAX(kek_id) FROM child_keys";
    nodes.query(sql).await.remove(0).int(0).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_leaves_no_delivery_without_its_content() {
    let nodes = Arc::new(Nodes::over(Postgres::start()));
    let [one, two] = NODES.map(|node| nodes.dir(node));
    let before_rotation = one.join("key-ring.before");
    std::fs::copy(one.join("key-ring"), &before_rotation).unwrap();
    let made = sandbox::world::load(&one).unwrap();
    let agreed = made.agreements.iter().find(|agreed| agreed.provider == "provider-a").unwrap();
    let servers = nodes.serve();
    let las = [nodes.client(NODES[0], "la-a").await, nodes.client(NODES[1], "la-a").await];
    let providers = nodes.clients().await;
    // Slow enough that there are sessions left until the end.
    let load = Load::paced(&nodes, 4, Duration::from_millis(200)).await;
    let before = [contents(&las[0]).await, contents(&providers[0]).await];
    refer(&las[0], &agreed.agreement_id).await;
    let old = newest_key(&nodes).await;

    run(gateway().args(["rotate-keys", "--config"]).arg(one.join("gateway.toml")));
    let (code, told) = activate(&one);
    assert!(code == 1 && told.contains("do not hold the key yet"), "{code}: {told}");
    refer(&las[0], &agreed.agreement_id).await;
    assert_eq!(newest_key(&nodes).await, old, "nothing is sealed under a key that is not active");
    run(std::process::Command::new("cp").arg("-p").args([one.join("key-ring"), two.join("key-ring")]));
    activated(&one);
    // Node one seals under the new key, node two under the old one, and either opens what the other sealed.
    let begun = Instant::now();
    while newest_key(&nodes).await == old {
        assert!(begun.elapsed() < BOUND, "the new key does not seal");
        for la in &las {
            refer(la, &agreed.agreement_id).await;
        }
    }
    activated(&two);
    for la in las.iter().cycle().take(6) {
        refer(la, &agreed.agreement_id).await;
        for provider in &providers {
            let mut mail = deliveries(provider).await.into_iter();
            let newest = mail.rfind(|delivery| delivery.kind() == DeliveryKind::Referral);
            assert!(newest.unwrap().content.is_some());
        }
    }
    let answered = load.end().await;
    assert!(!answered.is_empty());
    for (clients, before) in [&las, &providers].into_iter().zip(before) {
        for client in clients {
            for (place, has_content) in contents(client).await {
                let had = before.get(&place).copied().unwrap_or(true);
                assert_eq!(has_content, had, "{place:?}");
            }
        }
    }
    drop(servers);

    // A node that comes back with the ring of before is not started.
    std::fs::copy(&before_rotation, two.join("key-ring")).unwrap();
    let (code, told) = serve(&two);
    assert!(code == 78 && told.contains("it lacks key 2"), "{code}: {told}");
    run(std::process::Command::new("cp").arg("-p").args([one.join("key-ring"), two.join("key-ring")]));
    nodes.hold(&answered).await;
}
