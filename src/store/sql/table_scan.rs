//! Table scans: whole rows of any table, with every declared column in the order of the declaration.

use sqlx::{AssertSqlSafe, query};

use super::conn::{bind_postgres, bind_sqlite, rows_from_postgres, rows_from_sqlite};
use super::timeouts::with_timeout;
use super::{Conn, Row, StoreError, Table, Value};

impl Conn {
    /// Returns the rows that the entries from `from` (inclusive) to `to` (exclusive) wrote to a table of records.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn scan(&mut self, table: &'static Table, from: i64, to: i64) -> Result<Vec<Row>, StoreError> {
        self.fetch_built(scan_sql(table), table.name, vec![from.into(), to.into()]).await
    }

    /// Returns the number of rows that the entries from `from` (inclusive) to `to` (exclusive) wrote to a table of records.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn count(&mut self, table: &'static Table, from: i64, to: i64) -> Result<u64, StoreError> {
        let sql = format!("SELECT COUNT(*) AS rows FROM {} WHERE idx >= $1 AND idx < $2", table.name);
        let counted = self.fetch_built(sql, table.name, vec![from.into(), to.into()]).await?;
        counted.first().map_or(Ok(0), |row| Ok(row.get::<i64>("rows")?.unsigned_abs()))
    }

    /// Returns whether a table has all declared columns.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn has_columns(&mut self, table: &'static Table) -> Result<bool, StoreError> {
        if table.columns.is_empty() {
            return Ok(true);
        }
        let sql = format!("SELECT {} FROM {} LIMIT 0", column_names(table), table.name);
        match self.fetch_built(sql, table.name, Vec::new()).await {
            Ok(_) => Ok(true),
            Err(StoreError::Refused(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns every column that the database has, declared or not, each with its table.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn stored_columns(&mut self) -> Result<Vec<(String, String)>, StoreError> {
        let sql = if matches!(self, Self::Postgres(_)) { POSTGRES_COLUMNS } else { SQLITE_COLUMNS };
        let rows = self.fetch(sql, vec![]).await?;
        rows.iter().map(|row| Ok((row.get("table_name")?, row.get("column_name")?))).collect()
    }

    /// Returns the rows of a statement that was built from the declaration of a table.
    async fn fetch_built(
        &mut self,
        sql: String,
        table: &'static str,
        arguments: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::SqliteWriter(writer) => writer.fetch_text(&sql, table, &arguments),
            Self::SqliteReader(conn) => {
                let rows = bind_sqlite(query(AssertSqlSafe(sql)), arguments).fetch_all(conn.get()?).await?;
                rows_from_sqlite(&rows, table)
            }
            Self::Postgres(conn) => {
                let bound = bind_postgres(query(AssertSqlSafe(sql)), arguments);
                rows_from_postgres(&with_timeout(bound.fetch_all(conn.get()?)).await?, table)
            }
        }
    }
}

/// Every column of a SQLite database, generated ones too.
const SQLITE_COLUMNS: &str = "SELECT t.name AS table_name, c.name AS column_name \
     FROM sqlite_schema t JOIN pragma_table_xinfo(t.name) c \
     WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%' ORDER BY t.name, c.cid";
/// Every column of the gateway's schema in PostgreSQL.
const POSTGRES_COLUMNS: &str = "SELECT CAST(table_name AS TEXT) AS table_name, \
     CAST(column_name AS TEXT) AS column_name FROM information_schema.columns \
     WHERE table_schema = current_schema() ORDER BY table_name, ordinal_position";

fn column_names(table: &Table) -> String {
    table.columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ")
}

/// Returns the statement of a scan.
fn scan_sql(table: &Table) -> String {
    format!("SELECT {} FROM {} WHERE idx >= $1 AND idx < $2 ORDER BY idx", column_names(table), table.name)
}
