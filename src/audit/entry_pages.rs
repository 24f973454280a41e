//! Pages of log entries, read ahead by a separate task while earlier pages are verified.

use std::collections::{BTreeMap, HashMap};

use tokio::sync::mpsc;

use crate::store::sql::Conn;
use crate::store::{Row, StoreError, log};
use crate::tlog::{Hash, TILE_WIDTH, TileId};

/// Entries of one page: eight tiles.
const ENTRIES_PER_PAGE: u64 = 8 * TILE_WIDTH;
/// Pages that are read ahead of the verifier.
const READ_AHEAD_PAGES: usize = 2;

/// Consecutive entries with their leaves and tiles.
pub(super) struct EntryPage {
    /// Rows of the entries: index, time, exchange, caller, system, method, outcome and bytes.
    pub entries: Vec<Row>,
    /// Child leaves by entry index, for the entries that have some.
    pub leaves: BTreeMap<i64, Vec<Hash>>,
    /// Tiles of any level that one of the entries completes.
    pub tiles: HashMap<TileId, Vec<u8>>,
    /// Indexes of entries without their row in `callers`. A list of their caller's exchanges would lack them.
    pub missing_from_callers: Vec<i64>,
}

/// The pages of the log from the first entry on, all read from one snapshot. `None` marks the end of the log.
pub(super) struct EntryPages(mpsc::Receiver<Result<Option<EntryPage>, StoreError>>);

impl EntryPages {
    /// Spawns the task that reads the pages. It uses the committer's connection, because that one does not pass rows of
    /// SQLite between threads one by one. No other task needs the connection while a copy is verified.
    pub fn spawn(conn: Conn) -> Self {
        let (to, pages) = mpsc::channel(READ_AHEAD_PAGES);
        tokio::spawn(send_pages(conn, to));
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

/// Reads all pages and sends them, then releases the connection.
async fn send_pages(mut conn: Conn, to: mpsc::Sender<Result<Option<EntryPage>, StoreError>>) {
    let indexed_up_to = match open_snapshot(&mut conn).await {
        Ok(indexed_up_to) => indexed_up_to,
        Err(error) => {
            to.send(Err(error)).await.ok();
            return conn.rollback().await;
        }
    };
    for from in (0..).step_by(usize::try_from(ENTRIES_PER_PAGE).unwrap_or(usize::MAX)) {
        let page = load_page(&mut conn, from, indexed_up_to)
            .await
            .map(|page| Some(page).filter(|page| !page.entries.is_empty()));
        let is_last = !matches!(page, Ok(Some(_)));
        if to.send(page).await.is_err() || is_last {
            break;
        }
    }
    conn.rollback().await;
}

/// Opens the snapshot for all pages, and returns the index up to which every entry must have its row in `callers`.
async fn open_snapshot(conn: &mut Conn) -> Result<i64, StoreError> {
    conn.begin_read().await?;
    log::callers_indexed_up_to(conn).await
}

async fn load_page(conn: &mut Conn, from: u64, indexed_up_to: i64) -> Result<EntryPage, StoreError> {
    let range = || vec![sql_int(from).into(), sql_int(from + ENTRIES_PER_PAGE).into()];
    let sql = "SELECT idx, time, exchange, caller, system, method, outcome, bytes FROM entries \
               WHERE idx >= $1 AND idx < $2 ORDER BY idx";
    let entries = conn.fetch(sql, range()).await?;
    let sql = "SELECT idx, hash FROM leaves WHERE idx >= $1 AND idx < $2 ORDER BY idx, ordinal";
    let mut leaves: BTreeMap<i64, Vec<Hash>> = BTreeMap::new();
    for row in conn.fetch(sql, range()).await? {
        leaves.entry(row.get("idx")?).or_default().push(Hash::from(row.get::<[u8; 32]>("hash")?));
    }
    let sql = "SELECT idx FROM entries WHERE idx >= $1 AND idx < $2 AND NOT EXISTS (SELECT 1 FROM callers \
               WHERE callers.organisation = entries.caller AND callers.idx = entries.idx) ORDER BY idx";
    let unlisted = conn
        .fetch(sql, vec![sql_int(from).into(), sql_int(from + ENTRIES_PER_PAGE).min(indexed_up_to).into()])
        .await?;
    let unlisted = unlisted.iter().map(|row| row.get("idx")).collect::<Result<_, _>>()?;
    Ok(EntryPage { entries, leaves, tiles: load_tiles(conn, from).await?, missing_from_callers: unlisted })
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
