//! Rows that were disposed of: what the log keeps of them.
//!
//! A disposing entry deletes rows, or the salts, the reply and the request id of an older entry, and writes one record for
//! each, which holds its leaf hash. The older entry still verifies by it. Rows in the leaf of a child have no record: the
//! leaf stays in the openings, and cannot be opened once the key of (sender, child) is disposed of.

use uuid::Uuid;

use crate::record;
use crate::store::version_key::VersionKey;
use crate::store::{EntryIndex, Ordinal, Revision};

record! {
    /// A row that was disposed of.
    pub struct DisposedRow in "disposed_rows" as d, 39, Committed, NoChild {
        /// Index of the entry that wrote the row.
        pub entry_idx: EntryIndex,
        /// Ordinal of the row in that entry; -1 for the private columns of the entry itself.
        pub entry_ordinal: Ordinal,
        /// Number of the row's table.
        pub table_number: u32,
        /// Leaf hash of the row.
        pub leaf_hash: [u8; 32],
        /// The key of which the row was a version, if the key is kept: that of a destroyed key of a child.
        pub row_key: Option<VersionKey>,
        /// That version.
        pub row_version: Option<Revision>,
    }
}

record! {
    /// A placement of a child of which a sender's key was disposed of. It tells which leaves cannot be opened any more.
    pub struct DisposedPlacement in "disposed_placements" as d, 40, Committed, NoChild {
        /// The placement.
        pub placement: Uuid,
        /// The child.
        pub child: Uuid,
    }
}
