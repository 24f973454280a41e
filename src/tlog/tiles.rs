//! C2SP tlog-tiles: the tree cut into tiles of 256 hashes, their places, their names, and bundles of entries.

use super::hash::{Hash, node_hash};

/// Hashes of a full tile: height 8.
pub const TILE_WIDTH: u64 = 256;

/// A tile's place: its hashes are of level `8 * level` of the binary tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TileId {
    /// 0 for the leaves' hashes.
    pub level: u8,
    /// From the left, from 0.
    pub number: u64,
}

/// The growing tile of each of the eight tile levels in a tree of this size, with its width, 0 to 255.
pub fn partial_tiles(size: u64) -> impl Iterator<Item = (TileId, usize)> {
    (0..8_u8).map(move |level| {
        let nodes = size.checked_shr(8 * u32::from(level)).unwrap_or(0);
        let width = usize::try_from(nodes % TILE_WIDTH).unwrap_or(0);
        (TileId { level, number: nodes / TILE_WIDTH }, width)
    })
}

/// The tile that holds a perfect node of the binary tree, with the span of the tile's hashes below it.
#[must_use]
pub fn tile_of(level: u8, index: u64) -> (TileId, std::ops::Range<usize>) {
    let height = level % 8;
    let first = index << height;
    let begin = usize::try_from(first % TILE_WIDTH).unwrap_or(0);
    (TileId { level: level / 8, number: first / TILE_WIDTH }, begin..begin + (1 << height))
}

/// A perfect node from the hashes of the tile that holds it; `None` when the tile is too short.
pub fn node_in_tile(level: u8, index: u64, tile: impl Fn(TileId) -> Option<Vec<Hash>>) -> Option<Hash> {
    let (id, span) = tile_of(level, index);
    let mut nodes = tile(id)?.get(span)?.to_vec();
    while nodes.len() > 1 {
        nodes = nodes
            .chunks_exact(2)
            .filter_map(|pair| if let [left, right] = pair { Some(node_hash(left, right)) } else { None })
            .collect();
    }
    nodes.first().copied()
}

/// `tile/<level>/<number>`, with `.p/<width>` for a partial one; numbers in groups of three digits, all but
/// the last marked with `x`. `kind` is a level, or `entries`.
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

/// A bundle of entries: each behind its length, 2 bytes big-endian; `None` for an entry of 64 KiB or more.
#[must_use]
pub fn bundle<'a>(entries: impl IntoIterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    let mut bundle = Vec::new();
    for entry in entries {
        bundle.extend_from_slice(&u16::try_from(entry.len()).ok()?.to_be_bytes());
        bundle.extend_from_slice(entry);
    }
    Some(bundle)
}
