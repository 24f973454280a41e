//! Sums of the hashes of rows. Two sets of rows have the same sum only if they are the same, whatever their order, so that
//! a table is compared without being held in memory.

use std::hash::{BuildHasher, Hash, RandomState};

/// Hashes rows under random keys, which no writer of the database can know.
#[derive(Default)]
pub(super) struct RowHasher([RandomState; 2]);

/// The number and the sum of the hashes of some rows.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct RowSum {
    pub count: u64,
    sums: [u64; 2],
}

impl RowSum {
    /// Adds a row.
    pub fn add(&mut self, hasher: &RowHasher, row: &impl Hash) {
        self.count += 1;
        for (sum, hasher) in self.sums.iter_mut().zip(&hasher.0) {
            *sum = sum.wrapping_add(hasher.hash_one(row));
        }
    }
}
