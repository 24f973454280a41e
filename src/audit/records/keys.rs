//! The keys of the children whose records are verified, each looked up once.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::codes::organisation::OrganisationId;
use crate::placements::{children, rows};
use crate::seal::{ChildKey, KeyRing, WrappedKey};
use crate::store::{Snapshot, StoreError};

/// The key of (sender, child), if there is one.
#[derive(Clone)]
pub enum Opened {
    /// The key.
    Key(ChildKey),
    /// It was made and destroyed.
    Destroyed,
    /// It was never made, or not wrapped by this ring: whoever says so of a record that is kept, is wrong.
    Lost,
}

/// Keys that were looked up, by sender and placement.
pub struct Keys<'a> {
    ring: &'a KeyRing,
    known: BTreeMap<(String, Uuid), Opened>,
}

impl<'a> Keys<'a> {
    /// None as yet.
    pub fn of(ring: &'a KeyRing) -> Self {
        Self { ring, known: BTreeMap::new() }
    }

    /// The sender's key of the placement's child.
    pub async fn of_child(
        &mut self,
        snapshot: &mut Snapshot,
        sender: &str,
        placement: Uuid,
    ) -> Result<Opened, StoreError> {
        let whose = (sender.to_owned(), placement);
        if let Some(known) = self.known.get(&whose) {
            return Ok(known.clone());
        }
        let opened = match child(snapshot, placement).await? {
            Some(child) => self.open(snapshot, sender, child).await?,
            None => Opened::Lost,
        };
        self.known.insert(whose, opened.clone());
        Ok(opened)
    }

    async fn open(&self, snapshot: &mut Snapshot, sender: &str, child: Uuid) -> Result<Opened, StoreError> {
        let Ok(organisation) = OrganisationId::parse(sender) else {
            return Ok(Opened::Lost);
        };
        let sql = "SELECT k.kek_id, k.wrapped FROM heads h \
                   LEFT JOIN child_keys k ON k.idx = h.idx AND k.ordinal = h.ordinal WHERE h.key = $1";
        let key = children::key_of(&organisation, child);
        let Some(row) = snapshot.fetch_one(sql, vec![key.as_bytes().into()]).await? else {
            return Ok(Opened::Lost);
        };
        let Some((kek_id, wrapped)) = row.opt_int(0)?.zip(row.opt_blob(1)?) else {
            return Ok(Opened::Destroyed);
        };
        let opened = u32::try_from(kek_id)
            .ok()
            .and_then(|kek_id| WrappedKey::from_row(kek_id, wrapped).ok())
            .and_then(|wrapped| wrapped.unwrap(self.ring, sender, child.as_bytes()).ok());
        Ok(opened.map_or(Opened::Lost, Opened::Key))
    }
}

/// The child of a placement: all its versions say the same, so any that is kept will do.
async fn child(snapshot: &mut Snapshot, placement: Uuid) -> Result<Option<Uuid>, StoreError> {
    let sql = "SELECT p.child FROM heads h \
               JOIN placements p ON p.idx = h.idx AND p.ordinal = h.ordinal WHERE h.key = $1";
    let key = rows::key(placement);
    let mut row = snapshot.fetch_one(sql, vec![key.as_bytes().into()]).await?;
    if row.is_none() {
        let sql = "SELECT child FROM placements WHERE placement = $1 LIMIT 1";
        row = snapshot.fetch_one(sql, vec![placement.into()]).await?;
    }
    Ok(row.and_then(|row| row.id(0).ok()))
}
