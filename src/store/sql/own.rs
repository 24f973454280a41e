//! The committer's own connection to SQLite. Its statements run on the thread that asks for them: over a pool
//! each of them would go to another thread and back, and on a busy machine that was nearly all of what a group
//! cost. So whoever holds one waits for the disk with it, and the committer has a thread to itself.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, OpenFlags, ToSql};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::{Row, StoreError, Table, Value};

/// Statements kept prepared: a handful a table.
const STATEMENTS: usize = 256;

/// Settings without which an acknowledged return could be lost, or not be erased. A COMMIT writes to the write-ahead
/// log and [`Unsynced`] syncs it. The log is folded back by the committer alone: SQLite would do so inside a COMMIT,
/// and not tell of a sync that failed. Pages kept are 16 MiB: what is written is spread over the day's marks, and
/// SQLite's own 2 MiB would be read again and again.
const SETTINGS: &str = "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; \
     PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON; PRAGMA wal_autocheckpoint = 0; \
     PRAGMA cache_size = -16384;";

const CLOSED: StoreError = StoreError::Inconsistent("the committer's connection is closed");

/// Copies what it can without making anybody wait.
pub(super) const FOLD_BACK: &str = "PRAGMA wal_checkpoint(PASSIVE)";

/// Where the connection is kept between those who use it, one at a time.
#[derive(Clone, Debug)]
pub struct Place {
    path: Arc<PathBuf>,
    connection: Arc<Mutex<Option<Connected>>>,
}

/// A connection with the write-ahead log that it writes to, once it has: SQLite keeps that file for as long as
/// somebody is connected.
#[derive(Debug)]
pub(super) struct Connected {
    connection: Connection,
    log: Option<Arc<File>>,
}

/// What was committed but may not be on the disk yet: until it is synced nobody may be told of it.
#[must_use = "what was committed is not durable before it is synced"]
pub struct Unsynced(Option<Arc<File>>);

impl Unsynced {
    /// What the database has synced by itself.
    pub const NONE: Self = Self(None);

    /// Makes this and everything that was committed before durable.
    ///
    /// # Errors
    /// [`StoreError::Disk`]: what is on the disk is not known any more.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.0.as_ref().map_or(Ok(()), |log| log.sync_data()).map_err(unknown)
    }
}

/// Folds the write-ahead log back over a connection of its own, opened when it is first needed.
pub struct Folder {
    place: Place,
    connection: Option<Connection>,
}

impl Folder {
    pub(super) fn of(place: &Place) -> Self {
        Self { place: place.clone(), connection: None }
    }

    /// Copies the write-ahead log into the database, as far as no reader needs it.
    ///
    /// # Errors
    /// As [`StoreError`] says; [`StoreError::Disk`] when a sync failed.
    pub fn fold_back(&mut self) -> Result<(), StoreError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.place.path, false)?,
        };
        Ok(self.connection.insert(connection).execute_batch(FOLD_BACK)?)
    }
}

/// The connection, while it is held.
pub struct Own(OwnedMutexGuard<Option<Connected>>);

impl Place {
    /// Opens the file; makes it when told to.
    pub fn open(path: &Path, create: bool) -> Result<Self, StoreError> {
        let connected = Connected { connection: connect(path, create)?, log: None };
        Ok(Self { path: Arc::new(path.to_owned()), connection: Arc::new(Mutex::new(Some(connected))) })
    }

    /// The connection, when its turn has come, without an open transaction.
    pub async fn take(&self) -> Result<Own, StoreError> {
        let mut held = Arc::clone(&self.connection).lock_owned().await;
        // Whoever was dropped in the middle left its transaction open.
        if let Some(Connected { connection, .. }) = held.as_ref()
            && !connection.is_autocommit()
            && connection.execute_batch("ROLLBACK").is_err()
        {
            *held = None;
        }
        if held.is_none() {
            *held = Some(Connected { connection: connect(&self.path, false)?, log: None });
        }
        Ok(Own(held))
    }

    /// Closes the connection; the last of a file folds the write-ahead log back.
    pub async fn close(&self) {
        drop(self.connection.lock().await.take());
    }
}

fn connect(path: &Path, create: bool) -> Result<Connection, StoreError> {
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    flags.set(OpenFlags::SQLITE_OPEN_CREATE, create);
    let connection = Connection::open_with_flags(path, flags)?;
    connection.execute_batch(SETTINGS)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

impl Own {
    fn connection(&self) -> Result<&Connection, StoreError> {
        let connected = self.0.as_ref().ok_or(CLOSED)?;
        Ok(&connected.connection)
    }

    /// Commits: what was written is readable then, and durable once it is synced.
    pub fn commit(&mut self) -> Result<Unsynced, StoreError> {
        let Connected { connection, log } = self.0.as_mut().ok_or(CLOSED)?;
        connection.execute_batch("COMMIT")?;
        let log = if let Some(log) = log {
            log
        } else {
            let database = connection.path().ok_or(CLOSED)?;
            log.insert(Arc::new(File::open(format!("{database}-wal")).map_err(unknown)?))
        };
        Ok(Unsynced(Some(Arc::clone(log))))
    }

    /// Runs statements that take no arguments.
    pub fn command(&self, sql: &str) -> Result<(), StoreError> {
        Ok(self.connection()?.execute_batch(sql)?)
    }

    /// Runs a statement without a result.
    pub fn execute(&self, sql: &str, arguments: &[Value]) -> Result<u64, StoreError> {
        let mut statement = self.connection()?.prepare_cached(sql)?;
        bind(&mut statement, arguments)?;
        Ok(statement.raw_execute()? as u64)
    }

    /// The rows of a query.
    pub fn fetch(&self, sql: &'static str, arguments: &[Value]) -> Result<Vec<Row>, StoreError> {
        let mut statement = self.connection()?.prepare_cached(sql)?;
        bind(&mut statement, arguments)?;
        let mut found = Vec::new();
        read(&mut statement, sql, &mut found)?;
        Ok(found)
    }

    /// The rows whose blob column is one of `keys`, looked up one by one.
    pub fn fetch_among(&self, sql: &'static str, keys: &[Vec<u8>]) -> Result<Vec<Row>, StoreError> {
        let mut statement = self.connection()?.prepare_cached(&format!("{sql} = ?"))?;
        let mut found = Vec::new();
        for key in keys {
            statement.raw_bind_parameter(1, key)?;
            read(&mut statement, sql, &mut found)?;
        }
        Ok(found)
    }

    /// Inserts whole rows, in order, by one prepared statement.
    pub fn insert(&self, table: &Table, on_key: &str, rows: &[Vec<Value>]) -> Result<(), StoreError> {
        let names: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
        let marks = vec!["?"; names.len()].join(",");
        let text = format!("INSERT INTO {} ({}) VALUES ({marks}){on_key}", table.name, names.join(","));
        let mut statement = self.connection()?.prepare_cached(&text)?;
        for row in rows {
            for (at, value) in (1..).zip(row) {
                statement.raw_bind_parameter(at, value)?;
            }
            statement.raw_execute()?;
        }
        Ok(())
    }

    /// Rolls back what is open; a connection that cannot is given up, and the next is a new one.
    pub fn abandon(mut self) {
        let open = self.connection().is_ok_and(|connection| !connection.is_autocommit());
        if open && let Err(error) = self.command("ROLLBACK") {
            tracing::debug!(error = %error, "a broken connection is given up");
            *self.0 = None;
        }
    }
}

/// What was committed could not be synced: whether it is on the disk is not known.
fn unknown(error: std::io::Error) -> StoreError {
    StoreError::Disk(error.into())
}

/// Binds by the number in `$1`: SQLite itself numbers such parameters in the order in which they appear.
fn bind(statement: &mut CachedStatement<'_>, arguments: &[Value]) -> Result<(), StoreError> {
    for at in 1..=statement.parameter_count() {
        let number = statement.parameter_name(at).and_then(|name| name.strip_prefix('$')?.parse().ok());
        let value = arguments.get(number.unwrap_or(at).saturating_sub(1));
        let value = value.ok_or(StoreError::Inconsistent("a statement has a parameter too many"))?;
        statement.raw_bind_parameter(at, value)?;
    }
    Ok(())
}

fn read(
    statement: &mut CachedStatement<'_>,
    sql: &'static str,
    found: &mut Vec<Row>,
) -> Result<(), StoreError> {
    let columns = statement.column_count();
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        let value = |column| match row.get_ref(column)? {
            ValueRef::Null => Ok(Value::Int(None)),
            ValueRef::Integer(value) => Ok(value.into()),
            ValueRef::Text(text) => {
                let text = std::str::from_utf8(text);
                text.map(Value::from).map_err(|_| StoreError::Corrupt { table: sql, column })
            }
            ValueRef::Blob(bytes) => Ok(bytes.into()),
            ValueRef::Real(_) => Err(StoreError::Corrupt { table: sql, column }),
        };
        found.push(Row::new((0..columns).map(value).collect::<Result<_, StoreError>>()?, sql));
    }
    Ok(())
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Int(value) => value.map_or(ValueRef::Null, ValueRef::Integer),
            Self::Text(value) => {
                value.as_ref().map_or(ValueRef::Null, |text| ValueRef::Text(text.as_bytes()))
            }
            Self::Blob(value) => value.as_ref().map_or(ValueRef::Null, |bytes| ValueRef::Blob(bytes)),
        }))
    }
}
