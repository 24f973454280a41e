//! The log indexer: lists the entries of each caller, placement and practitioner, behind their commit. The indexes are in
//! the order of their keys, so that adding an entry writes a page for each of its rows; a group that waited for that
//! would hold the lock for as long. Entries that are not indexed yet are few, and are found in the log itself.

use std::time::Duration;

use prost::Message;
use tokio::time::{Instant, sleep};

use super::committer::Committer;
use super::fatal::FatalError;
use super::log::db_int;
use super::sql::{Conn, Database, Row, StoreError, TableRows, Value};
use super::tables::{CALLERS, INDEX_PROGRESS, PLACEMENT_ENTRIES, PRACTITIONER_ENTRIES};
use super::task_progress::TaskProgress;
use crate::proto::v1::{AuditEntry, EntryOpenings};

/// Number of entries that are indexed at once, at most.
const ENTRIES_PER_STEP: u64 = 512;
/// Number of rows after which a step ends, so that it holds the lock for some milliseconds at most.
const ROWS_PER_STEP: usize = 1_024;
/// Number of entries behind the log below which the indexer waits: fewer are read as fast without an index.
const MIN_BEHIND: u64 = 256;
/// Interval of looking whether the log has grown.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Pause after each step, as a multiple of its time, so that the exchanges of a busy node have priority.
const PAUSE_FACTOR: u32 = 9;

/// The task that writes the indexes of the log.
pub struct LogIndexer {
    database: Database,
    committer: Committer,
}

impl LogIndexer {
    /// Makes an indexer of the log that `committer` appends to.
    #[must_use]
    pub fn new(database: Database, committer: Committer) -> Self {
        Self { database, committer }
    }

    /// Indexes new entries until the process ends. An error of the database is tried again.
    ///
    /// # Errors
    /// [`FatalError::Disk`] if a write failed, [`FatalError::Damaged`] if the database is damaged; the function does not return otherwise.
    pub async fn run(self, progress: TaskProgress) -> Result<(), FatalError> {
        let mut has_failed = false;
        loop {
            progress.mark();
            let begun = Instant::now();
            let pause = match self.step(MIN_BEHIND).await {
                Ok(true) => begun.elapsed().saturating_mul(PAUSE_FACTOR).min(POLL_INTERVAL),
                Ok(false) => POLL_INTERVAL,
                Err(error @ StoreError::Disk(_)) => return Err(FatalError::Disk(error)),
                Err(error @ StoreError::Damaged { .. }) => return Err(FatalError::Damaged(error)),
                Err(error) => {
                    // The log follower reports a database that cannot be reached or would lose a commit.
                    let is_reported = matches!(error, StoreError::Unreachable(_) | StoreError::NotDurable(_));
                    if !has_failed && !is_reported {
                        tracing::error!(error = %error, "the log cannot be indexed");
                    }
                    has_failed = true;
                    sleep(POLL_INTERVAL).await;
                    continue;
                }
            };
            has_failed = false;
            sleep(pause).await;
        }
    }

    /// Indexes the next entries if at least `min_behind` are not indexed. Returns whether there may be more.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn step(&self, min_behind: u64) -> Result<bool, StoreError> {
        let size = self.committer.head().borrow().size;
        let mut reader = self.database.reader().await?;
        let indexed = indexed_up_to(&mut reader).await?;
        if size.saturating_sub(indexed) < min_behind.max(1) {
            return Ok(false);
        }
        let sql =
            "SELECT idx, caller, bytes, openings FROM entries WHERE idx >= $1 AND idx < $2 ORDER BY idx";
        let end = size.min(indexed.saturating_add(ENTRIES_PER_STEP));
        let entries = reader.fetch(sql, vec![db_int(indexed).into(), db_int(end).into()]).await?;
        drop(reader);
        let mut rows = IndexRows::default();
        for entry in &entries {
            rows.add(entry)?;
            if rows.placements.len() >= ROWS_PER_STEP {
                break;
            }
        }
        let next = indexed + rows.callers.len() as u64;
        self.write(indexed, next, rows).await?;
        Ok(true)
    }

    /// Writes index rows, unless another node has written them meanwhile.
    async fn write(&self, indexed: u64, next: u64, rows: IndexRows) -> Result<(), StoreError> {
        let mut conn = self.database.writer().await?;
        let written = async {
            conn.begin_write().await?;
            if indexed_up_to(&mut conn).await? == indexed {
                conn.insert(rows.into_tables(next)).await?;
            }
            Ok::<(), StoreError>(())
        };
        if let Err(error) = written.await {
            conn.rollback().await;
            return Err(error);
        }
        // A crash that loses this loses it with its progress, so it is not synced.
        conn.commit_unsynced().await.map(drop)
    }
}

/// Rows of the indexes, for consecutive entries.
#[derive(Default)]
pub(super) struct IndexRows {
    callers: Vec<(String, i64)>,
    placements: Vec<(Vec<u8>, i64)>,
    practitioners: Vec<(Vec<u8>, i64)>,
}

impl IndexRows {
    /// Adds the rows of an entry.
    pub fn add(&mut self, entry: &Row) -> Result<(), StoreError> {
        let index: i64 = entry.get("idx")?;
        self.callers.push((entry.get("caller")?, index));
        let audited = AuditEntry::decode(entry.get_bytes("bytes")?);
        let audited = audited.map_err(|_| StoreError::corrupt("entries", "bytes"))?;
        self.practitioners.extend(practitioner_of(&audited).map(|practitioner| (practitioner, index)));
        let openings = EntryOpenings::decode(entry.get_bytes("openings")?);
        let openings = openings.map_err(|_| StoreError::corrupt("entries", "openings"))?;
        self.placements.extend(placements_of(&openings).into_iter().map(|placement| (placement, index)));
        Ok(())
    }

    /// Returns the rows by table, in the order of their keys, with the new progress.
    pub fn into_tables(mut self, next: u64) -> Vec<TableRows> {
        self.callers.sort_unstable();
        self.placements.sort_unstable();
        self.practitioners.sort_unstable();
        let row = |key: Value, index: i64| vec![key, index.into()];
        let callers = self.callers.into_iter().map(|(caller, index)| row(caller.into(), index)).collect();
        let placements = self.placements.into_iter().map(|(placement, index)| row(placement.into(), index));
        let placements: Vec<_> = placements.collect();
        let practitioners = self.practitioners.into_iter();
        let practitioners =
            practitioners.map(|(practitioner, index)| row(practitioner.into(), index)).collect();
        let progress = vec![vec![0_i64.into(), db_int(next).into()]];
        let tables: [TableRows; 4] = [
            (&CALLERS, callers),
            (&INDEX_PROGRESS, progress),
            (&PLACEMENT_ENTRIES, placements),
            (&PRACTITIONER_ENTRIES, practitioners),
        ];
        tables.into_iter().filter(|(_, rows)| !rows.is_empty()).collect()
    }
}

/// Returns the pseudonym of the person who acted, if a person did.
#[must_use]
pub fn practitioner_of(entry: &AuditEntry) -> Option<Vec<u8>> {
    Some(entry.practitioner.to_vec()).filter(|practitioner| !practitioner.is_empty())
}

/// Returns the placements of the leaves of an entry, each once.
#[must_use]
pub fn placements_of(openings: &EntryOpenings) -> Vec<Vec<u8>> {
    let mut placements: Vec<Vec<u8>> =
        openings.leaves.iter().map(|leaf| leaf.placement_id.to_vec()).collect();
    placements.sort_unstable();
    placements.dedup();
    placements
}

/// Returns how many of the first entries are indexed.
///
/// # Errors
/// See [`StoreError`].
pub async fn indexed_up_to(conn: &mut Conn) -> Result<u64, StoreError> {
    let row = conn.fetch_one("SELECT size FROM index_progress WHERE id = 0", vec![]).await?;
    row.map_or(Ok(0), |row| Ok(row.get::<i64>("size")?.unsigned_abs()))
}
