//! The schema: this binary's migrations, and the schemas of a database that it serves.
//!
//! The file name of an additive migration has `additive_` after its number. sqlx stores the name beside the number, so
//! that an older binary, which lacks the file, can read it. See `docs/migrations.md`.

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Connection, SqliteConnection};

use super::{Conn, Database, StoreError};

pub(super) static SQLITE_MIGRATIONS: Migrator = sqlx::migrate!("src/store/migrations/sqlite");
pub(super) static POSTGRES_MIGRATIONS: Migrator = sqlx::migrate!("src/store/migrations/postgres");

/// How the stored description of an additive migration begins. sqlx stores spaces for underscores.
pub(super) const ADDITIVE_PREFIX: &str = "additive ";

/// Why this binary does not serve the schema of a database. A version is the number of the newest migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaMismatch {
    /// The database lacks migrations.
    #[error(
        "the database's schema is version {database} and this release needs version {binary}: run migrate"
    )]
    Older {
        /// The version of the database's schema.
        database: i64,
        /// The version of this binary's schema.
        binary: i64,
    },
    /// The database has no schema.
    #[error("the database holds no gateway: run init, or name the database of the gateway")]
    Absent,
    /// A migration was begun and not finished.
    #[error(
        "migration {migration} of the database's schema was begun and not finished: restore the database from its backup"
    )]
    Unfinished {
        /// The migration.
        migration: i64,
    },
    /// The database has migrations that this binary cannot serve: several, or one that is not additive.
    #[error(
        "the database's schema is version {database} and this release can only serve version {binary}: \
         start the release that migrated it"
    )]
    Newer {
        /// The version of the database's schema.
        database: i64,
        /// The version of this binary's schema.
        binary: i64,
    },
    /// An applied migration differs from this binary's.
    #[error(
        "migration {migration} of the database's schema, version {database}, is not that of this release, \
         version {binary}: start the release that migrated it"
    )]
    Different {
        /// The first migration that differs.
        migration: i64,
        /// The version of the database's schema.
        database: i64,
        /// The version of this binary's schema.
        binary: i64,
    },
}

/// A migration that a database had applied to it.
pub(super) struct AppliedMigration {
    pub version: i64,
    description: String,
    checksum: Vec<u8>,
    is_finished: bool,
}

/// Returns the statements of this binary's migrations for SQLite, in their order.
pub(super) fn sqlite_migrations() -> impl Iterator<Item = &'static str> {
    SQLITE_MIGRATIONS.iter().map(|migration| migration.sql.as_str())
}

/// Returns the version of this binary's schema for SQLite.
#[must_use]
pub fn sqlite_schema_version() -> i64 {
    SQLITE_MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default()
}

/// Compares this binary's migrations, each with its checksum, with the applied ones. Both are sorted by version.
fn compare(own: &[(i64, &[u8])], applied: &[AppliedMigration]) -> Option<SchemaMismatch> {
    let binary = own.last().map_or(0, |(version, _)| *version);
    let Some(database) = applied.last().map(|migration| migration.version) else {
        return Some(SchemaMismatch::Absent);
    };
    if let Some(AppliedMigration { version, .. }) = applied.iter().find(|migration| !migration.is_finished) {
        return Some(SchemaMismatch::Unfinished { migration: *version });
    }
    let own_checksum =
        |wanted: i64| own.iter().find(|(version, _)| *version == wanted).map(|(_, checksum)| *checksum);
    let (newer, known): (Vec<_>, Vec<_>) = applied.iter().partition(|migration| migration.version > binary);
    let different = known.iter().find(|found| own_checksum(found.version) != Some(&found.checksum));
    if let Some(different) = different {
        return Some(SchemaMismatch::Different { migration: different.version, database, binary });
    }
    let lacks_some = known.len() < own.len();
    match newer.as_slice() {
        [] if lacks_some => Some(SchemaMismatch::Older { database, binary }),
        [] => None,
        [next] if !lacks_some && next.description.starts_with(ADDITIVE_PREFIX) => None,
        _ => Some(SchemaMismatch::Newer { database, binary }),
    }
}

impl Database {
    pub(super) fn migrator(&self) -> &'static Migrator {
        match self {
            Self::Sqlite { .. } => &SQLITE_MIGRATIONS,
            Self::Postgres { .. } => &POSTGRES_MIGRATIONS,
        }
    }

    /// Applies this binary's migrations that the database lacks. Does nothing on a schema that this binary serves.
    ///
    /// # Errors
    /// [`StoreError::Inconsistent`] if an applied migration is unknown to this binary or differs from its own.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        // sqlx would refuse the newer step that this binary may serve.
        if self.schema_mismatch().await?.is_none() {
            return Ok(());
        }
        let done = match self {
            Self::Sqlite { readers, .. } => {
                let options = readers.pool().connect_options().as_ref().clone().read_only(false);
                let mut conn = SqliteConnection::connect_with(&options).await?;
                let done = self.migrator().run(&mut conn).await;
                conn.close().await?;
                done
            }
            Self::Postgres { writer, .. } => self.migrator().run(writer.pool()).await,
        };
        done.map_err(|error| match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
            _ => StoreError::Inconsistent("the database's schema was made by another release"),
        })
    }

    /// Returns the version of the database's schema: the number of its newest migration.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn schema_version(&self) -> Result<i64, StoreError> {
        let sql = "SELECT MAX(version) AS version FROM _sqlx_migrations";
        let row = self.reader().await?.fetch_one(sql, vec![]).await?;
        row.map_or(Ok(0), |row| row.get("version"))
    }

    /// Returns why this binary does not serve the database's schema. It serves its own, and the next one if that step
    /// is additive, so that the nodes of a database can be upgraded one after the other.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn schema_mismatch(&self) -> Result<Option<SchemaMismatch>, StoreError> {
        let mut conn = self.reader().await?;
        let applied = applied_migrations(&mut conn).await?;
        let own: Vec<_> = self.migrator().iter().map(|own| (own.version, own.checksum.as_ref())).collect();
        Ok(compare(&own, &applied))
    }
}

/// Returns the migrations that a database had applied to it, sorted by version.
pub(super) async fn applied_migrations(conn: &mut Conn) -> Result<Vec<AppliedMigration>, StoreError> {
    if !conn.has_migrations().await? {
        return Ok(Vec::new());
    }
    let sql = "SELECT version, description, checksum, CASE WHEN success THEN 1 ELSE 0 END AS success \
               FROM _sqlx_migrations ORDER BY version";
    let rows = conn.fetch(sql, vec![]).await?;
    let applied = rows.iter().map(|row| {
        Ok(AppliedMigration {
            version: row.get("version")?,
            description: row.get("description")?,
            checksum: row.get_bytes("checksum")?.to_owned(),
            is_finished: row.get::<i64>("success")? == 1,
        })
    });
    applied.collect()
}

impl Conn {
    /// Returns whether the database records migrations, which every database of a gateway does.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] if they are in a schema of PostgreSQL that is not in `search_path`; otherwise see
    /// [`StoreError`].
    async fn has_migrations(&mut self) -> Result<bool, StoreError> {
        if !matches!(self, Self::Postgres(_)) {
            let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name = '_sqlx_migrations'";
            return Ok(self.fetch_one(sql, vec![]).await?.is_some());
        }
        let sql = "SELECT CAST(n.nspname AS TEXT) AS schema, CAST(to_regclass('_sqlx_migrations') AS TEXT) AS visible, \
                   current_setting('search_path') AS search_path \
                   FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                   WHERE c.relname = '_sqlx_migrations' AND c.relkind = 'r' ORDER BY 1";
        let Some(found) = self.fetch_one(sql, vec![]).await? else { return Ok(false) };
        if found.get::<Option<String>>("visible")?.is_some() {
            return Ok(true);
        }
        let (schema, search_path) = (found.get_str("schema")?, found.get_str("search_path")?);
        Err(StoreError::Unusable(format!(
            "the gateway's tables are in the schema {schema}, which is not in search_path ({search_path})"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: [(i64, &[u8]); 3] = [(1, b"one"), (2, b"two"), (4, b"four")];

    fn compare_with(applied: &[(i64, &str, &str)]) -> Option<SchemaMismatch> {
        let applied = applied.iter().map(|(version, description, checksum)| AppliedMigration {
            version: *version,
            description: (*description).to_owned(),
            checksum: checksum.as_bytes().to_owned(),
            is_finished: *description != "unfinished",
        });
        compare(&OWN, &applied.collect::<Vec<_>>())
    }

    #[test]
    fn only_the_own_schema_and_one_additive_step_more_are_served() {
        let own = [(1, "log", "one"), (2, "register", "two"), (4, "additive column", "four")];
        let and = |more: &[(i64, &'static str, &'static str)]| compare_with(&[&own[..], more].concat());
        let newer = |database| Some(SchemaMismatch::Newer { database, binary: 4 });
        assert_eq!(and(&[]), None);
        assert_eq!(and(&[(5, "additive column", "five")]), None);
        assert_eq!(and(&[(5, "column", "five")]), newer(5));
        assert_eq!(and(&[(5, "additivecolumn", "five")]), newer(5));
        assert_eq!(and(&[(5, "additive column", "five"), (6, "additive column", "six")]), newer(6));
    }

    #[test]
    fn an_older_schema_is_to_be_migrated() {
        let older = |database| Some(SchemaMismatch::Older { database, binary: 4 });
        assert_eq!(compare_with(&[]), Some(SchemaMismatch::Absent));
        assert_eq!(compare_with(&[(1, "log", "one"), (2, "register", "two")]), older(2));
        assert_eq!(compare_with(&[(1, "log", "one"), (4, "column", "four")]), older(4));
        let with_newer = [(1, "log", "one"), (4, "column", "four"), (5, "additive column", "five")];
        assert_eq!(compare_with(&with_newer), Some(SchemaMismatch::Newer { database: 5, binary: 4 }));
    }

    #[test]
    fn a_migration_that_was_not_finished_is_named() {
        let half = [(1, "log", "one"), (2, "unfinished", "two")];
        assert_eq!(compare_with(&half), Some(SchemaMismatch::Unfinished { migration: 2 }));
    }

    #[test]
    fn a_migration_that_differs_is_named() {
        let different =
            |migration, database| Some(SchemaMismatch::Different { migration, database, binary: 4 });
        assert_eq!(compare_with(&[(1, "log", "one"), (2, "register", "other")]), different(2, 2));
        let unknown = [(1, "log", "one"), (2, "register", "two"), (3, "additive column", "three")];
        assert_eq!(compare_with(&unknown), different(3, 3));
    }
}
