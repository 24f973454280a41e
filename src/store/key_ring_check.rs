//! Comparison of a node's key ring with what the database holds: another gateway's ring, or one without a key in use,
//! would make every child unknown, so a node does not start with it.
//!
//! Two tests that together cover every key in use, each by a bounded read: `activated_keys` names every key after the
//! first with its fingerprint, and sealed values, the oldest and the newest of each table, show what the first one
//! opens.

use std::collections::BTreeMap;

use super::commitment_salts::CommitmentSalts;
use super::sql::{Database, Row, StoreError};
use crate::seal::{KeyRing, OrganisationKey, RingKey, SealError};

/// Number of the oldest and of the newest rows of a table that are opened.
pub const PROBED_ROWS: i64 = 16;

/// Why a key ring is not the one of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRingMismatch {
    /// A key that is in use is not in the ring.
    #[error(
        "it lacks key {0}, which is already in use; copy the key ring of a node that has it, then start again"
    )]
    Lacks(u32),
    /// The ring has another key under the id of one in use.
    #[error(
        "its key {0} opens nothing that key {0} of this gateway sealed: it is the key ring of another gateway; copy \
         the key ring of this gateway from another node or its backup, then start again"
    )]
    Other(u32),
}

/// Sealed values by the id of the key that sealed them: whether the ring opens any. One damaged value does not make a
/// ring another's.
#[derive(Debug)]
pub struct SealedValueProbe<'a> {
    ring: &'a KeyRing,
    opens: BTreeMap<u32, bool>,
}

impl<'a> SealedValueProbe<'a> {
    /// Makes a probe of a ring, without values.
    #[must_use]
    pub fn new(ring: &'a KeyRing) -> Self {
        Self { ring, opens: BTreeMap::new() }
    }

    /// Returns the ring that is probed.
    #[must_use]
    pub fn ring(&self) -> &'a KeyRing {
        self.ring
    }

    /// Records the result of opening a value that the key of an id sealed.
    pub fn record(&mut self, key: u32, opened: bool) {
        *self.opens.entry(key).or_default() |= opened;
    }

    /// Returns the first key in use that the ring lacks or has another one of. An id beyond the newest key of the ring
    /// is passed over: `activated_keys` names every key after the first, so only a damaged row could name it alone.
    #[must_use]
    pub fn mismatch(&self) -> Option<KeyRingMismatch> {
        let newest = self.ring.keys().map(RingKey::id).max().unwrap_or_default();
        let failed = self.opens.iter().filter(|(id, opened)| !**opened && (1..=newest).contains(*id));
        failed.map(|(id, _)| *id).next().map(|id| match self.ring.key(id) {
            Err(SealError::KeyMissing { .. }) => KeyRingMismatch::Lacks(id),
            _ => KeyRingMismatch::Other(id),
        })
    }
}

/// Opens the salts of the oldest and of the newest entries. Every entry of a caller has some.
///
/// # Errors
/// See [`StoreError`].
pub async fn probe_entries(database: &Database, probe: &mut SealedValueProbe<'_>) -> Result<(), StoreError> {
    let mut conn = database.reader().await?;
    for sql in [
        "SELECT caller, exchange, salts FROM entries ORDER BY idx LIMIT $1",
        "SELECT caller, exchange, salts FROM entries ORDER BY idx DESC LIMIT $1",
    ] {
        for row in conn.fetch(sql, vec![PROBED_ROWS.into()]).await? {
            probe_salts(&row, probe);
        }
    }
    Ok(())
}

/// Opens the salts of an entry. They are absent once the reply was disposed of; a damaged row counts for nothing.
fn probe_salts(row: &Row, probe: &mut SealedValueProbe<'_>) {
    let (Ok(exchange), Ok(caller), Ok(sealed)) =
        (row.get("exchange"), row.get_str("caller"), row.get_bytes("salts"))
    else {
        return;
    };
    if let Some(key) = OrganisationKey::key_id(sealed) {
        probe.record(key, CommitmentSalts::open(probe.ring, caller, exchange, sealed).is_ok());
    }
}

/// Returns the first activated key that a ring lacks or has another one of.
///
/// # Errors
/// See [`StoreError`].
pub async fn activated_key_mismatch(
    database: &Database,
    ring: &KeyRing,
) -> Result<Option<KeyRingMismatch>, StoreError> {
    let mut conn = database.reader().await?;
    let rows = conn.fetch("SELECT id, fingerprint FROM activated_keys ORDER BY id", vec![]).await?;
    for row in &rows {
        let id: u32 = row.get("id")?;
        match ring.key(id) {
            Err(_) => return Ok(Some(KeyRingMismatch::Lacks(id))),
            Ok(key) if key.fingerprint() != row.get_bytes("fingerprint")? => {
                return Ok(Some(KeyRingMismatch::Other(id)));
            }
            Ok(_) => {}
        }
    }
    Ok(None)
}
