//! The entries of a copy, one by one: their columns, what is kept beside them, and the rows that they wrote.

use prost::Message;

use super::checkpoints::StoredCheckpoint;
use super::derived::{self, ExpectedParties};
use super::indexes::ExpectedIndexes;
use super::keys::{ChildKeys, Disposals};
use super::options::OpenedKeys;
use super::page::{EntryPage, sql_int};
use super::rows::EntryRows;
use super::versions::CurrentVersions;
use crate::audit::report::VerifyReport;
use crate::clock::Instant;
use crate::proto::v1::{AuditEntry, EntryOpenings, LogReplaced};
use crate::seal::{CommitmentKey, KeyRing};
use crate::store::canonical::ENTRY_FORMAT;
use crate::store::entry_commitments::child_root;
use crate::store::{CommitmentSalts, Row, Snapshot, StoreError, Table};
use crate::tlog::{ExchangeSalt, LogKeyHistory, LogKeyHistoryError, commitment};

const TABLE: &str = "entries";

/// Verifies the entries in their order, and collects what the derived tables must hold.
pub(super) struct EntryVerifier<'a> {
    log_keys: &'a LogKeyHistory,
    ring: Option<&'a KeyRing>,
    commitment_key: Option<&'a CommitmentKey>,
    disposals: &'a Disposals,
    tables: &'a [&'static Table],
    /// Sizes and times of the checkpoints that are not reached yet, the smallest last.
    checkpoints: Vec<(i64, i64)>,
    child_keys: Option<ChildKeys<'a>>,
    versions: CurrentVersions,
    parties: ExpectedParties,
    indexes: ExpectedIndexes,
    last_time: i64,
}

impl<'a> EntryVerifier<'a> {
    pub fn new(
        log_keys: &'a LogKeyHistory,
        keys: &'a OpenedKeys,
        disposals: &'a Disposals,
        tables: &'a [&'static Table],
        checkpoints: &[StoredCheckpoint],
        indexes: ExpectedIndexes,
    ) -> Self {
        Self {
            log_keys,
            ring: keys.ring.as_ref(),
            commitment_key: keys.commitment.as_ref(),
            disposals,
            tables,
            checkpoints: checkpoints
                .iter()
                .rev()
                .map(|checkpoint| (checkpoint.size, checkpoint.time))
                .collect(),
            child_keys: keys.ring.as_ref().map(ChildKeys::new),
            versions: CurrentVersions::default(),
            parties: ExpectedParties::default(),
            indexes,
            last_time: i64::MIN,
        }
    }

    /// Verifies an entry.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if its row cannot be read.
    pub fn verify(
        &mut self,
        index: u64,
        stored: &Row,
        page: &EntryPage,
        report: &mut VerifyReport,
    ) -> Result<(), StoreError> {
        let rows = page.rows.get(&sql_int(index)).map(Vec::as_slice).unwrap_or_default();
        let Ok(entry) = AuditEntry::decode(stored.get_bytes("bytes")?) else {
            report.add_finding(TABLE, Some(index), "the entry was changed: it cannot be decoded");
            return Ok(());
        };
        if !(1..=ENTRY_FORMAT).contains(&entry.format) {
            let what = format!("the entry is of format {}, which this release does not know", entry.format);
            report.add_finding(TABLE, Some(index), what);
            return Ok(());
        }
        self.check_columns(index, &entry, stored, report)?;
        self.check_group(index, &entry, report);
        if let Some(keys) = &mut self.child_keys {
            keys.read(index, rows, report);
        }
        self.versions.apply_rows(index, rows, report);
        let Some((openings, salt)) = self.open(index, &entry, stored, report)? else { return Ok(()) };
        self.parties.add(index, &entry, &openings);
        self.indexes.add(index, &entry, &openings);
        let counters = openings.counters.iter().map(|key| &key[..]);
        self.versions.apply_counters(sql_int(index), stored.get("size")?, counters);
        let (tables, disposals) = (self.tables, self.disposals);
        let of_entry =
            EntryRows { index, entry: &entry, openings: &openings, stored, rows, tables, disposals };
        of_entry.check_later_columns(report);
        of_entry.check_leaves(self.child_keys.as_ref(), report);
        of_entry.check_row_root(salt.as_ref(), report);
        self.check_salts(index, &entry, stored, report)
    }

    /// Compares an entry with the columns of its row, with its predecessor, and with the history of the log's keys.
    fn check_columns(
        &mut self,
        index: u64,
        entry: &AuditEntry,
        stored: &Row,
        report: &mut VerifyReport,
    ) -> Result<(), StoreError> {
        if let Err(what) =
            verify_replacement(self.log_keys, index, entry.log_replaced.as_ref(), &mut report.lost)
        {
            report.add_finding(TABLE, Some(index), format!("the entry was changed: {what}"));
        }
        let same = entry.time_us == stored.get::<i64>("time")?
            && entry.exchange_id[..] == *stored.get_bytes("exchange")?
            && entry.organisation == stored.get_str("caller")?
            && entry.system == stored.get_str("system")?
            && entry.method == stored.get_str("method")?
            && sql_int(entry.tree_size) == stored.get::<i64>("size")?
            && i64::from(entry.outcome) == stored.get::<i64>("outcome")?;
        if !same {
            report.add_finding(
                TABLE,
                Some(index),
                "the columns of its row differ from the entry: they were changed",
            );
        }
        if entry.time_us < self.last_time {
            let when = Instant::from_micros(entry.time_us).map(|at| at.to_string()).unwrap_or_default();
            let what = format!("the entry was changed: its time, {when}, is before that of the entry before");
            report.add_finding(TABLE, Some(index), what);
        }
        self.last_time = entry.time_us;
        Ok(())
    }

    /// Compares the checkpoint that the entry names with those that are stored, and its time with the entry's.
    fn check_group(&mut self, index: u64, entry: &AuditEntry, report: &mut VerifyReport) {
        while let Some((size, time)) = self.checkpoints.pop_if(|(size, _)| *size <= sql_int(index)) {
            // The checkpoint of the empty log has no entry; later ones are compared at their last entry.
            if size < 0 || (size == 0 && time != 0) {
                report.add_finding(
                    "checkpoints",
                    None,
                    format!("the checkpoint at size {size} was changed or added"),
                );
            }
        }
        let named = sql_int(entry.tree_size);
        match self.checkpoints.last() {
            Some((size, time)) if *size == named => {
                // All entries of a group have the time of its checkpoint, by which lists of a period begin.
                if *time != entry.time_us {
                    let what = format!(
                        "the time of the checkpoint at size {size} is not that of the entry: it was changed, or a \
                         checkpoint before it was removed"
                    );
                    report.add_finding("checkpoints", Some(index), what);
                }
            }
            Some((size, _)) if *size < named => {
                let what = format!("a checkpoint at size {size} was added before that of the entry");
                report.add_finding("checkpoints", Some(index), what);
            }
            _ => {
                let what = format!("the checkpoint at size {named}, which the entry names, was removed");
                report.add_finding("checkpoints", Some(index), what);
            }
        }
    }

    /// Decodes what is kept beside an entry, and compares it with what the entry commits to.
    fn open(
        &self,
        index: u64,
        entry: &AuditEntry,
        stored: &Row,
        report: &mut VerifyReport,
    ) -> Result<Option<(EntryOpenings, Option<ExchangeSalt>)>, StoreError> {
        let bytes = stored.get_bytes("openings")?;
        let changed = "what is kept beside the entry (its openings) was changed";
        let key = self.commitment_key.filter(|key| key.id() == entry.commitment_key);
        if self.commitment_key.is_some() && key.is_none() {
            let what = "its rows cannot be checked: the entry was made with another commitment key";
            report.add_finding(TABLE, Some(index), what);
        }
        let salt = key.map(|key| ExchangeSalt::new(&key.exchange_salt(&entry.exchange_id)[..]));
        let is_committed = salt.as_ref().is_none_or(|salt| {
            salt.openings_commitment(bytes).as_bytes()[..] == entry.openings_commitment[..]
        });
        let openings = EntryOpenings::decode(bytes).ok().filter(|_| is_committed);
        let root = openings.as_ref().map(|openings| {
            child_root(&openings.leaves).or_else(|| salt.as_ref().map(ExchangeSalt::no_leaves))
        });
        // Without the commitment key, what stands for no leaves cannot be told from a root.
        let is_root = root.is_some_and(|root| {
            root.map_or(entry.child_root.len() == 32, |root| root.as_bytes()[..] == entry.child_root[..])
        });
        if !is_root {
            report.add_finding(TABLE, Some(index), changed);
            return Ok(None);
        }
        Ok(openings.map(|openings| (openings, salt)))
    }

    /// Opens the salts with the key ring, and compares the stored reply with what the entry commits to.
    fn check_salts(
        &self,
        index: u64,
        entry: &AuditEntry,
        stored: &Row,
        report: &mut VerifyReport,
    ) -> Result<(), StoreError> {
        let (Some(ring), Some(sealed)) = (self.ring, stored.get::<Option<Vec<u8>>>("salts")?) else {
            return Ok(());
        };
        let Ok(salts) = CommitmentSalts::open(ring, &entry.organisation, stored.get("exchange")?, &sealed)
        else {
            report.add_finding(
                TABLE,
                Some(index),
                "its salts were changed, or the ring holds no key to them",
            );
            return Ok(());
        };
        if let Some(reply) = stored.get::<Option<Vec<u8>>>("reply")?
            && commitment(&salts.reply, &reply).as_bytes()[..] != entry.reply_commitment[..]
        {
            report.add_finding(TABLE, Some(index), "its stored reply was changed");
        }
        Ok(())
    }

    /// Compares the derived tables with what the entries gave, and finds rows of no entry.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn finish(
        self,
        snapshot: &mut Snapshot,
        size: u64,
        report: &mut VerifyReport,
    ) -> Result<(), StoreError> {
        derived::verify_stray_rows(snapshot, self.tables, size, report).await?;
        self.indexes.compare(snapshot, size, report).await?;
        self.parties.compare(snapshot, report).await?;
        self.versions.compare(snapshot, report).await
    }
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
