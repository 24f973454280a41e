//! Kept records against the leaves of their entries: with the key ring, a changed mark is found, and a changed
//! confirmation or notice of absence.

use std::collections::BTreeMap;

use prost::Message;
use uuid::Uuid;

use super::verify::Report;
use crate::exchange::change::encode_row;
use crate::proto::v1::{
    ConfirmMarksResponse, NotifyExpectedAbsenceResponse, SubmitAttendanceResponse, VoidReturnResponse,
    returns_service,
};
use crate::seal::{ChildKey, KeyRing, WrappedKey};
use crate::store::{Snapshot, StoreError, Value};
use crate::tlog::{child_leaf, leaf_hash};

/// Entries whose records are read at once.
const PAGE: i64 = 500;
const SUBMIT: &str = returns_service::SUBMIT_ATTENDANCE.path();
const VOID: &str = returns_service::VOID_RETURN.path();
const CONFIRM: &str = returns_service::CONFIRM_MARKS.path();
const NOTIFY: &str = returns_service::NOTIFY_EXPECTED_ABSENCE.path();
/// `LeafRole::Submitted`.
const SUBMITTED: u8 = 1;

/// A table of records about children, with the places of its columns.
struct Kept {
    table: &'static str,
    sql: &'static str,
    placement: usize,
    child: usize,
    sender: usize,
}

const KEPT: [Kept; 2] = [
    Kept {
        table: "marks",
        sql: "SELECT * FROM marks WHERE idx >= $1 AND idx < $2 ORDER BY idx, ordinal",
        placement: 2,
        child: 15,
        sender: 16,
    },
    Kept {
        table: "statements",
        sql: "SELECT * FROM statements WHERE idx >= $1 AND idx < $2 ORDER BY idx, ordinal",
        placement: 3,
        child: 13,
        sender: 6,
    },
];

/// Records of one child in one entry.
struct Submitted {
    sender: String,
    child: Uuid,
    rows: Vec<u8>,
    count: u64,
}

/// Every kept record must hash to its leaf: HMAC under the salt of (sender, child) and exchange, over the
/// rows and over the child's part of the stored reply. Records of a child whose key was destroyed cannot be
/// opened, and are passed over.
pub async fn marks(snapshot: &mut Snapshot, ring: &KeyRing, report: &mut Report) -> Result<(), StoreError> {
    let row = snapshot.fetch_one("SELECT MAX(idx) FROM leaves", vec![]).await?;
    let last = row.map(|row| row.opt_int(0)).transpose()?.flatten().unwrap_or(-1);
    let mut keys = BTreeMap::new();
    for from in (0..=last).step_by(usize::try_from(PAGE).unwrap_or(1)) {
        let mut entries: BTreeMap<i64, BTreeMap<Uuid, Submitted>> = BTreeMap::new();
        for kept in &KEPT {
            for row in snapshot.fetch(kept.sql, vec![from.into(), (from + PAGE).into()]).await? {
                let (child, sender) = (row.id(kept.child)?, row.text(kept.sender)?.to_owned());
                let of = entries.entry(row.int(0)?).or_default().entry(row.id(kept.placement)?);
                let of = of.or_insert(Submitted { sender, child, rows: Vec::new(), count: 0 });
                encode_row(kept.table, row.values().get(2..).unwrap_or_default(), &mut of.rows);
                of.count += 1;
            }
        }
        removed(snapshot, from, &mut entries).await?;
        for (index, children) in entries {
            entry(snapshot, ring, &mut keys, index, &children, report).await?;
        }
    }
    Ok(())
}

/// Children of whom an entry has a leaf and no record is kept: either nothing was new, and their leaf says so,
/// or their records were removed, and it does not.
async fn removed(
    snapshot: &mut Snapshot,
    from: i64,
    entries: &mut BTreeMap<i64, BTreeMap<Uuid, Submitted>>,
) -> Result<(), StoreError> {
    let sql = "SELECT l.idx, l.placement, e.caller, p.child FROM leaves l JOIN entries e ON e.idx = l.idx \
               JOIN placements p ON p.placement = l.placement AND p.version = 1 \
               WHERE l.idx >= $1 AND l.idx < $2 AND l.role = $3 AND e.method IN ($4, $5, $6, $7)";
    let mut arguments = vec![from.into(), (from + PAGE).into(), i64::from(SUBMITTED).into()];
    arguments.extend([SUBMIT, VOID, CONFIRM, NOTIFY].map(Value::from));
    for row in snapshot.fetch(sql, arguments).await? {
        let of = entries.entry(row.int(0)?).or_default().entry(row.id(1)?);
        let (sender, child) = (row.text(2)?.to_owned(), row.id(3)?);
        of.or_insert(Submitted { sender, child, rows: Vec::new(), count: 0 });
    }
    Ok(())
}

type Keys = BTreeMap<(String, Uuid), Option<ChildKey>>;

async fn entry(
    snapshot: &mut Snapshot,
    ring: &KeyRing,
    keys: &mut Keys,
    index: i64,
    children: &BTreeMap<Uuid, Submitted>,
    report: &mut Report,
) -> Result<(), StoreError> {
    let row = snapshot
        .fetch_one("SELECT exchange, reply, method FROM entries WHERE idx = $1", vec![index.into()])
        .await?;
    let Some(row) = row else {
        report.find(format!("marks of entry {index} have no entry"));
        return Ok(());
    };
    let (exchange, Some(reply)) = (row.id(0)?, row.opt_blob(1)?) else {
        return Ok(());
    };
    let sql = "SELECT placement, hash FROM leaves WHERE idx = $1 AND role = $2";
    let mut leaves = BTreeMap::new();
    for row in snapshot.fetch(sql, vec![index.into(), i64::from(SUBMITTED).into()]).await? {
        leaves.insert(row.id(0)?, row.hash(1)?);
    }
    for (placement, of) in children {
        let Some(key) = key(snapshot, ring, keys, of).await? else {
            continue;
        };
        let Some(part) = part(row.text(2)?, reply, *placement) else {
            report.find(format!("the stored reply of entry {index} was changed"));
            return Ok(());
        };
        let salt = key.leaf_salt(exchange.as_bytes());
        let leaf = child_leaf(&salt, SUBMITTED, &leaf_hash(&of.rows), &leaf_hash(&part));
        if leaves.get(placement) == Some(leaf.as_bytes()) {
            report.records += of.count;
        } else {
            let what = match row.text(2)? {
                CONFIRM => "a confirmation",
                NOTIFY => "a notice of absence",
                _ => "a mark",
            };
            report.find(format!("{what} of entry {index} was changed or removed"));
        }
    }
    Ok(())
}

/// The child's part of a stored reply.
fn part(method: &str, reply: &[u8], placement: Uuid) -> Option<Vec<u8>> {
    let id = placement.hyphenated().to_string();
    let encoded = match method {
        NOTIFY => NotifyExpectedAbsenceResponse::decode(reply).ok()?.encode_to_vec(),
        CONFIRM => {
            let results = ConfirmMarksResponse::decode(reply).ok()?.results;
            let own = results.iter().filter(|result| result.placement_id == id);
            own.flat_map(Message::encode_to_vec).collect()
        }
        _ => {
            let results = match method {
                VOID => VoidReturnResponse::decode(reply).ok()?.results,
                _ => SubmitAttendanceResponse::decode(reply).ok()?.results,
            };
            let own = results.iter().filter(|result| result.placement_id == id);
            own.flat_map(Message::encode_to_vec).collect()
        }
    };
    Some(encoded)
}

async fn key(
    snapshot: &mut Snapshot,
    ring: &KeyRing,
    keys: &mut Keys,
    of: &Submitted,
) -> Result<Option<ChildKey>, StoreError> {
    let whose = (of.sender.clone(), of.child);
    if let Some(key) = keys.get(&whose) {
        return Ok(key.clone());
    }
    let sql = "SELECT kek_id, wrapped FROM child_keys WHERE sender = $1 AND child = $2";
    let row = snapshot.fetch_one(sql, vec![of.sender.as_str().into(), of.child.into()]).await?;
    let key = match &row {
        None => None,
        Some(row) => u32::try_from(row.int(0)?)
            .ok()
            .and_then(|kek_id| WrappedKey::from_row(kek_id, row.blob(1).ok()?).ok())
            .and_then(|wrapped| wrapped.unwrap(ring, &of.sender, of.child.as_bytes()).ok()),
    };
    keys.insert(whose, key.clone());
    Ok(key)
}
