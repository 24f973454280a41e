//! The indexes, triggers and views of a database, which answers are read through, compared with those that the
//! migrations make.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::schema::sqlite_migrations;
use super::{Conn, StoreError};

/// Indexes, triggers and views of a SQLite database, by their text.
const SQLITE_OBJECTS: &str = "SELECT type, name, sql FROM sqlite_schema \
                              WHERE type <> 'table' AND sql IS NOT NULL ORDER BY type, name";
/// Triggers, views and rules of a PostgreSQL schema. The migrations make none.
const POSTGRES_OBJECTS: &str = "SELECT 'trigger' AS type, CAST(t.tgname AS TEXT) AS name FROM pg_trigger t \
     JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE NOT t.tgisinternal AND n.nspname = current_schema() \
     UNION ALL SELECT 'view', CAST(viewname AS TEXT) FROM pg_views WHERE schemaname = current_schema() \
     UNION ALL SELECT 'rule', CAST(rulename AS TEXT) FROM pg_rules WHERE schemaname = current_schema()";

/// How the schema of a database differs from that of this release's migrations.
#[derive(Debug, Default)]
pub struct SchemaDifferences {
    /// Differences that change what is read, in plain words.
    pub faults: Vec<String>,
    /// Indexes that this release does not know. A newer, additive migration can have made one.
    pub unknown_indexes: Vec<String>,
}

impl Conn {
    /// Compares the indexes, triggers and views of the database with those of the migrations, and on SQLite each index
    /// with its table.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn schema_differences(&mut self) -> Result<SchemaDifferences, StoreError> {
        let mut found = SchemaDifferences::default();
        if matches!(self, Self::Postgres(_)) {
            for row in self.fetch(POSTGRES_OBJECTS, vec![]).await? {
                found.faults.push(format!("the {} {} was added", row.get_str("type")?, row.get_str("name")?));
            }
            return Ok(found);
        }
        let mut expected = migrated_objects()?;
        for row in self.fetch(SQLITE_OBJECTS, vec![]).await? {
            let (kind, name, sql): (String, String, String) =
                (row.get("type")?, row.get("name")?, row.get("sql")?);
            match expected.remove(&(kind.clone(), name.clone())) {
                Some(migrated) if migrated == sql => {}
                Some(_) => found.faults.push(format!("the {kind} {name} was changed")),
                None if kind == "index" => found.unknown_indexes.push(name),
                None => found.faults.push(format!("the {kind} {name} was added")),
            }
        }
        found.faults.extend(expected.keys().map(|(kind, name)| format!("the {kind} {name} was removed")));
        for row in self.fetch("PRAGMA integrity_check(100)", vec![]).await? {
            let what = row.get_str("integrity_check")?;
            if what != "ok" {
                found.faults.push(format!("SQLite's integrity check finds: {}", what.replace('\n', " ")));
            }
        }
        Ok(found)
    }
}

/// Returns the indexes, triggers and views that the migrations make in an empty SQLite database, by type and name.
fn migrated_objects() -> Result<BTreeMap<(String, String), String>, StoreError> {
    let memory = Connection::open_in_memory()?;
    for sql in sqlite_migrations() {
        memory.execute_batch(sql)?;
    }
    let mut objects = memory.prepare(SQLITE_OBJECTS)?;
    let rows = objects.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
