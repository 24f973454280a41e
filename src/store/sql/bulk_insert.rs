//! Bulk inserts: many rows in few statements. The committer writes records in no other way.

use sqlx::{AssertSqlSafe, query};

use super::conn::READ_ONLY;
use super::timeouts::with_timeout;
use super::{Column, ColumnKind, Conn, StoreError, Table, Value};

/// Rows of a table, each with a value for every column.
pub type TableRows = (&'static Table, Vec<Vec<Value>>);

impl Conn {
    /// Inserts rows, in order. In a table with a replace key, a row replaces the one of the same key. A table may appear
    /// twice, with and without a replace key, if no key is in both lists.
    ///
    /// # Errors
    /// [`StoreError::Refused`] for an existing key in a table without a replace key; otherwise see [`StoreError`].
    pub async fn insert(&mut self, tables: Vec<TableRows>) -> Result<(), StoreError> {
        match self {
            Self::SqliteWriter(writer) => tables
                .iter()
                .try_for_each(|(table, rows)| writer.insert(table, &on_conflict_clause(table), rows)),
            Self::SqliteReader(_) => Err(READ_ONLY),
            Self::Postgres(_) if tables.is_empty() => Ok(()),
            Self::Postgres(_) => self.insert_unnest(tables).await,
        }
    }

    /// Inserts into all tables with one statement, because each statement is a round trip. Each parameter is an array
    /// of one column's values, so the text depends only on the set of tables and is prepared once.
    async fn insert_unnest(&mut self, tables: Vec<TableRows>) -> Result<(), StoreError> {
        let Self::Postgres(conn) = self else { return Ok(()) };
        let mut bound = query(AssertSqlSafe(unnest_sql(&tables)));
        for (table, rows) in tables {
            let mut columns: Vec<Vec<Value>> =
                table.columns.iter().map(|_| Vec::with_capacity(rows.len())).collect();
            for row in rows {
                for (column, value) in columns.iter_mut().zip(row) {
                    column.push(value);
                }
            }
            for (column, declared) in columns.into_iter().zip(table.columns) {
                bound = match declared.kind {
                    ColumnKind::Int => bound.bind(column.into_iter().map(int).collect::<Vec<_>>()),
                    ColumnKind::Text => bound.bind(column.into_iter().map(text_of).collect::<Vec<_>>()),
                    ColumnKind::Blob => bound.bind(column.into_iter().map(blob).collect::<Vec<_>>()),
                };
            }
        }
        let done = with_timeout(bound.execute(conn.get()?)).await;
        conn.checked(done)?;
        Ok(())
    }
}

/// Returns `WITH t AS (INSERT …), … INSERT …`. PostgreSQL executes every part, whether or not its result is used.
fn unnest_sql(tables: &[TableRows]) -> String {
    let mut parameters = 1..;
    let mut parts: Vec<String> = (tables.iter())
        .map(|(table, _)| {
            let array = |(column, at): (&Column, i32)| format!("${at}::{}[]", postgres_type(column.kind));
            let arrays: Vec<String> = table.columns.iter().zip(&mut parameters).map(array).collect();
            let (names, arrays) = (column_names(table), arrays.join(","));
            format!(
                "INSERT INTO {} ({names}) SELECT * FROM UNNEST({arrays}){}",
                table.name,
                on_conflict_clause(table)
            )
        })
        .collect();
    let last = parts.pop().unwrap_or_default();
    let with: Vec<String> = (1..).zip(parts).map(|(at, part)| format!("part_{at} AS ({part})")).collect();
    if with.is_empty() { last } else { format!("WITH {} {last}", with.join(", ")) }
}

fn column_names(table: &Table) -> String {
    table.columns.iter().map(|column| column.name).collect::<Vec<_>>().join(",")
}

/// Returns the `ON CONFLICT` clause of a table with a replace key; else an empty string.
fn on_conflict_clause(table: &Table) -> String {
    if table.replace_key.is_empty() {
        return String::new();
    }
    let set: Vec<String> = (table.columns.iter())
        .map(|column| column.name)
        .filter(|name| !table.replace_key.contains(name))
        .map(|name| format!("{name} = excluded.{name}"))
        .collect();
    format!(" ON CONFLICT ({}) DO UPDATE SET {}", table.replace_key.join(","), set.join(","))
}

fn postgres_type(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Int => "bigint",
        ColumnKind::Text => "text",
        ColumnKind::Blob => "bytea",
    }
}

#[expect(clippy::needless_pass_by_value, reason = "mapped over owned values, as its siblings are")]
fn int(value: Value) -> Option<i64> {
    if let Value::Int(value) = value { value } else { None }
}

fn text_of(value: Value) -> Option<String> {
    if let Value::Text(value) = value { value } else { None }
}

fn blob(value: Value) -> Option<Vec<u8>> {
    if let Value::Blob(value) = value { value } else { None }
}
