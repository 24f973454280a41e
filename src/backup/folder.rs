//! The folder of a backup.
//!
//! ```text
//! data/20261128T094500Z/000000.sqlite     the base; 000001.sqlite and so on are what was added
//! data/20261128T094500Z/000000.manifest   written last
//! keys/20261128T094500Z/000000.age        the keys, encrypted
//! keys/20261128T094500Z/000000.manifest   a copy, so that keys can lie elsewhere
//! ```

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::BackupError;
use super::files::{make_folder, remove_if_there, sha256, sync_folder, with_suffix, write_atomically};
use super::manifest::Manifest;
use crate::clock::Instant;
use crate::tlog::{LogKeyHistory, Signer};

/// Format of the name of a set.
const SET_NAME: &str = "%Y%m%dT%H%M%SZ";

/// The folder of a backup.
pub(super) struct Folder {
    root: PathBuf,
}

/// One of the two parts of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Data,
    Keys,
}

/// A part of a set with its complete segments.
pub(super) struct Chain {
    /// Its folder.
    pub folder: PathBuf,
    /// Manifests of the segments, the base first; never empty.
    pub manifests: Vec<Manifest>,
    /// Text of the last manifest.
    pub last_text: String,
}

impl Chain {
    /// Returns the manifest of the newest segment.
    pub fn last(&self) -> Option<&Manifest> {
        self.manifests.last()
    }
}

impl Folder {
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Makes the folder if it is missing, and locks it until the returned file is dropped.
    ///
    /// # Errors
    /// [`BackupError::Refused`] if another backup runs; [`BackupError::File`].
    pub fn lock(&self) -> Result<File, BackupError> {
        for part in [Part::Data, Part::Keys] {
            make_folder(&self.part(part))?;
        }
        let lock = File::open(&self.root).map_err(BackupError::file(&self.root, "opened"))?;
        match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(_) => {
                Err(BackupError::refused(&self.root, "another backup writes to it: wait until it ends"))
            }
        }
    }

    fn part(&self, part: Part) -> PathBuf {
        self.root.join(match part {
            Part::Data => "data",
            Part::Keys => "keys",
        })
    }

    /// Returns the folder of a set.
    pub fn set(&self, part: Part, set: &str) -> PathBuf {
        self.part(part).join(set)
    }

    /// Returns the name of a set that begins now.
    pub fn name_at(now: Instant) -> String {
        now.to_timestamp().strftime(SET_NAME).to_string()
    }

    /// Returns the names of the sets of a part, the oldest first. Other names are not those of a backup.
    ///
    /// # Errors
    /// [`BackupError::File`].
    pub fn sets(&self, part: Part) -> Result<Vec<String>, BackupError> {
        let folder = self.part(part);
        let unreadable = || BackupError::file(&folder, "read");
        let mut sets = Vec::new();
        for entry in fs::read_dir(&folder).map_err(unreadable())? {
            let name = entry.map_err(unreadable())?.file_name().to_string_lossy().into_owned();
            if is_set_name(&name) {
                sets.push(name);
            }
        }
        sets.sort_unstable();
        Ok(sets)
    }

    /// Reads the manifests of a set, up to the first that is missing; `None` if it has no complete base.
    ///
    /// # Errors
    /// [`BackupError::Refused`] if one was changed or does not continue the one before; [`BackupError::File`].
    pub fn read_chain(
        &self,
        part: Part,
        set: &str,
        keys: &LogKeyHistory,
    ) -> Result<Option<Chain>, BackupError> {
        let folder = self.set(part, set);
        let mut chain = Chain { folder, manifests: Vec::new(), last_text: String::new() };
        for number in 0.. {
            let path = manifest_path(&chain.folder, number);
            let text = match fs::read(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => break,
                read => read.map_err(BackupError::file(&path, "read"))?,
            };
            // What is not UTF-8 was changed, and its signature does not fit what replaces it.
            let text = String::from_utf8_lossy(&text).into_owned();
            let manifest = Manifest::open(&path, &text, keys)?;
            let (previous, from) = match chain.last() {
                Some(last) => (sha256(&chain.last_text), last.to),
                None => (String::new(), 0),
            };
            let place = (manifest.set.as_str(), manifest.number, manifest.previous.as_str(), manifest.from);
            if place != (set, number, previous.as_str(), from) || manifest.to < from {
                return Err(BackupError::refused(&path, "it does not continue the manifest before it"));
            }
            chain.manifests.push(manifest);
            chain.last_text = text;
        }
        Ok(Some(chain).filter(|chain| !chain.manifests.is_empty()))
    }

    /// Returns whether the base of a set was completed.
    pub fn has_base(&self, part: Part, set: &str) -> bool {
        manifest_path(&self.set(part, set), 0).exists()
    }

    /// Makes the folders of a segment, removes what an unfinished backup left of it, and returns the paths of its data
    /// and of its keys.
    ///
    /// # Errors
    /// [`BackupError::File`].
    pub fn begin_segment(&self, set: &str, number: u32) -> Result<[PathBuf; 2], BackupError> {
        let [data, keys] = [Part::Data, Part::Keys].map(|part| self.set(part, set));
        make_folder(&data)?;
        make_folder(&keys)?;
        // A backup that broke off may have completed the keys alone. Their manifest goes first, because one without its
        // file would look like a file that was lost.
        let manifest = manifest_path(&keys, number);
        remove_if_there(&manifest)?;
        sync_folder(&manifest)?;
        let paths = [data.join(data_name(number)), keys.join(format!("{number:06}.age"))];
        for leftover in ["", "-journal", "-wal", "-shm"].map(|suffix| with_suffix(&paths[0], suffix)) {
            remove_if_there(&leftover)?;
        }
        remove_if_there(&paths[1])?;
        Ok(paths)
    }

    /// Completes a segment: writes its manifest, beside the keys first. It is complete once it stands beside the data.
    ///
    /// # Errors
    /// [`BackupError::File`].
    pub fn complete(&self, manifest: &Manifest, signer: &Signer) -> Result<(), BackupError> {
        let note = manifest.to_note(signer)?;
        for part in [Part::Keys, Part::Data] {
            let folder = self.set(part, &manifest.set);
            write_atomically(&manifest_path(&folder, manifest.number), note.as_bytes())?;
            // The name of the folder may be new too.
            sync_folder(&folder)?;
        }
        Ok(())
    }

    /// Removes a part of a set.
    ///
    /// # Errors
    /// [`BackupError::File`].
    pub fn remove(&self, part: Part, set: &str) -> Result<(), BackupError> {
        let folder = self.set(part, set);
        // Without its base a set is not read, also if the removal breaks off.
        remove_if_there(&manifest_path(&folder, 0))?;
        fs::remove_dir_all(&folder).map_err(BackupError::file(&folder, "removed"))
    }
}

fn data_name(number: u32) -> String {
    format!("{number:06}.sqlite")
}

fn manifest_path(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number:06}.manifest"))
}

/// Returns whether a folder has a name that this release gives: digits, T, digits, Z.
fn is_set_name(name: &str) -> bool {
    name.len() == 16
        && name.char_indices().all(|(at, letter)| match at {
            8 => letter == 'T',
            15 => letter == 'Z',
            _ => letter.is_ascii_digit(),
        })
}

/// Returns when a set began, by its name.
pub(super) fn begun_at(set: &str) -> Option<Instant> {
    let parts = [(0, 4), (4, 6), (6, 8), (9, 11), (11, 13), (13, 15)];
    let [year, month, day, hour, minute, second] = parts.map(|(from, to)| set.get(from..to));
    format!("{}-{}-{}T{}:{}:{}Z", year?, month?, day?, hour?, minute?, second?).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_set_is_its_time() {
        let at: Instant = "2026-11-28T09:45:07Z".parse().unwrap();
        let name = Folder::name_at(at);
        assert_eq!(name, "20261128T094507Z");
        assert!(is_set_name(&name));
        assert_eq!(begun_at(&name), Some(at));
        for other in
            ["lost+found", "20261128T094507", "20261128T094507ZZ", "2026x128T094507Z", "../../../../../.."]
        {
            assert!(!is_set_name(other), "{other}");
        }
    }
}
