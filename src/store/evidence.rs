//! Evidence from the stored log: entries with the proof and checkpoint of their receipts, and inclusion and
//! consistency proofs for any tree of the log.

use std::collections::HashMap;

use bytes::Bytes;
use uuid::Uuid;

use super::log::db_int;
use super::sql::{Database, StoreError};
use super::{CommitmentSalts, Snapshot};
use crate::proto::v1::Receipt;
use crate::seal::{SealError, Vault};
use crate::tlog::{
    Hash, ProofError, Prover, TILE_WIDTH, TileId, leaf_hash, node_in_tile, partial_tiles, tile_containing,
};

/// An error while the stored reply of an earlier exchange was read.
#[derive(Debug, thiserror::Error)]
pub enum StoredReplyError {
    /// An error of the database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The receipt's salts cannot be decrypted: [`SealError::KeyMissing`] on a node whose key ring lacks their key.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// Read access to the log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LogReader {
    database: Database,
}

/// An entry with its proof and checkpoint: a receipt without the salts.
pub struct Evidence {
    /// The entry as it is stored.
    pub entry: Bytes,
    /// Size of the tree that the receipt's proof and checkpoint are of.
    pub tree_size: u64,
    /// The inclusion proof in that tree.
    pub proof: Vec<Hash>,
    /// The checkpoint of that tree, as a signed note.
    pub checkpoint: String,
}

impl Evidence {
    /// Returns the leaf hash of the entry.
    #[must_use]
    pub fn leaf(&self) -> Hash {
        leaf_hash(&self.entry)
    }
}

impl LogReader {
    /// Makes a reader of the log in a database.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// Returns the database that the log is in.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Returns the newest checkpoint in the database, as a tree size and a signed note. It may be neither durable nor
    /// anchored yet.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn load_newest_checkpoint(&self) -> Result<(u64, String), StoreError> {
        let mut snapshot = Snapshot::new(&self.database);
        let row = snapshot.fetch_one(NEWEST_CHECKPOINT, vec![]).await?;
        let row = row.ok_or(StoreError::Inconsistent("the database holds no log"))?;
        Ok((row.get::<i64>("size")?.unsigned_abs(), row.get("note")?))
    }

    /// Returns the stored reply of an exchange and its receipt, byte for byte the same as the first time. `None` if
    /// the reply or its salts are not stored. It is read in the turn of `organisation`.
    ///
    /// # Errors
    /// See [`StoredReplyError`].
    pub async fn load_reply(
        &self,
        index: u64,
        vault: &Vault,
        organisation: &str,
    ) -> Result<Option<(Bytes, Receipt)>, StoredReplyError> {
        let mut snapshot = Snapshot::new(&self.database).in_turn_of(organisation);
        let sql = "SELECT exchange, caller, salts, reply FROM entries WHERE idx = $1";
        let Some(row) = snapshot.fetch_one(sql, vec![db_int(index).into()]).await? else {
            return Ok(None);
        };
        let (Some(sealed), Some(reply)) =
            (row.get::<Option<Vec<u8>>>("salts")?, row.get::<Option<Vec<u8>>>("reply")?)
        else {
            return Ok(None);
        };
        let exchange = row.get("exchange")?;
        let salts = CommitmentSalts::open(&vault.ring(), row.get_str("caller")?, exchange, &sealed)?;
        let reply = Bytes::from(reply);
        let Some(evidence) = load_evidence(&mut snapshot, index).await? else {
            return Ok(None);
        };
        Ok(Some((reply, build_receipt(exchange, index, evidence, Some(&salts)))))
    }
}

/// Builds the receipt of an entry. Without salts it is for a reader that was not the exchange's caller.
#[must_use]
pub fn build_receipt(
    exchange: Uuid,
    index: u64,
    evidence: Evidence,
    salts: Option<&CommitmentSalts>,
) -> Receipt {
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

/// Loads an entry with the proof and the checkpoint of its caller's receipt; `None` beyond the end of the log.
///
/// # Errors
/// See [`StoreError`].
pub async fn load_evidence(snapshot: &mut Snapshot, index: u64) -> Result<Option<Evidence>, StoreError> {
    let sql = "SELECT e.bytes, e.size, c.note FROM entries e JOIN checkpoints c ON c.size = e.size \
               WHERE e.idx = $1";
    let Some(row) = snapshot.fetch_one(sql, vec![db_int(index).into()]).await? else {
        return Ok(None);
    };
    let tree_size = row.get::<i64>("size")?.unsigned_abs();
    snapshot.record_tree(tree_size);
    Ok(Some(Evidence {
        entry: Bytes::copy_from_slice(row.get_bytes("bytes")?),
        tree_size,
        proof: prove_inclusion(snapshot, index, tree_size).await?,
        checkpoint: row.get("note")?,
    }))
}

/// Returns the inclusion proof of an entry in the tree of `size`.
///
/// # Errors
/// [`StoreError::Inconsistent`] if index or size is not in the log; otherwise see [`StoreError`].
pub async fn prove_inclusion(
    snapshot: &mut Snapshot,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, StoreError> {
    prove(snapshot, size, |prover| prover.inclusion_proof(index)).await
}

/// Returns the consistency proof between the trees of sizes `from` and `to`.
///
/// # Errors
/// As for [`prove_inclusion`].
pub async fn prove_consistency(snapshot: &mut Snapshot, from: u64, to: u64) -> Result<Vec<Hash>, StoreError> {
    prove(snapshot, to, |prover| prover.consistency_proof(from)).await
}

/// Query of the checkpoint of a tree size, by the primary key: a size without a checkpoint costs no more than one with.
pub const CHECKPOINT_OF_SIZE: &str = "SELECT size, note FROM checkpoints WHERE size = $1";
/// Query of the newest checkpoint, by the end of the primary key.
pub const NEWEST_CHECKPOINT: &str = "SELECT size, note FROM checkpoints ORDER BY size DESC LIMIT 1";

/// Loads the checkpoint of a tree size, if there is one; the newest for size 0.
///
/// # Errors
/// See [`StoreError`].
pub async fn load_checkpoint(snapshot: &mut Snapshot, size: u64) -> Result<Option<String>, StoreError> {
    let row = match size {
        0 => snapshot.fetch_one(NEWEST_CHECKPOINT, vec![]).await?,
        _ => snapshot.fetch_one(CHECKPOINT_OF_SIZE, vec![db_int(size).into()]).await?,
    };
    let Some(row) = row else { return Ok(None) };
    snapshot.record_tree(row.get::<i64>("size")?.unsigned_abs());
    Ok(Some(row.get("note")?))
}

type NodeLookup<'a> = dyn Fn(u8, u64) -> Option<Hash> + 'a;

/// Computes a proof from tiles, and reads each tile that is found missing, until none is. A proof needs at most two
/// tiles for each eight levels of the tree.
async fn prove(
    snapshot: &mut Snapshot,
    size: u64,
    with: impl Fn(&Prover<&NodeLookup<'_>>) -> Result<Vec<Hash>, ProofError>,
) -> Result<Vec<Hash>, StoreError> {
    snapshot.record_tree(size);
    let mut tiles: HashMap<TileId, Vec<Hash>> = HashMap::new();
    for _ in 0..32 {
        let missing = std::cell::Cell::new(None);
        let proof = {
            let nodes = |level: u8, index: u64| {
                let found = node_in_tile(level, index, |id| tiles.get(&id).cloned());
                if found.is_none() {
                    missing.set(Some(tile_containing(level, index).0));
                }
                found
            };
            let nodes: &NodeLookup<'_> = &nodes;
            Prover::new(size, nodes).ok_or(ProofError::MissingNode).and_then(|prover| with(&prover))
        };
        match (proof, missing.get()) {
            (Ok(proof), _) => return Ok(proof),
            (Err(ProofError::MissingNode), Some(id)) if !tiles.contains_key(&id) => {
                let partial = partial_tiles(size).find(|(growing, _)| *growing == id);
                let full = usize::try_from(TILE_WIDTH).unwrap_or(256);
                tiles.insert(id, snapshot.load_tile(id, partial.map_or(full, |(_, width)| width)).await?);
            }
            _ => break,
        }
    }
    Err(StoreError::Inconsistent("a proof was requested for an index or a size that is not in the log"))
}
