//! Makes the derived tables of a restored database again, from its entries and records: tiles, current versions, parties
//! and the indexes of the log. Checkpoints are not made again, because a restored log keeps those that were signed.

use std::collections::{BTreeMap, HashMap};

use prost::Message;

use super::log::db_int;
use super::log_indexer::IndexRows;
use super::sql::{Conn, Database, Row, StoreError, Table, TableClass, TableRows, Value};
use super::tables::{CURRENT_VERSIONS, ENTRIES, PARTIES, TILES};
use crate::proto::v1::EntryOpenings;
use crate::tlog::{CompactRange, TILE_WIDTH, Tile, leaf_hash};

/// Pages after which the write-ahead log is checkpointed, so that it stays small.
const PAGES_PER_CHECKPOINT: u64 = 16;
/// Ordinal of a counter, which has no row.
const COUNTER_ORDINAL: i64 = -1;

/// A version of a key: version, index and ordinal.
type Version = [i64; 3];

/// Makes the derived tables of a database that holds none of their rows, and returns the tree of its entries. `tables`
/// are all tables of the gateway.
///
/// # Errors
/// [`StoreError::Inconsistent`] if an entry is missing or cannot be read; otherwise see [`StoreError`].
pub async fn remake_derived(
    database: &Database,
    tables: &[&'static Table],
) -> Result<CompactRange, StoreError> {
    let is_record = |table: &&&'static Table| {
        matches!(table.class, TableClass::Committed | TableClass::Wrapped) && table.number != ENTRIES.number
    };
    let records: Vec<_> = tables.iter().filter(is_record).copied().collect();
    let mut conn = database.writer().await?;
    let mut derived = Derived::default();
    for page in 0.. {
        conn.begin_write().await?;
        let is_last = derived.write_page(&mut conn, &records).await?;
        conn.commit().await?;
        if is_last || page % PAGES_PER_CHECKPOINT == 0 {
            conn.checkpoint_wal()?;
        }
        if is_last {
            break;
        }
    }
    Ok(derived.range)
}

/// What the pages so far give.
#[derive(Default)]
struct Derived {
    range: CompactRange,
    /// The version of each counter, and the group (size of its tree) in which it was incremented last.
    counters: HashMap<Vec<u8>, (i64, i64)>,
}

impl Derived {
    /// Writes what the next page of entries gives; returns whether it was the last.
    async fn write_page(&mut self, conn: &mut Conn, records: &[&'static Table]) -> Result<bool, StoreError> {
        let first = self.range.size();
        let (from, to) = (db_int(first), db_int(first.saturating_add(TILE_WIDTH)));
        let entries = conn.scan(&ENTRIES, from, to).await?;
        let mut versions: BTreeMap<Vec<u8>, Version> = BTreeMap::new();
        for table in records {
            for row in conn.scan(table, from, to).await? {
                add_versions(&mut versions, table, &row)?;
            }
        }
        let (mut indexes, mut parties) = (IndexRows::default(), Vec::new());
        for entry in &entries {
            let index: i64 = entry.get("idx")?;
            if index != db_int(self.range.size()) {
                return Err(StoreError::Inconsistent("an entry of the log is missing"));
            }
            self.range.append(leaf_hash(entry.get_bytes("bytes")?));
            indexes.add(entry)?;
            let openings = EntryOpenings::decode(entry.get_bytes("openings")?);
            let openings = openings.map_err(|_| StoreError::corrupt("entries", "openings"))?;
            parties.extend(party_rows(index, entry.get_str("caller")?, &openings));
            for key in &openings.counters {
                let version = self.count(key, entry.get("size")?);
                versions.insert(key.to_vec(), [version, index, COUNTER_ORDINAL]);
            }
        }
        let is_last = entries.len() as u64 != TILE_WIDTH;
        let mut tiles = self.range.take_full_tiles();
        if is_last {
            tiles.extend(self.range.partial_tiles());
        }
        let versions = versions.into_iter().map(|(key, [version, index, ordinal])| {
            vec![key.into(), version.into(), index.into(), ordinal.into()]
        });
        let mut rows: Vec<TableRows> = vec![
            (&CURRENT_VERSIONS, versions.collect()),
            (&PARTIES, parties),
            (&TILES, tiles.iter().map(tile_row).collect()),
        ];
        rows.extend(indexes.into_tables(self.range.size()));
        conn.insert(rows.into_iter().filter(|(_, rows)| !rows.is_empty()).collect()).await?;
        Ok(is_last)
    }

    /// Counts a counter up, once a group, and returns its version.
    fn count(&mut self, key: &[u8], group: i64) -> i64 {
        let (version, last) = self.counters.entry(key.to_vec()).or_default();
        if *last != group {
            (*version, *last) = (version.saturating_add(1), group);
        }
        *version
    }
}

/// Adds the versions that a row sets. Of the rows of one key the newest one counts.
fn add_versions(
    versions: &mut BTreeMap<Vec<u8>, Version>,
    table: &Table,
    row: &Row,
) -> Result<(), StoreError> {
    let (index, ordinal) = (row.get::<i64>("idx")?, row.get::<i64>("ordinal")?);
    for (key, version) in (table.versions)(row)? {
        let kept = versions.entry(key).or_insert([version, index, ordinal]);
        let [_, kept_index, kept_ordinal] = *kept;
        if (kept_index, kept_ordinal) <= (index, ordinal) {
            *kept = [version, index, ordinal];
        }
    }
    Ok(())
}

/// Returns the rows of `parties` that an entry gives.
fn party_rows(index: i64, sender: &str, openings: &EntryOpenings) -> Vec<Vec<Value>> {
    let mut rows = Vec::new();
    for party in &openings.parties {
        let row = |ordinal: i64, kind: i64, object: Option<Vec<u8>>, placement: Option<Vec<u8>>| {
            let organisation = party.organisation.as_str().into();
            vec![
                organisation,
                index.into(),
                ordinal.into(),
                kind.into(),
                sender.into(),
                object.into(),
                placement.into(),
            ]
        };
        if party.deliveries.is_empty() {
            rows.push(row(0, 0, None, None));
        }
        rows.extend((0_i64..).zip(&party.deliveries).map(|(ordinal, delivery)| {
            let placement = Some(delivery.placement_id.to_vec()).filter(|placement| !placement.is_empty());
            row(ordinal, delivery.kind.into(), Some(delivery.object_id.to_vec()), placement)
        }));
    }
    rows
}

fn tile_row(tile: &Tile) -> Vec<Value> {
    let hashes: Vec<u8> = tile.hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
    vec![i64::from(tile.id.level).into(), db_int(tile.id.number).into(), hashes.into()]
}
