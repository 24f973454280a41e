//! What a migration would do: the migrations that a database lacks, each with its statements and the locks that they
//! take.

use std::collections::BTreeSet;

use sqlx::migrate::Migration;

use super::schema::{ADDITIVE_PREFIX, applied_migrations};
use super::{Database, StoreError};

/// A migration that a database lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedMigration {
    /// Its number.
    pub version: i64,
    /// Its name, without the number.
    pub name: String,
    /// Whether nodes of the release before can go on serving.
    pub is_additive: bool,
    /// Its statements, in their order.
    pub statements: Vec<PlannedStatement>,
}

/// A statement of a migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedStatement {
    /// What it does, in the words of SQL: `CREATE INDEX alerts_open`.
    pub action: String,
    /// The table on which it does it; `None` if the statement is of an unknown kind.
    pub table: Option<String>,
    /// What waits for the end of the migration.
    pub lock: MigrationLock,
}

/// What waits until a migration ends, because each migration is one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationLock {
    /// Nothing: the table is new.
    Nothing,
    /// Writes to the table.
    Writes,
    /// Reads and writes of the table.
    ReadsAndWrites,
    /// Writes to the database: SQLite has no smaller lock.
    Database,
    /// Not known.
    Unknown,
}

impl Database {
    /// Returns the migrations of this binary that the database lacks, in their order. Writes nothing.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn plan_migration(&self) -> Result<Vec<PlannedMigration>, StoreError> {
        let applied = applied_migrations(&mut self.reader().await?).await?;
        let is_pending = |own: &&Migration| applied.iter().all(|found| found.version != own.version);
        let mut new_tables = BTreeSet::new();
        let pending = self.migrator().iter().filter(is_pending);
        Ok(pending.map(|migration| plan(migration, self.is_shared(), &mut new_tables)).collect())
    }
}

/// Describes a migration. `new_tables` are those that it and the ones before it make.
fn plan(migration: &Migration, is_shared: bool, new_tables: &mut BTreeSet<String>) -> PlannedMigration {
    let description: &str = &migration.description;
    let statements = split_statements(migration.sql.as_str());
    PlannedMigration {
        version: migration.version,
        name: description.replace(' ', "_"),
        is_additive: description.starts_with(ADDITIVE_PREFIX),
        statements: statements.iter().map(|sql| describe(sql, is_shared, new_tables)).collect(),
    }
}

/// Splits SQL into its statements, without comments.
fn split_statements(sql: &str) -> Vec<String> {
    let (mut statements, mut current) = (Vec::new(), String::new());
    let (mut is_text, mut is_comment) = (false, false);
    let mut characters = sql.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\n' => {
                is_comment = false;
                current.push(' ');
            }
            _ if is_comment => {}
            '-' if !is_text && characters.peek() == Some(&'-') => is_comment = true,
            ';' if !is_text => statements.push(std::mem::take(&mut current)),
            other => {
                is_text ^= other == '\'';
                current.push(other);
            }
        }
    }
    statements.push(current);
    statements.retain(|statement| !statement.trim().is_empty());
    statements
}

/// Describes a statement by its first words.
fn describe(sql: &str, is_shared: bool, new_tables: &mut BTreeSet<String>) -> PlannedStatement {
    let spaced = sql.replace('(', " ( ");
    let words: Vec<&str> = spaced.split_whitespace().filter(|word| *word != "UNIQUE").collect();
    let (action, table, lock) = match words.as_slice() {
        ["CREATE", "TABLE", table, ..] => {
            new_tables.insert((*table).to_owned());
            ("CREATE TABLE".to_owned(), *table, MigrationLock::Nothing)
        }
        ["CREATE", "INDEX", index, "ON", table, ..] => {
            (format!("CREATE INDEX {index}"), *table, MigrationLock::Writes)
        }
        ["ALTER", "TABLE", table, verb, "COLUMN", column, ..] => {
            (format!("ALTER TABLE {verb} COLUMN {column}"), *table, MigrationLock::ReadsAndWrites)
        }
        ["ALTER", "TABLE", table, ..] => ("ALTER TABLE".to_owned(), *table, MigrationLock::ReadsAndWrites),
        ["DROP", "TABLE", table, ..] => ("DROP TABLE".to_owned(), *table, MigrationLock::ReadsAndWrites),
        ["INSERT", "INTO", table, ..] => ("INSERT".to_owned(), *table, MigrationLock::Nothing),
        ["UPDATE", table, ..] => ("UPDATE".to_owned(), *table, MigrationLock::Writes),
        ["DELETE", "FROM", table, ..] => ("DELETE".to_owned(), *table, MigrationLock::Writes),
        other => {
            let action = other.iter().take(3).copied().collect::<Vec<_>>().join(" ");
            return PlannedStatement { action, table: None, lock: MigrationLock::Unknown };
        }
    };
    let is_new = new_tables.contains(table);
    let lock = match lock {
        _ if !is_shared => MigrationLock::Database,
        _ if is_new => MigrationLock::Nothing,
        lock => lock,
    };
    PlannedStatement { action, table: Some(table.to_owned()), lock }
}

#[cfg(test)]
mod tests {
    use super::super::schema::{POSTGRES_MIGRATIONS, SQLITE_MIGRATIONS};
    use super::*;

    #[test]
    fn every_statement_of_the_migrations_is_known() {
        for (migrator, is_shared) in [(&SQLITE_MIGRATIONS, false), (&POSTGRES_MIGRATIONS, true)] {
            let mut new_tables = BTreeSet::new();
            let mut number = 0;
            for migration in migrator.iter() {
                let planned = plan(migration, is_shared, &mut new_tables);
                let unknown: Vec<_> = planned.statements.iter().filter(|it| it.table.is_none()).collect();
                assert_eq!(unknown, Vec::<&PlannedStatement>::new(), "{}", planned.name);
                number += planned.statements.len();
                // Nothing that a whole migration touches is there before it.
                let lock = if is_shared { MigrationLock::Nothing } else { MigrationLock::Database };
                assert!(planned.statements.iter().all(|it| it.lock == lock), "{planned:?}");
            }
            assert!(number > 50 && new_tables.contains("alerts"), "{number}: {new_tables:?}");
        }
    }

    #[test]
    fn a_statement_tells_what_waits_for_it() {
        let described = |sql: &str, is_shared| {
            let statements = split_statements(sql);
            assert_eq!(statements.len(), 1, "{statements:?}");
            let PlannedStatement { action, table, lock } =
                describe(&statements[0], is_shared, &mut BTreeSet::new());
            (action, table.unwrap_or_default(), lock)
        };
        for (sql, action, lock) in [
            (
                "-- the; first\nCREATE TABLE marks (\n id TEXT -- a ; b\n);",
                "CREATE TABLE",
                MigrationLock::Nothing,
            ),
            ("CREATE UNIQUE INDEX one ON marks (id);\n", "CREATE INDEX one", MigrationLock::Writes),
            (
                "ALTER TABLE marks ADD COLUMN note TEXT DEFAULT 'a;--b'",
                "ALTER TABLE ADD COLUMN note",
                MigrationLock::ReadsAndWrites,
            ),
            ("UPDATE marks SET note = ''", "UPDATE", MigrationLock::Writes),
        ] {
            assert_eq!(described(sql, true), (action.to_owned(), "marks".to_owned(), lock), "{sql}");
            assert_eq!(described(sql, false).2, MigrationLock::Database, "{sql}");
        }
        let vacuum = describe("VACUUM FULL", true, &mut BTreeSet::new());
        assert_eq!((vacuum.table, vacuum.lock), (None, MigrationLock::Unknown));
    }
}
