//! The client's watch over the log: a second tree, a rollback of database and anchor together, and damaged folders are
//! refused by the next call; replays and accepted rollbacks are not.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use ap_gateway::cli::{profile, sandbox};
use ap_gateway::client::{Client, ClientError, Contradiction, read_checkpoint_folder};
use ap_gateway::proto::v1::{ListPlacementsRequest, placement_service};
use ap_gateway::tlog::{Checkpoint, LogKeyHistory};
use tokio::task::JoinSet;

use super::exchange_semantics::{mark, submission, submit};
use super::limits::output;
use super::process::{Process, Sandbox};
use super::rollback::copy_folder;
use super::support::gateway;
use super::watch_command::Watcher;

/// Files that somebody would replace who rolls back the database and the anchor together.
const DATABASE_AND_ANCHOR: [&str; 4] =
    ["gateway.sqlite", "gateway.sqlite-wal", "gateway.sqlite-shm", "anchor"];

/// A sandbox and an earlier copy of it, in which the log is shorter.
struct Scene {
    sandbox: Sandbox,
    copies: tempfile::TempDir,
}

impl Scene {
    /// Makes a sandbox whose provider has made one call, and copies it.
    async fn new() -> Self {
        let (sandbox, copies) = (Sandbox::new(), tempfile::tempdir().unwrap());
        let server = Process::serve(sandbox.path());
        list(&sandbox.client("provider-a").await).await.unwrap();
        assert!(server.terminate().success());
        copy_folder(sandbox.path(), &copies.path().join("copy"));
        Self { sandbox, copies }
    }

    fn copy(&self) -> PathBuf {
        self.copies.path().join("copy")
    }

    fn seen(&self) -> PathBuf {
        self.sandbox.path().join("seen/provider-a")
    }

    /// Replaces database and anchor by the earlier ones.
    fn roll_back(&self) {
        for name in DATABASE_AND_ANCHOR {
            let (from, to) = (self.copy().join(name), self.sandbox.path().join(name));
            std::fs::remove_file(&to).ok();
            if from.exists() {
                std::fs::copy(from, to).unwrap();
            }
        }
    }

    /// Makes calls of an organisation with a folder of its own, so that the log grows.
    async fn grow(&self, calls: usize) {
        let school = self.sandbox.client("school").await;
        for _ in 0..calls {
            list(&school).await.unwrap();
        }
    }

    /// Returns the sizes of the kept and of the conflicting checkpoints.
    fn sizes(&self) -> (Vec<u64>, Vec<u64>) {
        let (mut newest, mut conflicting) = (Vec::new(), Vec::new());
        for (name, note) in notes(&self.seen()) {
            let size = self.open(&note).size();
            if name.starts_with("newest-") { newest.push(size) } else { conflicting.push(size) }
        }
        (newest, conflicting)
    }

    /// Verifies a note with the log's key.
    fn open(&self, note: &str) -> Checkpoint {
        let key = std::fs::read_to_string(self.sandbox.path().join("log-key")).unwrap();
        LogKeyHistory::parse(&key).unwrap().open(note).unwrap()
    }

    /// Takes the conflicting files out of the folder, as the operator of the client does.
    fn clear(&self) {
        for (name, _) in notes(&self.seen()) {
            if name.starts_with("conflicting-") {
                std::fs::remove_file(self.seen().join(name)).unwrap();
            }
        }
    }
}

/// Returns the notes of a folder by file name.
fn notes(folder: &Path) -> Vec<(String, String)> {
    let names =
        std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut notes: Vec<_> = names
        .filter(|name| name != "lock" && name != "turn")
        .map(|name| (name.clone(), std::fs::read_to_string(folder.join(name)).unwrap()))
        .collect();
    notes.sort();
    notes
}

async fn list(client: &Client) -> Result<(), ClientError> {
    client.call(placement_service::LIST_PLACEMENTS, &ListPlacementsRequest::default()).await.map(drop)
}

async fn contradiction(client: &Client) -> Contradiction {
    match list(client).await.unwrap_err() {
        ClientError::Inconsistent(found) => found.contradiction,
        other => panic!("{other}"),
    }
}

/// Runs a verb with a profile of the sandbox; returns exit code and output.
fn run_verb(dir: &Path, verb: &[&str], profile: &str) -> (i32, String) {
    let ended = output(gateway().args(verb).arg("--profile").arg(sandbox::profile_path(dir, profile)));
    (ended.status.code().unwrap(), String::from_utf8([ended.stdout, ended.stderr].concat()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_tree_is_refused_until_the_evidence_is_taken_away() {
    let scene = Scene::new().await;
    let dir = scene.sandbox.path();
    let server = Process::serve(dir);
    // As JSON, a list is one call: names would take another.
    let listed = run_verb(dir, &["placements", "list", "--json"], "provider-a");
    assert_eq!(listed.0, 0, "{}", listed.1);
    let (kept, _) = scene.sizes();
    // The same key signs another tree, which is served elsewhere.
    let fork = Process::serve(&scene.copy());
    let text = std::fs::read_to_string(sandbox::profile_path(dir, "provider-a")).unwrap();
    let (honest, forked) = (server.address().to_string(), fork.address().to_string());
    assert!(text.contains(&honest));
    std::fs::write(sandbox::profile_path(dir, "forked"), text.replace(&honest, &forked)).unwrap();

    let (code, printed) = run_verb(dir, &["placements", "list", "--json"], "forked");
    assert_eq!((code, printed.lines().count()), (1, 1), "{printed}");
    assert!(printed.contains("two trees") && printed.contains("conflicting-*"), "{printed}");
    assert_eq!(scene.sizes(), (kept.clone(), kept.clone()), "both notes are kept");

    // Every further call is refused before it is sent, also to the first server, until the file is taken away.
    let before = run_verb(dir, &["audit", "head"], "school");
    for verb in [&["placements", "list"][..], &["watch", "deliveries", "--once"], &["audit", "head"]] {
        for profile in ["provider-a", "forked"] {
            let (code, printed) = run_verb(dir, verb, profile);
            assert_eq!((code, printed.lines().count()), (1, 1), "{printed}");
            assert!(printed.contains("seen/provider-a/conflicting-"), "{printed}");
        }
    }
    assert_eq!(run_verb(dir, &["audit", "head"], "school"), before);
    let (code, printed) = run_verb(dir, &["audit", "verify"], "provider-a");
    assert!(code == 1 && printed.contains("two trees"), "{printed}");
    let folder = scene.seen();
    let compared = run_verb(dir, &["audit", "compare", folder.to_str().unwrap()], "auditor");
    assert!(compared.0 == 1 && compared.1.contains("two trees"), "{}", compared.1);

    scene.clear();
    assert_eq!(run_verb(dir, &["audit", "verify"], "provider-a").0, 0);
    let (code, printed) = run_verb(dir, &["placements", "list"], "provider-a");
    assert_eq!(code, 0, "{printed}");
    let (code, printed) = run_verb(dir, &["audit", "head"], "forked");
    assert!(code == 1 && printed.contains("the log shrank"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_with_the_anchor_is_refused_while_the_log_is_smaller_and_when_it_has_grown() {
    let scene = Scene::new().await;
    let server = Process::serve(scene.sandbox.path());
    let provider = scene.sandbox.client("provider-a").await;
    for _ in 0..5 {
        list(&provider).await.unwrap();
    }
    let (kept, _) = scene.sizes();
    assert!(server.terminate().success());
    scene.roll_back();

    let server = Process::serve(scene.sandbox.path());
    let provider = scene.sandbox.client("provider-a").await;
    let smaller = kept[0] - 4;
    assert_eq!(contradiction(&provider).await, Contradiction::Shrunk { newest: smaller, before: kept[0] });
    assert_eq!(scene.sizes(), (kept.clone(), vec![smaller]));
    assert!(matches!(list(&provider).await, Err(ClientError::Folder(_))));

    // Beyond the kept size, the log has other entries.
    scene.grow(6).await;
    scene.clear();
    let found = contradiction(&provider).await;
    assert!(
        matches!(found, Contradiction::NotContinued { from, to } if from == kept[0] && to > from),
        "{found}"
    );
    let (code, printed) = run_verb(scene.sandbox.path(), &["audit", "verify"], "provider-a");
    assert!(code == 1 && printed.contains("two trees"), "{printed}");
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_ends_at_a_rollback_and_acknowledges_nothing() {
    let scene = Scene::new().await;
    let dir = scene.sandbox.path();
    let server = Process::serve(dir);
    let (listen, provider) = (server.address().to_string(), scene.sandbox.client("provider-a").await);
    submit(&provider, &submission(vec![mark(&scene.sandbox.placement, "2026-11-02", "/")])).await.unwrap();
    let watcher = Watcher::start(dir, &["--acknowledge"]);
    watcher.wait_for_shown(1).await;
    for day in ["2026-11-03", "2026-11-04", "2026-11-05"] {
        submit(&provider, &submission(vec![mark(&scene.sandbox.placement, day, "/")])).await.unwrap();
    }
    let shown = watcher.wait_for_shown(4).await.len();
    drop(server);
    scene.roll_back();
    let _server = Process::start(gateway(), dir, &["--listen", &listen].map(OsStr::new));
    let (code, stderr) = watcher.wait_for_exit().await;
    assert!(code == Some(1) && stderr.contains("seen/la-a"), "{code:?} {stderr}");
    assert!(shown >= 4 && stderr.contains("the log shrank"), "{stderr}");
}

/// Checks that processes and clients that share a folder lose no larger checkpoint, and that a refusal is one of all.
#[tokio::test(flavor = "multi_thread")]
async fn processes_share_a_folder() {
    let scene = Scene::new().await;
    let dir = scene.sandbox.path().to_owned();
    let server = Process::serve(&dir);
    let mut running = JoinSet::new();
    for number in 0..8 {
        let client = scene.sandbox.client("provider-a").await;
        let dir = dir.clone();
        running.spawn(async move {
            if number % 4 == 0 {
                let verb = move || run_verb(&dir, &["placements", "list"], "provider-a");
                let (code, printed) = tokio::task::spawn_blocking(verb).await.unwrap();
                assert_eq!(code, 0, "{printed}");
            }
            for _ in 0..10 {
                list(&client).await.unwrap();
            }
        });
    }
    running.join_all().await;
    let newest = scene.open(run_verb(&dir, &["audit", "head"], "school").1.as_str());
    assert_eq!(scene.sizes(), (vec![newest.size()], vec![]), "the largest, and nothing else");
    let client = scene.sandbox.client("provider-a").await;
    assert!(server.terminate().success());
    scene.roll_back();
    let _server = Process::serve(&dir);
    assert_eq!(run_verb(&dir, &["placements", "list"], "provider-a").0, 1);
    assert!(matches!(list(&client).await, Err(ClientError::Folder(_))), "refused before it is sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_brings_an_old_checkpoint_and_is_not_refused() {
    let scene = Scene::new().await;
    let _server = Process::serve(scene.sandbox.path());
    let provider = scene.sandbox.client("provider-a").await;
    let request = submission(vec![mark(&scene.sandbox.placement, "2026-11-02", "/")]);
    let first = submit(&provider, &request).await.unwrap();
    scene.grow(3).await;
    list(&provider).await.unwrap();
    let (kept, _) = scene.sizes();
    assert!(first.receipt.tree_size < kept[0]);
    let again = submit(&provider, &request).await.unwrap();
    assert_eq!(again.receipt, first.receipt);
    // The replay has an entry too, which the newest checkpoint covers.
    assert_eq!(scene.sizes(), (vec![kept[0] + 1], vec![]));
    let (code, printed) = run_verb(scene.sandbox.path(), &["audit", "verify"], "provider-a");
    assert!(code == 0 && printed.contains("consistent with all 1 checkpoints"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_a_checkpoint_is_named() {
    let scene = Scene::new().await;
    let dir = scene.sandbox.path();
    let _server = Process::serve(dir);
    let (name, note) = notes(&scene.seen()).remove(0);
    let write = |name: &str, text: &str| std::fs::write(scene.seen().join(name), text).unwrap();
    let forged = note.replacen("sandbox", "sandbax", 1);
    let damaged = [
        (name.as_str(), ""),
        (&name, &note[..note.len() - 5]),
        (&name, &forged),
        ("newest-0123456", &note),
        ("conflicting-", &note),
        ("104", &note),
        ("notes.txt", "nothing"),
    ];
    for (file, text) in damaged {
        write(file, text);
        for verb in [&["placements", "list"][..], &["audit", "head"]] {
            let (code, printed) = run_verb(dir, verb, "provider-a");
            assert_eq!((code, printed.lines().count()), (78, 1), "{printed}");
            assert!(printed.contains(&format!("seen/provider-a/{file}: ")), "{printed}");
        }
        std::fs::remove_file(scene.seen().join(file)).unwrap();
        write(&name, &note);
    }
    // Only a process that was killed leaves this file, and the checkpoint of another gateway is not this log's.
    write("newest-01234567.1.part", "half a no");
    write("newest-01234567", &note);
    let (code, printed) = run_verb(dir, &["placements", "list"], "provider-a");
    assert_eq!(code, 0, "{printed}");
    assert!(!scene.seen().join("newest-01234567.1.part").exists());
    assert_eq!(read_checkpoint_folder(&scene.seen()).unwrap().len(), 2);
    let missing = run_verb(dir, &["audit", "compare", "no-such-folder"], "auditor");
    assert!(missing.0 == 69 && missing.1.contains("no-such-folder"), "{}", missing.1);
    let (_, folder) = profile::load(&sandbox::profile_path(dir, "provider-a")).unwrap();
    assert_eq!(folder.canonicalize().unwrap(), scene.seen().canonicalize().unwrap());
}
