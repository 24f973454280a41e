//! Positions in the log, which order rows by commit, the same order on every node, and versions of keys.

use std::fmt;

use uuid::Uuid;

use super::sql::{ColumnKind, ColumnType, StoreError, Value};

/// Declares types of numbers that are stored as integers.
macro_rules! stored_numbers {
    ($($(#[$meta:meta])* $name:ident;)*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(i64);

        impl $name {
            /// Creates it from its number.
            #[must_use]
            pub const fn new(number: i64) -> Self {
                Self(number)
            }

            /// Returns the number.
            #[must_use]
            pub const fn get(self) -> i64 {
                self.0
            }

            /// Encodes the number so that bytes sort like numbers from 0.
            #[must_use]
            pub const fn to_be_bytes(self) -> [u8; 8] {
                self.0.to_be_bytes()
            }

            /// Decodes the output of `to_be_bytes`.
            #[must_use]
            pub const fn from_be_bytes(bytes: [u8; 8]) -> Self {
                Self(i64::from_be_bytes(bytes))
            }
        }

        impl From<$name> for Value {
            fn from(number: $name) -> Self {
                number.0.into()
            }
        }

        impl ColumnType for $name {
            const KIND: ColumnKind = ColumnKind::Int;

            fn to_value(&self) -> Value {
                self.0.into()
            }

            fn from_value(value: &Value) -> Option<Self> {
                i64::from_value(value).map(Self)
            }
        }
    )*};
}

stored_numbers! {
    /// Index of an entry in the log, from 0.
    EntryIndex;
    /// Number of a row within its entry, from 0.
    Ordinal;
    /// Version of a key in `current_versions`, from 1; an etag is its text.
    Revision;
}

impl EntryIndex {
    /// Lies before the first entry.
    pub const BEFORE_FIRST: Self = Self(-1);
    /// Lies behind every entry: what is read as of it is the newest.
    pub const MAX: Self = Self(i64::MAX);
}

impl Ordinal {
    /// The first row of an entry.
    pub const FIRST: Self = Self(0);

    /// Returns the ordinal after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Returns the ordinal before this one.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl Revision {
    /// The version of a key that has none.
    pub const ABSENT: Self = Self(0);
    /// The first version of a key.
    pub const FIRST: Self = Self(1);

    /// Returns the version after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Returns the version before this one.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// Returns the number as a field of a message holds it; the greatest possible if it does not fit.
    #[must_use]
    pub fn to_u32(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The position of a row in the log. Cursors are positions, because a row that is committed later, on whichever node,
/// always has a later position. A time-ordered id does not guarantee that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPosition {
    /// Index of the entry.
    pub index: EntryIndex,
    /// Number of the row within the entry.
    pub ordinal: Ordinal,
}

impl LogPosition {
    /// The position before all rows.
    pub const START: Self = Self { index: EntryIndex::BEFORE_FIRST, ordinal: Ordinal::FIRST };

    /// Returns the position right after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self { ordinal: self.ordinal.next(), ..self }
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
        Some(Self { index: EntryIndex::from_be_bytes(*index), ordinal: Ordinal::from_be_bytes(ordinal) })
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
