//! The tree of a copy: entries, checkpoints, tiles and anchor.

use std::collections::{BTreeMap, BTreeSet};

use super::checkpoints::StoredCheckpoint;
use super::entries::EntryVerifier;
use super::options::VerifyOptions;
use super::page::{EntryPage, EntryPages, sql_int};
use crate::audit::report::{Discrepancy, VerifyReport};
use crate::store::{Anchor, Snapshot, StoreError};
use crate::tlog::{Checkpoint, CompactRange, Hash, LogKeyHistory, TILE_WIDTH, leaf_hash};

/// Rows of tiles that one query reads.
const TILES_PER_PAGE: i64 = 1_000;

/// Rebuilds the tree from the entries and compares the stored data with it. Verifying signatures and reading pages each
/// take as long as the rest, so both run concurrently with it.
pub(super) async fn verify(
    notes: Vec<StoredCheckpoint>,
    pages: EntryPages,
    keys: &LogKeyHistory,
    entries: &mut EntryVerifier<'_>,
    report: &mut VerifyReport,
) -> Result<CompactRange, StoreError> {
    report.checkpoints = notes.len() as u64;
    if notes.first().is_some_and(|first| first.size != 0) {
        report.add_finding("checkpoints", None, "the checkpoint of the empty log was removed");
    }
    let sizes: BTreeSet<u64> = notes.iter().filter_map(|note| u64::try_from(note.size).ok()).collect();
    let signed = tokio::task::spawn_blocking({
        let keys = keys.clone();
        move || open_checkpoints(&keys, &notes)
    });
    let RebuiltTree { range, roots, is_complete } = rebuild_tree(pages, entries, &sizes, report).await?;
    let opened = signed.await;
    let (checkpoints, changed) =
        opened.map_err(|_| StoreError::Inconsistent("the checkpoints could not be verified"))?;
    report.prepend_findings(changed);
    if let Some((proved, size)) = first_difference(&roots, &checkpoints) {
        let last = size.saturating_sub(1);
        let what = format!(
            "an entry from {proved} to {last} was changed: the tree does not have the root that was signed at size \
             {size}"
        );
        report.add_finding("entries", (proved == last).then_some(last), what);
    }
    if !is_complete {
        return Ok(range);
    }
    if let Some(begins) = keys.replacement_indexes().find(|begins| *begins >= range.size()) {
        let what = format!("the log ends at {} entries, but a log began at {begins}", range.size());
        report.add_finding("entries", None, what);
    }
    match checkpoints.last_key_value() {
        Some((size, _)) if *size > range.size() => {
            let what = format!("the log ends at {} entries, but {size} were signed", range.size());
            report.add_finding("entries", None, what);
        }
        Some((size, _)) if *size < range.size() => {
            let what = format!("no valid checkpoint covers the entries from {size} on: they are not signed");
            report.add_finding("checkpoints", Some(*size), what);
        }
        _ => {}
    }
    Ok(range)
}

/// Returns the size of the last tree before the first that differs from its checkpoint, and the size of that: they bound
/// the changed entry.
fn first_difference(roots: &[(u64, Hash)], checkpoints: &BTreeMap<u64, Checkpoint>) -> Option<(u64, u64)> {
    let mut proved = 0;
    for (size, root) in roots {
        match checkpoints.get(size) {
            Some(signed) if signed.root() != root => return Some((proved, *size)),
            Some(_) => proved = *size,
            None => {}
        }
    }
    None
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
    entries: &mut EntryVerifier<'_>,
    sizes: &BTreeSet<u64>,
    report: &mut VerifyReport,
) -> Result<RebuiltTree, StoreError> {
    let mut range = CompactRange::default();
    let mut roots = Vec::with_capacity(sizes.len());
    if sizes.contains(&0) {
        roots.push((0, range.root()));
    }
    while let Some(page) = pages.next().await? {
        for row in &page.entries {
            if row.get::<i64>("idx")? != sql_int(range.size()) {
                report.add_finding("entries", Some(range.size()), "the entry is missing");
                report.unchecked.push(format!("the entries from {} on, and what they wrote", range.size()));
                return Ok(RebuiltTree { range, roots, is_complete: false });
            }
            entries.verify(range.size(), row, &page, report)?;
            range.append(leaf_hash(row.get_bytes("bytes")?));
            verify_full_tiles(&page, &mut range, report);
            if sizes.contains(&range.size()) {
                roots.push((range.size(), range.root()));
            }
        }
        report.entries = range.size();
    }
    Ok(RebuiltTree { range, roots, is_complete: true })
}

/// Verifies the signatures of checkpoints. Returns the valid ones by size, and findings for the others: a single one if
/// none is valid, because then the key is probably another log's.
fn open_checkpoints(
    keys: &LogKeyHistory,
    notes: &[StoredCheckpoint],
) -> (BTreeMap<u64, Checkpoint>, Vec<Discrepancy>) {
    let (mut checkpoints, mut changed) = (BTreeMap::new(), Vec::new());
    let finding =
        |description: String| Discrepancy { table: "checkpoints".to_owned(), entry: None, description };
    for StoredCheckpoint { size, note, .. } in notes {
        let signed = Some(note).filter(|note| has_one_signature(note)).and_then(|note| keys.open(note).ok());
        match signed.filter(|found| i64::try_from(found.size()) == Ok(*size)) {
            Some(checkpoint) => {
                checkpoints.insert(checkpoint.size(), checkpoint);
            }
            None => changed.push(finding(format!("the checkpoint at size {size} was changed"))),
        }
    }
    if checkpoints.is_empty() {
        let what = "no checkpoint is signed by the given key: check that it is the whole log key of this log";
        changed = vec![finding(what.to_owned())];
    }
    (checkpoints, changed)
}

/// Returns whether a note has one signature line, as the log makes it. A further one would not be verified.
fn has_one_signature(note: &str) -> bool {
    note.split_once("\n\n").is_some_and(|(_, signatures)| signatures.lines().count() == 1)
}

/// Verifies that the tiles that became full are stored unchanged.
fn verify_full_tiles(page: &EntryPage, range: &mut CompactRange, report: &mut VerifyReport) {
    for tile in range.take_full_tiles() {
        let hashes: Vec<u8> = tile.hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
        if page.tiles.get(&tile.id) != Some(&hashes) {
            let first = tile.id.number * TILE_WIDTH;
            let what = format!("the tile of level {} from {first} on was changed", tile.id.level);
            report.add_finding("tiles", None, what);
        }
    }
}

/// Verifies the growing tiles, and that there are no others.
pub(super) async fn verify_tile_rows(
    snapshot: &mut Snapshot,
    range: &CompactRange,
    report: &mut VerifyReport,
) -> Result<(), StoreError> {
    let size = range.size();
    let mut growing: BTreeMap<(i64, i64), Vec<u8>> = BTreeMap::new();
    for tile in range.partial_tiles() {
        let hashes = tile.hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
        growing.insert((i64::from(tile.id.level), sql_int(tile.id.number)), hashes);
    }
    let full_tiles = |level: i64| {
        let shift = u32::try_from(level).ok().and_then(|level| level.checked_add(1)?.checked_mul(8));
        shift.and_then(|shift| size.checked_shr(shift)).map_or(0, sql_int)
    };
    let sql = "SELECT level, number, hashes FROM tiles WHERE level > $1 OR (level = $1 AND number > $2) \
               ORDER BY level, number LIMIT $3";
    let (mut level, mut number) = (i64::MIN, i64::MIN);
    loop {
        let rows = snapshot.fetch(sql, vec![level.into(), number.into(), TILES_PER_PAGE.into()]).await?;
        let Some(last) = rows.last() else { break };
        (level, number) = (last.get("level")?, last.get("number")?);
        for row in &rows {
            let (level, number): (i64, i64) = (row.get("level")?, row.get("number")?);
            let is_known = match growing.remove(&(level, number)) {
                Some(hashes) => hashes == row.get_bytes("hashes")?,
                None => (0..=7).contains(&level) && (0..full_tiles(level)).contains(&number),
            };
            if !is_known {
                let what = format!("tile {number} of level {level} was changed or added");
                report.add_finding("tiles", None, what);
            }
        }
    }
    for (level, number) in growing.keys() {
        report.add_finding("tiles", None, format!("tile {number} of level {level} was removed"));
    }
    Ok(())
}

/// Verifies that the log holds the checkpoint of the anchor.
pub(super) async fn verify_anchor(
    snapshot: &mut Snapshot,
    options: &VerifyOptions,
    size: u64,
    report: &mut VerifyReport,
) -> Result<(), StoreError> {
    let Some(anchor) = &options.anchor else { return Ok(()) };
    let Ok(note) = Anchor::read_newest_note(anchor) else {
        report.add_finding("anchor", None, "the file cannot be read");
        return Ok(());
    };
    let anchored = match options.log_key.open(&note) {
        Ok(anchored) => anchored,
        Err(error) => {
            report.add_finding("anchor", None, format!("it is not signed by this log's key: {error}"));
            return Ok(());
        }
    };
    if anchored.size() > size {
        let what = format!(
            "the log ends at {size} entries, but the checkpoint in the anchor has size {}: the tail of the log was cut, or the \
             anchor is newer than the copy: copy the anchor first",
            anchored.size()
        );
        report.add_finding("entries", None, what);
        return Ok(());
    }
    let sql = "SELECT note FROM checkpoints WHERE size = $1";
    let stored = snapshot.fetch_one(sql, vec![sql_int(anchored.size()).into()]).await?;
    let stored = stored.map(|row| row.get::<String>("note")).transpose()?;
    if stored.and_then(|note| options.log_key.open(&note).ok()).as_ref() != Some(&anchored) {
        let what = format!("the log at size {} is not the one in the anchor", anchored.size());
        report.add_finding("checkpoints", None, what);
    }
    Ok(())
}
