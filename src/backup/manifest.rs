//! The manifest of a segment: what it holds, and the digests of its files. It is a signed note of the log's key, so that
//! a changed byte is found, also one of the manifest itself, and so that a backup of another log is told.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::BackupError;
use super::files::FileDigest;
use crate::clock::Instant;
use crate::store::sql::segment::RowCounts;
use crate::tlog::{LogKeyHistory, Signer};

/// First line of a manifest. It tells a manifest from a checkpoint, which the same key signs.
const HEADING: &str = "ap-gateway backup manifest";
/// Format of the manifests that this release writes and reads.
const FORMAT: u32 = 1;

/// The manifest of a segment of a backup.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Format of the manifest.
    pub(super) format: u32,
    /// Release that made the segment.
    pub(super) release: String,
    /// Version of the database's schema.
    pub(super) schema: i64,
    /// Name of the set.
    pub(super) set: String,
    /// Number of the segment in its set; 0 is the base.
    pub(super) number: u32,
    /// SHA-256 of the manifest before this one in the set; empty for the base.
    pub(super) previous: String,
    /// Index of the first entry of the segment.
    pub from: u64,
    /// Number of entries of the log up to the end of the segment.
    pub to: u64,
    /// Time of the last entry, RFC 3339.
    pub time: String,
    /// When the segment was begun, RFC 3339.
    pub(super) made: String,
    /// The signed checkpoint of the log at the end of the segment.
    pub(super) checkpoint: String,
    /// Number of rows of each table of the segment.
    pub(super) rows: RowCounts,
    /// The segment.
    pub(super) data: FileDigest,
    /// The part with the keys.
    pub(super) keys: FileDigest,
    /// SHA-256 of the files with keys.
    pub(super) key_files: String,
    /// Number of wrapped keys at the end of the segment.
    pub(super) wrapped_keys: u64,
}

impl Manifest {
    /// The format that this release writes.
    pub(super) const FORMAT: u32 = FORMAT;

    /// Returns the name of the set, which is the time of its base.
    #[must_use]
    pub fn set(&self) -> &str {
        &self.set
    }

    /// Returns whether the segment is a base.
    #[must_use]
    pub fn is_base(&self) -> bool {
        self.number == 0
    }

    /// Returns the length of the segment in bytes.
    #[must_use]
    pub fn data_bytes(&self) -> u64 {
        self.data.bytes
    }

    /// Returns when the segment was begun.
    pub(super) fn made_at(&self) -> Option<Instant> {
        self.made.parse().ok()
    }

    /// Signs the manifest.
    pub(super) fn to_note(&self, signer: &Signer) -> Result<String, BackupError> {
        let json = serde_json::to_string(self);
        let json = json.map_err(|error| BackupError::Refused(format!("the manifest: {error}")))?;
        Ok(signer.sign(&format!("{HEADING}\n{json}\n")))
    }

    /// Opens a signed manifest.
    ///
    /// # Errors
    /// [`BackupError::Refused`] if none of the log's keys signed it, it was changed, or a newer release made it.
    pub(super) fn open(path: &Path, note: &str, keys: &LogKeyHistory) -> Result<Self, BackupError> {
        let opened = keys.keys().find_map(|key| key.open(note).ok());
        let Some(text) = opened else {
            return Err(BackupError::refused(path, "the manifest is of another log, or was changed"));
        };
        let json = text.strip_prefix(HEADING).unwrap_or_default();
        let found: Self = serde_json::from_str(json)
            .map_err(|_| BackupError::refused(path, "it is not a manifest that this release reads"))?;
        if found.format != FORMAT {
            return Err(BackupError::refused(path, format!("its format {} is unknown", found.format)));
        }
        Ok(found)
    }
}
