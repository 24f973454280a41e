//! Writes a group inside the committer's transaction: entries with consecutive indexes, the rows of every table, the
//! tree, and one signed checkpoint. The caller must COMMIT before it uses the result.

use std::collections::{BTreeMap, HashMap};

use prost::Message;

use super::log::{LogTree, db_int};
use super::position::Revision;
use super::proposal::{Party, Proposal, RowWrite};
use super::queue::PendingProposal;
use super::sql::{Conn, StoreError, Table, TableRows, Value};
use super::tables::{CHECKPOINTS, CURRENT_VERSIONS, ENTRIES, FIRST_VERSIONS, PARTIES, TILES};
use super::version_key::VersionKey;
use crate::clock::Instant;
use crate::proto::v1::Receipt;
use crate::tlog::{Checkpoint, Signer, leaf_hash};

/// A written group that is not committed yet.
pub struct WrittenGroup {
    /// The tree after the group.
    pub tree: LogTree,
    /// The signed checkpoint.
    pub note: String,
    /// One receipt a proposal, in the same order.
    pub receipts: Vec<Receipt>,
}

/// Rows to insert, by table and whether they replace rows. Ordered by table name, so that two runs of one script write
/// the same.
#[derive(Default)]
struct RowsByTable(BTreeMap<(&'static str, bool), TableRows>);

impl RowsByTable {
    fn add(&mut self, table: &'static Table, row: Vec<Value>) {
        let key = (table.name, !table.replace_key.is_empty());
        let (_, rows) = self.0.entry(key).or_insert_with(|| (table, Vec::new()));
        rows.push(row);
    }

    /// Adds the current version of a key. A group writes a key at most once.
    fn add_version(&mut self, key: &VersionKey, version: Revision, index: i64, ordinal: i64) {
        let table = if version == Revision::FIRST { &FIRST_VERSIONS } else { &CURRENT_VERSIONS };
        self.add(table, vec![key.as_bytes().into(), version.into(), index.into(), ordinal.into()]);
    }

    async fn insert(self, conn: &mut Conn) -> Result<(), StoreError> {
        conn.insert(self.0.into_values().collect()).await
    }
}

/// Writes the proposals' rows and entries, extends the tree, and signs and stores the checkpoint.
///
/// # Errors
/// See [`StoreError`]. The transaction must then be rolled back.
pub async fn write_group(
    conn: &mut Conn,
    mut tree: LogTree,
    members: &[PendingProposal],
    versions: &HashMap<VersionKey, Revision>,
    signer: &Signer,
    now: Instant,
) -> Result<WrittenGroup, StoreError> {
    let first = tree.range.size();
    tree.time = tree.time.max(now);
    let mut batch = RowsByTable::default();
    let size = first + members.len() as u64;
    let mut leaves = Vec::with_capacity(members.len());
    // A counter is incremented once a group, however many proposals bump it: a proposal that guards the counter behind
    // a bump waits for the next group, so none depends on the number of bumps.
    let mut bumps: BTreeMap<&VersionKey, i64> = BTreeMap::new();
    for (index, PendingProposal { proposal, .. }) in (first..).zip(members) {
        let mut entry = proposal.entry.clone();
        entry.time_us = tree.time.micros();
        entry.tree_size = size;
        let bytes = entry.encode_to_vec();
        tree.range.append(leaf_hash(&bytes));
        add_rows(&mut batch, db_int(index), proposal)?;
        bumps.extend(proposal.bumps.iter().map(|key| (key, db_int(index))));
        batch.add(&ENTRIES, entry_row(db_int(index), db_int(size), proposal, &bytes, tree.time));
        leaves.push(bytes);
    }
    for (key, index) in bumps {
        let version = versions.get(key).copied().unwrap_or(Revision::ABSENT).next();
        batch.add_version(key, version, index, -1);
    }
    let full = tree.range.take_full_tiles();
    let growing = full.iter().filter_map(|tile| tree.range.partial_tile_above(tile.id));
    let growing: BTreeMap<_, _> = growing.map(|tile| (tile.id, tile)).collect();
    for tile in full.into_iter().chain(growing.into_values()) {
        let hashes: Vec<u8> = tile.hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
        batch
            .add(&TILES, vec![i64::from(tile.id.level).into(), db_int(tile.id.number).into(), hashes.into()]);
    }
    let checkpoint = Checkpoint::new(signer.verifier().name(), size, tree.range.root());
    let note = signer.sign(&checkpoint.to_string());
    batch.add(&CHECKPOINTS, vec![db_int(size).into(), tree.time.micros().into(), note.as_str().into()]);
    batch.insert(conn).await?;
    let prover = tree.range.prover().ok_or(StoreError::Inconsistent("the tree has no right edge"))?;
    let receipts = (first..).zip(members).zip(leaves);
    let receipts = receipts.map(|((index, pending), bytes)| {
        let proof = prover.inclusion_proof(index);
        let proof = proof.map_err(|_| StoreError::Inconsistent("a new entry has no proof"))?;
        Ok(Receipt {
            exchange_id: pending.proposal.exchange_id.to_string(),
            index,
            tree_size: size,
            entry: bytes.into(),
            inclusion_proof: proof.iter().map(|hash| hash.as_bytes().to_vec().into()).collect(),
            checkpoint: note.clone(),
            request_salt: pending.proposal.salts.request.to_vec().into(),
            reply_salt: pending.proposal.salts.reply.to_vec().into(),
        })
    });
    let receipts = receipts.collect::<Result<_, StoreError>>()?;
    drop(prover);
    Ok(WrittenGroup { tree, note, receipts })
}

/// Returns the row of `entries`.
fn entry_row(index: i64, size: i64, proposal: &Proposal, bytes: &[u8], time: Instant) -> Vec<Value> {
    let mut row = vec![
        index.into(),
        time.micros().into(),
        proposal.exchange_id.into(),
        proposal.organisation().into(),
        proposal.entry.system.as_str().into(),
        proposal.entry.method.as_str().into(),
        proposal.entry.outcome.into(),
        size.into(),
        bytes.into(),
        proposal.openings[..].into(),
    ];
    row.extend(proposal.entry_columns());
    row
}

/// Adds the record rows, current versions and parties of one proposal.
fn add_rows(batch: &mut RowsByTable, index: i64, proposal: &Proposal) -> Result<(), StoreError> {
    for (ordinal, RowWrite { table, values, versioned_keys, .. }) in (0_i64..).zip(&proposal.rows) {
        if values.len() + 2 != table.columns.len() {
            return Err(StoreError::Inconsistent(
                "a row has more or fewer values than its table has columns",
            ));
        }
        let mut row = vec![index.into(), ordinal.into()];
        row.extend_from_slice(values);
        batch.add(table, row);
        for (key, version) in versioned_keys {
            batch.add_version(key, *version, index, ordinal);
        }
    }
    for party in &proposal.parties {
        add_party(batch, index, proposal.organisation(), party);
    }
    Ok(())
}

/// Adds the rows of an organisation that an entry concerns: one a delivery, or one without a delivery. Ordinals count
/// within the organisation's rows, because a cursor shows them, and must not tell it of others.
fn add_party(batch: &mut RowsByTable, index: i64, sender: &str, party: &Party) {
    let deliveries = party.deliveries.iter().map(Some);
    let without = party.deliveries.is_empty().then_some(None);
    for (ordinal, delivery) in (0_i64..).zip(deliveries.chain(without)) {
        batch.add(
            &PARTIES,
            vec![
                party.organisation.as_str().into(),
                index.into(),
                ordinal.into(),
                delivery.map_or(0, |delivery| delivery.kind).into(),
                sender.into(),
                delivery.map(|delivery| delivery.object).into(),
                delivery.and_then(|delivery| delivery.placement).into(),
            ],
        );
    }
}
