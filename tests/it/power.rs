//! A power cut. What a served sandbox writes under load is recorded by strace, and replayed into what a disk
//! may hold when the power fails at any moment: what was synced, and of the 512-byte sectors that were not,
//! any. Each image is opened as `serve` would, and every return acknowledged before the cut is looked for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use ap_gateway::cli::{audit, profile, sandbox};
use ap_gateway::client::Client;
use ap_gateway::clock::Randomness;
use ap_gateway::store::{Database, Location, opened};
use ap_gateway::tlog::Verifier;
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::process::Process;
use super::story::{id, mark, submission, submit};
use super::support::World;
use super::trace::{CALLS, Step, What, now, steps};

const IMAGES: usize = 1_000;
/// Of these the whole log is verified, with every mark; of the others what start checks.
const VERIFIED: usize = 50;
/// Images of a disk that ignores syncs.
const UNSYNCED: usize = 50;
/// Children of provider-a, each with a caller of its own, who submits a mark a day.
const CHILDREN: usize = 8;
const DAYS: usize = 60;
const SECTOR: usize = 512;
const DATABASE: &str = "gateway.sqlite";
const WAL: &str = "gateway.sqlite-wal";
const ANCHOR: &str = "anchor";

/// What is found on the disk.
type Image = BTreeMap<String, Vec<u8>>;

/// A return's request id, and when its caller had the answer.
type Acknowledged = (u64, Uuid);

struct Recording {
    dir: TempDir,
    base: BTreeMap<&'static str, Vec<u8>>,
    steps: Vec<Step>,
    acknowledged: Vec<Acknowledged>,
}

/// Submits one mark after another until the days are over.
async fn load(client: Client, placement: String) -> Vec<Acknowledged> {
    let mut acknowledged = Vec::new();
    for day in 0..DAYS {
        let date = format!("2026-{:02}-{:02}", 9 + day / 30, day % 30 + 1);
        let request = submission(vec![mark(&placement, &date, "/")]);
        submit(&client, &request).await.unwrap();
        acknowledged.push((now(), Uuid::parse_str(&request.request_id).unwrap()));
    }
    acknowledged
}

async fn record() -> Recording {
    let world = World::sqlite().await;
    let mut placements = world.placements("la-a", "provider-a");
    placements.extend(world.placements("school", "provider-a"));
    let dir = world.stop().await;
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
    let acknowledged = loads.join_all().await.concat();
    server.cut(&trace);
    let steps = steps(&trace);
    Recording { dir, base, steps, acknowledged }
}

/// A file as the disk holds it.
#[derive(Default)]
struct File {
    /// Whether its name is on the disk.
    linked: bool,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
    /// How many of them the sync that is under way covers.
    covered: usize,
}

enum Change {
    Write(usize, Vec<u8>),
    Size(usize),
}

impl Change {
    /// Applies it, or of its sectors those that `keeps` says.
    fn apply(&self, to: &mut Vec<u8>, mut keeps: impl FnMut() -> bool) {
        match self {
            Self::Size(size) if keeps() => to.resize(*size, 0),
            Self::Size(_) => {}
            Self::Write(offset, data) => {
                let (mut at, mut rest) = (*offset, &data[..]);
                while !rest.is_empty() {
                    let (sector, later) = rest.split_at(rest.len().min(SECTOR - at % SECTOR));
                    if keeps() {
                        to.resize(to.len().max(at + sector.len()), 0);
                        to[at..at + sector.len()].copy_from_slice(sector);
                    }
                    (at, rest) = (at + sector.len(), later);
                }
            }
        }
    }
}

/// The disk, as far as a recording has been replayed.
struct Disk<'a> {
    folder: String,
    files: BTreeMap<&'a str, File>,
    /// Whether it does what a sync asks for.
    syncs: bool,
}

impl<'a> Disk<'a> {
    fn new(recording: &'a Recording, syncs: bool) -> Self {
        let file = |bytes: &Vec<u8>| File { linked: true, durable: bytes.clone(), ..File::default() };
        let files = recording.base.iter().map(|(name, bytes)| (*name, file(bytes))).collect();
        let folder = recording.dir.path().file_name().unwrap().to_str().unwrap().to_owned();
        Self { folder, files, syncs }
    }

    fn step(&mut self, step: &'a Step) {
        if step.file == self.folder {
            if matches!(step.what, What::SyncEnded) && self.syncs {
                self.files.values_mut().for_each(|file| file.linked = true);
            }
            return;
        }
        let file = self.files.entry(&step.file).or_default();
        match &step.what {
            What::Wrote(at, data) => file.unsynced.push(Change::Write(*at, data.clone())),
            What::Sized(size) => file.unsynced.push(Change::Size(*size)),
            What::SyncBegan => file.covered = file.unsynced.len(),
            What::SyncEnded if self.syncs => {
                for change in file.unsynced.drain(..file.covered) {
                    change.apply(&mut file.durable, || true);
                }
            }
            What::SyncEnded => {}
            other => panic!("{other:?} of {} is not replayed", step.file),
        }
    }

    /// What may be on it when the power fails now.
    fn image(&self, random: &Randomness) -> Image {
        let draw = || {
            let mut byte = [0];
            random.fill(&mut byte);
            byte[0]
        };
        // Some caches are written back eagerly, some hardly at all.
        let eager = [0, 32, 128, 224, 255][usize::from(draw()) % 5];
        let mut image = BTreeMap::new();
        for (name, file) in &self.files {
            let mut bytes = file.durable.clone();
            for change in &file.unsynced {
                change.apply(&mut bytes, || draw() <= eager && eager > 0);
            }
            if file.linked || draw() < 128 {
                image.insert((*name).to_owned(), bytes);
            }
        }
        image
    }
}

/// Opens an image as `serve` would; what is lost, in words.
async fn check(
    image: Image,
    acknowledged: BTreeSet<Uuid>,
    log_key: &str,
    ring: Option<&Path>,
) -> Result<(), String> {
    let memory = Path::new("/dev/shm");
    let dir = if memory.exists() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap();
    for (name, bytes) in image {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    let (path, anchor) = (dir.path().join(DATABASE), dir.path().join(ANCHOR));
    let database =
        Database::open(&Location::Sqlite(path.clone())).await.map_err(|error| error.to_string())?;
    let verifier = Verifier::parse(log_key.trim()).unwrap();
    drop(opened::open(&database, &anchor, &verifier).await.map_err(|error| error.to_string())?);
    let mut conn = database.reader().await.unwrap();
    let sql = "SELECT e.request_id FROM marks m JOIN entries e ON e.idx = m.idx";
    let rows = conn.fetch(sql, vec![]).await.map_err(|error| error.to_string())?;
    drop(conn);
    database.close().await;
    let stored: BTreeSet<Uuid> = rows.iter().map(|row| row.id(0).unwrap()).collect();
    let lost = acknowledged.difference(&stored).count();
    if lost > 0 {
        return Err(format!("{lost} of {} acknowledged returns are lost", acknowledged.len()));
    }
    if let Some(ring) = ring {
        let report = audit::verify_copy(&path, log_key, Some(&anchor), Some(ring)).await;
        let findings = report.map_err(|error| error.to_string())?.findings;
        if let Some(first) = findings.first() {
            return Err(first.what.clone());
        }
    }
    Ok(())
}

/// Cuts the power at random moments; what was lost at which.
async fn cut(recording: &Recording, images: usize, syncs: bool, random: &Randomness) -> Vec<String> {
    let mut moments: Vec<usize> = (0..images)
        .map(|_| {
            let mut bytes = [0; 8];
            random.fill(&mut bytes);
            usize::try_from(u64::from_be_bytes(bytes) % recording.steps.len() as u64).unwrap()
        })
        .collect();
    moments.sort_unstable();
    let log_key: Arc<str> = std::fs::read_to_string(recording.dir.path().join("log-key")).unwrap().into();
    let (mut disk, mut at) = (Disk::new(recording, syncs), 0);
    // As many images as cores are in memory at once.
    let (turns, mut checks) = (Arc::new(Semaphore::new(2)), JoinSet::new());
    for (number, moment) in moments.into_iter().enumerate() {
        recording.steps[at..moment].iter().for_each(|step| disk.step(step));
        at = moment;
        let time = recording.steps[moment].time;
        let acknowledged = recording.acknowledged.iter().filter(|(when, _)| *when < time);
        let acknowledged: BTreeSet<Uuid> = acknowledged.map(|(_, request)| *request).collect();
        let image = disk.image(random);
        let ring = (number % (IMAGES / VERIFIED) == 0).then(|| recording.dir.path().join("key-ring"));
        let (turn, log_key) = (Arc::clone(&turns).acquire_owned().await.unwrap(), Arc::clone(&log_key));
        checks.spawn(async move {
            let _turn = turn;
            let checked = check(image, acknowledged, &log_key, ring.as_deref()).await;
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
    assert_eq!(recording.acknowledged.len(), CHILDREN * DAYS);
    assert!(wrote(DATABASE) > 0, "the write-ahead log was not folded back under load");
    let seed = id();
    let random = Randomness::seeded(seed.as_bytes());
    assert_eq!(cut(&recording, IMAGES, true, &random).await, Vec::<String>::new(), "seed {seed}");
    // The same without syncs must lose some, or this test could not fail.
    assert_ne!(cut(&recording, UNSYNCED, false, &random).await, Vec::<String>::new(), "seed {seed}");
}
