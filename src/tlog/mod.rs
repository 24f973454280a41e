//! The transparency log as mathematics: hashes, tree, proofs, signed notes, checkpoints, tiles. Pure: it
//! reads no clock, no file and no database, so that a verifier needs nothing else of the gateway.
//!
//! RFC 6962 and RFC 9162 for the tree and its proofs; C2SP signed-note, tlog-checkpoint and tlog-tiles for
//! the formats.

mod checkpoint;
mod children;
mod edge;
mod hash;
mod lineage;
mod note;
mod proof;
mod tiles;

#[cfg(test)]
mod tests;

pub use checkpoint::{Checkpoint, CheckpointError};
pub use children::{child_leaf, commitment};
pub use edge::{Edge, Tile};
pub use hash::{Hash, leaf_hash, node_hash};
pub use lineage::{Lineage, LineageError};
pub use note::{NoteError, Signer, Verifier};
pub use proof::{ProofError, Prover, verify_consistency, verify_inclusion};
pub use tiles::{TILE_WIDTH, TileId, bundle, node_in_tile, partial_tiles, tile_of, tile_path};

/// The RFC 6962 root over leaves that are already hashed.
#[must_use]
pub fn tree_root(leaves: &[Hash]) -> Hash {
    let mut edge = Edge::default();
    for leaf in leaves {
        edge.append(*leaf);
    }
    edge.root()
}
