//! The right edge of the tree: all that is needed to append, to give the root, and to prove what was just
//! appended, without a look at what is stored.

use std::collections::VecDeque;
use std::sync::Arc;

use super::hash::{Hash, empty_root, node_hash};
use super::proof::Prover;
use super::tiles::{TILE_WIDTH, TileId, partial_tiles};

/// Nodes kept of each level: a full tile and the one that is growing, 256 each.
const KEPT: usize = 512;

/// A tile that became full: 256 hashes of level `8 * id.level`.
#[derive(Clone, Debug)]
pub struct Tile {
    /// Its place.
    pub id: TileId,
    /// Its hashes.
    pub hashes: Vec<Hash>,
}

/// The right edge. Cloning is cheap: a level is copied when one of two clones changes it.
#[derive(Clone, Debug)]
pub struct Edge {
    size: u64,
    /// All 64 levels that a tree can have, the leaves first.
    levels: Vec<Arc<Level>>,
    full: Vec<Tile>,
}

impl Default for Edge {
    fn default() -> Self {
        Self { size: 0, levels: vec![Arc::default(); 64], full: Vec::new() }
    }
}

/// The last perfect nodes of one level of the binary tree.
#[derive(Clone, Debug, Default)]
struct Level {
    /// Index of the first node kept.
    first: u64,
    nodes: VecDeque<Hash>,
}

impl Level {
    fn push(&mut self, hash: Hash) -> u64 {
        if self.nodes.len() == KEPT {
            // Half at a time, so that the first node kept begins a tile.
            self.nodes.drain(..KEPT / 2);
            self.first += KEPT as u64 / 2;
        }
        self.nodes.push_back(hash);
        self.first + self.nodes.len() as u64 - 1
    }

    fn node(&self, index: u64) -> Option<Hash> {
        self.nodes.get(usize::try_from(index.checked_sub(self.first)?).ok()?).copied()
    }
}

impl Edge {
    /// The edge of a tree of this size from its partial tiles, which [`partial_tiles`] names; `None` unless
    /// each has its width.
    #[must_use]
    pub fn resume(size: u64, partial: &[(TileId, Vec<Hash>)]) -> Option<Self> {
        let mut edge = Self { size, ..Self::default() };
        for ((id, width), levels) in partial_tiles(size).zip(edge.levels.chunks_mut(8)) {
            let (_, hashes) = partial.iter().find(|(of, _)| *of == id)?;
            if hashes.len() != width {
                return None;
            }
            let (mut first, mut nodes) = (id.number * TILE_WIDTH, hashes.clone());
            for level in levels {
                *level = Arc::new(Level { first, nodes: nodes.iter().copied().collect() });
                first /= 2;
                nodes = nodes.chunks_exact(2).filter_map(pair).collect();
            }
        }
        Some(edge)
    }

    /// Leaves in the tree.
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
                self.full.push(Tile { id, hashes });
            }
            if index % 2 == 0 {
                return;
            }
            let Some(left) = nodes.node(index - 1) else { return };
            hash = node_hash(&left, &hash);
        }
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.prover().and_then(|prover| prover.root()).unwrap_or_else(empty_root)
    }

    /// Proofs of the tree as it is, for leaves of the last tile and the one before.
    #[must_use]
    pub fn prover(&self) -> Option<Prover<impl Fn(u8, u64) -> Option<Hash>>> {
        Prover::new(self.size, |level, index| self.levels.get(usize::from(level))?.node(index))
    }

    /// The growing tile above a full one, as far as it has grown; `None` when it is just full, or empty.
    #[must_use]
    pub fn growing_above(&self, full: TileId) -> Option<Tile> {
        let mut growing = partial_tiles(self.size).skip(usize::from(full.level) + 1);
        let (id, width) = growing.next().filter(|(_, width)| *width > 0)?;
        let nodes = self.levels.get(8 * usize::from(id.level))?;
        let hashes: Vec<Hash> =
            (id.number * TILE_WIDTH..).take(width).filter_map(|at| nodes.node(at)).collect();
        (hashes.len() == width).then_some(Tile { id, hashes })
    }

    /// Tiles that became full since this was last asked; they must be stored.
    pub fn take_full_tiles(&mut self) -> Vec<Tile> {
        std::mem::take(&mut self.full)
    }
}

fn pair(pair: &[Hash]) -> Option<Hash> {
    if let [left, right] = pair { Some(node_hash(left, right)) } else { None }
}
