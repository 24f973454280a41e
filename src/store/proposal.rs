//! What the door hands to the committer, and what it gets back: values, no behaviour.

use bytes::Bytes;
use uuid::Uuid;

use super::key::Key;
use super::salts::Salts;
use super::sql::{Table, Value};
use crate::proto::v1::{AuditEntry, Receipt};

/// Everything that one exchange will make durable, its entry with it, or nothing of it.
pub struct Proposal {
    /// The id of the exchange.
    pub exchange: Uuid,
    /// The entry, complete but for its time, which the committer gives.
    pub entry: AuditEntry,
    /// What the caller's identity rests on. Checked under the lock before the request id is looked up, because a
    /// caller that was suspended or revoked meanwhile must not get the first answer.
    pub identity: Vec<Guard>,
    /// Set for a mutating exchange: looked up whatever was decided, so that a repetition gets the first
    /// answer.
    pub request: Option<RequestKey>,
    /// Whether this exchange is a first answer: only one that had its effect is remembered.
    pub remember: bool,
    /// What else the decision rests on; checked under the lock, behind the request id.
    pub guards: Vec<Guard>,
    /// Counters to move on by one: they narrow or change what others may rest on.
    pub bumps: Vec<Key>,
    /// Record rows, in the order of their ordinals.
    pub rows: Vec<RowWrite>,
    /// The counterparts and the recipients; the caller is in the entry.
    pub parties: Vec<Party>,
    /// Per-child leaves, in the order in which the entry's root was taken over them.
    pub leaves: Vec<ChildLeaf>,
    /// The reply as it will be sent, without its receipt.
    pub reply: Bytes,
    /// Salts of the commitments to request and reply.
    pub salts: Salts,
    /// The same, sealed for storage.
    pub sealed_salts: Vec<u8>,
}

/// The key under which an exchange's first answer is remembered.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestKey {
    /// The organisation for which the caller acts.
    pub organisation: String,
    /// Made by the client.
    pub request_id: Uuid,
    /// Key id and HMAC over method, system, practitioner and the request's bytes.
    pub mac: Vec<u8>,
}

/// A condition that must hold under the lock: the key's version, 0 where it must be absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// What is guarded.
    pub key: Key,
    /// Its version in the snapshot that was decided from.
    pub version: i64,
}

/// A row to append. Its values exclude the leading (idx, ordinal), which the committer gives.
pub struct RowWrite {
    /// The table.
    pub table: &'static Table,
    /// The values of the table's columns from the third on.
    pub values: Vec<Value>,
    /// The keys of which this row becomes the newest version, with that version.
    pub heads: Vec<(Key, i64)>,
}

/// An organisation that an entry concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// Its id.
    pub organisation: String,
    /// What is delivered to it, if anything is.
    pub delivery: Option<Parcel>,
}

/// A delivery: which kind of thing, which one, of which placement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    /// `apgateway.v1.DeliveryKind`.
    pub kind: i32,
    /// Id of the thing delivered.
    pub object: Uuid,
    /// The placement that it belongs to, where it belongs to one.
    pub placement: Option<Uuid>,
}

/// A per-child leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildLeaf {
    /// The child's placement, by which audits filter.
    pub placement: Uuid,
    /// What the leaf commits to: `exchange::change::LeafRole`.
    pub role: u8,
    /// The leaf's hash.
    pub hash: [u8; 32],
}

/// What became of a proposal.
pub enum Outcome {
    /// It is durable, and this proves where.
    Committed {
        /// Index, proof, checkpoint, entry and salts.
        receipt: Box<Receipt>,
        /// The proposal's reply.
        reply: Bytes,
    },
    /// The request id is known: nothing was done. The caller decides what that means.
    Known(Box<Remembered>),
    /// A guard did not hold: nothing was done; decide again from a newer snapshot.
    Stale,
    /// The database refused this proposal and no other: nothing was done.
    Failed,
    /// Nothing is known to have been done; the same request may be sent again.
    Unavailable,
}

/// The first exchange of a request id.
pub struct Remembered {
    /// Its HMAC, to compare with the new request's.
    pub mac: Vec<u8>,
    /// Index of its entry.
    pub index: u64,
}

impl Proposal {
    /// Rows of all tables that this proposal will write: its weight in a group.
    #[must_use]
    pub fn weight(&self) -> usize {
        1 + self.rows.len()
            + self.rows.iter().map(|row| row.heads.len()).sum::<usize>()
            + self.parties.len()
            + self.leaves.len()
    }

    /// Organisations that get mail by it, or whose authority it narrows.
    pub fn concerned(&self) -> impl Iterator<Item = &str> {
        let mail = self.parties.iter().filter(|party| party.delivery.is_some());
        mail.map(|party| party.organisation.as_str()).chain(self.bumps.iter().filter_map(Key::narrowed))
    }

    /// For whom the exchange was made: the organisation whose queue it waits in.
    #[must_use]
    pub fn organisation(&self) -> &str {
        &self.entry.organisation
    }
}
