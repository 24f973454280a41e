//! The rows of one entry, compared with what it commits to: rows about children with their leaves, all others with the
//! root over rows.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::keys::{ChildKeyState, ChildKeys, Disposals};
use super::page::TableRow;
use crate::audit::report::VerifyReport;
use crate::proto::v1::{AuditEntry, EntryOpenings, LeafRole, OpenedLeaf};
use crate::store::canonical::{ENTRY_COLUMNS_ORDINAL, encode_columns, encode_row};
use crate::store::entry_commitments::leaf_prefix;
use crate::store::{Column, ENTRIES, ENTRY_COLUMNS, RecordSubject, Row, StoreError, Table, Value};
use crate::tlog::{ChildLeafHeader, ExchangeSalt, Hash, child_leaf, leaf_hash, tree_root};

/// An entry with its rows.
pub(super) struct EntryRows<'a> {
    pub index: u64,
    pub entry: &'a AuditEntry,
    pub openings: &'a EntryOpenings,
    /// The entry's own row.
    pub stored: &'a Row,
    /// The rows that it wrote, by ordinal.
    pub rows: &'a [TableRow],
    pub tables: &'a [&'static Table],
    pub disposals: &'a Disposals,
}

/// A leaf under the root over rows.
struct RowLeaf {
    hash: Hash,
    /// Whether its row was disposed of, so that only the hash is left.
    is_disposed: bool,
}

impl EntryRows<'_> {
    /// Checks that columns which a later format added hold nothing in rows of earlier entries.
    pub fn check_later_columns(&self, report: &mut VerifyReport) {
        let is_later = |column: &&Column| column.since > self.entry.format;
        let mut check = |table: &Table, of_row: &str, row: &Row| {
            let later = table.columns.iter().zip(row.values()).filter(|(column, _)| is_later(column));
            for (column, _) in later.filter(|(_, value)| !value.is_default()) {
                let what = format!("column {}{of_row} was changed: the entry is older than it", column.name);
                report.add_finding(table.name, Some(self.index), what);
            }
        };
        if let Some(entries) = self.tables.iter().find(|table| table.number == ENTRIES.number) {
            check(entries, "", self.stored);
        }
        for TableRow { table, ordinal, row } in self.rows {
            if table.columns.iter().any(|column| is_later(&column)) {
                check(table, &format!(" of row {ordinal}"), row);
            }
        }
    }

    /// Compares the rows about children with the leaves. Without the key ring only the tables are compared: whether each
    /// leaf has rows, and each row a leaf.
    pub fn check_leaves(&self, keys: Option<&ChildKeys<'_>>, report: &mut VerifyReport) {
        for TableRow { table, ordinal, row } in self.rows {
            if self.is_under_row_root(table, row) {
                continue;
            }
            let mut leaves = self.submitted().filter(|leaf| covers(leaf, table, row)).peekable();
            let what = if leaves.peek().is_none() {
                format!("the entry did not write row {ordinal}: it was added, or its placement changed")
            } else if leaves.all(|leaf| self.is_destroyed(leaf)) {
                format!("row {ordinal} is there, although the key of its child was disposed of")
            } else {
                continue;
            };
            report.add_finding(table.name, Some(self.index), what);
        }
        for leaf in self.submitted() {
            let table = self.tables.iter().find(|table| u32::from(table.number) == leaf.table);
            let Some(table) = table else {
                let what = format!("rows of a table with number {} are unknown to this release", leaf.table);
                report.add_finding(ENTRIES.name, Some(self.index), what);
                continue;
            };
            if let Err(what) = self.check_leaf(leaf, table, keys, report) {
                report.add_finding(table.name, Some(self.index), what);
            }
        }
    }

    fn check_leaf(
        &self,
        leaf: &OpenedLeaf,
        table: &Table,
        keys: Option<&ChildKeys<'_>>,
        report: &mut VerifyReport,
    ) -> Result<(), &'static str> {
        let placement = Uuid::from_slice(&leaf.placement_id).map_err(|_| "a leaf names no placement")?;
        let sender = self.sender_of(leaf);
        let (mut bytes, mut count) = (Vec::new(), 0);
        for TableRow { ordinal, row, .. } in self
            .rows
            .iter()
            .filter(|row| row.table.number == table.number && covers(leaf, row.table, &row.row))
        {
            encode_row(
                table,
                self.entry.format,
                *ordinal,
                row.values().get(2..).unwrap_or_default(),
                &mut bytes,
            );
            count += 1;
        }
        let key = match keys.map(|keys| keys.key(self.disposals, sender, placement)) {
            Some(ChildKeyState::Available(key)) => key,
            Some(ChildKeyState::Destroyed) => return Ok(()),
            Some(ChildKeyState::Missing) => {
                return Err(
                    "rows cannot be checked: the key of their child is missing, or the ring cannot open it",
                );
            }
            None if count == 0 && !self.disposals.is_destroyed(sender, placement) => {
                return Err("rows were removed");
            }
            None => return Ok(()),
        };
        let header = ChildLeafHeader {
            role: u32::try_from(leaf.role).unwrap_or(u32::MAX),
            table: leaf.table,
            kind: u32::try_from(leaf.kind).unwrap_or(u32::MAX),
            record_id: leaf.record_id[..].try_into().map_err(|_| "a leaf names no record")?,
            version: leaf.version,
            blocks: leaf.blocks,
        };
        let salt =
            key.leaf_salt(self.entry.exchange_id[..].first_chunk().ok_or("the entry names no exchange")?);
        if child_leaf(&salt, &header, &leaf_hash(&bytes)).as_bytes()[..] != leaf.hash[..] {
            return Err("rows were changed, added or removed");
        }
        report.rows += count;
        Ok(())
    }

    /// Compares all other rows with the root over them. Without the commitment key only which rows there are.
    pub fn check_row_root(&self, salt: Option<&ExchangeSalt>, report: &mut VerifyReport) {
        let found = self.row_leaves(salt, report);
        let hashes: Vec<Hash> = found.values().map(|leaf| leaf.hash).collect();
        if salt.is_some() && tree_root(&hashes).as_bytes()[..] == self.entry.row_root[..] {
            report.rows += found.values().filter(|leaf| !leaf.is_disposed).count() as u64;
            return;
        }
        let before = report.findings.len();
        self.name_differences(&found, salt.is_some(), report);
        if salt.is_some() && report.findings.len() == before {
            let what = "its rows were changed: they do not have the root that the entry holds";
            report.add_finding(ENTRIES.name, Some(self.index), what);
        }
    }

    /// Returns the leaves of all rows that are in no child's leaf, by ordinal and table.
    fn row_leaves(
        &self,
        salt: Option<&ExchangeSalt>,
        report: &mut VerifyReport,
    ) -> BTreeMap<(i64, u32), RowLeaf> {
        let (mut found, mut bytes) = (BTreeMap::new(), Vec::new());
        let leaf = |bytes: &[u8]| RowLeaf {
            hash: salt.map_or(Hash::from([0; 32]), |salt| salt.row_leaf(bytes)),
            is_disposed: false,
        };
        let format = self.entry.format;
        for TableRow { table, ordinal, row } in self.rows {
            if !self.is_under_row_root(table, row) {
                continue;
            }
            bytes.clear();
            encode_row(table, format, *ordinal, row.values().get(2..).unwrap_or_default(), &mut bytes);
            found.insert((*ordinal, table.number.into()), leaf(&bytes));
        }
        bytes.clear();
        let values: Vec<Value> = ENTRY_COLUMNS
            .iter()
            .map(|column| self.stored.value(column.name).unwrap_or(Value::null(column.kind)))
            .collect();
        let own_is_empty = values.iter().all(Value::is_null);
        encode_columns(
            ENTRIES.number,
            format,
            ENTRY_COLUMNS_ORDINAL,
            ENTRY_COLUMNS.iter().zip(&values),
            &mut bytes,
        );
        found.insert((ENTRY_COLUMNS_ORDINAL, ENTRIES.number.into()), leaf(&bytes));
        let index = i64::try_from(self.index).unwrap_or(i64::MAX);
        for (ordinal, disposed) in self.disposals.rows_of(index) {
            let at = (ordinal, disposed.table_number);
            let is_there = found.contains_key(&at) && !(ordinal == ENTRY_COLUMNS_ORDINAL && own_is_empty);
            if is_there {
                let what = format!("row {ordinal} is there, although it was disposed of");
                report.add_finding(self.table_name(disposed.table_number), Some(self.index), what);
            } else {
                found.insert(at, RowLeaf { hash: Hash::from(disposed.leaf_hash), is_disposed: true });
            }
        }
        found
    }

    /// Names each row that the openings list otherwise.
    fn name_differences(
        &self,
        found: &BTreeMap<(i64, u32), RowLeaf>,
        with_hashes: bool,
        report: &mut VerifyReport,
    ) {
        let listed: BTreeMap<(i64, u32), &[u8]> =
            self.openings.rows.iter().map(|row| ((row.ordinal, row.table), &row.leaf_prefix[..])).collect();
        for (at, prefix) in &listed {
            let what = match found.get(at) {
                None => format!("row {} was removed", at.0),
                Some(leaf) if with_hashes && leaf_prefix(&leaf.hash)[..] != **prefix => match at.0 {
                    ENTRY_COLUMNS_ORDINAL => {
                        "its salts, its request id or its stored reply were changed".to_owned()
                    }
                    ordinal => format!("row {ordinal} was changed"),
                },
                Some(_) => continue,
            };
            report.add_finding(self.table_name(at.1), Some(self.index), what);
        }
        for at in found.keys().filter(|at| !listed.contains_key(at)) {
            let what = format!("the entry did not write row {}: it was added", at.0);
            report.add_finding(self.table_name(at.1), Some(self.index), what);
        }
    }

    /// Returns the organisation whose key of the child salts a leaf.
    fn sender_of<'b>(&'b self, leaf: &'b OpenedLeaf) -> &'b str {
        if leaf.sender.is_empty() { &self.entry.organisation } else { &leaf.sender }
    }

    /// Returns whether a leaf cannot be opened because the key of its child was disposed of.
    fn is_destroyed(&self, leaf: &OpenedLeaf) -> bool {
        Uuid::from_slice(&leaf.placement_id)
            .is_ok_and(|placement| self.disposals.is_destroyed(self.sender_of(leaf), placement))
    }

    fn table_name(&self, number: u32) -> &'static str {
        let table = self.tables.iter().find(|table| u32::from(table.number) == number);
        table.map_or("a table that this release does not know", |table| table.name)
    }

    /// Returns the leaves over rows that the caller sent.
    fn submitted(&self) -> impl Iterator<Item = &OpenedLeaf> {
        self.openings.leaves.iter().filter(|leaf| leaf.role() == LeafRole::Submitted && leaf.table != 0)
    }

    /// Returns whether a row of a table is under the root over rows: it is about no child, or the exchange was.
    fn is_under_row_root(&self, table: &Table, row: &Row) -> bool {
        let is_of_placement = || row.value("placement").is_some_and(|placement| !placement.is_null());
        table.subject == RecordSubject::NoChild
            || (table.subject == RecordSubject::PlacementChild && !is_of_placement())
            || !self.submitted().any(|leaf| leaf.table == u32::from(table.number))
    }
}

/// Returns whether a leaf is over a row.
fn covers(leaf: &OpenedLeaf, table: &Table, row: &Row) -> bool {
    let is_placement =
        |id: Result<Uuid, StoreError>| id.is_ok_and(|id| id.as_bytes()[..] == leaf.placement_id[..]);
    leaf.table == u32::from(table.number)
        && match table.subject {
            RecordSubject::PlacementChild => is_placement(row.get("placement")),
            RecordSubject::PlacementVersion => is_placement(row.get("id")),
            RecordSubject::EveryChild => true,
            RecordSubject::NoChild => false,
        }
}
