//! Verifying a whole log on a copy of its database: every entry against the tree, every checkpoint against
//! its signature and root, every kept record against its entry. It trusts nothing but the log's public key
//! and, where it is given them, the anchor and the key ring.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use prost::Message;

use super::pages::{Page, Pages, place};
use super::records;
use crate::clock::Instant;
use crate::proto::v1::{AuditEntry, LogReplaced};
use crate::seal::KeyRing;
use crate::store::{Anchor, Database, Location, Row, Snapshot, StoreError};
use crate::tlog::{Checkpoint, Edge, Hash, Lineage, LineageError, TILE_WIDTH, leaf_hash, tree_root};

/// What is verified, with what.
#[derive(Clone, Debug)]
pub struct Options {
    /// A copy of the database.
    pub database: Location,
    /// The log's verifier key, with those of the logs that it replaced.
    pub log_key: Lineage,
    /// The anchor file, or a copy: finds a tail that was cut.
    pub anchor: Option<PathBuf>,
    /// The key ring: finds a record that was changed.
    pub key_ring: Option<PathBuf>,
}

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// In plain words.
    pub what: String,
}

/// What was verified, and what was found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Entries in the log.
    pub entries: u64,
    /// Signed checkpoints.
    pub checkpoints: u64,
    /// Record rows that were opened and compared; 0 without the key ring.
    pub records: u64,
    /// What accepted rollbacks lost, in plain words.
    pub lost: Vec<String>,
    /// What does not hold; empty when all does.
    pub findings: Vec<Finding>,
}

impl Report {
    pub(super) fn find(&mut self, what: impl Into<String>) {
        self.findings.push(Finding { what: what.into() });
    }
}

/// Verifies a copy of a database.
///
/// # Errors
/// [`StoreError`] when the copy cannot be read at all; what is wrong with the log is in the report.
pub async fn database(options: &Options) -> Result<Report, StoreError> {
    let database = Database::open(&options.database).await?;
    let mut snapshot = Snapshot::of(&database);
    let mut report = Report::default();
    let notes = notes(&mut snapshot).await?;
    let pages = Pages::of(database.writer().await?);
    let edge = tree(notes, pages, &options.log_key, &mut report).await?;
    if let Some(anchor) = &options.anchor {
        match Anchor::read(anchor) {
            Ok(note) => against_anchor(&mut snapshot, &note, options, edge.size(), &mut report).await?,
            Err(_) => report.find("the anchor file cannot be read"),
        }
    }
    if let Some(path) = &options.key_ring {
        match KeyRing::load(path) {
            Ok(ring) => Box::pin(records::verify(&mut snapshot, &ring, &mut report)).await?,
            Err(error) => report.find(format!("the key ring cannot be used: {error}")),
        }
    }
    drop(snapshot);
    database.close().await;
    Ok(report)
}

/// Rebuilds the tree from the entries and compares everything on the way. Signatures take as long as all the rest,
/// and so does reading: they are verified, and pages read, beside it.
async fn tree(
    notes: Vec<(u64, String)>,
    pages: Pages,
    keys: &Lineage,
    report: &mut Report,
) -> Result<Edge, StoreError> {
    report.checkpoints = notes.len() as u64;
    let sizes: BTreeSet<u64> = notes.iter().map(|(size, _)| *size).collect();
    let signed = tokio::task::spawn_blocking({
        let keys = keys.clone();
        move || open(&keys, &notes)
    });
    let Grown { edge, roots, whole } = grow(pages, keys, &sizes, report).await?;
    let opened = signed.await;
    let (checkpoints, changed) =
        opened.map_err(|_| StoreError::Inconsistent("the checkpoints could not be verified"))?;
    report.findings.splice(0..0, changed);
    let differs = |(size, root): &&(u64, Hash)| checkpoints.get(size).is_some_and(|it| it.root() != root);
    // The first tree that differs names the entries that were changed, as closely as it can.
    if let Some((size, _)) = roots.iter().find(differs) {
        report.find(format!(
            "an entry up to {} was changed: the tree has not the root that was signed at size {size}",
            size - 1
        ));
    }
    if !whole {
        return Ok(edge);
    }
    if let Some(begins) = keys.boundaries().find(|begins| *begins >= edge.size()) {
        report.find(format!("the log ends at {} entries, but a log began at {begins}", edge.size()));
    }
    if let Some((size, _)) = checkpoints.last_key_value().filter(|(size, _)| **size > edge.size()) {
        report.find(format!("the log ends at {} entries, but {size} were signed", edge.size()));
    }
    Ok(edge)
}

/// The tree of the entries, as far as they go.
struct Grown {
    edge: Edge,
    /// Its roots at the sizes of the checkpoints.
    roots: Vec<(u64, Hash)>,
    /// Whether no entry is missing.
    whole: bool,
}

async fn grow(
    mut pages: Pages,
    keys: &Lineage,
    sizes: &BTreeSet<u64>,
    report: &mut Report,
) -> Result<Grown, StoreError> {
    let (mut edge, mut roots) = (Edge::default(), Vec::with_capacity(sizes.len()));
    let mut last = i64::MIN;
    while let Some(page) = pages.next().await? {
        for row in &page.entries {
            if row.int(0)? != place(edge.size()) {
                report.find(format!("entry {} is missing", edge.size()));
                return Ok(Grown { edge, roots, whole: false });
            }
            entry(row, &mut last, page.leaves.get(&row.int(0)?), keys, report)?;
            edge.append(leaf_hash(row.blob(7)?));
            tiles(&page, &mut edge, report);
            if sizes.contains(&edge.size()) {
                roots.push((edge.size(), edge.root()));
            }
        }
        for index in &page.unlisted {
            report.find(format!("entry {index} was taken from the list of its caller's exchanges"));
        }
        report.entries = edge.size();
    }
    Ok(Grown { edge, roots, whole: true })
}

/// Every checkpoint's note, by its size.
async fn notes(snapshot: &mut Snapshot) -> Result<Vec<(u64, String)>, StoreError> {
    let rows = snapshot.fetch("SELECT size, note FROM checkpoints ORDER BY size", vec![]).await?;
    rows.iter().map(|row| Ok((row.int(0)?.unsigned_abs(), row.text(1)?.to_owned()))).collect()
}

/// The checkpoints whose signatures hold, by their sizes, and what is found of the others.
fn open(keys: &Lineage, notes: &[(u64, String)]) -> (BTreeMap<u64, Checkpoint>, Vec<Finding>) {
    let (mut checkpoints, mut changed) = (BTreeMap::new(), Vec::new());
    for (size, note) in notes {
        match keys.open(note).ok().filter(|found| found.size() == *size) {
            Some(checkpoint) => {
                checkpoints.insert(*size, checkpoint);
            }
            None => changed.push(Finding { what: format!("the checkpoint at size {size} was changed") }),
        }
    }
    (checkpoints, changed)
}

/// An entry against the columns beside it and the leaves below it.
fn entry(
    row: &Row,
    last: &mut i64,
    children: Option<&Vec<Hash>>,
    keys: &Lineage,
    report: &mut Report,
) -> Result<(), StoreError> {
    let index = row.int(0)?;
    let Ok(entry) = AuditEntry::decode(row.blob(7)?) else {
        report.find(format!("entry {index} was changed: it is not an entry any more"));
        return Ok(());
    };
    if let Err(what) = replaced(keys, index.unsigned_abs(), entry.log_replaced.as_ref(), &mut report.lost) {
        report.find(format!("entry {index} was changed: {what}"));
    }
    let same = entry.time_us == row.int(1)?
        && entry.exchange_id[..] == row.id(2)?.as_bytes()[..]
        && entry.organisation == row.text(3)?
        && entry.system == row.text(4)?
        && entry.method == row.text(5)?
        && i64::from(entry.outcome) == row.int(6)?;
    if !same {
        report.find(format!("entry {index} was changed: the columns beside it say otherwise"));
    }
    if entry.time_us < *last {
        let when = Instant::from_micros(entry.time_us).map(|at| at.to_string()).unwrap_or_default();
        report
            .find(format!("entry {index} was changed: its time, {when}, is before that of the entry before"));
    }
    *last = entry.time_us;
    let leaves = children.map(Vec::as_slice).unwrap_or_default();
    let root = (!leaves.is_empty()).then(|| tree_root(leaves));
    let root = root.map(|root| root.as_bytes().to_vec()).unwrap_or_default();
    if entry.child_count as usize != leaves.len() || entry.child_root[..] != root[..] {
        report.find(format!("the children's leaves of entry {index} were changed"));
    }
    Ok(())
}

/// A log that replaced another begins with an entry that says so, and no other entry does.
fn replaced(
    keys: &Lineage,
    index: u64,
    said: Option<&LogReplaced>,
    lost: &mut Vec<String>,
) -> Result<(), &'static str> {
    match (keys.boundaries().any(|begins| begins == index), said) {
        (false, None) => Ok(()),
        (true, Some(said)) => {
            let end = keys.lost_at(index, &said.last_checkpoint, &said.kept_checkpoint);
            lost.push(keys.loss(index, &end.map_err(LineageError::what)?));
            Ok(())
        }
        (true, None) => Err("it does not say which log was replaced there"),
        (false, Some(_)) => Err("it says that a log was replaced, which is not known by its keys"),
    }
}

/// Tiles that became full must be stored as they are.
fn tiles(page: &Page, edge: &mut Edge, report: &mut Report) {
    for tile in edge.take_full_tiles() {
        let hashes: Vec<u8> = tile.hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
        if page.tiles.get(&tile.id) != Some(&hashes) {
            let first = tile.id.number * TILE_WIDTH;
            report.find(format!("a tile of level {} from {first} on was changed", tile.id.level));
        }
    }
}

async fn against_anchor(
    snapshot: &mut Snapshot,
    note: &str,
    options: &Options,
    size: u64,
    report: &mut Report,
) -> Result<(), StoreError> {
    let anchored = match options.log_key.open(note) {
        Ok(anchored) => anchored,
        Err(error) => {
            report.find(format!("the anchor is not signed by this log's key: {error}"));
            return Ok(());
        }
    };
    if anchored.size() > size {
        report.find(format!(
            "the log ends at {size} entries, but the anchor knows {}: its tail was cut",
            anchored.size()
        ));
        return Ok(());
    }
    let sql = "SELECT note FROM checkpoints WHERE size = $1";
    let stored = snapshot.fetch_one(sql, vec![place(anchored.size()).into()]).await?;
    let stored = stored.map(|row| row.text(0).map(str::to_owned)).transpose()?;
    if stored.and_then(|note| options.log_key.open(&note).ok()).as_ref() != Some(&anchored) {
        report.find(format!("the log at size {} is not the one that the anchor knows", anchored.size()));
    }
    Ok(())
}
