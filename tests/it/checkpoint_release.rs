//! A checkpoint or a proof leaves a node only once what it covers is durable and the node's anchor holds it, also where
//! the response has no log entry: otherwise a caller could hold a checkpoint of a log that a crash takes back, and the
//! node could not detect that.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use ap_gateway::client::{Client, ClientError};
use ap_gateway::proto::v1::{GetCheckpointRequest, GetConsistencyProofRequest, audit_service};
use ap_gateway::store::Anchor;
use ap_gateway::tlog::Checkpoint;

use super::disk_full::SmallFileSystem;
use super::ended_rights::get_riverside;
use super::exchange_semantics::{mark, submission, submit};
use super::faults::{assert_unavailable, late_mark};
use super::process::{Process, Sandbox};
use super::support::{gateway, run};

const ANCHOR: &str = "anchor";
const WAL: &str = "gateway.sqlite-wal";
/// Time limit for a node to write its anchor again.
const MAX_ANCHOR_RECOVERY: Duration = Duration::from_secs(10);

fn checkpoint_size(note: &str) -> u64 {
    let (text, _) = note.split_once("\n\n").unwrap();
    Checkpoint::parse(&format!("{text}\n")).unwrap().size()
}

/// Returns the size of the tree whose checkpoint is in a folder's anchor.
pub fn anchored_size(dir: &Path) -> u64 {
    checkpoint_size(&Anchor::read_newest_note(&dir.join(ANCHOR)).unwrap())
}

/// Returns the size of the newest checkpoint that a node returns.
pub async fn newest_size(client: &Client) -> Result<u64, ClientError> {
    let newest = GetCheckpointRequest { tree_size: 0 };
    let reply = client.call_without_receipt(audit_service::GET_CHECKPOINT, &newest).await?;
    Ok(checkpoint_size(&reply.checkpoint))
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_anchor_cannot_be_written_no_checkpoint_and_no_proof_leaves() {
    let sandbox = Sandbox::new();
    let server = Process::serve(sandbox.path());
    let riverside = sandbox.client("provider-a").await;
    get_riverside(&riverside).await.unwrap();
    let before = anchored_size(sandbox.path());
    assert_eq!(newest_size(&riverside).await.unwrap(), before);
    let hindrance = server.inject_fault(&sandbox.path().join(ANCHOR), "pwrite64:error=ENOSPC");
    assert_unavailable(
        submit(&riverside, &submission(vec![mark(&sandbox.placement, "2026-11-02", "/")])).await,
    );
    assert_unavailable(newest_size(&riverside).await);
    let further = GetConsistencyProofRequest { from_size: before, to_size: before + 1 };
    let proof = audit_service::GET_CONSISTENCY_PROOF;
    assert_unavailable(riverside.call_without_receipt(proof, &further).await);
    assert_eq!(anchored_size(sandbox.path()), before);
    drop(hindrance);
    // No call appends to the log meanwhile: the node writes its anchor by itself.
    let freed = Instant::now();
    let size = loop {
        match newest_size(&riverside).await {
            Ok(size) => break size,
            Err(error) => assert_unavailable::<()>(Err(error)),
        }
        assert!(freed.elapsed() < MAX_ANCHOR_RECOVERY);
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!(size > before && size <= anchored_size(sandbox.path()));
    riverside.call_without_receipt(proof, &further).await.unwrap();
}

/// Starts a gateway while a system call on a file fails, and returns its exit code and stderr.
fn serve_with_fault(dir: &Path, file: &str, fault: &str) -> (Option<i32>, String) {
    let mut strace = Command::new("strace");
    strace.args(["-D", "-f", "-q", "-o", "/dev/null", "-P"]).arg(dir.join(file));
    strace.args(["-e", &format!("inject={fault}")]).arg(gateway().get_program());
    let output = strace.args(["serve", "--config"]).arg(dir.join("gateway.toml")).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_process_left_unanchored_is_anchored_before_it_is_served() {
    let sandbox = Sandbox::new();
    drop(Process::serve(sandbox.path()));
    let before = anchored_size(sandbox.path());
    let anchor = sandbox.path().join(ANCHOR);
    let inject = "inject=pwrite64:signal=KILL:when=1";
    let strace = ["-o", "/dev/null", "-P", anchor.to_str().unwrap(), "-e", inject];
    let server = Process::serve_under_strace(sandbox.path(), &strace);
    let request = submission(vec![mark(&sandbox.placement, "2026-11-02", "/")]);
    submit(&sandbox.client("provider-a").await, &request).await.unwrap_err();
    drop(server);
    assert_eq!(anchored_size(sandbox.path()), before);
    for (file, fault, code, line) in [
        (WAL, "fdatasync:error=EIO", 70, "the database could not write to its disk"),
        (ANCHOR, "pwrite64:error=ENOSPC", 1, "the anchor file cannot be written"),
        (ANCHOR, "fdatasync:error=EIO", 1, "the anchor file cannot be written"),
    ] {
        let (status, stderr) = serve_with_fault(sandbox.path(), file, fault);
        assert_eq!(status, Some(code), "{stderr}");
        assert!(stderr.contains(line), "{stderr}");
    }
    let server = Process::serve(sandbox.path());
    let size = newest_size(&sandbox.client("provider-a").await).await.unwrap();
    assert!(size > before, "the mark was committed");
    assert_eq!(anchored_size(sandbox.path()), size);
    drop(server);
}

/// A COMMIT fails because the disk is full, while the group before it is being synced. A checkpoint that is asked for
/// then waits for that sync.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_fails_does_not_release_the_checkpoint_before_it() {
    let disk = SmallFileSystem::mount("32m");
    let sandbox = Sandbox::new_in(disk.path());
    let server = Process::serve(sandbox.path());
    // The clients keep their checkpoints on another disk.
    let seen = tempfile::tempdir().unwrap();
    std::fs::remove_dir_all(sandbox.path().join("seen")).ok();
    std::os::unix::fs::symlink(seen.path(), sandbox.path().join("seen")).unwrap();
    let (first, second) = (sandbox.client("provider-a").await, sandbox.client("provider-a").await);
    get_riverside(&first).await.unwrap();
    let before = anchored_size(sandbox.path());
    let _delay = server.inject_fault(&sandbox.path().join(WAL), "fdatasync:delay_enter=3000000");
    let request = submission(vec![mark(&sandbox.placement, "2026-11-02", "/")]);
    let first = tokio::spawn(async move { submit(&first, &request).await });
    let committed = || std::fs::metadata(sandbox.path().join(WAL)).unwrap().len();
    let length = committed();
    while committed() == length {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    disk.fill_up();
    let marks = (0..40).map(|session| late_mark(&sandbox.placement, session)).collect();
    assert_unavailable(submit(&second, &submission(marks)).await);
    assert!(!first.is_finished(), "the first group is still being synced");
    assert_eq!(anchored_size(sandbox.path()), before);
    let size = newest_size(&second).await.unwrap();
    assert!(size > before && size <= anchored_size(sandbox.path()), "{size}");
    first.await.unwrap().unwrap();
}

/// Exports the log while a group of it is committed and not anchored.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_ends_at_the_anchor() {
    let sandbox = Sandbox::new();
    let server = Process::serve(sandbox.path());
    let riverside = sandbox.client("provider-a").await;
    get_riverside(&riverside).await.unwrap();
    let before = anchored_size(sandbox.path());
    let _hindrance = server.inject_fault(&sandbox.path().join(ANCHOR), "pwrite64:error=ENOSPC");
    assert_unavailable(get_riverside(&riverside).await);
    let (out, config) = (sandbox.path().join("tiles"), sandbox.path().join("gateway.toml"));
    let exported_size = || {
        run(gateway().args(["audit", "export", "--config"]).arg(&config).arg("--out").arg(&out));
        checkpoint_size(&std::fs::read_to_string(out.join("checkpoint")).unwrap())
    };
    assert_eq!(exported_size(), before);
    drop(server);
    let restarted = Process::serve(sandbox.path());
    get_riverside(&sandbox.client("provider-a").await).await.unwrap();
    drop(restarted);
    assert!(exported_size() > before);
}
