//! Two nodes act as one gateway: a request may be sent to either or both, a right that ends on one ends on the
//! other, and stopping or killing a node loses nothing that was acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ap_gateway::clock::{Clock, Instant, ManualClock, Randomness, SystemClock};
use ap_gateway::config::Config;
use ap_gateway::gateway::{Environment, Node};
use ap_gateway::proto::v1::{
    WatchDeliveriesRequest, WatchDeliveriesResponse, WatchPosition, delivery_service, register_service,
};
use ap_gateway::store::{Database, StoreError};
use prost::Message;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::super::checkpoint_release::{anchored_size, newest_size};
use super::super::ended_rights::{assert_revoked, get_riverside, revocation_request};
use super::super::faults::assert_unavailable;
use super::super::node_in_process::NodeInProcess;
use super::super::startup_checks::HEALTH_CHECK;
use super::super::support::{NOW, Postgres, curl_post};
use super::super::wire::Wire;
use super::{AnsweredRequest, CONCURRENT_CLIENTS, Load, MAX_WAIT, NODE_NAMES, Nodes, submit_within};

/// Requests of each client that are sent to both nodes at once.
const REQUESTS_PER_CLIENT: usize = 12;

/// Checks that a request sent to both nodes at once is stored once and gets the same bytes from both.
async fn requests_sent_to_both(nodes: &Arc<Nodes>) -> Vec<AnsweredRequest> {
    let mut clients = JoinSet::new();
    for _ in 0..CONCURRENT_CLIENTS {
        let nodes = Arc::clone(nodes);
        clients.spawn(async move {
            let [one, two] = nodes.clients().await;
            let mut answered = Vec::new();
            for _ in 0..REQUESTS_PER_CLIENT {
                let request = nodes.next_mark();
                let (first, second) = tokio::join!(
                    submit_within(&one, &request, MAX_WAIT),
                    submit_within(&two, &request, MAX_WAIT)
                );
                assert!(first.is_some() && first == second);
                answered.extend(first.map(|first| (request, first)));
            }
            answered
        });
    }
    clients.join_all().await.concat()
}

/// Checks that a node that is stopped, perhaps inside a transaction, delays the other for seconds only. The other
/// node is killed when the first continues, and everything acknowledged by either is stored.
async fn stopped_and_killed(nodes: &Arc<Nodes>) -> Vec<AnsweredRequest> {
    let [one, two] = nodes.serve();
    let load = Load::start(nodes).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    one.signal("STOP");
    let stopped = tokio::time::sleep(Duration::from_secs(5));
    let other = nodes.client(NODE_NAMES[1], "provider-a").await;
    let mut answered = vec![nodes.submit_until_answered(&[other]).await];
    stopped.await;
    one.signal("CONT");
    drop(two);
    let woken = nodes.client(NODE_NAMES[0], "provider-a").await;
    answered.push(nodes.submit_until_answered(&[woken]).await);
    answered.extend(load.stop().await);
    answered
}

/// Checks that PostgreSQL terminates a session that holds the lock and is idle, such as that of a stopped node. No
/// other call fails, and the session's transaction is rolled back.
async fn a_silent_holder_of_the_lock(nodes: &Nodes) {
    let client = nodes.client(NODE_NAMES[0], "provider-a").await;
    let database = Database::open(&nodes.location()).await.unwrap();
    let mut silent = database.writer().await.unwrap();
    silent.begin_write().await.unwrap();
    get_riverside(&client).await.unwrap();
    assert!(matches!(silent.commit().await, Err(StoreError::Unreachable(_))));
    silent.rollback().await;
    database.close().await;
}

/// Checks that a commit sends NOTIFY, so that other nodes need not wait for their next poll.
async fn a_commit_is_hinted_at(nodes: &Nodes) {
    let client = nodes.client(NODE_NAMES[0], "provider-a").await;
    let database = Database::open(&nodes.location()).await.unwrap();
    let hint = Notify::new();
    let hinted = async {
        get_riverside(&client).await.unwrap();
        while tokio::time::timeout(Duration::from_millis(100), hint.notified()).await.is_err() {
            get_riverside(&client).await.unwrap();
        }
    };
    tokio::select! {
        () = database.listen_for_commits(|| hint.notify_one()) => panic!("the LISTEN connection ended"),
        hinted = tokio::time::timeout(Duration::from_secs(10), hinted) => hinted.unwrap(),
    }
    database.close().await;
}

/// Checks that after a revocation on one node the caller's stream on the other ends before its next message and the
/// connection is closed.
async fn a_revocation_on_the_other_node(nodes: &Nodes) {
    let (riverside, old) = (
        nodes.client(NODE_NAMES[0], "provider-a").await,
        nodes.client(NODE_NAMES[1], "provider-a-old").await,
    );
    let idle = Wire::connect(&nodes.dir(NODE_NAMES[1]), "provider-a-old").await;
    let watch = WatchDeliveriesRequest::default();
    let mut stream = old.open_stream(delivery_service::WATCH_DELIVERIES, &watch).await.unwrap();
    let position = |reply: &WatchDeliveriesResponse| {
        WatchPosition { cursor: reply.next.clone(), ..WatchPosition::default() }.encode_to_vec().into()
    };
    // All earlier deliveries are read first.
    while let Ok(batch) = tokio::time::timeout(Duration::from_millis(500), stream.next(position)).await {
        batch.unwrap().unwrap();
    }
    let request = revocation_request(&nodes.dir(NODE_NAMES[0]), "provider-a-old");
    riverside.call(register_service::REVOKE_CERTIFICATE, &request).await.unwrap();
    // The revocation is itself delivered to the organisation, but not on this stream.
    let ended = tokio::time::timeout(Duration::from_secs(2), async {
        let next = stream.next(position).await.map(drop);
        while !idle.is_closed() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        next
    });
    assert_revoked(&ended.await.unwrap().unwrap_err());
    assert_revoked(&get_riverside(&old).await.unwrap_err());
}

/// Checks that a node that has not appended to the log returns no checkpoint that its own anchor does not hold.
async fn a_checkpoint_of_the_other_node(nodes: &Nodes) {
    let [one, two] = nodes.clients().await;
    let dir = nodes.dir(NODE_NAMES[1]);
    for _ in 0..20 {
        get_riverside(&one).await.unwrap();
        let appended = anchored_size(&nodes.dir(NODE_NAMES[0]));
        let size = newest_size(&two).await.unwrap();
        assert!(appended <= size && size <= anchored_size(&dir), "{appended} {size}");
    }
}

/// A clock that is some seconds behind the system clock.
struct ClockBehind(AtomicU64);

impl Clock for ClockBehind {
    fn now(&self) -> Instant {
        SystemClock.now().minus(Duration::from_secs(self.0.load(Ordering::Relaxed)))
    }
}

/// Checks that a node whose clock differs from PostgreSQL's commits nothing and is `NOT_SERVING` until the clock is
/// corrected.
async fn a_clock_that_is_off(nodes: &Nodes) {
    let dir = nodes.dir(NODE_NAMES[0]);
    let clock = Arc::new(ClockBehind(AtomicU64::new(3)));
    let real: Arc<dyn Clock> = clock.clone();
    let held = Arc::new(ManualClock::new(NOW.parse().unwrap()));
    let environment = Environment { clock: held, system_clock: real, random: Randomness::system() };
    let config = Config::load(&dir.join("gateway.toml")).unwrap();
    let node = Node::open(config, environment).await.unwrap();
    let served = NodeInProcess::serve(node, &dir).await;
    let client = nodes.client(NODE_NAMES[0], "provider-a").await;
    assert_unavailable(get_riverside(&client).await);
    assert!(curl_post(&dir, served.address, HEALTH_CHECK).contains("\u{8}\u{2}"), "NOT_SERVING");
    clock.0.store(0, Ordering::Relaxed);
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if get_riverside(&client).await.is_ok() {
            break;
        }
    }
    get_riverside(&client).await.unwrap();
    assert!(curl_post(&dir, served.address, HEALTH_CHECK).contains("\u{8}\u{1}"), "SERVING");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_are_one_gateway() {
    let nodes = Arc::new(Nodes::new(Postgres::start()));
    let servers = nodes.serve();
    let mut answered = requests_sent_to_both(&nodes).await;
    a_revocation_on_the_other_node(&nodes).await;
    a_silent_holder_of_the_lock(&nodes).await;
    a_commit_is_hinted_at(&nodes).await;
    a_checkpoint_of_the_other_node(&nodes).await;
    drop(servers);
    answered.extend(stopped_and_killed(&nodes).await);
    assert!(answered.len() > CONCURRENT_CLIENTS * REQUESTS_PER_CLIENT + CONCURRENT_CLIENTS);
    nodes.assert_stored_once(&answered).await;
    a_clock_that_is_off(&nodes).await;
}
