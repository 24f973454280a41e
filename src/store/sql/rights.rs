//! The tables that a database has, and what a role of PostgreSQL may do with them.

use std::collections::BTreeMap;

use super::{Database, StoreError, Table, TableClass};

/// Tables of PostgreSQL's current schema, each with the rights that the role lacks.
const POSTGRES_TABLES: &str = "SELECT CAST(c.relname AS TEXT) AS name, \
     CASE WHEN has_table_privilege(c.oid, 'SELECT') THEN '' ELSE 'SELECT ' END || \
     CASE WHEN has_table_privilege(c.oid, 'INSERT') THEN '' ELSE 'INSERT ' END || \
     CASE WHEN has_table_privilege(c.oid, 'UPDATE') THEN '' ELSE 'UPDATE ' END || \
     CASE WHEN has_table_privilege(c.oid, 'DELETE') THEN '' ELSE 'DELETE ' END AS lacking, \
     CAST(current_user AS TEXT) AS role FROM pg_class c WHERE c.relkind IN ('r', 'p') AND pg_table_is_visible(c.oid)";
const SQLITE_TABLES: &str = "SELECT name, '' AS lacking, '' AS role FROM sqlite_schema WHERE type = 'table'";

impl Database {
    /// Checks that the database has these tables, and that the role may read them and write what a node writes to them.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] with the first table for which that is not so; otherwise see [`StoreError`].
    pub async fn check_tables(&self, tables: &[&Table]) -> Result<(), StoreError> {
        let sql = if self.is_shared() { POSTGRES_TABLES } else { SQLITE_TABLES };
        let found = self.reader().await?.fetch(sql, vec![]).await?;
        let mut lacking = BTreeMap::new();
        for row in &found {
            lacking.insert(row.get_str("name")?, (row.get_str("lacking")?, row.get_str("role")?));
        }
        for table in tables {
            let Some((lacking, role)) = lacking.get(table.name) else {
                return Err(StoreError::Unusable(format!(
                    "the table {} is missing: the schema was migrated or restored by half; restore the database from \
                     its backup",
                    table.name
                )));
            };
            let needed = needed_rights(table);
            if let Some(right) = lacking.split_whitespace().find(|right| needed.contains(right)) {
                return Err(StoreError::Unusable(format!(
                    "the role {role} lacks the right {right} on the table {}: GRANT SELECT, INSERT, UPDATE, DELETE ON \
                     ALL TABLES IN SCHEMA the gateway's TO {role}",
                    table.name
                )));
            }
        }
        Ok(())
    }
}

/// Returns the rights that a node needs on a table. Records are only added; what is replaced or deleted is derived from
/// the log, or concerns the nodes.
fn needed_rights(table: &Table) -> &'static [&'static str] {
    match table.class {
        _ if table.name == "_sqlx_migrations" => &["SELECT"],
        _ if !table.replace_key.is_empty() => &["SELECT", "INSERT", "UPDATE"],
        TableClass::Operational => &["SELECT", "INSERT", "UPDATE", "DELETE"],
        _ => &["SELECT", "INSERT"],
    }
}
