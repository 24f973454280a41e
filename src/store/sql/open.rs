//! Opening a database: the settings without which an acknowledged return could be lost, and the pools.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, PgPool, SqliteConnection, SqlitePool};

use super::own::{Folder, Place};
use super::{Conn, StoreError, postgres};

static SQLITE: Migrator = sqlx::migrate!("src/store/migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("src/store/migrations/postgres");

/// The oldest SQLite without the WAL-reset corruption bug.
const SQLITE_FLOOR: (u32, u32, u32) = (3, 51, 3);

/// Where the database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A SQLite file on a local disk, served by one node.
    Sqlite(PathBuf),
    /// PostgreSQL connection URLs, one a line, of a primary and its standbys; several nodes may share them.
    Postgres(String),
}

/// A database with its pools: one connection for the committer, several for readers.
#[derive(Clone, Debug)]
pub enum Database {
    /// SQLite: one connection writes, the readers' are read-only.
    Sqlite {
        /// The committer's.
        writer: Place,
        /// Everyone else's.
        readers: SqlitePool,
    },
    /// PostgreSQL.
    Postgres {
        /// The committer's and the migrations'.
        writer: PgPool,
        /// Everyone else's.
        readers: PgPool,
        /// The primary and its standbys, in the order in which they are asked.
        servers: Arc<[PgConnectOptions]>,
    },
}

impl Database {
    /// Opens a database that exists; only [`Database::create`] makes one, so that a wrong path never
    /// starts an empty log.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`] when it is not there or refuses; [`StoreError::Inconsistent`] when
    /// SQLite is one with the WAL-reset bug or PostgreSQL would acknowledge before writing.
    pub async fn open(location: &Location) -> Result<Self, StoreError> {
        Self::connect(location, false).await
    }

    /// As [`Database::open`], and makes the SQLite file where there is none.
    ///
    /// # Errors
    /// As for [`Database::open`].
    pub async fn create(location: &Location) -> Result<Self, StoreError> {
        Self::connect(location, true).await
    }

    async fn connect(location: &Location, create: bool) -> Result<Self, StoreError> {
        let database = match location {
            Location::Sqlite(path) => sqlite(path, create)?,
            Location::Postgres(urls) => postgres::open(urls).await?,
        };
        database.assert_safe().await?;
        Ok(database)
    }

    /// Brings the schema up to this binary's.
    ///
    /// # Errors
    /// [`StoreError::Inconsistent`] when a newer binary made the schema or a released migration differs.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let done = match self {
            Self::Sqlite { readers, .. } => {
                let options = readers.connect_options().as_ref().clone().read_only(false);
                let mut conn = SqliteConnection::connect_with(&options).await?;
                let done = SQLITE.run(&mut conn).await;
                conn.close().await?;
                done
            }
            Self::Postgres { writer, .. } => POSTGRES.run(writer).await,
        };
        done.map_err(|error| match error {
            sqlx::migrate::MigrateError::Execute(error)
            | sqlx::migrate::MigrateError::ExecuteMigration(error, _) => error.into(),
            _ => StoreError::Inconsistent("the database's schema was made by another release"),
        })
    }

    /// Whether the schema is exactly this binary's.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn is_migrated(&self) -> Result<bool, StoreError> {
        let expected = match self {
            Self::Sqlite { .. } => &SQLITE,
            Self::Postgres { .. } => &POSTGRES,
        };
        let rows = (self.reader().await?)
            .fetch("SELECT version, checksum FROM _sqlx_migrations ORDER BY version", vec![])
            .await;
        let rows = match rows {
            // A database without the table has no schema yet.
            Err(StoreError::Refused(_)) => return Ok(false),
            read => read?,
        };
        let mut applied = rows.iter();
        for migration in expected.iter() {
            let Some(row) = applied.next() else {
                return Ok(false);
            };
            if row.int(0)? != migration.version || row.blob(1)? != &*migration.checksum {
                return Ok(false);
            }
        }
        Ok(applied.next().is_none())
    }

    /// The committer's connection.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`] when none can be had.
    pub async fn writer(&self) -> Result<Conn, StoreError> {
        Ok(match self {
            Self::Sqlite { writer, .. } => Conn::Own(writer.take().await?),
            Self::Postgres { writer, .. } => Conn::Postgres(writer.acquire().await?),
        })
    }

    /// A reader's connection.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`] when none is free in time.
    pub async fn reader(&self) -> Result<Conn, StoreError> {
        Ok(match self {
            Self::Sqlite { readers, .. } => Conn::Sqlite(readers.acquire().await?),
            Self::Postgres { readers, .. } => Conn::Postgres(readers.acquire().await?),
        })
    }

    /// Returns whether several nodes may share the database: PostgreSQL.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Postgres { .. })
    }

    /// What folds SQLite's write-ahead log back; PostgreSQL sees to its own.
    #[must_use]
    pub fn folder(&self) -> Option<Folder> {
        match self {
            Self::Sqlite { writer, .. } => Some(Folder::of(writer)),
            Self::Postgres { .. } => None,
        }
    }

    /// Closes every connection, the committer's last, so that SQLite folds its write-ahead log back.
    pub async fn close(&self) {
        match self {
            Self::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Self::Postgres { writer, readers, .. } => {
                readers.close().await;
                writer.close().await;
            }
        }
    }

    /// PostgreSQL answers a commit only when a standby has it too; SQLite has no standby to ask for.
    ///
    /// # Errors
    /// [`StoreError::Inconsistent`] when it does not, and the configuration does not accept that.
    pub async fn assert_replicated(&self) -> Result<(), StoreError> {
        if let Self::Sqlite { .. } = self {
            return Ok(());
        }
        let mut conn = self.reader().await?;
        let row = conn.fetch_one("SELECT current_setting('synchronous_standby_names')", vec![]).await?;
        match row.map(|row| row.text(0).map(str::is_empty)).transpose()? {
            Some(false) => Ok(()),
            _ => Err(StoreError::Inconsistent(
                "PostgreSQL has no synchronous standby, and single_primary is not set",
            )),
        }
    }

    async fn assert_safe(&self) -> Result<(), StoreError> {
        let mut conn = self.writer().await?;
        match self {
            Self::Sqlite { .. } => {
                let row = conn.fetch_one("SELECT sqlite_version()", vec![]).await?;
                let text = row.map(|row| row.text(0).map(str::to_owned)).transpose()?.unwrap_or_default();
                let mut numbers = text.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
                let mut next = || numbers.next().unwrap_or(0);
                if (next(), next(), next()) < SQLITE_FLOOR {
                    return Err(StoreError::Inconsistent("this SQLite has the WAL-reset bug"));
                }
                let row = conn.fetch_one("PRAGMA journal_mode", vec![]).await?;
                if row.map(|row| row.text(0).map(str::to_owned)).transpose()?.as_deref() != Some("wal") {
                    return Err(StoreError::Inconsistent("SQLite does not run with a write-ahead log"));
                }
                // Below NORMAL it would also fold the log back without a sync.
                let row = conn.fetch_one("PRAGMA synchronous", vec![]).await?;
                if row.map(|row| row.int(0)).transpose()? != Some(1) {
                    return Err(StoreError::Inconsistent("SQLite does not run with synchronous=NORMAL"));
                }
            }
            Self::Postgres { .. } => {
                let row = conn.fetch_one("SELECT current_setting('synchronous_commit')", vec![]).await?;
                let level = row.map(|row| row.text(0).map(str::to_owned)).transpose()?.unwrap_or_default();
                if !matches!(level.as_str(), "on" | "remote_apply") {
                    return Err(StoreError::Inconsistent("PostgreSQL's synchronous_commit is below on"));
                }
            }
        }
        Ok(())
    }
}

fn sqlite(path: &Path, create: bool) -> Result<Database, StoreError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .pragma("secure_delete", "on")
        // The committer folds the write-ahead log back: here a failed sync would go unnoticed.
        .pragma("wal_autocheckpoint", "0")
        .busy_timeout(Duration::from_secs(5))
        .statement_cache_capacity(512);
    let writer = Place::open(path, create)?;
    let readers = SqlitePoolOptions::new()
        .max_connections(8)
        .acquire_timeout(Duration::from_secs(10))
        .test_before_acquire(false)
        .after_release(|conn, _| {
            Box::pin(async move {
                // A snapshot that was dropped left its transaction open; one that was ended has none to end.
                match sqlx::Executor::execute(conn, "ROLLBACK").await {
                    Ok(_) | Err(sqlx::Error::Database(_)) => Ok(true),
                    Err(error) => Err(error),
                }
            })
        })
        .connect_lazy_with(options.read_only(true));
    Ok(Database::Sqlite { writer, readers })
}
