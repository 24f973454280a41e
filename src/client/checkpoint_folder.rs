//! Folder in which a client keeps checkpoints between runs, as signed notes. Several processes may share it.
//!
//! `newest-<key id>` is the newest checkpoint of the log with that key. A file `conflicting-<key id>-<size>-<root>` is a
//! checkpoint that contradicts it: while there is one, every call is refused. Files are replaced by rename under a lock,
//! the file `lock`, which is held while files are read and written, and never during a call. The lock `turn` is held
//! during a comparison with its calls, so that processes do not repeat each other's; nothing rests on it.

use std::fs::{File, TryLockError};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::atomic_file::write_atomically;
use crate::tlog::{Checkpoint, LogKeyHistory};

const LOCK_FILE: &str = "lock";
const TURN_FILE: &str = "turn";
const NEWEST_PREFIX: &str = "newest-";
const CONFLICTING_PREFIX: &str = "conflicting-";
/// Extension of a file that was not renamed yet. Only a process that was killed leaves one behind.
const PART_EXTENSION: &str = "part";
/// Time limit for a lock. It is held for milliseconds, unless its process was stopped or the gateway is slow.
const MAX_LOCK_WAIT: Duration = Duration::from_secs(10);
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(5);
/// Maximum size of a note.
const MAX_NOTE_BYTES: u64 = 64 * 1024;

/// Error of a folder of checkpoints.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointFolderError {
    /// A file cannot be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file, or the folder.
        path: PathBuf,
        /// The error.
        source: std::io::Error,
    },
    /// A file is not what a client writes.
    #[error(
        "{}: {fault}; the file is not ignored, because it may be what convicts the log: restore it, or take it out of the folder",
        .path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// Another process holds the lock, or changes the folder all the time.
    #[error("{}: another process does not release the folder", .0.display())]
    Busy(PathBuf),
    /// An earlier call found that the log contradicts itself.
    #[error(
        "refused, because an earlier call found that the log contradicts itself: {} is the evidence, with the newest \
         checkpoint beside it. Give both to the gateway's operator and to an auditor, and take the file out of the folder \
         when its cause is known",
        .0.display()
    )]
    Conflict(PathBuf),
}

/// Checkpoint that was received, with its note, whose signature was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenCheckpoint {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Its signed note.
    pub note: String,
}

/// Folder of checkpoints.
#[derive(Debug)]
pub struct CheckpointFolder {
    folder: PathBuf,
}

/// File of the folder, whose note has the format of a checkpoint.
struct NoteFile {
    path: PathBuf,
    key_id: String,
    is_conflicting: bool,
    note: String,
}

impl CheckpointFolder {
    /// Opens a folder, which is created if it is missing.
    ///
    /// # Errors
    /// [`CheckpointFolderError::Io`].
    pub fn open(folder: &Path) -> Result<Self, CheckpointFolderError> {
        std::fs::create_dir_all(folder).map_err(io_error(folder))?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Returns the path of the folder.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Returns the newest checkpoint of each log of a key history. The folder may have others, of other gateways.
    ///
    /// # Errors
    /// [`CheckpointFolderError`]; `Conflict` if an earlier call found that one of these logs contradicts itself.
    pub async fn load_newest(
        &self,
        keys: &LogKeyHistory,
    ) -> Result<Vec<SeenCheckpoint>, CheckpointFolderError> {
        let _lock = self.lock().await?;
        self.read_newest(keys)
    }

    /// Replaces the newest checkpoint of a log, if it still is `expected`; returns whether it was replaced.
    ///
    /// # Errors
    /// As [`CheckpointFolder::load_newest`].
    pub async fn replace_newest(
        &self,
        keys: &LogKeyHistory,
        expected: Option<&SeenCheckpoint>,
        new: &SeenCheckpoint,
    ) -> Result<bool, CheckpointFolderError> {
        let _lock = self.lock().await?;
        let newest = self.read_newest(keys)?;
        if find_log(&newest, new.checkpoint.origin()) != expected {
            return Ok(false);
        }
        let path = self.folder.join(format!("{NEWEST_PREFIX}{}", key_id(keys, new)));
        self.write_note(&path, &new.note)?;
        Ok(true)
    }

    /// Stores checkpoints that contradict a newest one, which stays in the folder.
    ///
    /// # Errors
    /// [`CheckpointFolderError`].
    pub async fn store_conflicting(
        &self,
        keys: &LogKeyHistory,
        conflicting: &[&SeenCheckpoint],
    ) -> Result<(), CheckpointFolderError> {
        let _lock = self.lock().await?;
        for seen in conflicting {
            let root = seen.checkpoint.root().as_bytes().iter().take(4);
            let root = root.fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
            let (id, size) = (key_id(keys, seen), seen.checkpoint.size());
            let path = self.folder.join(format!("{CONFLICTING_PREFIX}{id}-{size}-{root}"));
            self.write_note(&path, &seen.note)?;
        }
        Ok(())
    }

    /// Returns all notes that were signed by the logs of a key history, conflicting ones included.
    ///
    /// # Errors
    /// [`CheckpointFolderError`], but not `Conflict`.
    pub fn notes(&self, keys: &LogKeyHistory) -> Result<Vec<String>, CheckpointFolderError> {
        let own = read_files(&self.folder)?.into_iter().filter(|file| file.is_of(keys));
        Ok(own.map(|file| file.note).collect())
    }

    /// Waits until no other process compares, and returns a lock that ends when it is dropped. Without it, after a time
    /// limit, a comparison may only have to be repeated.
    ///
    /// # Errors
    /// [`CheckpointFolderError::Io`].
    pub async fn wait_for_turn(&self) -> Result<Option<File>, CheckpointFolderError> {
        match self.lock_file(TURN_FILE).await {
            Err(CheckpointFolderError::Busy(_)) => Ok(None),
            locked => locked.map(Some),
        }
    }

    /// Takes the lock, which ends when the file is closed.
    async fn lock(&self) -> Result<File, CheckpointFolderError> {
        self.lock_file(LOCK_FILE).await
    }

    async fn lock_file(&self, name: &str) -> Result<File, CheckpointFolderError> {
        let path = self.folder.join(name);
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(io_error(&path))?;
        let end = Instant::now() + MAX_LOCK_WAIT;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if Instant::now() < end => sleep(LOCK_POLL_INTERVAL).await,
                Err(TryLockError::WouldBlock) => {
                    return Err(CheckpointFolderError::Busy(self.folder.clone()));
                }
                Err(TryLockError::Error(error)) => return Err(io_error(&path)(error)),
            }
        }
    }

    fn read_newest(&self, keys: &LogKeyHistory) -> Result<Vec<SeenCheckpoint>, CheckpointFolderError> {
        let mut newest = Vec::new();
        for file in read_files(&self.folder)?.into_iter().filter(|file| file.is_of(keys)) {
            if file.is_conflicting {
                return Err(CheckpointFolderError::Conflict(file.path));
            }
            let opened = keys.open_even_if_lost(&file.note).ok();
            let opened = opened.filter(|(checkpoint, _)| {
                keys.keys().any(|key| key.name() == checkpoint.origin() && key.key_id() == file.key_id)
            });
            let (checkpoint, _) = opened.ok_or(CheckpointFolderError::Damaged {
                path: file.path,
                fault: "not signed by the log of its name",
            })?;
            newest.push(SeenCheckpoint { checkpoint, note: file.note });
        }
        Ok(newest)
    }

    fn write_note(&self, path: &Path, note: &str) -> Result<(), CheckpointFolderError> {
        // The lock excludes a writer, so each such file was left by a process that was killed.
        for file in std::fs::read_dir(&self.folder).map_err(io_error(&self.folder))? {
            let part = file.map_err(io_error(&self.folder))?.path();
            if part.extension().is_some_and(|extension| extension == PART_EXTENSION) {
                std::fs::remove_file(&part).map_err(io_error(&part))?;
            }
        }
        write_atomically(path, note).map_err(io_error(path))
    }
}

impl NoteFile {
    fn is_of(&self, keys: &LogKeyHistory) -> bool {
        keys.keys().any(|key| key.key_id() == self.key_id)
    }
}

/// Returns the checkpoint of the log with this origin.
pub fn find_log<'s>(seen: &'s [SeenCheckpoint], origin: &str) -> Option<&'s SeenCheckpoint> {
    seen.iter().find(|seen| seen.checkpoint.origin() == origin)
}

/// Returns all notes of a client's folder, conflicting ones and those of other gateways included.
///
/// # Errors
/// [`CheckpointFolderError`], but not `Conflict`; also if there is no such folder.
pub fn read_checkpoint_folder(folder: &Path) -> Result<Vec<String>, CheckpointFolderError> {
    Ok(read_files(folder)?.into_iter().map(|file| file.note).collect())
}

/// Reads the notes of a folder. Every file in it must be one that a client writes.
fn read_files(folder: &Path) -> Result<Vec<NoteFile>, CheckpointFolderError> {
    let mut files = Vec::new();
    for file in std::fs::read_dir(folder).map_err(io_error(folder))? {
        let path = file.map_err(io_error(folder))?.path();
        let is_part = path.extension().is_some_and(|extension| extension == PART_EXTENSION);
        if is_part || path.file_name().is_some_and(|name| name == LOCK_FILE || name == TURN_FILE) {
            continue;
        }
        let (key_id, is_conflicting) =
            parse_file_name(&path).ok_or_else(|| damaged(&path, "not a file of a client's checkpoints"))?;
        let note = read_note(&path)?;
        files.push(NoteFile { path, key_id, is_conflicting, note });
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

/// Returns the key id in a file's name, and whether the file is a conflicting checkpoint.
fn parse_file_name(path: &Path) -> Option<(String, bool)> {
    let name = path.file_name()?.to_str()?;
    let (id, is_conflicting) = match name.strip_prefix(NEWEST_PREFIX) {
        Some(id) => (id, false),
        None => (name.strip_prefix(CONFLICTING_PREFIX)?.split('-').next()?, true),
    };
    let is_id = id.len() == 8 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| (id.to_owned(), is_conflicting))
}

fn read_note(path: &Path) -> Result<String, CheckpointFolderError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(io_error(path))?;
    file.take(MAX_NOTE_BYTES + 1).read_to_end(&mut bytes).map_err(io_error(path))?;
    let note = String::from_utf8(bytes).ok().filter(|note| note.len() as u64 <= MAX_NOTE_BYTES);
    let is_checkpoint = |note: &String| {
        let text = note.rsplit_once("\n\n").map(|(text, _)| format!("{text}\n"));
        text.is_some_and(|text| Checkpoint::parse(&text).is_ok())
    };
    note.filter(is_checkpoint).ok_or_else(|| damaged(path, "not a signed checkpoint"))
}

/// Returns the id of the key that signed a checkpoint. Names of logs are unique in a history.
fn key_id(keys: &LogKeyHistory, seen: &SeenCheckpoint) -> String {
    let key = keys.keys().find(|key| key.name() == seen.checkpoint.origin());
    key.unwrap_or_else(|| keys.present()).key_id()
}

fn damaged(path: &Path, fault: &'static str) -> CheckpointFolderError {
    CheckpointFolderError::Damaged { path: path.to_owned(), fault }
}

fn io_error(path: &Path) -> impl Fn(std::io::Error) -> CheckpointFolderError {
    move |source| CheckpointFolderError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tlog::{Signer, tree_root};

    fn signer() -> Signer {
        Signer::from_seed("log/1", &[1; 32]).unwrap()
    }

    fn seen(size: u64) -> SeenCheckpoint {
        let checkpoint = Checkpoint::new("log/1", size, tree_root(&[]));
        SeenCheckpoint { note: signer().sign(&checkpoint.to_string()), checkpoint }
    }

    #[tokio::test]
    async fn a_newest_checkpoint_is_replaced_only_by_who_has_compared_with_it() {
        let (dir, signer) = (tempfile::TempDir::new().unwrap(), signer());
        let keys = signer.key_history();
        let (one, other) =
            (CheckpointFolder::open(dir.path()).unwrap(), CheckpointFolder::open(dir.path()).unwrap());
        assert_eq!(one.load_newest(keys).await.unwrap(), []);
        assert!(other.replace_newest(keys, None, &seen(7)).await.unwrap());
        assert!(!one.replace_newest(keys, None, &seen(5)).await.unwrap(), "the larger one would be lost");
        assert!(one.replace_newest(keys, Some(&seen(7)), &seen(9)).await.unwrap());
        assert!(!other.replace_newest(keys, Some(&seen(7)), &seen(8)).await.unwrap());
        assert_eq!(other.load_newest(keys).await.unwrap(), [seen(9)]);
        one.store_conflicting(keys, &[&seen(3), &seen(4)]).await.unwrap();
        let refused = other.replace_newest(keys, Some(&seen(9)), &seen(10)).await;
        assert!(matches!(refused, Err(CheckpointFolderError::Conflict(_))), "{refused:?}");
        let notes = one.notes(keys).unwrap();
        assert!([3, 4, 9].iter().all(|size| notes.contains(&seen(*size).note)), "{notes:?}");
        let of_another_log = Signer::from_seed("log/1", &[2; 32]).unwrap();
        assert_eq!(other.load_newest(of_another_log.key_history()).await.unwrap(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lock_that_is_never_released_is_an_error() {
        let (dir, signer) = (tempfile::TempDir::new().unwrap(), signer());
        let folder = CheckpointFolder::open(dir.path()).unwrap();
        let stopped = folder.lock().await.unwrap();
        let busy = folder.load_newest(signer.key_history()).await;
        assert!(matches!(busy, Err(CheckpointFolderError::Busy(_))), "{busy:?}");
        drop(stopped);
        assert_eq!(folder.load_newest(signer.key_history()).await.unwrap(), []);
    }
}
