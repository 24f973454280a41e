//! Several nodes over one PostgreSQL, each a process of its own.

mod alerts;
mod failover;
mod rotation;
mod together;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ap_gateway::audit::verify::{Options, database};
use ap_gateway::cli::{profile, sandbox};
use ap_gateway::client::Client;
use ap_gateway::proto::v1::SubmitAttendanceRequest;
use ap_gateway::store::{Database, Location, Row};
use ap_gateway::tlog::Lineage;
use prost::Message;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::faults::late;
use super::process::Process;
use super::story::{submission, submit};
use super::support::{Postgres, gateway, run};

/// Clients at once, each with a connection to either node.
const CLIENTS: usize = 8;
/// How long a client waits for one node before it asks the other.
const SOON: Duration = Duration::from_secs(2);
/// The bound within which somebody answers, whatever has happened.
const BOUND: Duration = Duration::from_secs(30);
/// The nodes' names: each has a folder, and in it an anchor of its own.
const NODES: [&str; 2] = ["one", "two"];

/// A sandbox in a PostgreSQL, and a folder for each of its nodes.
struct Nodes {
    postgres: Postgres,
    folder: TempDir,
    /// Placements with provider-a.
    placements: Vec<String>,
    marks: AtomicUsize,
}

/// A request with what it was answered: reply and receipt, to the byte.
type Answered = (SubmitAttendanceRequest, Vec<u8>);

impl Nodes {
    /// Folders that are not being served yet.
    fn over(postgres: Postgres) -> Self {
        let folder = TempDir::new().unwrap();
        let [one, two] = NODES.map(|name| folder.path().join(name));
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
        NODES.map(|node| Process::serve(&self.dir(node)))
    }

    async fn client(&self, node: &str, name: &str) -> Client {
        profile::connect(&sandbox::profile(&self.dir(node), name)).await.unwrap().without_retries()
    }

    /// A client of each node.
    async fn clients(&self) -> [Client; 2] {
        [self.client(NODES[0], "provider-a").await, self.client(NODES[1], "provider-a").await]
    }

    /// A mark of a child's session, another one each time.
    fn mark(&self) -> SubmitAttendanceRequest {
        let number = self.marks.fetch_add(1, Ordering::Relaxed);
        let placement = &self.placements[number % self.placements.len()];
        submission(vec![late(placement, number / self.placements.len())])
    }

    /// A mark that is sent by one client after the other until it is answered, for half a minute at most.
    async fn answered(&self, clients: &[Client]) -> Answered {
        let request = self.mark();
        let begun = Instant::now();
        for client in clients.iter().cycle() {
            if let Some(first) = answer(client, &request, SOON).await {
                return (request, first);
            }
            assert!(begun.elapsed() < BOUND, "not answered within {BOUND:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        unreachable!()
    }

    fn location(&self) -> Location {
        Location::Postgres(std::fs::read_to_string(&self.postgres.url_file).unwrap())
    }

    async fn query(&self, sql: &'static str) -> Vec<Row> {
        let database = Database::open(&self.location()).await.unwrap();
        let rows = database.reader().await.unwrap().fetch(sql, vec![]).await.unwrap();
        database.close().await;
        rows
    }

    /// One contiguous log of more entries than these, which continues what each node's anchor knows.
    async fn verifies(&self, entries: usize) {
        for node in NODES {
            let file = |name: &str| self.dir(node).join(name);
            let options = Options {
                database: self.location(),
                log_key: Lineage::parse(std::fs::read_to_string(file("log-key")).unwrap().trim()).unwrap(),
                anchor: Some(file("anchor")),
                key_ring: Some(file("key-ring")),
            };
            let report = database(&options).await.unwrap();
            assert_eq!(report.findings, []);
            assert!(report.entries > entries as u64);
        }
    }

    /// The log verifies; every request is stored once, and gets the bytes again that it got first, on whichever
    /// node is served.
    async fn hold(&self, answered: &[Answered]) {
        self.verifies(answered.len()).await;
        assert_eq!(self.query("SELECT idx FROM marks").await.len(), answered.len());
        for node in NODES {
            let server = Process::serve(&self.dir(node));
            let client = self.client(node, "provider-a").await;
            for (request, first) in answered {
                assert_eq!(answer(&client, request, BOUND).await.as_ref(), Some(first));
            }
            drop(server);
        }
    }
}

/// Clients that send one mark after the other to whichever node answers.
struct Load {
    clients: JoinSet<Vec<Answered>>,
    ended: Arc<AtomicBool>,
}

impl Load {
    async fn on(nodes: &Arc<Nodes>) -> Self {
        Self::paced(nodes, CLIENTS, Duration::from_millis(20)).await
    }

    /// So many clients, each with a pause between two marks.
    async fn paced(nodes: &Arc<Nodes>, number: usize, pause: Duration) -> Self {
        let (mut clients, ended) = (JoinSet::new(), Arc::new(AtomicBool::new(false)));
        for _ in 0..number {
            let (nodes, ended, of) = (Arc::clone(nodes), Arc::clone(&ended), nodes.clients().await);
            clients.spawn(async move {
                let mut answered = Vec::new();
                while !ended.load(Ordering::Relaxed) {
                    answered.push(nodes.answered(&of).await);
                    tokio::time::sleep(pause).await;
                }
                answered
            });
        }
        Self { clients, ended }
    }

    async fn end(self) -> Vec<Answered> {
        self.ended.store(true, Ordering::Relaxed);
        self.clients.join_all().await.concat()
    }
}

/// What a request is answered, if it is in this time: a node may be stopped or gone.
async fn answer(client: &Client, request: &SubmitAttendanceRequest, within: Duration) -> Option<Vec<u8>> {
    let reply = tokio::time::timeout(within, submit(client, request)).await.ok()?.ok()?;
    Some([reply.message.encode_to_vec(), reply.receipt.encode_to_vec()].concat())
}
