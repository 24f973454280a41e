//! The anchor: a file outside the database that holds the newest checkpoint. With it, `serve` detects a database that
//! was restored from an older copy or whose tail was cut.
//!
//! The file has two fixed slots, which are written alternately and in place, and synced once a group:
//! commit → anchor → outcomes. A crash during a write leaves the other slot valid. The file never grows, so a full disk
//! cannot stop it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::tlog::leaf_hash;

/// Size of a slot in bytes: a 32-byte hash of what follows, an 8-byte generation, a 4-byte length, the note, zeros.
const SLOT_BYTES: usize = 4_096;
/// Size of hash, generation and length in bytes.
const HEADER_BYTES: usize = 44;

/// An open anchor file, locked so that only one process has it open for writing.
#[derive(Debug)]
pub struct Anchor {
    file: File,
    /// Number of the next write; its lowest bit chooses the slot.
    generation: u64,
}

impl Anchor {
    /// Makes an anchor file with a first checkpoint. An existing file is not replaced. The file gets its name once it is
    /// whole.
    ///
    /// # Errors
    /// `AlreadyExists` if the file exists; or another error of the file system.
    pub fn create(path: &Path, note: &str) -> io::Result<()> {
        let mut name = path.as_os_str().to_owned();
        name.push(".new");
        let unfinished = PathBuf::from(name);
        // A process that was killed may have left it.
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file =
            OpenOptions::new().write(true).read(true).create_new(true).mode(0o600).open(&unfinished)?;
        file.write_all_at(&[0; 2 * SLOT_BYTES], 0)?;
        let mut anchor = Self { file, generation: 0 };
        for _slot in 0..2 {
            anchor.write(note)?;
            anchor.sync()?;
        }
        anchor.file.sync_all()?;
        // Unlike a renaming, a link does not replace a file.
        let linked = fs::hard_link(&unfinished, path);
        fs::remove_file(&unfinished)?;
        linked?;
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }

    /// Opens and locks the anchor, and returns it with the newest valid note.
    ///
    /// # Errors
    /// `WouldBlock` if another process has it open; `InvalidData` if no slot is valid; or another error of the file
    /// system.
    pub fn open(path: &Path) -> io::Result<(Self, String)> {
        let file = OpenOptions::new().write(true).read(true).open(path)?;
        file.try_lock().map_err(|_| io::Error::from(ErrorKind::WouldBlock))?;
        let (turn, note) = read_newest_slot(&file)?;
        Ok((Self { file, generation: turn + 1 }, note))
    }

    /// Reads the newest note of an anchor file without locking it; another process may have it open.
    ///
    /// # Errors
    /// `InvalidData` if no slot is valid; or another error of the file system.
    pub fn read_newest_note(path: &Path) -> io::Result<String> {
        Ok(read_newest_slot(&File::open(path)?)?.1)
    }

    /// Writes a checkpoint into the slot that does not hold the newest one. It is durable once [`Anchor::sync`] has
    /// succeeded.
    ///
    /// # Errors
    /// An error of the file system. The other slot is still valid, and the write may be retried.
    pub fn write(&self, note: &str) -> io::Result<()> {
        let mut slot = vec![0; SLOT_BYTES];
        let length = u32::try_from(note.len()).unwrap_or(u32::MAX).to_be_bytes();
        let body = [&self.generation.to_be_bytes()[..], &length, note.as_bytes()].concat();
        if body.len() + 32 > SLOT_BYTES {
            return Err(io::Error::new(ErrorKind::InvalidInput, "the checkpoint is too long for the anchor"));
        }
        for (byte, value) in slot.iter_mut().zip(leaf_hash(&body).as_bytes().iter().chain(&body)) {
            *byte = *value;
        }
        self.file.write_all_at(&slot, (self.generation % 2) * SLOT_BYTES as u64)
    }

    /// Syncs the written slot; the next checkpoint goes into the other one.
    ///
    /// # Errors
    /// An error of the file system. The slot's content on the disk is then unknown: the process must end.
    pub fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.generation += 1;
        Ok(())
    }
}

/// Returns the newest valid slot: generation and note.
fn read_newest_slot(file: &File) -> io::Result<(u64, String)> {
    let slots = [read_slot(file, 0)?, read_slot(file, 1)?];
    let newest = slots.into_iter().flatten().max_by_key(|(turn, _)| *turn);
    newest.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "no slot of the anchor is valid"))
}

fn read_slot(file: &File, slot: u64) -> io::Result<Option<(u64, String)>> {
    let mut bytes = vec![0; SLOT_BYTES];
    file.read_exact_at(&mut bytes, slot * SLOT_BYTES as u64)?;
    Ok(parse_slot(&bytes))
}

/// Parses a slot; `None` if its hash or its format is wrong.
fn parse_slot(slot: &[u8]) -> Option<(u64, String)> {
    let turn = u64::from_be_bytes(slot.get(32..40)?.try_into().ok()?);
    let length = u32::from_be_bytes(slot.get(40..HEADER_BYTES)?.try_into().ok()?) as usize;
    let body = slot.get(32..HEADER_BYTES.checked_add(length)?)?;
    if leaf_hash(body).as_bytes().as_slice() != slot.get(..32)? {
        return None;
    }
    Some((turn, String::from_utf8(body.get(12..)?.to_vec()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_whole_slot_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("anchor");
        Anchor::create(&path, "first").unwrap();
        assert_eq!(Anchor::create(&path, "again").unwrap_err().kind(), ErrorKind::AlreadyExists);
        let (mut anchor, note) = Anchor::open(&path).unwrap();
        assert_eq!(note, "first");
        assert_eq!(Anchor::open(&path).unwrap_err().kind(), ErrorKind::WouldBlock);
        for note in ["second", "third"] {
            anchor.write(note).unwrap();
            anchor.sync().unwrap();
        }
        drop(anchor);
        assert_eq!(Anchor::open(&path).unwrap().1, "third");
    }

    #[test]
    fn a_torn_slot_leaves_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("anchor");
        Anchor::create(&path, "first").unwrap();
        let (anchor, _) = Anchor::open(&path).unwrap();
        anchor.write("second").unwrap();
        drop(anchor);
        let mut bytes = std::fs::read(&path).unwrap();
        let torn = bytes.windows(6).position(|window| window == b"second").unwrap();
        bytes[torn] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(Anchor::open(&path).unwrap().1, "first");
        std::fs::write(&path, vec![7; 2 * SLOT_BYTES]).unwrap();
        assert_eq!(Anchor::open(&path).unwrap_err().kind(), ErrorKind::InvalidData);
    }
}
