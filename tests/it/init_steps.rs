//! `init` that breaks off: what cannot be used is refused before a key exists, and after each later step a second `init`
//! finishes what the first began, or names what is in its way. `check` reads beside a node that serves.

use std::path::PathBuf;
use std::process::Command;

use super::limits::output;
use super::serve_process::ServeFolder;
use super::support::{Postgres, as_root, gateway};

const ORIGIN: &str = "ap.example/log";
/// The files that `init` makes in the folder `fresh`.
const FILES: [&str; 5] = ["gateway.sqlite", "log-signing-key", "key-ring", "commitment-key", "anchor"];

/// A folder with a configuration whose database, keys and anchor do not exist yet.
struct NewGateway(ServeFolder);

impl NewGateway {
    fn new() -> Self {
        let gateway = Self(ServeFolder::new());
        let text = FILES.iter().fold(gateway.0.configuration(), |text, file| {
            text.replace(&format!("\"{file}\""), &format!("\"fresh/{file}\""))
        });
        gateway.0.write("gateway.toml", &text);
        gateway
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.file_path(&format!("fresh/{file}"))
    }

    fn init_arguments(&self, command: &mut Command, origin: &str) {
        command.args(["init", "--origin", origin, "--config"]).arg(self.0.file_path("gateway.toml"));
        command.arg("--operator-certificate").arg(self.0.file_path("certs/operator.pem"));
    }

    fn init(&self, origin: &str) -> (i32, String) {
        let mut init = gateway();
        self.init_arguments(&mut init, origin);
        let output = output(&mut init);
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    /// Asserts that `init` ends with a code and one line that contains the words.
    fn assert_refused(&self, origin: &str, expected: i32, words: &[&str]) {
        let (code, printed) = self.init(origin);
        assert_eq!((code, printed.lines().count()), (expected, 1), "{words:?}: {printed}");
        assert!(words.iter().all(|word| printed.contains(word)), "{words:?}: {printed}");
    }

    /// Runs `init` and makes a system call on a file of the folder `fresh` fail, or end the process.
    fn break_off(&self, file: &str, inject: &str) {
        let mut strace = as_root("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("inject={inject}"), "-P"]);
        strace.arg(self.path(file)).arg(gateway().get_program());
        self.init_arguments(&mut strace, ORIGIN);
        assert!(!output(&mut strace).status.success(), "{inject} on {file} has no effect");
    }

    /// Asserts that the gateway is complete.
    fn assert_complete(&self) {
        let (code, printed) = self.0.run_command("check");
        assert!(code == 0 && printed.contains("are consistent: 1 entries"), "{code}: {printed}");
        self.assert_refused(ORIGIN, 1, &["already holds a log"]);
    }

    fn remove(&self) {
        std::fs::remove_dir_all(self.0.file_path("fresh")).unwrap();
    }
}

#[test]
fn an_init_that_broke_off_is_finished_by_the_next() {
    let new = NewGateway::new();
    for (file, inject) in [
        ("gateway.sqlite", "openat:error=EACCES"),
        ("log-signing-key.new", "openat:error=ENOSPC"),
        ("anchor.new", "openat:error=EACCES"),
        ("anchor.new", "fdatasync:signal=KILL"),
        ("key-ring.new", "openat:error=ENOSPC"),
        ("key-ring.new", "fsync:signal=KILL"),
        ("commitment-key.new", "fsync:signal=KILL"),
        // The anchor is opened when all but the first entry was made.
        ("anchor", "openat:signal=KILL"),
    ] {
        new.break_off(file, inject);
        let what = format!("{inject} on {file}");
        if new.path("log-signing-key").exists() {
            new.assert_refused(
                "ap.example/other",
                78,
                &["log.signing_key (/", "began the log ap.example/log"],
            );
        }
        assert_eq!(new.init(ORIGIN), (0, String::new()), "{what}");
        new.assert_complete();
        new.remove();
    }
}

#[test]
fn what_cannot_be_used_is_refused_before_a_key_exists() {
    let new = NewGateway::new();
    let good = new.0.configuration();
    let no_keys = |what: &str| {
        for file in ["log-signing-key", "key-ring", "commitment-key", "anchor"] {
            assert!(!new.path(file).exists(), "{what}: {file} was made");
        }
    };
    for (key, file) in [
        ("database.sqlite", "gateway.sqlite"),
        ("log.signing_key", "log-signing-key"),
        ("log.key_ring", "key-ring"),
        ("log.commitment_key", "commitment-key"),
        ("log.anchor", "anchor"),
    ] {
        // Root cannot write to either: a folder of the kernel, and a folder that is a file.
        for folder in ["/proc/self", "ca.pem"] {
            let moved = good.replace(&format!("\"fresh/{file}\""), &format!("\"{folder}/{file}\""));
            assert_ne!(moved, good);
            new.0.write("gateway.toml", &moved);
            new.assert_refused(ORIGIN, 78, &[key, &format!("{folder}/{file})"), "cannot"]);
            no_keys(key);
        }
    }
    new.0.write("gateway.toml", &good);
    new.assert_refused("two words", 78, &["log.signing_key", "the log's origin must be"]);
    no_keys("the origin");
    assert_eq!(new.init(ORIGIN), (0, String::new()));
    new.assert_complete();

    // Keys without their database: another gateway may use them.
    let database = new.path("gateway.sqlite");
    let kept = new.0.file_path("kept.sqlite");
    std::fs::rename(&database, &kept).unwrap();
    let named =
        ["log.key_ring (/", "log.commitment_key (/", "log.signing_key (/", "log.anchor (/", "move them away"];
    new.assert_refused(ORIGIN, 78, &named);
    // The empty database that `init` made has side files.
    for made in ["gateway.sqlite-wal", "gateway.sqlite-shm"].map(|file| new.path(file)) {
        std::fs::remove_file(made).ok();
    }
    std::fs::rename(&kept, &database).unwrap();
    new.assert_complete();
}

#[test]
fn a_postgresql_without_a_standby_is_refused_before_a_key_exists() {
    let new = NewGateway::new();
    let postgres = Postgres::start();
    let good = new.0.configuration();
    let sqlite = "sqlite = \"fresh/gateway.sqlite\"";
    let url = format!("postgres_url_file = \"{}\"", postgres.url_file.display());
    let replicated = good.replace(sqlite, &url);
    assert_ne!(replicated, good);
    new.0.write("gateway.toml", &replicated);
    for _again in 0..2 {
        new.assert_refused(ORIGIN, 1, &["PostgreSQL has no synchronous standby"]);
        assert!(!new.path("key-ring").exists());
    }
    new.0.write("gateway.toml", &good.replace(sqlite, &format!("{url}\nsingle_primary = true")));
    assert_eq!(new.init(ORIGIN), (0, String::new()));
    new.assert_complete();
    // Beside a node that serves.
    let served = new.0.serve();
    new.assert_complete();
    drop(served);
}

#[test]
fn check_reads_beside_a_node_that_serves_and_writes_nothing() {
    let folder = ServeFolder::new();
    let served = folder.serve();
    for _again in 0..5 {
        let (code, printed) = folder.run_command("check");
        assert!(code == 0 && printed.contains("are consistent"), "{code}: {printed}");
    }
    let (code, printed) = folder.run_command("serve");
    assert!(code == 1 && printed.contains("another process has the anchor open"), "{code}: {printed}");
    drop(served);
    // An anchor that is behind the database, which a start would write.
    let anchor = folder.file_path("anchor");
    let before = std::fs::read(&anchor).unwrap();
    assert_eq!(folder.run_command("check").0, 0);
    assert!(std::fs::read(&anchor).unwrap() == before, "check wrote the anchor");
    std::fs::remove_file(&anchor).unwrap();
    let (code, printed) = folder.run_command("check");
    assert!(code == 1 && printed.contains("the anchor file is missing"), "{code}: {printed}");
}

#[test]
fn check_changes_nothing_that_a_killed_node_left() {
    let folder = ServeFolder::new();
    // As a node leaves it that is killed after a commit.
    let node = rusqlite::Connection::open(folder.file_path("gateway.sqlite")).unwrap();
    node.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    let sql = "INSERT INTO nodes (node, name, keys, seen) VALUES (zeroblob(16), '', x'', 0)";
    node.execute_batch(sql).unwrap();
    drop(node);
    let read = |file| std::fs::read(folder.file_path(file)).unwrap();
    let before = (read("gateway.sqlite"), read("gateway.sqlite-wal"), read("anchor"));
    assert!(!before.1.is_empty());
    for _again in 0..2 {
        assert_eq!(folder.run_command("check").0, 0);
        let after = (read("gateway.sqlite"), read("gateway.sqlite-wal"), read("anchor"));
        assert!(after == before, "check wrote");
    }
}
