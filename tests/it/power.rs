//! A power cut. What a served sandbox writes under load is recorded by strace, and replayed into what a disk
//! may hold when the power fails at any moment: what was synced, and of the 512-byte sectors that were not,
//! any. Each image is opened as `serve` would, and every exchange acknowledged before the cut is looked for, with
//! all that it wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ap_gateway::cli::{audit, profile, sandbox};
use ap_gateway::client::{Client, ClientError, reason};
use ap_gateway::clock::Randomness;
use ap_gateway::proto;
use ap_gateway::proto::v1::Receipt;
use ap_gateway::store::{Database, Location, Row, StoreError, opened};
use ap_gateway::tlog::Lineage;
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::disk::{Disk, Image};
use super::process::{Process, fold_often};
use super::rows::ROWS;
use super::stage::{Stage, descriptor, row};
use super::story::{id, mark, submission, submit};
use super::support::World;
use super::trace::{CALLS, Step, What, now, steps};
use super::wire::receipt_of;

const IMAGES: usize = 1_000;
/// Of these the whole log is verified, with every mark; of the others what start checks.
const VERIFIED: usize = 50;
/// Images of a disk that ignores syncs.
const UNSYNCED: usize = 50;
/// Children of provider-a, each with a caller of its own, who submits a mark a day.
const CHILDREN: usize = 8;
const DAYS: usize = 60;
/// How often a call is sent again that the others, who change what it rests on, have kept from being decided.
const AGAIN: usize = 20;
const DATABASE: &str = "gateway.sqlite";
const WAL: &str = "gateway.sqlite-wal";
const ANCHOR: &str = "anchor";

/// An exchange, and when its caller had the answer.
#[derive(Clone)]
struct Acknowledged {
    time: u64,
    exchange: Uuid,
    index: u64,
}

impl Acknowledged {
    fn by(receipt: &Receipt) -> Self {
        let exchange = Uuid::parse_str(&receipt.exchange_id).unwrap();
        Self { time: now(), exchange, index: receipt.index }
    }
}

struct Recording {
    dir: TempDir,
    base: BTreeMap<&'static str, Vec<u8>>,
    steps: Vec<Step>,
    acknowledged: Vec<Acknowledged>,
    /// When an exchange of each method that changes something was acknowledged.
    methods: Vec<u64>,
    /// The database when all was acknowledged, and the query that counts what entries up to one wrote.
    whole: Database,
    counting: &'static str,
}

/// Submits one mark after another until the days are over.
async fn load(client: Client, placement: String) -> Vec<Acknowledged> {
    let mut acknowledged = Vec::new();
    for day in 0..DAYS {
        let date = format!("2026-{:02}-{:02}", 9 + day / 30, day % 30 + 1);
        let request = submission(vec![mark(&placement, &date, "/")]);
        let mut told = submit(&client, &request).await;
        for _ in 0..AGAIN {
            if !matches!(&told, Err(ClientError::Refused(status)) if reason(status) == "CONTENDED") {
                break;
            }
            told = submit(&client, &request).await;
        }
        acknowledged.push(Acknowledged::by(&told.unwrap().receipt));
    }
    acknowledged
}

/// Calls every method that changes something, by its row.
async fn call_every_method(stage: &mut Stage) -> Vec<Acknowledged> {
    let mutating = |method: &str| proto::is_mutating(&descriptor(method));
    for method in proto::methods().filter(proto::is_mutating) {
        assert!(row(method.name()).is_some(), "{} has no row in tests/it/rows.rs", method.name());
    }
    let mut acknowledged = Vec::new();
    for row in ROWS.iter().filter(|row| mutating(row.method)) {
        let request = stage.request(row, false);
        let mut answer = stage.call(row.caller, row.method, &request).await;
        for _ in 0..AGAIN {
            if answer.told() == "CONTENDED" {
                answer = stage.call(row.caller, row.method, &request).await;
            }
        }
        assert_eq!(answer.told(), "OK", "{}", row.method);
        let receipts = answer.messages.iter().filter_map(receipt_of);
        acknowledged.extend(receipts.map(|receipt| Acknowledged::by(&receipt)));
    }
    acknowledged
}

async fn record() -> Recording {
    let world = World::sqlite().await;
    let mut placements = world.placements("la-a", "provider-a");
    placements.extend(world.placements("school", "provider-a"));
    let mut stage = Stage::set(world.dir.path(), Randomness::system()).await;
    let dir = world.stop().await;
    fold_often(dir.path());
    let file = |name: &str| dir.path().join(name);
    // Closing has folded the write-ahead log back: its making is part of the recording.
    assert!(!file(WAL).exists());
    let base = [DATABASE, ANCHOR].map(|name| (name, std::fs::read(file(name)).unwrap())).into();
    let trace = file("trace");
    let mut strace = vec!["-y", "-ttt", "-s", "65536", "-e", CALLS, "-o", trace.to_str().unwrap()];
    let watched = [dir.path().to_owned(), file(DATABASE), file(WAL), file(ANCHOR)];
    strace.extend(watched.iter().flat_map(|path| ["-P", path.to_str().unwrap()]));
    let server = Process::traced(dir.path(), &strace);
    let mut loads = JoinSet::new();
    for placement in placements {
        let client = profile::connect(&sandbox::profile(dir.path(), "provider-a")).await.unwrap();
        loads.spawn(load(client, placement));
    }
    stage.hang_up();
    let mut acknowledged = call_every_method(&mut stage).await;
    let methods = acknowledged.iter().map(|it| it.time).collect();
    acknowledged.extend(loads.join_all().await.concat());
    drop(stage);
    server.cut(&trace);
    let steps = steps(&trace);
    let whole = Database::open(&Location::Sqlite(file(DATABASE))).await.unwrap();
    let counting = counting(&whole).await;
    Recording { dir, base, steps, acknowledged, methods, whole, counting }
}

/// Counts the rows of entries up to one in every table that is keyed by the log.
async fn counting(database: &Database) -> &'static str {
    let sql = "SELECT m.name FROM sqlite_schema m JOIN pragma_table_info(m.name) c \
               WHERE m.type = 'table' AND c.name = 'idx' AND m.name <> 'heads'";
    let tables = database.reader().await.unwrap().fetch(sql, vec![]).await.unwrap();
    let tables = tables.iter().map(|row| row.text(0).unwrap());
    let counts: Vec<String> =
        tables.map(|table| format!("SELECT '{table}', COUNT(*) FROM {table} WHERE idx <= $1")).collect();
    assert!(counts.len() > 15, "{}", counts.len());
    counts.join(" UNION ALL ").leak()
}

async fn counts(database: &Database, counting: &'static str, last: i64) -> Result<Vec<Row>, StoreError> {
    database.reader().await?.fetch(counting, vec![last.into()]).await
}

/// What must be found on an image.
struct Expected {
    exchanges: BTreeSet<Uuid>,
    /// The last of them, and how many rows the log up to it wrote.
    last: i64,
    counts: Vec<Row>,
    counting: &'static str,
    /// For the verification of the whole log, where it is verified.
    ring: Option<PathBuf>,
}

/// Opens an image as `serve` would; what is lost, in words.
async fn check(image: Image, expected: Expected, log_key: &str) -> Result<(), String> {
    let memory = Path::new("/dev/shm");
    let dir = if memory.exists() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap();
    for (name, bytes) in image {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    let (path, anchor) = (dir.path().join(DATABASE), dir.path().join(ANCHOR));
    let database =
        Database::open(&Location::Sqlite(path.clone())).await.map_err(|error| error.to_string())?;
    let keys = Lineage::parse(log_key.trim()).unwrap();
    drop(opened::open(&database, &anchor, &keys).await.map_err(|error| error.to_string())?);
    let sql = "SELECT exchange FROM entries";
    let rows =
        database.reader().await.unwrap().fetch(sql, vec![]).await.map_err(|error| error.to_string())?;
    let stored: Result<BTreeSet<Uuid>, _> = rows.iter().map(|row| row.id(0)).collect();
    let stored = stored.map_err(|error| error.to_string())?;
    let lost = expected.exchanges.difference(&stored).count();
    if lost > 0 {
        return Err(format!("{lost} of {} acknowledged exchanges are lost", expected.exchanges.len()));
    }
    let counts = counts(&database, expected.counting, expected.last).await;
    database.close().await;
    for (kept, written) in counts.map_err(|error| error.to_string())?.iter().zip(&expected.counts) {
        if kept.int(1).unwrap() != written.int(1).unwrap() {
            return Err(format!("rows of {} are lost", written.text(0).unwrap()));
        }
    }
    if let Some(ring) = expected.ring {
        let report = audit::verify_copy(&path, log_key, Some(&anchor), Some(&ring)).await;
        let findings = report.map_err(|error| error.to_string())?.findings;
        if let Some(first) = findings.first() {
            return Err(first.what.clone());
        }
    }
    Ok(())
}

/// Random moments, and those at which a method's answer had just come.
fn moments(recording: &Recording, images: usize, random: &Randomness) -> Vec<usize> {
    let drawn = (0..images).map(|_| {
        let mut bytes = [0; 8];
        random.fill(&mut bytes);
        usize::try_from(u64::from_be_bytes(bytes) % recording.steps.len() as u64).unwrap()
    });
    let behind = recording.methods.iter();
    let behind = behind.filter_map(|time| recording.steps.iter().position(|step| step.time > *time));
    let mut moments: Vec<usize> = drawn.chain(behind).collect();
    moments.sort_unstable();
    moments
}

/// Cuts the power at so many moments and more; what was lost at which.
async fn cut(recording: &Recording, images: usize, syncs: bool, random: &Randomness) -> Vec<String> {
    let log_key: Arc<str> = std::fs::read_to_string(recording.dir.path().join("log-key")).unwrap().into();
    let (mut disk, mut at) = (Disk::new(recording.dir.path(), &recording.base, syncs), 0);
    // As many images as cores are in memory at once.
    let (turns, mut checks) = (Arc::new(Semaphore::new(2)), JoinSet::new());
    for (number, moment) in moments(recording, images, random).into_iter().enumerate() {
        recording.steps[at..moment].iter().for_each(|step| disk.step(step));
        at = moment;
        let time = recording.steps[moment].time;
        let acknowledged = recording.acknowledged.iter().filter(|it| it.time < time);
        let last = acknowledged.clone().map(|it| i64::try_from(it.index).unwrap()).max().unwrap_or(-1);
        let expected = Expected {
            exchanges: acknowledged.map(|it| it.exchange).collect(),
            last,
            counts: counts(&recording.whole, recording.counting, last).await.unwrap(),
            counting: recording.counting,
            ring: (number % (IMAGES / VERIFIED) == 0).then(|| recording.dir.path().join("key-ring")),
        };
        let image = disk.image(random);
        let (turn, log_key) = (Arc::clone(&turns).acquire_owned().await.unwrap(), Arc::clone(&log_key));
        checks.spawn(async move {
            let _turn = turn;
            let checked = check(image, expected, &log_key).await;
            checked.err().map(|lost| format!("image {number}, step {moment}: {lost}"))
        });
    }
    checks.join_all().await.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_loses_nothing_that_was_acknowledged() {
    let recording = record().await;
    let wrote = |file: &str| {
        let writes = recording.steps.iter().filter(|step| matches!(step.what, What::Wrote(..)));
        writes.filter(|step| step.file == file).count()
    };
    assert!(wrote(WAL) > 1_000 && wrote(ANCHOR) > 50, "{} {}", wrote(WAL), wrote(ANCHOR));
    let methods = proto::methods().filter(proto::is_mutating).count();
    assert!(recording.methods.len() >= methods && methods > 20, "{methods}");
    assert_eq!(recording.acknowledged.len(), CHILDREN * DAYS + recording.methods.len());
    assert!(wrote(DATABASE) > 0, "the write-ahead log was not folded back under load");
    let seed = id();
    let random = Randomness::seeded(seed.as_bytes());
    assert_eq!(cut(&recording, IMAGES, true, &random).await, Vec::<String>::new(), "seed {seed}");
    // The same without syncs must lose some, or this test could not fail.
    assert_ne!(cut(&recording, UNSYNCED, false, &random).await, Vec::<String>::new(), "seed {seed}");
}
