//! Checkpoints that a client received, kept forever. Two inconsistent checkpoints prove that the log was changed, or
//! that two callers received different logs.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::tlog::Checkpoint;

/// Number of recently verified notes that are cached. Responses that arrive together belong to few commit groups.
const MAX_RECENTLY_VERIFIED: usize = 16;

/// Store of checkpoints by tree size and log, as signed notes: in memory, or in a folder with one file per checkpoint.
#[derive(Debug, Default)]
pub struct CheckpointStore {
    notes: Mutex<BTreeMap<(u64, String), String>>,
    folder: Option<PathBuf>,
    /// Recently verified notes with their checkpoints, newest first.
    recently_verified: Mutex<VecDeque<(String, Checkpoint)>>,
}

impl CheckpointStore {
    /// Opens a store in a folder, which is created if it is missing.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn open_folder(folder: &Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut notes = BTreeMap::new();
        for file in std::fs::read_dir(folder)? {
            let file = file?;
            let name = file.file_name();
            let size = name.to_str().and_then(|name| name.split('-').next()?.parse().ok());
            if let Some(size) = size {
                let note = std::fs::read_to_string(file.path())?;
                notes.insert((size, origin_line(&note)), note);
            }
        }
        Ok(Self {
            notes: Mutex::new(notes),
            folder: Some(folder.to_owned()),
            recently_verified: Mutex::default(),
        })
    }

    /// Returns the checkpoint of a note whose signature was verified recently, if it is cached.
    #[must_use]
    pub fn find_recently_verified(&self, note: &str) -> Option<Checkpoint> {
        let verified = self.recently_verified.lock().unwrap_or_else(PoisonError::into_inner);
        verified.iter().find(|(cached, _)| cached == note).map(|(_, checkpoint)| checkpoint.clone())
    }

    /// Stores a checkpoint whose signature was verified. The first of two checkpoints with the same size and log is
    /// kept. `audit compare` compares the checkpoints of several callers, each from its own store.
    pub fn insert(&self, checkpoint: &Checkpoint, note: &str) {
        let mut verified = self.recently_verified.lock().unwrap_or_else(PoisonError::into_inner);
        verified.truncate(MAX_RECENTLY_VERIFIED - 1);
        verified.push_front((note.to_owned(), checkpoint.clone()));
        drop(verified);
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let size = checkpoint.size();
        let key = (size, origin_line(note));
        if notes.contains_key(&key) {
            return;
        }
        // A log that replaced another repeats the tree sizes that were lost. The checkpoints of both logs are kept.
        let name =
            match notes.range((size, String::new())..).take_while(|((other, _), _)| *other == size).count() {
                0 => size.to_string(),
                others => format!("{size}-{others}"),
            };
        notes.insert(key, note.to_owned());
        if let Some(folder) = &self.folder
            && let Err(error) = std::fs::write(folder.join(name), note)
        {
            tracing::warn!(error = %error, "a checkpoint could not be stored");
        }
    }

    /// Returns every stored checkpoint, the smallest first.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

/// Returns the origin of the log: the first line of the note.
fn origin_line(note: &str) -> String {
    note.lines().next().unwrap_or_default().to_owned()
}
