//! The gateway as a process of its own: started, followed or hindered by strace, killed, seen to end.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use ap_gateway::cli::{audit, profile, sandbox};
use ap_gateway::client::Client;
use ap_gateway::store::{Database, Location, Row};
use tempfile::TempDir;

use super::limits;
use super::support::{NOW, as_root, gateway, run};

/// A sandbox that is served by the binary; killed when it is dropped.
pub struct Process {
    child: Child,
    address: SocketAddr,
}

/// strace on a running process; dropping it lets the process go on unhindered.
pub struct Hindrance(Child);

/// A sandbox's folder, served by processes one after the other.
pub struct Sandbox {
    dir: TempDir,
    /// A placement with provider-a.
    pub placement: String,
}

impl Sandbox {
    /// A sandbox that was made and is not being served.
    pub fn new() -> Self {
        Self::inside(&std::env::temp_dir())
    }

    /// The same inside a folder.
    pub fn inside(folder: &Path) -> Self {
        let dir = TempDir::new_in(folder).unwrap();
        drop(Process::serve(dir.path()));
        let placed = sandbox::world::load(dir.path()).unwrap().placements;
        let placed = placed.into_iter().find(|placed| placed.provider == "provider-a").unwrap();
        Self { dir, placement: placed.placement_id }
    }

    /// Folds the write-ahead log back so often that it happens under a test's load.
    pub fn folding(self) -> Self {
        fold_often(self.path());
        self
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub async fn client(&self, name: &str) -> Client {
        profile::connect(&sandbox::profile(self.path(), name)).await.unwrap().without_retries()
    }

    /// What the database holds, while nobody serves it.
    pub async fn query(&self, sql: &'static str) -> Vec<Row> {
        let database = Database::open(&Location::Sqlite(self.path().join("gateway.sqlite"))).await.unwrap();
        let rows = database.reader().await.unwrap().fetch(sql, vec![]).await.unwrap();
        database.close().await;
        rows
    }

    /// The whole log verifies, against the anchor and with the kept records.
    pub async fn verifies(&self) {
        let file = |name| self.path().join(name);
        let log_key = std::fs::read_to_string(file("log-key")).unwrap();
        let (database, anchor, ring) = (file("gateway.sqlite"), file("anchor"), file("key-ring"));
        let report = audit::verify_copy(&database, &log_key, Some(&anchor), Some(&ring)).await.unwrap();
        assert_eq!(report.findings, []);
        assert!(report.records > 0);
    }
}

impl Process {
    /// Serves the sandbox in a folder, and makes it where there is none.
    pub fn serve(dir: &Path) -> Self {
        Self::start(gateway(), dir, &[])
    }

    /// The same under strace. It is the gateway's grandchild, so that the process that ends is the gateway.
    pub fn traced(dir: &Path, strace: &[&str]) -> Self {
        let mut command = Command::new("strace");
        command.args(["-D", "-f", "-q"]).args(strace).arg(gateway().get_program());
        Self::start(command, dir, &[])
    }

    /// However the binary is to be run, and with what further options of `sandbox`.
    pub fn start(mut command: Command, dir: &Path, further: &[&OsStr]) -> Self {
        limits::watch();
        command.args(["sandbox", "--clock", NOW, "--dir"]).arg(dir).args(further).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = child.stdout.take().unwrap();
        let (to, first) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            BufReader::new(out).read_line(&mut line).ok();
            to.send(line).ok();
        });
        let Ok(line) = first.recv_timeout(READY) else {
            child.kill().ok();
            panic!("{command:?} has not said READY within {READY:?}");
        };
        let address = line.trim().strip_prefix("READY ").unwrap().parse().unwrap();
        Self { child, address }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Kills it as a power cut would end it, and waits until strace has written its trace.
    pub fn cut(self, trace: &Path) {
        let last = format!("{} ", self.child.id());
        drop(self);
        until("the trace has ended", || {
            let text = std::fs::read_to_string(trace).unwrap();
            let end = text.lines().rev().find(|line| line.starts_with(&last));
            end.is_some_and(|line| line.contains("+++ killed"))
        });
    }

    /// From now on each of these system calls on the file fails, as strace's `inject` says.
    pub fn hinder(&self, file: &Path, inject: &str) -> Hindrance {
        let mut strace = as_root("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("inject={inject}"), "-P"]).arg(file);
        let strace = strace.arg("-p").arg(self.child.id().to_string()).spawn().unwrap();
        let tasks = format!("/proc/{}/task", self.child.id());
        let followed = || {
            std::fs::read_dir(&tasks).unwrap().flatten().all(|task| {
                let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
                !status.contains("TracerPid:\t0\n")
            })
        };
        until("strace follows every thread", followed);
        Hindrance(strace)
    }

    /// Sends it a signal: `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        run(Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()));
    }

    /// Asks it to end, and waits for that as [`Process::ended`] does.
    pub fn terminated(self) -> ExitStatus {
        run(Command::new("kill").arg(self.child.id().to_string()));
        self.ended()
    }

    /// Waits until it has ended by itself, for five seconds.
    pub fn ended(self) -> ExitStatus {
        self.ended_within(BACK)
    }

    /// The same, for as long as this.
    pub fn ended_within(mut self, bound: Duration) -> ExitStatus {
        let mut status = None;
        within(bound, "the process has ended", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().unwrap();
    }
}

impl Drop for Hindrance {
    fn drop(&mut self) {
        // Asked to end, strace lets every thread go; killed, it could leave one stopped.
        run(as_root("kill").arg(self.0.id().to_string()));
        self.0.wait().unwrap();
    }
}

/// Longest start of a process, which may have a whole world to make, on a busy machine.
const READY: Duration = Duration::from_mins(1);
/// The bound within which a node is back or gone.
const BACK: Duration = Duration::from_secs(5);

fn until(what: &str, holds: impl FnMut() -> bool) {
    within(BACK, what, holds);
}

fn within(bound: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < bound, "{what}: not within {bound:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Has the gateway of a folder fold SQLite's write-ahead log back every few groups.
pub fn fold_often(dir: &Path) {
    let file = dir.join("gateway.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let often = text.replace("[database]\n", "[database]\nfold_after_pages = 500\n");
    assert_ne!(text, often);
    std::fs::write(file, often).unwrap();
}
