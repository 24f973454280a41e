//! The read budget of one decision. Beyond it the exchange is refused. Without it a single call could occupy a node for
//! as long as there are rows to read, because a decision does not end with its caller's deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::sql::StoreError;

/// Limits of what is read through one snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    /// Maximum number of rows, over all statements.
    pub rows: usize,
    /// Maximum number of statements.
    pub statements: usize,
}

impl ReadLimits {
    /// No limits, for reads that no caller requested.
    pub const NONE: Self = Self { rows: usize::MAX, statements: usize::MAX };
}

/// Counts of what was read through a snapshot, with its limits. Clones share the counts, so that the exchange pipeline
/// detects an exceeded limit even if a capability turned the error into another one.
#[derive(Clone, Debug)]
pub struct ReadBudget(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    limits: ReadLimits,
    rows: AtomicUsize,
    statements: AtomicUsize,
}

impl ReadBudget {
    pub(super) fn new(limits: ReadLimits) -> Self {
        Self(Arc::new(Counts { limits, rows: AtomicUsize::new(0), statements: AtomicUsize::new(0) }))
    }

    /// Returns whether a limit was exceeded.
    #[must_use]
    pub fn is_exceeded(&self) -> bool {
        let Counts { limits, rows, statements } = &*self.0;
        let (rows, statements) = (rows.load(Ordering::Relaxed), statements.load(Ordering::Relaxed));
        rows > limits.rows || statements > limits.statements
    }

    /// Returns whether more than half of a limit was used. A list then ends its page.
    #[must_use]
    pub fn is_half_spent(&self) -> bool {
        let Counts { limits, rows, statements } = &*self.0;
        let (rows, statements) = (rows.load(Ordering::Relaxed), statements.load(Ordering::Relaxed));
        rows > limits.rows / 2 || statements > limits.statements / 2
    }

    /// Counts a statement that is about to run. Returns how many rows to fetch: one more than are left, so that
    /// reaching the limit and exceeding it differ.
    pub(super) fn begin_statement(&self) -> Result<usize, StoreError> {
        self.0.statements.fetch_add(1, Ordering::Relaxed);
        self.within_limits()?;
        let left = self.0.limits.rows - self.0.rows.load(Ordering::Relaxed);
        Ok(left.saturating_add(1))
    }

    /// Counts the rows that a statement returned.
    pub(super) fn count_rows(&self, rows: usize) -> Result<(), StoreError> {
        self.0.rows.fetch_add(rows, Ordering::Relaxed);
        self.within_limits()
    }

    fn within_limits(&self) -> Result<(), StoreError> {
        if self.is_exceeded() { Err(StoreError::LimitExceeded) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_themselves_are_within_the_limits() {
        let budget = ReadBudget::new(ReadLimits { rows: 5, statements: 2 });
        assert_eq!(budget.begin_statement().unwrap(), 6);
        budget.count_rows(3).unwrap();
        assert_eq!(budget.clone().begin_statement().unwrap(), 3);
        budget.count_rows(2).unwrap();
        assert!(!budget.is_exceeded());
        assert!(matches!(budget.begin_statement(), Err(StoreError::LimitExceeded)));
        assert!(budget.is_exceeded());
    }

    #[test]
    fn a_row_too_many_is_too_many_for_ever() {
        let budget = ReadBudget::new(ReadLimits { rows: 5, statements: 9 });
        budget.begin_statement().unwrap();
        assert!(matches!(budget.count_rows(6), Err(StoreError::LimitExceeded)));
        assert!(matches!(budget.begin_statement(), Err(StoreError::LimitExceeded)));
        assert!(!ReadBudget::new(ReadLimits::NONE).is_exceeded());
    }
}
