//! Integrity checks of the log: a node refuses to start on a log that is not the one in its anchor, and finds
//! changed entries while it serves.

use std::fs::OpenOptions;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use ap_gateway::clock::{Clock, Randomness, SystemClock};
use ap_gateway::config::Config;
use ap_gateway::gateway::{Environment, Node};
use ap_gateway::proto::v1::AuditEntry;
use ap_gateway::store::proposal::{CommitOutcome, Proposal};
use ap_gateway::store::verification::{LogCorruption, verify_log};
use ap_gateway::store::{CommitmentSalts, Database, DatabaseLocation, LogReader};
use ap_gateway::tlog::LogKeyHistory;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::exchange_semantics::{mark, submission, submit};
use super::process::{Process, Sandbox};
use super::support::{World, curl_post, gateway, run};

/// The number of entries, more than a start checks.
const ENTRIES_BEYOND_START_CHECK: u64 = 10_500;
pub const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";

/// Returns a proposal that writes nothing but its entry, which names no caller.
pub fn bare_proposal(exchange: Uuid, random: &Randomness) -> Proposal {
    let entry = AuditEntry { exchange_id: exchange.into_bytes().to_vec().into(), ..AuditEntry::default() };
    Proposal::new(exchange, entry, CommitmentSalts::new(random), Vec::new())
}

/// Appends entries without a caller until the log has [`ENTRIES`] entries.
async fn append_entries(dir: &Path) {
    let (clock, random): (Arc<dyn Clock>, _) = (Arc::new(SystemClock), Randomness::system());
    let environment =
        Environment { clock: clock.clone(), system_clock: clock.clone(), random: random.clone() };
    let node = Node::open(Config::load(&dir.join("gateway.toml")).unwrap(), environment).await.unwrap();
    let mut commits = JoinSet::new();
    for _ in node.committer.head().borrow().size..ENTRIES_BEYOND_START_CHECK {
        let (committer, exchange) = (node.committer.clone(), random.uuid_v7(clock.now()));
        let mut proposal = bare_proposal(exchange, &random);
        proposal.fill_commitments(node.vault.commitment_key());
        commits.spawn(
            async move { matches!(committer.commit(proposal).await, CommitOutcome::Committed { .. }) },
        );
    }
    assert!(commits.join_all().await.into_iter().all(|committed| committed));
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_was_altered_long_ago_is_found_while_serving() {
    let world = World::sqlite().await;
    assert!(curl_post(world.dir.path(), world.address(), HEALTH_CHECK).contains("\u{8}\u{1}"), "SERVING");
    let dir = world.stop().await;
    append_entries(dir.path()).await;
    let key = std::fs::read_to_string(dir.path().join("log-key")).unwrap();
    let key = LogKeyHistory::parse(key.trim()).unwrap();
    let database =
        Database::open(&DatabaseLocation::Sqlite(dir.path().join("gateway.sqlite"))).await.unwrap();
    let log = LogReader::new(database.clone());
    assert_eq!(verify_log(&log, ENTRIES_BEYOND_START_CHECK, &key).await.unwrap(), None);
    let mut conn = database.writer().await.unwrap();
    let sql = "UPDATE entries SET bytes = (SELECT bytes FROM entries WHERE idx = 8) WHERE idx = 7";
    assert_eq!(conn.execute(sql, vec![]).await.unwrap(), 1);
    drop(conn);
    let found = LogCorruption { index: 7, message: "an entry of the log was changed" };
    assert_eq!(verify_log(&log, ENTRIES_BEYOND_START_CHECK, &key).await.unwrap(), Some(found));
    database.close().await;
    let world = World::serve(dir).await;
    let mut response = String::new();
    for _ in 0..100 {
        response = curl_post(world.dir.path(), world.address(), HEALTH_CHECK);
        if response.contains("\u{8}\u{2}") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(response.contains("\u{8}\u{2}"), "NOT_SERVING: {response:?}");
    world.stop().await;
}

/// Runs `serve` on the sandbox in a folder for at most five seconds and returns its exit code and stderr; the code
/// is 124 if it serves.
pub fn serve_briefly(dir: &Path) -> (i32, String) {
    let mut serve = Command::new("timeout");
    serve.arg("5").arg(gateway().get_program()).arg("serve").arg("--config").arg(dir.join("gateway.toml"));
    let output = serve.output().unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_not_the_one_the_anchor_knows_is_not_served() {
    let sandbox = Sandbox::new();
    let send = async |day: &str| {
        let server = Process::serve(sandbox.path());
        let client = sandbox.client("provider-a").await;
        submit(&client, &submission(vec![mark(&sandbox.placement, day, "/")])).await.unwrap();
        drop(server);
    };
    send("2026-11-02").await;
    let copies = tempfile::tempdir().unwrap();
    let copy = |name: &str| {
        let to = copies.path().join(name);
        run(Command::new("cp").arg("-a").arg(sandbox.path()).arg(&to));
        to
    };
    let earlier = copy("earlier");
    send("2026-11-03").await;
    let rolled_back = "rolled back or its tail was cut";
    let refused = |name: &str, why: &str, change: &dyn Fn(&Path)| {
        let dir = copy(name);
        change(&dir);
        let (code, stderr) = serve_briefly(&dir);
        assert_eq!(code, 1, "{name}: {stderr}");
        assert!(stderr.contains(why), "{name}: {stderr}");
    };
    let replace = |dir: &Path, file: &str| {
        std::fs::copy(earlier.join(file), dir.join(file)).unwrap();
    };
    let damage = |file: &'static str| move |dir: &Path| std::fs::write(dir.join(file), [7; 9_000]).unwrap();
    refused("an older database", rolled_back, &|dir| {
        for file in ["gateway.sqlite", "gateway.sqlite-wal", "gateway.sqlite-shm"] {
            replace(dir, file);
        }
    });
    refused("a cut write-ahead log", rolled_back, &|dir| {
        let wal = OpenOptions::new().write(true).open(dir.join("gateway.sqlite-wal")).unwrap();
        wal.set_len(wal.metadata().unwrap().len() - 2_000).unwrap();
    });
    refused("no write-ahead log", rolled_back, &|dir| {
        std::fs::remove_file(dir.join("gateway.sqlite-wal")).unwrap();
    });
    refused("no anchor", "the anchor file is missing", &|dir| {
        std::fs::remove_file(dir.join("anchor")).unwrap();
    });
    refused("a damaged anchor", "the anchor file cannot be read", &damage("anchor"));
    let other = Sandbox::new();
    refused("another log's anchor", "a checkpoint is not signed by this log's key", &|dir| {
        std::fs::copy(other.path().join("anchor"), dir.join("anchor")).unwrap();
    });
    // These can be repaired, because the log is complete and everything in it was acknowledged.
    for (name, change) in [
        ("an older anchor", &(|dir: &Path| replace(dir, "anchor")) as &dyn Fn(&Path)),
        ("damaged shared memory", &damage("gateway.sqlite-shm")),
    ] {
        let dir = copy(name);
        change(&dir);
        drop(Process::serve(&dir));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_says_that_its_clock_is_not_held_any_more() {
    let dir = World::sqlite().await.stop().await;
    let mut sandbox = Command::new("timeout");
    sandbox.arg("5").arg(gateway().get_program()).args(["sandbox", "--dir"]).arg(dir.path());
    let said = String::from_utf8(sandbox.output().unwrap().stderr).unwrap();
    assert!(said.contains("the clock of the folder was set to 2026-11-20T16:00:00"), "{said}");
}
