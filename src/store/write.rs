//! Writing a group inside the committer's transaction: entries with consecutive indexes, every table's rows, the tree,
//! one signed checkpoint. Nothing leaves this file before the caller's COMMIT.

use std::collections::{BTreeMap, HashMap};

use prost::Message;

use super::key::Key;
use super::log::{Tip, place};
use super::proposal::{Proposal, RowWrite};
use super::queue::Pending;
use super::sql::{Conn, Rows, StoreError, Table, Value};
use super::tables::{CHECKPOINTS, ENTRIES, HEADS, LEAVES, PARTIES, TILES, callers_sorted_in};
use crate::clock::Instant;
use crate::proto::v1::Receipt;
use crate::tlog::{Checkpoint, Signer, leaf_hash};

/// A group as it will stand after the commit.
pub struct Written {
    /// The new tip of the log.
    pub tip: Tip,
    /// The signed checkpoint.
    pub note: String,
    /// A receipt a member, in their order.
    pub receipts: Vec<Receipt>,
}

/// Rows gathered by table. Ordered by name, so that two runs of one script write alike.
#[derive(Default)]
struct Batch(BTreeMap<&'static str, Rows>);

impl Batch {
    fn add(&mut self, table: &'static Table, row: Vec<Value>) {
        let (_, rows) = self.0.entry(table.name).or_insert_with(|| (table, Vec::new()));
        rows.push(row);
    }

    async fn insert(self, conn: &mut Conn) -> Result<(), StoreError> {
        conn.insert(self.0.into_values().collect()).await
    }
}

/// Writes the members' rows and entries, extends the tree, signs and stores the checkpoint.
///
/// # Errors
/// As [`StoreError`] says; nothing is durable then.
pub async fn group(
    conn: &mut Conn,
    mut tip: Tip,
    members: &[Pending],
    versions: &HashMap<Key, i64>,
    signer: &Signer,
    now: Instant,
) -> Result<Written, StoreError> {
    let first = tip.edge.size();
    tip.time = tip.time.max(now);
    let mut batch = Batch::default();
    let size = first + members.len() as u64;
    let mut leaves = Vec::with_capacity(members.len());
    // A counter moves once a group, however many members move it: nobody in the group rests on it.
    let mut bumps: BTreeMap<&Key, i64> = BTreeMap::new();
    for (index, Pending { proposal, .. }) in (first..).zip(members) {
        let mut entry = proposal.entry.clone();
        entry.time_us = tip.time.micros();
        let bytes = entry.encode_to_vec();
        tip.edge.append(leaf_hash(&bytes));
        rows(&mut batch, place(index), proposal)?;
        bumps.extend(proposal.bumps.iter().map(|key| (key, place(index))));
        batch.add(&ENTRIES, entry_row(place(index), place(size), proposal, &bytes, tip.time));
        leaves.push(bytes);
    }
    for (key, index) in bumps {
        let version = versions.get(key).copied().unwrap_or(0) + 1;
        batch.add(&HEADS, head_row(key, version, index, -1));
    }
    let full = tip.edge.take_full_tiles();
    let growing = full.iter().filter_map(|tile| tip.edge.growing_above(tile.id));
    let growing: BTreeMap<_, _> = growing.map(|tile| (tile.id, tile)).collect();
    for tile in full.into_iter().chain(growing.into_values()) {
        let hashes: Vec<u8> = tile.hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
        batch.add(&TILES, vec![i64::from(tile.id.level).into(), place(tile.id.number).into(), hashes.into()]);
    }
    let checkpoint = Checkpoint::new(signer.verifier().name(), size, tip.edge.root());
    let note = signer.sign(&checkpoint.to_string());
    batch.add(&CHECKPOINTS, vec![place(size).into(), tip.time.micros().into(), note.as_str().into()]);
    batch.insert(conn).await?;
    sort_callers_in(conn, first, size).await?;
    let prover = tip.edge.prover().ok_or(StoreError::Inconsistent("the tree has no right edge"))?;
    let receipts = (first..).zip(members).zip(leaves);
    let receipts = receipts.map(|((index, pending), bytes)| {
        let proof = prover.inclusion(index);
        let proof = proof.map_err(|_| StoreError::Inconsistent("a new entry has no proof"))?;
        Ok(Receipt {
            exchange_id: pending.proposal.exchange.to_string(),
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
    Ok(Written { tip, note, receipts })
}

/// Sorts in the callers of the entries that this group makes a full number of. A row that is there already, which
/// nobody of this program wrote, must not keep the log from going on.
async fn sort_callers_in(conn: &mut Conn, before: u64, now: u64) -> Result<(), StoreError> {
    let (before, now) = (callers_sorted_in(before), callers_sorted_in(now));
    if before < now {
        let sql = "INSERT INTO callers (organisation, idx) SELECT caller, idx FROM entries \
                   WHERE idx >= $1 AND idx < $2 ORDER BY caller, idx ON CONFLICT DO NOTHING";
        conn.execute(sql, vec![place(before).into(), place(now).into()]).await?;
    }
    Ok(())
}

fn entry_row(index: i64, size: i64, proposal: &Proposal, bytes: &[u8], time: Instant) -> Vec<Value> {
    let request = proposal.request.as_ref().filter(|_| proposal.remember);
    vec![
        index.into(),
        time.micros().into(),
        proposal.exchange.into(),
        proposal.organisation().into(),
        proposal.entry.system.as_str().into(),
        proposal.entry.method.as_str().into(),
        proposal.entry.outcome.into(),
        size.into(),
        bytes.into(),
        proposal.sealed_salts.as_slice().into(),
        request.map(|request| request.request_id).into(),
        request.map(|request| request.mac.clone()).into(),
        request.map(|_| proposal.reply.to_vec()).into(),
    ]
}

/// The record rows, heads, parties and leaves of one member.
fn rows(batch: &mut Batch, index: i64, proposal: &Proposal) -> Result<(), StoreError> {
    for (ordinal, RowWrite { table, values, heads }) in (0_i64..).zip(&proposal.rows) {
        if values.len() + 2 != table.columns.len() {
            return Err(StoreError::Inconsistent("a row has not as many values as its table has columns"));
        }
        let mut row = vec![index.into(), ordinal.into()];
        row.extend_from_slice(values);
        batch.add(table, row);
        for (key, version) in heads {
            batch.add(&HEADS, head_row(key, *version, index, ordinal));
        }
    }
    for (ordinal, party) in (0_i64..).zip(&proposal.parties) {
        let parcel = party.delivery.as_ref();
        batch.add(
            &PARTIES,
            vec![
                party.organisation.as_str().into(),
                index.into(),
                ordinal.into(),
                parcel.map_or(0, |parcel| parcel.kind).into(),
                proposal.organisation().into(),
                parcel.map(|parcel| parcel.object).into(),
                parcel.and_then(|parcel| parcel.placement).into(),
            ],
        );
    }
    for (ordinal, leaf) in (0_i64..).zip(&proposal.leaves) {
        let role = i64::from(leaf.role);
        batch.add(
            &LEAVES,
            vec![index.into(), ordinal.into(), leaf.placement.into(), role.into(), leaf.hash.into()],
        );
    }
    Ok(())
}

fn head_row(key: &Key, version: i64, index: i64, ordinal: i64) -> Vec<Value> {
    vec![key.as_bytes().into(), version.into(), index.into(), ordinal.into()]
}
