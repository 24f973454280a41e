//! Inclusion and consistency proofs: made from perfect nodes, wherever they are kept, and verified by
//! RFC 9162 §2.1.3.2 and §2.1.4.2. Every loop is bounded by the 64 levels of the tree.

use super::hash::{Hash, empty_root, node_hash};

/// Why a proof was not made or does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The index is not in the tree, or the earlier tree is not earlier.
    #[error("the proof is asked for what is not in the tree")]
    Range,
    /// The proof has too many or too few hashes.
    #[error("the proof has the wrong length")]
    Length,
    /// The proof leads to another root.
    #[error("the proof leads to another root")]
    Root,
    /// A node is not kept where it was looked for.
    #[error("a node of the tree is missing")]
    Missing,
}

/// Makes proofs of a tree of one size from its perfect nodes: `nodes(level, index)` is the root of leaves
/// `index << level .. (index + 1) << level`.
pub struct Prover<N> {
    size: u64,
    nodes: N,
    /// The level up to which the last nodes are perfect: the trailing zeros of the size.
    perfect: u8,
    /// From that level on, the hash of each level's last node: the tree's ragged right side.
    ragged: Vec<Hash>,
}

impl<N: Fn(u8, u64) -> Option<Hash>> Prover<N> {
    /// A prover; `None` when a node of the right side is missing, or the tree is empty.
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
        Some(Self { size, nodes, perfect, ragged })
    }

    /// The tree's root.
    #[must_use]
    pub fn root(&self) -> Option<Hash> {
        self.ragged.last().copied()
    }

    /// The inclusion proof of a leaf: from its sibling to the root.
    ///
    /// # Errors
    /// [`ProofError::Range`], [`ProofError::Missing`].
    pub fn inclusion(&self, index: u64) -> Result<Vec<Hash>, ProofError> {
        if index >= self.size {
            return Err(ProofError::Range);
        }
        let (mut at, mut last) = (index, self.size - 1);
        let mut proof = Vec::with_capacity(self.ragged.len());
        for level in 0..64 {
            if last == 0 {
                break;
            }
            let sibling = at ^ 1;
            if sibling < last {
                proof.push((self.nodes)(level, sibling).ok_or(ProofError::Missing)?);
            } else if sibling == last {
                proof.push(self.last(level, last)?);
            }
            at /= 2;
            last /= 2;
        }
        Ok(proof)
    }

    /// The proof that the first `from` leaves of this tree are the tree of that size (RFC 9162 §2.1.4.1).
    ///
    /// # Errors
    /// [`ProofError::Range`], [`ProofError::Missing`].
    pub fn consistency(&self, from: u64) -> Result<Vec<Hash>, ProofError> {
        if from == 0 || from > self.size {
            return Err(ProofError::Range);
        }
        let mut proof = Vec::new();
        let (mut begin, mut end, mut whole) = (0, self.size, true);
        // Down the path to the old tree's last leaf, noting the other side of each turn.
        while from != end {
            let middle = begin + split(end - begin);
            if from <= middle {
                proof.push(self.range(middle, end)?);
                end = middle;
            } else {
                proof.push(self.range(begin, middle)?);
                begin = middle;
                whole = false;
            }
        }
        if !whole {
            proof.push(self.range(begin, end)?);
        }
        proof.reverse();
        Ok(proof)
    }

    /// The root of a range that is a node of the tree: perfect, or ragged at the tree's end.
    fn range(&self, begin: u64, end: u64) -> Result<Hash, ProofError> {
        let width = end - begin;
        if width.is_power_of_two() {
            let level = u8::try_from(width.trailing_zeros()).map_err(|_| ProofError::Range)?;
            return (self.nodes)(level, begin >> level).ok_or(ProofError::Missing);
        }
        let level =
            u8::try_from(width.next_power_of_two().trailing_zeros()).map_err(|_| ProofError::Range)?;
        self.last(level, begin >> level)
    }

    /// The last node of a level, which is at `index`.
    fn last(&self, level: u8, index: u64) -> Result<Hash, ProofError> {
        let hash = match level.checked_sub(self.perfect) {
            None => (self.nodes)(level, index),
            Some(above) => self.ragged.get(usize::from(above)).copied(),
        };
        hash.ok_or(ProofError::Missing)
    }
}

/// The greatest power of two below `width`.
fn split(width: u64) -> u64 {
    1 << (width - 1).ilog2()
}

/// Verifies that a leaf is in the tree with this root at this index.
///
/// # Errors
/// [`ProofError::Range`], [`ProofError::Length`], [`ProofError::Root`].
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::Range);
    }
    let (mut at, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Length);
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
        (false, _) => Err(ProofError::Length),
        (true, false) => Err(ProofError::Root),
        (true, true) => Ok(()),
    }
}

/// Verifies that the tree with the new root begins with the tree with the old root.
///
/// # Errors
/// [`ProofError::Range`], [`ProofError::Length`], [`ProofError::Root`].
pub fn verify_consistency(
    old_size: u64,
    old_root: &Hash,
    new_size: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old_size > new_size {
        return Err(ProofError::Range);
    }
    if old_size == 0 || old_size == new_size {
        let same = if old_size == 0 { *old_root == empty_root() } else { old_root == new_root };
        return match (proof.is_empty(), same) {
            (false, _) => Err(ProofError::Length),
            (true, false) => Err(ProofError::Root),
            (true, true) => Ok(()),
        };
    }
    let own = [*old_root];
    let mut hashes =
        if old_size.is_power_of_two() { own.iter().chain(proof) } else { [].iter().chain(proof) };
    let (mut at, mut last) = (old_size - 1, new_size - 1);
    while at % 2 == 1 {
        at /= 2;
        last /= 2;
    }
    let first = *hashes.next().ok_or(ProofError::Length)?;
    let (mut old, mut new) = (first, first);
    for hash in hashes {
        if last == 0 {
            return Err(ProofError::Length);
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
        (false, _) => Err(ProofError::Length),
        (true, false) => Err(ProofError::Root),
        (true, true) => Ok(()),
    }
}
