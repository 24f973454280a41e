//! Table scans: whole rows of any table, with every declared column in the order of the declaration.

use sqlx::{AssertSqlSafe, query};

use super::conn::{bind_postgres, bind_sqlite, rows_from_postgres, rows_from_sqlite};
use super::timeouts::with_timeout;
use super::{Conn, RecordSubject, Row, StoreError, Table, Value};

impl Conn {
    /// Returns the rows that the entries from `from` (inclusive) to `to` (exclusive) wrote to a table of records.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn scan(&mut self, table: &'static Table, from: i64, to: i64) -> Result<Vec<Row>, StoreError> {
        let (sql, arguments) = (scan_sql(table), vec![Value::from(from), Value::from(to)]);
        match self {
            Self::SqliteWriter(writer) => writer.fetch_text(&sql, table.name, &arguments),
            Self::SqliteReader(conn) => {
                let rows = bind_sqlite(query(AssertSqlSafe(sql)), arguments).fetch_all(&mut **conn).await?;
                rows_from_sqlite(&rows, table.name)
            }
            Self::Postgres(conn) => {
                let bound = bind_postgres(query(AssertSqlSafe(sql)), arguments);
                rows_from_postgres(&with_timeout(bound.fetch_all(&mut **conn)).await?, table.name)
            }
        }
    }
}

/// Returns the statement of a scan. Where an entry may be about no child, its rows have no leaf and are left out.
fn scan_sql(table: &Table) -> String {
    let names: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
    let (names, name) = (names.join(", "), table.name);
    let only = match table.subject {
        RecordSubject::EveryChildIfAny => {
            format!(" AND EXISTS (SELECT 1 FROM leaves l WHERE l.idx = {name}.idx)")
        }
        _ => String::new(),
    };
    format!("SELECT {names} FROM {name} WHERE idx >= $1 AND idx < $2{only}")
}
