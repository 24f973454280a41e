//! Changes: what a permitted exchange will make durable, as a value. A change holds rows, deliveries, leaves and
//! the reply. It has no effect until it is committed, and a response can only be sent through a change.

use std::collections::HashSet;
use std::marker::PhantomData;

use bytes::Bytes;
use prost::Message;
use uuid::Uuid;

use super::policy::Permit;
use super::refusal::{Reason, Refusal};
use crate::codes::organisation::OrganisationId;
use crate::proto::v1::DeliveryKind;
use crate::seal::ChildKey;
use crate::store::proposal::{ChildLeaf, DeliveryHeader, Guard, Party, RowWrite};
use crate::store::version_key::{KeyFamily, VersionKey};
use crate::store::{ReadSet, Record, Revision, Value};
use crate::tlog::{Hash, child_leaf, leaf_hash};

/// What the leaf of one child commits to.
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

/// Input of one child's leaf: what the exchange concerns of the child.
pub struct LeafInput<'a> {
    /// The child's placement. Audits filter leaves by it.
    pub placement: Uuid,
    /// What the leaf commits to.
    pub role: LeafRole,
    /// The key of (sender, child). Destroying it makes the leaf impossible to open.
    pub key: &'a ChildKey,
    /// The child's part of the reply, encoded.
    pub reply: &'a [u8],
}

/// A change under construction.
///
/// [`Change::new`] needs a [`Permit`], so nothing is changed or read without one:
///
/// ```
/// # use ap_gateway::exchange::{Change, Permit};
/// # use uuid::Uuid;
/// fn start(permit: &Permit, exchange: Uuid) -> Change {
///     Change::new(permit, exchange)
/// }
/// ```
///
/// ```compile_fail,E0061
/// # use ap_gateway::exchange::Change;
/// # use uuid::Uuid;
/// fn start(exchange: Uuid) -> Change {
///     Change::new(exchange)
/// }
/// ```
pub struct Change {
    pub(super) permit: Permit,
    pub(super) exchange_id: Uuid,
    pub(super) guards: Vec<Guard>,
    pub(super) bumps: Vec<VersionKey>,
    pub(super) rows: Vec<RowWrite>,
    pub(super) parties: Vec<Party>,
    pub(super) leaves: Vec<ChildLeaf>,
}

/// A change and its reply: the return value of a capability.
///
/// A reply exists only with a change. A handler returns the result of [`Change::with_reply`]; the message itself is of
/// another type, and the fields are private:
///
/// ```
/// # use ap_gateway::exchange::{Change, Decided};
/// # use ap_gateway::proto::v1::ListPlacementsResponse;
/// fn answer(change: Change, reply: ListPlacementsResponse) -> Decided<ListPlacementsResponse> {
///     change.with_reply(&reply)
/// }
/// ```
///
/// ```compile_fail,E0308
/// # use ap_gateway::exchange::Decided;
/// # use ap_gateway::proto::v1::ListPlacementsResponse;
/// fn answer(reply: ListPlacementsResponse) -> Decided<ListPlacementsResponse> {
///     reply
/// }
/// ```
///
/// ```compile_fail,E0451
/// # use ap_gateway::exchange::{Change, Decided};
/// # use ap_gateway::proto::v1::ListPlacementsResponse;
/// # use std::marker::PhantomData;
/// fn answer(change: Change) -> Decided<ListPlacementsResponse> {
///     Decided { change, reply: Default::default(), response_type: PhantomData }
/// }
/// ```
pub struct Decided<R> {
    pub(super) change: Change,
    pub(super) reply: Bytes,
    response_type: PhantomData<fn() -> R>,
}

impl Change {
    /// Creates an empty change of the exchange. Committed as it is, it records a read.
    #[must_use]
    pub fn new(permit: &Permit, exchange_id: Uuid) -> Self {
        Self {
            permit: permit.clone(),
            exchange_id,
            guards: permit.guards().to_vec(),
            bumps: Vec::new(),
            rows: Vec::new(),
            parties: Vec::new(),
            leaves: Vec::new(),
        }
    }

    /// Adds a guard: the key must still have this version at the commit. Version 0 stands for an absent key.
    #[must_use]
    pub fn guard(mut self, key: VersionKey, version: Revision) -> Self {
        self.guards.push(Guard { key, version });
        self
    }

    /// Increments a version counter. Exchanges that are guarded by its present value will be decided again.
    #[must_use]
    pub fn bump(mut self, key: VersionKey) -> Self {
        if !self.bumps.contains(&key) {
            self.bumps.push(key);
        }
        self
    }

    /// Appends a record that is about no child.
    #[must_use]
    pub fn append<R: Record>(mut self, record: &R) -> Self {
        self.rows.push(row_write(record));
        self
    }

    /// Appends the records of one child, if any, and adds one leaf that commits to them and to the child's part
    /// of the reply.
    #[must_use]
    pub fn append_child<R: Record>(self, part: &LeafInput<'_>, records: &[R]) -> Self {
        self.append_child_rows(part, records.iter().map(row_write).collect())
    }

    /// Appends records as [`Change::append_child`] does, from several tables. There is still one leaf, over the rows in
    /// this order.
    #[must_use]
    pub fn append_child_rows(self, part: &LeafInput<'_>, rows: Vec<RowWrite>) -> Self {
        self.append_children_rows(std::slice::from_ref(part), rows)
    }

    /// Appends records that are about each of several children. They are written once, and the leaf of each child
    /// is over all of them.
    #[must_use]
    pub fn append_children_rows(mut self, parts: &[LeafInput<'_>], rows: Vec<RowWrite>) -> Self {
        let mut bytes = Vec::new();
        for row in rows {
            encode_row(row.table.name, &row.values, &mut bytes);
            self.rows.push(row);
        }
        for part in parts {
            let salt = part.key.leaf_salt(self.exchange_id.as_bytes());
            let hash = child_leaf(&salt, part.role as u8, &leaf_hash(&bytes), &leaf_hash(part.reply));
            let (placement, role) = (part.placement, part.role as u8);
            self.leaves.push(ChildLeaf { placement, role, hash: *hash.as_bytes() });
        }
        self
    }

    /// Names an organisation that the exchange concerns and that receives no delivery.
    #[must_use]
    pub fn add_counterpart(mut self, organisation: &OrganisationId) -> Self {
        if !self.parties.iter().any(|party| party.organisation == organisation.as_str()) {
            self.parties.push(Party { organisation: organisation.as_str().to_owned(), delivery: None });
        }
        self
    }

    /// Adds a delivery to an organisation's mailbox, unless the same delivery was added before.
    #[must_use]
    pub fn deliver(
        mut self,
        to: &OrganisationId,
        kind: DeliveryKind,
        object: Uuid,
        placement: Option<Uuid>,
    ) -> Self {
        let delivery = Some(DeliveryHeader { kind: kind as i32, object, placement });
        let party = Party { organisation: to.as_str().to_owned(), delivery };
        if !self.parties.contains(&party) {
            self.parties.push(party);
        }
        self
    }

    /// Completes the change with its reply.
    #[must_use]
    pub fn with_reply<R: Message>(self, reply: &R) -> Decided<R> {
        Decided { change: self, reply: reply.encode_to_vec().into(), response_type: PhantomData }
    }

    /// Adds guards on the versions from which rights were read. A leaf for something read or delivered needs a
    /// guard on the version of its placement; without it, an end of the placement that is committed meanwhile
    /// would go unnoticed.
    ///
    /// # Errors
    /// [`Reason::Failed`] where the version of a placement is missing: a defect of the handler.
    pub(super) fn with_read_guards(mut self, read: &ReadSet) -> Result<Self, Refusal> {
        self.guards.extend(read.guards());
        let shown = self.leaves.iter().filter(|leaf| leaf.role != LeafRole::Submitted as u8);
        // A submission discloses nothing. Most commits are submissions, so this is checked first.
        if shown.clone().next().is_none() {
            return Ok(self);
        }
        let guarded: HashSet<&VersionKey> = self.guards.iter().map(|guard| &guard.key).collect();
        let mut keys = shown.map(|leaf| VersionKey::new(KeyFamily::Placement).id(leaf.placement));
        if keys.all(|key| guarded.contains(&key)) {
            return Ok(self);
        }
        tracing::error!(exchange.id = %self.exchange_id, "a child is disclosed without a guard on the version of its placement");
        Err(Reason::Failed.into())
    }

    /// Removes every effect: no row, no delivery, no leaf.
    pub(super) fn without_effect(mut self) -> Self {
        self.bumps.clear();
        self.rows.clear();
        self.parties.clear();
        self.leaves.clear();
        self
    }

    /// Returns the root over the leaves of the children, which the entry holds. Returns `None` if there is no
    /// leaf.
    pub(super) fn child_root(&self) -> Option<Hash> {
        let hashes: Vec<Hash> = self.leaves.iter().map(|leaf| Hash::from(leaf.hash)).collect();
        (!hashes.is_empty()).then(|| crate::tlog::tree_root(&hashes))
    }
}

/// Converts a record to the row that will be appended.
pub fn row_write<R: Record>(record: &R) -> RowWrite {
    RowWrite { table: R::TABLE, values: record.values(), versioned_keys: record.versions() }
}

/// Encodes a row as it is hashed: the table's name, the number of values, then the values.
pub fn encode_row(table: &str, values: &[Value], out: &mut Vec<u8>) {
    Value::from(table).encode(out);
    out.extend_from_slice(&(values.len() as u64).to_be_bytes());
    for value in values {
        value.encode(out);
    }
}
