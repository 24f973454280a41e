//! Databases: opens the pools, and checks the settings without which an acknowledged return could be lost.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::OptionalExtension as _;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Postgres, Sqlite};
use tokio::sync::watch;

use super::connection_queue::GATEWAY;
use super::lease::{Leases, PostgresConn};
use super::sqlite_writer::{SqliteWalCheckpointer, SqliteWriterPool};
use super::{Conn, StoreError, postgres};

/// The oldest SQLite version without the WAL-reset corruption bug.
const MIN_SQLITE_VERSION: (u32, u32, u32) = (3, 51, 3);

/// Maximum wait for a reader's connection to SQLite.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

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
        readers: Leases<Sqlite>,
        /// What was reported of damage.
        damage: DamageReport,
    },
    /// PostgreSQL.
    Postgres {
        /// Connections of the committer and the migrations.
        writer: Leases<Postgres>,
        /// Connections of readers.
        readers: Leases<Postgres>,
        /// The configured servers, in the order in which they are tried.
        servers: Arc<[PgConnectOptions]>,
        /// Whether an acknowledged commit must be on a synchronous standby.
        needs_standby: Arc<AtomicBool>,
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
                let needs_standby = Arc::default();
                Self::Postgres { writer, readers, servers, needs_standby, damage: DamageReport::default() }
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
            Self::Postgres { writer, needs_standby, .. } => {
                let needs_standby = needs_standby.load(Ordering::Relaxed);
                Conn::Postgres(PostgresConn { lease: writer.acquire(GATEWAY).await?, needs_standby })
            }
        })
    }

    /// Acquires a reader's connection for what the gateway reads for itself.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`] if none is free in time.
    pub async fn reader(&self) -> Result<Conn, StoreError> {
        self.reader_for(GATEWAY).await
    }

    /// Acquires a reader's connection for an organisation, in its turn. Code that holds one must not wait for
    /// another.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`] if none is free in time.
    pub async fn reader_for(&self, organisation: &str) -> Result<Conn, StoreError> {
        Ok(match self {
            Self::Sqlite { readers, .. } => Conn::SqliteReader(readers.acquire(organisation).await?),
            Self::Postgres { readers, needs_standby, .. } => {
                let needs_standby = needs_standby.load(Ordering::Relaxed);
                Conn::Postgres(PostgresConn { lease: readers.acquire(organisation).await?, needs_standby })
            }
        })
    }

    /// Returns the number of reads that wait for a connection.
    #[must_use]
    pub fn waiting_readers(&self) -> usize {
        match self {
            Self::Sqlite { readers, .. } => readers.queue().waiting(),
            Self::Postgres { readers, .. } => readers.queue().waiting(),
        }
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
                postgres::find_primary(writer.pool(), readers.pool(), servers).await
            }
        }
    }

    /// Calls `hint` for each NOTIFY, which a commit of any node sends. Messages can be lost. With SQLite, which has one
    /// node, it waits for ever.
    pub async fn listen_for_commits(&self, hint: impl Fn()) {
        match self {
            Self::Sqlite { .. } => std::future::pending().await,
            Self::Postgres { writer, .. } => postgres::listen_for_commits(writer.pool(), hint).await,
        }
    }

    /// Closes every connection, the committer's last, so that SQLite checkpoints its write-ahead log.
    pub async fn close(&self) {
        match self {
            Self::Sqlite { writer, readers, .. } => {
                readers.pool().close().await;
                writer.close().await;
            }
            Self::Postgres { writer, readers, .. } => {
                readers.pool().close().await;
                writer.pool().close().await;
            }
        }
    }

    /// Closes every connection as [`Database::close`] does, but moves no commit from SQLite's write-ahead log into the file:
    /// what a process that was killed left stays as it is.
    pub async fn close_unchanged(&self) {
        if let Self::Sqlite { writer, readers, .. } = self {
            readers.pool().close().await;
            writer.close_without_checkpoint().await;
        } else {
            self.close().await;
        }
    }

    /// Opens the connections that a serving node needs, and logs what PostgreSQL does not give. The node then uses those
    /// that it has. SQLite gives them all.
    pub async fn open_connections(&self) {
        if let Self::Postgres { writer, readers, .. } = self {
            postgres::open_connections(writer, readers).await;
        }
    }

    /// Uses connections that PostgreSQL did not give before as soon as it does. It never returns.
    pub async fn keep_connections(&self) {
        match self {
            Self::Sqlite { .. } => std::future::pending().await,
            Self::Postgres { writer, readers, .. } => postgres::keep_connections(writer, readers).await,
        }
    }

    /// Checks that PostgreSQL loses no acknowledged commit, which each later write checks again: its settings `fsync`
    /// and `full_page_writes` are on and, unless `single_primary`, it has a synchronous standby, so that a COMMIT
    /// returns only once the standby has it too. SQLite passes.
    ///
    /// # Errors
    /// [`StoreError::NotDurable`] with the setting.
    pub async fn require_durability(&self, single_primary: bool) -> Result<(), StoreError> {
        if let Self::Postgres { needs_standby, .. } = self {
            needs_standby.store(!single_primary, Ordering::Relaxed);
        }
        let fault = self.reader().await?.durability_fault().await?;
        fault.map_or(Ok(()), |fault| Err(StoreError::NotDurable(fault)))
    }

    /// Checks SQLite's version and the settings that durability depends on. PostgreSQL's connections set their own.
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
            Self::Postgres { .. } => {}
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
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .connect_lazy_with(options.read_only(true));
    let readers = Leases::new(readers, ACQUIRE_TIMEOUT);
    Ok(Database::Sqlite { writer, readers, damage: DamageReport::default() })
}
