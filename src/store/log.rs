//! The stored log: the tree that the committer appends to, its checkpoints and its tiles.
//! Only the committer appends; all other code reads.

use super::sql::{Conn, Lookup, LookupFilter, Row, StoreError};
use crate::clock::Instant;
use crate::tlog::{self, Checkpoint, CompactRange, Hash, LogKeyHistory, TILE_WIDTH, TileId, leaf_hash};

/// Maximum number of another node's entries that are read one by one. Behind by more than that, a node loads the
/// tree from its tiles instead.
pub(super) const MAX_CATCH_UP_ENTRIES: u64 = 1_024;
const NO_LOG: StoreError = StoreError::Inconsistent("the database holds no log; make one with init");

/// A tree head: size, time and root of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeHead {
    /// Number of entries in the tree.
    pub size: u64,
    /// Time of the last entry.
    pub time: Instant,
    /// Root hash of the tree.
    pub root: Hash,
}

/// The newest tree head that was read from the database, with its signed note.
#[derive(Clone)]
pub struct SeenHead {
    pub(super) head: TreeHead,
    pub(super) note: String,
}

/// The database state that a group depends on, read under the lock.
pub(super) struct LockedState {
    /// The newest checkpoint: size in `number`, `time`, note in `text`.
    newest: Vec<Row>,
    /// The entries after those in this node's tree, at most [`MAX_CATCH_UP_ENTRIES`].
    appended: Vec<Row>,
    /// Versions of the requested keys: version in `number`, key in `bytes`. A key without a version has no row.
    pub versions: Vec<Row>,
    /// First exchanges of the requested request ids: index in `number`, caller in `text`, request id in `bytes`, HMAC
    /// in `mac`.
    pub requests: Vec<Row>,
}

impl LockedState {
    /// Reads the newest checkpoint, the entries that other nodes have appended, the versions of `keys`, and the
    /// first exchanges of `request_ids`.
    pub async fn load(
        conn: &mut Conn,
        held: &LogTree,
        keys: Vec<Vec<u8>>,
        request_ids: Vec<Vec<u8>>,
    ) -> Result<Self, StoreError> {
        let questions = [
            Lookup {
                sql: "SELECT size AS number, time, note AS text, CAST(NULL AS BYTEA) AS bytes, \
                      CAST(NULL AS BYTEA) AS mac FROM checkpoints ORDER BY size DESC LIMIT 1",
                filter: LookupFilter::Unfiltered,
            },
            Lookup {
                sql: "SELECT idx AS number, CAST(NULL AS BIGINT) AS time, CAST(NULL AS TEXT) AS text, bytes, \
                      CAST(NULL AS BYTEA) AS mac FROM entries WHERE idx >= $1 AND idx < $2 ORDER BY idx",
                filter: LookupFilter::Range(
                    db_int(held.range.size()),
                    db_int(held.range.size().saturating_add(MAX_CATCH_UP_ENTRIES)),
                ),
            },
            Lookup {
                sql: "SELECT version AS number, CAST(NULL AS BIGINT) AS time, CAST(NULL AS TEXT) AS text, \
                      key AS bytes, CAST(NULL AS BYTEA) AS mac FROM current_versions WHERE key",
                filter: LookupFilter::Keys(keys),
            },
            Lookup {
                sql: "SELECT idx AS number, CAST(NULL AS BIGINT) AS time, caller AS text, request_id AS bytes, \
                      request_mac AS mac FROM entries WHERE request_id",
                filter: LookupFilter::Keys(request_ids),
            },
        ];
        let [newest, appended, versions, requests] = conn.fetch_batch(questions).await?;
        Ok(Self { newest, appended, versions, requests })
    }
}

/// The tree in memory, with the time of its last entry: all that the committer needs to append.
#[derive(Clone)]
pub struct LogTree {
    pub(super) range: CompactRange,
    pub(super) time: Instant,
}

impl LogTree {
    /// Returns the tree head.
    #[must_use]
    pub fn head(&self) -> TreeHead {
        TreeHead { size: self.range.size(), time: self.time, root: self.range.root() }
    }

    /// Returns the tree as of the newest checkpoint, read under the lock. If another node has appended, its
    /// entries are added to the tree in memory, and the new root must be the signed one: this proves that the
    /// stored log continues the log that this node has.
    pub(super) async fn catch_up(
        conn: &mut Conn,
        held: Self,
        keys: &LogKeyHistory,
        LockedState { newest, appended, .. }: &LockedState,
    ) -> Result<Self, StoreError> {
        let stored = newest.first().ok_or(NO_LOG)?;
        let stored = StoredCheckpoint::from_columns(stored, "number", "text")?;
        let TreeHead { size, root, .. } = held.head();
        if stored.size == size
            && stored
                .note
                .starts_with(&Checkpoint::new(keys.key_for_size(size).name(), size, root).to_string())
        {
            return Ok(held);
        }
        if stored.size <= size || stored.size - size > MAX_CATCH_UP_ENTRIES {
            load_head_continuing(conn, size, &root, keys).await?;
            return Self::load(conn, keys).await;
        }
        let mut grown = Self { time: stored.time, ..held };
        for row in appended {
            grown.range.append(leaf_hash(row.get_bytes("bytes")?));
        }
        // The node that appended the entries has stored their tiles.
        grown.range.take_full_tiles();
        let signed = verify_checkpoint(&stored.note, keys)?;
        if (signed.size(), signed.root()) != (grown.range.size(), &grown.range.root()) {
            return Err(StoreError::Inconsistent(
                "the database's log does not continue the one that was seen",
            ));
        }
        Ok(grown)
    }

    /// Loads the tree from its tiles, and checks the newest checkpoint's signature and that the tree has the
    /// signed root.
    ///
    /// # Errors
    /// [`StoreError::Inconsistent`] if a check fails; otherwise see [`StoreError`].
    pub async fn load(conn: &mut Conn, keys: &LogKeyHistory) -> Result<Self, StoreError> {
        let stored = load_newest_checkpoint(conn).await?;
        let checkpoint = verify_checkpoint(&stored.note, keys)?;
        if checkpoint.size() != stored.size {
            return Err(StoreError::Inconsistent("the newest checkpoint has another size than its row"));
        }
        let range = load_range(conn, stored.size)
            .await?
            .ok_or(StoreError::Inconsistent("tiles or entries of the tree are missing"))?;
        if range.root() != *checkpoint.root() {
            return Err(StoreError::Inconsistent("the tree does not have the root that was signed"));
        }
        Ok(Self { range, time: stored.time })
    }
}

/// Returns the newest tree head with its signed note, after checking that the database still holds the tree of
/// `size` and `root`. A database that was rolled back does not, nor does a standby that was promoted before it had
/// caught up.
pub(super) async fn load_head_continuing(
    conn: &mut Conn,
    size: u64,
    root: &Hash,
    keys: &LogKeyHistory,
) -> Result<(TreeHead, String), StoreError> {
    let sql = "SELECT size, time, note FROM checkpoints \
               WHERE size = $1 OR size = (SELECT MAX(size) FROM checkpoints) ORDER BY size";
    let rows = conn.fetch(sql, vec![db_int(size).into()]).await?;
    let mut newest = None;
    for (row, is_first) in rows.iter().zip(std::iter::once(true).chain(std::iter::repeat(false))) {
        let StoredCheckpoint { size: stored_size, time, note } = StoredCheckpoint::from_row(row)?;
        let signed = verify_checkpoint(&note, keys)?;
        if stored_size < size {
            return Err(StoreError::Inconsistent(
                "the database holds less than was seen of its log: it was rolled back or its tail was cut",
            ));
        }
        if stored_size != signed.size() || (is_first && (stored_size, root) != (size, signed.root())) {
            return Err(StoreError::Inconsistent("the database's log is not the one that was seen"));
        }
        newest = Some((TreeHead { size: stored_size, time, root: *signed.root() }, note));
    }
    newest.ok_or(NO_LOG)
}

/// A row of `checkpoints`.
struct StoredCheckpoint {
    size: u64,
    time: Instant,
    note: String,
}

impl StoredCheckpoint {
    /// Reads a row of size, time and note.
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Self::from_columns(row, "size", "note")
    }

    /// Reads a row whose size and note are in these columns.
    fn from_columns(row: &Row, size: &'static str, note: &'static str) -> Result<Self, StoreError> {
        Ok(Self { size: row.get::<i64>(size)?.unsigned_abs(), time: row.get("time")?, note: row.get(note)? })
    }
}

async fn load_newest_checkpoint(conn: &mut Conn) -> Result<StoredCheckpoint, StoreError> {
    let sql = "SELECT size, time, note FROM checkpoints ORDER BY size DESC LIMIT 1";
    StoredCheckpoint::from_row(&conn.fetch_one(sql, vec![]).await?.ok_or(NO_LOG)?)
}

/// Verifies a signed note and returns its checkpoint. The key must be the one that signed trees of that size: this
/// log's, or that of a log which it replaced.
pub(super) fn verify_checkpoint(note: &str, keys: &LogKeyHistory) -> Result<Checkpoint, StoreError> {
    keys.open(note).map_err(|error| StoreError::Inconsistent(error.message()))
}

/// Returns the first `width` hashes of a tile, from its row or, if that is too short, from the tiles or entries below.
pub(super) async fn load_tile(conn: &mut Conn, id: TileId, width: usize) -> Result<Vec<Hash>, StoreError> {
    let begin = id.number * TILE_WIDTH;
    if width == 0 {
        return Ok(Vec::new());
    }
    let (level, number) = (i64::from(id.level), db_int(id.number));
    let sql = "SELECT hashes FROM tiles WHERE level = $1 AND number = $2";
    if let Some(row) = conn.fetch_one(sql, vec![level.into(), number.into()]).await? {
        let hashes = row.get_bytes("hashes")?.chunks_exact(32).filter_map(|bytes| Hash::try_from(bytes).ok());
        let hashes: Vec<Hash> = hashes.take(width).collect();
        // In a log that an older release began, a partial tile's row may be missing or too short.
        if hashes.len() == width {
            return Ok(hashes);
        }
    }
    let (first, last) = (db_int(begin), db_int(begin + width as u64 - 1));
    if id.level == 0 {
        let sql = "SELECT bytes FROM entries WHERE idx BETWEEN $1 AND $2 ORDER BY idx";
        let rows = conn.fetch(sql, vec![first.into(), last.into()]).await?;
        return rows.iter().map(|row| Ok(leaf_hash(row.get_bytes("bytes")?))).collect();
    }
    let sql = "SELECT hashes FROM tiles WHERE level = $1 AND number BETWEEN $2 AND $3 ORDER BY number";
    let rows = conn.fetch(sql, vec![(level - 1).into(), first.into(), last.into()]).await?;
    rows.iter()
        .map(|row| {
            let hashes = row.get_bytes("hashes")?.chunks_exact(32);
            let below: Vec<Hash> = hashes.filter_map(|bytes| Hash::try_from(bytes).ok()).collect();
            Ok(tlog::tree_root(&below))
        })
        .collect()
}

/// Loads the tree of the first `size` entries from the stored tiles; `None` if the log is shorter. The caller compares its
/// root with one that was signed.
pub(super) async fn load_range(conn: &mut Conn, size: u64) -> Result<Option<CompactRange>, StoreError> {
    let mut partial = Vec::new();
    for (id, width) in tlog::partial_tiles(size) {
        partial.push((id, load_tile(conn, id, width).await?));
    }
    Ok(CompactRange::from_partial_tiles(size, &partial))
}

/// Converts an index or a size to the databases' integer type. 2^63 entries are never reached.
pub(super) fn db_int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
