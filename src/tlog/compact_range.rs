//! The compact range: the last nodes of each level of the tree, held in memory. It is enough to append leaves, to
//! compute the root, and to prove recent leaves, without reading the stored tree.

use std::collections::VecDeque;
use std::sync::Arc;

use super::hash::{Hash, empty_root, node_hash};
use super::proof::Prover;
use super::tiles::{TILE_WIDTH, TileId, partial_tiles};

/// Maximum number of nodes kept of each level: those of a full tile and of the partial one, 256 each.
const NODES_PER_LEVEL: usize = 512;

/// A tile of hashes of level `8 * id.level`.
#[derive(Clone, Debug)]
pub struct Tile {
    /// Level and number of the tile.
    pub id: TileId,
    /// The hashes: 256 in a full tile.
    pub hashes: Vec<Hash>,
}

/// The last nodes of each level of a tree. Cloning is cheap, because a level is copied only when a clone changes it.
#[derive(Clone, Debug)]
pub struct CompactRange {
    size: u64,
    /// All 64 levels that a tree can have; the leaves are the first.
    levels: Vec<Arc<Level>>,
    /// Full tiles that [`CompactRange::take_full_tiles`] has not returned yet.
    full_tiles: Vec<Tile>,
}

impl Default for CompactRange {
    fn default() -> Self {
        Self { size: 0, levels: vec![Arc::default(); 64], full_tiles: Vec::new() }
    }
}

/// The last perfect nodes of one level of the binary tree.
#[derive(Clone, Debug, Default)]
struct Level {
    /// Index of the first node that is kept.
    first_index: u64,
    nodes: VecDeque<Hash>,
}

impl Level {
    /// Appends a node and returns its index.
    fn push(&mut self, hash: Hash) -> u64 {
        if self.nodes.len() == NODES_PER_LEVEL {
            // Half of the nodes are dropped at once, so that the first node that is kept begins a tile.
            self.nodes.drain(..NODES_PER_LEVEL / 2);
            self.first_index += NODES_PER_LEVEL as u64 / 2;
        }
        self.nodes.push_back(hash);
        self.first_index + self.nodes.len() as u64 - 1
    }

    fn node(&self, index: u64) -> Option<Hash> {
        self.nodes.get(usize::try_from(index.checked_sub(self.first_index)?).ok()?).copied()
    }
}

impl CompactRange {
    /// Makes the compact range of a tree of this size from its partial tiles, which [`partial_tiles`] lists. Returns
    /// `None` if one is missing or has another width.
    #[must_use]
    pub fn from_partial_tiles(size: u64, partial: &[(TileId, Vec<Hash>)]) -> Option<Self> {
        let mut range = Self { size, ..Self::default() };
        for ((id, width), levels) in partial_tiles(size).zip(range.levels.chunks_mut(8)) {
            let (_, hashes) = partial.iter().find(|(found, _)| *found == id)?;
            if hashes.len() != width {
                return None;
            }
            let (mut first, mut nodes) = (id.number * TILE_WIDTH, hashes.clone());
            for level in levels {
                *level = Arc::new(Level { first_index: first, nodes: nodes.iter().copied().collect() });
                first /= 2;
                nodes = nodes.chunks_exact(2).filter_map(hash_pair).collect();
            }
        }
        Some(range)
    }

    /// Returns the number of leaves in the tree.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf.
    pub fn append(&mut self, leaf: Hash) {
        let mut hash = leaf;
        self.size += 1;
        for (level, nodes) in (0_u8..).zip(&mut self.levels) {
            let nodes = Arc::make_mut(nodes);
            let index = nodes.push(hash);
            if level % 8 == 0 && (index + 1) % TILE_WIDTH == 0 {
                let id = TileId { level: level / 8, number: index / TILE_WIDTH };
                let hashes = (id.number * TILE_WIDTH..=index).filter_map(|at| nodes.node(at)).collect();
                self.full_tiles.push(Tile { id, hashes });
            }
            if index % 2 == 0 {
                return;
            }
            let Some(left) = nodes.node(index - 1) else { return };
            hash = node_hash(&left, &hash);
        }
    }

    /// Returns the root of the tree.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.prover().and_then(|prover| prover.root()).unwrap_or_else(empty_root)
    }

    /// Returns a prover for the present tree. It can prove leaves of the last two tiles.
    #[must_use]
    pub fn prover(&self) -> Option<Prover<impl Fn(u8, u64) -> Option<Hash>>> {
        Prover::new(self.size, |level, index| self.levels.get(usize::from(level))?.node(index))
    }

    /// Returns the partial tile above a full one; `None` if it is empty, or has just become full.
    #[must_use]
    pub fn partial_tile_above(&self, full: TileId) -> Option<Tile> {
        let mut partial = partial_tiles(self.size).skip(usize::from(full.level) + 1);
        let (id, width) = partial.next().filter(|(_, width)| *width > 0)?;
        let nodes = self.levels.get(8 * usize::from(id.level))?;
        let hashes: Vec<Hash> =
            (id.number * TILE_WIDTH..).take(width).filter_map(|at| nodes.node(at)).collect();
        (hashes.len() == width).then_some(Tile { id, hashes })
    }

    /// Returns the partial tiles of the present tree, above the leaves.
    pub fn partial_tiles(&self) -> impl Iterator<Item = Tile> {
        partial_tiles(self.size).filter(|(id, width)| id.level > 0 && *width > 0).filter_map(|(id, width)| {
            let nodes = self.levels.get(8 * usize::from(id.level))?;
            let hashes = (id.number * TILE_WIDTH..).take(width).filter_map(|at| nodes.node(at)).collect();
            Some(Tile { id, hashes })
        })
    }

    /// Takes the tiles that became full since the last call. The caller must store them.
    pub fn take_full_tiles(&mut self) -> Vec<Tile> {
        std::mem::take(&mut self.full_tiles)
    }
}

fn hash_pair(pair: &[Hash]) -> Option<Hash> {
    if let [left, right] = pair { Some(node_hash(left, right)) } else { None }
}
