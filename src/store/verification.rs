//! Verifies the whole log while it is served. Start compares the newest entries only, so that a node is
//! ready at once; what was altered further back is found here, page by page, from the first entry on.

use std::time::Duration;

use super::Snapshot;
use super::evidence::{self, Log};
use super::log::{place, verified};
use super::sql::{Conn, StoreError};
use crate::tlog::{Edge, Hash, Lineage, TILE_WIDTH, Tile, leaf_hash};

/// Pause after each page of 256 entries: whoever is served comes first.
const PAUSE: Duration = Duration::from_millis(5);
/// Wait for a database that cannot be reached.
const AGAIN: Duration = Duration::from_secs(10);

/// Something in the log that is not as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The first entry that it concerns.
    pub index: u64,
    /// In plain words.
    pub what: &'static str,
}

/// Rebuilds the tree of the first `size` entries, and compares every entry with its tile, every tile with
/// those below it, and the root with the checkpoint that was signed.
///
/// # Errors
/// As [`StoreError`] says; a database that cannot be reached is tried again instead.
pub async fn verify(log: &Log, size: u64, keys: &Lineage) -> Result<Option<Finding>, StoreError> {
    let mut edge = Edge::default();
    while edge.size() < size {
        match page(log, &mut edge, size).await {
            Ok(None) => tokio::time::sleep(PAUSE).await,
            Err(StoreError::Unreachable(_)) => tokio::time::sleep(AGAIN).await,
            ended => return ended,
        }
    }
    let mut snapshot = Snapshot::of(log.database());
    let note = evidence::note(&mut snapshot, size).await?;
    let signed = note.map(|note| verified(&note, keys)).transpose()?;
    let same = signed.is_some_and(|signed| *signed.root() == edge.root());
    Ok((!same).then_some(Finding { index: 0, what: "the tree does not have the root that was signed" }))
}

/// The next page: its entries join the tree when all of them were read.
async fn page(log: &Log, edge: &mut Edge, size: u64) -> Result<Option<Finding>, StoreError> {
    let mut snapshot = Snapshot::of(log.database());
    let leaves = match leaves(snapshot.conn().await?, edge.size(), size).await? {
        Ok(leaves) => leaves,
        Err(finding) => return Ok(Some(finding)),
    };
    let mut grown = edge.clone();
    for leaf in leaves {
        grown.append(leaf);
    }
    for tile in grown.take_full_tiles() {
        if let Some(finding) = compare(snapshot.conn().await?, &tile).await? {
            return Ok(Some(finding));
        }
    }
    *edge = grown;
    Ok(None)
}

/// The leaf hashes of a tile's entries, up to the log's end at `size`, none of them missing.
pub(super) async fn leaves(
    conn: &mut Conn,
    first: u64,
    size: u64,
) -> Result<Result<Vec<Hash>, Finding>, StoreError> {
    let end = size.min(first + TILE_WIDTH);
    let sql = "SELECT idx, bytes FROM entries WHERE idx >= $1 AND idx < $2 ORDER BY idx";
    let rows = conn.fetch(sql, vec![place(first).into(), place(end).into()]).await?;
    let mut leaves = Vec::with_capacity(rows.len());
    for (index, row) in (first..end).zip(rows.iter().map(Some).chain(std::iter::repeat(None))) {
        match row {
            Some(row) if row.int(0)? == place(index) => leaves.push(leaf_hash(row.blob(1)?)),
            _ => return Ok(Err(Finding { index, what: "an entry of the log is missing" })),
        }
    }
    Ok(Ok(leaves))
}

/// A full tile against the one that is stored; a difference names the first entry below it.
pub(super) async fn compare(conn: &mut Conn, tile: &Tile) -> Result<Option<Finding>, StoreError> {
    let sql = "SELECT hashes FROM tiles WHERE level = $1 AND number = $2";
    let arguments = vec![i64::from(tile.id.level).into(), place(tile.id.number).into()];
    let row = conn.fetch_one(sql, arguments).await?;
    let stored = row.as_ref().map_or(Ok(&[][..]), |row| row.blob(0))?;
    let stored = stored.chunks(32).chain(std::iter::repeat(&[][..]));
    let differs = tile.hashes.iter().zip(stored).position(|(hash, stored)| hash.as_bytes() != stored);
    Ok(differs.map(|at| {
        let index = (tile.id.number * TILE_WIDTH + at as u64) << (8 * u32::from(tile.id.level));
        Finding { index, what: "an entry of the log was changed" }
    }))
}
