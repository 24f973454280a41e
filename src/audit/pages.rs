//! The log in pages, read by a task of its own while the pages before are verified.

use std::collections::{BTreeMap, HashMap};

use tokio::sync::mpsc;

use crate::store::sql::Conn;
use crate::store::{Row, StoreError, log};
use crate::tlog::{Hash, TILE_WIDTH, TileId};

/// Entries of a page: eight tiles.
const PAGE: u64 = 8 * TILE_WIDTH;
/// Pages that are read before somebody takes them.
const AHEAD: usize = 2;

/// Entries one after the other, with what is stored of them beside.
pub(super) struct Page {
    /// Index, time, exchange, caller, system, method, outcome and bytes of each.
    pub entries: Vec<Row>,
    /// The leaves of each that has some.
    pub leaves: BTreeMap<i64, Vec<Hash>>,
    /// The tiles, of any level, that become full with one of them.
    pub tiles: HashMap<TileId, Vec<u8>>,
    /// Indexes of those that an audit of their caller would not find.
    pub unlisted: Vec<i64>,
}

/// Pages from the first entry on, all of one moment; nothing stands for what is behind the last.
pub(super) struct Pages(mpsc::Receiver<Result<Option<Page>, StoreError>>);

impl Pages {
    /// Begins to read. Over the committer's connection: what it reads from SQLite does not go from thread to thread row
    /// by row, and nobody else needs it where a copy is verified.
    pub fn of(conn: Conn) -> Self {
        let (to, pages) = mpsc::channel(AHEAD);
        tokio::spawn(read(conn, to));
        Self(pages)
    }

    /// The next page; `None` behind the last entry.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn next(&mut self) -> Result<Option<Page>, StoreError> {
        // Whoever reads says when it is the end: without a word it broke off, and the log may be longer.
        self.0.recv().await.unwrap_or(Err(StoreError::Inconsistent("the reader of the log broke off")))
    }
}

async fn read(mut conn: Conn, to: mpsc::Sender<Result<Option<Page>, StoreError>>) {
    let sorted_in = match begin(&mut conn).await {
        Ok(sorted_in) => sorted_in,
        Err(error) => {
            to.send(Err(error)).await.ok();
            return conn.abandon().await;
        }
    };
    for from in (0..).step_by(usize::try_from(PAGE).unwrap_or(usize::MAX)) {
        let page = page(&mut conn, from, sorted_in)
            .await
            .map(|page| Some(page).filter(|page| !page.entries.is_empty()));
        let is_last = !matches!(page, Ok(Some(_)));
        if to.send(page).await.is_err() || is_last {
            break;
        }
    }
    conn.abandon().await;
}

/// Opens the snapshot of which all pages are, and tells up to which entry it must have the callers sorted in.
async fn begin(conn: &mut Conn) -> Result<i64, StoreError> {
    conn.begin_read().await?;
    log::callers_sorted_in(conn).await
}

async fn page(conn: &mut Conn, from: u64, sorted_in: i64) -> Result<Page, StoreError> {
    let range = || vec![place(from).into(), place(from + PAGE).into()];
    let sql = "SELECT idx, time, exchange, caller, system, method, outcome, bytes FROM entries \
               WHERE idx >= $1 AND idx < $2 ORDER BY idx";
    let entries = conn.fetch(sql, range()).await?;
    let sql = "SELECT idx, hash FROM leaves WHERE idx >= $1 AND idx < $2 ORDER BY idx, ordinal";
    let mut leaves: BTreeMap<i64, Vec<Hash>> = BTreeMap::new();
    for row in conn.fetch(sql, range()).await? {
        leaves.entry(row.int(0)?).or_default().push(Hash::from(row.hash(1)?));
    }
    let sql = "SELECT idx FROM entries WHERE idx >= $1 AND idx < $2 AND NOT EXISTS (SELECT 1 FROM callers \
               WHERE callers.organisation = entries.caller AND callers.idx = entries.idx) ORDER BY idx";
    let unlisted =
        conn.fetch(sql, vec![place(from).into(), place(from + PAGE).min(sorted_in).into()]).await?;
    let unlisted = unlisted.iter().map(|row| row.int(0)).collect::<Result<_, _>>()?;
    Ok(Page { entries, leaves, tiles: tiles(conn, from).await?, unlisted })
}

async fn tiles(conn: &mut Conn, from: u64) -> Result<HashMap<TileId, Vec<u8>>, StoreError> {
    let sql = "SELECT number, hashes FROM tiles WHERE level = $1 AND number >= $2 AND number < $3";
    let (mut found, mut first, mut end) = (HashMap::new(), from / TILE_WIDTH, (from + PAGE) / TILE_WIDTH);
    for level in 0_u8.. {
        if first == end {
            break;
        }
        let range = vec![i64::from(level).into(), place(first).into(), place(end).into()];
        for row in conn.fetch(sql, range).await? {
            let id = TileId { level, number: row.int(0)?.unsigned_abs() };
            found.insert(id, row.blob(1)?.to_vec());
        }
        (first, end) = (first / TILE_WIDTH, end / TILE_WIDTH);
    }
    Ok(found)
}

/// An index or a size as the database has it.
pub(super) fn place(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
