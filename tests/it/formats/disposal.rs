//! A disposal of a child, made without a method: an entry with a record of each row that will be gone and cannot be told
//! from the leaves, and then the deletions.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use ap_gateway::audit::disposal::{DisposedPlacement, DisposedRow};
use ap_gateway::clock::{ManualClock, Randomness, SystemClock};
use ap_gateway::config::Config;
use ap_gateway::exchange::change::row_write;
use ap_gateway::gateway::{self, Environment, Node};
use ap_gateway::proto::v1::{AuditEntry, EntryOpenings, LeafRole, OpenedLeaf, Outcome};
use ap_gateway::seal::CommitmentKey;
use ap_gateway::store::canonical::{ENTRY_COLUMNS_ORDINAL, encode_columns, encode_row};
use ap_gateway::store::proposal::{CommitOutcome, RowWrite};
use ap_gateway::store::version_key::VersionKey;
use ap_gateway::store::{
    CommitmentSalts, Database, DatabaseLocation, ENTRIES, ENTRY_COLUMNS, RecordSubject, Revision, Row,
    Snapshot, Table, TableClass, Value,
};
use ap_gateway::tlog::{ExchangeSalt, Hash, commitment};
use prost::Message;
use uuid::Uuid;

use super::super::edits::copies::Statement;
use super::super::startup_checks::bare_proposal;
use super::super::support::NOW;

/// What a disposal writes, and what it deletes.
#[derive(Default)]
pub struct Disposal {
    /// The records of its entry.
    pub records: Vec<RowWrite>,
    /// The deletions, each with the table of its row.
    pub deletions: Vec<(&'static str, Statement)>,
    /// Keys of which the deleted rows were versions, each with the newest.
    versions: BTreeMap<Vec<u8>, i64>,
}

impl Disposal {
    /// Returns the deletions in the tables for which `keep` is false.
    pub fn deletions_except(&self, keep: impl Fn(&str) -> bool) -> Vec<Statement> {
        let deleted = self.deletions.iter().filter(|(table, _)| !keep(table));
        deleted.map(|(_, statement)| statement.clone()).collect()
    }
}

/// An entry as far as a disposal needs it.
struct Entry {
    salt: ExchangeSalt,
    format: u32,
    openings: EntryOpenings,
}

impl Entry {
    fn read(row: &Row, key: &CommitmentKey) -> Self {
        let entry = AuditEntry::decode(row.get_bytes("bytes").unwrap()).unwrap();
        Self {
            salt: ExchangeSalt::new(&key.exchange_salt(&entry.exchange_id)[..]),
            format: entry.format,
            openings: EntryOpenings::decode(row.get_bytes("openings").unwrap()).unwrap(),
        }
    }

    /// Returns the leaves over rows of a table.
    fn leaves(&self, table: &Table) -> Vec<&OpenedLeaf> {
        let is_over =
            |leaf: &&OpenedLeaf| leaf.role() == LeafRole::Submitted && leaf.table == u32::from(table.number);
        self.openings.leaves.iter().filter(is_over).collect()
    }
}

/// Plans the disposal of a child, and of the private columns of an entry.
pub async fn plan(location: &DatabaseLocation, dir: &Path, child: Uuid, replied: i64) -> Disposal {
    let key = CommitmentKey::load(&dir.join("commitment-key")).unwrap();
    let database = Database::open(location).await.unwrap();
    let mut snapshot = Snapshot::new(&database);
    let sql = "SELECT DISTINCT id FROM placements WHERE child = $1";
    let placed = snapshot.fetch(sql, vec![child.into()]).await.unwrap();
    let placements: BTreeSet<Uuid> = placed.iter().map(|row| row.get("id").unwrap()).collect();
    assert!(!placements.is_empty());
    let entries = snapshot.scan(&ENTRIES, 0, i64::MAX).await.unwrap();
    let by_index: BTreeMap<i64, Entry> =
        entries.iter().map(|row| (row.get("idx").unwrap(), Entry::read(row, &key))).collect();
    let mut disposal = Disposal::default();
    for table in gateway::tables() {
        let is_committed = matches!(table.class, TableClass::Committed | TableClass::Wrapped);
        if !is_committed || table.number == ENTRIES.number {
            continue;
        }
        for row in snapshot.scan(table, 0, i64::MAX).await.unwrap() {
            let entry = &by_index[&row.get::<i64>("idx").unwrap()];
            let leaves = entry.leaves(table);
            if is_about(table, &row, &leaves, child, &placements) {
                disposal.add_row(table, &row, entry, leaves.is_empty());
            }
        }
    }
    let replied = entries.iter().find(|row| row.get::<i64>("idx").unwrap() == replied).unwrap();
    disposal.add_private_columns(replied, &key);
    for (key, version) in std::mem::take(&mut disposal.versions) {
        let sql = "DELETE FROM current_versions WHERE key = $1 AND version = $2";
        disposal.deletions.push(("current_versions", (sql.to_owned(), vec![key.into(), version.into()])));
    }
    for placement in placements {
        disposal.records.push(row_write(&DisposedPlacement { placement, child }));
    }
    drop(snapshot);
    database.close().await;
    disposal
}

/// Returns whether a row is about the child alone.
fn is_about(
    table: &Table,
    row: &Row,
    leaves: &[&OpenedLeaf],
    child: Uuid,
    placements: &BTreeSet<Uuid>,
) -> bool {
    let is_own = |leaf: &&OpenedLeaf| placements.contains(&Uuid::from_slice(&leaf.placement_id).unwrap());
    match table.subject {
        _ if matches!(table.name, "child_keys" | "children") => row.get::<Uuid>("child").unwrap() == child,
        RecordSubject::NoChild => false,
        RecordSubject::PlacementChild => placements.contains(&row.get("placement").unwrap()),
        RecordSubject::PlacementVersion => placements.contains(&row.get("id").unwrap()),
        RecordSubject::EveryChild => !leaves.is_empty() && leaves.iter().all(is_own),
    }
}

impl Disposal {
    fn add_row(&mut self, table: &'static Table, row: &Row, entry: &Entry, is_under_row_root: bool) {
        let (index, ordinal): (i64, i64) = (row.get("idx").unwrap(), row.get("ordinal").unwrap());
        let position = || vec![Value::from(index), Value::from(ordinal)];
        let sql = format!("DELETE FROM {} WHERE idx = $1 AND ordinal = $2", table.name);
        self.deletions.push((table.name, (sql, position())));
        let versions = (table.versions)(row).unwrap();
        let is_key = table.name == "child_keys";
        for (key, version) in versions.iter().filter(|_| !is_key) {
            self.versions.insert(key.clone(), *version);
        }
        if is_under_row_root {
            let mut bytes = Vec::new();
            encode_row(table, entry.format, ordinal, &row.values()[2..], &mut bytes);
            let kept = versions.into_iter().next().filter(|_| is_key);
            self.add_record(table.number, (index, ordinal), &entry.salt.row_leaf(&bytes), kept);
        }
    }

    fn add_private_columns(&mut self, row: &Row, key: &CommitmentKey) {
        let entry = Entry::read(row, key);
        let values: Vec<Value> = ENTRY_COLUMNS
            .iter()
            .map(|column| row.value(column.name).unwrap_or(Value::null(column.kind)))
            .collect();
        let mut bytes = Vec::new();
        encode_columns(
            ENTRIES.number,
            entry.format,
            ENTRY_COLUMNS_ORDINAL,
            ENTRY_COLUMNS.iter().zip(&values),
            &mut bytes,
        );
        let index: i64 = row.get("idx").unwrap();
        self.add_record(ENTRIES.number, (index, ENTRY_COLUMNS_ORDINAL), &entry.salt.row_leaf(&bytes), None);
        let sql = "UPDATE entries SET salts = NULL, request_id = NULL, request_mac = NULL, reply = NULL WHERE idx = $1";
        self.deletions.push((ENTRIES.name, (sql.to_owned(), vec![index.into()])));
    }

    fn add_record(
        &mut self,
        table: u16,
        (index, ordinal): (i64, i64),
        leaf: &Hash,
        kept: Option<(Vec<u8>, i64)>,
    ) {
        use ap_gateway::store::ColumnType;
        let (row_key, row_version) = kept.unzip();
        self.records.push(row_write(&DisposedRow {
            entry_idx: ColumnType::from_value(&index.into()).unwrap(),
            entry_ordinal: ColumnType::from_value(&ordinal.into()).unwrap(),
            table_number: table.into(),
            leaf_hash: *leaf.as_bytes(),
            row_key: row_key.map(|key| VersionKey::from_value(&key.into()).unwrap()),
            row_version: row_version.map(|version| Revision::from_value(&version.into()).unwrap()),
        }));
    }
}

/// Commits the entry of a disposal, in the name of the operator.
pub async fn commit(dir: &Path, records: Vec<RowWrite>) {
    let clock = Arc::new(ManualClock::new(NOW.parse().unwrap()));
    let random = Randomness::system();
    let environment = Environment { clock, system_clock: Arc::new(SystemClock), random: random.clone() };
    let node = Node::open(Config::load(&dir.join("gateway.toml")).unwrap(), environment).await.unwrap();
    let sql = "SELECT caller FROM entries WHERE idx = 0";
    let first = Snapshot::new(node.log.database()).fetch_one(sql, vec![]).await.unwrap().unwrap();
    let operator: String = first.get("caller").unwrap();
    let mut proposal = bare_proposal(random.uuid_v7(NOW.parse().unwrap()), &random);
    let CommitmentSalts { reply, .. } = proposal.salts;
    proposal.entry.set_outcome(Outcome::Ok);
    proposal.entry.organisation.clone_from(&operator);
    proposal.entry.reply_commitment = commitment(&reply, b"").as_bytes().to_vec().into();
    proposal.sealed_salts =
        proposal.salts.seal(&node.vault.ring(), &operator, proposal.exchange_id, &random).unwrap();
    proposal.rows = records;
    proposal.fill_commitments(node.vault.commitment_key());
    assert!(matches!(node.committer.commit(proposal).await, CommitOutcome::Committed { .. }));
    node.close().await;
}
