//! A sandbox on either database, for a test; and PostgreSQL from the system's binaries.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ap_gateway::cli::{profile, sandbox};
use ap_gateway::client::Client;
use ap_gateway::clock::Randomness;
use ap_gateway::proto::v1::{Delivery, ListDeliveriesRequest, delivery_service};
use ap_gateway::store::{Database, Location, Queue};
use tempfile::TempDir;

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
        Self::start(TempDir::new().unwrap(), None, &Randomness::system()).await
    }

    pub async fn postgres() -> Self {
        Self::of(Postgres::start()).await
    }

    /// A world in the database of a server.
    pub async fn of(postgres: Postgres) -> Self {
        Self::start(TempDir::new().unwrap(), Some(postgres), &Randomness::system()).await
    }

    /// A world whose ids, keys, salts and nonces come from a seed, with the certificates of another one.
    pub async fn seeded(seed: &[u8], certificates: Option<&Self>, postgres: Option<Postgres>) -> Self {
        let dir = TempDir::new().unwrap();
        if let Some(other) = certificates {
            let files = ["ca.pem", "ca.key", "ca.crl", "certs"].map(|file| other.dir.path().join(file));
            run(Command::new("cp").arg("-R").args(files).arg(dir.path()));
        }
        Self::start(dir, postgres, &Randomness::seeded(seed)).await
    }

    async fn start(dir: TempDir, postgres: Option<Postgres>, random: &Randomness) -> Self {
        let url = postgres.as_ref().map(|postgres| postgres.url_file.clone());
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let served = sandbox::start(dir.path(), local, Some(NOW), url.as_deref(), random).await.unwrap();
        Self { dir, served, postgres }
    }

    /// Serves what is in the folder.
    pub async fn serve(dir: TempDir) -> Self {
        Self::start(dir, None, &Randomness::system()).await
    }

    /// The same world, served by a new node.
    pub async fn restart(self) -> Self {
        self.served.stop().await.unwrap();
        Self::start(self.dir, self.postgres, &Randomness::system()).await
    }

    pub async fn client(&self, name: &str) -> Client {
        profile::connect(&sandbox::profile(self.dir.path(), name)).await.unwrap()
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

/// Runs a command to its end; what it printed, when it succeeded.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{out}\n{err}");
    out.into_owned()
}

/// A PostgreSQL server of its own, stopped when it is dropped.
pub struct Postgres {
    dir: TempDir,
    pub url_file: PathBuf,
}

impl Postgres {
    pub fn start() -> Self {
        Self::with("")
    }

    /// A server with further options of its command line.
    pub fn with(options: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("ap-gateway-pg").tempdir().unwrap();
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(dir.path()));
            run(Command::new("chmod").arg("755").arg(dir.path()));
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (data, log) = (dir.path().join("data"), dir.path().join("log"));
        run(postgres_binary("initdb").args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "-D"]).arg(&data));
        let options =
            format!("{options} -p {port} -c listen_addresses=127.0.0.1 -k {}", dir.path().display());
        run(postgres_binary("pg_ctl")
            .args(["-w", "-o", &options, "-l"])
            .arg(log)
            .arg("-D")
            .arg(&data)
            .arg("start"));
        let url_file = dir.path().join("url");
        std::fs::write(&url_file, format!("postgres://postgres@127.0.0.1:{port}/postgres")).unwrap();
        Self { dir, url_file }
    }
}

impl Postgres {
    /// What the server itself has logged.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.dir.path().join("log")).unwrap()).into_owned()
    }

    /// Ends it as a crash would, and starts it again.
    fn crash(&self) {
        let (data, log) = (self.dir.path().join("data"), self.dir.path().join("log"));
        let mut restart = postgres_binary("pg_ctl");
        run(restart.args(["-w", "-m", "immediate", "-l"]).arg(log).arg("-D").arg(data).arg("restart"));
    }

    /// Everything in the database, as `pg_dump` writes it.
    pub fn dump(&self) -> String {
        let url = std::fs::read_to_string(&self.url_file).unwrap();
        run(postgres_binary("pg_dump").args(["-d", &url]))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let data = self.dir.path().join("data");
        postgres_binary("pg_ctl").args(["-w", "-m", "immediate", "-D"]).arg(data).arg("stop").output().ok();
    }
}

/// PostgreSQL refuses to run as root: then its own user runs it.
fn postgres_binary(name: &str) -> Command {
    let versions = std::fs::read_dir("/usr/lib/postgresql").unwrap();
    let newest = versions.map(|version| version.unwrap().path()).max().unwrap();
    let binary = newest.join("bin").join(name);
    let mut command = Command::new(if is_root() { Path::new("runuser") } else { &binary });
    if is_root() {
        command.args(["-u", "postgres", "--"]).arg(binary);
    }
    // A server that inherits the pipes would keep them open.
    command.current_dir("/").stdin(std::process::Stdio::null());
    command
}

fn is_root() -> bool {
    run(Command::new("id").arg("-u")).trim() == "0"
}
