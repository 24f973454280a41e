//! A sandbox on either database, for a test.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ap_gateway::cli::sandbox::Time;
use ap_gateway::cli::{profile, sandbox};
use ap_gateway::client::Client;
use ap_gateway::clock::Randomness;
use ap_gateway::proto::v1::{Delivery, ListDeliveriesRequest, delivery_service};
use ap_gateway::store::{Database, Location, Queue, Slot};
use tempfile::TempDir;

use super::limits;
pub use super::postgres::{Postgres, is_root, run};

/// When the sandboxes of the tests stand.
pub const NOW: &str = "2026-11-20T16:00:00Z";

/// A sandbox that is served in this process.
pub struct World {
    /// Its folder.
    pub dir: TempDir,
    served: sandbox::Served,
    postgres: Option<Postgres>,
}

impl World {
    pub async fn sqlite() -> Self {
        Self::start(TempDir::new().unwrap(), None, NOW, &Randomness::system()).await
    }

    pub async fn postgres() -> Self {
        Self::of(Postgres::start()).await
    }

    /// A world in the database of a server.
    pub async fn of(postgres: Postgres) -> Self {
        Self::start(TempDir::new().unwrap(), Some(postgres), NOW, &Randomness::system()).await
    }

    /// A world whose ids, keys, salts and nonces come from a seed, with the certificates of another one.
    pub async fn seeded(seed: &[u8], certificates: Option<&Self>, postgres: Option<Postgres>) -> Self {
        let dir = TempDir::new().unwrap();
        if let Some(other) = certificates {
            let files = ["ca.pem", "ca.key", "ca.crl", "certs"].map(|file| other.dir.path().join(file));
            run(Command::new("cp").arg("-R").args(files).arg(dir.path()));
        }
        Self::start(dir, postgres, NOW, &Randomness::seeded(seed)).await
    }

    async fn start(dir: TempDir, postgres: Option<Postgres>, clock: &str, random: &Randomness) -> Self {
        limits::watch();
        let url = postgres.as_ref().map(|postgres| postgres.url_file.clone());
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let served =
            sandbox::start(dir.path(), local, Time::Held(clock), url.as_deref(), random).await.unwrap();
        Self { dir, served, postgres }
    }

    /// Serves what is in the folder.
    pub async fn serve(dir: TempDir) -> Self {
        Self::start(dir, None, NOW, &Randomness::system()).await
    }

    /// The same world, served by a new node.
    pub async fn restart(self) -> Self {
        self.restart_at(NOW).await
    }

    /// The same world, served by a new node from this instant on.
    pub async fn restart_at(self, clock: &str) -> Self {
        self.served.stop().await.unwrap();
        Self::start(self.dir, self.postgres, clock, &Randomness::system()).await
    }

    pub async fn client(&self, name: &str) -> Client {
        profile::connect(&sandbox::profile(self.dir.path(), name)).await.unwrap().without_retries()
    }

    /// Placements that one of the world commissions with another.
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

    /// The committer's queue, which a test holds to fill a group.
    pub fn queue(&self) -> &Queue {
        self.served.committer.queue()
    }

    /// Takes every place among an organisation's exchanges under way, until they are dropped.
    pub fn occupied(&self, organisation: &str) -> Vec<Slot> {
        std::iter::from_fn(|| self.served.committer.reserve(organisation)).collect()
    }

    /// Waits until this many proposals wait in the held queue, so that those sent one after the other stand in
    /// that order.
    pub async fn queued(&self, proposals: usize) {
        for _ in 0..5_000 {
            if self.queue().len() == proposals {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("{} proposals wait, not {proposals}", self.queue().len());
    }

    /// The world's database, opened once more.
    pub async fn database(&self) -> Database {
        Database::open(&self.location()).await.unwrap()
    }

    fn location(&self) -> Location {
        match &self.postgres {
            Some(postgres) => Location::Postgres(std::fs::read_to_string(&postgres.url_file).unwrap()),
            None => Location::Sqlite(self.dir.path().join("gateway.sqlite")),
        }
    }

    /// Lets the world's PostgreSQL crash, and come back.
    pub fn crash_postgres(&self) {
        self.postgres.as_ref().unwrap().crash();
    }

    /// Moves the clock of the domain on.
    pub fn advance(&self, to: &str) {
        self.served.clock.as_ref().unwrap().advance_to(to.parse().unwrap()).unwrap();
    }

    pub async fn stop(self) -> TempDir {
        self.served.stop().await.unwrap();
        self.dir
    }
}

/// POSTs an empty gRPC message to a sandbox with curl, as la-a: headers, body and trailers as they came.
pub fn post(dir: &Path, address: SocketAddr, path: &str) -> String {
    let message = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(message.path(), [0; 5]).unwrap();
    let mut curl = Command::new("curl");
    curl.args(["-s", "--http2", "-H", "content-type: application/grpc", "-H", "te: trailers", "-D", "-"]);
    curl.arg("--data-binary").arg(format!("@{}", message.path().display()));
    curl.arg("--cacert").arg(dir.join("ca.pem")).arg("--cert").arg(dir.join("certs/la-a.pem"));
    curl.arg("--key").arg(dir.join("certs/la-a.key"));
    run(curl.arg(format!("https://{address}{path}")))
}

/// Everything that was ever delivered to an organisation.
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

/// The binary under test.
pub fn gateway() -> Command {
    limits::watch();
    Command::new(env!("CARGO_BIN_EXE_ap-gateway"))
}

/// A command that needs root's rights.
pub fn as_root(name: &str) -> Command {
    let mut command = Command::new(if is_root() { name } else { "sudo" });
    if !is_root() {
        command.arg(name);
    }
    command
}

/// A tool that `tests/install` put in its folder.
pub fn tool(name: &str) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools");
    let tools = std::env::var_os("AP_GATEWAY_TEST_TOOLS").map_or(here, PathBuf::from);
    let tool = tools.join(name);
    assert!(tool.exists(), "{name} is missing: run tests/run, which installs what the tests need");
    tool
}
