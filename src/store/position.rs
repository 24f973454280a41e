//! Positions in the log. They order rows by commit, which is the same order on every node.

use uuid::Uuid;

use super::sql::StoreError;

/// The position of a row in the log. Cursors are positions, because a row that is committed later, on whichever node,
/// always has a later position. A time-ordered id does not guarantee that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPosition {
    /// Index of the entry.
    pub index: i64,
    /// Number of the row within the entry.
    pub ordinal: i64,
}

impl LogPosition {
    /// The position before all rows.
    pub const START: Self = Self { index: -1, ordinal: 0 };

    /// Returns the position right after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self { ordinal: self.ordinal.saturating_add(1), ..self }
    }

    /// Encodes the position for a page token.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        [self.index.to_be_bytes(), self.ordinal.to_be_bytes()].concat()
    }

    /// Decodes the output of [`LogPosition::to_bytes`]; `None` for any other bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (index, ordinal) = bytes.split_first_chunk::<8>()?;
        let ordinal = ordinal.try_into().ok()?;
        Some(Self { index: i64::from_be_bytes(*index), ordinal: i64::from_be_bytes(ordinal) })
    }
}

/// A row that cannot be read, with its placement. Work on other placements continues without it.
#[derive(Debug)]
pub struct DamagedRow {
    /// The placement; the nil UUID if it cannot be read either.
    pub placement: Uuid,
    /// The error of reading the row.
    pub error: StoreError,
}

impl DamagedRow {
    /// Makes the report of a row that cannot be read.
    #[must_use]
    pub fn new(placement: Result<Uuid, StoreError>, error: StoreError) -> Self {
        Self { placement: placement.unwrap_or_default(), error }
    }
}
