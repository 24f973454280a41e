//! Databases: opens the pools, and checks the settings without which an acknowledged return could be lost.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::OptionalExtension as _;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{PgPool, SqlitePool};
use tokio::sync::watch;

use super::sqlite_writer::{SqliteWalCheckpointer, SqliteWriterPool};
use super::{Conn, StoreError, postgres};

/// The oldest SQLite version without the WAL-reset corruption bug.
const MIN_SQLITE_VERSION: (u32, u32, u32) = (3, 51, 3);

/// The location of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseLocation {
    /// A SQLite file on a local disk, served by one node.
    Sqlite(PathBuf),
    /// PostgreSQL connection URLs of a primary and its standbys, one a line. Several nodes may share them.
    Postgres(String),
}

/// A database with its connection pools: one for the committer, one for readers.
#[derive(Clone, Debug)]
pub enum Database {
    /// SQLite, with one writing connection; readers' connections are read-only.
    Sqlite {
        /// The committer's connection.
        writer: SqliteWriterPool,
        /// Connections of readers.
        readers: SqlitePool,
        /// What was reported of damage.
        damage: DamageReport,
    },
    /// PostgreSQL.
    Postgres {
        /// Connections of the committer and the migrations.
        writer: PgPool,
        /// Connections of readers.
        readers: PgPool,
        /// The configured servers, in the order in which they are tried.
        servers: Arc<[PgConnectOptions]>,
        /// What was reported of damage.
        damage: DamageReport,
    },
}

/// The first damage of a database that a reader reported: its code and the driver's text. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct DamageReport(watch::Sender<Option<(&'static str, String)>>);

impl Database {
    /// Opens an existing database. Only [`Database::create`] makes a file, so that a wrong path never starts an empty
    /// log.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`] if there is no database or it cannot be connected to; [`StoreError::Inconsistent`]
    /// if SQLite's version has the WAL-reset bug, or a setting would let COMMIT return before it is durable.
    pub async fn open(location: &DatabaseLocation) -> Result<Self, StoreError> {
        Self::connect(location, false).await
    }

    /// Opens a database like [`Database::open`], and makes the SQLite file if there is none.
    ///
    /// # Errors
    /// As for [`Database::open`].
    pub async fn create(location: &DatabaseLocation) -> Result<Self, StoreError> {
        Self::connect(location, true).await
    }

    async fn connect(location: &DatabaseLocation, create: bool) -> Result<Self, StoreError> {
        let database = match location {
            DatabaseLocation::Sqlite(path) => open_sqlite(path, create)?,
            DatabaseLocation::Postgres(urls) => {
                let postgres::Pools { writer, readers, servers } = postgres::open(urls).await?;
                Self::Postgres { writer, readers, servers, damage: DamageReport::default() }
            }
        };
        database.assert_durable_settings().await?;
        Ok(database)
    }

    /// Acquires the committer's connection.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`] if none can be acquired.
    pub async fn writer(&self) -> Result<Conn, StoreError> {
        Ok(match self {
            Self::Sqlite { writer, .. } => Conn::SqliteWriter(writer.acquire().await?),
            Self::Postgres { writer, .. } => Conn::Postgres(writer.acquire().await?),
        })
    }

    /// Acquires a reader's connection.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`] if none is free in time.
    pub async fn reader(&self) -> Result<Conn, StoreError> {
        Ok(match self {
            Self::Sqlite { readers, .. } => Conn::SqliteReader(readers.acquire().await?),
            Self::Postgres { readers, .. } => Conn::Postgres(readers.acquire().await?),
        })
    }

    /// Reports an error of a reader if it says that the database is damaged.
    pub fn report_damage(&self, error: &StoreError) {
        if let StoreError::Damaged { code, source } = error {
            self.damage_report().0.send_if_modified(|first| {
                let is_first = first.is_none();
                first.get_or_insert_with(|| (code, source.to_string()));
                is_first
            });
        }
    }

    /// Waits until a reader reports that the database is damaged. The process must then end.
    pub async fn damaged(&self) -> StoreError {
        let mut report = self.damage_report().0.subscribe();
        let first = report.wait_for(Option::is_some).await.ok().and_then(|first| first.clone());
        match first {
            Some((code, text)) => StoreError::Damaged { code, source: text.into() },
            // The sender lives as long as this database.
            None => std::future::pending().await,
        }
    }

    fn damage_report(&self) -> &DamageReport {
        let (Self::Sqlite { damage, .. } | Self::Postgres { damage, .. }) = self;
        damage
    }

    /// Returns whether several nodes may share the database: PostgreSQL.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Postgres { .. })
    }

    /// Returns the checkpointer of SQLite's write-ahead log; `None` for PostgreSQL, which checkpoints by itself.
    #[must_use]
    pub fn wal_checkpointer(&self) -> Option<SqliteWalCheckpointer> {
        match self {
            Self::Sqlite { writer, .. } => Some(SqliteWalCheckpointer::new(writer)),
            Self::Postgres { .. } => None,
        }
    }

    /// Returns the free bytes of SQLite's disk; `None` for PostgreSQL, whose disk is not this node's.
    #[must_use]
    pub fn free_bytes(&self) -> Option<u64> {
        match self {
            Self::Sqlite { writer, .. } => writer.free_bytes(),
            Self::Postgres { .. } => None,
        }
    }

    /// Finds the primary again; new connections go to it.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`] if there is none.
    pub async fn find_primary(&self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite { .. } => Ok(()),
            Self::Postgres { writer, readers, servers, .. } => {
                postgres::find_primary(writer, readers, servers).await
            }
        }
    }

    /// Calls `hint` for each NOTIFY, which a commit of any node sends. Messages can be lost. With SQLite, which has one
    /// node, it waits for ever.
    pub async fn listen_for_commits(&self, hint: impl Fn()) {
        match self {
            Self::Sqlite { .. } => std::future::pending().await,
            Self::Postgres { writer, .. } => postgres::listen_for_commits(writer, hint).await,
        }
    }

    /// Closes every connection, the committer's last, so that SQLite checkpoints its write-ahead log.
    pub async fn close(&self) {
        match self {
            Self::Sqlite { writer, readers, .. } => {
                readers.close().await;
                writer.close().await;
            }
            Self::Postgres { writer, readers, .. } => {
                readers.close().await;
                writer.close().await;
            }
        }
    }

    /// Checks that PostgreSQL has a synchronous standby, so that a COMMIT returns only once the standby has it too.
    /// SQLite has no standbys and passes.
    ///
    /// # Errors
    /// [`StoreError::Inconsistent`] if there is none. The caller skips this check if `single_primary` is configured.
    pub async fn assert_replicated(&self) -> Result<(), StoreError> {
        if let Self::Sqlite { .. } = self {
            return Ok(());
        }
        let mut conn = self.reader().await?;
        let row =
            conn.fetch_one("SELECT current_setting('synchronous_standby_names') AS names", vec![]).await?;
        match row.map(|row| row.get_str("names").map(str::is_empty)).transpose()? {
            Some(false) => Ok(()),
            _ => Err(StoreError::Inconsistent(
                "PostgreSQL has no synchronous standby, and single_primary is not set",
            )),
        }
    }

    /// Checks SQLite's version and the settings that durability depends on.
    async fn assert_durable_settings(&self) -> Result<(), StoreError> {
        let mut conn = self.writer().await?;
        match self {
            Self::Sqlite { .. } => {
                let row = conn.fetch_one("SELECT sqlite_version() AS version", vec![]).await?;
                let text = row.map(|row| row.get::<String>("version")).transpose()?.unwrap_or_default();
                let mut numbers = text.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
                let mut next = || numbers.next().unwrap_or(0);
                if (next(), next(), next()) < MIN_SQLITE_VERSION {
                    return Err(StoreError::Inconsistent("this SQLite has the WAL-reset bug"));
                }
                let row = conn.fetch_one("PRAGMA journal_mode", vec![]).await?;
                if row.map(|row| row.get::<String>("journal_mode")).transpose()?.as_deref() != Some("wal") {
                    return Err(StoreError::Inconsistent("SQLite does not run with a write-ahead log"));
                }
                // Below NORMAL, SQLite would not even sync when it checkpoints the write-ahead log.
                let row = conn.fetch_one("PRAGMA synchronous", vec![]).await?;
                if row.map(|row| row.get::<i64>("synchronous")).transpose()? != Some(1) {
                    return Err(StoreError::Inconsistent("SQLite does not run with synchronous=NORMAL"));
                }
            }
            Self::Postgres { .. } => {
                let row =
                    conn.fetch_one("SELECT current_setting('synchronous_commit') AS level", vec![]).await?;
                let level = row.map(|row| row.get::<String>("level")).transpose()?.unwrap_or_default();
                if !matches!(level.as_str(), "on" | "remote_apply") {
                    return Err(StoreError::Inconsistent("PostgreSQL's synchronous_commit is below on"));
                }
            }
        }
        Ok(())
    }
}

/// Checks that a SQLite file is not another program's. It is read before it is opened for writing, which would change
/// how it is journalled.
fn ensure_own_sqlite(path: &Path) -> Result<(), StoreError> {
    if path.metadata().map_or(0, |file| file.len()) == 0 {
        return Ok(());
    }
    let conn = rusqlite::Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let sql = "SELECT name, name = '_sqlx_migrations' FROM sqlite_schema WHERE type = 'table' \
               ORDER BY name <> '_sqlx_migrations', name LIMIT 1";
    let first: Option<(String, bool)> =
        conn.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    match first {
        Some((table, false)) => Err(StoreError::Unusable(format!(
            "it is another program's database: it has the table {table} and none of a gateway's"
        ))),
        _ => Ok(()),
    }
}

fn open_sqlite(path: &Path, create: bool) -> Result<Database, StoreError> {
    ensure_own_sqlite(path)?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .pragma("secure_delete", "on")
        // Checkpoints run on a connection of their own, because here a failed sync would not be reported.
        .pragma("wal_autocheckpoint", "0")
        .busy_timeout(Duration::from_secs(5))
        .statement_cache_capacity(512);
    let writer = SqliteWriterPool::open(path, create)?;
    let readers = SqlitePoolOptions::new()
        .max_connections(8)
        .acquire_timeout(Duration::from_secs(10))
        .test_before_acquire(false)
        .after_release(|conn, _| {
            Box::pin(async move {
                // A dropped snapshot has left its transaction open. Without one the ROLLBACK fails, which is harmless.
                match sqlx::Executor::execute(conn, "ROLLBACK").await {
                    Ok(_) | Err(sqlx::Error::Database(_)) => Ok(true),
                    Err(error) => Err(error),
                }
            })
        })
        .connect_lazy_with(options.read_only(true));
    Ok(Database::Sqlite { writer, readers, damage: DamageReport::default() })
}
