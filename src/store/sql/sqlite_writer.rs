//! The committer's connection to SQLite, by rusqlite. Its statements run on the calling thread. With sqlx each
//! statement would go to another thread and back, which on a busy machine was nearly all of a group's cost. The calling
//! thread therefore blocks on the disk, so the committer has a thread of its own.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, OpenFlags, ToSql};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::value::ColumnNames;
use super::{Row, StoreError, Table, Value};

/// Maximum number of cached prepared statements: a few for each table.
const MAX_CACHED_STATEMENTS: usize = 256;

/// Settings without which an acknowledged return could be lost, or deleted data could be recovered. COMMIT writes to
/// the write-ahead log, and [`UnsyncedCommit`] syncs it. Automatic checkpoints are off, because they run inside a COMMIT and
/// do not report a failed sync. The page cache is 16 MiB, because writes are spread over the pages of a day's marks,
/// which do not fit in SQLite's default of 2 MiB.
const WRITER_PRAGMAS: &str = "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; \
     PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON; PRAGMA wal_autocheckpoint = 0; \
     PRAGMA cache_size = -16384;";

const WRITER_CLOSED: StoreError = StoreError::Inconsistent("the committer's connection is closed");

/// Checkpoints as many frames as it can without waiting for readers or writers.
pub(super) const CHECKPOINT_WAL: &str = "PRAGMA wal_checkpoint(PASSIVE)";

/// The pool of the one writing connection, which is used by one task at a time. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SqliteWriterPool {
    path: Arc<PathBuf>,
    connection: Arc<Mutex<Option<WriterConnection>>>,
}

/// A connection and, after its first COMMIT, the file of its write-ahead log. SQLite keeps that file as long as any
/// connection is open.
#[derive(Debug)]
pub(super) struct WriterConnection {
    connection: Connection,
    wal: Option<Arc<File>>,
}

/// A commit that may not be on the disk yet. No outcome may be returned before it is synced.
#[must_use = "a commit is not durable before it is synced"]
pub struct UnsyncedCommit(Option<Arc<File>>);

impl UnsyncedCommit {
    /// A commit that the database has synced.
    pub const ALREADY_SYNCED: Self = Self(None);

    /// Returns whether nothing is left to sync.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.0.is_none()
    }

    /// Syncs the write-ahead log, which makes this commit and all earlier ones durable.
    ///
    /// # Errors
    /// [`StoreError::Disk`]: what is on the disk is not known any more.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.0.as_ref().map_or(Ok(()), |log| log.sync_data()).map_err(sync_failed)
    }
}

/// A checkpointer of the write-ahead log, with a connection of its own that is opened when it is first needed.
pub struct SqliteWalCheckpointer {
    writer: SqliteWriterPool,
    connection: Option<Connection>,
}

impl SqliteWalCheckpointer {
    pub(super) fn new(place: &SqliteWriterPool) -> Self {
        Self { writer: place.clone(), connection: None }
    }

    /// Checkpoints the write-ahead log, except frames that readers still need.
    ///
    /// # Errors
    /// [`StoreError::Disk`] if a sync failed; otherwise see [`StoreError`].
    pub fn checkpoint_wal(&mut self) -> Result<(), StoreError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.writer.path, false)?,
        };
        Ok(self.connection.insert(connection).execute_batch(CHECKPOINT_WAL)?)
    }
}

/// The acquired writing connection; dropping it releases it.
pub struct SqliteWriter(OwnedMutexGuard<Option<WriterConnection>>);

impl SqliteWriterPool {
    /// Opens the database file; makes it if `create` is set.
    pub fn open(path: &Path, create: bool) -> Result<Self, StoreError> {
        let connected = WriterConnection { connection: connect(path, create)?, wal: None };
        Ok(Self { path: Arc::new(path.to_owned()), connection: Arc::new(Mutex::new(Some(connected))) })
    }

    /// Waits for the connection and acquires it, without an open transaction.
    pub async fn acquire(&self) -> Result<SqliteWriter, StoreError> {
        let mut guard = Arc::clone(&self.connection).lock_owned().await;
        // A task that was cancelled may have left its transaction open.
        if let Some(WriterConnection { connection, .. }) = guard.as_ref()
            && !connection.is_autocommit()
            && connection.execute_batch("ROLLBACK").is_err()
        {
            *guard = None;
        }
        if guard.is_none() {
            *guard = Some(WriterConnection { connection: connect(&self.path, false)?, wal: None });
        }
        Ok(SqliteWriter(guard))
    }

    /// Returns the free bytes of the disk that holds the database; `None` if the system does not report them.
    pub fn free_bytes(&self) -> Option<u64> {
        let disk = rustix::fs::statvfs(&*self.path).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Closes the connection. When the last connection of a file closes, SQLite checkpoints its write-ahead log.
    pub async fn close(&self) {
        drop(self.connection.lock().await.take());
    }

    /// Closes the connection and leaves a write-ahead log with commits as it is. An empty one is removed.
    pub async fn close_without_checkpoint(&self) {
        let Some(WriterConnection { connection, .. }) = self.connection.lock().await.take() else { return };
        let length =
            connection.path().map(|path| std::fs::metadata(format!("{path}-wal")).map(|wal| wal.len()));
        if !matches!(length, Some(Ok(0)))
            && let Err(error) = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        {
            tracing::debug!(error = %error, "the database is checkpointed when it is closed");
        }
    }
}

fn connect(path: &Path, create: bool) -> Result<Connection, StoreError> {
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    flags.set(OpenFlags::SQLITE_OPEN_CREATE, create);
    let connection = Connection::open_with_flags(path, flags)?;
    connection.execute_batch(WRITER_PRAGMAS)?;
    connection.set_prepared_statement_cache_capacity(MAX_CACHED_STATEMENTS);
    Ok(connection)
}

impl SqliteWriter {
    fn connection(&self) -> Result<&Connection, StoreError> {
        let connected = self.0.as_ref().ok_or(WRITER_CLOSED)?;
        Ok(&connected.connection)
    }

    /// Commits. The rows can be read at once, and are durable once the result is synced.
    pub fn commit(&mut self) -> Result<UnsyncedCommit, StoreError> {
        let WriterConnection { connection, wal: log } = self.0.as_mut().ok_or(WRITER_CLOSED)?;
        connection.execute_batch("COMMIT")?;
        let log = if let Some(log) = log {
            log
        } else {
            let database = connection.path().ok_or(WRITER_CLOSED)?;
            log.insert(Arc::new(File::open(format!("{database}-wal")).map_err(sync_failed)?))
        };
        Ok(UnsyncedCommit(Some(Arc::clone(log))))
    }

    /// Syncs the write-ahead log, unless it is empty. A process that was killed may have left commits in it that only
    /// the operating system's cache holds.
    pub fn sync_wal(&self) -> Result<(), StoreError> {
        let database = self.connection()?.path().ok_or(WRITER_CLOSED)?;
        let wal = match File::open(format!("{database}-wal")) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            opened => opened.map_err(sync_failed)?,
        };
        let length = wal.metadata().map_err(sync_failed)?.len();
        if length > 0 { wal.sync_data().map_err(sync_failed) } else { Ok(()) }
    }

    /// Returns whether SQLite opened the file for reading only, because it may not write to it.
    pub fn is_read_only(&self) -> Result<bool, StoreError> {
        Ok(self.connection()?.is_readonly("main")?)
    }

    /// Runs statements without arguments.
    pub fn command(&self, sql: &str) -> Result<(), StoreError> {
        Ok(self.connection()?.execute_batch(sql)?)
    }

    /// Runs a statement that returns no rows. Returns the number of affected rows.
    pub fn execute(&self, sql: &str, arguments: &[Value]) -> Result<u64, StoreError> {
        let mut statement = self.connection()?.prepare_cached(sql)?;
        bind(&mut statement, arguments)?;
        Ok(statement.raw_execute()? as u64)
    }

    /// Returns the rows of a query.
    pub fn fetch(&self, sql: &'static str, arguments: &[Value]) -> Result<Vec<Row>, StoreError> {
        self.fetch_text(sql, sql, arguments)
    }

    /// Returns the rows of a query that was built; errors name `label`.
    pub fn fetch_text(
        &self,
        sql: &str,
        label: &'static str,
        arguments: &[Value],
    ) -> Result<Vec<Row>, StoreError> {
        let mut statement = self.connection()?.prepare_cached(sql)?;
        bind(&mut statement, arguments)?;
        let mut found = Vec::new();
        read_rows(&mut statement, label, &mut found)?;
        Ok(found)
    }

    /// Returns the rows whose blob column is one of `keys`, which are looked up one by one.
    pub fn fetch_by_keys(&self, sql: &'static str, keys: &[Vec<u8>]) -> Result<Vec<Row>, StoreError> {
        let mut statement = self.connection()?.prepare_cached(&format!("{sql} = ?"))?;
        let mut found = Vec::new();
        for key in keys {
            statement.raw_bind_parameter(1, key)?;
            read_rows(&mut statement, sql, &mut found)?;
        }
        Ok(found)
    }

    /// Inserts rows, in order, by one prepared statement.
    pub fn insert(&self, table: &Table, on_key: &str, rows: &[Vec<Value>]) -> Result<(), StoreError> {
        let names: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
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

    /// Rolls back the open transaction, if there is one. A connection that cannot is closed, and reopened when it is
    /// next acquired.
    pub fn rollback(mut self) {
        let open = self.connection().is_ok_and(|connection| !connection.is_autocommit());
        if open && let Err(error) = self.command("ROLLBACK") {
            tracing::debug!(error = %error, "a broken connection is closed");
            *self.0 = None;
        }
    }
}

/// Returns the error of a failed sync: whether the commit is on the disk is not known.
fn sync_failed(error: std::io::Error) -> StoreError {
    StoreError::Disk(error.into())
}

/// Binds arguments by the number in `$1`, because SQLite numbers such parameters in the order in which they appear.
fn bind(statement: &mut CachedStatement<'_>, arguments: &[Value]) -> Result<(), StoreError> {
    for at in 1..=statement.parameter_count() {
        let number = statement.parameter_name(at).and_then(|name| name.strip_prefix('$')?.parse().ok());
        let value = arguments.get(number.unwrap_or(at).saturating_sub(1));
        let value =
            value.ok_or(StoreError::Inconsistent("a statement has more parameters than arguments"))?;
        statement.raw_bind_parameter(at, value)?;
    }
    Ok(())
}

fn read_rows(
    statement: &mut CachedStatement<'_>,
    sql: &'static str,
    found: &mut Vec<Row>,
) -> Result<(), StoreError> {
    let names: ColumnNames = statement.column_names().into_iter().map(Box::from).collect();
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        let value = |(position, name): (usize, &str)| match row.get_ref(position)? {
            ValueRef::Null => Ok(Value::Int(None)),
            ValueRef::Integer(value) => Ok(value.into()),
            ValueRef::Text(text) => {
                let text = std::str::from_utf8(text);
                text.map(Value::from).map_err(|_| StoreError::corrupt(sql, name))
            }
            ValueRef::Blob(bytes) => Ok(bytes.into()),
            ValueRef::Real(_) => Err(StoreError::corrupt(sql, name)),
        };
        let values =
            names.iter().map(AsRef::as_ref).enumerate().map(value).collect::<Result<_, StoreError>>()?;
        found.push(Row::new(values, ColumnNames::clone(&names), sql));
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
