//! Verification of stored records against the leaves of their entries. With the key ring it finds records about
//! children that were changed, added or removed.

mod child_keys;
mod methods;

use std::collections::BTreeMap;

use uuid::Uuid;

use self::child_keys::{ChildKeyCache, ChildKeyState};
use super::report::VerifyReport;
use crate::exchange::LeafRole;
use crate::exchange::change::encode_row;
use crate::oversight::ALERT_METHOD;
use crate::seal::KeyRing;
use crate::store::{RecordSubject, Snapshot, StoreError, Table};
use crate::tlog::{child_leaf, leaf_hash};

/// Entries whose records one query reads.
const ENTRIES_PER_PAGE: i64 = 500;
const SUBMITTED_ROLE: u8 = LeafRole::Submitted as u8;

/// A stored row, encoded as its leaf commits to it.
struct StoredRow {
    ordinal: i64,
    /// The placement of its child; `None` for a row that is about every child of its entry.
    placement: Option<Uuid>,
    bytes: Vec<u8>,
}

/// An entry that has leaves over stored records.
struct StoredEntry {
    exchange: Uuid,
    sender: String,
    method: String,
    reply: Option<Vec<u8>>,
    leaves: BTreeMap<Uuid, [u8; 32]>,
}

/// Verifies that the stored records of every entry hash to its leaves. A leaf is an HMAC under the salt of (sender,
/// child) and exchange, over the rows and over the child's part of the stored reply. Records of a child whose key was
/// destroyed cannot be opened and are skipped.
pub async fn verify_records(
    snapshot: &mut Snapshot,
    tables: &[&'static Table],
    ring: &KeyRing,
    report: &mut VerifyReport,
) -> Result<(), StoreError> {
    let row = snapshot.fetch_one("SELECT MAX(idx) AS last FROM leaves", vec![]).await?;
    let last = row.map(|row| row.get::<Option<i64>>("last")).transpose()?.flatten().unwrap_or(-1);
    let mut keys = ChildKeyCache::new(ring);
    for from in (0..=last).step_by(usize::try_from(ENTRIES_PER_PAGE).unwrap_or(1)) {
        let mut records = load_rows(snapshot, tables, from).await?;
        for (index, stored) in load_entries(snapshot, from).await? {
            let rows = records.remove(&index).unwrap_or_default();
            verify_entry(snapshot, &mut keys, (index, &stored), rows, report).await?;
        }
        for index in records.into_keys() {
            report.add_finding(format!("records of entry {index} have no leaf"));
        }
    }
    Ok(())
}

/// Reads the records about children of a page of entries: by entry, in the order in which they were written.
async fn load_rows(
    snapshot: &mut Snapshot,
    tables: &[&'static Table],
    from: i64,
) -> Result<BTreeMap<i64, Vec<StoredRow>>, StoreError> {
    let mut found: BTreeMap<i64, Vec<StoredRow>> = BTreeMap::new();
    for table in tables.iter().filter(|table| table.subject != RecordSubject::NoChild) {
        for row in snapshot.scan(table, from, from + ENTRIES_PER_PAGE).await? {
            let mut bytes = Vec::new();
            encode_row(table.name, row.values().get(2..).unwrap_or_default(), &mut bytes);
            let placement = match table.subject {
                // Without a readable placement a record belongs to every leaf of its entry, of which none is over it, so
                // it is reported. NULL too, because nothing else would find an added record.
                RecordSubject::PlacementChild => row.get("placement").ok(),
                RecordSubject::PlacementVersion => row.get("id").ok(),
                RecordSubject::EveryChild | RecordSubject::EveryChildIfAny | RecordSubject::NoChild => None,
            };
            let records = found.entry(row.get("idx")?).or_default();
            records.push(StoredRow { ordinal: row.get("ordinal")?, placement, bytes });
        }
    }
    for records in found.values_mut() {
        records.sort_by_key(|record| record.ordinal);
    }
    Ok(found)
}

/// Reads the entries of a page that have leaves over records. A leaf without records is valid: the exchange wrote
/// nothing new.
async fn load_entries(snapshot: &mut Snapshot, from: i64) -> Result<BTreeMap<i64, StoredEntry>, StoreError> {
    let page = || vec![from.into(), (from + ENTRIES_PER_PAGE).into(), i64::from(SUBMITTED_ROLE).into()];
    let sql = "SELECT idx, exchange, caller, method, reply FROM entries WHERE idx >= $1 AND idx < $2 \
               AND EXISTS (SELECT 1 FROM leaves l WHERE l.idx = entries.idx AND l.role = $3)";
    let mut found = BTreeMap::new();
    for row in snapshot.fetch(sql, page()).await? {
        let entry = StoredEntry {
            exchange: row.get("exchange")?,
            sender: row.get("caller")?,
            method: row.get("method")?,
            reply: row.get("reply")?,
            leaves: BTreeMap::new(),
        };
        found.insert(row.get::<i64>("idx")?, entry);
    }
    let sql = "SELECT idx, placement, hash FROM leaves WHERE idx >= $1 AND idx < $2 AND role = $3";
    for row in snapshot.fetch(sql, page()).await? {
        if let Some(entry) = found.get_mut(&row.get("idx")?) {
            entry.leaves.insert(row.get("placement")?, row.get("hash")?);
        }
    }
    Ok(found)
}

/// Verifies the records of one entry against its leaves.
async fn verify_entry(
    snapshot: &mut Snapshot,
    keys: &mut ChildKeyCache<'_>,
    (index, stored): (i64, &StoredEntry),
    records: Vec<StoredRow>,
    report: &mut VerifyReport,
) -> Result<(), StoreError> {
    let method = methods::by_path(&stored.method);
    let name = methods::record_name(method);
    // A system exchange has no reply.
    let reply = stored.reply.as_deref().or((method == Some(ALERT_METHOD)).then_some(&[]));
    let Some(parts) = reply.and_then(|reply| methods::split_reply(method, reply)) else {
        report.add_finding(format!("the stored reply of entry {index} was changed"));
        return Ok(());
    };
    let mut by_placement: BTreeMap<Uuid, (u64, Vec<u8>)> =
        stored.leaves.keys().map(|id| (*id, (0, Vec::new()))).collect();
    let mut intact = true;
    for record in records {
        let children =
            by_placement.iter_mut().filter(|(id, _)| record.placement.is_none_or(|only| only == **id));
        let mut uncounted = 1;
        for (_, (count, rows)) in children {
            *count += std::mem::take(&mut uncounted);
            rows.extend(&record.bytes);
        }
        intact &= uncounted == 0;
    }
    for (placement, (count, rows)) in by_placement {
        match keys.load(snapshot, &stored.sender, placement).await? {
            ChildKeyState::Available(key) => {
                let salt = key.leaf_salt(stored.exchange.as_bytes());
                let part = leaf_hash(parts.for_placement(placement));
                let leaf = child_leaf(&salt, SUBMITTED_ROLE, &leaf_hash(&rows), &part);
                if stored.leaves.get(&placement) == Some(leaf.as_bytes()) {
                    report.records += count;
                } else {
                    intact = false;
                }
            }
            ChildKeyState::Destroyed => {}
            ChildKeyState::Missing => {
                report.add_finding(format!(
                    "{name} of entry {index} cannot be opened: the ring holds no key to it"
                ));
            }
        }
    }
    if !intact {
        report.add_finding(format!("{name} of entry {index} was changed or removed"));
    }
    Ok(())
}
