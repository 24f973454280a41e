//! Databases of unknown formats, keys of other gateways, and files that are no database: each is refused in one line, and
//! nothing is written.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use ap_gateway::clock::{Clock, Randomness, SystemClock};
use ap_gateway::config::Config;
use ap_gateway::gateway::{Environment, Node};
use ap_gateway::store::proposal::CommitOutcome;
use tempfile::TempDir;

use super::super::process::Sandbox;
use super::super::startup_checks::{bare_proposal, serve_briefly};
use super::super::support::{gateway, run};

/// The sandbox that the tests copy, and another one.
struct Worlds {
    own: Sandbox,
    other: Sandbox,
    copies: TempDir,
}

impl Worlds {
    fn create() -> Self {
        let [own, other] = [Sandbox::new(), Sandbox::new()];
        own.remove_wal();
        other.remove_wal();
        Self { own, other, copies: TempDir::new().unwrap() }
    }

    /// Copies the sandbox.
    fn copy(&self, name: &str) -> std::path::PathBuf {
        let to = self.copies.path().join(name);
        run(Command::new("cp").arg("-a").arg(self.own.path()).arg(&to));
        to
    }

    /// Copies the sandbox with a file of the other one.
    fn copy_with(&self, file: &str) -> std::path::PathBuf {
        let to = self.copy(&format!("other {file}"));
        std::fs::copy(self.other.path().join(file), to.join(file)).unwrap();
        to
    }
}

/// Appends an entry of a format to the log in a folder, as the release of that format would.
async fn append_entry_of_format(dir: &Path, format: u32) {
    let (clock, random): (Arc<dyn Clock>, _) = (Arc::new(SystemClock), Randomness::system());
    let environment =
        Environment { clock: clock.clone(), system_clock: clock.clone(), random: random.clone() };
    let node = Node::open(Config::load(&dir.join("gateway.toml")).unwrap(), environment).await.unwrap();
    let mut proposal = bare_proposal(random.uuid_v7(clock.now()), &random);
    proposal.fill_commitments(node.vault.commitment_key());
    proposal.entry.format = format;
    assert!(matches!(node.committer.commit(proposal).await, CommitOutcome::Committed { .. }));
    node.close().await;
}

/// Returns the content of every file in a folder except the lock files of SQLite, which readers make.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let files =
        std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()).filter(|path| path.is_file());
    files
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap()))
        .filter(|(name, content)| !is_lock_file(name, content))
        .collect()
}

fn is_lock_file(name: &str, content: &[u8]) -> bool {
    name.ends_with("-shm") || (name.ends_with("-wal") && content.is_empty())
}

/// Runs `audit verify` on a folder with all its keys, and returns its exit code and stderr.
fn audit_verify(dir: &Path) -> (i32, String) {
    let mut verify = gateway();
    verify.args(["audit", "verify"]);
    for (argument, file) in [
        ("--database", "gateway.sqlite"),
        ("--log-key", "log-key"),
        ("--anchor", "anchor"),
        ("--key-ring", "key-ring"),
        ("--commitment-key", "commitment-key"),
    ] {
        verify.arg(argument).arg(dir.join(file));
    }
    let output = verify.output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

fn check(dir: &Path) -> (i32, String) {
    let output = gateway().arg("check").arg("--config").arg(dir.join("gateway.toml")).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// Asserts that a command ends with a code and one line that contains a text.
fn assert_one_line(what: &str, (code, stderr): (i32, String), expected: i32, contains: &str) {
    assert_eq!(code, expected, "{what}: {stderr}");
    let lines: Vec<&str> = stderr.lines().collect();
    assert!(lines.len() == 1 && lines[0].contains(contains), "{what}: {stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_this_release_cannot_continue_is_refused_and_nothing_is_written() {
    let worlds = Worlds::create();
    for format in [0, 2] {
        let dir = worlds.copy(&format!("format {format}"));
        append_entry_of_format(&dir, format).await;
        let before = files(&dir);
        let named = format!("entries of format {format}");
        assert_one_line("serve", serve_briefly(&dir), 78, &named);
        assert_one_line("check", check(&dir), 78, &named);
        assert_one_line("audit verify", audit_verify(&dir), 78, &named);
        assert!(before == files(&dir), "a file was written for format {format}");
    }
    let dir = worlds.copy_with("commitment-key");
    let before = files(&dir);
    assert_one_line("serve", serve_briefly(&dir), 78, "log.commitment_key: it is not the commitment key");
    assert_one_line("check", check(&dir), 78, "log.commitment_key: it is not the commitment key");
    assert!(before == files(&dir), "a file was written with another commitment key");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_verified_is_named_in_one_line() {
    let worlds = Worlds::create();
    let untouched = audit_verify(worlds.own.path());
    assert_eq!(untouched, (0, String::new()));
    for (file, named) in [
        ("commitment-key", "commitment key: the file is of another log"),
        ("key-ring", "key ring: it opens no key of this database"),
        ("log-key", "no checkpoint is signed by the given key"),
    ] {
        let (code, stderr) = audit_verify(&worlds.copy_with(file));
        assert_eq!(code, 1, "{file}: {stderr}");
        // The anchor is not signed by another log's key either.
        let lines = if file == "log-key" { 2 } else { 1 };
        assert!(stderr.contains(named) && stderr.lines().count() == lines, "{file}: {stderr}");
    }
    let dir = worlds.copy("without a column");
    run(Command::new("sqlite3")
        .arg(dir.join("gateway.sqlite"))
        .arg("ALTER TABLE progress RENAME COLUMN from_date TO elsewhere"));
    assert_one_line("a table without a column", audit_verify(&dir), 78, "the table progress of the copy");
    let dir = worlds.copy("not a database");
    std::fs::write(dir.join("gateway.sqlite"), "id,kind,input\n".repeat(1_000)).unwrap();
    assert_one_line("no database", audit_verify(&dir), 78, "it is not a SQLite database");
    let dir = worlds.copy("no file");
    std::fs::remove_file(dir.join("gateway.sqlite")).unwrap();
    assert_one_line("no file", audit_verify(&dir), 69, "the database");
    assert!(!dir.join("gateway.sqlite").exists(), "a database was made");
}
