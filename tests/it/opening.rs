//! What a node refuses to serve, and what it finds out once it serves: a log that is not the one it wrote.

use std::fs::OpenOptions;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use ap_gateway::clock::{Clock, Randomness, SystemClock};
use ap_gateway::config::Config;
use ap_gateway::gateway::{Node, Surroundings};
use ap_gateway::proto::v1::AuditEntry;
use ap_gateway::store::proposal::{Outcome, Proposal};
use ap_gateway::store::verification::{Finding, verify};
use ap_gateway::store::{Database, Location, Log, Salts};
use ap_gateway::tlog::Lineage;
use prost::bytes::Bytes;
use tokio::task::JoinSet;

use super::process::{Process, Sandbox};
use super::story::{mark, submission, submit};
use super::support::{World, gateway, post, run};

/// More than start looks at.
const ENTRIES: u64 = 10_500;
pub const HEALTH: &str = "/grpc.health.v1.Health/Check";

/// Appends entries of nobody, as many as it takes.
async fn grow(dir: &Path) {
    let (clock, random): (Arc<dyn Clock>, _) = (Arc::new(SystemClock), Randomness::system());
    let surroundings = Surroundings { clock: clock.clone(), real: clock.clone(), random: random.clone() };
    let node = Node::open(Config::load(&dir.join("gateway.toml")).unwrap(), surroundings).await.unwrap();
    let mut commits = JoinSet::new();
    for _ in node.committer.head().borrow().size..ENTRIES {
        let (committer, exchange) = (node.committer.clone(), random.uuid_v7(clock.now()));
        let entry =
            AuditEntry { exchange_id: exchange.into_bytes().to_vec().into(), ..AuditEntry::default() };
        let proposal = Proposal {
            exchange,
            entry,
            identity: Vec::new(),
            request: None,
            remember: false,
            guards: Vec::new(),
            bumps: Vec::new(),
            rows: Vec::new(),
            parties: Vec::new(),
            leaves: Vec::new(),
            reply: Bytes::new(),
            salts: Salts::new(&random),
            sealed_salts: Vec::new(),
        };
        commits.spawn(async move { matches!(committer.commit(proposal).await, Outcome::Committed { .. }) });
    }
    assert!(commits.join_all().await.into_iter().all(|committed| committed));
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_was_altered_long_ago_is_found_while_serving() {
    let world = World::sqlite().await;
    assert!(post(world.dir.path(), world.address(), HEALTH).contains("\u{8}\u{1}"), "SERVING");
    let dir = world.stop().await;
    grow(dir.path()).await;
    let key = std::fs::read_to_string(dir.path().join("log-key")).unwrap();
    let key = Lineage::parse(key.trim()).unwrap();
    let database = Database::open(&Location::Sqlite(dir.path().join("gateway.sqlite"))).await.unwrap();
    let log = Log::new(database.clone());
    assert_eq!(verify(&log, ENTRIES, &key).await.unwrap(), None);
    let mut conn = database.writer().await.unwrap();
    let sql = "UPDATE entries SET bytes = (SELECT bytes FROM entries WHERE idx = 8) WHERE idx = 7";
    assert_eq!(conn.execute(sql, vec![]).await.unwrap(), 1);
    drop(conn);
    let found = Finding { index: 7, what: "an entry of the log was changed" };
    assert_eq!(verify(&log, ENTRIES, &key).await.unwrap(), Some(found));
    database.close().await;
    let world = World::serve(dir).await;
    let mut told = String::new();
    for _ in 0..100 {
        told = post(world.dir.path(), world.address(), HEALTH);
        if told.contains("\u{8}\u{2}") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(told.contains("\u{8}\u{2}"), "NOT_SERVING: {told:?}");
    world.stop().await;
}

/// How `serve` ends on the sandbox in a folder, and what it says; code 124 when it serves.
pub fn serve(dir: &Path) -> (i32, String) {
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
        let (code, told) = serve(&dir);
        assert_eq!(code, 1, "{name}: {told}");
        assert!(told.contains(why), "{name}: {told}");
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
    refused("another log's anchor", "a checkpoint's signature is wrong", &|dir| {
        std::fs::copy(other.path().join("anchor"), dir.join("anchor")).unwrap();
    });
    // What can be made up for is: the log is as it was, and everything in it was acknowledged.
    for (name, change) in [
        ("an older anchor", &(|dir: &Path| replace(dir, "anchor")) as &dyn Fn(&Path)),
        ("damaged shared memory", &damage("gateway.sqlite-shm")),
    ] {
        let dir = copy(name);
        change(&dir);
        drop(Process::serve(&dir));
    }
}
