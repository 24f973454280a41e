//! Kept records against the leaves of their entries: with the key ring, a record about a child that was changed,
//! added or removed is found.

mod keys;
mod methods;

use std::collections::BTreeMap;

use uuid::Uuid;

use self::keys::{Keys, Opened};
use super::verify::Report;
use crate::exchange::LeafRole;
use crate::exchange::change::encode_row;
use crate::oversight::ALERT;
use crate::seal::KeyRing;
use crate::store::{Snapshot, StoreError};
use crate::tlog::{child_leaf, leaf_hash};

/// Entries whose records are read at once.
const PAGE: i64 = 500;
const SUBMITTED: u8 = LeafRole::Submitted as u8;

/// A table whose rows are written with `Change::child`.
struct Kept {
    table: &'static str,
    sql: &'static str,
    /// Its column of the placement; without one, a row belongs to every child of its entry.
    placement: Option<usize>,
}

macro_rules! kept {
    ($table:literal, $placement:expr) => {
        Kept {
            table: $table,
            sql: concat!("SELECT * FROM ", $table, " WHERE idx >= $1 AND idx < $2"),
            placement: $placement,
        }
    };
}

/// An acknowledgement of what is about no child has no leaf.
const ACKNOWLEDGEMENTS: Kept = Kept {
    table: "acknowledgements",
    sql: "SELECT * FROM acknowledgements WHERE idx >= $1 AND idx < $2 \
          AND EXISTS (SELECT 1 FROM leaves l WHERE l.idx = acknowledgements.idx)",
    placement: None,
};

const KEPT: [Kept; 13] = [
    kept!("children", None),
    kept!("placements", Some(3)),
    kept!("placement_parties", Some(3)),
    kept!("open_items", Some(3)),
    kept!("alerts", Some(3)),
    kept!("plans", Some(2)),
    kept!("passport_blocks", None),
    kept!("passport_shares", Some(3)),
    kept!("passport_withholdings", Some(3)),
    kept!("progress", Some(2)),
    kept!("marks", Some(2)),
    kept!("statements", Some(3)),
    ACKNOWLEDGEMENTS,
];

/// A row as its leaf takes it.
struct Record {
    ordinal: i64,
    placement: Option<Uuid>,
    bytes: Vec<u8>,
}

/// An entry that has leaves over records.
struct Entry {
    exchange: Uuid,
    sender: String,
    method: String,
    reply: Option<Vec<u8>>,
    leaves: BTreeMap<Uuid, [u8; 32]>,
}

/// Every kept record must hash to its leaf: HMAC under the salt of (sender, child) and exchange, over the
/// rows and over the child's part of the stored reply. Records of a child whose key was destroyed cannot be
/// opened, and are passed over.
pub async fn verify(snapshot: &mut Snapshot, ring: &KeyRing, report: &mut Report) -> Result<(), StoreError> {
    let row = snapshot.fetch_one("SELECT MAX(idx) FROM leaves", vec![]).await?;
    let last = row.map(|row| row.opt_int(0)).transpose()?.flatten().unwrap_or(-1);
    let mut keys = Keys::of(ring);
    for from in (0..=last).step_by(usize::try_from(PAGE).unwrap_or(1)) {
        let mut records = records(snapshot, from).await?;
        for (index, of) in entries(snapshot, from).await? {
            let own = records.remove(&index).unwrap_or_default();
            entry(snapshot, &mut keys, (index, &of), own, report).await?;
        }
        for index in records.into_keys() {
            report.find(format!("records of entry {index} belong to nothing that was sent"));
        }
    }
    Ok(())
}

/// The records of a page of entries, by entry, each entry's in the order in which they were written.
async fn records(snapshot: &mut Snapshot, from: i64) -> Result<BTreeMap<i64, Vec<Record>>, StoreError> {
    let mut found: BTreeMap<i64, Vec<Record>> = BTreeMap::new();
    for kept in &KEPT {
        for row in snapshot.fetch(kept.sql, vec![from.into(), (from + PAGE).into()]).await? {
            let mut bytes = Vec::new();
            encode_row(kept.table, row.values().get(2..).unwrap_or_default(), &mut bytes);
            // One that is no id any more belongs to no other leaf, and spoils its own.
            let placement = kept.placement.and_then(|column| row.id(column).ok());
            found.entry(row.int(0)?).or_default().push(Record { ordinal: row.int(1)?, placement, bytes });
        }
    }
    for records in found.values_mut() {
        records.sort_by_key(|record| record.ordinal);
    }
    Ok(found)
}

/// The entries of a page that have leaves over records. A leaf without records says that nothing was new.
async fn entries(snapshot: &mut Snapshot, from: i64) -> Result<BTreeMap<i64, Entry>, StoreError> {
    let page = || vec![from.into(), (from + PAGE).into(), i64::from(SUBMITTED).into()];
    let sql = "SELECT idx, exchange, caller, method, reply FROM entries WHERE idx >= $1 AND idx < $2 \
               AND EXISTS (SELECT 1 FROM leaves l WHERE l.idx = entries.idx AND l.role = $3)";
    let mut found = BTreeMap::new();
    for row in snapshot.fetch(sql, page()).await? {
        let entry = Entry {
            exchange: row.id(1)?,
            sender: row.text(2)?.to_owned(),
            method: row.text(3)?.to_owned(),
            reply: row.opt_blob(4)?.map(<[u8]>::to_vec),
            leaves: BTreeMap::new(),
        };
        found.insert(row.int(0)?, entry);
    }
    let sql = "SELECT idx, placement, hash FROM leaves WHERE idx >= $1 AND idx < $2 AND role = $3";
    for row in snapshot.fetch(sql, page()).await? {
        if let Some(entry) = found.get_mut(&row.int(0)?) {
            entry.leaves.insert(row.id(1)?, row.hash(2)?);
        }
    }
    Ok(found)
}

/// The records of one entry against its leaves.
async fn entry(
    snapshot: &mut Snapshot,
    keys: &mut Keys<'_>,
    (index, of): (i64, &Entry),
    records: Vec<Record>,
    report: &mut Report,
) -> Result<(), StoreError> {
    let what = methods::what(&of.method);
    // What the gateway did by itself has no reply.
    let reply = of.reply.as_deref().or((of.method == ALERT).then_some(&[]));
    let Some(parts) = reply.and_then(|reply| methods::parts(&of.method, reply)) else {
        report.find(format!("the stored reply of entry {index} was changed"));
        return Ok(());
    };
    let mut own: BTreeMap<Uuid, (u64, Vec<u8>)> = of.leaves.keys().map(|id| (*id, (0, Vec::new()))).collect();
    let mut whole = true;
    for record in records {
        let about = own.iter_mut().filter(|(id, _)| record.placement.is_none_or(|only| only == **id));
        let mut counts = 1;
        for (_, (count, rows)) in about {
            *count += std::mem::take(&mut counts);
            rows.extend(&record.bytes);
        }
        whole &= counts == 0;
    }
    for (placement, (count, rows)) in own {
        match keys.of_child(snapshot, &of.sender, placement).await? {
            Opened::Key(key) => {
                let salt = key.leaf_salt(of.exchange.as_bytes());
                let part = leaf_hash(parts.of(placement));
                let leaf = child_leaf(&salt, SUBMITTED, &leaf_hash(&rows), &part);
                if of.leaves.get(&placement) == Some(leaf.as_bytes()) {
                    report.records += count;
                } else {
                    whole = false;
                }
            }
            Opened::Destroyed => {}
            Opened::Lost => {
                report.find(format!("{what} of entry {index} cannot be opened: the ring holds no key to it"));
            }
        }
    }
    if !whole {
        report.find(format!("{what} of entry {index} was changed or removed"));
    }
    Ok(())
}
