//! The log as it is stored: its tip, its entries, its tiles, and the proofs that are built from them.
//! Only the committer appends; everyone else reads here.

use super::sql::{Conn, Of, Question, Row, StoreError};
use super::tables;
use crate::clock::Instant;
use crate::tlog::{self, Checkpoint, Edge, Hash, Lineage, TILE_WIDTH, TileId, leaf_hash};

/// Entries of other nodes that are read one by one; more are not worth it.
pub(super) const FEW: u64 = 1_024;
const NO_LOG: StoreError = StoreError::Inconsistent("the database holds no log; make one with init");

/// How far the log has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Entries in the tree.
    pub size: u64,
    /// Time of the last entry.
    pub time: Instant,
    /// Root of the tree.
    pub root: Hash,
}

/// What is read under the lock before a group is written.
pub(super) struct UnderLock {
    newest: Vec<Row>,
    /// The entries behind those that this node holds, up to [`FEW`] of them.
    appended: Vec<Row>,
    /// Of the keys that have one: version, nothing, nothing, key.
    pub versions: Vec<Row>,
    /// Of the request ids that are known: index, nothing, caller, request id, HMAC.
    pub requests: Vec<Row>,
}

impl UnderLock {
    /// Reads the newest checkpoint, what others have appended, versions of keys, first exchanges of request ids.
    pub async fn read(
        conn: &mut Conn,
        held: &Tip,
        keys: Vec<Vec<u8>>,
        request_ids: Vec<Vec<u8>>,
    ) -> Result<Self, StoreError> {
        let questions = [
            Question {
                sql: "SELECT size, time, note, CAST(NULL AS BYTEA), CAST(NULL AS BYTEA) FROM checkpoints \
                      ORDER BY size DESC LIMIT 1",
                of: Of::Itself,
            },
            Question {
                sql: "SELECT idx, CAST(NULL AS BIGINT), CAST(NULL AS TEXT), bytes, CAST(NULL AS BYTEA) \
                      FROM entries WHERE idx >= $1 AND idx < $2 ORDER BY idx",
                of: Of::Range(place(held.edge.size()), place(held.edge.size().saturating_add(FEW))),
            },
            Question {
                sql: "SELECT version, CAST(NULL AS BIGINT), CAST(NULL AS TEXT), key, CAST(NULL AS BYTEA) \
                      FROM heads WHERE key",
                of: Of::Keys(keys),
            },
            Question {
                sql: "SELECT idx, CAST(NULL AS BIGINT), caller, request_id, request_mac FROM entries \
                      WHERE request_id",
                of: Of::Keys(request_ids),
            },
        ];
        let [newest, appended, versions, requests] = conn.fetch_together(questions).await?;
        Ok(Self { newest, appended, versions, requests })
    }
}

/// The right edge of the tree with its time: all that the committer needs to append.
#[derive(Clone)]
pub struct Tip {
    pub(super) edge: Edge,
    pub(super) time: Instant,
}

impl Tip {
    /// How far the log has come.
    #[must_use]
    pub fn head(&self) -> Head {
        Head { size: self.edge.size(), time: self.time, root: self.edge.root() }
    }

    /// The tip under the lock: the one held, if no other node has appended since; else with what was appended,
    /// whose root must be the one that was signed, so that the log held is a beginning of the log stored.
    pub(super) async fn follow(
        conn: &mut Conn,
        held: Self,
        keys: &Lineage,
        UnderLock { newest, appended, .. }: &UnderLock,
    ) -> Result<Self, StoreError> {
        let stored = Stored::of(newest.first().ok_or(NO_LOG)?)?;
        let Head { size, root, .. } = held.head();
        if stored.size == size
            && stored.note.starts_with(&Checkpoint::new(keys.key_of(size).name(), size, root).to_string())
        {
            return Ok(held);
        }
        if stored.size <= size || stored.size - size > FEW {
            newest_after(conn, size, &root, keys).await?;
            return Self::read(conn, keys).await;
        }
        let mut grown = Self { time: stored.time, ..held };
        for row in appended {
            grown.edge.append(leaf_hash(row.blob(3)?));
        }
        // Whoever appended them has stored them.
        grown.edge.take_full_tiles();
        let signed = verified(&stored.note, keys)?;
        if (signed.size(), signed.root()) != (grown.edge.size(), &grown.edge.root()) {
            return Err(StoreError::Inconsistent(
                "the database's log does not continue the one that was seen",
            ));
        }
        Ok(grown)
    }

    /// Reads the tip and checks it: the newest checkpoint's signature, and that the tree's right edge gives
    /// the root that was signed.
    ///
    /// # Errors
    /// [`StoreError::Inconsistent`] when it does not; or as [`StoreError`] says.
    pub async fn read(conn: &mut Conn, keys: &Lineage) -> Result<Self, StoreError> {
        let stored = newest(conn).await?;
        let checkpoint = verified(&stored.note, keys)?;
        if checkpoint.size() != stored.size {
            return Err(StoreError::Inconsistent(
                "the newest checkpoint is not of the size that it stands at",
            ));
        }
        let mut partial = Vec::new();
        for (id, width) in tlog::partial_tiles(stored.size) {
            partial.push((id, tile(conn, id, width).await?));
        }
        let edge = Edge::resume(stored.size, &partial)
            .ok_or(StoreError::Inconsistent("tiles or entries of the tree are missing"))?;
        if edge.root() != *checkpoint.root() {
            return Err(StoreError::Inconsistent("the tree does not have the root that was signed"));
        }
        Ok(Self { edge, time: stored.time })
    }
}

/// The newest head with its signed note, in a database that must hold all that was seen of its log: one that
/// was rolled back does not, nor does a standby that had not caught up when it took over.
pub(super) async fn newest_after(
    conn: &mut Conn,
    size: u64,
    root: &Hash,
    keys: &Lineage,
) -> Result<(Head, String), StoreError> {
    let sql = "SELECT size, time, note FROM checkpoints \
               WHERE size = $1 OR size = (SELECT MAX(size) FROM checkpoints) ORDER BY size";
    let rows = conn.fetch(sql, vec![place(size).into()]).await?;
    let mut newest = None;
    for (row, is_first) in rows.iter().zip(std::iter::once(true).chain(std::iter::repeat(false))) {
        let Stored { size: at, time, note } = Stored::of(row)?;
        let signed = verified(&note, keys)?;
        if at < size {
            return Err(StoreError::Inconsistent(
                "the database holds less than was seen of its log: it was rolled back or its tail was cut",
            ));
        }
        if at != signed.size() || (is_first && (at, root) != (size, signed.root())) {
            return Err(StoreError::Inconsistent("the database's log is not the one that was seen"));
        }
        newest = Some((Head { size: at, time, root: *signed.root() }, note));
    }
    newest.ok_or(NO_LOG)
}

struct Stored {
    size: u64,
    time: Instant,
    note: String,
}

impl Stored {
    /// From a row of size, time and note.
    fn of(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            size: row.int(0)?.unsigned_abs(),
            time: instant(row.int(1)?)?,
            note: row.text(2)?.to_owned(),
        })
    }
}

async fn newest(conn: &mut Conn) -> Result<Stored, StoreError> {
    let sql = "SELECT size, time, note FROM checkpoints ORDER BY size DESC LIMIT 1";
    Stored::of(&conn.fetch_one(sql, vec![]).await?.ok_or(NO_LOG)?)
}

/// The index up to which the callers of entries are sorted in.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn callers_sorted_in(conn: &mut Conn) -> Result<i64, StoreError> {
    let row = conn.fetch_one("SELECT COALESCE(MAX(idx) + 1, 0) FROM entries", vec![]).await?;
    let size = row.map_or(Ok(0), |row| row.int(0))?;
    Ok(place(tables::callers_sorted_in(size.unsigned_abs())))
}

/// The checkpoint in a signed note, if this log's key signed it, or that of the log which it replaced there.
pub(super) fn verified(note: &str, keys: &Lineage) -> Result<Checkpoint, StoreError> {
    keys.open(note).map_err(|error| StoreError::Inconsistent(error.what()))
}

/// An instant as it is stored.
pub(super) fn instant(micros: i64) -> Result<Instant, StoreError> {
    Instant::from_micros(micros).map_err(|_| StoreError::Inconsistent("a stored instant is out of range"))
}

/// The first `width` hashes of a tile: from the tile's row where it has them, else from what lies below it.
pub(super) async fn tile(conn: &mut Conn, id: TileId, width: usize) -> Result<Vec<Hash>, StoreError> {
    let begin = id.number * TILE_WIDTH;
    if width == 0 {
        return Ok(Vec::new());
    }
    let (level, number) = (i64::from(id.level), place(id.number));
    let sql = "SELECT hashes FROM tiles WHERE level = $1 AND number = $2";
    if let Some(row) = conn.fetch_one(sql, vec![level.into(), number.into()]).await? {
        let hashes = row.blob(0)?.chunks_exact(32).filter_map(|bytes| Hash::try_from(bytes).ok());
        let hashes: Vec<Hash> = hashes.take(width).collect();
        // A growing one is shorter than it is in a log that was begun before growing ones were stored.
        if hashes.len() == width {
            return Ok(hashes);
        }
    }
    let (first, last) = (place(begin), place(begin + width as u64 - 1));
    if id.level == 0 {
        let sql = "SELECT bytes FROM entries WHERE idx BETWEEN $1 AND $2 ORDER BY idx";
        let rows = conn.fetch(sql, vec![first.into(), last.into()]).await?;
        return rows.iter().map(|row| Ok(leaf_hash(row.blob(0)?))).collect();
    }
    let sql = "SELECT hashes FROM tiles WHERE level = $1 AND number BETWEEN $2 AND $3 ORDER BY number";
    let rows = conn.fetch(sql, vec![(level - 1).into(), first.into(), last.into()]).await?;
    rows.iter()
        .map(|row| {
            let below: Vec<Hash> =
                row.blob(0)?.chunks_exact(32).filter_map(|bytes| Hash::try_from(bytes).ok()).collect();
            Ok(tlog::tree_root(&below))
        })
        .collect()
}

/// An index or a size as both databases store it. Two to the 63rd entries are never reached.
pub(super) fn place(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
