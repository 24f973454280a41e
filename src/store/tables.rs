//! The tables that the committer itself writes. The migrations document their columns.

use super::sql::ColumnKind::{Blob, Int, Text};
use super::sql::Table;

/// Log entries, one row an exchange.
pub const ENTRIES: Table = Table {
    name: "entries",
    columns: &[
        ("idx", Int),
        ("time", Int),
        ("exchange", Blob),
        ("caller", Text),
        ("system", Text),
        ("method", Text),
        ("outcome", Int),
        ("size", Int),
        ("bytes", Blob),
        ("salts", Blob),
        ("request_id", Blob),
        ("request_mac", Blob),
        ("reply", Blob),
    ],
    replace_key: &[],
};

/// Tiles of the tree: the full ones, and above the leaves the partial ones too. Without a partial tile, a proof would
/// hash up to 256 tiles below it.
pub const TILES: Table = Table {
    name: "tiles",
    columns: &[("level", Int), ("number", Int), ("hashes", Blob)],
    replace_key: &["level", "number"],
};

/// Signed checkpoints, one row a group.
pub const CHECKPOINTS: Table =
    Table { name: "checkpoints", columns: &[("size", Int), ("time", Int), ("note", Text)], replace_key: &[] };

/// The current version of each key. Its rows are replaced; of the other tables, only partial tiles are.
pub const CURRENT_VERSIONS: Table = Table {
    name: "current_versions",
    columns: &[("key", Blob), ("version", Int), ("idx", Int), ("ordinal", Int)],
    replace_key: &["key"],
};

/// Organisations that an entry concerns other than its caller, and what is delivered to them.
pub const PARTIES: Table = Table {
    name: "parties",
    columns: &[
        ("organisation", Text),
        ("idx", Int),
        ("ordinal", Int),
        ("kind", Int),
        ("sender", Text),
        ("object", Blob),
        ("placement", Blob),
    ],
    replace_key: &[],
};

/// Per-child leaves of entries.
pub const LEAVES: Table = Table {
    name: "leaves",
    columns: &[("idx", Int), ("ordinal", Int), ("placement", Blob), ("role", Int), ("hash", Blob)],
    replace_key: &[],
};

/// Number of entries that are added to the table `callers` at once. Each caller's rows are on a page of their own, so
/// adding entries one by one would write a page each. Entries that are not indexed yet are found in `entries`.
const CALLER_INDEX_BATCH: u64 = 1_024;

/// Returns how many of the first entries of a log of this size are indexed by caller.
#[must_use]
pub(super) fn callers_indexed_up_to(size: u64) -> u64 {
    size - size % CALLER_INDEX_BATCH
}
