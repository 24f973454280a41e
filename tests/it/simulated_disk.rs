//! A simulated disk that loses power: synced data stays; any subset of the unsynced 512-byte sectors is lost.

use std::collections::BTreeMap;
use std::path::Path;

use ap_gateway::clock::Randomness;

use super::syscall_trace::{Effect, TraceStep};

const SECTOR_BYTES: usize = 512;

/// The files of a disk image, by name.
pub type Image = BTreeMap<String, Vec<u8>>;

/// A file on the simulated disk.
#[derive(Default)]
struct DiskFile {
    /// Whether the directory entry is durable.
    linked: bool,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
    /// The number of changes that the running sync of each thread covers.
    covered: BTreeMap<String, usize>,
}

enum Change {
    Write(usize, Vec<u8>),
    Resize(usize),
}

impl Change {
    /// Applies the change; each sector only if `keeps` returns true.
    fn apply(&self, to: &mut Vec<u8>, mut keeps: impl FnMut() -> bool) {
        match self {
            Self::Resize(size) if keeps() => to.resize(*size, 0),
            Self::Resize(_) => {}
            Self::Write(offset, data) => {
                let (mut at, mut rest) = (*offset, &data[..]);
                while !rest.is_empty() {
                    let (sector, later) = rest.split_at(rest.len().min(SECTOR_BYTES - at % SECTOR_BYTES));
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

/// The disk after a prefix of a recording.
pub struct SimulatedDisk<'a> {
    folder: String,
    files: BTreeMap<&'a str, DiskFile>,
    /// Whether syncs are effective.
    syncs: bool,
}

impl<'a> SimulatedDisk<'a> {
    /// Creates a disk with a folder of these files.
    pub fn new(folder: &Path, base: &BTreeMap<&'a str, Vec<u8>>, syncs: bool) -> Self {
        let file = |bytes: &Vec<u8>| DiskFile { linked: true, durable: bytes.clone(), ..DiskFile::default() };
        let files = base.iter().map(|(name, bytes)| (*name, file(bytes))).collect();
        let folder = folder.file_name().unwrap().to_str().unwrap().to_owned();
        Self { folder, files, syncs }
    }

    /// Applies a step of a recording.
    pub fn apply_step(&mut self, step: &'a TraceStep) {
        if step.file == self.folder {
            if matches!(step.effect, Effect::SyncEnded) && self.syncs {
                self.files.values_mut().for_each(|file| file.linked = true);
            }
            return;
        }
        let file = self.files.entry(&step.file).or_default();
        match &step.effect {
            Effect::Wrote(at, data) => file.unsynced.push(Change::Write(*at, data.clone())),
            Effect::Resized(size) => file.unsynced.push(Change::Resize(*size)),
            Effect::SyncBegan => {
                file.covered.insert(step.thread.clone(), file.unsynced.len());
            }
            Effect::SyncEnded if self.syncs => {
                let covered = file.covered.remove(&step.thread).unwrap();
                for change in file.unsynced.drain(..covered) {
                    change.apply(&mut file.durable, || true);
                }
                file.covered.values_mut().for_each(|other| *other = other.saturating_sub(covered));
            }
            Effect::SyncEnded => {}
            other => panic!("{other:?} of {} is not replayed", step.file),
        }
    }

    /// Draws an image that the disk may hold if the power fails now.
    pub fn crash_image(&self, random: &Randomness) -> Image {
        let draw = || {
            let mut byte = [0];
            random.fill(&mut byte);
            byte[0]
        };
        // The share of unsynced sectors that reached the disk varies from image to image.
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
