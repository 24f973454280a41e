//! Cursor that `watch` stores between runs, in a file next to the profile's folder of checkpoints.
//!
//! All deliveries up to the cursor were written to standard output, flushed and, with `--acknowledge`, acknowledged.
//! Runs with and without `--acknowledge` have separate cursors, so that a run that only prints never causes a delivery
//! to remain unacknowledged.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};

use super::{Failure, profile};
use crate::client::write_atomically;
use crate::proto::v1::Cursor;

/// First line of a cursor's file: the file type and the version of the format.
const FILE_HEADER: &str = "ap-gateway cursor 1";

/// Cursor with the file in which it is stored.
pub struct StoredCursor {
    file: PathBuf,
    cursor: Option<Cursor>,
}

impl StoredCursor {
    /// Loads the cursor of a profile's organisation for one purpose, such as `alerts`; `None` before the first run.
    ///
    /// # Errors
    /// Exit code 78 if the profile is invalid or the cursor's file is damaged.
    pub fn load(profile: &Path, purpose: &str) -> Result<Self, Failure> {
        let (folder, organisation) = profile::cursor_folder_and_organisation(profile)?;
        // The log identifies the gateway: a profile may be changed to another one, whose cursors are unrelated.
        let log = sha256_hex(profile::first_log_key(profile)?.as_bytes());
        let log = log.get(..8).unwrap_or_default();
        let file = folder.join(format!("{purpose}-{}-{log}", organisation.replace('/', "-")));
        let refused = |what: &str| {
            Failure::configuration(format!("{}: {what}", file.display()))
                .with_advice("remove the file to read everything again, as --all does, or restore it")
        };
        let cursor = match std::fs::read_to_string(&file) {
            Ok(text) => Some(parse(&text).ok_or_else(|| refused("the stored cursor is damaged"))?),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(refused(&error.to_string())),
        };
        Ok(Self { file, cursor })
    }

    /// Returns the cursor, or `None` before the first run.
    #[must_use]
    pub fn get(&self) -> Option<Cursor> {
        self.cursor.clone()
    }

    /// Stores a cursor if it is after the stored one or belongs to another log. It is durable on return.
    ///
    /// # Errors
    /// Exit code 69 if the file cannot be written.
    pub fn advance(&mut self, cursor: &Cursor) -> Result<(), Failure> {
        let position = |cursor: &Cursor| (cursor.index, cursor.ordinal);
        if self
            .cursor
            .as_ref()
            .is_some_and(|stored| stored.log == cursor.log && position(stored) >= position(cursor))
        {
            return Ok(());
        }
        let failed = |error| Failure::unavailable(&self.file.display().to_string(), error);
        write_atomically(&self.file, encode(cursor)).map_err(failed)?;
        self.cursor = Some(cursor.clone());
        Ok(())
    }
}

fn encode(cursor: &Cursor) -> String {
    let Cursor { log, index, ordinal } = cursor;
    let lines = format!("{FILE_HEADER}\nlog {log}\nindex {index}\nordinal {ordinal}\n");
    let digest = sha256_hex(lines.as_bytes());
    format!("{lines}sha256 {digest}\n")
}

fn parse(text: &str) -> Option<Cursor> {
    let (lines, digest) = text.strip_suffix('\n')?.rsplit_once('\n')?;
    let lines = format!("{lines}\n");
    if digest.strip_prefix("sha256 ")? != sha256_hex(lines.as_bytes()) {
        return None;
    }
    let rest = lines.strip_prefix(FILE_HEADER)?.strip_prefix("\nlog ")?;
    let (log, rest) = rest.split_once("\nindex ")?;
    let (index, ordinal) = rest.strip_suffix('\n')?.split_once("\nordinal ")?;
    Some(Cursor { log: log.to_owned(), index: index.parse().ok()?, ordinal: ordinal.parse().ok()? })
}

/// Computes the SHA-256 of bytes, in hexadecimal digits.
pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_kept_and_not_otherwise() {
        for log in ["", "ap.example/log-2"] {
            let cursor = Cursor { log: log.to_owned(), index: u64::MAX, ordinal: 3 };
            let kept = encode(&cursor);
            assert_eq!(parse(&kept), Some(cursor));
            for (at, _) in kept.char_indices() {
                assert_eq!(parse(&kept[..at]), None, "cut at {at}");
                let mut damaged = kept.clone().into_bytes();
                damaged[at] ^= 1;
                assert_eq!(parse(&String::from_utf8(damaged).unwrap()), None, "changed at {at}");
            }
        }
    }

    #[test]
    fn a_cursor_goes_forward_only() {
        let dir = tempfile::TempDir::new().unwrap();
        let file = dir.path().join("state/deliveries");
        let mut kept = StoredCursor { file: file.clone(), cursor: None };
        let at = |log: &str, index| Cursor { log: log.to_owned(), index, ordinal: 0 };
        for (to, then) in [
            (at("", 5), at("", 5)),
            (at("", 4), at("", 5)),
            (at("", 7), at("", 7)),
            (at("new", 6), at("new", 6)),
        ] {
            kept.advance(&to).unwrap();
            assert_eq!(parse(&std::fs::read_to_string(&file).unwrap()), Some(then));
        }
        assert_eq!(std::fs::read_dir(dir.path().join("state")).unwrap().count(), 1);
    }
}
