//! Verification of a whole log on a copy of its database: every entry against the tree, every checkpoint against its
//! signature and root, every stored record against its entry. It trusts only the log's public key and, if given, the
//! anchor and the key ring.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use prost::Message;

use super::entry_pages::{EntryPage, EntryPages, sql_int};
use super::records;
use super::report::{Discrepancy, VerifyReport};
use crate::clock::Instant;
use crate::proto::v1::{AuditEntry, LogReplaced};
use crate::seal::KeyRing;
use crate::store::{Anchor, Database, DatabaseLocation, Row, Snapshot, StoreError, Table};
use crate::tlog::{
    Checkpoint, CompactRange, Hash, LogKeyHistory, LogKeyHistoryError, TILE_WIDTH, leaf_hash, tree_root,
};

/// The database to verify, and the keys and files to verify it with.
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// A copy of the database.
    pub database: DatabaseLocation,
    /// The verifier key of the log, with those of the logs that it replaced.
    pub log_key: LogKeyHistory,
    /// The anchor file or a copy of it. With it a truncated log is found.
    pub anchor: Option<PathBuf>,
    /// The key ring. With it changed records are found.
    pub key_ring: Option<PathBuf>,
}

/// Verifies a copy of a database. `tables` are all tables of the gateway.
///
/// # Errors
/// [`StoreError`] when the copy cannot be read at all. Faults of the log are in the report.
pub async fn verify_database(
    options: &VerifyOptions,
    tables: &[&'static Table],
) -> Result<VerifyReport, StoreError> {
    let database = Database::open(&options.database).await?;
    let mut snapshot = Snapshot::new(&database);
    let mut report = VerifyReport::default();
    let notes = load_notes(&mut snapshot).await?;
    let pages = EntryPages::spawn(database.writer().await?);
    let range = verify_tree(notes, pages, &options.log_key, &mut report).await?;
    if let Some(anchor) = &options.anchor {
        match Anchor::read_newest_note(anchor) {
            Ok(note) => verify_anchor(&mut snapshot, &note, options, range.size(), &mut report).await?,
            Err(_) => report.add_finding("the anchor file cannot be read"),
        }
    }
    if let Some(path) = &options.key_ring {
        match KeyRing::load(path) {
            Ok(ring) => Box::pin(records::verify_records(&mut snapshot, tables, &ring, &mut report)).await?,
            Err(error) => report.add_finding(format!("the key ring cannot be used: {error}")),
        }
    }
    drop(snapshot);
    database.close().await;
    Ok(report)
}

/// Rebuilds the tree from the entries and compares the stored data with it. Verifying signatures and reading pages each
/// take as long as the rest, so both run concurrently with it.
async fn verify_tree(
    notes: Vec<(u64, String)>,
    pages: EntryPages,
    keys: &LogKeyHistory,
    report: &mut VerifyReport,
) -> Result<CompactRange, StoreError> {
    report.checkpoints = notes.len() as u64;
    let sizes: BTreeSet<u64> = notes.iter().map(|(size, _)| *size).collect();
    let signed = tokio::task::spawn_blocking({
        let keys = keys.clone();
        move || open_checkpoints(&keys, &notes)
    });
    let RebuiltTree { range, roots, is_complete } = rebuild_tree(pages, keys, &sizes, report).await?;
    let opened = signed.await;
    let (checkpoints, changed) =
        opened.map_err(|_| StoreError::Inconsistent("the checkpoints could not be verified"))?;
    report.findings.splice(0..0, changed);
    let differs = |(size, root): &&(u64, Hash)| checkpoints.get(size).is_some_and(|it| it.root() != root);
    // The first tree that differs gives the closest bound on the changed entry.
    if let Some((size, _)) = roots.iter().find(differs) {
        report.add_finding(format!(
            "an entry up to {} was changed: the tree does not have the root that was signed at size {size}",
            size - 1
        ));
    }
    if !is_complete {
        return Ok(range);
    }
    if let Some(begins) = keys.replacement_indexes().find(|begins| *begins >= range.size()) {
        report.add_finding(format!("the log ends at {} entries, but a log began at {begins}", range.size()));
    }
    if let Some((size, _)) = checkpoints.last_key_value().filter(|(size, _)| **size > range.size()) {
        report.add_finding(format!("the log ends at {} entries, but {size} were signed", range.size()));
    }
    Ok(range)
}

/// The tree that was rebuilt from the entries up to the first missing one.
struct RebuiltTree {
    range: CompactRange,
    /// Roots of the tree at the sizes of the checkpoints.
    roots: Vec<(u64, Hash)>,
    /// Whether no entry is missing.
    is_complete: bool,
}

/// Rebuilds the tree from the entries, and verifies each entry and each tile.
async fn rebuild_tree(
    mut pages: EntryPages,
    keys: &LogKeyHistory,
    sizes: &BTreeSet<u64>,
    report: &mut VerifyReport,
) -> Result<RebuiltTree, StoreError> {
    let (mut range, mut roots) = (CompactRange::default(), Vec::with_capacity(sizes.len()));
    let mut last = i64::MIN;
    while let Some(page) = pages.next().await? {
        for row in &page.entries {
            if row.get::<i64>("idx")? != sql_int(range.size()) {
                report.add_finding(format!("entry {} is missing", range.size()));
                return Ok(RebuiltTree { range, roots, is_complete: false });
            }
            verify_entry(row, &mut last, page.leaves.get(&row.get("idx")?), keys, report)?;
            range.append(leaf_hash(row.get_bytes("bytes")?));
            verify_tiles(&page, &mut range, report);
            if sizes.contains(&range.size()) {
                roots.push((range.size(), range.root()));
            }
        }
        for index in &page.missing_from_callers {
            report.add_finding(format!("entry {index} was removed from the list of its caller's exchanges"));
        }
        report.entries = range.size();
    }
    Ok(RebuiltTree { range, roots, is_complete: true })
}

/// Loads the notes of all checkpoints, each with its size.
async fn load_notes(snapshot: &mut Snapshot) -> Result<Vec<(u64, String)>, StoreError> {
    let rows = snapshot.fetch("SELECT size, note FROM checkpoints ORDER BY size", vec![]).await?;
    rows.iter().map(|row| Ok((row.get::<i64>("size")?.unsigned_abs(), row.get("note")?))).collect()
}

/// Verifies the signatures of checkpoints. Returns the valid ones by size, and findings for the others: a single one if
/// none is valid, because then the key is probably another log's.
fn open_checkpoints(
    keys: &LogKeyHistory,
    notes: &[(u64, String)],
) -> (BTreeMap<u64, Checkpoint>, Vec<Discrepancy>) {
    let (mut checkpoints, mut changed) = (BTreeMap::new(), Vec::new());
    for (size, note) in notes {
        match keys.open(note).ok().filter(|found| found.size() == *size) {
            Some(checkpoint) => {
                checkpoints.insert(*size, checkpoint);
            }
            None => changed
                .push(Discrepancy { description: format!("the checkpoint at size {size} was changed") }),
        }
    }
    if checkpoints.is_empty() && !changed.is_empty() {
        let description =
            "no checkpoint is signed by the given key: check that it is the whole log key of this log"
                .to_owned();
        changed = vec![Discrepancy { description }];
    }
    (checkpoints, changed)
}

/// Verifies an entry against the other columns of its row and against the children's leaves.
fn verify_entry(
    row: &Row,
    last: &mut i64,
    children: Option<&Vec<Hash>>,
    keys: &LogKeyHistory,
    report: &mut VerifyReport,
) -> Result<(), StoreError> {
    let index: i64 = row.get("idx")?;
    let Ok(entry) = AuditEntry::decode(row.get_bytes("bytes")?) else {
        report.add_finding(format!("entry {index} was changed: it cannot be decoded"));
        return Ok(());
    };
    if let Err(what) =
        verify_replacement(keys, index.unsigned_abs(), entry.log_replaced.as_ref(), &mut report.lost)
    {
        report.add_finding(format!("entry {index} was changed: {what}"));
    }
    let same = entry.time_us == row.get::<i64>("time")?
        && entry.exchange_id[..] == *row.get_bytes("exchange")?
        && entry.organisation == row.get_str("caller")?
        && entry.system == row.get_str("system")?
        && entry.method == row.get_str("method")?
        && i64::from(entry.outcome) == row.get::<i64>("outcome")?;
    if !same {
        report.add_finding(format!("entry {index} was changed: the columns of its row differ from it"));
    }
    if entry.time_us < *last {
        let when = Instant::from_micros(entry.time_us).map(|at| at.to_string()).unwrap_or_default();
        report.add_finding(format!(
            "entry {index} was changed: its time, {when}, is before that of the entry before"
        ));
    }
    *last = entry.time_us;
    let leaves = children.map(Vec::as_slice).unwrap_or_default();
    let root = (!leaves.is_empty()).then(|| tree_root(leaves));
    let root = root.map(|root| root.as_bytes().to_vec()).unwrap_or_default();
    if entry.child_count as usize != leaves.len() || entry.child_root[..] != root[..] {
        report.add_finding(format!("the children's leaves of entry {index} were changed"));
    }
    Ok(())
}

/// Verifies that the first entry of a log that replaced another records the replacement, and that no other entry does.
fn verify_replacement(
    keys: &LogKeyHistory,
    index: u64,
    recorded: Option<&LogReplaced>,
    lost: &mut Vec<String>,
) -> Result<(), &'static str> {
    match (keys.replacement_indexes().any(|begins| begins == index), recorded) {
        (false, None) => Ok(()),
        (true, Some(recorded)) => {
            let end = keys.last_lost_checkpoint(index, &recorded.last_checkpoint, &recorded.kept_checkpoint);
            lost.push(keys.describe_loss(index, &end.map_err(LogKeyHistoryError::message)?));
            Ok(())
        }
        (true, None) => Err("it does not record which log was replaced"),
        (false, Some(_)) => Err("it records the replacement of a log, but no key begins there"),
    }
}

/// Verifies that the tiles that became full are stored unchanged.
fn verify_tiles(page: &EntryPage, range: &mut CompactRange, report: &mut VerifyReport) {
    for tile in range.take_full_tiles() {
        let hashes: Vec<u8> = tile.hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
        if page.tiles.get(&tile.id) != Some(&hashes) {
            let first = tile.id.number * TILE_WIDTH;
            report.add_finding(format!("a tile of level {} from {first} on was changed", tile.id.level));
        }
    }
}

/// Verifies that the log holds the checkpoint of the anchor.
async fn verify_anchor(
    snapshot: &mut Snapshot,
    note: &str,
    options: &VerifyOptions,
    size: u64,
    report: &mut VerifyReport,
) -> Result<(), StoreError> {
    let anchored = match options.log_key.open(note) {
        Ok(anchored) => anchored,
        Err(error) => {
            report.add_finding(format!("the anchor is not signed by this log's key: {error}"));
            return Ok(());
        }
    };
    if anchored.size() > size {
        report.add_finding(format!(
            "the log ends at {size} entries, but the checkpoint in the anchor has size {}: the tail of the log was cut",
            anchored.size()
        ));
        return Ok(());
    }
    let sql = "SELECT note FROM checkpoints WHERE size = $1";
    let stored = snapshot.fetch_one(sql, vec![sql_int(anchored.size()).into()]).await?;
    let stored = stored.map(|row| row.get::<String>("note")).transpose()?;
    if stored.and_then(|note| options.log_key.open(&note).ok()).as_ref() != Some(&anchored) {
        report.add_finding(format!("the log at size {} is not the one in the anchor", anchored.size()));
    }
    Ok(())
}
