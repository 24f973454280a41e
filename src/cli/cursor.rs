//! The cursor that `watch` keeps between its runs, in a file beside the checkpoints that the profile keeps.
//!
//! Everything up to the cursor was written to standard output and flushed; where deliveries are acknowledged, it
//! was acknowledged as well. A run that acknowledges and one that only shows have a cursor each, so that
//! looking at a mailbox never keeps a delivery from being acknowledged.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};

use super::{Failure, profile};
use crate::proto::v1::Cursor;

/// First line of a cursor's file: what it is, and the version of its form.
const HEADING: &str = "ap-gateway cursor 1";

/// A cursor with the file that keeps it.
pub struct KeptCursor {
    file: PathBuf,
    cursor: Option<Cursor>,
}

impl KeptCursor {
    /// Reads the cursor of a profile's organisation for one use, say `alerts`. There is none before the first run.
    ///
    /// # Errors
    /// Exit code 78 for the profile, and for a file that is not as it was written.
    pub fn open(profile: &Path, purpose: &str) -> Result<Self, Failure> {
        let (folder, organisation) = profile::state(profile)?;
        // A profile may be pointed at another gateway, whose cursors count other deliveries.
        let log = digest_of(profile::first_log(profile)?.as_bytes());
        let log = log.get(..8).unwrap_or_default();
        let file = folder.join(format!("{purpose}-{}-{log}", organisation.replace('/', "-")));
        let refused = |what: &str| {
            Failure::configuration(format!("{}: {what}", file.display()))
                .and("remove the file to see everything again, as --all does, or put back the one it was")
        };
        let cursor = match std::fs::read_to_string(&file) {
            Ok(text) => Some(read(&text).ok_or_else(|| refused("this is not a cursor as it was kept"))?),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(refused(&error.to_string())),
        };
        Ok(Self { file, cursor })
    }

    /// Returns the cursor, once there is one.
    #[must_use]
    pub fn get(&self) -> Option<Cursor> {
        self.cursor.clone()
    }

    /// Keeps a cursor that lies behind the kept one, or that is of another log; it is durable on return.
    ///
    /// # Errors
    /// Exit code 69 when the file cannot be written.
    pub fn advance(&mut self, to: &Cursor) -> Result<(), Failure> {
        let place = |cursor: &Cursor| (cursor.index, cursor.ordinal);
        if self.cursor.as_ref().is_some_and(|kept| kept.log == to.log && place(kept) >= place(to)) {
            return Ok(());
        }
        let failed = |error| Failure::unavailable(&self.file.display().to_string(), error);
        write(&self.file, &text(to)).map_err(failed)?;
        self.cursor = Some(to.clone());
        Ok(())
    }
}

/// Writes a file under a name of its own, and gives it its name when it is on disk.
pub(super) fn write(path: &Path, text: &str) -> std::io::Result<()> {
    // The folder of a name alone is empty, and means the present one.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut part = path.as_os_str().to_owned();
    part.push(format!(".{}.part", std::process::id()));
    let mut file = File::create(&part)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&part, path)?;
    File::open(folder)?.sync_all()
}

fn text(cursor: &Cursor) -> String {
    let Cursor { log, index, ordinal } = cursor;
    let lines = format!("{HEADING}\nlog {log}\nindex {index}\nordinal {ordinal}\n");
    let digest = digest_of(lines.as_bytes());
    format!("{lines}sha256 {digest}\n")
}

fn read(text: &str) -> Option<Cursor> {
    let (lines, digest) = text.strip_suffix('\n')?.rsplit_once('\n')?;
    let lines = format!("{lines}\n");
    if digest.strip_prefix("sha256 ")? != digest_of(lines.as_bytes()) {
        return None;
    }
    let rest = lines.strip_prefix(HEADING)?.strip_prefix("\nlog ")?;
    let (log, rest) = rest.split_once("\nindex ")?;
    let (index, ordinal) = rest.strip_suffix('\n')?.split_once("\nordinal ")?;
    Some(Cursor { log: log.to_owned(), index: index.parse().ok()?, ordinal: ordinal.parse().ok()? })
}

/// Computes the SHA-256 of bytes, in hexadecimal digits.
pub(super) fn digest_of(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_kept_and_not_otherwise() {
        for log in ["", "ap.example/log-2"] {
            let cursor = Cursor { log: log.to_owned(), index: u64::MAX, ordinal: 3 };
            let kept = text(&cursor);
            assert_eq!(read(&kept), Some(cursor));
            for (at, _) in kept.char_indices() {
                assert_eq!(read(&kept[..at]), None, "cut at {at}");
                let mut damaged = kept.clone().into_bytes();
                damaged[at] ^= 1;
                assert_eq!(read(&String::from_utf8(damaged).unwrap()), None, "changed at {at}");
            }
        }
    }

    #[test]
    fn a_cursor_goes_forward_only() {
        let dir = tempfile::TempDir::new().unwrap();
        let file = dir.path().join("state/deliveries");
        let mut kept = KeptCursor { file: file.clone(), cursor: None };
        let at = |log: &str, index| Cursor { log: log.to_owned(), index, ordinal: 0 };
        for (to, then) in [
            (at("", 5), at("", 5)),
            (at("", 4), at("", 5)),
            (at("", 7), at("", 7)),
            (at("new", 6), at("new", 6)),
        ] {
            kept.advance(&to).unwrap();
            assert_eq!(read(&std::fs::read_to_string(&file).unwrap()), Some(then));
        }
        assert_eq!(std::fs::read_dir(dir.path().join("state")).unwrap().count(), 1);
    }
}
