//! Backup and restore of a node's SQLite database, while it serves.
//!
//! A backup is a folder with *sets*. A set begins with a base, all entries of the log with what they wrote, and goes on
//! with segments of what was added since; each is complete once its manifest is there, which the log's key signs. What
//! can be made again is not in a segment. Keys are in no segment: the wrapped keys of children, the key ring, the
//! commitment key and the signing key are a part of their own beside each segment, encrypted to recipients of age, and
//! are deleted after 35 days, so that a key that was destroyed is gone from every backup by then.

mod age;
mod files;
mod folder;
mod key_part;
mod loss;
mod manifest;
mod restore;
mod take;

use std::path::{Path, PathBuf};

pub use age::AgeError;
pub use loss::Loss;
pub use manifest::Manifest;
pub use restore::{Preparation, RestoreOptions, prepare};
pub use take::{BackupOptions, KEY_LIFE, take};

use crate::audit::verify::VerifyError;
use crate::config::ConfigError;
use crate::gateway::StartError;
use crate::store::StoreError;

/// Why a backup was not made, or not restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The backup, or the place where it is to be restored, does not fit. Nothing was written.
    #[error("{0}")]
    Refused(String),
    /// The database is not SQLite.
    #[error("database.sqlite is not configured: PostgreSQL is backed up with its own tools")]
    NotSqlite,
    /// A file cannot be read or written.
    #[error("{}: it cannot be {operation}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was to be done with it.
        operation: &'static str,
        /// The error of the file system.
        source: std::io::Error,
    },
    /// The command `age` failed.
    #[error(transparent)]
    Age(#[from] AgeError),
    /// The database cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The configuration, a key or the database cannot be used.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The restored database cannot be verified.
    #[error(transparent)]
    Verify(#[from] VerifyError),
}

impl From<ConfigError> for BackupError {
    fn from(error: ConfigError) -> Self {
        Self::Start(error.into())
    }
}

impl BackupError {
    fn refused(path: &Path, what: impl std::fmt::Display) -> Self {
        Self::Refused(format!("{}: {what}", path.display()))
    }

    fn file(path: &Path, operation: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::File { path: path.to_owned(), operation, source }
    }
}
