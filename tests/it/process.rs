//! The gateway as a separate process: start it, trace it or inject faults with strace, kill it, wait for its exit.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use ap_gateway::cli::{profile, sandbox};
use ap_gateway::client::{CheckpointStore, Client, Profile};
use ap_gateway::store::{Database, DatabaseLocation, Row};
use tempfile::TempDir;

use super::support::{NOW, as_root, gateway, run};
use super::{limits, log_verification};

/// A process of the binary that serves a sandbox. It is killed when dropped.
pub struct Process {
    child: Child,
    address: SocketAddr,
}

/// strace attached to a running process to inject faults. Dropping it detaches strace and ends the faults.
pub struct FaultInjection(Child);

/// The folder of a sandbox, which one process after the other serves.
pub struct Sandbox {
    dir: TempDir,
    /// The id of a placement with provider-a.
    pub placement: String,
}

impl Sandbox {
    /// Creates a sandbox that no process serves.
    pub fn new() -> Self {
        Self::new_in(&std::env::temp_dir())
    }

    /// Creates such a sandbox in the database of a PostgreSQL server.
    pub fn on_postgres(url_file: &Path) -> Self {
        let url = [Path::new("--postgres-url-file"), url_file].map(Path::as_os_str);
        Self::make(TempDir::new().unwrap(), &url)
    }

    /// Creates such a sandbox inside a folder.
    pub fn new_in(folder: &Path) -> Self {
        Self::make(TempDir::new_in(folder).unwrap(), &[])
    }

    fn make(dir: TempDir, further: &[&OsStr]) -> Self {
        drop(Process::start(gateway(), dir.path(), further));
        let placed = sandbox::world::load(dir.path()).unwrap().placements;
        let placed = placed.into_iter().find(|placed| placed.provider == "provider-a").unwrap();
        Self { dir, placement: placed.placement_id }
    }

    /// Configures WAL checkpoints so frequent that they happen under the load of a test.
    pub fn with_frequent_checkpoints(self) -> Self {
        checkpoint_often(self.path());
        self
    }

    /// Stops a process cleanly, which copies the write-ahead log into the database and removes it. The next start then
    /// has nothing to sync.
    pub fn remove_wal(&self) {
        assert_eq!(Process::serve(self.path()).terminate().code(), Some(0));
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub async fn client(&self, name: &str) -> Client {
        profile::connect(&sandbox::profile_path(self.path(), name)).await.unwrap().without_retries()
    }

    /// Connects with a profile of the sandbox, but keeps no checkpoints: for load, which their folder would slow down.
    pub async fn client_without_folder(&self, name: &str) -> Client {
        let (profile, _) = Profile::load(&sandbox::profile_path(self.path(), name)).unwrap();
        Client::connect(&profile, CheckpointStore::default()).await.unwrap().without_retries()
    }

    /// Runs a query on the database while no process serves it.
    pub async fn query(&self, sql: &'static str) -> Vec<Row> {
        let database =
            Database::open(&DatabaseLocation::Sqlite(self.path().join("gateway.sqlite"))).await.unwrap();
        let rows = database.reader().await.unwrap().fetch(sql, vec![]).await.unwrap();
        database.close().await;
        rows
    }

    /// Asserts that the whole database verifies against the log, with the anchor and every key.
    pub async fn assert_log_verifies(&self) {
        log_verification::assert_verifies(self.path()).await;
    }
}

impl Process {
    /// Serves the sandbox in a folder; creates it if there is none.
    pub fn serve(dir: &Path) -> Self {
        Self::start(gateway(), dir, &[])
    }

    /// Serves it under strace. strace runs as a detached grandchild (`-D`), so the child process is the gateway.
    pub fn serve_under_strace(dir: &Path, strace: &[&str]) -> Self {
        let mut command = Command::new("strace");
        command.args(["-D", "-f", "-q"]).args(strace).arg(gateway().get_program());
        Self::start(command, dir, &[])
    }

    /// Starts a sandbox with the given command and further options of `sandbox`, and waits for READY.
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
        let Ok(line) = first.recv_timeout(MAX_START_TIME) else {
            child.kill().ok();
            panic!("{command:?} has not printed READY within {MAX_START_TIME:?}");
        };
        let address = line.trim().strip_prefix("READY ").unwrap().parse().unwrap();
        Self { child, address }
    }

    /// Returns the address on which the process listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Kills the process with SIGKILL and waits until strace has written the end of its trace.
    pub fn kill_and_await_trace(self, trace: &Path) {
        let last = format!("{} ", self.child.id());
        drop(self);
        wait_until("the trace has ended", || {
            let text = std::fs::read_to_string(trace).unwrap();
            let end = text.lines().rev().find(|line| line.starts_with(&last));
            end.is_some_and(|line| line.contains("+++ killed"))
        });
    }

    /// Makes system calls on a file fail from now on, as specified by strace's `inject`.
    pub fn inject_fault(&self, file: &Path, inject: &str) -> FaultInjection {
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
        wait_until("strace follows every thread", followed);
        FaultInjection(strace)
    }

    /// Sends a signal to the process, such as `STOP` or `CONT`.
    pub fn signal(&self, name: &str) {
        run(Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()));
    }

    /// Sends SIGTERM and waits as [`Process::ended`] does.
    pub fn terminate(self) -> ExitStatus {
        run(Command::new("kill").arg(self.child.id().to_string()));
        self.wait_for_exit()
    }

    /// Waits up to five seconds until the process has exited.
    pub fn wait_for_exit(self) -> ExitStatus {
        self.wait_for_exit_within(MAX_WAIT)
    }

    /// Waits up to `bound` until the process has exited.
    pub fn wait_for_exit_within(mut self, bound: Duration) -> ExitStatus {
        let mut status = None;
        wait_within(bound, "the process has ended", || {
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

impl Drop for FaultInjection {
    fn drop(&mut self) {
        // On SIGTERM strace detaches from every thread; on SIGKILL it could leave one stopped.
        run(as_root("kill").arg(self.0.id().to_string()));
        self.0.wait().unwrap();
    }
}

/// Time limit for the start of a process, which may have to create a sandbox on a busy machine.
const MAX_START_TIME: Duration = Duration::from_mins(1);
/// Time limit for other waits on a process.
const MAX_WAIT: Duration = Duration::from_secs(5);

fn wait_until(what: &str, holds: impl FnMut() -> bool) {
    wait_within(MAX_WAIT, what, holds);
}

fn wait_within(bound: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < bound, "{what}: not within {bound:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Configures the gateway of a folder to checkpoint SQLite's WAL every few groups.
pub fn checkpoint_often(dir: &Path) {
    let file = dir.join("gateway.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let often = text.replace("[database]\n", "[database]\nfold_after_pages = 500\n");
    assert_ne!(text, often);
    std::fs::write(file, often).unwrap();
}
