//! The checks that a node's start makes of its database before it writes anything, and `check`, which makes them and no
//! other step of a start.

use super::files::{
    StartError, check_database_files, check_key_ring, commitment_key, key_ring, rule_book, signer,
};
use crate::config::Config;
use crate::seal::{CommitmentKey, KeyRing, ensure_folder_is_writable};
use crate::store::log::TreeHead;
use crate::store::{Database, SchemaMismatch, log_startup};
use crate::tlog::LogKeyHistory;

/// What `check` found.
pub enum CheckedLog {
    /// Everything is consistent.
    Consistent {
        /// The head of the log.
        head: TreeHead,
        /// The keys that verify the log.
        log_key: LogKeyHistory,
    },
    /// The schema is older than this release's, which the start migrates; the log was not read.
    ToMigrate(SchemaMismatch),
}

/// Opens the database that a configuration names.
///
/// # Errors
/// [`StartError`].
pub async fn open_database(config: &Config) -> Result<Database, StartError> {
    check_database_files(config)?;
    Database::open(&config.location()?).await.map_err(StartError::database(config))
}

/// Opens the database that a configuration names, and makes the SQLite file if there is none.
///
/// # Errors
/// [`StartError`].
pub async fn create_database(config: &Config) -> Result<Database, StartError> {
    check_database_files(config)?;
    Database::create(&config.location()?).await.map_err(StartError::database(config))
}

/// Returns why this release does not serve the schema of a database.
///
/// # Errors
/// [`StartError`].
pub async fn schema_mismatch(
    config: &Config,
    database: &Database,
) -> Result<Option<SchemaMismatch>, StartError> {
    database.schema_mismatch().await.map_err(StartError::database(config))
}

/// Checks that schema, tables, replication, newest entry and key ring fit a database.
///
/// # Errors
/// [`StartError`].
pub(super) async fn check_contents(
    config: &Config,
    database: &Database,
    ring: &KeyRing,
    commitment_key: &CommitmentKey,
) -> Result<(), StartError> {
    if let Some(mismatch) = schema_mismatch(config, database).await? {
        return Err(mismatch.into());
    }
    database.check_tables(&super::tables()).await.map_err(StartError::database(config))?;
    database.require_durability(config.database.single_primary).await?;
    if let Some(mismatch) = log_startup::newest_entry_mismatch(database, Some(commitment_key.id())).await? {
        return Err(mismatch.into());
    }
    check_key_ring(config, database, ring).await
}

/// What `node add` did.
pub struct AddedNode {
    /// Number of entries that the new anchor covers.
    pub anchored: u64,
    /// Number of entries of the log.
    pub entries: u64,
}

/// Makes the anchor of a further node from a signed checkpoint of its log, after the checks of a start. Another node may
/// serve the database meanwhile.
///
/// # Errors
/// [`StartError::Checkpoint`] if the checkpoint is not one of this log; otherwise as for [`check`].
pub async fn add_node(config: &Config, note: &str) -> Result<AddedNode, StartError> {
    let (ring, commitment_key, signer) = (key_ring(config)?, commitment_key(config)?, signer(config)?);
    rule_book(config)?;
    let keys = signer.key_history();
    let anchored = keys.open(note).map_err(StartError::Checkpoint)?.size();
    let database = open_database(config).await?;
    let added = async {
        check_contents(config, &database, &ring, &commitment_key).await?;
        let head = log_startup::check_log_continues(&database, note, keys).await?;
        let anchor = &config.log.anchor;
        ensure_folder_is_writable(anchor).map_err(StartError::file("log.anchor", anchor))?;
        log_startup::create_anchor(anchor, note)?;
        Ok(AddedNode { anchored, entries: head.size })
    };
    let added = added.await;
    database.close().await;
    added
}

/// Checks keys, database, log and anchor as a start does. Changes none of them and locks nothing, so a node may serve them
/// meanwhile. What a killed node left in SQLite's write-ahead log stays there.
///
/// # Errors
/// [`StartError`].
pub async fn check(config: &Config) -> Result<CheckedLog, StartError> {
    let (ring, commitment_key, signer) = (key_ring(config)?, commitment_key(config)?, signer(config)?);
    rule_book(config)?;
    let database = open_database(config).await?;
    let checked = async {
        if let Some(mismatch @ SchemaMismatch::Older { .. }) = schema_mismatch(config, &database).await?
            && config.migrate_on_start
        {
            return Ok(CheckedLog::ToMigrate(mismatch));
        }
        check_contents(config, &database, &ring, &commitment_key).await?;
        let log_key = signer.key_history().clone();
        let head = log_startup::check_log(&database, &config.log.anchor, &log_key).await?;
        Ok(CheckedLog::Consistent { head, log_key })
    };
    let checked = checked.await;
    database.close_unchanged().await;
    checked
}
