//! The tables of the store itself. The migrations document their columns.

use uuid::Uuid;

use super::sql::{Column, RecordSubject, Table, TableClass};
use super::version_key::VersionKey;
use crate::clock::Instant;

/// The store's tables, with those that no capability declares.
pub const TABLES: &[&Table] = &[
    &ENTRIES,
    &TILES,
    &CHECKPOINTS,
    &CURRENT_VERSIONS,
    &PARTIES,
    &CALLERS,
    &LEAVES,
    &NODES,
    &ACTIVATED_KEYS,
    &MIGRATIONS,
];

/// Log entries, one row an exchange.
pub const ENTRIES: Table = Table {
    name: "entries",
    class: TableClass::Committed,
    subject: RecordSubject::NoChild,
    columns: &[
        Column::new::<i64>("idx"),
        Column::new::<Instant>("time"),
        Column::new::<Uuid>("exchange"),
        Column::new::<String>("caller"),
        Column::new::<String>("system"),
        Column::new::<String>("method"),
        Column::new::<i64>("outcome"),
        Column::new::<i64>("size"),
        Column::new::<Vec<u8>>("bytes"),
        Column::new::<Option<Vec<u8>>>("salts"),
        Column::new::<Option<Vec<u8>>>("request_id"),
        Column::new::<Option<Vec<u8>>>("request_mac"),
        Column::new::<Option<Vec<u8>>>("reply"),
    ],
    replace_key: &[],
};

/// Tiles of the tree: the full ones, and above the leaves the partial ones too. Without a partial tile, a proof would
/// hash up to 256 tiles below it.
pub const TILES: Table = Table {
    name: "tiles",
    class: TableClass::Derived,
    subject: RecordSubject::NoChild,
    columns: &[Column::new::<i64>("level"), Column::new::<i64>("number"), Column::new::<Vec<u8>>("hashes")],
    replace_key: &["level", "number"],
};

/// Signed checkpoints, one row a group.
pub const CHECKPOINTS: Table = Table {
    name: "checkpoints",
    class: TableClass::Derived,
    subject: RecordSubject::NoChild,
    columns: &[Column::new::<i64>("size"), Column::new::<Instant>("time"), Column::new::<String>("note")],
    replace_key: &[],
};

/// The current version of each key. Its rows are replaced; of the other tables, only partial tiles are.
pub const CURRENT_VERSIONS: Table = Table {
    name: "current_versions",
    class: TableClass::Derived,
    subject: RecordSubject::NoChild,
    columns: &[
        Column::new::<VersionKey>("key"),
        Column::new::<i64>("version"),
        Column::new::<i64>("idx"),
        Column::new::<i64>("ordinal"),
    ],
    replace_key: &["key"],
};

/// The rows of [`CURRENT_VERSIONS`] that begin a key. They are inserted and never replace one: PostgreSQL inserts a row
/// without a conflict clause faster, and a key that exists already is refused.
pub(super) const FIRST_VERSIONS: Table = Table { replace_key: &[], ..CURRENT_VERSIONS };

/// Organisations that an entry concerns other than its caller, and what is delivered to them.
pub const PARTIES: Table = Table {
    name: "parties",
    class: TableClass::Derived,
    subject: RecordSubject::NoChild,
    columns: &[
        Column::new::<String>("organisation"),
        Column::new::<i64>("idx"),
        Column::new::<i64>("ordinal"),
        Column::new::<i64>("kind"),
        Column::new::<String>("sender"),
        Column::new::<Option<Uuid>>("object"),
        Column::new::<Option<Uuid>>("placement"),
    ],
    replace_key: &[],
};

/// Index of entries by caller.
pub const CALLERS: Table = Table {
    name: "callers",
    class: TableClass::Derived,
    subject: RecordSubject::NoChild,
    columns: &[Column::new::<String>("organisation"), Column::new::<i64>("idx")],
    replace_key: &[],
};

/// Per-child leaves of entries.
pub const LEAVES: Table = Table {
    name: "leaves",
    class: TableClass::Committed,
    subject: RecordSubject::NoChild,
    columns: &[
        Column::new::<i64>("idx"),
        Column::new::<i64>("ordinal"),
        Column::new::<Uuid>("placement"),
        Column::new::<i64>("role"),
        Column::new::<[u8; 32]>("hash"),
    ],
    replace_key: &[],
};

/// Running nodes, each with the keys of its ring. Each node updates its own row.
pub const NODES: Table = Table {
    name: "nodes",
    class: TableClass::Operational,
    subject: RecordSubject::NoChild,
    columns: &[
        Column::new::<Uuid>("node"),
        Column::new::<String>("name"),
        Column::new::<Vec<u8>>("keys"),
        Column::new::<i64>("seen"),
    ],
    replace_key: &["node"],
};

/// Activated keys.
pub const ACTIVATED_KEYS: Table = Table {
    name: "activated_keys",
    class: TableClass::Operational,
    subject: RecordSubject::NoChild,
    columns: &[Column::new::<u32>("id"), Column::new::<Vec<u8>>("fingerprint")],
    replace_key: &[],
};

/// Applied migrations. The columns are sqlx's.
pub const MIGRATIONS: Table = Table {
    name: "_sqlx_migrations",
    class: TableClass::Operational,
    subject: RecordSubject::NoChild,
    columns: &[],
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
