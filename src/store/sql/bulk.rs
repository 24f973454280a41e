//! Many rows of a table in few statements: the committer's only way to write.

use sqlx::{AssertSqlSafe, query};

use super::conn::{READER, within};
use super::{Conn, Kind, StoreError, Table, Value};

/// Rows of a table, each whole.
pub type Rows = (&'static Table, Vec<Vec<Value>>);

impl Conn {
    /// Inserts rows, in order; where the table says so a row replaces the one of its key. A table is named once.
    ///
    /// # Errors
    /// As [`StoreError`] says; rows of an existing key are [`StoreError::Refused`] unless the table replaces.
    pub async fn insert(&mut self, tables: Vec<Rows>) -> Result<(), StoreError> {
        match self {
            Self::Own(own) => {
                tables.iter().try_for_each(|(table, rows)| own.insert(table, &on_key(table), rows))
            }
            Self::Sqlite(_) => Err(READER),
            Self::Postgres(_) if tables.is_empty() => Ok(()),
            Self::Postgres(_) => self.insert_unnest(tables).await,
        }
    }

    /// All tables in one statement, for each statement is a journey to the server and back. PostgreSQL takes a
    /// column a parameter, whatever the number of rows: one text a set of tables, prepared once.
    async fn insert_unnest(&mut self, tables: Vec<Rows>) -> Result<(), StoreError> {
        let Self::Postgres(conn) = self else { return Ok(()) };
        let mut bound = query(AssertSqlSafe(unnest(&tables)));
        for (table, rows) in tables {
            let mut columns: Vec<Vec<Value>> =
                table.columns.iter().map(|_| Vec::with_capacity(rows.len())).collect();
            for row in rows {
                for (column, value) in columns.iter_mut().zip(row) {
                    column.push(value);
                }
            }
            for (column, (_, kind)) in columns.into_iter().zip(table.columns) {
                bound = match kind {
                    Kind::Int => bound.bind(column.into_iter().map(int).collect::<Vec<_>>()),
                    Kind::Text => bound.bind(column.into_iter().map(text_of).collect::<Vec<_>>()),
                    Kind::Blob => bound.bind(column.into_iter().map(blob).collect::<Vec<_>>()),
                };
            }
        }
        within(bound.execute(&mut **conn)).await?;
        Ok(())
    }
}

/// `WITH t AS (INSERT …), … INSERT …`: every part is carried out, whether anyone reads it or not.
fn unnest(tables: &[Rows]) -> String {
    let mut parameters = 1..;
    let mut parts: Vec<String> = (tables.iter())
        .map(|(table, _)| {
            let array = |((_, kind), at)| format!("${at}::{}[]", postgres_type(kind));
            let arrays: Vec<String> = table.columns.iter().copied().zip(&mut parameters).map(array).collect();
            let (names, arrays) = (names(table), arrays.join(","));
            format!("INSERT INTO {} ({names}) SELECT * FROM UNNEST({arrays}){}", table.name, on_key(table))
        })
        .collect();
    let last = parts.pop().unwrap_or_default();
    let others = tables.iter().zip(parts);
    let with: Vec<String> = others.map(|((table, _), part)| format!("{}_ AS ({part})", table.name)).collect();
    if with.is_empty() { last } else { format!("WITH {} {last}", with.join(", ")) }
}

fn names(table: &Table) -> String {
    table.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(",")
}

fn on_key(table: &Table) -> String {
    if table.replace_by.is_empty() {
        return String::new();
    }
    let set: Vec<String> = (table.columns.iter())
        .filter(|(name, _)| !table.replace_by.contains(name))
        .map(|(name, _)| format!("{name} = excluded.{name}"))
        .collect();
    format!(" ON CONFLICT ({}) DO UPDATE SET {}", table.replace_by.join(","), set.join(","))
}

fn postgres_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Int => "bigint",
        Kind::Text => "text",
        Kind::Blob => "bytea",
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
