//! The keys of (sender, child) of a copy, opened by the key ring as the rows are verified: keys and placements are
//! written before what they are needed for.

use std::collections::{BTreeMap, HashMap, HashSet};

use uuid::Uuid;

use super::page::TableRow;
use crate::audit::disposal::{DisposedPlacement, DisposedRow};
use crate::audit::report::VerifyReport;
use crate::codes::organisation::OrganisationId;
use crate::placements::Placement;
use crate::placements::children::{self, ChildKeyRow};
use crate::seal::{ChildKey, KeyRing, SealError, WrappedKey};
use crate::store::{Record as _, Row, Snapshot, StoreError};

/// Wrapped keys by which a key ring of another gateway is told.
const PROBED_KEYS: i64 = 100;

/// Every row that was disposed of, and every child whose key was. They are read first, because they stand behind the
/// entries that they are about.
#[derive(Default)]
pub(super) struct Disposals {
    rows: BTreeMap<(i64, i64), DisposedRow>,
    destroyed_keys: HashSet<Vec<u8>>,
    children: HashMap<Uuid, Uuid>,
}

impl Disposals {
    /// Reads all disposals.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn load(snapshot: &mut Snapshot) -> Result<Self, StoreError> {
        let mut disposals = Self::default();
        let sql = crate::select!(DisposedRow, "ORDER BY d.idx, d.ordinal");
        for row in snapshot.fetch(sql, vec![]).await? {
            let row = DisposedRow::read(&row)?;
            if row.table_number == u32::from(ChildKeyRow::TABLE.number) {
                disposals
                    .destroyed_keys
                    .extend(row.row_key.clone().map(crate::store::version_key::VersionKey::into_bytes));
            }
            disposals.rows.insert((row.entry_idx.get(), row.entry_ordinal.get()), row);
        }
        let sql = crate::select!(DisposedPlacement, "ORDER BY d.idx, d.ordinal");
        for row in snapshot.fetch(sql, vec![]).await? {
            let DisposedPlacement { placement, child } = DisposedPlacement::read(&row)?;
            disposals.children.insert(placement, child);
        }
        Ok(disposals)
    }

    /// Returns the disposed rows of an entry, each with its ordinal, in their order.
    pub fn rows_of(&self, index: i64) -> impl Iterator<Item = (i64, &DisposedRow)> {
        let of_entry = self.rows.range((index, i64::MIN)..=(index, i64::MAX));
        of_entry.map(|((_, ordinal), row)| (*ordinal, row))
    }

    /// Returns the number of disposed rows, and that of placements whose leaves cannot be opened any more.
    pub fn counts(&self) -> (usize, usize) {
        (self.rows.len(), self.children.len())
    }

    /// Returns whether the sender's key of the placement's child was disposed of.
    pub fn is_destroyed(&self, sender: &str, placement: Uuid) -> bool {
        let Some(child) = self.children.get(&placement) else { return false };
        OrganisationId::parse(sender).is_ok_and(|sender| {
            self.destroyed_keys.contains(children::child_key_row_key(&sender, *child).as_bytes())
        })
    }
}

/// Returns whether a ring opens any of the first wrapped keys, or there are none: otherwise it is another gateway's.
///
/// # Errors
/// See [`StoreError`].
pub(super) async fn opens_wrapped_keys(snapshot: &mut Snapshot, ring: &KeyRing) -> Result<bool, StoreError> {
    let sql = "SELECT sender, child, kek_id, wrapped FROM child_keys ORDER BY idx, ordinal LIMIT $1";
    let rows = snapshot.fetch(sql, vec![PROBED_KEYS.into()]).await?;
    Ok(rows.is_empty() || rows.iter().any(|row| unwrap(ring, row).is_ok()))
}

/// Opens the wrapped key of a row.
fn unwrap(ring: &KeyRing, row: &Row) -> Result<(String, Uuid, ChildKey), String> {
    let damaged = |_: StoreError| "a wrapped key was changed: its row cannot be read".to_owned();
    let (sender, child): (String, Uuid) =
        (row.get("sender").map_err(damaged)?, row.get("child").map_err(damaged)?);
    let (kek_id, bytes): (u32, Vec<u8>) =
        (row.get("kek_id").map_err(damaged)?, row.get("wrapped").map_err(damaged)?);
    let opened = WrappedKey::from_row(kek_id, &bytes)
        .and_then(|wrapped| wrapped.unwrap(ring, &sender, child.as_bytes()));
    let key = opened.map_err(|error| match error {
        SealError::KeyMissing { id } => {
            format!("a wrapped key cannot be opened: key {id} is not in the ring")
        }
        _ => "a wrapped key was changed: it does not open".to_owned(),
    })?;
    Ok((sender, child, key))
}

/// The state of the key of (sender, child).
pub(super) enum ChildKeyState<'a> {
    /// The key was opened.
    Available(&'a ChildKey),
    /// The key was disposed of.
    Destroyed,
    /// There is no such key, it cannot be opened, or the child of the placement is not known.
    Missing,
}

/// The opened keys, by sender and child, and the child of each placement.
pub(super) struct ChildKeys<'a> {
    ring: &'a KeyRing,
    keys: HashMap<(String, Uuid), ChildKey>,
    children: HashMap<Uuid, Uuid>,
}

impl<'a> ChildKeys<'a> {
    /// Makes an empty set, to be opened by this ring.
    pub fn new(ring: &'a KeyRing) -> Self {
        Self { ring, keys: HashMap::new(), children: HashMap::new() }
    }

    /// Opens the keys that an entry wrote, compares them with their check values, and notes the children of its
    /// placements.
    pub fn read(&mut self, index: u64, rows: &[TableRow], report: &mut VerifyReport) {
        for TableRow { table, row, .. } in rows {
            if table.number == Placement::TABLE.number {
                if let (Ok(id), Ok(child)) = (row.get("id"), row.get("child")) {
                    self.children.entry(id).or_insert(child);
                }
            } else if table.number == ChildKeyRow::TABLE.number
                && let Err(what) = self.read_key(row)
            {
                report.add_finding(table.name, Some(index), what);
            }
        }
    }

    fn read_key(&mut self, row: &Row) -> Result<(), String> {
        let (sender, child, key) = unwrap(self.ring, row)?;
        if row.get::<[u8; 32]>("check_value").ok() != Some(key.check_value()) {
            return Err(
                "a wrapped key was replaced: it opens to another key than the one that was made".to_owned()
            );
        }
        self.keys.insert((sender, child), key);
        Ok(())
    }

    /// Returns the sender's key of the placement's child.
    pub fn key(&self, disposals: &Disposals, sender: &str, placement: Uuid) -> ChildKeyState<'_> {
        let child = self.children.get(&placement).or_else(|| disposals.children.get(&placement));
        let key = child.and_then(|child| self.keys.get(&(sender.to_owned(), *child)));
        match key {
            Some(key) => ChildKeyState::Available(key),
            None if disposals.is_destroyed(sender, placement) => ChildKeyState::Destroyed,
            None => ChildKeyState::Missing,
        }
    }
}
