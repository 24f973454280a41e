//! The log as it is stored: its tip, its entries, its tiles, and the proofs that are built from them.
//! Only the committer appends; everyone else reads here.

use super::sql::{Conn, StoreError};
use crate::clock::Instant;
use crate::tlog::{self, Checkpoint, Edge, Hash, TILE_WIDTH, TileId, Verifier, leaf_hash};

/// How far the log has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Entries in the tree.
    pub size: u64,
    /// Time of the last entry.
    pub time: Instant,
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
        Head { size: self.edge.size(), time: self.time }
    }

    /// The tip under the lock: the one held, if no other node has appended since, else read anew.
    pub(super) async fn follow(
        conn: &mut Conn,
        held: Option<Self>,
        verifier: &Verifier,
    ) -> Result<Self, StoreError> {
        let stored = newest(conn).await?;
        match held {
            Some(tip) if tip.edge.size() == stored.size => Ok(tip),
            Some(tip) if tip.edge.size() > stored.size => {
                Err(StoreError::Inconsistent("the log in the database is shorter than it was"))
            }
            _ => Self::read(conn, verifier).await,
        }
    }

    /// Reads the tip and checks it: the newest checkpoint's signature, and that the tree's right edge gives
    /// the root that was signed.
    ///
    /// # Errors
    /// [`StoreError::Inconsistent`] when it does not; or as [`StoreError`] says.
    pub async fn read(conn: &mut Conn, verifier: &Verifier) -> Result<Self, StoreError> {
        let stored = newest(conn).await?;
        let checkpoint = verified(&stored.note, verifier)?;
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

struct Stored {
    size: u64,
    time: Instant,
    note: String,
}

async fn newest(conn: &mut Conn) -> Result<Stored, StoreError> {
    let sql = "SELECT size, time, note FROM checkpoints ORDER BY size DESC LIMIT 1";
    let row = conn.fetch_one(sql, vec![]).await?;
    let row = row.ok_or(StoreError::Inconsistent("the database holds no log; make one with init"))?;
    Ok(Stored {
        size: row.int(0)?.unsigned_abs(),
        time: instant(row.int(1)?)?,
        note: row.text(2)?.to_owned(),
    })
}

/// The checkpoint in a signed note, if this log's key signed it.
pub(super) fn verified(note: &str, verifier: &Verifier) -> Result<Checkpoint, StoreError> {
    let text =
        verifier.open(note).map_err(|_| StoreError::Inconsistent("a checkpoint's signature is wrong"))?;
    let checkpoint = Checkpoint::parse(&text);
    let checkpoint = checkpoint.map_err(|_| StoreError::Inconsistent("a checkpoint is not one"))?;
    if checkpoint.origin() != verifier.name() {
        return Err(StoreError::Inconsistent("a checkpoint is of another log"));
    }
    Ok(checkpoint)
}

/// An instant as it is stored.
pub(super) fn instant(micros: i64) -> Result<Instant, StoreError> {
    Instant::from_micros(micros).map_err(|_| StoreError::Inconsistent("a stored instant is out of range"))
}

/// The first `width` hashes of a tile: from the tile's row where it is full, else from what lies below it.
pub(super) async fn tile(conn: &mut Conn, id: TileId, width: usize) -> Result<Vec<Hash>, StoreError> {
    let begin = id.number * TILE_WIDTH;
    if width == 0 {
        return Ok(Vec::new());
    }
    let (level, number) = (i64::from(id.level), place(id.number));
    let sql = "SELECT hashes FROM tiles WHERE level = $1 AND number = $2";
    if let Some(row) = conn.fetch_one(sql, vec![level.into(), number.into()]).await? {
        let hashes = row.blob(0)?.chunks_exact(32).filter_map(|bytes| Hash::try_from(bytes).ok());
        return Ok(hashes.take(width).collect());
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
