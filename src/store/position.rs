//! Positions in the log: the order of commits, which is the same on every node.

use uuid::Uuid;

use super::sql::{Row, StoreError};

/// The position of a row in the log. Cursors are positions, because a row that another node commits later always has
/// a later one; an id made from the time need not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPosition {
    /// Index of the entry.
    pub index: i64,
    /// Number within the entry.
    pub ordinal: i64,
}

impl LogPosition {
    /// Before everything.
    pub const START: Self = Self { index: -1, ordinal: 0 };

    /// Reads a position from two columns.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub fn from_row(row: &Row, index: usize, ordinal: usize) -> Result<Self, StoreError> {
        Ok(Self { index: row.int(index)?, ordinal: row.int(ordinal)? })
    }

    /// Returns the first position behind this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self { ordinal: self.ordinal.saturating_add(1), ..self }
    }

    /// Writes the position for a page token.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        [self.index.to_be_bytes(), self.ordinal.to_be_bytes()].concat()
    }

    /// Reads what [`LogPosition::to_bytes`] wrote; `None` for anything else.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (index, ordinal) = bytes.split_first_chunk::<8>()?;
        let ordinal = ordinal.try_into().ok()?;
        Some(Self { index: i64::from_be_bytes(*index), ordinal: i64::from_be_bytes(ordinal) })
    }
}

/// A row that cannot be read, with the placement that it is about. Work on other placements goes on without it.
#[derive(Debug)]
pub struct DamagedRow {
    /// The placement; nil when that cannot be read either.
    pub placement: Uuid,
    /// What is wrong with the row.
    pub error: StoreError,
}

impl DamagedRow {
    /// Names the placement of a row that cannot be read.
    #[must_use]
    pub fn new(placement: Result<Uuid, StoreError>, error: StoreError) -> Self {
        Self { placement: placement.unwrap_or_default(), error }
    }
}
