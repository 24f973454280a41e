//! Proposals, which the exchange pipeline submits to the committer, and their outcomes. Plain values.

use std::collections::BTreeSet;
use std::fmt;

use bytes::Bytes;
use uuid::Uuid;

use super::commitment_salts::CommitmentSalts;
use super::position::Revision;
use super::sql::{Table, Value};
use super::version_key::VersionKey;
use crate::proto::v1::{AuditEntry, OpenedBasis, OpenedLeaf, Receipt};

/// Everything that one exchange writes, with its log entry. All of it is committed or none of it.
pub struct Proposal {
    /// The id of the exchange.
    pub exchange_id: Uuid,
    /// The log entry, complete except for its time, which the committer sets.
    pub entry: AuditEntry,
    /// Guards of the caller's identity. They are checked under the lock before the request id is looked up, because
    /// a caller that was suspended or revoked meanwhile must not get the stored reply.
    pub identity_guards: Vec<Guard>,
    /// The request id of a mutating exchange. It is looked up whatever was decided, so that a repetition gets the
    /// stored reply.
    pub request: Option<RequestKey>,
    /// Whether request id and reply are stored for repetitions: only of an exchange that had its effect.
    pub store_for_replay: bool,
    /// Guards of all else that the decision was made from, checked under the lock after the request id.
    pub guards: Vec<Guard>,
    /// Counters to increment, because the exchange changes what other decisions are made from.
    pub bumps: Vec<VersionKey>,
    /// Record rows, in the order of their ordinals.
    pub rows: Vec<RowWrite>,
    /// The organisations that the exchange concerns, with what is delivered to them. The caller is named by the entry.
    pub parties: Vec<Party>,
    /// Leaves of children, in the order in which the entry's root over them hashes them.
    pub leaves: Vec<OpenedLeaf>,
    /// Agreements of the leaves.
    pub bases: Vec<OpenedBasis>,
    /// The encoded reply without its receipt.
    pub reply: Bytes,
    /// Salts of the commitments to the request and the reply.
    pub salts: CommitmentSalts,
    /// The salts, sealed for storage.
    pub sealed_salts: Vec<u8>,
    /// The encoded openings, which are stored beside the entry; set by [`Proposal::fill_commitments`].
    pub openings: Bytes,
}

/// The idempotency key of a mutating exchange.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestKey {
    /// The organisation for which the caller acts.
    pub organisation: String,
    /// The request id, which the client makes.
    pub request_id: Uuid,
    /// Key id and HMAC over method, system, practitioner and the request's bytes.
    pub mac: Vec<u8>,
}

/// An optimistic-concurrency condition that must hold under the lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The guarded key.
    pub key: VersionKey,
    /// The version that it must still have: that of the snapshot, [`Revision::ABSENT`] if it must be absent.
    pub version: Revision,
}

/// A row to append, without the leading columns (idx, ordinal), which the committer sets.
#[derive(Clone)]
pub struct RowWrite {
    /// The table.
    pub table: &'static Table,
    /// The values of the table's columns from the third on.
    pub values: Vec<Value>,
    /// Keys for which this row becomes the current version, each with the new version number.
    pub versioned_keys: Vec<(VersionKey, Revision)>,
    /// Whether the leaf of a child is over it. Every other row is under the entry's root over rows.
    pub is_in_leaf: bool,
}

impl fmt::Debug for RowWrite {
    /// Shows no value, because it may be about a child.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowWrite").field("table", &self.table.name).finish_non_exhaustive()
    }
}

/// An organisation that an exchange concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// The organisation's id.
    pub organisation: String,
    /// The deliveries to it, in the order of its mailbox.
    pub deliveries: Vec<DeliveryHeader>,
    /// Placements of its own children.
    pub placements: BTreeSet<Uuid>,
}

/// The header of a delivery: kind, object and placement. Its content is read when it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryHeader {
    /// `apgateway.v1.DeliveryKind`.
    pub kind: i32,
    /// Id of the object that is delivered.
    pub object: Uuid,
    /// The placement that the object belongs to, if any.
    pub placement: Option<Uuid>,
}

/// The outcome of a proposal.
pub enum CommitOutcome {
    /// The proposal is durable.
    Committed {
        /// The receipt: index, proof, checkpoint, entry and salts.
        receipt: Box<Receipt>,
        /// The proposal's reply.
        reply: Bytes,
    },
    /// The request id was used before; nothing was written. The pipeline compares the requests.
    Duplicate(Box<IdempotencyRecord>),
    /// A guard did not hold; nothing was written. The exchange must be decided again from a newer snapshot.
    Stale,
    /// The database refused this proposal; nothing of it was written.
    Failed,
    /// The proposal may have been committed or not. The same request may be sent again.
    Unavailable,
}

/// The stored first exchange of a request id.
pub struct IdempotencyRecord {
    /// HMAC of its request, to compare with the new request's.
    pub mac: Vec<u8>,
    /// Index of its entry.
    pub index: u64,
}

impl Proposal {
    /// Makes the proposal of an entry that nothing else is written with.
    #[must_use]
    pub fn new(exchange_id: Uuid, entry: AuditEntry, salts: CommitmentSalts, sealed_salts: Vec<u8>) -> Self {
        Self {
            exchange_id,
            entry,
            identity_guards: Vec::new(),
            request: None,
            store_for_replay: false,
            guards: Vec::new(),
            bumps: Vec::new(),
            rows: Vec::new(),
            parties: Vec::new(),
            leaves: Vec::new(),
            bases: Vec::new(),
            reply: Bytes::new(),
            salts,
            sealed_salts,
            openings: Bytes::new(),
        }
    }

    /// Returns the number of rows of all tables that this proposal writes: its weight in a group.
    #[must_use]
    pub fn weight(&self) -> usize {
        1 + self.rows.len()
            + self.rows.iter().map(|row| row.versioned_keys.len()).sum::<usize>()
            + self.parties.iter().map(|party| party.deliveries.len().max(1)).sum::<usize>()
            + self.leaves.len()
    }

    /// Returns the organisations that get a delivery, and those whose authority changes.
    pub fn organisations_to_notify(&self) -> impl Iterator<Item = &str> {
        let mail = self.parties.iter().filter(|party| !party.deliveries.is_empty());
        mail.map(|party| party.organisation.as_str())
            .chain(self.bumps.iter().filter_map(VersionKey::authority_organisation))
    }

    /// Returns the organisation for which the exchange was made; the proposal waits in its lane of the queue.
    #[must_use]
    pub fn organisation(&self) -> &str {
        &self.entry.organisation
    }
}
