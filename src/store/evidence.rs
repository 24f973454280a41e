//! Evidence read back from the log: an entry with its proof and checkpoint, as its caller was given it, and
//! proofs between any two of its trees.

use std::collections::HashMap;

use bytes::Bytes;
use uuid::Uuid;

use super::log::{place, tile};
use super::sql::{Conn, Database, StoreError};
use super::{Salts, Snapshot};
use crate::proto::v1::Receipt;
use crate::seal::{SealError, Vault};
use crate::tlog::{
    Hash, ProofError, Prover, TILE_WIDTH, TileId, leaf_hash, node_in_tile, partial_tiles, tile_of,
};

/// Why the answer of an earlier exchange could not be read.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The salts of its receipt do not open: [`SealError::KeyMissing`] on a node whose ring lacks their key.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// The log, for those who only read it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Log {
    database: Database,
}

/// An entry with all that proves it, but for the salts.
pub struct Evidence {
    /// The entry as it is stored.
    pub entry: Bytes,
    /// Size of the tree that its receipt speaks of.
    pub tree_size: u64,
    /// The inclusion proof in that tree.
    pub proof: Vec<Hash>,
    /// The checkpoint of that tree, a signed note.
    pub checkpoint: String,
}

impl Evidence {
    /// The hash of the entry as a leaf.
    #[must_use]
    pub fn leaf(&self) -> Hash {
        leaf_hash(&self.entry)
    }
}

impl Log {
    /// The log in a database.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// The database that it is in.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// The newest checkpoint, a signed note.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn newest_note(&self) -> Result<String, StoreError> {
        let mut snapshot = Snapshot::of(&self.database);
        let row = snapshot.fetch_one(NEWEST_CHECKPOINT, vec![]).await?;
        row.ok_or(StoreError::Inconsistent("the database holds no log"))?.text(0).map(str::to_owned)
    }

    /// The stored reply of an exchange and its receipt, the same bytes as the first time. `None` where the
    /// reply or its salts are no longer kept.
    ///
    /// # Errors
    /// As [`AnswerError`] says.
    pub async fn answer(&self, index: u64, vault: &Vault) -> Result<Option<(Bytes, Receipt)>, AnswerError> {
        let mut snapshot = Snapshot::of(&self.database);
        let sql = "SELECT exchange, caller, salts, reply FROM entries WHERE idx = $1";
        let Some(row) = snapshot.fetch_one(sql, vec![place(index).into()]).await? else {
            return Ok(None);
        };
        let (Some(sealed), Some(reply)) = (row.opt_blob(2)?, row.opt_blob(3)?) else {
            return Ok(None);
        };
        let exchange = row.id(0)?;
        let salts = Salts::open(&vault.ring(), row.text(1)?, exchange, sealed)?;
        let reply = Bytes::copy_from_slice(reply);
        let Some(evidence) = evidence(&mut snapshot, index).await? else {
            return Ok(None);
        };
        Ok(Some((reply, receipt(exchange, index, evidence, Some(&salts)))))
    }
}

/// The receipt of an entry; without salts for those whose exchange it was not.
#[must_use]
pub fn receipt(exchange: Uuid, index: u64, evidence: Evidence, salts: Option<&Salts>) -> Receipt {
    Receipt {
        exchange_id: exchange.hyphenated().to_string(),
        index,
        tree_size: evidence.tree_size,
        entry: evidence.entry,
        inclusion_proof: evidence.proof.iter().map(|hash| Bytes::copy_from_slice(hash.as_bytes())).collect(),
        checkpoint: evidence.checkpoint,
        request_salt: salts.map_or_else(Bytes::new, |salts| Bytes::copy_from_slice(&salts.request)),
        reply_salt: salts.map_or_else(Bytes::new, |salts| Bytes::copy_from_slice(&salts.reply)),
    }
}

/// An entry with the proof and the checkpoint that its caller was given; `None` beyond the log's end.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn evidence(snapshot: &mut Snapshot, index: u64) -> Result<Option<Evidence>, StoreError> {
    let sql = "SELECT e.bytes, e.size, c.note FROM entries e JOIN checkpoints c ON c.size = e.size \
               WHERE e.idx = $1";
    let Some(row) = snapshot.fetch_one(sql, vec![place(index).into()]).await? else {
        return Ok(None);
    };
    let tree_size = row.int(1)?.unsigned_abs();
    Ok(Some(Evidence {
        entry: Bytes::copy_from_slice(row.blob(0)?),
        tree_size,
        proof: inclusion(snapshot, index, tree_size).await?,
        checkpoint: row.text(2)?.to_owned(),
    }))
}

/// The inclusion proof of an entry in the tree of a size.
///
/// # Errors
/// As [`StoreError`] says; [`StoreError::Inconsistent`] when index and size are not in the log.
pub async fn inclusion(snapshot: &mut Snapshot, index: u64, size: u64) -> Result<Vec<Hash>, StoreError> {
    prove(snapshot.conn().await?, size, |prover| prover.inclusion(index)).await
}

/// The proof that the tree of one size begins with that of a smaller one.
///
/// # Errors
/// As for [`inclusion`].
pub async fn consistency(snapshot: &mut Snapshot, from: u64, to: u64) -> Result<Vec<Hash>, StoreError> {
    prove(snapshot.conn().await?, to, |prover| prover.consistency(from)).await
}

/// The checkpoint of a tree of a size, by the primary key: a size without one costs no more than one with it.
pub const CHECKPOINT_OF_SIZE: &str = "SELECT note FROM checkpoints WHERE size = $1";
/// The newest checkpoint, by the end of the primary key.
pub const NEWEST_CHECKPOINT: &str = "SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1";

/// The checkpoint of a tree of a size, where there is one; 0 for the newest.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn note(snapshot: &mut Snapshot, size: u64) -> Result<Option<String>, StoreError> {
    let row = match size {
        0 => snapshot.fetch_one(NEWEST_CHECKPOINT, vec![]).await?,
        _ => snapshot.fetch_one(CHECKPOINT_OF_SIZE, vec![place(size).into()]).await?,
    };
    row.map(|row| row.text(0).map(str::to_owned)).transpose()
}

type Nodes<'a> = dyn Fn(u8, u64) -> Option<Hash> + 'a;

/// Runs a proof over the tiles read so far, reading the one that it misses, until it misses none. A proof
/// needs at most two tiles for each eight levels.
async fn prove(
    conn: &mut Conn,
    size: u64,
    with: impl Fn(&Prover<&Nodes<'_>>) -> Result<Vec<Hash>, ProofError>,
) -> Result<Vec<Hash>, StoreError> {
    let mut tiles: HashMap<TileId, Vec<Hash>> = HashMap::new();
    for _ in 0..32 {
        let missing = std::cell::Cell::new(None);
        let proof = {
            let nodes = |level: u8, index: u64| {
                let found = node_in_tile(level, index, |id| tiles.get(&id).cloned());
                if found.is_none() {
                    missing.set(Some(tile_of(level, index).0));
                }
                found
            };
            let nodes: &Nodes<'_> = &nodes;
            Prover::new(size, nodes).ok_or(ProofError::Missing).and_then(|prover| with(&prover))
        };
        match (proof, missing.get()) {
            (Ok(proof), _) => return Ok(proof),
            (Err(ProofError::Missing), Some(id)) if !tiles.contains_key(&id) => {
                let partial = partial_tiles(size).find(|(growing, _)| *growing == id);
                let full = usize::try_from(TILE_WIDTH).unwrap_or(256);
                tiles.insert(id, tile(conn, id, partial.map_or(full, |(_, width)| width)).await?);
            }
            _ => break,
        }
    }
    Err(StoreError::Inconsistent("a proof is asked for what is not in the log"))
}
