//! Checkpoints that a client received: what it keeps between runs, and a cache of those that it verified last.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::checkpoint_folder::{CheckpointFolder, CheckpointFolderError};
use crate::tlog::{Checkpoint, LogKeyHistory};

/// Number of recently verified notes that are cached. Responses that arrive together belong to few commit groups.
const MAX_RECENTLY_VERIFIED: usize = 16;

/// Store of checkpoints. With a folder, a client compares each checkpoint with those of earlier calls and runs, and
/// refuses a log that contradicts them. Without one (the default) it only verifies each receipt by itself.
#[derive(Debug, Default)]
pub struct CheckpointStore {
    folder: Option<CheckpointFolder>,
    /// Recently verified notes with their checkpoints, newest first.
    recently_verified: Mutex<VecDeque<(String, Checkpoint)>>,
    /// Held while a checkpoint is compared, so that concurrent calls do not request the same proofs.
    pub(super) comparison: tokio::sync::Mutex<()>,
}

impl CheckpointStore {
    /// Opens a store in a folder, which is created if it is missing. Several processes may share it.
    ///
    /// # Errors
    /// [`CheckpointFolderError::Io`].
    pub fn open_folder(folder: &Path) -> Result<Self, CheckpointFolderError> {
        Ok(Self { folder: Some(CheckpointFolder::open(folder)?), ..Self::default() })
    }

    /// Returns the notes in the folder that the logs of a key history signed: the newest checkpoint of each log, and
    /// all that contradict it. None without a folder.
    ///
    /// # Errors
    /// [`CheckpointFolderError`], but not `Conflict`.
    pub fn notes(&self, keys: &LogKeyHistory) -> Result<Vec<String>, CheckpointFolderError> {
        self.folder.as_ref().map_or_else(|| Ok(Vec::new()), |folder| folder.notes(keys))
    }

    /// Returns the folder, if there is one.
    pub(super) fn folder(&self) -> Option<&CheckpointFolder> {
        self.folder.as_ref()
    }

    /// Returns the checkpoint of a note whose signature was verified recently, if it is cached.
    #[must_use]
    pub(super) fn find_recently_verified(&self, note: &str) -> Option<Checkpoint> {
        let verified = self.recently_verified.lock().unwrap_or_else(PoisonError::into_inner);
        verified.iter().find(|(cached, _)| cached == note).map(|(_, checkpoint)| checkpoint.clone())
    }

    /// Caches a checkpoint whose signature was verified.
    pub(super) fn insert_verified(&self, checkpoint: &Checkpoint, note: &str) {
        let mut verified = self.recently_verified.lock().unwrap_or_else(PoisonError::into_inner);
        verified.truncate(MAX_RECENTLY_VERIFIED - 1);
        verified.push_front((note.to_owned(), checkpoint.clone()));
    }
}
