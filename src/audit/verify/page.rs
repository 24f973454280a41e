//! Pages of log entries with the rows that they wrote, read ahead by a separate task while earlier pages are verified.

use std::collections::HashMap;

use tokio::sync::mpsc;

use crate::store::sql::Conn;
use crate::store::{ENTRIES, Row, StoreError, Table, TableClass};
use crate::tlog::{TILE_WIDTH, TileId};

/// Entries of one page: one tile. An entry can have a thousand rows, and all rows of a page are in memory.
const ENTRIES_PER_PAGE: u64 = TILE_WIDTH;
/// Pages that are read ahead of the verifier.
const READ_AHEAD_PAGES: usize = 2;

/// A row of a committed table.
pub(super) struct TableRow {
    pub table: &'static Table,
    pub ordinal: i64,
    pub row: Row,
}

/// Consecutive entries with their rows and tiles.
pub(super) struct EntryPage {
    /// Rows of the entries, with all declared columns.
    pub entries: Vec<Row>,
    /// The rows that each entry wrote, in the order of their ordinals.
    pub rows: HashMap<i64, Vec<TableRow>>,
    /// Tiles of any level that one of the entries completes.
    pub tiles: HashMap<TileId, Vec<u8>>,
}

/// The pages of the log from the first entry on, all read from one snapshot. `None` marks the end of the log.
pub(super) struct EntryPages(mpsc::Receiver<Result<Option<EntryPage>, StoreError>>);

impl EntryPages {
    /// Spawns the task that reads the pages. It uses the committer's connection, because that one does not pass rows of
    /// SQLite between threads one by one. No other task needs the connection while a copy is verified.
    pub fn spawn(conn: Conn, tables: &[&'static Table]) -> Self {
        let (to, pages) = mpsc::channel(READ_AHEAD_PAGES);
        let entries = tables.iter().copied().find(|table| table.number == ENTRIES.number);
        tokio::spawn(send_pages(conn, entries.unwrap_or(&ENTRIES), committed(tables).collect(), to));
        Self(pages)
    }

    /// Returns the next page, or `None` after the last entry.
    ///
    /// # Errors
    /// [`StoreError`] when the query fails or a stored value is corrupt.
    pub async fn next(&mut self) -> Result<Option<EntryPage>, StoreError> {
        // The task sends `None` at the end of the log. A channel that closes earlier means that the task stopped early.
        self.0
            .recv()
            .await
            .unwrap_or(Err(StoreError::Inconsistent("the task that reads the log stopped early")))
    }
}

/// Returns the tables whose rows belong to the entries that wrote them.
pub(super) fn committed(tables: &[&'static Table]) -> impl Iterator<Item = &'static Table> {
    let is_committed = |table: &&Table| {
        matches!(table.class, TableClass::Committed | TableClass::Wrapped) && table.name != ENTRIES.name
    };
    tables.iter().copied().filter(is_committed)
}

/// Reads all pages and sends them, then releases the connection.
async fn send_pages(
    mut conn: Conn,
    entries: &'static Table,
    tables: Vec<&'static Table>,
    to: mpsc::Sender<Result<Option<EntryPage>, StoreError>>,
) {
    if let Err(error) = conn.begin_read().await {
        to.send(Err(error)).await.ok();
        return conn.rollback().await;
    }
    for from in (0..).step_by(usize::try_from(ENTRIES_PER_PAGE).unwrap_or(usize::MAX)) {
        let page = load_page(&mut conn, entries, &tables, from)
            .await
            .map(|page| Some(page).filter(|page| !page.entries.is_empty()));
        let is_last = !matches!(page, Ok(Some(_)));
        if to.send(page).await.is_err() || is_last {
            break;
        }
    }
    conn.rollback().await;
}

async fn load_page(
    conn: &mut Conn,
    entries: &'static Table,
    tables: &[&'static Table],
    from: u64,
) -> Result<EntryPage, StoreError> {
    let (first, end) = (sql_int(from), sql_int(from + ENTRIES_PER_PAGE));
    let entries = conn.scan(entries, first, end).await?;
    let mut rows: HashMap<i64, Vec<TableRow>> = HashMap::with_capacity(entries.len());
    for table in tables {
        for row in conn.scan(table, first, end).await? {
            let (index, ordinal) = (row.get("idx")?, row.get("ordinal")?);
            rows.entry(index).or_default().push(TableRow { table, ordinal, row });
        }
    }
    for of_entry in rows.values_mut() {
        of_entry.sort_by_key(|row| row.ordinal);
    }
    Ok(EntryPage { entries, rows, tiles: load_tiles(conn, from).await? })
}

async fn load_tiles(conn: &mut Conn, from: u64) -> Result<HashMap<TileId, Vec<u8>>, StoreError> {
    let sql = "SELECT number, hashes FROM tiles WHERE level = $1 AND number >= $2 AND number < $3";
    let (mut found, mut first, mut end) =
        (HashMap::new(), from / TILE_WIDTH, (from + ENTRIES_PER_PAGE) / TILE_WIDTH);
    for level in 0_u8.. {
        if first == end {
            break;
        }
        let range = vec![i64::from(level).into(), sql_int(first).into(), sql_int(end).into()];
        for row in conn.fetch(sql, range).await? {
            let id = TileId { level, number: row.get::<i64>("number")?.unsigned_abs() };
            found.insert(id, row.get("hashes")?);
        }
        (first, end) = (first / TILE_WIDTH, end / TILE_WIDTH);
    }
    Ok(found)
}

/// Converts an index or a size to the integer type of the database.
pub(super) fn sql_int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
