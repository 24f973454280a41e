//! Background tasks: a damaged record affects no other record, a stalled task is reported by the health service, a
//! panic ends the node, and no caller waits for a committer that has ended.

use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use ap_gateway::cli::{profile, sandbox};
use ap_gateway::client::Client;
use ap_gateway::clock::{Clock, Instant, Randomness, SystemClock};
use ap_gateway::config::Config;
use ap_gateway::gateway::{Environment, Node};
use ap_gateway::identity::PeerCertificate;
use ap_gateway::proto::v1::{
    Alert, AlertState, DeliveryStage, ListAlertsRequest, ListAlertsResponse, oversight_service,
};
use ap_gateway::register::bootstrap;
use ap_gateway::store::proposal::CommitOutcome;
use ap_gateway::store::{Database, DatabaseLocation, FatalError, SEQUENCER_THREAD, Value};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use uuid::Uuid;

use super::documents::{acknowledge, put_passport, share_passport};
use super::ended_rights::get_riverside;
use super::faults::assert_unavailable;
use super::fixtures::Fixtures;
use super::node_in_process::NodeInProcess;
use super::oversight::start_without_acknowledgement;
use super::startup_checks::HEALTH_CHECK;
use super::support::{NOW, World, curl_post};

/// Time limit for everything in these tests.
const MAX_WAIT: Duration = Duration::from_mins(1);

/// The fault that a clock injects when it is read.
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

/// A clock that can be set forwards and backwards. It injects a fault into the threads that read it.
struct FaultyClock {
    now_micros: AtomicI64,
    fault: Mutex<Fault>,
    fault_changed: Condvar,
    blocked_calls: AtomicU8,
}

impl FaultyClock {
    fn new(at: &str) -> Arc<Self> {
        let (fault, over, blocked) = (Mutex::new(Fault::None), Condvar::new(), AtomicU8::new(0));
        let clock =
            Self { now_micros: AtomicI64::new(0), fault, fault_changed: over, blocked_calls: blocked };
        clock.set(at);
        Arc::new(clock)
    }

    fn set(&self, at: &str) {
        let at: Instant = at.parse().unwrap();
        self.now_micros.store(at.micros(), Ordering::SeqCst);
    }

    fn set_fault(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
        self.fault_changed.notify_all();
    }
}

impl Clock for FaultyClock {
    fn now(&self) -> Instant {
        let sequencer = std::thread::current().name() == Some(SEQUENCER_THREAD);
        let fault = self.fault.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        assert!(*fault != Fault::SequencerPanics || !sequencer, "a fault of this test");
        assert!(*fault != Fault::TaskPanics || sequencer, "a fault of this test");
        if *fault == Fault::TaskBlocks && !sequencer {
            self.blocked_calls.fetch_add(1, Ordering::SeqCst);
            // The worker's other tasks go on elsewhere: one that it woke last could be stolen by no other worker.
            tokio::task::block_in_place(|| {
                drop(self.fault_changed.wait_while(fault, |fault| *fault == Fault::TaskBlocks));
            });
        }
        Instant::from_micros(self.now_micros.load(Ordering::SeqCst)).unwrap()
    }

    /// Faults are for one task at a time: the one that watches the clock meets none.
    fn trusted_now(&self) -> Option<Instant> {
        if std::thread::current().name() == Some(SEQUENCER_THREAD) {
            return Some(self.now());
        }
        Instant::from_micros(self.now_micros.load(Ordering::SeqCst)).ok()
    }
}

/// A node in this process with a faulty clock.
struct InProcessNode {
    dir: tempfile::TempDir,
    clock: Arc<FaultyClock>,
    node: NodeInProcess,
}

async fn open(dir: &Path, clock: Arc<FaultyClock>) -> Node {
    let config = Config::load(&dir.join("gateway.toml")).unwrap();
    let environment =
        Environment { clock, system_clock: Arc::new(SystemClock), random: Randomness::system() };
    Node::open(config, environment).await.unwrap()
}

impl InProcessNode {
    async fn new() -> Self {
        let dir = World::sqlite().await.stop().await;
        let clock = FaultyClock::new(NOW);
        let node = open(dir.path(), Arc::clone(&clock)).await;
        let node = NodeInProcess::serve(node, dir.path()).await;
        Self { dir, clock, node }
    }

    async fn client(&self, name: &str) -> Client {
        profile::connect(&sandbox::profile_path(self.dir.path(), name)).await.unwrap()
    }

    fn is_serving(&self) -> bool {
        let response = curl_post(self.dir.path(), self.node.address, HEALTH_CHECK);
        assert!(response.contains("\u{8}\u{1}") || response.contains("\u{8}\u{2}"), "{response:?}");
        response.contains("\u{8}\u{1}")
    }

    async fn exit_result(self) -> Result<(), FatalError> {
        tokio::time::timeout(MAX_WAIT, self.node.serving).await.unwrap().unwrap()
    }

    async fn execute(&self, sql: &'static str, placement: &str) {
        let database =
            Database::open(&DatabaseLocation::Sqlite(self.dir.path().join("gateway.sqlite"))).await.unwrap();
        let id = Value::from(Uuid::parse_str(placement).unwrap());
        assert!(database.writer().await.unwrap().execute(sql, vec![id]).await.unwrap() > 0);
        database.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_sequencer_that_panics_leaves_no_caller_waiting_and_ends_the_node() {
    let served = InProcessNode::new().await;
    // A repeated call would find that the node is gone.
    let riverside = served.client("provider-a").await.without_retries();
    get_riverside(&riverside).await.unwrap();
    served.clock.set_fault(Fault::SequencerPanics);
    let answered = tokio::time::timeout(MAX_WAIT, get_riverside(&riverside)).await.unwrap();
    assert_unavailable(answered);
    let fatal = served.exit_result().await.unwrap_err();
    assert!(matches!(fatal, FatalError::UnexpectedEnd), "{fatal}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_background_task_that_panics_ends_the_node() {
    let served = InProcessNode::new().await;
    assert!(served.is_serving());
    served.clock.set_fault(Fault::TaskPanics);
    let fatal = served.exit_result().await.unwrap_err();
    assert!(matches!(fatal, FatalError::TaskEnded("oversight")), "{fatal}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_background_task_that_stalls_is_reported_until_it_goes_on() {
    let served = InProcessNode::new().await;
    assert!(served.is_serving());
    served.clock.set_fault(Fault::TaskBlocks);
    let reports = async |serving: bool| {
        while served.is_serving() != serving {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(MAX_WAIT, reports(false)).await.unwrap();
    assert!(served.clock.blocked_calls.load(Ordering::SeqCst) > 0);
    served.clock.set_fault(Fault::None);
    tokio::time::timeout(MAX_WAIT, reports(true)).await.unwrap();
    served.node.stop().await;
}

/// Checks that proposals are answered that wait when the committer ends or arrive later.
#[tokio::test(flavor = "multi_thread")]
async fn a_committer_that_has_ended_answers_what_waits_and_what_comes() {
    let dir = World::sqlite().await.stop().await;
    let node = open(dir.path(), FaultyClock::new(NOW)).await;
    let (committer, vault) = (node.committer.clone(), Arc::clone(&node.vault));
    let der = CertificateDer::from_pem_file(dir.path().join("certs/la-a.pem")).unwrap();
    let peer = PeerCertificate::parse(&der).unwrap();
    let proposal = || {
        let random = Randomness::system();
        bootstrap::bootstrap_proposal(&random, NOW.parse().unwrap(), &vault, &peer, "Anyone").unwrap()
    };
    committer.queue().set_paused(true);
    let waiting = tokio::spawn({
        let (committer, proposal) = (committer.clone(), proposal());
        async move { committer.commit(proposal).await }
    });
    while committer.queue().is_empty() {
        tokio::task::yield_now().await;
    }
    node.close().await;
    let waited = tokio::time::timeout(MAX_WAIT, waiting).await.unwrap().unwrap();
    assert!(matches!(waited, CommitOutcome::Unavailable));
    let later = tokio::time::timeout(MAX_WAIT, committer.commit(proposal())).await.unwrap();
    assert!(matches!(later, CommitOutcome::Unavailable));
}

async fn list_alerts_page(
    client: &Client,
    request: &ListAlertsRequest,
    page_token: String,
) -> ListAlertsResponse {
    let request = ListAlertsRequest { page_token, ..request.clone() };
    client.call(oversight_service::LIST_ALERTS, &request).await.unwrap().message
}

/// Waits until a placement has an alert in this state.
async fn wait_for_alert(client: &Client, placement: &str, state: AlertState) -> Alert {
    let request = ListAlertsRequest { placement_id: placement.to_owned(), ..ListAlertsRequest::default() };
    let waiting = async {
        loop {
            let found = list_alerts_page(client, &request, String::new()).await.alerts;
            if let Some(found) = found.into_iter().find(|found| found.state() == state) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(MAX_WAIT, waiting).await.unwrap()
}

/// Shares and acknowledges a passport, which resolves the open item of a placement's start.
async fn share_and_acknowledge(la: &Client, riverside: &Client, placement: &str, etag: &str) {
    share_passport(la, placement, etag).await.unwrap();
    acknowledge(riverside, placement, DeliveryStage::ActedOn).await;
}

/// Checks that a damaged placement affects no other. Its alert is raised after the repair. Its id is older than
/// that of another alert, as if another node had raised it; it is still listed after the page that was read before,
/// and is closed like any other.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_damaged_record_stops_no_other_childs_alerts() {
    let served = InProcessNode::new().await;
    let mut stage = Fixtures::create(served.dir.path(), Randomness::system()).await;
    let mut started = [
        start_without_acknowledgement(&mut stage).await,
        start_without_acknowledgement(&mut stage).await,
        start_without_acknowledgement(&mut stage).await,
    ];
    drop(stage);
    // The scheduler checks the lowest id first.
    started.sort();
    let [damaged, good, other] = &started;
    let (la, riverside) = (served.client("la-a").await, served.client("provider-a").await);
    // Sealed data is bound to its version, so it cannot be opened now.
    let damage = "UPDATE placements SET version = version + 100 WHERE id = $1";
    served.execute(damage, damaged).await;
    served.clock.set("2026-12-01T08:00:00Z");
    wait_for_alert(&la, good, AlertState::Open).await;
    let first = wait_for_alert(&la, other, AlertState::Open).await;
    assert!(served.is_serving(), "a damaged record is logged and does not change the health status");
    let etag = put_passport(&la, good, "").await.unwrap().etag;
    share_and_acknowledge(&la, &riverside, good, &etag).await;
    wait_for_alert(&la, good, AlertState::Closed).await;
    let all = ListAlertsRequest { page_size: 1, ..ListAlertsRequest::default() };
    let (mut token, mut listed) = (String::new(), Vec::new());
    loop {
        let read = list_alerts_page(&la, &all, token.clone()).await;
        if read.next_page_token.is_empty() {
            break;
        }
        listed.extend(read.alerts);
        token = read.next_page_token;
    }
    // The clock is set back, so the id is older than the other's although its index in the log is newer.
    served.clock.set("2026-12-01T06:00:00Z");
    let whole = "UPDATE placements SET version = version - 100 WHERE id = $1";
    served.execute(whole, damaged).await;
    let late = wait_for_alert(&la, damaged, AlertState::Open).await;
    assert!(late.alert_id < first.alert_id);
    while !token.is_empty() {
        let read = list_alerts_page(&la, &all, token).await;
        listed.extend(read.alerts);
        token = read.next_page_token;
    }
    assert!(listed.iter().any(|listed| listed.alert_id == late.alert_id), "a page token skips no alert");
    share_and_acknowledge(&la, &riverside, damaged, &etag).await;
    wait_for_alert(&la, damaged, AlertState::Closed).await;
    served.node.stop().await;
}
