//! Copies of the filled database: one is edited, verified, and set back.

use std::collections::BTreeSet;
use std::path::PathBuf;

use ap_gateway::gateway;
use ap_gateway::store::{Database, DatabaseLocation, StoreError, Value};
use tempfile::TempDir;

use super::filled::FilledDatabase;

/// A statement with its arguments.
pub type Statement = (String, Vec<Value>);

/// A copy of the filled database that is edited and set back many times.
pub struct EditedCopy {
    /// Where the copy is.
    pub location: DatabaseLocation,
    /// The untouched SQLite file; `None` on PostgreSQL, where the untouched rows are in a schema of their own.
    untouched: Option<PathBuf>,
    /// Keeps the file of a SQLite copy.
    _folder: Option<TempDir>,
}

impl EditedCopy {
    /// Copies the database under a name of its own.
    pub async fn create(filled: &FilledDatabase, name: &str) -> Self {
        let Some(postgres) = &filled.postgres else {
            let folder = TempDir::new().unwrap();
            let location = DatabaseLocation::Sqlite(folder.path().join("gateway.sqlite"));
            let untouched = Some(filled.dir.path().join("gateway.sqlite"));
            let copy = Self { location, untouched, _folder: Some(folder) };
            copy.set_back(&BTreeSet::new()).await;
            return copy;
        };
        let location = DatabaseLocation::Postgres(postgres.copy_database(name));
        let database = Database::open(&location).await.unwrap();
        let mut conn = database.writer().await.unwrap();
        conn.command("CREATE SCHEMA untouched").await.unwrap();
        for table in gateway::tables() {
            let sql = format!("CREATE TABLE untouched.{0} AS SELECT * FROM public.{0}", table.name);
            conn.command(sql.leak()).await.unwrap();
        }
        drop(conn);
        database.close().await;
        Self { location, untouched: None, _folder: None }
    }

    /// Makes one edit.
    ///
    /// # Errors
    /// The database's, when a constraint makes the edit impossible. Then nothing is changed.
    pub async fn apply(&self, statements: &[Statement]) -> Result<(), StoreError> {
        let database = Database::open(&self.location).await.unwrap();
        let mut conn = database.writer().await.unwrap();
        conn.command("BEGIN").await.unwrap();
        let mut changed = Ok(0);
        for (sql, arguments) in statements {
            match conn.execute(sql.clone().leak(), arguments.clone()).await {
                Ok(rows) => changed = changed.map(|all| all + rows),
                Err(error) => {
                    changed = Err(error);
                    break;
                }
            }
        }
        match &changed {
            Ok(rows) => {
                assert!(*rows > 0, "no row is changed: {}", statements[0].0);
                conn.commit().await.unwrap();
                drop(conn);
            }
            Err(_) => conn.rollback().await,
        }
        database.close().await;
        changed.map(drop)
    }

    /// Sets tables back to the untouched rows.
    pub async fn set_back(&self, tables: &BTreeSet<&str>) {
        if let (Some(untouched), DatabaseLocation::Sqlite(path)) = (&self.untouched, &self.location) {
            for suffix in ["-wal", "-shm"] {
                std::fs::remove_file(format!("{}{suffix}", path.display())).ok();
            }
            std::fs::copy(untouched, path).unwrap();
            return;
        }
        let database = Database::open(&self.location).await.unwrap();
        let mut conn = database.writer().await.unwrap();
        for table in tables {
            let sql = format!(
                "TRUNCATE public.{table}; INSERT INTO public.{table} SELECT * FROM untouched.{table}"
            );
            conn.command(sql.leak()).await.unwrap();
        }
        drop(conn);
        database.close().await;
    }
}
