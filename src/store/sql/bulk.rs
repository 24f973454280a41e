//! Many rows of a table in few statements: the committer's only way to write.

use sqlx::{AssertSqlSafe, query};

use super::conn::{bind_sqlite, within};
use super::{Conn, Kind, StoreError, Table, Value};

/// Rows of the largest multi-row statement on SQLite. Fewer go in powers of two, so that a handful of
/// prepared statements a table serves every size of group.
const ROWS: usize = 256;

impl Conn {
    /// Inserts whole rows, in order; where the table says so a row replaces the one of its key.
    ///
    /// # Errors
    /// As [`StoreError`] says; rows of an existing key are [`StoreError::Refused`] unless the table replaces.
    pub async fn insert(&mut self, table: &Table, mut rows: Vec<Vec<Value>>) -> Result<(), StoreError> {
        if let Self::Postgres(_) = self {
            return if rows.is_empty() { Ok(()) } else { self.insert_unnest(table, rows).await };
        }
        let most = (32_000 / table.columns.len().max(1)).min(ROWS);
        while !rows.is_empty() {
            let take = rows.len().min(most);
            let take = if take.is_power_of_two() { take } else { take.next_power_of_two() / 2 };
            let rest = rows.split_off(take);
            let Self::Sqlite(conn) = self else { return Ok(()) };
            let row = format!("({})", vec!["?"; table.columns.len()].join(","));
            let text = format!(
                "INSERT INTO {} ({}) VALUES {}{}",
                table.name,
                names(table),
                vec![row.as_str(); take].join(","),
                on_key(table)
            );
            let values = rows.into_iter().flatten().collect();
            bind_sqlite(query(AssertSqlSafe(text)), values).execute(&mut **conn).await?;
            rows = rest;
        }
        Ok(())
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
