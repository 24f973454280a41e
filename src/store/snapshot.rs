//! Snapshots: read transactions on the primary. Handlers decide from a snapshot and name the versions that they
//! used as guards; they never hold a write transaction.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::budget::{ReadBudget, ReadLimits};
use super::log::{self, db_int};
use super::log_indexer;
use super::position::{EntryIndex, Revision};
use super::proposal::Guard;
use super::record::Record;
use super::sql::{Conn, Database, GATEWAY, Row, SchemaDifferences, StoreError, Table, Value, ValueSet};
use super::version_key::VersionKey;
use crate::tlog::{Hash, TileId};

/// A read transaction, opened by the first query. Dropping it returns the connection to the pool, which ends the
/// transaction.
pub struct Snapshot {
    database: Database,
    /// The organisation in whose turn it reads.
    organisation: Arc<str>,
    conn: Option<Conn>,
    read_set: ReadSet,
    is_recording: bool,
    budget: ReadBudget,
    has_failed: bool,
    shown_tree: ShownTree,
}

/// The size of the largest tree of which a checkpoint or a proof was read. Functions that read one record it here, so
/// that a response without a log entry waits until that tree is anchored. Cheap to clone.
#[derive(Clone, Default)]
pub struct ShownTree(Arc<AtomicU64>);

impl ShownTree {
    /// Returns the size; 0 if no checkpoint and no proof was read.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// The versions from which the caller's rights were read. Functions that read a right record it here, so that every
/// exchange is committed under guards on them without any code in its handler. Cheap to clone.
#[derive(Clone, Default)]
pub struct ReadSet(Arc<Mutex<HashMap<VersionKey, Revision>>>);

impl ReadSet {
    /// Returns the recorded versions as guards.
    #[must_use]
    pub fn guards(&self) -> Vec<Guard> {
        // A poisoned mutex is safe to use, because every change is one insertion.
        let read = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        read.iter().map(|(key, version)| Guard { key: key.clone(), version: *version }).collect()
    }
}

impl Snapshot {
    /// Makes a snapshot as of its first query, of what the gateway reads for itself. Until then it holds no connection.
    #[must_use]
    pub fn new(database: &Database) -> Self {
        Self {
            database: database.clone(),
            organisation: GATEWAY.into(),
            conn: None,
            read_set: ReadSet::default(),
            is_recording: false,
            budget: ReadBudget::new(ReadLimits::NONE),
            has_failed: false,
            shown_tree: ShownTree::default(),
        }
    }

    /// Makes a snapshot for a decision that will be committed. It records the versions from which rights were read,
    /// and enforces the limits: beyond them each query fails with [`StoreError::LimitExceeded`], and rows over the
    /// limit are not fetched.
    #[must_use]
    pub fn recording(database: &Database, limits: ReadLimits) -> Self {
        Self { is_recording: true, budget: ReadBudget::new(limits), ..Self::new(database) }
    }

    /// Sets the organisation in whose turn the snapshot gets its connection.
    #[must_use]
    pub fn in_turn_of(mut self, organisation: &str) -> Self {
        self.organisation = organisation.into();
        self
    }

    /// Returns the set of recorded versions.
    #[must_use]
    pub fn read_set(&self) -> ReadSet {
        self.read_set.clone()
    }

    /// Returns the size of the largest tree that was read, also of later reads.
    #[must_use]
    pub fn shown_tree(&self) -> ShownTree {
        self.shown_tree.clone()
    }

    /// Records that a checkpoint or a proof of the tree of this size was read.
    pub(super) fn record_tree(&self, size: u64) {
        self.shown_tree.0.fetch_max(size, Ordering::AcqRel);
    }

    /// Returns the read budget.
    #[must_use]
    pub fn budget(&self) -> ReadBudget {
        self.budget.clone()
    }

    /// Returns whether a query failed. Then the fault is not one damaged record, and nothing more can be read.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Records that a right was read from this version of the key; [`Revision::ABSENT`] if it has none.
    pub fn record_read(&mut self, key: VersionKey, version: Revision) {
        if self.is_recording {
            self.read_set.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, version);
        }
    }

    pub(super) async fn conn(&mut self) -> Result<&mut Conn, StoreError> {
        let conn = if let Some(conn) = self.conn.take() {
            conn
        } else {
            // Boxed, because the future is 4 KiB, which every decision would hold whether or not it reads.
            let mut conn = Box::pin(self.database.reader_for(&self.organisation)).await?;
            let begun = conn.begin_read().await;
            self.check_failure(begun)?;
            conn
        };
        Ok(self.conn.insert(conn))
    }

    /// Notes that a query failed, and reports a damaged database, which ends the process.
    fn check_failure<T>(&mut self, read: Result<T, StoreError>) -> Result<T, StoreError> {
        read.inspect_err(|error| {
            self.has_failed = true;
            self.database.report_damage(error);
        })
    }

    /// Loads a tile of the tree.
    pub(super) async fn load_tile(&mut self, id: TileId, width: usize) -> Result<Vec<Hash>, StoreError> {
        let read = log::load_tile(self.conn().await?, id, width).await;
        self.check_failure(read)
    }

    /// Returns the rows of a query.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn fetch(&mut self, sql: &'static str, arguments: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let most = self.budget.begin_statement()?;
        let rows = self.conn().await?.fetch_at_most(sql, arguments, most).await;
        let rows = self.check_failure(rows)?;
        self.budget.count_rows(rows.len())?;
        Ok(rows)
    }

    /// Returns the first row of a query, if there is one.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn fetch_one(
        &mut self,
        sql: &'static str,
        arguments: Vec<Value>,
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.fetch(sql, arguments).await?.into_iter().next())
    }

    /// Returns the rows whose blob column is one of `keys`. `sql` ends before the condition's operator
    /// (`… WHERE h.key`).
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn fetch_by_keys<'a>(
        &mut self,
        sql: &'static str,
        keys: impl IntoIterator<Item = &'a VersionKey>,
    ) -> Result<Vec<Row>, StoreError> {
        let keys = keys.into_iter().map(|key| key.as_bytes().to_vec()).collect();
        self.budget.begin_statement()?;
        let rows = self.conn().await?.fetch_by_keys(sql, keys).await;
        let rows = self.check_failure(rows)?;
        self.budget.count_rows(rows.len())?;
        Ok(rows)
    }

    /// Returns the rows of a query about the members of a set, which stands where `sql` has `IN SET`
    /// (`… WHERE p.placement IN SET GROUP BY p.placement`). The arguments are `$1` and so on.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn fetch_in_set(
        &mut self,
        sql: &'static str,
        arguments: Vec<Value>,
        set: ValueSet,
    ) -> Result<Vec<Row>, StoreError> {
        self.budget.begin_statement()?;
        let rows = self.conn().await?.fetch_in_set(sql, arguments, set).await;
        let rows = self.check_failure(rows)?;
        self.budget.count_rows(rows.len())?;
        Ok(rows)
    }

    /// Returns the rows that the entries from `from` (inclusive) to `to` (exclusive) wrote to a table of records, with
    /// every column in the order of the declaration.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn scan(&mut self, table: &'static Table, from: i64, to: i64) -> Result<Vec<Row>, StoreError> {
        self.budget.begin_statement()?;
        let rows = self.conn().await?.scan(table, from, to).await;
        let rows = self.check_failure(rows)?;
        self.budget.count_rows(rows.len())?;
        Ok(rows)
    }

    /// Returns every column that the database has, declared or not, each with its table.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn stored_columns(&mut self) -> Result<Vec<(String, String)>, StoreError> {
        let read = self.conn().await?.stored_columns().await;
        self.check_failure(read)
    }

    /// Compares the indexes, triggers and views of the database with those that the migrations make.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn schema_differences(&mut self) -> Result<SchemaDifferences, StoreError> {
        let read = self.conn().await?.schema_differences().await;
        self.check_failure(read)
    }

    /// Returns how many of the first entries are indexed by caller and by placement.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn indexed_up_to(&mut self) -> Result<i64, StoreError> {
        let read = log_indexer::indexed_up_to(self.conn().await?).await;
        self.check_failure(read).map(db_int)
    }

    /// Reads the records of a query that [`select!`](crate::select!) made.
    ///
    /// # Errors
    /// [`StoreError`] when the query fails, or a record is damaged.
    pub async fn select<R: Record>(
        &mut self,
        sql: &'static str,
        arguments: Vec<Value>,
    ) -> Result<Vec<R>, StoreError> {
        self.fetch(sql, arguments).await?.iter().map(R::read).collect()
    }

    /// Reads the record that is the newest version of a key.
    ///
    /// # Errors
    /// As for [`Snapshot::select`]; also when the record names another key, because a next version made from it would
    /// leave this key as it is.
    pub async fn newest<R: Record>(&mut self, key: &VersionKey) -> Result<Option<R>, StoreError> {
        let row = self.fetch_one(R::SELECT_NEWEST, vec![key.as_bytes().into()]).await?;
        let Some(record) = row.as_ref().map(R::read).transpose()? else { return Ok(None) };
        let is_own = record.versions().iter().any(|(own, _)| own == key);
        // Damage of one record, which hides no other of a list.
        is_own.then_some(Some(record)).ok_or_else(|| StoreError::corrupt(R::TABLE.name, "key"))
    }

    /// Reads the records that are the newest versions of these keys, in no order.
    ///
    /// # Errors
    /// As for [`Snapshot::select`].
    pub async fn newest_by_keys<'a, R: Record>(
        &mut self,
        keys: impl IntoIterator<Item = &'a VersionKey>,
    ) -> Result<Vec<R>, StoreError> {
        self.fetch_by_keys(R::SELECT_NEWEST_BY_KEYS, keys).await?.iter().map(R::read).collect()
    }

    /// Reads the records that the entry at an index wrote, in the order of their ordinals.
    ///
    /// # Errors
    /// As for [`Snapshot::select`].
    pub async fn written_at<R: Record>(&mut self, index: EntryIndex) -> Result<Vec<R>, StoreError> {
        self.select(R::SELECT_WRITTEN, vec![index.into()]).await
    }

    /// Returns the current version of a key, [`Revision::ABSENT`] if it has none.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn current_version(&mut self, key: &VersionKey) -> Result<Revision, StoreError> {
        let sql = "SELECT version FROM current_versions WHERE key = $1";
        let row = self.fetch_one(sql, vec![key.as_bytes().into()]).await?;
        row.map_or(Ok(Revision::ABSENT), |row| row.get("version"))
    }

    /// Returns the current versions of those of the keys that have one.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn current_versions<'a>(
        &mut self,
        keys: impl IntoIterator<Item = &'a VersionKey>,
    ) -> Result<HashMap<VersionKey, Revision>, StoreError> {
        let sql = "SELECT v.key, v.version FROM current_versions v WHERE v.key";
        let rows = self.fetch_by_keys(sql, keys).await?;
        rows.iter().map(|row| Ok((row.get("key")?, row.get("version")?))).collect()
    }
}
