//! Many rows of a table in few statements: the committer's only way to write.

use sqlx::{AssertSqlSafe, query};

use super::conn::within;
use super::{Conn, Kind, StoreError, Table, Value};

impl Conn {
    /// Inserts whole rows, in order; where the table says so a row replaces the one of its key.
    ///
    /// # Errors
    /// As [`StoreError`] says; rows of an existing key are [`StoreError::Refused`] unless the table replaces.
    pub async fn insert(&mut self, table: &Table, rows: Vec<Vec<Value>>) -> Result<(), StoreError> {
        match self {
            Self::Own(own) => own.insert(table, &on_key(table), &rows),
            Self::Sqlite(_) => Err(StoreError::Inconsistent("a reader cannot write")),
            Self::Postgres(_) if rows.is_empty() => Ok(()),
            Self::Postgres(_) => self.insert_unnest(table, rows).await,
        }
    }

    /// PostgreSQL takes a column a parameter, whatever the number of rows: one statement a table for ever.
    async fn insert_unnest(&mut self, table: &Table, rows: Vec<Vec<Value>>) -> Result<(), StoreError> {
        let Self::Postgres(conn) = self else { return Ok(()) };
        let arrays: Vec<String> = (table.columns.iter().enumerate())
            .map(|(at, (_, kind))| format!("${}::{}[]", at + 1, postgres_type(*kind)))
            .collect();
        let text = format!(
            "INSERT INTO {} ({}) SELECT * FROM UNNEST({}){}",
            table.name,
            names(table),
            arrays.join(","),
            on_key(table)
        );
        let mut columns: Vec<Vec<Value>> =
            table.columns.iter().map(|_| Vec::with_capacity(rows.len())).collect();
        for row in rows {
            for (column, value) in columns.iter_mut().zip(row) {
                column.push(value);
            }
        }
        let mut bound = query(AssertSqlSafe(text));
        for (column, (_, kind)) in columns.into_iter().zip(table.columns) {
            bound = match kind {
                Kind::Int => bound.bind(column.into_iter().map(int).collect::<Vec<_>>()),
                Kind::Text => bound.bind(column.into_iter().map(text_of).collect::<Vec<_>>()),
                Kind::Blob => bound.bind(column.into_iter().map(blob).collect::<Vec<_>>()),
            };
        }
        within(bound.execute(&mut **conn)).await?;
        Ok(())
    }
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
