//! What an entry commits to: the leaves of children, all other rows of the exchange, and the openings, which are kept
//! beside it.

use bytes::Bytes;
use prost::Message;
use uuid::Uuid;

use super::canonical::{ENTRY_COLUMNS_ORDINAL, ENTRY_FORMAT, encode_columns, encode_row};
use super::proposal::{Party, Proposal};
use super::sql::Value;
use super::tables::{ENTRIES, ENTRY_COLUMNS};
use crate::proto::v1::{EntryOpenings, OpenedDelivery, OpenedLeaf, OpenedParty, OpenedRow};
use crate::seal::CommitmentKey;
use crate::tlog::{ExchangeSalt, Hash, tree_root};

impl Proposal {
    /// Computes the openings and the three roots and commitments of the entry. Call it when everything else of the
    /// proposal is set.
    pub fn fill_commitments(&mut self, key: &CommitmentKey) {
        let caller = self.entry.organisation.as_str();
        for leaf in self.leaves.iter_mut().filter(|leaf| leaf.sender == caller) {
            leaf.sender.clear();
        }
        let salt = ExchangeSalt::new(&key.exchange_salt(self.exchange_id.as_bytes())[..]);
        let (rows, root) = self.commit_rows(&salt);
        let openings = EntryOpenings {
            parties: self.parties.iter().map(|party| self.open_party(party)).collect(),
            leaves: std::mem::take(&mut self.leaves),
            bases: std::mem::take(&mut self.bases),
            counters: self.bumps.iter().map(|key| Bytes::copy_from_slice(key.as_bytes())).collect(),
            rows,
        };
        self.openings = openings.encode_to_vec().into();
        self.leaves = openings.leaves;
        self.entry.format = ENTRY_FORMAT;
        self.entry.commitment_key = key.id();
        self.entry.row_root = hash_bytes(&root);
        self.entry.openings_commitment = hash_bytes(&salt.openings_commitment(&self.openings));
        let root = child_root(&self.leaves).unwrap_or_else(|| salt.no_leaves());
        self.entry.child_root = hash_bytes(&root);
    }

    /// Returns the values of the private columns of the entry, in the order of [`ENTRY_COLUMNS`].
    pub(super) fn entry_columns(&self) -> [Value; 4] {
        let request = self.request.as_ref().filter(|_| self.store_for_replay);
        [
            self.sealed_salts.as_slice().into(),
            request.map(|request| request.request_id).into(),
            request.map(|request| request.mac.clone()).into(),
            request.map(|_| self.reply.to_vec()).into(),
        ]
    }

    /// Returns the rows that are in no child's leaf, as the openings list them, and the root over them.
    fn commit_rows(&self, salt: &ExchangeSalt) -> (Vec<OpenedRow>, Hash) {
        let (mut opened, mut leaves, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
        encode_columns(
            ENTRIES.number,
            ENTRY_FORMAT,
            ENTRY_COLUMNS_ORDINAL,
            ENTRY_COLUMNS.iter().zip(&self.entry_columns()),
            &mut bytes,
        );
        let mut add = |table: u16, ordinal: i64, bytes: &[u8]| {
            let leaf = salt.row_leaf(bytes);
            opened.push(OpenedRow { table: table.into(), ordinal, leaf_prefix: leaf_prefix(&leaf) });
            leaves.push(leaf);
        };
        add(ENTRIES.number, ENTRY_COLUMNS_ORDINAL, &bytes);
        for (ordinal, row) in (0_i64..).zip(&self.rows).filter(|(_, row)| !row.is_in_leaf) {
            bytes.clear();
            encode_row(row.table, ENTRY_FORMAT, ordinal, &row.values, &mut bytes);
            add(row.table.number, ordinal, &bytes);
        }
        let root = tree_root(&leaves);
        (opened, root)
    }

    /// Returns a party as the openings hold it. A leaf is a party's own if it sent the record, or if the exchange shares
    /// the child's placement with it.
    fn open_party(&self, party: &Party) -> OpenedParty {
        let sender = |leaf: &OpenedLeaf| {
            if leaf.sender.is_empty() {
                self.organisation() == party.organisation
            } else {
                leaf.sender == party.organisation
            }
        };
        let is_shared = |leaf: &OpenedLeaf| {
            Uuid::from_slice(&leaf.placement_id).is_ok_and(|placement| party.placements.contains(&placement))
        };
        let own = (0_u32..).zip(&self.leaves).filter(|(_, leaf)| sender(leaf) || is_shared(leaf));
        let deliveries = party.deliveries.iter().map(|delivery| OpenedDelivery {
            kind: delivery.kind,
            object_id: Bytes::copy_from_slice(delivery.object.as_bytes()),
            placement_id: delivery
                .placement
                .map_or_else(Bytes::new, |placement| Bytes::copy_from_slice(placement.as_bytes())),
        });
        OpenedParty {
            organisation: party.organisation.clone(),
            leaves: own.map(|(index, _)| index).collect(),
            deliveries: deliveries.collect(),
        }
    }
}

/// Returns the root over the leaves of children; `None` if there are none.
#[must_use]
pub fn child_root(leaves: &[OpenedLeaf]) -> Option<Hash> {
    // A hash of another length makes a root that no entry has.
    let hash = |leaf: &OpenedLeaf| Hash::try_from(&leaf.hash[..]).unwrap_or(Hash::from([0; 32]));
    let hashes: Vec<Hash> = leaves.iter().map(hash).collect();
    (!hashes.is_empty()).then(|| tree_root(&hashes))
}

/// Returns the beginning of a leaf hash by which openings tell which row differs.
#[must_use]
pub fn leaf_prefix(leaf: &Hash) -> Bytes {
    Bytes::copy_from_slice(leaf.as_bytes().split_at(4).0)
}

fn hash_bytes(hash: &Hash) -> Bytes {
    Bytes::copy_from_slice(hash.as_bytes())
}
