//! The sandbox that tests run against, on SQLite or PostgreSQL, and helpers around it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ap_gateway::cli::sandbox::ClockMode;
use ap_gateway::cli::{Failure, profile, sandbox};
use ap_gateway::client::Client;
use ap_gateway::clock::Randomness;
use ap_gateway::proto::v1::{Delivery, ListDeliveriesRequest, delivery_service};
use ap_gateway::store::{Committer, Database, DatabaseLocation, InFlightPermit, ProposalQueue};
use tempfile::TempDir;

use super::limits;
pub use super::postgres::{Postgres, is_root, run};

/// The time at which the clock of every test sandbox stands.
pub const NOW: &str = "2026-11-20T16:00:00Z";

/// A sandbox that is served in this process.
pub struct World {
    /// The sandbox's folder.
    pub dir: TempDir,
    served: sandbox::RunningSandbox,
    postgres: Option<Postgres>,
}

impl World {
    pub async fn sqlite() -> Self {
        Self::start(TempDir::new().unwrap(), None, NOW, &Randomness::system()).await
    }

    pub async fn postgres() -> Self {
        Self::with_postgres(Postgres::start()).await
    }

    /// Starts a sandbox in the database of this server.
    pub async fn with_postgres(postgres: Postgres) -> Self {
        Self::start(TempDir::new().unwrap(), Some(postgres), NOW, &Randomness::system()).await
    }

    /// Starts a sandbox that draws ids, keys, salts and nonces from a seed; it may share the certificates of
    /// another one.
    pub async fn seeded(seed: &[u8], certificates: Option<&Self>, postgres: Option<Postgres>) -> Self {
        let dir = TempDir::new().unwrap();
        if let Some(other) = certificates {
            let files = ["ca.pem", "ca.key", "ca.crl", "certs"].map(|file| other.dir.path().join(file));
            run(Command::new("cp").arg("-R").args(files).arg(dir.path()));
        }
        Self::start(dir, postgres, NOW, &Randomness::seeded(seed)).await
    }

    /// Starts a sandbox whose clock stands at an instant.
    pub async fn start(dir: TempDir, postgres: Option<Postgres>, clock: &str, random: &Randomness) -> Self {
        limits::watch();
        let url = postgres.as_ref().map(|postgres| postgres.url_file.clone());
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let served = sandbox::start(dir.path(), local, ClockMode::HeldAt(clock), url.as_deref(), random)
            .await
            .unwrap();
        Self { dir, served, postgres }
    }

    /// Serves an existing folder.
    pub async fn serve(dir: TempDir) -> Self {
        Self::serve_database(dir, None).await
    }

    /// Serves an existing folder whose database is in a PostgreSQL server, or in the folder.
    pub async fn serve_database(dir: TempDir, postgres: Option<Postgres>) -> Self {
        Self::start(dir, postgres, NOW, &Randomness::system()).await
    }

    /// Restarts the sandbox with a new node.
    pub async fn restart(self) -> Self {
        self.restart_at(NOW).await
    }

    /// Restarts the sandbox with a new node whose clock stands at this instant.
    pub async fn restart_at(self, clock: &str) -> Self {
        self.served.stop().await.unwrap();
        Self::start(self.dir, self.postgres, clock, &Randomness::system()).await
    }

    /// Restarts the sandbox at this instant with a rule book in place of the embedded one.
    pub async fn with_rules(self, rules: &str, clock: &str) -> Self {
        let (settings, file) = (self.dir.path().join("gateway.toml"), self.dir.path().join("rules.toml"));
        std::fs::write(file, rules).unwrap();
        let text = std::fs::read_to_string(&settings).unwrap();
        std::fs::write(&settings, text + "\n[oversight]\nrules = \"rules.toml\"\n").unwrap();
        self.restart_at(clock).await
    }

    /// Runs what is due of oversight, as the node does every second.
    pub async fn run_oversight(&self) {
        self.served.alerts.lock().await.tick().await;
    }

    pub async fn client(&self, name: &str) -> Client {
        profile::connect(&sandbox::profile_path(self.dir.path(), name)).await.unwrap().without_retries()
    }

    /// Returns the ids of the placements that one organisation commissions with another.
    pub fn placements(&self, commissioner: &str, provider: &str) -> Vec<String> {
        let world = sandbox::world::load(self.dir.path()).unwrap();
        let placed = world.placements.into_iter();
        placed
            .filter(|placed| placed.commissioner == commissioner && placed.provider == provider)
            .map(|placed| placed.placement_id)
            .collect()
    }

    pub fn address(&self) -> SocketAddr {
        self.served.address
    }

    /// Returns the committer's queue. A test holds it to collect proposals into one group.
    pub fn queue(&self) -> &ProposalQueue {
        self.served.committer.queue()
    }

    pub fn committer(&self) -> &Committer {
        &self.served.committer
    }

    /// Reserves all slots for in-flight exchanges of an organisation; dropping them frees the slots.
    pub fn occupy_slots(&self, organisation: &str) -> Vec<InFlightPermit> {
        std::iter::from_fn(|| self.served.committer.reserve(organisation)).collect()
    }

    /// Waits until the held queue contains this many proposals. Requests that are sent one after the other are thus
    /// queued in that order.
    pub async fn wait_for_queued(&self, proposals: usize) {
        for _ in 0..5_000 {
            if self.queue().len() == proposals {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("{} proposals wait, not {proposals}", self.queue().len());
    }

    /// Returns the PostgreSQL server of the sandbox.
    pub fn postgres_server(&self) -> &Postgres {
        self.postgres.as_ref().unwrap()
    }

    /// Opens a second handle to the sandbox's database.
    pub async fn database(&self) -> Database {
        Database::open(&self.location()).await.unwrap()
    }

    fn location(&self) -> DatabaseLocation {
        match &self.postgres {
            Some(postgres) => {
                DatabaseLocation::Postgres(std::fs::read_to_string(&postgres.url_file).unwrap())
            }
            None => DatabaseLocation::Sqlite(self.dir.path().join("gateway.sqlite")),
        }
    }

    /// Crashes the sandbox's PostgreSQL and starts it again.
    pub fn crash_postgres(&self) {
        self.postgres.as_ref().unwrap().crash();
    }

    /// Advances the sandbox's clock.
    pub fn advance(&self, to: &str) {
        self.served.clock.as_ref().unwrap().advance_to(to.parse().unwrap()).unwrap();
    }

    /// Waits until the node ends by itself.
    pub async fn ended(mut self) -> Result<(), Failure> {
        self.served.ended().await
    }

    pub async fn stop(self) -> TempDir {
        self.served.stop().await.unwrap();
        self.dir
    }

    /// Stops serving and keeps the database, also one in a PostgreSQL server.
    pub async fn stop_serving(self) -> (TempDir, Option<Postgres>) {
        self.served.stop().await.unwrap();
        (self.dir, self.postgres)
    }
}

/// Sends an empty gRPC message with curl as la-a, and returns headers, body and trailers as text.
pub fn curl_post(dir: &Path, address: SocketAddr, path: &str) -> String {
    let message = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(message.path(), [0; 5]).unwrap();
    let mut curl = Command::new("curl");
    curl.args(["-s", "--http2", "-H", "content-type: application/grpc", "-H", "te: trailers", "-D", "-"]);
    curl.arg("--data-binary").arg(format!("@{}", message.path().display()));
    curl.arg("--cacert").arg(dir.join("ca.pem")).arg("--cert").arg(dir.join("certs/la-a.pem"));
    curl.arg("--key").arg(dir.join("certs/la-a.key"));
    run(curl.arg(format!("https://{address}{path}")))
}

/// Returns all deliveries in the mailbox of an organisation.
pub async fn deliveries(client: &Client) -> Vec<Delivery> {
    let (mut cursor, mut found) = (None, Vec::new());
    loop {
        let request = ListDeliveriesRequest { cursor, ..ListDeliveriesRequest::default() };
        let page = client.call(delivery_service::LIST_DELIVERIES, &request).await.unwrap().message;
        found.extend(page.deliveries);
        cursor = page.next;
        if !page.more {
            return found;
        }
    }
}

/// Returns a command that runs the binary under test.
pub fn gateway() -> Command {
    limits::watch();
    Command::new(env!("CARGO_BIN_EXE_ap-gateway"))
}

/// Returns a command that runs as root, with sudo if necessary.
pub fn as_root(name: &str) -> Command {
    let mut command = Command::new(if is_root() { name } else { "sudo" });
    if !is_root() {
        command.arg(name);
    }
    command
}

/// Returns the path of a tool that `tests/install` installed.
pub fn installed_tool(name: &str) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools");
    let tools = std::env::var_os("AP_GATEWAY_TEST_TOOLS").map_or(here, PathBuf::from);
    let tool = tools.join(name);
    assert!(tool.exists(), "{name} is missing: run tests/run, which installs what the tests need");
    tool
}
