//! Verifies the whole log, from the first entry on, while the node serves. The checks at start cover only the newest
//! entries, so that a node is ready at once; this finds older entries that were altered.

use std::time::Duration;

use super::Snapshot;
use super::evidence::{self, LogReader};
use super::log::{db_int, verify_checkpoint};
use super::sql::{Conn, StoreError};
use crate::tlog::{CompactRange, Hash, LogKeyHistory, TILE_WIDTH, Tile, leaf_hash};

/// Pause after each page of 256 entries, so that calls have priority.
const PAGE_PAUSE: Duration = Duration::from_millis(5);
/// Interval of retries while the database cannot be reached.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// A part of the log that was altered or lost after it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogCorruption {
    /// Index of the first affected entry.
    pub index: u64,
    /// A description for operators.
    pub message: &'static str,
}

/// Rebuilds the tree of the first `size` entries, and compares every entry with its tile, every tile with those below
/// it, and the root with the signed checkpoint. Returns the first difference.
///
/// # Errors
/// See [`StoreError`]; a database that cannot be reached is retried instead.
pub async fn verify_log(
    log: &LogReader,
    size: u64,
    keys: &LogKeyHistory,
) -> Result<Option<LogCorruption>, StoreError> {
    let mut range = CompactRange::default();
    while range.size() < size {
        match verify_page(log, &mut range, size).await {
            Ok(None) => tokio::time::sleep(PAGE_PAUSE).await,
            Err(StoreError::Unreachable(_)) => tokio::time::sleep(RETRY_INTERVAL).await,
            ended => return ended,
        }
    }
    let mut snapshot = Snapshot::new(log.database());
    let note = evidence::load_checkpoint(&mut snapshot, size).await?;
    let signed = note.map(|note| verify_checkpoint(&note, keys)).transpose()?;
    let same = signed.is_some_and(|signed| *signed.root() == range.root());
    Ok((!same)
        .then_some(LogCorruption { index: 0, message: "the tree does not have the root that was signed" }))
}

/// Verifies the next page, and adds its entries to the tree once all of them are read.
async fn verify_page(
    log: &LogReader,
    range: &mut CompactRange,
    size: u64,
) -> Result<Option<LogCorruption>, StoreError> {
    let mut snapshot = Snapshot::new(log.database());
    let leaves = match load_leaves(snapshot.conn().await?, range.size(), size).await? {
        Ok(leaves) => leaves,
        Err(finding) => return Ok(Some(finding)),
    };
    let mut grown = range.clone();
    for leaf in leaves {
        grown.append(leaf);
    }
    for tile in grown.take_full_tiles() {
        if let Some(finding) = compare_tile(snapshot.conn().await?, &tile).await? {
            return Ok(Some(finding));
        }
    }
    *range = grown;
    Ok(None)
}

/// Loads the leaf hashes of the entries from `first` on: a full tile, or up to the log's end at `size`. Returns a
/// finding if one is missing.
pub(super) async fn load_leaves(
    conn: &mut Conn,
    first: u64,
    size: u64,
) -> Result<Result<Vec<Hash>, LogCorruption>, StoreError> {
    let end = size.min(first + TILE_WIDTH);
    let sql = "SELECT idx, bytes FROM entries WHERE idx >= $1 AND idx < $2 ORDER BY idx";
    let rows = conn.fetch(sql, vec![db_int(first).into(), db_int(end).into()]).await?;
    let mut leaves = Vec::with_capacity(rows.len());
    for (index, row) in (first..end).zip(rows.iter().map(Some).chain(std::iter::repeat(None))) {
        match row {
            Some(row) if row.get::<i64>("idx")? == db_int(index) => {
                leaves.push(leaf_hash(row.get_bytes("bytes")?));
            }
            _ => return Ok(Err(LogCorruption { index, message: "an entry of the log is missing" })),
        }
    }
    Ok(Ok(leaves))
}

/// Compares a full tile with the stored one. A finding names the first entry below the first different hash.
pub(super) async fn compare_tile(conn: &mut Conn, tile: &Tile) -> Result<Option<LogCorruption>, StoreError> {
    let sql = "SELECT hashes FROM tiles WHERE level = $1 AND number = $2";
    let arguments = vec![i64::from(tile.id.level).into(), db_int(tile.id.number).into()];
    let row = conn.fetch_one(sql, arguments).await?;
    let stored = row.as_ref().map_or(Ok(&[][..]), |row| row.get_bytes("hashes"))?;
    let stored = stored.chunks(32).chain(std::iter::repeat(&[][..]));
    let differs = tile.hashes.iter().zip(stored).position(|(hash, stored)| hash.as_bytes() != stored);
    Ok(differs.map(|at| {
        let index = (tile.id.number * TILE_WIDTH + at as u64) << (8 * u32::from(tile.id.level));
        LogCorruption { index, message: "an entry of the log was changed" }
    }))
}
