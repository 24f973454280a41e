//! Verification of a whole log on a copy of its database: every entry against the tree, every checkpoint against its
//! signature and root, every row of every table against the entry that wrote it or against what it is derived from. It
//! trusts only the log's public key and, if given, the anchor, the key ring and the commitment key. The report says what
//! was checked, and what was not for want of them.

mod checkpoints;
mod derived;
mod entries;
mod indexes;
mod keys;
mod log_tree;
mod options;
mod page;
mod row_sum;
mod rows;
mod scope;
mod versions;

use self::entries::EntryVerifier;
use self::indexes::ExpectedIndexes;
use self::keys::Disposals;
use self::options::OpenedKeys;
pub use self::options::VerifyOptions;
use self::page::EntryPages;
use super::report::VerifyReport;
use crate::store::{self, Database, EntryMismatch, SchemaMismatch, Snapshot, StoreError, Table};

/// Why a copy cannot be verified at all.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The copy cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The copy's schema is not this release's.
    #[error(transparent)]
    Schema(#[from] SchemaMismatch),
    /// The copy's schema is this release's by number, but a table lacks columns.
    #[error(
        "the table {0} of the copy does not have the columns of this release: it is not a copy of a gateway's database"
    )]
    Columns(&'static str),
    /// Its entries are of an unknown format.
    #[error(transparent)]
    Format(#[from] EntryMismatch),
}

/// Verifies a copy of a database. `tables` are all tables of the gateway.
///
/// # Errors
/// [`VerifyError`] when the copy cannot be verified at all. Faults of the log are in the report.
pub async fn verify_database(
    options: &VerifyOptions,
    tables: &[&'static Table],
) -> Result<VerifyReport, VerifyError> {
    let database = Database::open(&options.database).await?;
    check_readable(&database, tables).await?;
    let mut report = VerifyReport::default();
    match verify_all(&database, options, tables, &mut report).await {
        Err(StoreError::Corrupt { table, column }) => {
            let known = tables.iter().any(|known| known.name == table);
            let what =
                format!("column {column} holds a value that cannot be read: the verification ended there");
            report.add_finding(if known { table } else { "database" }, None, what);
            report.unchecked.push("whatever stands behind a value that cannot be read".to_owned());
        }
        verified => verified?,
    }
    database.close().await;
    Ok(report)
}

async fn verify_all(
    database: &Database,
    options: &VerifyOptions,
    tables: &[&'static Table],
    report: &mut VerifyReport,
) -> Result<(), StoreError> {
    let mut snapshot = Snapshot::new(database);
    let keys = OpenedKeys::load(options, database, report).await?;
    scope::verify_schema(&mut snapshot, report).await?;
    let notes = checkpoints::load_checkpoints(&mut snapshot).await?;
    let disposals = Disposals::load(&mut snapshot).await?;
    let pages = EntryPages::spawn(database.writer().await?, tables);
    let indexes = ExpectedIndexes::load(&mut snapshot).await?;
    let mut entries = EntryVerifier::new(&options.log_key, &keys, &disposals, tables, &notes, indexes);
    let range = log_tree::verify(notes, pages, &options.log_key, &mut entries, report).await?;
    log_tree::verify_tile_rows(&mut snapshot, &range, report).await?;
    log_tree::verify_anchor(&mut snapshot, options, range.size(), report).await?;
    entries.finish(&mut snapshot, range.size(), report).await?;
    scope::state(options, &keys, tables, &disposals, report);
    scope::state_unknown_columns(&mut snapshot, tables, report).await
}

/// Checks that this release can read the copy.
async fn check_readable(database: &Database, tables: &[&'static Table]) -> Result<(), VerifyError> {
    if let Some(mismatch) = database.schema_mismatch().await? {
        return Err(mismatch.into());
    }
    for table in tables {
        if !database.reader().await?.has_columns(table).await? {
            return Err(VerifyError::Columns(table.name));
        }
    }
    match store::log_startup::newest_entry_mismatch(database, None).await? {
        Some(mismatch) => Err(mismatch.into()),
        None => Ok(()),
    }
}
