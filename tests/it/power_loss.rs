//! Power loss. strace records what a served sandbox writes under load; the recording is replayed on a simulated
//! disk and the power fails at any moment: synced data stays, any subset of the unsynced 512-byte sectors is lost.
//! Each image is opened as `serve` opens it and must hold every exchange acknowledged before the power loss, with
//! all rows that it wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ap_gateway::cli::{audit, profile, sandbox};
use ap_gateway::client::{Client, ClientError, reason};
use ap_gateway::clock::Randomness;
use ap_gateway::proto;
use ap_gateway::proto::v1::Receipt;
use ap_gateway::store::{Database, DatabaseLocation, Row, StoreError, log_startup};
use ap_gateway::tlog::LogKeyHistory;
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::example_requests::EXAMPLE_REQUESTS;
use super::exchange_semantics::{mark, new_id, submission, submit};
use super::fixtures::{Fixtures, find_example, method_descriptor};
use super::process::{Process, checkpoint_often};
use super::simulated_disk::{Image, SimulatedDisk};
use super::support::World;
use super::syscall_trace::{Effect, TRACED_CALLS, TraceStep, now_micros, parse_trace};
use super::wire::receipt_of;

const CRASH_IMAGES: usize = 1_000;
/// Images of which the whole log and every mark are verified; the others get the checks of a start.
const FULLY_VERIFIED_IMAGES: usize = 50;
/// Images of a disk that ignores syncs.
const IMAGES_WITHOUT_SYNC: usize = 50;
/// Children of provider-a. One caller submits a mark a day for each.
const CHILDREN: usize = 8;
const DAYS: usize = 60;
/// Maximum number of retries of a call that is refused as CONTENDED because the others change what it depends on.
const MAX_CONTENDED_RETRIES: usize = 20;
const DATABASE: &str = "gateway.sqlite";
const WAL: &str = "gateway.sqlite-wal";
const ANCHOR: &str = "anchor";

/// An acknowledged exchange, with the time at which its caller received the response.
#[derive(Clone)]
struct Acknowledged {
    time: u64,
    exchange: Uuid,
    index: u64,
}

impl Acknowledged {
    fn from_receipt(receipt: &Receipt) -> Self {
        let exchange = Uuid::parse_str(&receipt.exchange_id).unwrap();
        Self { time: now_micros(), exchange, index: receipt.index }
    }
}

struct Recording {
    dir: TempDir,
    base: BTreeMap<&'static str, Vec<u8>>,
    steps: Vec<TraceStep>,
    acknowledged: Vec<Acknowledged>,
    /// The times at which an exchange of each mutating method was acknowledged.
    method_times: Vec<u64>,
    /// The database at the end of the run, and the query that counts the rows of all entries up to an index.
    final_database: Database,
    count_query: &'static str,
}

/// Submits a mark for each day, one after the other.
async fn submit_marks(client: Client, placement: String) -> Vec<Acknowledged> {
    let mut acknowledged = Vec::new();
    for day in 0..DAYS {
        let date = format!("2026-{:02}-{:02}", 9 + day / 30, day % 30 + 1);
        let request = submission(vec![mark(&placement, &date, "/")]);
        let mut answer = submit(&client, &request).await;
        for _ in 0..MAX_CONTENDED_RETRIES {
            if !matches!(&answer, Err(ClientError::Refused(status)) if reason(status) == "CONTENDED") {
                break;
            }
            answer = submit(&client, &request).await;
        }
        acknowledged.push(Acknowledged::from_receipt(&answer.unwrap().receipt));
    }
    acknowledged
}

/// Calls every mutating method with its example request.
async fn call_every_method(stage: &mut Fixtures) -> Vec<Acknowledged> {
    let mutating = |method: &str| proto::is_mutating(&method_descriptor(method));
    for method in proto::methods().filter(proto::is_mutating) {
        assert!(
            find_example(method.name()).is_some(),
            "{} has no row in tests/it/example_requests.rs",
            method.name()
        );
    }
    let mut acknowledged = Vec::new();
    for row in EXAMPLE_REQUESTS.iter().filter(|row| mutating(row.method)) {
        let request = stage.request(row, false);
        let mut answer = stage.call(row.caller, row.method, &request).await;
        for _ in 0..MAX_CONTENDED_RETRIES {
            if answer.reason() == "CONTENDED" {
                answer = stage.call(row.caller, row.method, &request).await;
            }
        }
        assert_eq!(answer.reason(), "OK", "{}", row.method);
        let receipts = answer.messages.iter().filter_map(receipt_of);
        acknowledged.extend(receipts.map(|receipt| Acknowledged::from_receipt(&receipt)));
    }
    acknowledged
}

async fn record_run() -> Recording {
    let world = World::sqlite().await;
    let mut placements = world.placements("la-a", "provider-a");
    placements.extend(world.placements("school", "provider-a"));
    let mut stage = Fixtures::create(world.dir.path(), Randomness::system()).await;
    let dir = world.stop().await;
    checkpoint_often(dir.path());
    let file = |name: &str| dir.path().join(name);
    // The stop has checkpointed and removed the WAL, so its creation is part of the recording.
    assert!(!file(WAL).exists());
    let base = [DATABASE, ANCHOR].map(|name| (name, std::fs::read(file(name)).unwrap())).into();
    let trace = file("trace");
    let mut strace = vec!["-y", "-ttt", "-s", "65536", "-e", TRACED_CALLS, "-o", trace.to_str().unwrap()];
    let watched = [dir.path().to_owned(), file(DATABASE), file(WAL), file(ANCHOR)];
    strace.extend(watched.iter().flat_map(|path| ["-P", path.to_str().unwrap()]));
    let server = Process::serve_under_strace(dir.path(), &strace);
    let mut loads = JoinSet::new();
    for placement in placements {
        let client = profile::connect(&sandbox::profile_path(dir.path(), "provider-a")).await.unwrap();
        loads.spawn(submit_marks(client, placement));
    }
    stage.close_connections();
    let mut acknowledged = call_every_method(&mut stage).await;
    let methods = acknowledged.iter().map(|it| it.time).collect();
    acknowledged.extend(loads.join_all().await.concat());
    drop(stage);
    server.kill_and_await_trace(&trace);
    let steps = parse_trace(&trace);
    let whole = Database::open(&DatabaseLocation::Sqlite(file(DATABASE))).await.unwrap();
    let counting = row_count_query(&whole).await;
    Recording {
        dir,
        base,
        steps,
        acknowledged,
        method_times: methods,
        final_database: whole,
        count_query: counting,
    }
}

/// Builds the query that counts rows up to an entry index in every table with the column `idx`. Those that are derived
/// behind the commit may be lost with their progress.
async fn row_count_query(database: &Database) -> &'static str {
    let sql = "SELECT m.name FROM sqlite_schema m JOIN pragma_table_info(m.name) c \
               WHERE m.type = 'table' AND c.name = 'idx' \
               AND m.name NOT IN ('current_versions', 'callers', 'placement_entries',
               'practitioner_entries')";
    let tables = database.reader().await.unwrap().fetch(sql, vec![]).await.unwrap();
    let tables: Vec<_> = tables.iter().map(|row| row.get_str("name").unwrap()).collect();
    for table in ["entries", "marks", "placements", "parties"] {
        assert!(tables.contains(&table), "{table} is not among {tables:?}");
    }
    let counts: Vec<String> = tables
        .iter()
        .map(|table| format!("SELECT '{table}' AS name, COUNT(*) AS count FROM {table} WHERE idx <= $1"))
        .collect();
    counts.join(" UNION ALL ").leak()
}

async fn row_counts(database: &Database, counting: &'static str, last: i64) -> Result<Vec<Row>, StoreError> {
    database.reader().await?.fetch(counting, vec![last.into()]).await
}

/// The expected contents of an image.
struct Expected {
    exchanges: BTreeSet<Uuid>,
    /// The index of the last exchange, and the row counts of the log up to it.
    last: i64,
    counts: Vec<Row>,
    count_query: &'static str,
    /// The key ring, if the whole log is verified.
    key_files: Option<[PathBuf; 2]>,
}

/// Opens an image as `serve` opens it. Returns an error that describes what is lost.
async fn check_image(image: Image, expected: Expected, log_key: &str) -> Result<(), String> {
    let memory = Path::new("/dev/shm");
    let dir = if memory.exists() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap();
    for (name, bytes) in image {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    let (path, anchor) = (dir.path().join(DATABASE), dir.path().join(ANCHOR));
    let database =
        Database::open(&DatabaseLocation::Sqlite(path.clone())).await.map_err(|error| error.to_string())?;
    let keys = LogKeyHistory::parse(log_key.trim()).unwrap();
    drop(log_startup::open_log(&database, &anchor, &keys).await.map_err(|error| error.to_string())?);
    let sql = "SELECT exchange FROM entries";
    let rows =
        database.reader().await.unwrap().fetch(sql, vec![]).await.map_err(|error| error.to_string())?;
    let stored: Result<BTreeSet<Uuid>, _> = rows.iter().map(|row| row.get("exchange")).collect();
    let stored = stored.map_err(|error| error.to_string())?;
    let lost = expected.exchanges.difference(&stored).count();
    if lost > 0 {
        return Err(format!("{lost} of {} acknowledged exchanges are lost", expected.exchanges.len()));
    }
    let counts = row_counts(&database, expected.count_query, expected.last).await;
    database.close().await;
    for (kept, written) in counts.map_err(|error| error.to_string())?.iter().zip(&expected.counts) {
        if kept.get::<i64>("count").unwrap() != written.get::<i64>("count").unwrap() {
            return Err(format!("rows of {} are lost", written.get_str("name").unwrap()));
        }
    }
    if let Some([ring, key]) = expected.key_files {
        let files =
            audit::VerifyFiles { anchor: Some(&anchor), key_ring: Some(&ring), commitment_key: Some(&key) };
        let report = audit::verify_database_copy(&path, log_key, files).await;
        let findings = report.map_err(|error| error.to_string())?.findings;
        if let Some(first) = findings.first() {
            return Err(first.to_string());
        }
    }
    Ok(())
}

/// Draws random steps, and adds the steps right after the response to each mutating method.
fn crash_points(recording: &Recording, images: usize, random: &Randomness) -> Vec<usize> {
    let drawn = (0..images).map(|_| {
        let mut bytes = [0; 8];
        random.fill(&mut bytes);
        usize::try_from(u64::from_be_bytes(bytes) % recording.steps.len() as u64).unwrap()
    });
    let behind = recording.method_times.iter();
    let behind = behind.filter_map(|time| recording.steps.iter().position(|step| step.time > *time));
    let mut moments: Vec<usize> = drawn.chain(behind).collect();
    moments.sort_unstable();
    moments
}

/// Simulates power losses and returns a description of each loss of data.
async fn simulate_power_cuts(
    recording: &Recording,
    images: usize,
    syncs: bool,
    random: &Randomness,
) -> Vec<String> {
    let log_key: Arc<str> = std::fs::read_to_string(recording.dir.path().join("log-key")).unwrap().into();
    let (mut disk, mut at) = (SimulatedDisk::new(recording.dir.path(), &recording.base, syncs), 0);
    // At most two images are in memory at once.
    let (turns, mut checks) = (Arc::new(Semaphore::new(2)), JoinSet::new());
    for (number, moment) in crash_points(recording, images, random).into_iter().enumerate() {
        recording.steps[at..moment].iter().for_each(|step| disk.apply_step(step));
        at = moment;
        let time = recording.steps[moment].time;
        let acknowledged = recording.acknowledged.iter().filter(|it| it.time < time);
        let last = acknowledged.clone().map(|it| i64::try_from(it.index).unwrap()).max().unwrap_or(-1);
        let expected = Expected {
            exchanges: acknowledged.map(|it| it.exchange).collect(),
            last,
            counts: row_counts(&recording.final_database, recording.count_query, last).await.unwrap(),
            count_query: recording.count_query,
            key_files: (number % (CRASH_IMAGES / FULLY_VERIFIED_IMAGES) == 0)
                .then(|| ["key-ring", "commitment-key"].map(|name| recording.dir.path().join(name))),
        };
        let image = disk.crash_image(random);
        let (turn, log_key) = (Arc::clone(&turns).acquire_owned().await.unwrap(), Arc::clone(&log_key));
        checks.spawn(async move {
            let _turn = turn;
            let checked = check_image(image, expected, &log_key).await;
            checked.err().map(|lost| format!("image {number}, step {moment}: {lost}"))
        });
    }
    checks.join_all().await.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_loses_nothing_that_was_acknowledged() {
    let recording = record_run().await;
    let wrote = |file: &str| {
        let writes = recording.steps.iter().filter(|step| matches!(step.effect, Effect::Wrote(..)));
        writes.filter(|step| step.file == file).count()
    };
    assert!(wrote(WAL) > 1_000 && wrote(ANCHOR) > 50, "{} {}", wrote(WAL), wrote(ANCHOR));
    let methods = proto::methods().filter(proto::is_mutating).count();
    assert!(recording.method_times.len() >= methods, "each of {methods} methods was called");
    assert_eq!(recording.acknowledged.len(), CHILDREN * DAYS + recording.method_times.len());
    assert!(wrote(DATABASE) > 0, "no WAL checkpoint happened under load");
    let seed = new_id();
    let random = Randomness::seeded(seed.as_bytes());
    assert_eq!(
        simulate_power_cuts(&recording, CRASH_IMAGES, true, &random).await,
        Vec::<String>::new(),
        "seed {seed}"
    );
    // Without syncs some data must be lost; otherwise this test could not fail.
    assert_ne!(
        simulate_power_cuts(&recording, IMAGES_WITHOUT_SYNC, false, &random).await,
        Vec::<String>::new(),
        "seed {seed}"
    );
}
