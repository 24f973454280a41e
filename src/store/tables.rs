//! The tables that the committer itself writes. Their columns are explained in the migrations.

use super::sql::Kind::{Blob, Int, Text};
use super::sql::Table;

/// One row an exchange.
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
    replace_by: &[],
};

/// Full tiles of the tree, and above the leaves the growing ones: without them a proof would hash up to 256 tiles.
pub const TILES: Table = Table {
    name: "tiles",
    columns: &[("level", Int), ("number", Int), ("hashes", Blob)],
    replace_by: &["level", "number"],
};

/// One row a group.
pub const CHECKPOINTS: Table =
    Table { name: "checkpoints", columns: &[("size", Int), ("time", Int), ("note", Text)], replace_by: &[] };

/// Newest versions: the one table whose rows are replaced.
pub const HEADS: Table = Table {
    name: "heads",
    columns: &[("key", Blob), ("version", Int), ("idx", Int), ("ordinal", Int)],
    replace_by: &["key"],
};

/// Whom an entry concerns otherwise than as its caller, and what is delivered to them.
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
    replace_by: &[],
};

/// Per-child leaves.
pub const LEAVES: Table = Table {
    name: "leaves",
    columns: &[("idx", Int), ("ordinal", Int), ("placement", Blob), ("role", Int), ("hash", Blob)],
    replace_by: &[],
};

/// Entries whose callers are sorted in at once. Every caller has a page of its own there, so one by one they would
/// cost as many pages as entries; those that are not sorted in yet are found among the newest entries.
const CALLERS: u64 = 1_024;

/// How many of the first entries of a log of this size have their callers sorted in.
#[must_use]
pub(super) fn callers_sorted_in(size: u64) -> u64 {
    size - size % CALLERS
}
