//! The tables of a database as the database itself describes them, so that a column that no declaration names is
//! edited too.

use std::collections::BTreeMap;

use ap_gateway::store::{ColumnKind, Database, Value};

use super::super::schema::{MIGRATIONS, POSTGRES_COLUMNS, SQLITE_COLUMNS, column_kind};

/// A column.
pub struct ColumnInSchema {
    pub name: String,
    pub kind: ColumnKind,
    pub is_required: bool,
    /// The position in the primary key, from 1; 0 for a column outside it.
    pub key: i64,
}

/// A table with its rows in the order of its key.
pub struct FilledTable {
    pub name: String,
    pub columns: Vec<ColumnInSchema>,
    pub rows: Vec<Vec<Value>>,
}

impl FilledTable {
    /// Returns the position of a column.
    pub fn position(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|found| found.name == column)
    }

    /// Returns the positions of the key's columns, in the order of the key.
    pub fn key(&self) -> Vec<usize> {
        let mut key: Vec<usize> = (0..self.columns.len()).filter(|at| self.columns[*at].key > 0).collect();
        key.sort_by_key(|at| self.columns[*at].key);
        key
    }
}

/// Reads every table except that of sqlx, whose columns have other types.
pub async fn read_tables(database: &Database) -> Vec<FilledTable> {
    let mut conn = database.reader().await.unwrap();
    let sql = if database.is_shared() { POSTGRES_COLUMNS } else { SQLITE_COLUMNS };
    let mut columns: BTreeMap<String, Vec<ColumnInSchema>> = BTreeMap::new();
    for row in conn.fetch(sql, vec![]).await.unwrap() {
        let table: String = row.get("table_name").unwrap();
        if table == MIGRATIONS {
            continue;
        }
        let kind = column_kind(&row);
        columns.entry(table).or_default().push(ColumnInSchema {
            name: row.get("column_name").unwrap(),
            kind,
            is_required: row.get("is_required").unwrap(),
            key: row.get("key").unwrap(),
        });
    }
    let mut tables = Vec::new();
    for (name, columns) in columns {
        let mut table = FilledTable { name, columns, rows: Vec::new() };
        let names = |positions: &[usize]| {
            positions.iter().map(|at| table.columns[*at].name.as_str()).collect::<Vec<_>>().join(", ")
        };
        let all: Vec<usize> = (0..table.columns.len()).collect();
        let sql = format!("SELECT {} FROM {} ORDER BY {}", names(&all), table.name, names(&table.key()));
        let rows = conn.fetch(sql.leak(), vec![]).await.unwrap();
        // A database returns NULL without the column's type.
        let typed = |(value, column): (&Value, &ColumnInSchema)| match value {
            Value::Int(None) | Value::Text(None) | Value::Blob(None) => Value::null(column.kind),
            value => value.clone(),
        };
        let columns = &table.columns;
        table.rows = rows.iter().map(|row| row.values().iter().zip(columns).map(typed).collect()).collect();
        tables.push(table);
    }
    tables
}
