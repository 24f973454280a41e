//! Several nodes on one PostgreSQL, each in its own process.

mod added;
mod alerts;
mod break_glass;
mod durability;
mod failover;
mod rotation;
mod tokens;
mod two_nodes;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ap_gateway::audit::verify::{VerifyOptions, verify_database};
use ap_gateway::cli::{profile, sandbox};
use ap_gateway::client::Client;
use ap_gateway::proto::v1::SubmitAttendanceRequest;
use ap_gateway::store::{Database, DatabaseLocation, Row};
use ap_gateway::tlog::LogKeyHistory;
use prost::Message;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::exchange_semantics::{submission, submit};
use super::faults::late_mark;
use super::process::Process;
use super::support::{Postgres, gateway, run};

/// Concurrent clients, each connected to both nodes.
const CONCURRENT_CLIENTS: usize = 8;
/// Time after which a client tries the other node.
const FAILOVER_TIMEOUT: Duration = Duration::from_secs(2);
/// Time limit until any node answers.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// The names of the nodes. Each has its own folder with its own anchor.
const NODE_NAMES: [&str; 2] = ["one", "two"];

/// A sandbox in a PostgreSQL database, with a folder for each node.
struct Nodes {
    postgres: Postgres,
    folder: TempDir,
    /// The ids of placements with provider-a.
    placements: Vec<String>,
    marks: AtomicUsize,
}

/// A request with its response: reply and receipt as bytes.
type AnsweredRequest = (SubmitAttendanceRequest, Vec<u8>);

impl Nodes {
    /// Creates the sandbox and the folders; no node runs yet.
    fn new(postgres: Postgres) -> Self {
        let folder = TempDir::new().unwrap();
        let [one, two] = NODE_NAMES.map(|name| folder.path().join(name));
        let url = [Path::new("--postgres-url-file"), &postgres.url_file].map(Path::as_os_str);
        drop(Process::start(gateway(), &one, &url));
        run(Command::new("cp").arg("-a").args([&one, &two]));
        let placed = sandbox::world::load(&one).unwrap().placements.into_iter();
        let placed = placed.filter(|placed| placed.provider == "provider-a");
        let placements = placed.map(|placed| placed.placement_id).collect();
        Self { postgres, folder, placements, marks: AtomicUsize::new(0) }
    }

    fn dir(&self, node: &str) -> PathBuf {
        self.folder.path().join(node)
    }

    fn serve(&self) -> [Process; 2] {
        NODE_NAMES.map(|node| Process::serve(&self.dir(node)))
    }

    async fn client(&self, node: &str, name: &str) -> Client {
        profile::connect(&sandbox::profile_path(&self.dir(node), name)).await.unwrap().without_retries()
    }

    /// Returns a client of each node.
    async fn clients(&self) -> [Client; 2] {
        [self.client(NODE_NAMES[0], "provider-a").await, self.client(NODE_NAMES[1], "provider-a").await]
    }

    /// Builds a submission of one mark, of another session each time.
    fn next_mark(&self) -> SubmitAttendanceRequest {
        let number = self.marks.fetch_add(1, Ordering::Relaxed);
        let placement = &self.placements[number % self.placements.len()];
        submission(vec![late_mark(placement, number / self.placements.len())])
    }

    /// Sends a mark with one client after the other until it is answered, for at most 30 seconds.
    async fn submit_until_answered(&self, clients: &[Client]) -> AnsweredRequest {
        let request = self.next_mark();
        let begun = Instant::now();
        for client in clients.iter().cycle() {
            if let Some(first) = submit_within(client, &request, FAILOVER_TIMEOUT).await {
                return (request, first);
            }
            assert!(begun.elapsed() < MAX_WAIT, "not answered within {MAX_WAIT:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        unreachable!()
    }

    fn location(&self) -> DatabaseLocation {
        DatabaseLocation::Postgres(std::fs::read_to_string(&self.postgres.url_file).unwrap())
    }

    async fn query(&self, sql: &'static str) -> Vec<Row> {
        let database = Database::open(&self.location()).await.unwrap();
        let rows = database.reader().await.unwrap().fetch(sql, vec![]).await.unwrap();
        database.close().await;
        rows
    }

    /// Verifies the log against the anchor of each node, and asserts that it has more than `entries` entries.
    async fn assert_log_verifies(&self, entries: usize) {
        for node in NODE_NAMES {
            let file = |name: &str| self.dir(node).join(name);
            let options = VerifyOptions {
                database: self.location(),
                log_key: LogKeyHistory::parse(std::fs::read_to_string(file("log-key")).unwrap().trim())
                    .unwrap(),
                anchor: Some(file("anchor")),
                key_ring: Some(file("key-ring")),
                commitment_key: Some(file("commitment-key")),
            };
            let report = verify_database(&options, &ap_gateway::gateway::tables()).await.unwrap();
            assert_eq!(report.findings, []);
            assert!(report.entries > entries as u64);
        }
    }

    /// Asserts that the log verifies, that every request is stored once, and that each node answers it again with
    /// the same bytes.
    async fn assert_stored_once(&self, answered: &[AnsweredRequest]) {
        self.assert_log_verifies(answered.len()).await;
        assert_eq!(self.query("SELECT idx FROM marks").await.len(), answered.len());
        for node in NODE_NAMES {
            let server = Process::serve(&self.dir(node));
            let client = self.client(node, "provider-a").await;
            for (request, first) in answered {
                assert_eq!(submit_within(&client, request, MAX_WAIT).await.as_ref(), Some(first));
            }
            drop(server);
        }
    }
}

/// Clients that send marks one by one to whichever node answers.
struct Load {
    clients: JoinSet<Vec<AnsweredRequest>>,
    ended: Arc<AtomicBool>,
}

impl Load {
    async fn start(nodes: &Arc<Nodes>) -> Self {
        Self::start_paced(nodes, CONCURRENT_CLIENTS, Duration::from_millis(20)).await
    }

    /// Starts `number` clients, each with a pause between two marks.
    async fn start_paced(nodes: &Arc<Nodes>, number: usize, pause: Duration) -> Self {
        let (mut clients, ended) = (JoinSet::new(), Arc::new(AtomicBool::new(false)));
        for _ in 0..number {
            let (nodes, ended, pair) = (Arc::clone(nodes), Arc::clone(&ended), nodes.clients().await);
            clients.spawn(async move {
                let mut answered = Vec::new();
                while !ended.load(Ordering::Relaxed) {
                    answered.push(nodes.submit_until_answered(&pair).await);
                    tokio::time::sleep(pause).await;
                }
                answered
            });
        }
        Self { clients, ended }
    }

    async fn stop(self) -> Vec<AnsweredRequest> {
        self.ended.store(true, Ordering::Relaxed);
        self.clients.join_all().await.concat()
    }
}

/// Sends a request and returns its response if it arrives in time, because a node may be stopped or gone.
async fn submit_within(
    client: &Client,
    request: &SubmitAttendanceRequest,
    within: Duration,
) -> Option<Vec<u8>> {
    let reply = tokio::time::timeout(within, submit(client, request)).await.ok()?.ok()?;
    Some([reply.message.encode_to_vec(), reply.receipt.encode_to_vec()].concat())
}
