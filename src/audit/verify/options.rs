//! What a copy is verified with.

use std::path::PathBuf;

use super::keys::opens_wrapped_keys;
use crate::audit::report::VerifyReport;
use crate::seal::{CommitmentKey, KeyRing};
use crate::store::log_startup::newest_entry_mismatch;
use crate::store::{Database, DatabaseLocation, Snapshot, StoreError};
use crate::tlog::LogKeyHistory;

/// The database to verify, and the keys and files to verify it with.
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// A copy of the database.
    pub database: DatabaseLocation,
    /// The verifier key of the log, with those of the logs that it replaced.
    pub log_key: LogKeyHistory,
    /// The anchor file or a copy of it. With it a truncated log is found.
    pub anchor: Option<PathBuf>,
    /// The key ring. With it changed records about children and replaced keys are found.
    pub key_ring: Option<PathBuf>,
    /// The commitment key. With it changed rows that are about no child are found.
    pub commitment_key: Option<PathBuf>,
}

/// The opened keys of a verification. A file that cannot be used is a finding.
pub(super) struct OpenedKeys {
    pub ring: Option<KeyRing>,
    pub commitment: Option<CommitmentKey>,
}

impl OpenedKeys {
    /// Loads the keys. Those of another gateway are one finding each, and are not used: every row would be a finding.
    pub async fn load(
        options: &VerifyOptions,
        database: &Database,
        report: &mut VerifyReport,
    ) -> Result<Self, StoreError> {
        let Self { ring, commitment } = Self::load_files(options, report);
        let is_of_log = match &commitment {
            Some(key) => newest_entry_mismatch(database, Some(key.id())).await?.is_none(),
            None => true,
        };
        if !is_of_log {
            report.add_finding("commitment key", None, "the file is of another log");
        }
        let opens = match &ring {
            Some(ring) => opens_wrapped_keys(&mut Snapshot::new(database), ring).await?,
            None => true,
        };
        if !opens {
            report.add_finding(
                "key ring",
                None,
                "it opens no key of this database: the file is of another one",
            );
        }
        Ok(Self { ring: ring.filter(|_| opens), commitment: commitment.filter(|_| is_of_log) })
    }

    fn load_files(options: &VerifyOptions, report: &mut VerifyReport) -> Self {
        let ring = options.key_ring.as_deref().map(KeyRing::load).transpose();
        let commitment = options.commitment_key.as_deref().map(CommitmentKey::load).transpose();
        let ring = ring.unwrap_or_else(|error| {
            report.add_finding("key ring", None, format!("the file cannot be used: {error}"));
            None
        });
        let commitment = commitment.unwrap_or_else(|error| {
            report.add_finding("commitment key", None, format!("the file cannot be used: {error}"));
            None
        });
        Self { ring, commitment }
    }
}
