//! Two nodes are one gateway: a request may be sent to either or to both, a right that ends on one has ended on
//! the other, and a node that is stopped or killed takes nothing with it that was acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ap_gateway::cli::sandbox;
use ap_gateway::client::{ClientError, reason};
use ap_gateway::clock::{Clock, HeldClock, Instant, Randomness, SystemClock};
use ap_gateway::config::Config;
use ap_gateway::gateway::{self, Node, Surroundings};
use ap_gateway::proto::v1::{
    WatchDeliveriesRequest, WatchDeliveriesResponse, WatchPosition, delivery_service, register_service,
};
use ap_gateway::store::{Database, StoreError};
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;

use super::super::faults::unavailable;
use super::super::opening::HEALTH;
use super::super::safety::{own, revocation};
use super::super::story::refused;
use super::super::support::{NOW, Postgres, post};
use super::super::wire::Wire;
use super::{Answered, BOUND, CLIENTS, Load, NODES, Nodes, answer};

/// Requests of each that both nodes get at once.
const SHARED: usize = 12;

/// Each request is sent to both nodes at the same time: stored once, the same bytes from both.
async fn requests_sent_to_both(nodes: &Arc<Nodes>) -> Vec<Answered> {
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let nodes = Arc::clone(nodes);
        clients.spawn(async move {
            let [one, two] = nodes.clients().await;
            let mut answered = Vec::new();
            for _ in 0..SHARED {
                let request = nodes.mark();
                let (first, second) =
                    tokio::join!(answer(&one, &request, BOUND), answer(&two, &request, BOUND));
                assert!(first.is_some() && first == second);
                answered.extend(first.map(|first| (request, first)));
            }
            answered
        });
    }
    clients.join_all().await.concat()
}

/// A node that is stopped, maybe in the middle of a transaction, holds the other up for seconds only; the other
/// is killed when it goes on; whatever was acknowledged by either is there.
async fn stopped_and_killed(nodes: &Arc<Nodes>) -> Vec<Answered> {
    let [one, two] = nodes.serve();
    let load = Load::on(nodes).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    one.signal("STOP");
    let stopped = tokio::time::sleep(Duration::from_secs(5));
    let other = nodes.client(NODES[1], "provider-a").await;
    let mut answered = vec![nodes.answered(&[other]).await];
    stopped.await;
    one.signal("CONT");
    drop(two);
    let woken = nodes.client(NODES[0], "provider-a").await;
    answered.push(nodes.answered(&[woken]).await);
    answered.extend(load.end().await);
    answered
}

/// Whoever takes the lock and then says nothing, as a node that is stopped or cut off, is thrown out; nobody else is
/// refused for it, and what it wakes up to is that nothing was done.
async fn a_silent_holder_of_the_lock(nodes: &Nodes) {
    let client = nodes.client(NODES[0], "provider-a").await;
    let database = Database::open(&nodes.location()).await.unwrap();
    let mut silent = database.writer().await.unwrap();
    silent.begin_write().await.unwrap();
    own(&client).await.unwrap();
    assert!(matches!(silent.commit().await, Err(StoreError::Unreachable(_))));
    silent.abandon().await;
    database.close().await;
}

/// A commit is hinted at, so that other nodes need not wait for their next look.
async fn a_commit_is_hinted_at(nodes: &Nodes) {
    let client = nodes.client(NODES[0], "provider-a").await;
    let database = Database::open(&nodes.location()).await.unwrap();
    let hint = Notify::new();
    let hinted = async {
        own(&client).await.unwrap();
        while tokio::time::timeout(Duration::from_millis(100), hint.notified()).await.is_err() {
            own(&client).await.unwrap();
        }
    };
    tokio::select! {
        () = database.hear(|| hint.notify_one()) => panic!("nobody listens any more"),
        hinted = tokio::time::timeout(Duration::from_secs(10), hinted) => hinted.unwrap(),
    }
    database.close().await;
}

/// Revoked on one node: on the other its stream ends before the message that follows, and its connection is cut.
async fn a_revocation_on_the_other_node(nodes: &Nodes) {
    let (riverside, old) =
        (nodes.client(NODES[0], "provider-a").await, nodes.client(NODES[1], "provider-a-old").await);
    let idle = Wire::of(&nodes.dir(NODES[1]), "provider-a-old").await;
    let watch = WatchDeliveriesRequest::default();
    let mut stream = old.watch(delivery_service::WATCH_DELIVERIES, &watch).await.unwrap();
    let position = |reply: &WatchDeliveriesResponse| {
        WatchPosition { cursor: reply.next.clone(), ..WatchPosition::default() }.encode_to_vec().into()
    };
    // Everything that was there before is read first.
    while let Ok(batch) = tokio::time::timeout(Duration::from_millis(500), stream.next(position)).await {
        batch.unwrap().unwrap();
    }
    let request = revocation(&nodes.dir(NODES[0]), "provider-a-old");
    riverside.call(register_service::REVOKE_CERTIFICATE, &request).await.unwrap();
    // The revocation is itself a delivery to the organisation, and does not come any more.
    let ended = tokio::time::timeout(Duration::from_secs(2), async {
        let next = stream.next(position).await.map(drop);
        while !idle.is_closed() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        refused(next)
    });
    let told = ended.await.unwrap();
    assert!(matches!(reason(&told).as_str(), "CERT_REVOKED" | ""), "{told}");
    match own(&old).await.unwrap_err() {
        ClientError::Refused(status) => assert!(matches!(reason(&status).as_str(), "CERT_REVOKED" | "")),
        ClientError::Unreachable(_) => {}
        other => panic!("{other}"),
    }
}

/// A clock that is behind the machine's by some seconds.
struct Behind(AtomicU64);

impl Clock for Behind {
    fn now(&self) -> Instant {
        SystemClock.now().minus(Duration::from_secs(self.0.load(Ordering::Relaxed)))
    }
}

/// A node whose clock is not PostgreSQL's appends nothing, and says that it is not well, until it is set right.
async fn a_clock_that_is_off(nodes: &Nodes) {
    let dir = nodes.dir(NODES[0]);
    let clock = Arc::new(Behind(AtomicU64::new(3)));
    let real: Arc<dyn Clock> = clock.clone();
    let held = Arc::new(HeldClock::new(NOW.parse().unwrap()));
    let surroundings = Surroundings { clock: held, real, random: Randomness::system() };
    let config = Config::load(&dir.join("gateway.toml")).unwrap();
    let tls = gateway::tls(&config).unwrap();
    let node = Node::open(config, surroundings).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    sandbox::files::profiles(&dir, address).unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(node.serve(listener, tls, None, async { stopped.await.unwrap_or_default() }));
    let client = nodes.client(NODES[0], "provider-a").await;
    unavailable(own(&client).await);
    assert!(post(&dir, address, HEALTH).contains("\u{8}\u{2}"), "NOT_SERVING");
    clock.0.store(0, Ordering::Relaxed);
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if own(&client).await.is_ok() {
            break;
        }
    }
    own(&client).await.unwrap();
    assert!(post(&dir, address, HEALTH).contains("\u{8}\u{1}"), "SERVING");
    stop.send(()).unwrap();
    serving.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_are_one_gateway() {
    let nodes = Arc::new(Nodes::over(Postgres::start()));
    let servers = nodes.serve();
    let mut answered = requests_sent_to_both(&nodes).await;
    a_revocation_on_the_other_node(&nodes).await;
    a_silent_holder_of_the_lock(&nodes).await;
    a_commit_is_hinted_at(&nodes).await;
    drop(servers);
    answered.extend(stopped_and_killed(&nodes).await);
    assert!(answered.len() > CLIENTS * SHARED + CLIENTS);
    nodes.hold(&answered).await;
    a_clock_that_is_off(&nodes).await;
}
