//! Connections to SQLite or PostgreSQL.

use sqlx::postgres::PgRow;
use sqlx::query::Query;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Column as _, Executor, Postgres, Row as _, Sqlite, TypeInfo, ValueRef, query};
use tokio_stream::StreamExt as _;

use super::commit_notices::with_warnings;
use super::lease::{Lease, PostgresConn};
use super::postgres_settings::{self, DURABILITY_QUERY};
use super::sqlite_writer::{CHECKPOINT_WAL, SqliteWriter, UnsyncedCommit};
use super::timeouts::{MAX_PROBE_TIME, with_timeout};
use super::value::ColumnNames;
use super::{Row, StoreError, Value};
use crate::clock::Instant;

/// A connection to either database.
pub enum Conn {
    /// The committer's connection to the node's SQLite file.
    SqliteWriter(SqliteWriter),
    /// A read-only connection to the SQLite file.
    SqliteReader(Lease<Sqlite>),
    /// A connection to the PostgreSQL that the nodes share.
    Postgres(PostgresConn),
}

/// Maximum number of keys in one statement of a SQLite reader: a power of two below SQLite's limit of 32,766
/// parameters.
const MAX_KEYS_PER_STATEMENT: usize = 16_384;

/// Begins a write transaction, takes the lock, and reads the settings as [`DURABILITY_QUERY`] does.
const BEGIN_WRITE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock(7017218301); \
     SELECT current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes, \
     current_setting('synchronous_standby_names') AS standbys";

pub(super) const READ_ONLY: StoreError = StoreError::Inconsistent("a reader cannot write");

impl Conn {
    /// Runs a statement that returns no rows. Returns the number of affected rows.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn execute(&mut self, sql: &'static str, arguments: Vec<Value>) -> Result<u64, StoreError> {
        Ok(match self {
            Self::SqliteWriter(writer) => writer.execute(sql, &arguments)?,
            Self::SqliteReader(conn) => {
                bind_sqlite(query(sql), arguments).execute(conn.get()?).await?.rows_affected()
            }
            Self::Postgres(conn) => {
                let done = with_timeout(bind_postgres(query(sql), arguments).execute(conn.get()?)).await;
                conn.checked(done)?.rows_affected()
            }
        })
    }

    /// Runs statements without arguments that are not worth preparing: `BEGIN`, `COMMIT`, settings.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn command(&mut self, sql: &'static str) -> Result<(), StoreError> {
        match self {
            Self::SqliteWriter(writer) => writer.command(sql)?,
            Self::SqliteReader(conn) => conn.get()?.execute(sql).await.map(drop)?,
            Self::Postgres(conn) => {
                let done = with_timeout(conn.get()?.execute(sql)).await;
                conn.checked(done).map(drop)?;
            }
        }
        Ok(())
    }

    /// Begins a write transaction and waits for the lock that all nodes share: SQLite's write lock, or a PostgreSQL
    /// advisory lock, which is taken by a statement of its own so that later reads are made under it.
    ///
    /// # Errors
    /// [`StoreError::NotDurable`] if PostgreSQL's settings would let an acknowledged commit be lost; otherwise see
    /// [`StoreError`].
    pub async fn begin_write(&mut self) -> Result<(), StoreError> {
        match self {
            Self::SqliteWriter(writer) => writer.command("BEGIN IMMEDIATE"),
            Self::SqliteReader(_) => Err(READ_ONLY),
            Self::Postgres(conn) => {
                conn.lease.set_in_transaction(true);
                // One message, so that looking at the settings costs no round trip.
                let rows = with_timeout(conn.get()?.fetch_all(BEGIN_WRITE)).await?;
                let settings =
                    rows_from_postgres(rows.get(1..).unwrap_or_default(), "PostgreSQL's settings")?;
                let settings =
                    settings.first().ok_or(StoreError::Inconsistent("PostgreSQL has no settings"))?;
                let fault = postgres_settings::durability_fault(settings, conn.needs_standby)?;
                fault.map_or(Ok(()), |fault| Err(StoreError::NotDurable(fault)))
            }
        }
    }

    /// Checks, in a write transaction, that the database is not read-only. A PostgreSQL session that is stays so, so its
    /// connection is then not used again.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`] if it is; otherwise see [`StoreError`].
    pub async fn assert_writable(&mut self) -> Result<(), StoreError> {
        let is_read_only = match self {
            Self::SqliteWriter(writer) => writer.is_read_only()?,
            Self::SqliteReader(_) => true,
            Self::Postgres(_) => {
                let sql = "SELECT current_setting('transaction_read_only') AS setting";
                let row = self.fetch_one(sql, vec![]).await?;
                row.map(|row| row.get_str("setting").map(|setting| setting == "on")).transpose()?
                    != Some(false)
            }
        };
        if !is_read_only {
            return Ok(());
        }
        if let Self::Postgres(conn) = self {
            conn.lease.spoil();
        }
        Err(StoreError::Unreachable("the database is read-only".into()))
    }

    /// Returns why an acknowledged commit could be lost with PostgreSQL's present settings; `None` if it could not, and
    /// for SQLite, whose settings are its connection's own.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn durability_fault(&mut self) -> Result<Option<&'static str>, StoreError> {
        let Self::Postgres(PostgresConn { needs_standby, .. }) = self else { return Ok(None) };
        let needs_standby = *needs_standby;
        let row = self.fetch_one(DURABILITY_QUERY, vec![]).await?;
        let row = row.ok_or(StoreError::Inconsistent("PostgreSQL has no settings"))?;
        postgres_settings::durability_fault(&row, needs_standby)
    }

    /// Returns PostgreSQL's time; `None` for SQLite, which has no clock but this node's.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn clock(&mut self) -> Result<Option<Instant>, StoreError> {
        if let Self::SqliteWriter(_) | Self::SqliteReader(_) = self {
            return Ok(None);
        }
        let sql = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) AS micros";
        let row = self.fetch_one(sql, vec![]).await?;
        let micros = row.map(|row| row.get("micros")).transpose()?;
        Ok(micros.and_then(|micros| Instant::from_micros(micros).ok()))
    }

    /// Commits, makes the transaction durable, and sends other nodes a hint to read the log.
    ///
    /// # Errors
    /// See [`StoreError`]. The transaction may have been committed nevertheless.
    pub async fn commit(&mut self) -> Result<(), StoreError> {
        self.commit_unsynced().await?.sync()
    }

    /// Commits like [`Conn::commit`], but with SQLite the caller must sync the result. PostgreSQL syncs in its COMMIT.
    ///
    /// # Errors
    /// See [`StoreError`]. The transaction may have been committed nevertheless.
    pub async fn commit_unsynced(&mut self) -> Result<UnsyncedCommit, StoreError> {
        match self {
            Self::SqliteWriter(writer) => writer.commit(),
            Self::SqliteReader(_) => Err(READ_ONLY),
            Self::Postgres(conn) => {
                let commit = with_timeout(conn.get()?.execute("NOTIFY ap_gateway; COMMIT"));
                let (committed, is_warned) = with_warnings(commit).await;
                committed?;
                conn.lease.set_in_transaction(false);
                if is_warned {
                    return Err(StoreError::Unreachable(
                        "PostgreSQL warned that the commit may be lost".into(),
                    ));
                }
                Ok(UnsyncedCommit::ALREADY_SYNCED)
            }
        }
    }

    /// Checkpoints SQLite's write-ahead log, except frames that readers still need. PostgreSQL checkpoints by itself.
    ///
    /// # Errors
    /// [`StoreError::Disk`] if a sync failed; otherwise see [`StoreError`].
    pub fn checkpoint_wal(&mut self) -> Result<(), StoreError> {
        match self {
            Self::SqliteWriter(writer) => writer.command(CHECKPOINT_WAL),
            Self::SqliteReader(_) => Err(READ_ONLY),
            Self::Postgres(_) => Ok(()),
        }
    }

    /// Makes durable what can be read now. With SQLite a process that was killed may have left commits that are not;
    /// PostgreSQL shows none that is not durable.
    ///
    /// # Errors
    /// [`StoreError::Disk`] if the sync failed.
    pub fn sync_committed(&self) -> Result<(), StoreError> {
        match self {
            Self::SqliteWriter(writer) => writer.sync_wal(),
            Self::SqliteReader(_) => Err(READ_ONLY),
            Self::Postgres(_) => Ok(()),
        }
    }

    /// Begins a read transaction: all reads until [`Conn::rollback`] see one snapshot.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn begin_read(&mut self) -> Result<(), StoreError> {
        match self {
            Self::SqliteWriter(_) => {}
            Self::SqliteReader(lease) => lease.set_in_transaction(true),
            Self::Postgres(conn) => {
                conn.lease.set_in_transaction(true);
                return self.command("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await;
            }
        }
        self.command("BEGIN DEFERRED").await
    }

    /// Rolls back the open transaction, if there is one. A connection that cannot is closed instead of reused.
    pub async fn rollback(mut self) {
        match &mut self {
            Self::SqliteWriter(_) => {
                if let Self::SqliteWriter(writer) = self {
                    writer.rollback();
                }
            }
            // A dropped lease rolls back in the background.
            Self::SqliteReader(_) => {}
            Self::Postgres(conn) if conn.lease.is_in_transaction() => {
                let ended = tokio::time::timeout(MAX_PROBE_TIME, self.command("ROLLBACK")).await;
                if let Self::Postgres(mut conn) = self {
                    match ended {
                        Ok(Ok(())) => conn.lease.set_in_transaction(false),
                        Ok(Err(_)) | Err(_) => conn.lease.discard(),
                    }
                }
            }
            Self::Postgres(_) => {}
        }
    }

    /// Returns the rows of a query.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn fetch(&mut self, sql: &'static str, arguments: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        self.fetch_at_most(sql, arguments, usize::MAX).await
    }

    /// Returns the first `most` rows of a query. A reader stops the query there; the SQLite writer returns all rows.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn fetch_at_most(
        &mut self,
        sql: &'static str,
        arguments: Vec<Value>,
        most: usize,
    ) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::SqliteWriter(writer) => writer.fetch(sql, &arguments),
            Self::SqliteReader(conn) => {
                let rows = bind_sqlite(query(sql), arguments).fetch(conn.get()?).take(most);
                let rows: Vec<SqliteRow> = rows.collect::<Result<_, _>>().await?;
                rows_from_sqlite(&rows, sql)
            }
            Self::Postgres(conn) => {
                let rows = bind_postgres(query(sql), arguments).fetch(conn.get()?).take(most);
                let rows: Vec<PgRow> = with_timeout(rows.collect::<Result<_, _>>()).await?;
                rows_from_postgres(&rows, sql)
            }
        }
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

    /// Returns the rows whose blob column is one of `keys`. `sql` ends before the condition's operator (`… WHERE key`).
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn fetch_by_keys(
        &mut self,
        sql: &'static str,
        mut keys: Vec<Vec<u8>>,
    ) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::SqliteWriter(writer) => writer.fetch_by_keys(sql, &keys),
            Self::SqliteReader(conn) => {
                let mut found = Vec::with_capacity(keys.len());
                while !keys.is_empty() {
                    let rest = keys.split_off(keys.len().min(MAX_KEYS_PER_STATEMENT));
                    // The number of parameters is a power of two, so that few statements are prepared. A parameter
                    // that is not bound is NULL and equals nothing.
                    let marks = vec!["?"; keys.len().next_power_of_two()].join(",");
                    let mut bound = query(AssertSqlSafe(format!("{sql} IN ({marks})")));
                    for key in keys {
                        bound = bound.bind(key);
                    }
                    found.extend(rows_from_sqlite(&bound.fetch_all(conn.get()?).await?, sql)?);
                    keys = rest;
                }
                Ok(found)
            }
            Self::Postgres(_) if keys.is_empty() => Ok(Vec::new()),
            Self::Postgres(conn) => {
                let bound = query(AssertSqlSafe(format!("{sql} = ANY($1)"))).bind(keys);
                let rows = with_timeout(bound.fetch_all(conn.get()?)).await?;
                rows_from_postgres(&rows, sql)
            }
        }
    }
}

pub(super) type SqliteQuery<'q> = Query<'q, Sqlite, sqlx::sqlite::SqliteArguments>;
pub(super) type PostgresQuery<'q> = Query<'q, Postgres, sqlx::postgres::PgArguments>;

pub(super) fn bind_sqlite(mut query: SqliteQuery<'_>, arguments: Vec<Value>) -> SqliteQuery<'_> {
    for argument in arguments {
        query = match argument {
            Value::Int(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
            Value::Blob(value) => query.bind(value),
        };
    }
    query
}

pub(super) fn bind_postgres(mut query: PostgresQuery<'_>, arguments: Vec<Value>) -> PostgresQuery<'_> {
    for argument in arguments {
        query = match argument {
            Value::Int(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
            Value::Blob(value) => query.bind(value),
        };
    }
    query
}

fn names_of(row: &impl sqlx::Row) -> ColumnNames {
    row.columns().iter().map(|column| Box::from(column.name())).collect()
}

pub(super) fn rows_from_sqlite(rows: &[SqliteRow], sql: &'static str) -> Result<Vec<Row>, StoreError> {
    let Some(names) = rows.first().map(names_of) else { return Ok(Vec::new()) };
    rows.iter()
        .map(|row| Ok(Row::new(values_from_sqlite(row, sql)?, ColumnNames::clone(&names), sql)))
        .collect()
}

fn values_from_sqlite(row: &SqliteRow, sql: &'static str) -> Result<Vec<Value>, StoreError> {
    let mut values = Vec::with_capacity(row.columns().len());
    for (position, column) in row.columns().iter().enumerate() {
        let raw = row.try_get_raw(position)?;
        let kind = raw.type_info().name().to_owned();
        values.push(match (raw.is_null(), kind.as_str()) {
            (true, _) => Value::Int(None),
            (false, "INTEGER") => Value::Int(Some(row.try_get(position)?)),
            (false, "TEXT") => Value::Text(Some(row.try_get(position)?)),
            (false, "BLOB") => Value::Blob(Some(row.try_get(position)?)),
            _ => return Err(StoreError::corrupt(sql, column.name())),
        });
    }
    Ok(values)
}

pub(super) fn rows_from_postgres(rows: &[PgRow], sql: &'static str) -> Result<Vec<Row>, StoreError> {
    let Some(names) = rows.first().map(names_of) else { return Ok(Vec::new()) };
    rows.iter()
        .map(|row| Ok(Row::new(values_from_postgres(row, sql)?, ColumnNames::clone(&names), sql)))
        .collect()
}

fn values_from_postgres(row: &PgRow, sql: &'static str) -> Result<Vec<Value>, StoreError> {
    let mut values = Vec::with_capacity(row.columns().len());
    for (position, column) in row.columns().iter().enumerate() {
        values.push(match column.type_info().name() {
            "INT8" => Value::Int(row.try_get(position)?),
            "INT4" => Value::Int(row.try_get::<Option<i32>, _>(position)?.map(i64::from)),
            "TEXT" => Value::Text(row.try_get(position)?),
            "BYTEA" => Value::Blob(row.try_get(position)?),
            _ => return Err(StoreError::corrupt(sql, column.name())),
        });
    }
    Ok(values)
}
