//! Tiles of the tree (C2SP tlog-tiles): 256 hashes each, with their coordinates, their paths, and entry bundles.

use super::hash::{Hash, node_hash};

/// Number of hashes in a full tile, of height 8.
pub const TILE_WIDTH: u64 = 256;

/// The coordinates of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TileId {
    /// Level of the tile: its hashes are nodes of level `8 * level` of the binary tree, leaf hashes for 0.
    pub level: u8,
    /// Number of the tile in its level, from the left, from 0.
    pub number: u64,
}

/// Returns the partial tile of each of the eight tile levels of a tree of this size, with its width, 0 to 255.
pub fn partial_tiles(size: u64) -> impl Iterator<Item = (TileId, usize)> {
    (0..8_u8).map(move |level| {
        let nodes = size.checked_shr(8 * u32::from(level)).unwrap_or(0);
        let width = usize::try_from(nodes % TILE_WIDTH).unwrap_or(0);
        (TileId { level, number: nodes / TILE_WIDTH }, width)
    })
}

/// Returns the tile that contains a perfect node of the binary tree, and the range of the tile's hashes below the node.
#[must_use]
pub fn tile_containing(level: u8, index: u64) -> (TileId, std::ops::Range<usize>) {
    let height = level % 8;
    let first = index << height;
    let begin = usize::try_from(first % TILE_WIDTH).unwrap_or(0);
    (TileId { level: level / 8, number: first / TILE_WIDTH }, begin..begin + (1 << height))
}

/// Computes a perfect node from the hashes of the tile that contains it; `None` if the tile is missing or too short.
pub fn node_in_tile(level: u8, index: u64, tile: impl Fn(TileId) -> Option<Vec<Hash>>) -> Option<Hash> {
    let (id, span) = tile_containing(level, index);
    let mut nodes = tile(id)?.get(span)?.to_vec();
    while nodes.len() > 1 {
        nodes = nodes
            .chunks_exact(2)
            .filter_map(|pair| if let [left, right] = pair { Some(node_hash(left, right)) } else { None })
            .collect();
    }
    nodes.first().copied()
}

/// Returns the path of a tile: `tile/<level>/<number>`, with `.p/<width>` for a partial one. Numbers are in groups of
/// three digits, with `x` before all but the last. `kind` is a level, or `entries`.
#[must_use]
pub fn tile_path(kind: &str, number: u64, width: u64) -> String {
    let mut path = format!("{:03}", number % 1_000);
    let mut rest = number / 1_000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1_000);
        rest /= 1_000;
    }
    let partial = if width < TILE_WIDTH { format!(".p/{width}") } else { String::new() };
    format!("tile/{kind}/{path}{partial}")
}

/// Encodes an entry bundle: each entry after its length in 2 bytes, big-endian. `None` if an entry has 64 KiB or more.
#[must_use]
pub fn entry_bundle<'a>(entries: impl IntoIterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    let mut bundle = Vec::new();
    for entry in entries {
        bundle.extend_from_slice(&u16::try_from(entry.len()).ok()?.to_be_bytes());
        bundle.extend_from_slice(entry);
    }
    Some(bundle)
}
