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
    untouched: Untouched,
}

/// Where the untouched rows are.
enum Untouched {
    /// In a file, which is copied over the edited one.
    File { path: PathBuf, folder: TempDir },
    /// In the schema `untouched` of the PostgreSQL database, to which these connections lead.
    Schema(Database),
}

impl EditedCopy {
    /// Copies the database under a name of its own.
    pub async fn create(filled: &FilledDatabase, name: &str) -> Self {
        let Some(postgres) = &filled.postgres else {
            let folder = TempDir::new().unwrap();
            let location = DatabaseLocation::Sqlite(folder.path().join("gateway.sqlite"));
            let untouched = Untouched::File { path: filled.dir.path().join("gateway.sqlite"), folder };
            let copy = Self { location, untouched };
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
        Self { location, untouched: Untouched::Schema(database) }
    }

    /// Makes one edit.
    ///
    /// # Errors
    /// The database's, when a constraint makes the edit impossible. Then nothing is changed.
    pub async fn apply(&self, statements: &[Statement]) -> Result<(), StoreError> {
        match &self.untouched {
            Untouched::Schema(database) => execute(database, statements).await,
            Untouched::File { .. } => {
                let database = Database::open(&self.location).await.unwrap();
                let changed = execute(&database, statements).await;
                database.close().await;
                changed
            }
        }
    }

    /// Sets tables back to the untouched rows.
    pub async fn set_back(&self, tables: &BTreeSet<&str>) {
        match &self.untouched {
            Untouched::File { path, folder } => {
                for name in ["gateway.sqlite-wal", "gateway.sqlite-shm"] {
                    std::fs::remove_file(folder.path().join(name)).ok();
                }
                std::fs::copy(path, folder.path().join("gateway.sqlite")).unwrap();
            }
            Untouched::Schema(database) => {
                let set_back = |table: &&str| {
                    format!(
                        "DELETE FROM public.{table}; INSERT INTO public.{table} SELECT * FROM untouched.{table};"
                    )
                };
                let sql: String = tables.iter().map(set_back).collect();
                database.writer().await.unwrap().command(sql.leak()).await.unwrap();
            }
        }
    }

    /// Closes the connections.
    pub async fn close(self) {
        if let Untouched::Schema(database) = self.untouched {
            database.close().await;
        }
    }
}

/// Executes statements in one transaction. Some of them must change a row.
async fn execute(database: &Database, statements: &[Statement]) -> Result<(), StoreError> {
    let mut conn = database.writer().await.unwrap();
    conn.command("BEGIN").await.unwrap();
    let mut rows = 0;
    for (sql, arguments) in statements {
        match conn.execute(sql.clone().leak(), arguments.clone()).await {
            Ok(changed) => rows += changed,
            Err(error) => {
                conn.command("ROLLBACK").await.unwrap();
                return Err(error);
            }
        }
    }
    assert!(rows > 0, "no row is changed: {}", statements[0].0);
    conn.commit().await.unwrap();
    Ok(())
}

/// Returns the tables that statements name.
pub fn tables_of(statements: &[Statement]) -> BTreeSet<&'static str> {
    let is_named = |name: &str| statements.iter().any(|(sql, _)| sql.contains(name));
    gateway::tables().iter().map(|table| table.name).filter(|name| is_named(name)).collect()
}
