//! A disk that may lose its power: what was synced stays, and of the 512-byte sectors that were not, any.

use std::collections::BTreeMap;
use std::path::Path;

use ap_gateway::clock::Randomness;

use super::trace::{Step, What};

const SECTOR: usize = 512;

/// What is found on the disk.
pub type Image = BTreeMap<String, Vec<u8>>;

/// A file as the disk holds it.
#[derive(Default)]
struct File {
    /// Whether its name is on the disk.
    linked: bool,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
    /// How many of them each thread's sync covers that is under way.
    covered: BTreeMap<String, usize>,
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
pub struct Disk<'a> {
    folder: String,
    files: BTreeMap<&'a str, File>,
    /// Whether it does what a sync asks for.
    syncs: bool,
}

impl<'a> Disk<'a> {
    /// A disk with a folder of these files on it.
    pub fn new(folder: &Path, base: &BTreeMap<&'a str, Vec<u8>>, syncs: bool) -> Self {
        let file = |bytes: &Vec<u8>| File { linked: true, durable: bytes.clone(), ..File::default() };
        let files = base.iter().map(|(name, bytes)| (*name, file(bytes))).collect();
        let folder = folder.file_name().unwrap().to_str().unwrap().to_owned();
        Self { folder, files, syncs }
    }

    /// Does what a step of a recording did.
    pub fn step(&mut self, step: &'a Step) {
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
            What::SyncBegan => {
                file.covered.insert(step.thread.clone(), file.unsynced.len());
            }
            What::SyncEnded if self.syncs => {
                let covered = file.covered.remove(&step.thread).unwrap();
                for change in file.unsynced.drain(..covered) {
                    change.apply(&mut file.durable, || true);
                }
                file.covered.values_mut().for_each(|other| *other = other.saturating_sub(covered));
            }
            What::SyncEnded => {}
            other => panic!("{other:?} of {} is not replayed", step.file),
        }
    }

    /// What may be on it when the power fails now.
    pub fn image(&self, random: &Randomness) -> Image {
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
