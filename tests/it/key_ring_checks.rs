//! The key ring at the start and in `check`, on both databases: another gateway's ring is refused, one damaged value
//! is not taken for one, and a ring that was distributed late is named with the key that it lacks.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ap_gateway::store::{Database, DatabaseLocation};
use tempfile::TempDir;

use super::limits::output;
use super::process::{Process, Sandbox};
use super::serve_process::ServeFolder;
use super::startup_checks::serve_briefly;
use super::support::{Postgres, gateway, run};

/// A gateway that no process serves, and its database.
struct Stopped {
    dir: TempDir,
    location: DatabaseLocation,
}

impl Stopped {
    fn new(postgres: Option<&Postgres>) -> Self {
        let dir = TempDir::new().unwrap();
        let (location, options) = match postgres {
            None => (DatabaseLocation::Sqlite(dir.path().join("gateway.sqlite")), Vec::new()),
            Some(postgres) => (
                DatabaseLocation::Postgres(postgres.url()),
                [Path::new("--postgres-url-file"), &postgres.url_file].map(Path::as_os_str).to_vec(),
            ),
        };
        // A killed process would count as a live node for half a minute.
        assert_eq!(Process::start(gateway(), dir.path(), &options).terminate().code(), Some(0));
        Self { dir, location }
    }

    fn ring(&self) -> PathBuf {
        self.dir.path().join("key-ring")
    }

    /// Runs a verb of the operator; returns its exit code and standard error.
    fn run(&self, verb: &str) -> (i32, String) {
        let config = self.dir.path().join("gateway.toml");
        let output = output(gateway().arg(verb).arg("--config").arg(config));
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    /// Asserts that `check`, `serve` and `activate-key` refuse the ring in one line with its path and these words.
    fn assert_refused(&self, words: &[&str]) {
        let path = self.ring();
        for (verb, (code, printed)) in [
            ("check", self.run("check")),
            ("serve", serve_briefly(self.dir.path())),
            ("activate-key", self.run("activate-key")),
        ] {
            assert_eq!((code, printed.lines().count()), (78, 1), "{verb}: {printed}");
            for word in [&["log.key_ring", path.to_str().unwrap()], words].concat() {
                assert!(printed.contains(word), "{verb}: {word:?} is not in: {printed}");
            }
        }
    }

    async fn execute(&self, sql: &'static str) {
        let database = Database::open(&self.location).await.unwrap();
        assert_eq!(database.writer().await.unwrap().execute(sql, vec![]).await.unwrap(), 1, "{sql}");
        database.close().await;
    }
}

async fn another_gateway_s_ring_is_refused(stopped: Stopped) {
    let (own, other) = (std::fs::read(stopped.ring()).unwrap(), Sandbox::new());
    let other_ring = other.path().join("key-ring");
    let use_ring = |bytes: &[u8]| std::fs::write(stopped.ring(), bytes).unwrap();
    assert_eq!(stopped.run("check"), (0, String::new()));

    use_ring(&std::fs::read(&other_ring).unwrap());
    stopped.assert_refused(&["its key 1 opens nothing", "another gateway", "its backup"]);
    use_ring(&own);

    // The key that was activated is named by its fingerprint, before anything was sealed under it.
    for dir in [stopped.dir.path(), other.path()] {
        for verb in ["rotate-keys", "activate-key"] {
            run(gateway().args([verb, "--config"]).arg(dir.join("gateway.toml")));
        }
    }
    let rotated = std::fs::read_to_string(stopped.ring()).unwrap();
    use_ring(&own);
    stopped.assert_refused(&["it lacks key 2", "copy the key ring of a node that has it"]);
    use_ring(&std::fs::read(&other_ring).unwrap());
    stopped.assert_refused(&["its key 2 opens nothing", "another gateway"]);
    // A ring from which the first key was taken out, although everything is sealed under it.
    use_ring(rotated.rsplit_once("\n[[keys]]").unwrap().0.as_bytes());
    stopped.assert_refused(&["it lacks key 1"]);
    use_ring(rotated.as_bytes());

    // One damaged value of a key does not make the ring another's.
    for sql in [
        "UPDATE child_keys SET wrapped = check_value WHERE idx = (SELECT MIN(idx) FROM child_keys)",
        "UPDATE child_keys SET kek_id = 7 WHERE idx = (SELECT MAX(idx) FROM child_keys)",
        "UPDATE entries SET salts = bytes WHERE idx = 1",
    ] {
        stopped.execute(sql).await;
    }
    assert_eq!(stopped.run("check"), (0, String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_gateway_s_ring_is_refused_on_sqlite() {
    another_gateway_s_ring_is_refused(Stopped::new(None)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_gateway_s_ring_is_refused_on_postgresql() {
    let postgres = Postgres::start();
    another_gateway_s_ring_is_refused(Stopped::new(Some(&postgres))).await;
}

/// Checks the log of a node whose ring is changed while it serves. Each change is logged once, with path and cause, and
/// so is the change of a mode alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_ring_that_cannot_be_loaded_is_logged_once_per_change() {
    let (folder, other) = (ServeFolder::new(), Sandbox::new());
    let mut command = gateway();
    command.env("AP_GATEWAY_LOG", "info");
    let served = folder.start(command);
    let path = folder.file_path("key-ring");
    let own = std::fs::read_to_string(&path).unwrap();
    let set_mode = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    folder.write("key-ring", &std::fs::read_to_string(other.path().join("key-ring")).unwrap());
    assert_eq!(served.wait_for_log("key 1 differs from the one in use").await, 1);
    folder.write("key-ring", "no ring");
    assert_eq!(served.wait_for_log("it is not understood at line 1").await, 1);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(served.wait_for_log("No such file").await, 1);
    std::fs::write(&path, &own).unwrap();
    set_mode(0o644);
    served.wait_for_log("chmod 600").await;
    set_mode(0o600);
    served.wait_for_log("the changed key ring is in use").await;
    // Two rounds of the maintenance, in which nothing has changed.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let log = served.log();
    let failures: Vec<_> =
        log.lines().filter(|line| line.contains("the changed key ring was not loaded")).collect();
    // The file may be seen between its creation and the change of its mode.
    assert!((4..=5).contains(&failures.len()), "{log}");
    assert!(failures.iter().all(|line| line.contains(path.to_str().unwrap())), "{log}");
    assert_eq!(log.matches("the changed key ring is in use").count(), 1, "{log}");
}
