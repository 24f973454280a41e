//! Segments of a backup: SQLite files with the rows that a range of entries wrote. SQLite copies them by itself, with
//! the bundled release, because another one can have the WAL-reset bug.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::{StoreError, Table, TableClass};
use crate::store::tables::{ACTIVATED_KEYS, CHECKPOINTS, ENTRIES};

/// Unfinished files are written again, so nothing is journalled or synced before the file is complete.
const SEGMENT_PRAGMAS: &str = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;";
/// As for a segment. The indexes of the tables are not in the order of the log, so more pages are cached: 256 MiB.
const LOAD_PRAGMAS: &str = "PRAGMA journal_mode = DELETE; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; \
     PRAGMA cache_size = -262144;";

/// Number of rows of each table of a segment.
pub type RowCounts = BTreeMap<String, u64>;

/// The entries that one caller made, for a report of what is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerEntries {
    /// Organisation of the caller; empty for callers without an accepted certificate.
    pub caller: String,
    /// Number of entries.
    pub entries: u64,
    /// Time of the first one, in microseconds UTC.
    pub first: i64,
    /// Time of the last one, in microseconds UTC.
    pub last: i64,
}

/// Returns the tables that a segment holds, each with the condition of its rows. Tables of keys are not among them, nor
/// those that are made again when a backup is restored.
fn conditions(tables: &[&'static Table], from: u64, to: u64) -> Vec<(&'static Table, String)> {
    let condition = |table: &&'static Table| match (table.class, table.number) {
        (TableClass::Committed, _) => Some((*table, format!("idx >= {from} AND idx < {to}"))),
        // The first segment has the checkpoint of the empty log too.
        (_, number) if number == CHECKPOINTS.number && from == 0 => Some((*table, format!("size <= {to}"))),
        (_, number) if number == CHECKPOINTS.number => {
            Some((*table, format!("size > {from} AND size <= {to}")))
        }
        (_, number) if number == ACTIVATED_KEYS.number => Some((*table, "true".to_owned())),
        _ => None,
    };
    tables.iter().filter_map(condition).collect()
}

/// Writes a segment: the rows of the entries from `from` up to `to`, all of one snapshot of a database that a node may
/// serve meanwhile. It is not synced.
///
/// # Errors
/// See [`StoreError`].
pub fn write_segment(
    database: &Path,
    segment: &Path,
    tables: &[&'static Table],
    (from, to): (u64, u64),
) -> Result<(), StoreError> {
    let connection = open(segment, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
    connection.execute_batch(SEGMENT_PRAGMAS)?;
    connection.execute("ATTACH $1 AS live", [read_only_uri(database)?])?;
    connection.execute_batch("BEGIN")?;
    for (table, condition) in conditions(tables, from, to) {
        let (name, columns) = (table.name, column_names(table));
        let order = table.columns.first().map_or("", |column| column.name);
        // Most tables have no new rows within a minute, and an empty table takes a page.
        let sql = format!("SELECT EXISTS (SELECT 1 FROM live.{name} WHERE {condition})");
        if !connection.query_row(&sql, [], |row| row.get::<_, bool>(0))? {
            continue;
        }
        connection.execute_batch(&format!(
            "CREATE TABLE {name} AS SELECT {columns} FROM live.{name} WHERE {condition} ORDER BY {order}"
        ))?;
    }
    connection.execute_batch("COMMIT")?;
    Ok(connection.close().map_err(|(_, error)| error)?)
}

/// Checks a segment: that SQLite finds no damage in it, and which entries it holds. Calls `entry` with the bytes of each, in the order of the
/// log. Returns the number of rows of each table.
///
/// # Errors
/// [`StoreError::Inconsistent`] if SQLite finds damage; otherwise see [`StoreError`].
pub fn read_segment(
    segment: &Path,
    tables: &[&'static Table],
    mut entry: impl FnMut(&[u8]),
) -> Result<RowCounts, StoreError> {
    let connection = open_read_only(segment)?;
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found != "ok" {
        return Err(StoreError::Inconsistent("SQLite finds damage in a segment of the backup"));
    }
    let mut counts = RowCounts::new();
    for table in held_tables(&connection, "main", tables)? {
        let sql = format!("SELECT COUNT(*) FROM {}", table.name);
        let rows: i64 = connection.query_row(&sql, [], |row| row.get(0))?;
        counts.insert(table.name.to_owned(), rows.unsigned_abs());
    }
    if !counts.contains_key(ENTRIES.name) {
        return Ok(counts);
    }
    let mut entries = connection.prepare("SELECT bytes FROM entries ORDER BY rowid")?;
    let mut rows = entries.query([])?;
    while let Some(row) = rows.next()? {
        entry(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?);
    }
    Ok(counts)
}

/// Inserts the rows of segments into a database of this release's schema, which no other process has open. It is not
/// synced.
///
/// # Errors
/// See [`StoreError`].
pub fn load_segments(
    database: &Path,
    segments: &[impl AsRef<Path>],
    tables: &[&'static Table],
) -> Result<(), StoreError> {
    let connection = open(database, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.execute_batch(LOAD_PRAGMAS)?;
    for segment in segments {
        connection.execute("ATTACH $1 AS segment", [read_only_uri(segment.as_ref())?])?;
        let held = held_tables(&connection, "segment", tables)?;
        connection.execute_batch("BEGIN")?;
        for table in held {
            let (name, columns) = (table.name, column_names(table));
            // Every segment has all activated keys.
            let verb = if table.number == ACTIVATED_KEYS.number { "INSERT OR REPLACE" } else { "INSERT" };
            connection.execute_batch(&format!(
                "{verb} INTO main.{name} ({columns}) SELECT {columns} FROM segment.{name} ORDER BY rowid"
            ))?;
        }
        connection.execute_batch("COMMIT; DETACH segment")?;
    }
    Ok(connection.close().map_err(|(_, error)| error)?)
}

/// Returns the tables that a segment holds: those with rows.
fn held_tables(
    connection: &Connection,
    schema: &str,
    tables: &[&'static Table],
) -> Result<Vec<&'static Table>, StoreError> {
    let mut statement = connection.prepare(&format!("SELECT name FROM {schema}.sqlite_schema"))?;
    let names = statement.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
    let held = conditions(tables, 0, 0).into_iter().map(|(table, _)| table);
    Ok(held.filter(|table| names.iter().any(|name| name == table.name)).collect())
}

/// Returns who made the entries from `from` up to `to` of a database that a lost machine left, the most first. Entries behind
/// the newest checkpoint were never answered.
///
/// # Errors
/// See [`StoreError`].
pub fn count_callers(database: &Path, from: u64, to: u64) -> Result<Vec<CallerEntries>, StoreError> {
    let connection = open_read_only(database)?;
    let sql = format!(
        "SELECT caller, COUNT(*), MIN(time), MAX(time) FROM entries WHERE idx >= {from} AND idx < {to} \
         GROUP BY caller ORDER BY COUNT(*) DESC, caller"
    );
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map([], |row| {
        let entries = row.get::<_, i64>(1)?.unsigned_abs();
        Ok(CallerEntries { caller: row.get(0)?, entries, first: row.get(2)?, last: row.get(3)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn open(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let flags = flags | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Ok(Connection::open_with_flags(path, flags)?)
}

fn open_read_only(path: &Path) -> Result<Connection, StoreError> {
    Ok(Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?)
}

/// Returns the URI with which a statement attaches a file for reading only.
fn read_only_uri(path: &Path) -> Result<String, StoreError> {
    let path = path.to_str().ok_or(StoreError::Inconsistent("the path of a database is not UTF-8"))?;
    let path = path.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    Ok(format!("file:{path}?mode=ro"))
}

fn column_names(table: &Table) -> String {
    table.columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ")
}
