//! A connection to either database, and what can be asked over it.

use sqlx::pool::PoolConnection;
use sqlx::postgres::PgRow;
use sqlx::query::Query;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Column as _, Executor, Postgres, Row as _, Sqlite, TypeInfo, ValueRef, query};
use tokio_stream::StreamExt as _;

use super::own::{FOLD_BACK, Own, Unsynced};
use super::postgres::{ANSWER, GREETING, silent};
use super::{Row, StoreError, Value};
use crate::clock::Instant;

/// A connection to either database.
pub enum Conn {
    /// To the SQLite file of this node, to write.
    Own(Own),
    /// To the same, to read.
    Sqlite(PoolConnection<Sqlite>),
    /// To the PostgreSQL that the nodes share.
    Postgres(PoolConnection<Postgres>),
}

/// Keys looked up with one statement of a reader's: a power of two below SQLite's own bound of 32,766 parameters.
const KEYS: usize = 16_384;

pub(super) const READER: StoreError = StoreError::Inconsistent("a reader cannot write");

impl Conn {
    /// Runs a statement without a result.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn execute(&mut self, sql: &'static str, arguments: Vec<Value>) -> Result<u64, StoreError> {
        Ok(match self {
            Self::Own(own) => own.execute(sql, &arguments)?,
            Self::Sqlite(conn) => {
                bind_sqlite(query(sql), arguments).execute(&mut **conn).await?.rows_affected()
            }
            Self::Postgres(conn) => {
                within(bind_postgres(query(sql), arguments).execute(&mut **conn)).await?.rows_affected()
            }
        })
    }

    /// Runs statements that take no arguments and are not worth preparing: `BEGIN`, `COMMIT`, settings.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn command(&mut self, sql: &'static str) -> Result<(), StoreError> {
        match self {
            Self::Own(own) => own.command(sql)?,
            Self::Sqlite(conn) => (&mut **conn).execute(sql).await.map(drop)?,
            Self::Postgres(conn) => within((&mut **conn).execute(sql)).await.map(drop)?,
        }
        Ok(())
    }

    /// Opens a transaction that may write, and waits for its turn among all nodes: SQLite's write lock, or
    /// PostgreSQL's advisory lock in a statement of its own, so that what is read next is read under it.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn begin_write(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Own(own) => own.command("BEGIN IMMEDIATE"),
            Self::Sqlite(_) => Err(READER),
            Self::Postgres(_) => {
                let begin = "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock(7017218301)";
                self.command(begin).await
            }
        }
    }

    /// The database's own clock; SQLite has none but this node's.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn clock(&mut self) -> Result<Option<Instant>, StoreError> {
        if let Self::Own(_) | Self::Sqlite(_) = self {
            return Ok(None);
        }
        let sql = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)";
        let row = self.fetch_one(sql, vec![]).await?;
        let micros = row.map(|row| row.int(0)).transpose()?;
        Ok(micros.and_then(|micros| Instant::from_micros(micros).ok()))
    }

    /// Makes what was written durable, and hints to other nodes that there is something to read.
    ///
    /// # Errors
    /// As [`StoreError`] says: it may have happened all the same.
    pub async fn commit(&mut self) -> Result<(), StoreError> {
        self.commit_unsynced().await?.sync()
    }

    /// As [`Conn::commit`], but what was written to SQLite is durable only once it is synced. PostgreSQL syncs by
    /// itself.
    ///
    /// # Errors
    /// As [`StoreError`] says: it may have happened all the same.
    pub async fn commit_unsynced(&mut self) -> Result<Unsynced, StoreError> {
        match self {
            Self::Own(own) => own.commit(),
            Self::Sqlite(_) => Err(READER),
            Self::Postgres(_) => self.command("NOTIFY ap_gateway; COMMIT").await.map(|()| Unsynced::NONE),
        }
    }

    /// Copies SQLite's write-ahead log into the database, as far as no reader needs it; PostgreSQL sees to its
    /// own.
    ///
    /// # Errors
    /// As [`StoreError`] says; [`StoreError::Disk`] when a sync failed.
    pub fn fold_back(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Own(own) => own.command(FOLD_BACK),
            Self::Sqlite(_) => Err(READER),
            Self::Postgres(_) => Ok(()),
        }
    }

    /// Opens a snapshot: whatever is read until [`Conn::abandon`] is of one moment.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn begin_read(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Own(_) | Self::Sqlite(_) => self.command("BEGIN DEFERRED").await,
            Self::Postgres(_) => self.command("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await,
        }
    }

    /// Rolls back what is open; a connection that cannot even do that is closed instead of reused.
    pub async fn abandon(mut self) {
        if let Self::Own(own) = self {
            return own.abandon();
        }
        let ended = tokio::time::timeout(GREETING, self.command("ROLLBACK")).await;
        if !matches!(ended, Ok(Ok(()) | Err(StoreError::Refused(_)))) {
            match self {
                Self::Own(_) => {}
                Self::Sqlite(conn) => {
                    if let Err(error) = conn.close().await {
                        tracing::debug!(error = %error, "a broken connection did not close cleanly");
                    }
                }
                // Without a goodbye: a server that is silent would be waited for.
                Self::Postgres(conn) => drop(conn.detach()),
            }
        }
    }

    /// The rows of a query.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn fetch(&mut self, sql: &'static str, arguments: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        self.fetch_at_most(sql, arguments, usize::MAX).await
    }

    /// Returns the first `most` rows of a query; a reader stops the query there.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn fetch_at_most(
        &mut self,
        sql: &'static str,
        arguments: Vec<Value>,
        most: usize,
    ) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Own(own) => own.fetch(sql, &arguments),
            Self::Sqlite(conn) => {
                let rows = bind_sqlite(query(sql), arguments).fetch(&mut **conn).take(most);
                let rows: Vec<SqliteRow> = rows.collect::<Result<_, _>>().await?;
                rows.iter().map(|row| from_sqlite(row, sql)).collect()
            }
            Self::Postgres(conn) => {
                let rows = bind_postgres(query(sql), arguments).fetch(&mut **conn).take(most);
                let rows: Vec<PgRow> = within(rows.collect::<Result<_, _>>()).await?;
                rows.iter().map(|row| from_postgres(row, sql)).collect()
            }
        }
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

    /// The rows whose blob column is one of `keys`; `sql` ends where the list begins (`… WHERE key`).
    /// Keys without a row give none.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn fetch_among(
        &mut self,
        sql: &'static str,
        mut keys: Vec<Vec<u8>>,
    ) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Own(own) => own.fetch_among(sql, &keys),
            Self::Sqlite(conn) => {
                let mut found = Vec::with_capacity(keys.len());
                while !keys.is_empty() {
                    let rest = keys.split_off(keys.len().min(KEYS));
                    // A power of two of parameters, so that few statements are prepared; what is left
                    // unbound is NULL and equals nothing.
                    let marks = vec!["?"; keys.len().next_power_of_two()].join(",");
                    let mut bound = query(AssertSqlSafe(format!("{sql} IN ({marks})")));
                    for key in keys {
                        bound = bound.bind(key);
                    }
                    for row in &bound.fetch_all(&mut **conn).await? {
                        found.push(from_sqlite(row, sql)?);
                    }
                    keys = rest;
                }
                Ok(found)
            }
            Self::Postgres(_) if keys.is_empty() => Ok(Vec::new()),
            Self::Postgres(conn) => {
                let bound = query(AssertSqlSafe(format!("{sql} = ANY($1)"))).bind(keys);
                let rows = within(bound.fetch_all(&mut **conn)).await?;
                rows.iter().map(|row| from_postgres(row, sql)).collect()
            }
        }
    }
}

/// What PostgreSQL answers in time. The connection of an answer that did not come must be abandoned.
pub(super) async fn within<T>(
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    tokio::time::timeout(ANSWER, answer).await.unwrap_or_else(|_| Err(silent()))
}

type SqliteQuery<'q> = Query<'q, Sqlite, sqlx::sqlite::SqliteArguments>;
type PostgresQuery<'q> = Query<'q, Postgres, sqlx::postgres::PgArguments>;

fn bind_sqlite(mut query: SqliteQuery<'_>, arguments: Vec<Value>) -> SqliteQuery<'_> {
    for argument in arguments {
        query = match argument {
            Value::Int(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
            Value::Blob(value) => query.bind(value),
        };
    }
    query
}

fn bind_postgres(mut query: PostgresQuery<'_>, arguments: Vec<Value>) -> PostgresQuery<'_> {
    for argument in arguments {
        query = match argument {
            Value::Int(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
            Value::Blob(value) => query.bind(value),
        };
    }
    query
}

fn from_sqlite(row: &SqliteRow, sql: &'static str) -> Result<Row, StoreError> {
    let mut values = Vec::with_capacity(row.columns().len());
    for column in 0..row.columns().len() {
        let raw = row.try_get_raw(column)?;
        let kind = raw.type_info().name().to_owned();
        values.push(match (raw.is_null(), kind.as_str()) {
            (true, _) => Value::Int(None),
            (false, "INTEGER") => Value::Int(Some(row.try_get(column)?)),
            (false, "TEXT") => Value::Text(Some(row.try_get(column)?)),
            (false, "BLOB") => Value::Blob(Some(row.try_get(column)?)),
            _ => return Err(StoreError::Corrupt { table: sql, column }),
        });
    }
    Ok(Row::new(values, sql))
}

pub(super) fn from_postgres(row: &PgRow, sql: &'static str) -> Result<Row, StoreError> {
    let mut values = Vec::with_capacity(row.columns().len());
    for (column, described) in row.columns().iter().enumerate() {
        values.push(match described.type_info().name() {
            "INT8" => Value::Int(row.try_get(column)?),
            "INT4" => Value::Int(row.try_get::<Option<i32>, _>(column)?.map(i64::from)),
            "TEXT" => Value::Text(row.try_get(column)?),
            "BYTEA" => Value::Blob(row.try_get(column)?),
            _ => return Err(StoreError::Corrupt { table: sql, column }),
        });
    }
    Ok(Row::new(values, sql))
}
