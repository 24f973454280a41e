//! The checkpoints that a client saw. Kept for ever: two of them that do not lie on one tree prove that the
//! log was changed, or that two callers were shown different ones.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::tlog::Checkpoint;

/// Notes that are remembered to have been verified: answers that come at once are of a few groups.
const VERIFIED: usize = 16;

/// Checkpoints by size and log, as signed notes; in memory, or in a folder of one file a checkpoint.
#[derive(Debug, Default)]
pub struct Seen {
    notes: Mutex<BTreeMap<(u64, String), String>>,
    folder: Option<PathBuf>,
    /// The notes that were verified last, with their checkpoints, the newest first.
    verified: Mutex<VecDeque<(String, Checkpoint)>>,
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
            let name = file.file_name();
            let size = name.to_str().and_then(|name| name.split('-').next()?.parse().ok());
            if let Some(size) = size {
                let note = std::fs::read_to_string(file.path())?;
                notes.insert((size, origin(&note)), note);
            }
        }
        Ok(Self { notes: Mutex::new(notes), folder: Some(folder.to_owned()), verified: Mutex::default() })
    }

    /// The checkpoint of a note, if it is one of those that were kept last: then its signature was verified.
    #[must_use]
    pub fn just_verified(&self, note: &str) -> Option<Checkpoint> {
        let verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        verified.iter().find(|(kept, _)| kept == note).map(|(_, checkpoint)| checkpoint.clone())
    }

    /// Keeps a checkpoint whose signature was verified. Of two with one size both are kept apart by the caller's
    /// `compare`, so the first stays: a second with another root is what it looks for.
    pub fn keep(&self, checkpoint: &Checkpoint, note: &str) {
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        verified.truncate(VERIFIED - 1);
        verified.push_front((note.to_owned(), checkpoint.clone()));
        drop(verified);
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let size = checkpoint.size();
        let key = (size, origin(note));
        if notes.contains_key(&key) {
            return;
        }
        // A log that replaced another has checkpoints of the sizes that were lost: both are kept.
        let name = match notes.range((size, String::new())..).take_while(|((at, _), _)| *at == size).count() {
            0 => size.to_string(),
            others => format!("{size}-{others}"),
        };
        notes.insert(key, note.to_owned());
        if let Some(folder) = &self.folder
            && let Err(error) = std::fs::write(folder.join(name), note)
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

/// The log that a note is of, by its first line.
fn origin(note: &str) -> String {
    note.lines().next().unwrap_or_default().to_owned()
}
