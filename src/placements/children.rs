//! Senders' records of children: the identity that a sender sent, sealed under the key of (sender, child), and that
//! key, wrapped. There is no list of all children, and no search across senders.

use std::collections::HashMap;

use prost::Message;
use uuid::Uuid;

use super::recorded_end;
use super::rows::Placement;
use crate::codes::Upn;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Change, Reason, Refusal, RequestContext};
use crate::proto::v1::ChildIdentity;
use crate::seal::{BlindIndex, ChildKey, ColumnAddress, SealError, WRAPPED_BYTES, WrappedKey};
use crate::store::key_ring_check::{PROBED_ROWS, SealedValueProbe};
use crate::store::version_key::{KeyFamily, VersionKey};
use crate::store::{Database, EntryIndex, Record as _, Revision, Row, Snapshot, StoreError};
use crate::{record, select};

record! {
    /// The wrapped key of (sender, child).
    pub struct ChildKeyRow in "child_keys" as k, 22, Wrapped, NoChild {
        sender: OrganisationId,
        child: Uuid,
        check_value: [u8; 32],
        kek_id: u32 [wrapped],
        wrapped: [u8; WRAPPED_BYTES] [wrapped],
    }
    versions = |row| vec![(child_key_row_key(&row.sender, row.child), Revision::FIRST)];
}

record! {
    /// A version of a sender's record of a child.
    pub struct ChildRow in "children" as c, 21, Committed, EveryChild {
        /// The gateway's id of the child, random.
        pub child: Uuid,
        /// The organisation that owns the record.
        pub sender: OrganisationId,
        /// Version, from 1.
        pub version: Revision,
        /// `ChildIdentity`, sealed.
        pub identity: Vec<u8>,
        /// Blind index of the UPN, in the first version that has this UPN: the child is found by it from then on.
        pub new_upn: Option<Vec<u8>>,
    }
    versions = |row| row.versioned_keys();
}

impl ChildRow {
    fn versioned_keys(&self) -> Vec<(VersionKey, Revision)> {
        let by_upn = self.new_upn.as_ref().map(|index| (upn_key(&self.sender, index), Revision::FIRST));
        [(identity_key(&self.sender, self.child), self.version)].into_iter().chain(by_upn).collect()
    }
}

/// Returns the key in `current_versions` of the wrapped key of (sender, child).
#[must_use]
pub fn child_key_row_key(sender: &OrganisationId, child: Uuid) -> VersionKey {
    VersionKey::new(KeyFamily::ChildKey).text(sender.as_str()).id(child)
}

/// Returns the key in `current_versions` of the sender's record of the child.
#[must_use]
pub fn identity_key(sender: &OrganisationId, child: Uuid) -> VersionKey {
    VersionKey::new(KeyFamily::Child).text(sender.as_str()).id(child)
}

/// Returns the key in `current_versions` of the first of the sender's rows about a child that has this UPN.
#[must_use]
pub fn upn_key(sender: &OrganisationId, index: &[u8]) -> VersionKey {
    VersionKey::new(KeyFamily::ChildByUpn).text(sender.as_str()).bytes(index)
}

/// Generates a key of (sender, child) and the row of the wrapped key. The caller must guard that no such row exists.
///
/// # Errors
/// [`Reason::Failed`] when the cryptographic library fails.
pub fn generate_key(
    cx: &RequestContext,
    sender: &OrganisationId,
    child: Uuid,
) -> Result<(ChildKey, ChildKeyRow), Refusal> {
    let fill = |bytes: &mut [u8]| cx.random.fill(bytes);
    let key = ChildKey::new(&fill);
    let wrapped =
        key.wrap(&cx.vault.ring(), sender.as_str(), child.as_bytes(), &fill).map_err(seal_refusal)?;
    let WrappedKey { kek_id, bytes: wrapped } = wrapped;
    let check_value = key.check_value();
    Ok((key, ChildKeyRow { sender: sender.clone(), child, check_value, kek_id, wrapped }))
}

/// Opens the oldest and the newest wrapped keys.
///
/// # Errors
/// See [`crate::store::StoreError`].
pub async fn probe_wrapped_keys(
    database: &Database,
    probe: &mut SealedValueProbe<'_>,
) -> Result<(), StoreError> {
    let mut snapshot = Snapshot::new(database);
    for sql in [
        "SELECT sender, child, kek_id, wrapped FROM child_keys ORDER BY idx, ordinal LIMIT $1",
        "SELECT sender, child, kek_id, wrapped FROM child_keys ORDER BY idx DESC, ordinal DESC LIMIT $1",
    ] {
        for row in snapshot.fetch(sql, vec![PROBED_ROWS.into()]).await? {
            probe_wrapped_key(&row, probe);
        }
    }
    Ok(())
}

/// Opens a wrapped key; a damaged row counts for nothing.
fn probe_wrapped_key(row: &Row, probe: &mut SealedValueProbe<'_>) {
    let (Ok(sender), Ok(child), Ok(kek_id), Ok(bytes)) =
        (row.get_str("sender"), row.get::<Uuid>("child"), row.get("kek_id"), row.get_bytes("wrapped"))
    else {
        return;
    };
    let opened = WrappedKey::from_row(kek_id, bytes)
        .and_then(|wrapped| wrapped.unwrap(probe.ring(), sender, child.as_bytes()));
    probe.record(kek_id, opened.is_ok());
}

/// Reads and unwraps the key of (sender, child). `None` means only that it was destroyed or never made: a key that
/// cannot be read or unwrapped is an error, so a fault never looks like an erasure.
///
/// # Errors
/// [`Reason::KeyUnavailable`] when this node's ring lacks the wrapping key; [`Reason::Failed`] when what is stored
/// does not unwrap; otherwise see [`crate::store::StoreError`].
pub async fn load_key(
    cx: &mut RequestContext,
    sender: &OrganisationId,
    child: Uuid,
) -> Result<Option<ChildKey>, Refusal> {
    let sql = "SELECT k.kek_id, k.wrapped, h.version FROM current_versions h \
               JOIN child_keys k ON k.idx = h.idx AND k.ordinal = h.ordinal WHERE h.key = $1";
    let head = child_key_row_key(sender, child);
    let row = cx.snapshot.fetch_one(sql, vec![head.as_bytes().into()]).await?;
    // The key joins the read set, so that the exchange is decided again if an erasure is committed meanwhile.
    let version = match &row {
        Some(row) => row.get("version")?,
        // The version remains after a key is destroyed.
        None => cx.snapshot.current_version(&head).await?,
    };
    cx.snapshot.record_read(head, version);
    let Some(row) = &row else {
        cx.vault.evict(sender.as_str(), child.as_bytes());
        return Ok(None);
    };
    let wrapped = WrappedKey { kek_id: row.get("kek_id")?, bytes: row.get("wrapped")? };
    cx.vault.unwrap_key(sender.as_str(), child.as_bytes(), &wrapped).map(Some).map_err(seal_refusal)
}

/// Reads and unwraps a sender's keys of children, by the child, as [`load_key`] does one. A child without a key is left out.
///
/// # Errors
/// As [`load_key`].
pub async fn load_keys(
    cx: &mut RequestContext,
    sender: &OrganisationId,
    children: impl IntoIterator<Item = Uuid>,
) -> Result<HashMap<Uuid, ChildKey>, Refusal> {
    let heads: HashMap<VersionKey, Uuid> =
        children.into_iter().map(|child| (child_key_row_key(sender, child), child)).collect();
    let sql = "SELECT h.key, k.kek_id, k.wrapped, h.version FROM current_versions h \
               JOIN child_keys k ON k.idx = h.idx AND k.ordinal = h.ordinal WHERE h.key";
    let rows = cx.snapshot.fetch_by_keys(sql, heads.keys()).await?;
    let mut keys = HashMap::new();
    for row in &rows {
        let head: VersionKey = row.get("key")?;
        let child = *heads.get(&head).ok_or_else(|| StoreError::corrupt("child_keys", "child"))?;
        let wrapped = WrappedKey { kek_id: row.get("kek_id")?, bytes: row.get("wrapped")? };
        let key = cx.vault.unwrap_key(sender.as_str(), child.as_bytes(), &wrapped).map_err(seal_refusal)?;
        cx.snapshot.record_read(head, row.get("version")?);
        keys.insert(child, key);
    }
    let destroyed: Vec<_> = heads.into_iter().filter(|(_, child)| !keys.contains_key(child)).collect();
    // As above: the version remains after a key is destroyed.
    let versions = cx.snapshot.current_versions(destroyed.iter().map(|(head, _)| head)).await?;
    for (head, child) in destroyed {
        let version = versions.get(&head).copied().unwrap_or(Revision::ABSENT);
        cx.snapshot.record_read(head, version);
        cx.vault.evict(sender.as_str(), child.as_bytes());
    }
    Ok(keys)
}

/// Reads the key of (sender, child), and refuses an exchange that is impossible without it.
///
/// # Errors
/// [`Reason::NotFound`] when it was destroyed or never made; otherwise as [`load_key`].
pub async fn load_required_key(
    cx: &mut RequestContext,
    sender: &OrganisationId,
    child: Uuid,
) -> Result<ChildKey, Refusal> {
    Ok(load_key(cx, sender, child).await?.ok_or(Reason::NotFound)?)
}

/// Returns the sender's key of the child. If there is none yet, generates it and adds its row to the change.
///
/// # Errors
/// As [`load_required_key`] and [`generate_key`].
pub async fn load_or_generate_key(
    cx: &mut RequestContext,
    change: Change,
    sender: &OrganisationId,
    child: Uuid,
) -> Result<(ChildKey, Change), Refusal> {
    let version_key = child_key_row_key(sender, child);
    if cx.snapshot.current_version(&version_key).await? != Revision::ABSENT {
        return Ok((load_required_key(cx, sender, child).await?, change));
    }
    let (key, row) = generate_key(cx, sender, child)?;
    Ok((key, change.guard(version_key, Revision::ABSENT).append(&row)))
}

/// Seals an identity for its row, whose version is `version`.
///
/// # Errors
/// [`Reason::Failed`] when the cryptographic library fails.
pub fn seal_identity(
    cx: &RequestContext,
    key: &ChildKey,
    child: Uuid,
    version: Revision,
    identity: &ChildIdentity,
) -> Result<Vec<u8>, Refusal> {
    let row = sealed_row_id(child, version);
    let plain = identity.encode_to_vec();
    key.seal(sealed_column(&row), &plain, &|bytes: &mut [u8]| cx.random.fill(bytes)).map_err(seal_refusal)
}

/// Reads the identity of a placement's child from the commissioner's newest record. `None`: the record was erased.
///
/// # Errors
/// As [`load_key`]; [`Reason::Failed`] when what is stored does not open.
pub async fn load_identity(
    cx: &mut RequestContext,
    placement: &Placement,
) -> Result<Option<ChildIdentity>, Refusal> {
    load_identity_as_of(cx, placement, EntryIndex::MAX).await
}

/// Reads the identity of a placement's child as [`load_identity`] does, from the commissioner's record as of a log index.
/// Deliveries use this, because a delivery's digest must not change with the record.
///
/// # Errors
/// As [`load_identity`].
pub async fn load_identity_as_of(
    cx: &mut RequestContext,
    placement: &Placement,
    index: EntryIndex,
) -> Result<Option<ChildIdentity>, Refusal> {
    let Some(key) = load_key(cx, &placement.commissioner, placement.child).await? else { return Ok(None) };
    let sql =
        select!(ChildRow, "WHERE c.child = $1 AND c.sender = $2 AND c.idx <= $3 ORDER BY c.idx DESC LIMIT 1");
    open_placement_child(cx, &key, placement, (sql, index)).await.map(Some)
}

/// Reads the identity of the child of an ended placement, from the commissioner's record as of the log index at which
/// the end was recorded.
///
/// # Errors
/// As [`load_identity`]; [`Reason::Failed`] if the placement has not ended.
pub async fn load_identity_at_end(
    cx: &mut RequestContext,
    placement: &Placement,
) -> Result<Option<ChildIdentity>, Refusal> {
    let ended = recorded_end::end_recorded_at(&mut cx.snapshot, placement).await?.ok_or(Reason::Failed)?;
    let Some(key) = load_key(cx, &placement.commissioner, placement.child).await? else { return Ok(None) };
    let sql = select!(
        ChildRow,
        "WHERE c.child = $1 AND c.sender = $2 AND c.idx <= $3 ORDER BY c.version DESC LIMIT 1"
    );
    open_placement_child(cx, &key, placement, (sql, ended)).await.map(Some)
}

/// Opens the record of a placement's child that a query gives for child, sender and log index.
async fn open_placement_child(
    cx: &mut RequestContext,
    key: &ChildKey,
    placement: &Placement,
    (sql, index): (&'static str, EntryIndex),
) -> Result<ChildIdentity, Refusal> {
    let child = placement.child;
    let arguments = vec![child.into(), placement.commissioner.as_str().into(), index.into()];
    let row = cx.snapshot.fetch_one(sql, arguments).await?.ok_or(Reason::Failed)?;
    let identity = open_identity(key, &ChildRow::read(&row)?)?;
    Ok(ChildIdentity { child_id: child.hyphenated().to_string(), ..identity })
}

/// Opens the sealed identity of a row.
pub(super) fn open_identity(key: &ChildKey, row: &ChildRow) -> Result<ChildIdentity, Refusal> {
    let row_id = sealed_row_id(row.child, row.version);
    let plain = key.open(sealed_column(&row_id), &row.identity).map_err(seal_refusal)?;
    ChildIdentity::decode(&plain[..]).map_err(|_| Reason::Failed.into())
}

/// A version of a sender's record of a child, opened.
pub struct ChildRecord {
    /// The key of (sender, child).
    pub key: ChildKey,
    /// Version of the record.
    pub version: Revision,
    /// The record; its `child_id` is empty.
    pub identity: ChildIdentity,
}

/// Reads and opens the sender's newest record of the child.
///
/// # Errors
/// As [`load_required_key`]; [`Reason::NotFound`] also for a child that is not the sender's.
pub async fn load_newest_record(
    cx: &mut RequestContext,
    sender: &OrganisationId,
    child: Uuid,
) -> Result<ChildRecord, Refusal> {
    let key = load_required_key(cx, sender, child).await?;
    let row: Option<ChildRow> = cx.snapshot.newest(&identity_key(sender, child)).await?;
    let row = row.ok_or(Reason::NotFound)?;
    let identity = open_identity(&key, &row)?;
    Ok(ChildRecord { key, version: row.version, identity })
}

/// The result of a search for a sender's child by UPN. The search has one blind index per key of the key ring.
pub struct UpnLookup {
    /// Blind index under which a new child would be stored.
    pub index: BlindIndex,
    /// Every key in `current_versions` that was read, and whether it names a child.
    pub checked_keys: Vec<(VersionKey, bool)>,
    /// The child, if the sender has one with this UPN.
    pub child: Option<Uuid>,
}

/// Finds a child among the sender's records by UPN.
///
/// # Errors
/// See [`crate::store::StoreError`].
pub async fn find_by_upn(
    cx: &mut RequestContext,
    sender: &OrganisationId,
    upn: &Upn,
) -> Result<UpnLookup, Refusal> {
    let ring = cx.vault.ring();
    let index = ring.blind_index(sender.as_str(), "upn", upn.as_str());
    let indexes = ring.blind_indexes(sender.as_str(), "upn", upn.as_str());
    let keys: Vec<VersionKey> = indexes.iter().map(|index| upn_key(sender, index)).collect();
    let sql = "SELECT h.key, c.child FROM current_versions h \
               JOIN children c ON c.idx = h.idx AND c.ordinal = h.ordinal WHERE h.key";
    let rows = cx.snapshot.fetch_by_keys(sql, &keys).await?;
    let (mut found, mut child) = (Vec::new(), None);
    for row in &rows {
        found.push(row.get::<VersionKey>("key")?);
        child = Some(row.get("child")?);
    }
    let keys = keys.into_iter().map(|key| (key.clone(), found.contains(&key))).collect();
    Ok(UpnLookup { index, checked_keys: keys, child })
}

/// Returns the bytes that identify a row to the sealing functions: child and version.
fn sealed_row_id(child: Uuid, version: Revision) -> Vec<u8> {
    [&child.as_bytes()[..], &version.to_be_bytes()].concat()
}

fn sealed_column(row: &[u8]) -> ColumnAddress<'_> {
    ColumnAddress { table: "children", row, column: "identity" }
}

/// Converts a sealing error to a refusal: the sealed bytes do not open on this node.
pub(crate) fn seal_refusal(error: SealError) -> Refusal {
    error.into()
}
