//! Files of a backup: digests, and writes that are complete or absent after a crash.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use super::BackupError;

/// Bytes that are hashed at once.
const CHUNK_BYTES: usize = 1 << 20;

/// A file of a backup with its length and digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileDigest {
    /// Its name, without a folder.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 in hexadecimal digits.
    pub sha256: String,
}

impl FileDigest {
    /// Hashes a file.
    ///
    /// # Errors
    /// [`BackupError::File`].
    pub fn compute(path: &Path) -> Result<Self, BackupError> {
        let unreadable = || BackupError::file(path, "read");
        let mut file = File::open(path).map_err(unreadable())?;
        let (mut context, mut bytes) = (Context::new(&SHA256), 0);
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = file.read(&mut chunk).map_err(unreadable())?;
            let Some(part) = chunk.get(..read).filter(|part| !part.is_empty()) else { break };
            context.update(part);
            bytes += read as u64;
        }
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Self { name, bytes, sha256: hex(context.finish().as_ref()) })
    }

    /// Checks that the file in a folder has this digest.
    ///
    /// # Errors
    /// [`BackupError::Refused`] if it has another; [`BackupError::File`].
    pub fn check(&self, folder: &Path) -> Result<PathBuf, BackupError> {
        let path = folder.join(&self.name);
        let found = match Self::compute(&path) {
            Err(BackupError::File { source, .. }) if source.kind() == ErrorKind::NotFound => None,
            found => Some(found?),
        };
        if self.name.contains('/') || found.as_ref() != Some(self) {
            let what = "it is missing, or not the file that the backup wrote: it was changed";
            return Err(BackupError::refused(&path, what));
        }
        Ok(path)
    }
}

/// Returns the SHA-256 of a text in hexadecimal digits.
pub(super) fn sha256(text: &str) -> String {
    hex(aws_lc_rs::digest::digest(&SHA256, text.as_bytes()).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").ok();
        text
    })
}

/// Makes a folder that only its owner can read, and those above it.
///
/// # Errors
/// [`BackupError::File`].
pub(super) fn make_folder(path: &Path) -> Result<(), BackupError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(BackupError::file(path, "made"))
}

/// Writes a file of mode 0600 under a temporary name, syncs it, and gives it its name.
///
/// # Errors
/// [`BackupError::File`].
pub(super) fn write_atomically(path: &Path, content: &[u8]) -> Result<(), BackupError> {
    let unwritable = || BackupError::file(path, "written");
    let temporary = with_suffix(path, ".part");
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary);
    let mut file = file.map_err(unwritable())?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(unwritable())?;
    fs::rename(&temporary, path).map_err(unwritable())?;
    sync_folder(path)
}

/// Makes the content of a file durable.
///
/// # Errors
/// [`BackupError::File`].
pub(super) fn sync(path: &Path) -> Result<(), BackupError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(BackupError::file(path, "synced"))
}

/// Makes the names in the folder of a file durable.
///
/// # Errors
/// [`BackupError::File`].
pub(super) fn sync_folder(path: &Path) -> Result<(), BackupError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    sync(folder.unwrap_or(Path::new(".")))
}

/// Removes a file, if it is there.
///
/// # Errors
/// [`BackupError::File`].
pub(super) fn remove_if_there(path: &Path) -> Result<(), BackupError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(BackupError::file(path, "removed")(error)),
        _ => Ok(()),
    }
}

/// Returns a path with text behind its name.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
