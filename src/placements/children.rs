//! Children as their senders know them: the identity that a sender gave, sealed under the key of (sender,
//! child), and that key, wrapped. There is no list of all children, and no search across senders.

use prost::Message;
use uuid::Uuid;

use super::ending;
use super::rows::Placement;
use crate::codes::Upn;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Change, Cx, Reason, Record, Refusal};
use crate::proto::v1::ChildIdentity;
use crate::seal::{BlindIndex, ChildKey, Column, SealError, WrappedKey};
use crate::store::Kind::{Blob, Int, Text};
use crate::store::key::{Family, Key};
use crate::store::{Row, Table, Value};

/// The wrapped key of (sender, child), as it is stored.
pub struct ChildKeyRow {
    sender: OrganisationId,
    child: Uuid,
    wrapped: WrappedKey,
}

impl Record for ChildKeyRow {
    const TABLE: &'static Table = &Table {
        name: "child_keys",
        columns: &[
            ("idx", Int),
            ("ordinal", Int),
            ("sender", Text),
            ("child", Blob),
            ("kek_id", Int),
            ("wrapped", Blob),
        ],
        replace_by: &[],
    };

    fn values(&self) -> Vec<Value> {
        vec![
            self.sender.as_str().into(),
            self.child.into(),
            self.wrapped.kek_id.into(),
            self.wrapped.bytes.to_vec().into(),
        ]
    }

    fn heads(&self) -> Vec<(Key, i64)> {
        vec![(key_of(&self.sender, self.child), 1)]
    }
}

/// A child's identity as its sender gave it, one row a version.
pub struct ChildRow {
    /// The gateway's id of the child, random.
    pub child: Uuid,
    /// Whose record it is.
    pub sender: OrganisationId,
    /// From 1.
    pub version: i64,
    /// `ChildIdentity`, sealed.
    pub identity: Vec<u8>,
    /// Blind index of the UPN, where this version is the first that has it.
    pub new_upn: Option<BlindIndex>,
}

impl Record for ChildRow {
    const TABLE: &'static Table = &Table {
        name: "children",
        columns: &[
            ("idx", Int),
            ("ordinal", Int),
            ("child", Blob),
            ("sender", Text),
            ("version", Int),
            ("identity", Blob),
        ],
        replace_by: &[],
    };

    fn values(&self) -> Vec<Value> {
        vec![
            self.child.into(),
            self.sender.as_str().into(),
            self.version.into(),
            self.identity.clone().into(),
        ]
    }

    fn heads(&self) -> Vec<(Key, i64)> {
        let upn = self.new_upn.map(|index| (upn_key(&self.sender, &index), 1));
        std::iter::once((identity_key(&self.sender, self.child), self.version)).chain(upn).collect()
    }
}

/// The key in `heads` of the wrapped key of (sender, child).
#[must_use]
pub fn key_of(sender: &OrganisationId, child: Uuid) -> Key {
    Key::new(Family::ChildKey).text(sender.as_str()).id(child)
}

/// The key in `heads` of the sender's record of the child.
#[must_use]
pub fn identity_key(sender: &OrganisationId, child: Uuid) -> Key {
    Key::new(Family::Child).text(sender.as_str()).id(child)
}

/// The key in `heads` of the first of the sender's rows about a child that has this UPN.
#[must_use]
pub fn upn_key(sender: &OrganisationId, index: &BlindIndex) -> Key {
    Key::new(Family::ChildByUpn).text(sender.as_str()).bytes(index)
}

/// Makes a key of (sender, child) and the row that keeps it wrapped; guard its absence.
///
/// # Errors
/// [`Reason::Failed`] when the cryptographic library fails.
pub fn new_key(cx: &Cx, sender: &OrganisationId, child: Uuid) -> Result<(ChildKey, ChildKeyRow), Refusal> {
    let fill = |bytes: &mut [u8]| cx.random.fill(bytes);
    let key = ChildKey::new(&fill);
    let wrapped = key.wrap(&cx.vault.ring(), sender.as_str(), child.as_bytes(), &fill).map_err(failed)?;
    Ok((key, ChildKeyRow { sender: sender.clone(), child, wrapped }))
}

/// Reads and unwraps the key of (sender, child). `None`: it was destroyed or never made, and nothing else. A key that
/// cannot be read or unwrapped is an error, so that a fault never looks like an erasure.
///
/// # Errors
/// [`Reason::KeyUnavailable`] when this node's ring lacks the wrapping key; [`Reason::Failed`] when what is stored
/// does not unwrap; as [`crate::store::StoreError`] says.
pub async fn key(cx: &mut Cx, sender: &OrganisationId, child: Uuid) -> Result<Option<ChildKey>, Refusal> {
    let sql = "SELECT k.kek_id, k.wrapped, h.version FROM heads h \
               JOIN child_keys k ON k.idx = h.idx AND k.ordinal = h.ordinal WHERE h.key = $1";
    let head = key_of(sender, child);
    let row = cx.snapshot.fetch_one(sql, vec![head.as_bytes().into()]).await?;
    // What is opened rests on the key: an erasure that is committed meanwhile holds.
    let version = match &row {
        Some(row) => row.int(2)?,
        // The version outlives a key that was destroyed.
        None => cx.snapshot.version(&head).await?,
    };
    cx.snapshot.rest_on(head, version);
    let Some(row) = &row else {
        cx.vault.forget(sender.as_str(), child.as_bytes());
        return Ok(None);
    };
    let kek_id = u32::try_from(row.int(0)?).map_err(|_| Reason::Failed)?;
    let wrapped = WrappedKey::from_row(kek_id, row.blob(1)?).map_err(failed)?;
    cx.vault.get(sender.as_str(), child.as_bytes(), &wrapped).map(Some).map_err(failed)
}

/// Reads the key of (sender, child) for an exchange that is impossible without it.
///
/// # Errors
/// [`Reason::NotFound`] when it was destroyed or never made; otherwise as [`key`].
pub async fn required_key(cx: &mut Cx, sender: &OrganisationId, child: Uuid) -> Result<ChildKey, Refusal> {
    Ok(key(cx, sender, child).await?.ok_or(Reason::NotFound)?)
}

/// The sender's own key of the child; made with the change where it has none yet.
///
/// # Errors
/// As [`required_key`] and [`new_key`].
pub async fn own_key(
    cx: &mut Cx,
    change: Change,
    sender: &OrganisationId,
    child: Uuid,
) -> Result<(ChildKey, Change), Refusal> {
    let own = key_of(sender, child);
    if cx.snapshot.version(&own).await? != 0 {
        return Ok((required_key(cx, sender, child).await?, change));
    }
    let (key, row) = new_key(cx, sender, child)?;
    Ok((key, change.guard(own, 0).write(&row)))
}

/// Seals an identity for its row; `version` is that of the row.
///
/// # Errors
/// [`Reason::Failed`] when the cryptographic library fails.
pub fn seal(
    cx: &Cx,
    key: &ChildKey,
    child: Uuid,
    version: i64,
    identity: &ChildIdentity,
) -> Result<Vec<u8>, Refusal> {
    let row = row_of(child, version);
    let plain = identity.encode_to_vec();
    key.seal(at(&row), &plain, &|bytes: &mut [u8]| cx.random.fill(bytes)).map_err(failed)
}

/// The child of a placement, as its commissioner's newest record says. `None`: the record was erased.
///
/// # Errors
/// As [`key`]; [`Reason::Failed`] when what is stored does not open.
pub async fn identity(cx: &mut Cx, placement: &Placement) -> Result<Option<ChildIdentity>, Refusal> {
    identity_at(cx, placement, i64::MAX).await
}

/// As [`identity`], from the commissioner's record as it stood after the entry at an index. What a delivery says of a
/// child is read so, because its digest must not move with the record.
///
/// # Errors
/// As [`identity`].
pub async fn identity_at(
    cx: &mut Cx,
    placement: &Placement,
    index: i64,
) -> Result<Option<ChildIdentity>, Refusal> {
    let Some(key) = key(cx, &placement.commissioner, placement.child).await? else { return Ok(None) };
    let sql = "SELECT version, identity FROM children WHERE child = $1 AND sender = $2 AND idx <= $3 \
               ORDER BY idx DESC LIMIT 1";
    let arguments = vec![placement.child.into(), placement.commissioner.as_str().into(), index.into()];
    let row = cx.snapshot.fetch_one(sql, arguments).await?;
    let child = opened(key, placement.child, row)?.ok_or(Reason::Failed)?;
    Ok(Some(ChildIdentity { child_id: placement.child.hyphenated().to_string(), ..child.identity }))
}

/// Returns the child of a placement that ended as its commissioner's record said when the end was recorded.
///
/// # Errors
/// As [`identity`]; [`Reason::Failed`] where the placement did not end.
pub async fn identity_at_end(cx: &mut Cx, placement: &Placement) -> Result<Option<ChildIdentity>, Refusal> {
    let ended = ending::ended_at(&mut cx.snapshot, placement).await?.ok_or(Reason::Failed)?;
    let (sender, child) = (&placement.commissioner, placement.child);
    let Some(key) = key(cx, sender, child).await? else { return Ok(None) };
    let sql = "SELECT c.version, c.identity FROM children c \
               WHERE c.child = $1 AND c.sender = $2 AND c.idx <= $3 ORDER BY c.version DESC LIMIT 1";
    let row = cx.snapshot.fetch_one(sql, vec![child.into(), sender.as_str().into(), ended.into()]).await?;
    let identity = open(&key, child, &row.ok_or(Reason::Failed)?)?;
    Ok(Some(ChildIdentity { child_id: child.hyphenated().to_string(), ..identity }))
}

/// Opens the identity of a row of version and identity.
fn open(key: &ChildKey, child: Uuid, row: &Row) -> Result<ChildIdentity, Refusal> {
    let plain = key.open(at(&row_of(child, row.int(0)?)), row.blob(1)?).map_err(failed)?;
    ChildIdentity::decode(&plain[..]).map_err(|_| Reason::Failed.into())
}

/// A sender's newest record of a child, opened.
pub struct Known {
    /// The key of (sender, child).
    pub key: ChildKey,
    /// Version of the record.
    pub version: i64,
    /// The record; its `child_id` is empty.
    pub identity: ChildIdentity,
}

/// The sender's newest record of the child.
///
/// # Errors
/// As [`required_key`]; [`Reason::NotFound`] also for a child that is not the sender's.
pub async fn newest(cx: &mut Cx, sender: &OrganisationId, child: Uuid) -> Result<Known, Refusal> {
    let key = required_key(cx, sender, child).await?;
    let sql = "SELECT c.version, c.identity FROM heads h \
               JOIN children c ON c.idx = h.idx AND c.ordinal = h.ordinal WHERE h.key = $1";
    let row = cx.snapshot.fetch_one(sql, vec![identity_key(sender, child).as_bytes().into()]).await?;
    Ok(opened(key, child, row)?.ok_or(Reason::NotFound)?)
}

/// Opens a row of `children`: its version and its sealed identity.
fn opened(key: ChildKey, child: Uuid, row: Option<Row>) -> Result<Option<Known>, Refusal> {
    let Some(row) = row else { return Ok(None) };
    let identity = open(&key, child, &row)?;
    Ok(Some(Known { key, version: row.int(0)?, identity }))
}

/// Where a sender's child is looked up by UPN: a key for each key of the ring, and whose they are.
pub struct ByUpn {
    /// The index under which a new child is kept.
    pub index: BlindIndex,
    /// Every key that was looked at, and whether it leads to a child.
    pub keys: Vec<(Key, bool)>,
    /// The child, if the sender has one with this UPN.
    pub child: Option<Uuid>,
}

/// Looks the sender's own child up by UPN.
///
/// # Errors
/// As [`crate::store::StoreError`] says.
pub async fn by_upn(cx: &mut Cx, sender: &OrganisationId, upn: &Upn) -> Result<ByUpn, Refusal> {
    let ring = cx.vault.ring();
    let index = ring.blind_index(sender.as_str(), "upn", upn.as_str());
    let indexes = ring.blind_indexes(sender.as_str(), "upn", upn.as_str());
    let keys: Vec<Key> = indexes.iter().map(|index| upn_key(sender, index)).collect();
    let sql = "SELECT h.key, c.child FROM heads h \
               JOIN children c ON c.idx = h.idx AND c.ordinal = h.ordinal WHERE h.key";
    let rows = cx.snapshot.fetch_among(sql, &keys).await?;
    let (mut found, mut child) = (Vec::new(), None);
    for row in &rows {
        found.push(Key::from(row.blob(0)?.to_vec()));
        child = Some(row.id(1)?);
    }
    let keys = keys.into_iter().map(|key| (key.clone(), found.contains(&key))).collect();
    Ok(ByUpn { index, keys, child })
}

fn row_of(child: Uuid, version: i64) -> Vec<u8> {
    [&child.as_bytes()[..], &version.to_be_bytes()].concat()
}

fn at(row: &[u8]) -> Column<'_> {
    Column { table: "children", row, column: "identity" }
}

/// Refuses an exchange that met sealed bytes which do not open on this node.
pub(crate) fn failed(error: SealError) -> Refusal {
    error.into()
}
