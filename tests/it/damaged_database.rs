//! A database that reports damage ends the process, as a failed sync does: exit code 70 and one line. Whatever is
//! served from it afterwards could be wrong, and what is written could make it worse.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use ap_gateway::store::{Database, Snapshot, StoreError};

use super::ended_rights::get_riverside;
use super::exchange_semantics::{get_attendance, mark, submission, submit};
use super::faults::late_mark;
use super::process::{Process, Sandbox};
use super::startup_checks::serve_briefly;
use super::support::{World, gateway};

const DATABASE: &str = "gateway.sqlite";
const PAGE_BYTES: u64 = 4_096;
/// Time limit for the process to end once it has met the damage.
const MAX_EXIT_TIME: Duration = Duration::from_secs(10);

/// Overwrites every page of a database file except the first, which holds the file's header.
fn overwrite_pages(path: &Path) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    let pages = file.metadata().unwrap().len() / PAGE_BYTES;
    assert!(pages > 100, "{pages}");
    for page in 1..pages {
        file.write_all_at(&[0xa5; 4_096], page * PAGE_BYTES).unwrap();
    }
}

fn only_line(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("ap-gateway: ")).collect();
    let [line] = lines[..] else { panic!("{text}") };
    line.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sqlite_file_that_is_damaged_while_it_is_served_ends_the_process() {
    let sandbox = Sandbox::new();
    let stderr = sandbox.path().join("stderr");
    for reads_only in [true, false] {
        sandbox.remove_wal();
        let original = std::fs::read(sandbox.path().join(DATABASE)).unwrap();
        let anchor = std::fs::read(sandbox.path().join("anchor")).unwrap();
        let mut command = gateway();
        command.stderr(File::create(&stderr).unwrap());
        let server = Process::start(command, sandbox.path(), &[]);
        let client = sandbox.client("provider-a").await;
        overwrite_pages(&sandbox.path().join(DATABASE));
        // Pages that a connection has cached are still read as they were.
        let mut failed = false;
        for session in 0..200 {
            failed = if reads_only {
                get_attendance(&client, &sandbox.placement).await.is_err()
            } else {
                submit(&client, &submission(vec![late_mark(&sandbox.placement, session)])).await.is_err()
            };
            if failed {
                break;
            }
        }
        assert!(failed, "no damaged page was read");
        assert_eq!(server.wait_for_exit_within(MAX_EXIT_TIME).code(), Some(70));
        let line = only_line(&stderr);
        assert!(line.contains("the database is damaged: SQLITE_CORRUPT"), "{line}");
        for (name, bytes) in [(DATABASE, &original), ("anchor", &anchor)] {
            std::fs::write(sandbox.path().join(name), bytes).unwrap();
        }
        for name in ["gateway.sqlite-wal", "gateway.sqlite-shm"] {
            std::fs::remove_file(sandbox.path().join(name)).ok();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_sqlite_file_is_not_served() {
    let sandbox = Sandbox::new();
    sandbox.remove_wal();
    overwrite_pages(&sandbox.path().join(DATABASE));
    let (code, stderr) = serve_briefly(sandbox.path());
    assert_eq!(code, 70, "{stderr}");
    assert!(stderr.contains("the database is damaged: SQLITE_CORRUPT"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

/// Makes PostgreSQL report damage where rows are written to a table.
const DAMAGED_TABLE: &str = "CREATE FUNCTION damaged() RETURNS trigger LANGUAGE plpgsql AS \
    $$ BEGIN RAISE EXCEPTION 'invalid page in block 3' USING ERRCODE = 'XX001'; END $$; \
    CREATE TRIGGER damaged BEFORE INSERT ON marks FOR EACH ROW EXECUTE FUNCTION damaged()";

/// Makes PostgreSQL report damage where this function is called.
const DAMAGED_INDEX: &str = "CREATE FUNCTION damaged_index() RETURNS TEXT LANGUAGE plpgsql AS \
    $$ BEGIN RAISE EXCEPTION 'the index holds an invalid tuple' USING ERRCODE = 'XX002'; END $$";

#[tokio::test(flavor = "multi_thread")]
async fn damage_that_postgresql_reports_ends_the_node() {
    let world = World::postgres().await;
    let database = world.database().await;
    database.writer().await.unwrap().command(DAMAGED_INDEX).await.unwrap();
    a_reader_reports_damage(&database).await;
    database.writer().await.unwrap().command(DAMAGED_TABLE).await.unwrap();
    database.close().await;
    let client = world.client("provider-a").await;
    get_riverside(&client).await.unwrap();
    let placement = world.placements("la-a", "provider-a").remove(0);
    submit(&client, &submission(vec![mark(&placement, "2026-11-02", "/")])).await.unwrap_err();
    let ended = tokio::time::timeout(MAX_EXIT_TIME, world.ended()).await.unwrap().unwrap_err().to_string();
    assert!(ended.contains("the database is damaged: data_corrupted (XX001)"), "{ended}");
}

/// Checks that damage which a snapshot meets is reported to whoever serves from the database.
async fn a_reader_reports_damage(database: &Database) {
    let mut snapshot = Snapshot::new(database);
    let read = snapshot.fetch("SELECT damaged_index() AS text", vec![]).await.map(drop);
    assert!(matches!(read, Err(StoreError::Damaged { code: "index_corrupted (XX002)", .. })), "{read:?}");
    let reported = tokio::time::timeout(MAX_EXIT_TIME, database.damaged()).await.unwrap();
    assert!(matches!(reported, StoreError::Damaged { code: "index_corrupted (XX002)", .. }), "{reported:?}");
}
