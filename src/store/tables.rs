//! The tables of the store itself. The migrations document their columns.

use uuid::Uuid;

use super::sql::{Column, NO_VERSIONS, RecordSubject, Table, TableClass};
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
    &PLACEMENT_ENTRIES,
    &PRACTITIONER_ENTRIES,
    &INDEX_PROGRESS,
    &NODES,
    &ACTIVATED_KEYS,
    &MIGRATIONS,
];

/// Log entries, one row an exchange.
pub const ENTRIES: Table = Table {
    name: "entries",
    number: 1,
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
        Column::new::<Vec<u8>>("openings"),
        SALTS,
        REQUEST_ID,
        REQUEST_MAC,
        REPLY,
    ],
    replace_key: &[],
    versions: NO_VERSIONS,
};

/// The private columns of an entry, which stand under its root over rows.
pub const ENTRY_COLUMNS: [Column; 4] = [SALTS, REQUEST_ID, REQUEST_MAC, REPLY];

const SALTS: Column = Column::new::<Option<Vec<u8>>>("salts");
const REQUEST_ID: Column = Column::new::<Option<Vec<u8>>>("request_id");
const REQUEST_MAC: Column = Column::new::<Option<Vec<u8>>>("request_mac");
const REPLY: Column = Column::new::<Option<Vec<u8>>>("reply");

/// Tiles of the tree: the full ones, and above the leaves the partial ones too. Without a partial tile, a proof would
/// hash up to 256 tiles below it.
pub const TILES: Table = Table {
    name: "tiles",
    number: 2,
    class: TableClass::Derived,
    subject: RecordSubject::NoChild,
    columns: &[Column::new::<i64>("level"), Column::new::<i64>("number"), Column::new::<Vec<u8>>("hashes")],
    replace_key: &["level", "number"],
    versions: NO_VERSIONS,
};

/// Signed checkpoints, one row a group.
pub const CHECKPOINTS: Table = Table {
    name: "checkpoints",
    number: 3,
    class: TableClass::Derived,
    subject: RecordSubject::NoChild,
    columns: &[Column::new::<i64>("size"), Column::new::<Instant>("time"), Column::new::<String>("note")],
    replace_key: &[],
    versions: NO_VERSIONS,
};

/// The current version of each key. Its rows are replaced; of the other tables, only partial tiles are.
pub const CURRENT_VERSIONS: Table = Table {
    name: "current_versions",
    number: 4,
    class: TableClass::Derived,
    subject: RecordSubject::NoChild,
    columns: &[
        Column::new::<VersionKey>("key"),
        Column::new::<i64>("version"),
        Column::new::<i64>("idx"),
        Column::new::<i64>("ordinal"),
    ],
    replace_key: &["key"],
    versions: NO_VERSIONS,
};

/// The rows of [`CURRENT_VERSIONS`] that begin a key. They are inserted and never replace one: PostgreSQL inserts a row
/// without a conflict clause faster, and a key that exists already is refused.
pub(super) const FIRST_VERSIONS: Table = Table { replace_key: &[], ..CURRENT_VERSIONS };

/// Organisations that an entry concerns other than its caller, and what is delivered to them.
pub const PARTIES: Table = Table {
    name: "parties",
    number: 5,
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
    versions: NO_VERSIONS,
};

/// Index of entries by caller.
pub const CALLERS: Table = Table {
    name: "callers",
    number: 6,
    class: TableClass::Derived,
    subject: RecordSubject::NoChild,
    columns: &[Column::new::<String>("organisation"), Column::new::<i64>("idx")],
    replace_key: &[],
    versions: NO_VERSIONS,
};

/// Index of entries by the placements of their leaves.
pub const PLACEMENT_ENTRIES: Table = Table {
    name: "placement_entries",
    number: 7,
    class: TableClass::Derived,
    subject: RecordSubject::NoChild,
    columns: &[Column::new::<Uuid>("placement"), Column::new::<i64>("idx")],
    replace_key: &[],
    versions: NO_VERSIONS,
};

/// Index of entries by the person who acted.
pub const PRACTITIONER_ENTRIES: Table = Table {
    name: "practitioner_entries",
    number: 43,
    class: TableClass::Derived,
    subject: RecordSubject::NoChild,
    columns: &[Column::new::<[u8; 32]>("practitioner"), Column::new::<i64>("idx")],
    replace_key: &[],
    versions: NO_VERSIONS,
};

/// How far the indexes by caller, by placement and by practitioner go.
pub const INDEX_PROGRESS: Table = Table {
    name: "index_progress",
    number: 11,
    class: TableClass::Derived,
    subject: RecordSubject::NoChild,
    columns: &[Column::new::<i64>("id"), Column::new::<i64>("size")],
    replace_key: &["id"],
    versions: NO_VERSIONS,
};

/// Running nodes, each with the keys of its ring. Each node updates its own row.
pub const NODES: Table = Table {
    name: "nodes",
    number: 8,
    class: TableClass::Operational,
    subject: RecordSubject::NoChild,
    columns: &[
        Column::new::<Uuid>("node"),
        Column::new::<String>("name"),
        Column::new::<Vec<u8>>("keys"),
        Column::new::<i64>("seen"),
    ],
    replace_key: &["node"],
    versions: NO_VERSIONS,
};

/// Activated keys.
pub const ACTIVATED_KEYS: Table = Table {
    name: "activated_keys",
    number: 9,
    class: TableClass::Operational,
    subject: RecordSubject::NoChild,
    columns: &[Column::new::<u32>("id"), Column::new::<Vec<u8>>("fingerprint")],
    replace_key: &[],
    versions: NO_VERSIONS,
};

/// Applied migrations. The columns are sqlx's.
pub const MIGRATIONS: Table = Table {
    name: "_sqlx_migrations",
    number: 10,
    class: TableClass::Operational,
    subject: RecordSubject::NoChild,
    columns: &[],
    replace_key: &[],
    versions: NO_VERSIONS,
};
