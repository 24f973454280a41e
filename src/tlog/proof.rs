//! Inclusion and consistency proofs. They are made from the roots of perfect subtrees, wherever these are stored, and
//! verified by RFC 9162 §2.1.3.2 and §2.1.4.2. Every loop is bounded by the 64 levels of the tree.

use super::hash::{Hash, empty_root, node_hash};

/// An error of making or verifying a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The index is not in the tree, or the old tree is larger than the new one.
    #[error("the index or the size is not in the tree")]
    OutOfRange,
    /// The proof has too many or too few hashes.
    #[error("the proof has the wrong length")]
    WrongLength,
    /// The proof does not result in the given root.
    #[error("the proof leads to another root")]
    WrongRoot,
    /// A node that the proof needs is not stored.
    #[error("a node of the tree is missing")]
    MissingNode,
}

/// A prover for a tree of one size, which it reads as perfect nodes: `nodes(level, index)` returns the root of leaves
/// `index << level .. (index + 1) << level`.
pub struct Prover<N> {
    size: u64,
    nodes: N,
    /// The level up to which each level's last node is perfect: the number of trailing zeros of the size.
    perfect_level: u8,
    /// The tree's right border: the hash of each level's last node, from that level on.
    right_border: Vec<Hash>,
}

impl<N: Fn(u8, u64) -> Option<Hash>> Prover<N> {
    /// Makes a prover; `None` if the tree is empty or a node of its right border is missing.
    pub fn new(size: u64, nodes: N) -> Option<Self> {
        let perfect = u8::try_from(size.trailing_zeros()).ok().filter(|_| size > 0)?;
        let mut last = (size >> perfect) - 1;
        let mut hash = nodes(perfect, last)?;
        let mut ragged = vec![hash];
        for level in perfect..64 {
            if last == 0 {
                break;
            }
            if last % 2 == 1 {
                hash = node_hash(&nodes(level, last - 1)?, &hash);
            }
            last /= 2;
            ragged.push(hash);
        }
        Some(Self { size, nodes, perfect_level: perfect, right_border: ragged })
    }

    /// Returns the root of the tree.
    #[must_use]
    pub fn root(&self) -> Option<Hash> {
        self.right_border.last().copied()
    }

    /// Returns the inclusion proof of a leaf, from its sibling upwards (RFC 9162 §2.1.3.1).
    ///
    /// # Errors
    /// [`ProofError::OutOfRange`], [`ProofError::MissingNode`].
    pub fn inclusion_proof(&self, index: u64) -> Result<Vec<Hash>, ProofError> {
        if index >= self.size {
            return Err(ProofError::OutOfRange);
        }
        let (mut at, mut last) = (index, self.size - 1);
        let mut proof = Vec::with_capacity(self.right_border.len());
        for level in 0..64 {
            if last == 0 {
                break;
            }
            let sibling = at ^ 1;
            if sibling < last {
                proof.push((self.nodes)(level, sibling).ok_or(ProofError::MissingNode)?);
            } else if sibling == last {
                proof.push(self.last_node(level, last)?);
            }
            at /= 2;
            last /= 2;
        }
        Ok(proof)
    }

    /// Returns the consistency proof between the tree of the first `from` leaves and this tree (RFC 9162 §2.1.4.1).
    ///
    /// # Errors
    /// [`ProofError::OutOfRange`], [`ProofError::MissingNode`].
    pub fn consistency_proof(&self, from: u64) -> Result<Vec<Hash>, ProofError> {
        if from == 0 || from > self.size {
            return Err(ProofError::OutOfRange);
        }
        let mut proof = Vec::new();
        // The RFC's SUBPROOF, as a loop: `is_old_tree` is its flag `b`, and is true while the range begins at leaf 0.
        let (mut begin, mut end, mut is_old_tree) = (0, self.size, true);
        while from != end {
            let middle = begin + split_point(end - begin);
            if from <= middle {
                proof.push(self.range_root(middle, end)?);
                end = middle;
            } else {
                proof.push(self.range_root(begin, middle)?);
                begin = middle;
                is_old_tree = false;
            }
        }
        if !is_old_tree {
            proof.push(self.range_root(begin, end)?);
        }
        proof.reverse();
        Ok(proof)
    }

    /// Returns the root of a range that is a node of the tree: a perfect one, or one on the right border.
    fn range_root(&self, begin: u64, end: u64) -> Result<Hash, ProofError> {
        let width = end - begin;
        if width.is_power_of_two() {
            let level = u8::try_from(width.trailing_zeros()).map_err(|_| ProofError::OutOfRange)?;
            return (self.nodes)(level, begin >> level).ok_or(ProofError::MissingNode);
        }
        let level =
            u8::try_from(width.next_power_of_two().trailing_zeros()).map_err(|_| ProofError::OutOfRange)?;
        self.last_node(level, begin >> level)
    }

    /// Returns the last node of a level. `index` is its index.
    fn last_node(&self, level: u8, index: u64) -> Result<Hash, ProofError> {
        let hash = match level.checked_sub(self.perfect_level) {
            None => (self.nodes)(level, index),
            Some(above) => self.right_border.get(usize::from(above)).copied(),
        };
        hash.ok_or(ProofError::MissingNode)
    }
}

/// Returns the largest power of two smaller than `width`.
fn split_point(width: u64) -> u64 {
    1 << (width - 1).ilog2()
}

/// Verifies that a leaf is at `index` in the tree of `size` and `root`.
///
/// # Errors
/// [`ProofError::OutOfRange`], [`ProofError::WrongLength`], [`ProofError::WrongRoot`].
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::OutOfRange);
    }
    let (mut at, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::WrongLength);
        }
        if at % 2 == 1 || at == last {
            hash = node_hash(sibling, &hash);
            while at % 2 == 0 && at != 0 {
                at /= 2;
                last /= 2;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        at /= 2;
        last /= 2;
    }
    match (last == 0, hash == *root) {
        (false, _) => Err(ProofError::WrongLength),
        (true, false) => Err(ProofError::WrongRoot),
        (true, true) => Ok(()),
    }
}

/// Verifies that the new tree is an extension of the old tree.
///
/// # Errors
/// [`ProofError::OutOfRange`], [`ProofError::WrongLength`], [`ProofError::WrongRoot`].
pub fn verify_consistency(
    old_size: u64,
    old_root: &Hash,
    new_size: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old_size > new_size {
        return Err(ProofError::OutOfRange);
    }
    if old_size == 0 || old_size == new_size {
        let same = if old_size == 0 { *old_root == empty_root() } else { old_root == new_root };
        return match (proof.is_empty(), same) {
            (false, _) => Err(ProofError::WrongLength),
            (true, false) => Err(ProofError::WrongRoot),
            (true, true) => Ok(()),
        };
    }
    let old_root_hash = [*old_root];
    let first_hashes: &[Hash] = if old_size.is_power_of_two() { &old_root_hash } else { &[] };
    let mut hashes = first_hashes.iter().chain(proof);
    let (mut at, mut last) = (old_size - 1, new_size - 1);
    while at % 2 == 1 {
        at /= 2;
        last /= 2;
    }
    let first = *hashes.next().ok_or(ProofError::WrongLength)?;
    let (mut old, mut new) = (first, first);
    for hash in hashes {
        if last == 0 {
            return Err(ProofError::WrongLength);
        }
        if at % 2 == 1 || at == last {
            (old, new) = (node_hash(hash, &old), node_hash(hash, &new));
            while at % 2 == 0 && at != 0 {
                at /= 2;
                last /= 2;
            }
        } else {
            new = node_hash(&new, hash);
        }
        at /= 2;
        last /= 2;
    }
    match (last == 0, old == *old_root && new == *new_root) {
        (false, _) => Err(ProofError::WrongLength),
        (true, false) => Err(ProofError::WrongRoot),
        (true, true) => Ok(()),
    }
}
