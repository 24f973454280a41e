//! Background work: a damaged record stops no other, a task that stalls is reported, one that panics ends the node,
//! and nobody waits for a committer that has ended.

use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use ap_gateway::cli::{profile, sandbox};
use ap_gateway::client::Client;
use ap_gateway::clock::{Clock, Instant, Randomness, SystemClock};
use ap_gateway::config::Config;
use ap_gateway::gateway::{self, Node, Surroundings};
use ap_gateway::identity::PeerCertificate;
use ap_gateway::proto::v1::{
    Alert, AlertState, DeliveryStage, ListAlertsRequest, ListAlertsResponse, oversight_service,
};
use ap_gateway::register::founding;
use ap_gateway::store::proposal::Outcome;
use ap_gateway::store::{Database, Fatal, Location, SEQUENCER, Value};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::documents::{acknowledge, put, share};
use super::faults::unavailable;
use super::opening::HEALTH;
use super::oversight::start;
use super::safety::own;
use super::stage::Stage;
use super::support::{NOW, World, post};

/// The bound within which anything here happens.
const BOUND: Duration = Duration::from_mins(1);

/// What a clock does when it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// Panics on the sequencer's thread.
    SequencerPanics,
    /// Panics on any other thread.
    TaskPanics,
    /// Blocks any other thread until the fault is over.
    TaskBlocks,
}

/// A clock that can be set in both directions, and that fails as a test wants: the fault hook of the threads that ask
/// it.
struct FaultyClock {
    at: AtomicI64,
    fault: Mutex<Fault>,
    over: Condvar,
    blocked: AtomicU8,
}

impl FaultyClock {
    fn new(at: &str) -> Arc<Self> {
        let (fault, over, blocked) = (Mutex::new(Fault::None), Condvar::new(), AtomicU8::new(0));
        let clock = Self { at: AtomicI64::new(0), fault, over, blocked };
        clock.set(at);
        Arc::new(clock)
    }

    fn set(&self, at: &str) {
        let at: Instant = at.parse().unwrap();
        self.at.store(at.micros(), Ordering::SeqCst);
    }

    fn fail(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
        self.over.notify_all();
    }
}

impl Clock for FaultyClock {
    fn now(&self) -> Instant {
        let sequencer = std::thread::current().name() == Some(SEQUENCER);
        let mut fault = self.fault.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        assert!(*fault != Fault::SequencerPanics || !sequencer, "a fault of this test");
        assert!(*fault != Fault::TaskPanics || sequencer, "a fault of this test");
        while *fault == Fault::TaskBlocks && !sequencer {
            self.blocked.fetch_add(1, Ordering::SeqCst);
            fault = self.over.wait(fault).unwrap();
        }
        Instant::from_micros(self.at.load(Ordering::SeqCst)).unwrap()
    }
}

/// A node that is served in this process by a faulty clock.
struct Served {
    dir: tempfile::TempDir,
    clock: Arc<FaultyClock>,
    address: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), Fatal>>,
}

async fn open(dir: &Path, clock: Arc<FaultyClock>) -> Node {
    let config = Config::load(&dir.join("gateway.toml")).unwrap();
    let surroundings = Surroundings { clock, real: Arc::new(SystemClock), random: Randomness::system() };
    Node::open(config, surroundings).await.unwrap()
}

impl Served {
    async fn new() -> Self {
        let dir = World::sqlite().await.stop().await;
        let clock = FaultyClock::new(NOW);
        let node = open(dir.path(), Arc::clone(&clock)).await;
        let tls = gateway::tls(&Config::load(&dir.path().join("gateway.toml")).unwrap()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        sandbox::files::profiles(dir.path(), address).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving =
            tokio::spawn(node.serve(listener, tls, None, async { stopped.await.unwrap_or_default() }));
        Self { dir, clock, address, stop, serving }
    }

    async fn client(&self, name: &str) -> Client {
        profile::connect(&sandbox::profile(self.dir.path(), name)).await.unwrap()
    }

    fn is_serving(&self) -> bool {
        let told = post(self.dir.path(), self.address, HEALTH);
        assert!(told.contains("\u{8}\u{1}") || told.contains("\u{8}\u{2}"), "{told:?}");
        told.contains("\u{8}\u{1}")
    }

    async fn ended(self) -> Result<(), Fatal> {
        tokio::time::timeout(BOUND, self.serving).await.unwrap().unwrap()
    }

    async fn execute(&self, sql: &'static str, placement: &str) {
        let database =
            Database::open(&Location::Sqlite(self.dir.path().join("gateway.sqlite"))).await.unwrap();
        let id = Value::from(Uuid::parse_str(placement).unwrap());
        assert!(database.writer().await.unwrap().execute(sql, vec![id]).await.unwrap() > 0);
        database.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_sequencer_that_panics_leaves_no_caller_waiting_and_ends_the_node() {
    let served = Served::new().await;
    let riverside = served.client("provider-a").await;
    own(&riverside).await.unwrap();
    served.clock.fail(Fault::SequencerPanics);
    let answered = tokio::time::timeout(BOUND, own(&riverside)).await.unwrap();
    unavailable(answered);
    let fatal = served.ended().await.unwrap_err();
    assert!(matches!(fatal, Fatal::BrokeOff), "{fatal}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_background_task_that_panics_ends_the_node() {
    let served = Served::new().await;
    assert!(served.is_serving());
    served.clock.fail(Fault::TaskPanics);
    let fatal = served.ended().await.unwrap_err();
    assert!(matches!(fatal, Fatal::TaskEnded("oversight")), "{fatal}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_background_task_that_stalls_is_reported_until_it_goes_on() {
    let served = Served::new().await;
    assert!(served.is_serving());
    served.clock.fail(Fault::TaskBlocks);
    let reports = async |serving: bool| {
        while served.is_serving() != serving {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(BOUND, reports(false)).await.unwrap();
    assert!(served.clock.blocked.load(Ordering::SeqCst) > 0);
    served.clock.fail(Fault::None);
    tokio::time::timeout(BOUND, reports(true)).await.unwrap();
    served.stop.send(()).unwrap();
    served.serving.await.unwrap().unwrap();
}

/// What waits when the committer ends, and what comes later, is answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_committer_that_has_ended_answers_what_waits_and_what_comes() {
    let dir = World::sqlite().await.stop().await;
    let node = open(dir.path(), FaultyClock::new(NOW)).await;
    let (committer, vault) = (node.committer.clone(), Arc::clone(&node.vault));
    let der = CertificateDer::from_pem_file(dir.path().join("certs/la-a.pem")).unwrap();
    let peer = PeerCertificate::parse(&der).unwrap();
    let proposal = || {
        let random = Randomness::system();
        founding::found(&random, NOW.parse().unwrap(), &vault, &peer, "Anyone").unwrap()
    };
    committer.queue().hold(true);
    let waiting = tokio::spawn({
        let (committer, proposal) = (committer.clone(), proposal());
        async move { committer.commit(proposal).await }
    });
    while committer.queue().is_empty() {
        tokio::task::yield_now().await;
    }
    node.close().await;
    let waited = tokio::time::timeout(BOUND, waiting).await.unwrap().unwrap();
    assert!(matches!(waited, Outcome::Unavailable));
    let later = tokio::time::timeout(BOUND, committer.commit(proposal())).await.unwrap();
    assert!(matches!(later, Outcome::Unavailable));
}

async fn page(client: &Client, request: &ListAlertsRequest, page_token: String) -> ListAlertsResponse {
    let request = ListAlertsRequest { page_token, ..request.clone() };
    client.call(oversight_service::LIST_ALERTS, &request).await.unwrap().message
}

/// Waits for the alert of a placement in a state.
async fn alert(client: &Client, placement: &str, state: AlertState) -> Alert {
    let request = ListAlertsRequest { placement_id: placement.to_owned(), ..ListAlertsRequest::default() };
    let waiting = async {
        loop {
            let found = page(client, &request, String::new()).await.alerts;
            if let Some(found) = found.into_iter().find(|found| found.state() == state) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(BOUND, waiting).await.unwrap()
}

/// Makes good what the start of a placement left open, with a version of the child's passport.
async fn make_good(la: &Client, riverside: &Client, placement: &str, etag: &str) {
    share(la, placement, etag).await.unwrap();
    acknowledge(riverside, placement, DeliveryStage::ActedOn).await;
}

/// A placement whose record is damaged keeps its failure to itself. Its alert is raised once the record is whole again,
/// with an id that is older than another's, as if another node had raised it: it is listed behind the page that was
/// read before, and closed like any other.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_damaged_record_stops_no_other_childs_alerts() {
    let served = Served::new().await;
    let mut stage = Stage::set(served.dir.path(), Randomness::system()).await;
    let mut started = [start(&mut stage).await, start(&mut stage).await, start(&mut stage).await];
    drop(stage);
    // The first that is looked at.
    started.sort();
    let [damaged, good, other] = &started;
    let (la, riverside) = (served.client("la-a").await, served.client("provider-a").await);
    // What is sealed is bound to its version, so it does not open any more.
    let damage = "UPDATE placements SET version = version + 100 WHERE placement = $1";
    served.execute(damage, damaged).await;
    served.clock.set("2026-12-01T08:00:00Z");
    alert(&la, good, AlertState::Open).await;
    let first = alert(&la, other, AlertState::Open).await;
    assert!(served.is_serving(), "one damaged record is logged and makes no node unwell");
    let etag = put(&la, good, "").await.unwrap().etag;
    make_good(&la, &riverside, good, &etag).await;
    alert(&la, good, AlertState::Closed).await;
    let all = ListAlertsRequest { page_size: 1, ..ListAlertsRequest::default() };
    let (mut token, mut listed) = (String::new(), Vec::new());
    loop {
        let read = page(&la, &all, token.clone()).await;
        if read.next_page_token.is_empty() {
            break;
        }
        listed.extend(read.alerts);
        token = read.next_page_token;
    }
    // Back to before the other was raised: the id is older, its place in the log is not.
    served.clock.set("2026-12-01T06:00:00Z");
    let whole = "UPDATE placements SET version = version - 100 WHERE placement = $1";
    served.execute(whole, damaged).await;
    let late = alert(&la, damaged, AlertState::Open).await;
    assert!(late.alert_id < first.alert_id);
    while !token.is_empty() {
        let read = page(&la, &all, token).await;
        listed.extend(read.alerts);
        token = read.next_page_token;
    }
    assert!(listed.iter().any(|listed| listed.alert_id == late.alert_id), "a cursor passes nothing by");
    make_good(&la, &riverside, damaged, &etag).await;
    alert(&la, damaged, AlertState::Closed).await;
    served.stop.send(()).unwrap();
    served.serving.await.unwrap().unwrap();
}
