//! What a permitted exchange will make durable, as a value: rows, deliveries, leaves, the reply. It does
//! nothing by itself, and there is no way to answer but through it.

use std::collections::HashSet;
use std::marker::PhantomData;

use bytes::Bytes;
use prost::Message;
use uuid::Uuid;

use super::policy::Permit;
use super::{Reason, Refusal};
use crate::codes::organisation::OrganisationId;
use crate::proto::v1::DeliveryKind;
use crate::seal::ChildKey;
use crate::store::key::{Family, Key};
use crate::store::proposal::{ChildLeaf, Guard, Parcel, Party, RowWrite};
use crate::store::{ReadSet, Table, Value};
use crate::tlog::{Hash, child_leaf, leaf_hash};

/// A record: a row of an append-only table.
pub trait Record {
    /// Its table; the first two columns are `idx` and `ordinal`, which the committer gives.
    const TABLE: &'static Table;

    /// The values of the other columns.
    fn values(&self) -> Vec<Value>;

    /// The keys of which this row becomes the newest version.
    fn heads(&self) -> Vec<(Key, i64)> {
        Vec::new()
    }
}

/// What a per-child leaf commits to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LeafRole {
    /// Record rows that the caller sent.
    Submitted = 1,
    /// Content that was delivered to the caller.
    Delivered = 2,
    /// Content that the caller read.
    Read = 3,
}

/// Everything that an exchange concerns of one child: it becomes one leaf.
pub struct ChildPart<'a> {
    /// The child's placement, by which audits filter.
    pub placement: Uuid,
    /// What the leaf commits to.
    pub role: LeafRole,
    /// The key of (sender, child); shredding it makes the leaf unopenable.
    pub key: &'a ChildKey,
    /// The child's part of the reply, encoded.
    pub reply: &'a [u8],
}

/// A change under construction.
pub struct Change {
    pub(super) permit: Permit,
    pub(super) exchange: Uuid,
    pub(super) guards: Vec<Guard>,
    pub(super) bumps: Vec<Key>,
    pub(super) rows: Vec<RowWrite>,
    pub(super) parties: Vec<Party>,
    pub(super) leaves: Vec<ChildLeaf>,
}

/// A change with the reply that it will give: what a capability returns.
pub struct Decided<R> {
    pub(super) change: Change,
    pub(super) reply: Bytes,
    of: PhantomData<fn() -> R>,
}

impl Change {
    /// An empty change of the exchange: it reads, and is entered in the log.
    #[must_use]
    pub fn new(permit: &Permit, exchange: Uuid) -> Self {
        Self {
            permit: permit.clone(),
            exchange,
            guards: permit.guards().to_vec(),
            bumps: Vec::new(),
            rows: Vec::new(),
            parties: Vec::new(),
            leaves: Vec::new(),
        }
    }

    /// The change rests on this version of the key, 0 for its absence.
    #[must_use]
    pub fn guard(mut self, key: Key, version: i64) -> Self {
        self.guards.push(Guard { key, version });
        self
    }

    /// Moves a counter on: whatever rests on its present value will be decided again.
    #[must_use]
    pub fn bump(mut self, key: Key) -> Self {
        if !self.bumps.contains(&key) {
            self.bumps.push(key);
        }
        self
    }

    /// Appends a record about no child.
    #[must_use]
    pub fn write<R: Record>(mut self, record: &R) -> Self {
        self.rows.push(row(record));
        self
    }

    /// Appends the records of one child, if any, and commits to them and to the child's part of the reply
    /// with one leaf.
    #[must_use]
    pub fn child<R: Record>(self, part: &ChildPart<'_>, records: &[R]) -> Self {
        self.child_rows(part, records.iter().map(row).collect())
    }

    /// As [`Change::child`] for records of several tables: still one leaf, over the rows in this order.
    #[must_use]
    pub fn child_rows(self, part: &ChildPart<'_>, rows: Vec<RowWrite>) -> Self {
        self.children_rows(std::slice::from_ref(part), rows)
    }

    /// As [`Change::child_rows`] for records that are about each of several children: they are written once,
    /// and each child's leaf is over all of them.
    #[must_use]
    pub fn children_rows(mut self, parts: &[ChildPart<'_>], rows: Vec<RowWrite>) -> Self {
        let mut bytes = Vec::new();
        for row in rows {
            encode_row(row.table.name, &row.values, &mut bytes);
            self.rows.push(row);
        }
        for part in parts {
            let salt = part.key.leaf_salt(self.exchange.as_bytes());
            let hash = child_leaf(&salt, part.role as u8, &leaf_hash(&bytes), &leaf_hash(part.reply));
            let (placement, role) = (part.placement, part.role as u8);
            self.leaves.push(ChildLeaf { placement, role, hash: *hash.as_bytes() });
        }
        self
    }

    /// Names an organisation that the exchange concerns and that gets nothing by it.
    #[must_use]
    pub fn counterpart(mut self, organisation: &OrganisationId) -> Self {
        if !self.parties.iter().any(|party| party.organisation == organisation.as_str()) {
            self.parties.push(Party { organisation: organisation.as_str().to_owned(), delivery: None });
        }
        self
    }

    /// Delivers something to an organisation's mailbox, once a thing and recipient.
    #[must_use]
    pub fn deliver(
        mut self,
        to: &OrganisationId,
        kind: DeliveryKind,
        object: Uuid,
        placement: Option<Uuid>,
    ) -> Self {
        let delivery = Some(Parcel { kind: kind as i32, object, placement });
        let party = Party { organisation: to.as_str().to_owned(), delivery };
        if !self.parties.contains(&party) {
            self.parties.push(party);
        }
        self
    }

    /// Ends the construction with the reply.
    #[must_use]
    pub fn reply<R: Message>(self, reply: &R) -> Decided<R> {
        Decided { change: self, reply: reply.encode_to_vec().into(), of: PhantomData }
    }

    /// Adds the versions from which rights were read. What is read of a child or delivered must rest on the version of
    /// its placement, or an end of the placement that is committed meanwhile would not be seen.
    ///
    /// # Errors
    /// [`Reason::Failed`] where a placement's version is missing: a fault of the handler.
    pub(super) fn rest_on(mut self, read: &ReadSet) -> Result<Self, Refusal> {
        self.guards.extend(read.guards());
        let shown = self.leaves.iter().filter(|leaf| leaf.role != LeafRole::Submitted as u8);
        // A submission shows nothing, and is most of what is committed.
        if shown.clone().next().is_none() {
            return Ok(self);
        }
        let guarded: HashSet<&Key> = self.guards.iter().map(|guard| &guard.key).collect();
        let mut keys = shown.map(|leaf| Key::new(Family::Placement).id(leaf.placement));
        if keys.all(|key| guarded.contains(&key)) {
            return Ok(self);
        }
        tracing::error!(exchange.id = %self.exchange, "what is shown of a child rests on no version of its placement");
        Err(Reason::Failed.into())
    }

    /// The same decision with nothing done: no row, no delivery, no child concerned.
    pub(super) fn without_effect(mut self) -> Self {
        self.bumps.clear();
        self.rows.clear();
        self.parties.clear();
        self.leaves.clear();
        self
    }

    /// The root over the per-child leaves, which the entry carries; none where no child is concerned.
    pub(super) fn child_root(&self) -> Option<Hash> {
        let hashes: Vec<Hash> = self.leaves.iter().map(|leaf| Hash::from(leaf.hash)).collect();
        (!hashes.is_empty()).then(|| crate::tlog::tree_root(&hashes))
    }
}

/// A record as the row that will be appended.
pub fn row<R: Record>(record: &R) -> RowWrite {
    RowWrite { table: R::TABLE, values: record.values(), heads: record.heads() }
}

/// The one encoding of a record row over which hashes are taken: the table's name, then its values.
pub fn encode_row(table: &str, values: &[Value], out: &mut Vec<u8>) {
    Value::from(table).encode(out);
    out.extend_from_slice(&(values.len() as u64).to_be_bytes());
    for value in values {
        value.encode(out);
    }
}
