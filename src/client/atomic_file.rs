//! Writes files that are complete or absent after a crash. Clients store with it what must outlive them: request ids,
//! requests, replies and cursors.

use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Writes a file atomically: under a temporary name, which is renamed after a sync. Creates the folder if needed.
///
/// # Errors
/// Errors of the file system.
pub fn write_atomically(path: &Path, content: impl AsRef<[u8]>) -> std::io::Result<()> {
    // The parent of a bare file name is empty; it means the current folder.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut part = path.as_os_str().to_owned();
    part.push(format!(".{}.part", std::process::id()));
    let mut file = File::create(&part)?;
    file.write_all(content.as_ref())?;
    file.sync_all()?;
    std::fs::rename(&part, path)?;
    File::open(folder)?.sync_all()
}
