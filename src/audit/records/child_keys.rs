//! Cache of the children's keys that a verification needs. Each key is loaded once.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::codes::organisation::OrganisationId;
use crate::placements::{children, rows};
use crate::seal::{ChildKey, KeyRing, WrappedKey};
use crate::store::{Snapshot, StoreError};

/// The state of the key of (sender, child).
#[derive(Clone)]
pub enum ChildKeyState {
    /// The key was unwrapped.
    Available(ChildKey),
    /// The key was created and destroyed.
    Destroyed,
    /// The key was never created, or this key ring cannot unwrap it. A stored record under such a key is a
    /// finding.
    Missing,
}

/// Keys by sender and placement.
pub struct ChildKeyCache<'a> {
    ring: &'a KeyRing,
    states: BTreeMap<(String, Uuid), ChildKeyState>,
}

impl<'a> ChildKeyCache<'a> {
    /// Creates an empty cache.
    pub fn new(ring: &'a KeyRing) -> Self {
        Self { ring, states: BTreeMap::new() }
    }

    /// Returns the sender's key of the placement's child.
    pub async fn load(
        &mut self,
        snapshot: &mut Snapshot,
        sender: &str,
        placement: Uuid,
    ) -> Result<ChildKeyState, StoreError> {
        let id = (sender.to_owned(), placement);
        if let Some(known) = self.states.get(&id) {
            return Ok(known.clone());
        }
        let opened = match child_of_placement(snapshot, placement).await? {
            Some(child) => self.unwrap_key(snapshot, sender, child).await?,
            None => ChildKeyState::Missing,
        };
        self.states.insert(id, opened.clone());
        Ok(opened)
    }

    async fn unwrap_key(
        &self,
        snapshot: &mut Snapshot,
        sender: &str,
        child: Uuid,
    ) -> Result<ChildKeyState, StoreError> {
        let Ok(organisation) = OrganisationId::parse(sender) else {
            return Ok(ChildKeyState::Missing);
        };
        let sql = "SELECT k.kek_id, k.wrapped FROM current_versions h \
                   LEFT JOIN child_keys k ON k.idx = h.idx AND k.ordinal = h.ordinal WHERE h.key = $1";
        let key = children::child_key_row_key(&organisation, child);
        let Some(row) = snapshot.fetch_one(sql, vec![key.as_bytes().into()]).await? else {
            return Ok(ChildKeyState::Missing);
        };
        let Some((kek_id, wrapped)) =
            row.get::<Option<i64>>("kek_id")?.zip(row.get::<Option<Vec<u8>>>("wrapped")?)
        else {
            return Ok(ChildKeyState::Destroyed);
        };
        let opened = u32::try_from(kek_id)
            .ok()
            .and_then(|kek_id| WrappedKey::from_row(kek_id, &wrapped).ok())
            .and_then(|wrapped| wrapped.unwrap(self.ring, sender, child.as_bytes()).ok());
        Ok(opened.map_or(ChildKeyState::Missing, ChildKeyState::Available))
    }
}

/// Returns the child of a placement. All versions name the same child, so any stored version is sufficient.
async fn child_of_placement(snapshot: &mut Snapshot, placement: Uuid) -> Result<Option<Uuid>, StoreError> {
    let sql = "SELECT p.child FROM current_versions h \
               JOIN placements p ON p.idx = h.idx AND p.ordinal = h.ordinal WHERE h.key = $1";
    let key = rows::key(placement);
    let mut row = snapshot.fetch_one(sql, vec![key.as_bytes().into()]).await?;
    if row.is_none() {
        let sql = "SELECT child FROM placements WHERE id = $1 LIMIT 1";
        row = snapshot.fetch_one(sql, vec![placement.into()]).await?;
    }
    Ok(row.and_then(|row| row.get("child").ok()))
}
