//! The log as a C2SP tlog-tiles folder: `checkpoint`, `tile/<level>/…`, `tile/entries/…`. Anybody can verify
//! it with the log's public key and no software of ours.

use std::io;
use std::path::Path;

use crate::store::evidence::{self, Log};
use crate::store::{Row, Snapshot, StoreError};
use crate::tlog::{Edge, Hash, TILE_WIDTH, bundle, leaf_hash, partial_tiles, tile_path};

/// Why an export was not made.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The log could not be read.
    #[error("the log could not be read")]
    Store(#[from] StoreError),
    /// The folder could not be written.
    #[error("the folder could not be written")]
    Folder(#[from] io::Error),
}

/// Writes the log up to its newest checkpoint; gives the number of entries.
///
/// # Errors
/// [`ExportError`].
pub async fn folder(log: &Log, out: &Path) -> Result<u64, ExportError> {
    let mut snapshot = Snapshot::of(log.database());
    let note = evidence::note(&mut snapshot, 0).await?;
    let note = note.ok_or(StoreError::Inconsistent("the database holds no log"))?;
    let mut edge = Edge::default();
    let mut growing: Vec<Vec<Hash>> = vec![Vec::new(); 8];
    loop {
        let from = i64::try_from(edge.size()).unwrap_or(i64::MAX);
        let sql = "SELECT bytes FROM entries WHERE idx >= $1 AND idx < $2 ORDER BY idx";
        let rows = snapshot.fetch(sql, vec![from.into(), from.saturating_add(256).into()]).await?;
        if rows.is_empty() {
            break;
        }
        let (number, width) = (edge.size() / TILE_WIDTH, rows.len() as u64);
        write(out, &tile_path("entries", number, width), &entries(&rows)?)?;
        for row in &rows {
            let leaf = leaf_hash(row.blob(0)?);
            edge.append(leaf);
            if let Some(leaves) = growing.first_mut() {
                leaves.push(leaf);
            }
        }
        for tile in edge.take_full_tiles() {
            let level = usize::from(tile.id.level);
            write(out, &tile_path(&level.to_string(), tile.id.number, TILE_WIDTH), &joined(&tile.hashes))?;
            if let Some(hashes) = growing.get_mut(level) {
                hashes.clear();
            }
            if let Some(above) = growing.get_mut(level + 1) {
                above.push(crate::tlog::tree_root(&tile.hashes));
            }
        }
    }
    for ((id, width), hashes) in partial_tiles(edge.size()).zip(&growing) {
        if width > 0 {
            write(out, &tile_path(&id.level.to_string(), id.number, width as u64), &joined(hashes))?;
        }
    }
    write(out, "checkpoint", note.as_bytes())?;
    Ok(edge.size())
}

fn entries(rows: &[Row]) -> Result<Vec<u8>, ExportError> {
    let bytes: Vec<&[u8]> = rows.iter().map(|row| row.blob(0)).collect::<Result<_, _>>()?;
    Ok(bundle(bytes).ok_or(StoreError::Inconsistent("an entry is longer than an export can hold"))?)
}

fn joined(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

fn write(out: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let path = out.join(name);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, bytes)
}
