//! Export of the log as a C2SP tlog-tiles folder: `checkpoint`, `tile/<level>/…`, `tile/entries/…`. Anyone can verify
//! it with the log's public key, without our software.

use std::io;
use std::path::Path;

use crate::store::{Anchor, LogReader, Row, Snapshot, StoreError};
use crate::tlog::{
    Checkpoint, CompactRange, Hash, TILE_WIDTH, entry_bundle, leaf_hash, partial_tiles, tile_path,
};

const NOT_IN_ANCHOR: StoreError =
    StoreError::Inconsistent("the log in the database does not hold the checkpoint in the anchor");

/// Errors of an export.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The log could not be read.
    #[error("the log could not be read")]
    Store(#[from] StoreError),
    /// The folder could not be written.
    #[error("the folder could not be written")]
    Folder(#[from] io::Error),
}

/// Writes the log up to the checkpoint in the anchor to a folder, and returns the number of entries. A node may serve
/// the log meanwhile: a newer checkpoint in the database may not be durable yet.
///
/// # Errors
/// [`ExportError`] when the log or the anchor cannot be read, when the log does not hold the anchor's checkpoint, or
/// when the folder cannot be written.
pub async fn export_folder(log: &LogReader, anchor: &Path, out: &Path) -> Result<u64, ExportError> {
    let note = Anchor::read_newest_note(anchor).map_err(|error| StoreError::Anchor {
        path: anchor.to_owned(),
        cause: format!("the anchor file cannot be read: {error}"),
    })?;
    let (text, _signatures) = note.split_once("\n\n").unwrap_or_default();
    let anchored = Checkpoint::parse(&format!("{text}\n")).map_err(|_| NOT_IN_ANCHOR)?;
    let mut snapshot = Snapshot::new(log.database());
    let mut range = CompactRange::default();
    let mut partial: Vec<Vec<Hash>> = vec![Vec::new(); 8];
    loop {
        let from = i64::try_from(range.size()).unwrap_or(i64::MAX);
        let to = i64::try_from(anchored.size()).unwrap_or(i64::MAX).min(from.saturating_add(256));
        let sql = "SELECT bytes FROM entries WHERE idx >= $1 AND idx < $2 ORDER BY idx";
        let rows = snapshot.fetch(sql, vec![from.into(), to.into()]).await?;
        if rows.is_empty() {
            break;
        }
        let (number, width) = (range.size() / TILE_WIDTH, rows.len() as u64);
        write_file(out, &tile_path("entries", number, width), &bundle_entries(&rows)?)?;
        for row in &rows {
            let leaf = leaf_hash(row.get_bytes("bytes")?);
            range.append(leaf);
            if let Some(leaves) = partial.first_mut() {
                leaves.push(leaf);
            }
        }
        for tile in range.take_full_tiles() {
            let level = usize::from(tile.id.level);
            write_file(
                out,
                &tile_path(&level.to_string(), tile.id.number, TILE_WIDTH),
                &concat_hashes(&tile.hashes),
            )?;
            if let Some(hashes) = partial.get_mut(level) {
                hashes.clear();
            }
            if let Some(above) = partial.get_mut(level + 1) {
                above.push(crate::tlog::tree_root(&tile.hashes));
            }
        }
    }
    if (range.size(), &range.root()) != (anchored.size(), anchored.root()) {
        return Err(NOT_IN_ANCHOR.into());
    }
    for ((id, width), hashes) in partial_tiles(range.size()).zip(&partial) {
        if width > 0 {
            write_file(
                out,
                &tile_path(&id.level.to_string(), id.number, width as u64),
                &concat_hashes(hashes),
            )?;
        }
    }
    write_file(out, "checkpoint", note.as_bytes())?;
    Ok(range.size())
}

/// Encodes entries as a tlog-tiles entry bundle.
fn bundle_entries(rows: &[Row]) -> Result<Vec<u8>, ExportError> {
    let bytes: Vec<&[u8]> = rows.iter().map(|row| row.get_bytes("bytes")).collect::<Result<_, _>>()?;
    Ok(entry_bundle(bytes).ok_or(StoreError::Inconsistent("an entry is longer than an export can hold"))?)
}

fn concat_hashes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

fn write_file(out: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let path = out.join(name);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, bytes)
}
