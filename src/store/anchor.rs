//! The anchor: the newest checkpoint, kept outside the database, so that a database restored from an
//! older copy, or one whose tail was cut, is found at start.
//!
//! Two fixed slots are written in place by turns and synced once a group: commit → anchor → answer. A
//! crash while a slot is written leaves the other one whole. It never grows, so a full disk cannot stop it.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use crate::tlog::leaf_hash;

/// Bytes of a slot: a 32-byte hash of the rest, an 8-byte turn, a 4-byte length, the note, zeros.
const SLOT: usize = 4_096;
const HEADER: usize = 44;

/// An open anchor file. One process owns it; a lock on the file says so.
#[derive(Debug)]
pub struct Anchor {
    file: File,
    turn: u64,
}

impl Anchor {
    /// Makes an anchor file with a first checkpoint; refuses to replace one.
    ///
    /// # Errors
    /// Those of the file system; `AlreadyExists` when there is one.
    pub fn create(path: &Path, note: &str) -> io::Result<()> {
        let file = OpenOptions::new().write(true).read(true).create_new(true).mode(0o600).open(path)?;
        file.write_all_at(&[0; 2 * SLOT], 0)?;
        let mut anchor = Self { file, turn: 0 };
        for _slot in 0..2 {
            anchor.write(note)?;
            anchor.sync()?;
        }
        anchor.file.sync_all()?;
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }

    /// Opens the anchor and returns it with the newest note that it holds whole.
    ///
    /// # Errors
    /// Those of the file system; `WouldBlock` when another process has it; `InvalidData` when no slot is whole.
    pub fn open(path: &Path) -> io::Result<(Self, String)> {
        let file = OpenOptions::new().write(true).read(true).open(path)?;
        file.try_lock().map_err(|_| io::Error::from(ErrorKind::WouldBlock))?;
        let (turn, note) = newest(&file)?;
        Ok((Self { file, turn: turn + 1 }, note))
    }

    /// The newest note of an anchor file that may be somebody else's.
    ///
    /// # Errors
    /// Those of the file system; `InvalidData` when no slot is whole.
    pub fn read(path: &Path) -> io::Result<String> {
        Ok(newest(&File::open(path)?)?.1)
    }

    /// Writes a checkpoint into the slot that does not hold the newest. It counts once [`Anchor::sync`] has
    /// succeeded.
    ///
    /// # Errors
    /// Those of the file system. The other slot is whole, and the write may be tried again.
    pub fn write(&self, note: &str) -> io::Result<()> {
        let mut slot = vec![0; SLOT];
        let length = u32::try_from(note.len()).unwrap_or(u32::MAX).to_be_bytes();
        let body = [&self.turn.to_be_bytes()[..], &length, note.as_bytes()].concat();
        if body.len() + 32 > SLOT {
            return Err(io::Error::new(ErrorKind::InvalidInput, "the checkpoint is too long for the anchor"));
        }
        for (byte, value) in slot.iter_mut().zip(leaf_hash(&body).as_bytes().iter().chain(&body)) {
            *byte = *value;
        }
        self.file.write_all_at(&slot, (self.turn % 2) * SLOT as u64)
    }

    /// Syncs what was written; the next checkpoint goes into the other slot.
    ///
    /// # Errors
    /// Those of the file system. Nothing is known of the slot then: the process must end.
    pub fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.turn += 1;
        Ok(())
    }
}

fn newest(file: &File) -> io::Result<(u64, String)> {
    let slots = [read(file, 0)?, read(file, 1)?];
    let newest = slots.into_iter().flatten().max_by_key(|(turn, _)| *turn);
    newest.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "no slot of the anchor is whole"))
}

fn read(file: &File, slot: u64) -> io::Result<Option<(u64, String)>> {
    let mut bytes = vec![0; SLOT];
    file.read_exact_at(&mut bytes, slot * SLOT as u64)?;
    Ok(parse(&bytes))
}

fn parse(slot: &[u8]) -> Option<(u64, String)> {
    let turn = u64::from_be_bytes(slot.get(32..40)?.try_into().ok()?);
    let length = u32::from_be_bytes(slot.get(40..HEADER)?.try_into().ok()?) as usize;
    let body = slot.get(32..HEADER.checked_add(length)?)?;
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
        std::fs::write(&path, vec![7; 2 * SLOT]).unwrap();
        assert_eq!(Anchor::open(&path).unwrap_err().kind(), ErrorKind::InvalidData);
    }
}
