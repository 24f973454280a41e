//! The checkpoints that a client saw. Kept for ever: two of them that do not lie on one tree prove that the
//! log was changed, or that two callers were shown different ones.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::tlog::Checkpoint;

/// Checkpoints by size, as signed notes; in memory, or in a folder of one file a checkpoint.
#[derive(Debug, Default)]
pub struct Seen {
    notes: Mutex<BTreeMap<u64, String>>,
    folder: Option<PathBuf>,
    /// The note that was verified last, with its checkpoint.
    last: Mutex<Option<(String, Checkpoint)>>,
}

impl Seen {
    /// Checkpoints kept in a folder, which is made where there is none.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn in_folder(folder: &Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut notes = BTreeMap::new();
        for file in std::fs::read_dir(folder)? {
            let file = file?;
            if let Some(size) = file.file_name().to_str().and_then(|name| name.parse().ok()) {
                notes.insert(size, std::fs::read_to_string(file.path())?);
            }
        }
        Ok(Self { notes: Mutex::new(notes), folder: Some(folder.to_owned()), last: Mutex::default() })
    }

    /// The checkpoint of a note, if it is the one that was kept last: then its signature was verified.
    #[must_use]
    pub fn just_verified(&self, note: &str) -> Option<Checkpoint> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().filter(|(kept, _)| kept == note).map(|(_, checkpoint)| checkpoint.clone())
    }

    /// Keeps a checkpoint whose signature was verified. Of two with one size both are kept apart by the caller's `compare`, so the first
    /// stays: a second with another root is what it looks for.
    pub fn keep(&self, checkpoint: &Checkpoint, note: &str) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((note.to_owned(), checkpoint.clone()));
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if notes.contains_key(&checkpoint.size()) {
            return;
        }
        notes.insert(checkpoint.size(), note.to_owned());
        if let Some(folder) = &self.folder
            && let Err(error) = std::fs::write(folder.join(checkpoint.size().to_string()), note)
        {
            tracing::warn!(error = %error, "a checkpoint could not be kept");
        }
    }

    /// Every checkpoint kept, the smallest first.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}
