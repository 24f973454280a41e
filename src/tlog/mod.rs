//! The transparency log's data structures: hashes, Merkle tree, proofs, signed notes, checkpoints and tiles. The module
//! reads no clock, file or database, so that a verifier needs nothing else of the gateway.
//!
//! The tree and its proofs are those of RFC 6962 and RFC 9162. The formats are C2SP signed-note, tlog-checkpoint and
//! tlog-tiles.

mod checkpoint;
mod commitments;
mod compact_range;
mod hash;
mod log_key_history;
mod note;
mod proof;
mod signer;
mod tiles;

#[cfg(test)]
mod tests;

pub use checkpoint::{Checkpoint, CheckpointError};
pub use commitments::{ChildLeafHeader, ExchangeSalt, child_leaf, commitment};
pub use compact_range::{CompactRange, Tile};
pub use hash::{Hash, leaf_hash, node_hash};
pub use log_key_history::{LogKeyHistory, LogKeyHistoryError};
pub use note::{NoteError, Verifier};
pub use proof::{ProofError, Prover, verify_consistency, verify_inclusion};
pub use signer::Signer;
pub use tiles::{TILE_WIDTH, TileId, entry_bundle, node_in_tile, partial_tiles, tile_containing, tile_path};

/// Returns the RFC 6962 Merkle tree hash of some leaf hashes.
#[must_use]
pub fn tree_root(leaves: &[Hash]) -> Hash {
    let mut range = CompactRange::default();
    for leaf in leaves {
        range.append(*leaf);
    }
    range.root()
}
