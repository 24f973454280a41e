//! Changes: what a permitted exchange will make durable, as a value. A change holds rows, deliveries, leaves and
//! the reply. It has no effect until it is committed, and a response can only be sent through a change.

use std::collections::{BTreeSet, HashSet};
use std::marker::PhantomData;

use bytes::Bytes;
use prost::Message;
use uuid::Uuid;

use super::policy::{Permit, SharingBasis};
use super::refusal::{Reason, Refusal};
use crate::codes::organisation::OrganisationId;
use crate::proto::v1::{DeliveryKind, LeafRole, OpenedBasis, OpenedLeaf, RecordKind};
use crate::seal::ChildKey;
use crate::store::canonical::{ENTRY_FORMAT, encode_row};
use crate::store::proposal::{DeliveryHeader, Guard, Party, RowWrite};
use crate::store::version_key::{KeyFamily, VersionKey};
use crate::store::{ReadSet, Record, Revision};
use crate::tlog::{ChildLeafHeader, Hash, child_leaf, leaf_hash};

/// The record of a child that an exchange was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRef {
    /// Kind of the record.
    pub kind: RecordKind,
    /// Its id.
    pub id: Uuid,
    /// Its version; [`Revision::ABSENT`] if it has none.
    pub version: Revision,
    /// Kinds of a passport's blocks that the log names, one bit for each; 0 for another record. They do not depend on
    /// blocks whose existence systems must not learn.
    pub blocks: u64,
}

impl RecordRef {
    /// Refers to a record without blocks.
    #[must_use]
    pub const fn new(kind: RecordKind, id: Uuid, version: Revision) -> Self {
        Self { kind, id, version, blocks: 0 }
    }

    /// Adds the kinds of passport blocks that are in the content.
    #[must_use]
    pub const fn with_blocks(self, blocks: u64) -> Self {
        Self { blocks, ..self }
    }

    /// Refers to a record without versions.
    #[must_use]
    pub const fn unversioned(kind: RecordKind, id: Uuid) -> Self {
        Self::new(kind, id, Revision::ABSENT)
    }
}

/// Input of one child's leaf: what the exchange concerns of the child.
#[derive(Clone, Copy)]
pub struct LeafInput<'a> {
    /// The child's placement. Audits filter leaves by it.
    pub placement: Uuid,
    /// What the leaf commits to.
    pub role: LeafRole,
    /// The record.
    pub record: RecordRef,
    /// The organisation that sent the record.
    pub sender: &'a OrganisationId,
    /// The key of (sender, child). Destroying it makes the leaf impossible to open.
    pub key: &'a ChildKey,
    /// The child's part of the reply, encoded.
    pub reply: &'a [u8],
}

impl LeafInput<'_> {
    fn header(&self, table: u16) -> ChildLeafHeader {
        let RecordRef { kind, id, version, blocks } = self.record;
        ChildLeafHeader {
            role: self.role as u32,
            table: table.into(),
            kind: kind as u32,
            record_id: id.into_bytes(),
            version: version.to_u32(),
            blocks,
        }
    }

    /// Returns the leaf as the openings hold it.
    fn open(&self, header: &ChildLeafHeader, basis: u32, hash: &Hash) -> OpenedLeaf {
        OpenedLeaf {
            placement_id: Bytes::copy_from_slice(self.placement.as_bytes()),
            sender: self.sender.as_str().to_owned(),
            role: self.role.into(),
            kind: self.record.kind.into(),
            record_id: Bytes::copy_from_slice(&header.record_id),
            version: header.version,
            blocks: header.blocks,
            basis,
            table: header.table,
            hash: Bytes::copy_from_slice(hash.as_bytes()),
        }
    }
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
    pub(super) leaves: Vec<OpenedLeaf>,
    pub(super) bases: Vec<OpenedBasis>,
    pub(super) is_over_break_glass_limit: bool,
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
            bases: Vec::new(),
            is_over_break_glass_limit: false,
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

    /// Appends the records of one child and adds one leaf that commits to them; without records, to the child's part of the
    /// reply. A leaf over records leaves the reply out, because it must still verify once the reply is disposed of. The
    /// records are shared under the basis of the permit.
    #[must_use]
    pub fn append_child<R: Record>(self, part: &LeafInput<'_>, records: &[R]) -> Self {
        self.append_child_rows(part, records.iter().map(row_write).collect())
    }

    /// Appends records of one child as [`Change::append_child`] does, shared under the basis of the child's placement: a
    /// batch can be about children under different agreements.
    #[must_use]
    pub fn append_child_under<R: Record>(
        self,
        basis: Option<&SharingBasis>,
        part: &LeafInput<'_>,
        records: &[R],
    ) -> Self {
        let rows = records.iter().map(row_write).collect();
        self.append_rows_under(basis, std::slice::from_ref(part), rows)
    }

    /// Appends records as [`Change::append_child`] does, from several tables.
    #[must_use]
    pub fn append_child_rows(self, part: &LeafInput<'_>, rows: Vec<RowWrite>) -> Self {
        self.append_children_rows(std::slice::from_ref(part), rows)
    }

    /// Appends records that are about each of several children. They are written once, and each child has a leaf over
    /// all of them. Without a child they are appended as records about none.
    #[must_use]
    pub fn append_children_rows(self, parts: &[LeafInput<'_>], rows: Vec<RowWrite>) -> Self {
        let basis = self.permit.basis().cloned();
        self.append_rows_under(basis.as_ref(), parts, rows)
    }

    /// Appends rows. Each child has one leaf for each table, in the order of the tables' first rows, so that a leaf that
    /// no longer matches names the table at fault; without rows it has one leaf over the reply alone.
    fn append_rows_under(
        mut self,
        basis: Option<&SharingBasis>,
        parts: &[LeafInput<'_>],
        rows: Vec<RowWrite>,
    ) -> Self {
        let mut by_table: Vec<(u16, Vec<u8>)> = Vec::new();
        for row in rows {
            let ordinal = i64::try_from(self.rows.len()).unwrap_or(i64::MAX);
            if !by_table.iter().any(|(table, _)| *table == row.table.number) {
                by_table.push((row.table.number, Vec::new()));
            }
            for (_, bytes) in by_table.iter_mut().filter(|(table, _)| *table == row.table.number) {
                encode_row(row.table, ENTRY_FORMAT, ordinal, &row.values, bytes);
            }
            self.rows.push(RowWrite { is_in_leaf: !parts.is_empty(), ..row });
        }
        let basis = basis.filter(|_| !parts.is_empty()).map_or(0, |basis| self.basis_number(basis));
        for part in parts {
            let salt = part.key.leaf_salt(self.exchange_id.as_bytes());
            let over_reply = by_table.is_empty().then_some((0, part.reply));
            let over_rows = by_table.iter().map(|(table, bytes)| (*table, &bytes[..]));
            for (table, content) in over_rows.chain(over_reply) {
                let header = part.header(table);
                let hash = child_leaf(&salt, &header, &leaf_hash(content));
                self.leaves.push(part.open(&header, basis, &hash));
            }
        }
        self
    }

    /// Returns the position of a basis among those of the change, from 1.
    fn basis_number(&mut self, basis: &SharingBasis) -> u32 {
        let opened = basis.to_opened();
        let at = self.bases.iter().position(|known| *known == opened).unwrap_or_else(|| {
            self.bases.push(opened);
            self.bases.len() - 1
        });
        u32::try_from(at + 1).unwrap_or(u32::MAX)
    }

    /// Names an organisation that the exchange concerns and that may receive no delivery.
    #[must_use]
    pub fn add_counterpart(self, organisation: &OrganisationId) -> Self {
        self.with_party(organisation, |_| {})
    }

    /// Names an organisation as one whose child the placement's child is.
    #[must_use]
    pub fn share_child(self, organisation: &OrganisationId, placement: Uuid) -> Self {
        self.with_party(organisation, |party| {
            party.placements.insert(placement);
        })
    }

    /// Adds a delivery to an organisation's mailbox, unless the same object was added before. A delivery about a
    /// placement shares its child. A delivery that is about several placements of the organisation names none of them;
    /// the placements of others do not count, because the delivery would tell the organisation of them.
    #[must_use]
    pub fn deliver(
        self,
        to: &OrganisationId,
        kind: DeliveryKind,
        object: Uuid,
        placement: Option<Uuid>,
    ) -> Self {
        self.with_party(to, |party| {
            party.placements.extend(placement);
            let kind = kind as i32;
            let mut known = party.deliveries.iter_mut();
            match known.find(|known| known.kind == kind && known.object == object) {
                Some(known) if known.placement != placement => known.placement = None,
                Some(_) => {}
                None => party.deliveries.push(DeliveryHeader { kind, object, placement }),
            }
        })
    }

    /// Adds a delivery about a placement that does not share its child: of the exchange's leaves, the recipient sees those
    /// of the records that it sent itself. No other delivery of the exchange may have the same kind and object.
    #[must_use]
    pub fn deliver_own(self, to: &OrganisationId, kind: DeliveryKind, object: Uuid, placement: Uuid) -> Self {
        let header = DeliveryHeader { kind: kind as i32, object, placement: Some(placement) };
        self.with_party(to, |party| party.deliveries.push(header))
    }

    /// Marks the entry as a break-glass beyond the organisation's limit of the day.
    #[must_use]
    pub fn over_break_glass_limit(self) -> Self {
        Self { is_over_break_glass_limit: true, ..self }
    }

    fn with_party(mut self, organisation: &OrganisationId, edit: impl FnOnce(&mut Party)) -> Self {
        let known = self.parties.iter_mut().find(|party| party.organisation == organisation.as_str());
        if let Some(party) = known {
            edit(party);
            return self;
        }
        let organisation = organisation.as_str().to_owned();
        let mut party = Party { organisation, deliveries: Vec::new(), placements: BTreeSet::new() };
        edit(&mut party);
        self.parties.push(party);
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
        let shown = self.leaves.iter().filter(|leaf| leaf.role() != LeafRole::Submitted);
        // A submission discloses nothing. Most commits are submissions, so this is checked first.
        if shown.clone().next().is_none() {
            return Ok(self);
        }
        let guarded: HashSet<&VersionKey> = self.guards.iter().map(|guard| &guard.key).collect();
        let mut keys = shown.map(|leaf| VersionKey::new(KeyFamily::Placement).bytes(&leaf.placement_id));
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
        self.bases.clear();
        self
    }
}

/// Converts a record to the row that will be appended.
pub fn row_write<R: Record>(record: &R) -> RowWrite {
    RowWrite {
        table: R::TABLE,
        values: record.values(),
        versioned_keys: record.versions(),
        is_in_leaf: false,
    }
}
