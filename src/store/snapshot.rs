//! A snapshot: everything read through it is of one moment, on the primary. Handlers decide from it and
//! name what they rested on as guards; they never hold a write transaction.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::budget::{ReadBudget, ReadLimits};
use super::key::Key;
use super::log;
use super::proposal::Guard;
use super::sql::{Conn, Database, Row, StoreError, Value};

/// A read transaction, opened by the first query. Dropping it gives the connection back, which ends the
/// transaction.
pub struct Snapshot {
    database: Database,
    conn: Option<Conn>,
    read_set: ReadSet,
    is_recording: bool,
    budget: ReadBudget,
    has_failed: bool,
}

/// The versions from which somebody's right to something was read. Functions that read a right record it here, so that
/// every exchange is committed under guards on them, whether or not its handler thinks of it. Cheap to clone.
#[derive(Clone, Default)]
pub struct ReadSet(Arc<Mutex<HashMap<Key, i64>>>);

impl ReadSet {
    /// Returns what was recorded, as guards.
    #[must_use]
    pub fn guards(&self) -> Vec<Guard> {
        // A panic elsewhere leaves the map whole: every change is one insertion.
        let read = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        read.iter().map(|(key, version)| Guard { key: key.clone(), version: *version }).collect()
    }
}

impl Snapshot {
    /// A snapshot of the moment of its first query; until then it costs nothing.
    #[must_use]
    pub fn of(database: &Database) -> Self {
        Self {
            database: database.clone(),
            conn: None,
            read_set: ReadSet::default(),
            is_recording: false,
            budget: ReadBudget::new(ReadLimits::NONE),
            has_failed: false,
        }
    }

    /// Makes a snapshot for a decision that will be committed: it records what rights were read from, and no more than
    /// the limits is read through it. Beyond them each query gives [`StoreError::LimitExceeded`], and the rows of a
    /// query are not even fetched.
    #[must_use]
    pub fn recording(database: &Database, limits: ReadLimits) -> Self {
        Self { is_recording: true, budget: ReadBudget::new(limits), ..Self::of(database) }
    }

    /// Returns the set in which the snapshot records.
    #[must_use]
    pub fn read_set(&self) -> ReadSet {
        self.read_set.clone()
    }

    /// Returns what was read, against the limits.
    #[must_use]
    pub fn budget(&self) -> ReadBudget {
        self.budget.clone()
    }

    /// Returns whether a query failed, so that what is wrong is not one record, and no more can be read.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Records that a right rests on this version of the key, 0 for its absence.
    pub fn rest_on(&mut self, key: Key, version: i64) {
        if self.is_recording {
            self.read_set.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, version);
        }
    }

    pub(super) async fn conn(&mut self) -> Result<&mut Conn, StoreError> {
        let conn = if let Some(conn) = self.conn.take() {
            conn
        } else {
            // In a box: four kilobytes that every decision would carry, whether or not it reads.
            let mut conn = Box::pin(self.database.reader()).await?;
            conn.begin_read().await?;
            conn
        };
        Ok(self.conn.insert(conn))
    }

    /// The rows of a query.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn fetch(&mut self, sql: &'static str, arguments: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let most = self.budget.begin_statement()?;
        let rows = self.conn().await?.fetch_at_most(sql, arguments, most).await;
        let rows = rows.inspect_err(|_| self.has_failed = true)?;
        self.budget.count_rows(rows.len())?;
        Ok(rows)
    }

    /// The first row of a query, if there is one.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn fetch_one(
        &mut self,
        sql: &'static str,
        arguments: Vec<Value>,
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.fetch(sql, arguments).await?.into_iter().next())
    }

    /// The rows whose blob column is one of `keys`; `sql` ends where the list begins (`… WHERE h.key`).
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn fetch_among<'a>(
        &mut self,
        sql: &'static str,
        keys: impl IntoIterator<Item = &'a Key>,
    ) -> Result<Vec<Row>, StoreError> {
        let keys = keys.into_iter().map(|key| key.as_bytes().to_vec()).collect();
        self.budget.begin_statement()?;
        let rows = self.conn().await?.fetch_among(sql, keys).await;
        let rows = rows.inspect_err(|_| self.has_failed = true)?;
        self.budget.count_rows(rows.len())?;
        Ok(rows)
    }

    /// The index up to which the callers of entries are sorted in.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn callers_sorted_in(&mut self) -> Result<i64, StoreError> {
        log::callers_sorted_in(self.conn().await?).await
    }

    /// The version of a key, 0 where it has none.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn version(&mut self, key: &Key) -> Result<i64, StoreError> {
        let sql = "SELECT version FROM heads WHERE key = $1";
        let row = self.fetch_one(sql, vec![key.as_bytes().into()]).await?;
        row.map_or(Ok(0), |row| row.int(0))
    }
}
