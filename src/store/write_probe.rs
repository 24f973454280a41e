//! Probes of the commit path, so that the health service reports what a caller would meet also while nobody calls. A
//! probe of a node that is well takes the lock and writes nothing. Only while the last write failed, or the disk is
//! nearly full, a probe writes a row that nothing reads and removes it in the same transaction: nothing else shows
//! whether there is room. No probe has an entry.

use std::time::Duration;

use uuid::Uuid;

use super::sql::{Conn, Database, StoreError};

/// Interval of probes while no group is committed.
pub(super) const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// Free bytes of SQLite's disk below which a probe writes.
const MIN_FREE_BYTES: u64 = 64 << 10;
/// Bytes that a probe writes while the last write failed: about as much as a group.
const GROUP_BYTES: usize = 64 << 10;
/// Bytes that a probe writes on a disk that is nearly full.
const ROW_BYTES: usize = 512;

/// Probes the commit path. Returns the number of written pages, about.
///
/// # Errors
/// The error that a group would meet.
pub(super) async fn probe(database: &Database, last_write_failed: bool) -> Result<usize, StoreError> {
    let is_nearly_full = database.free_bytes().is_some_and(|free| free < MIN_FREE_BYTES);
    let bytes = match (last_write_failed, is_nearly_full) {
        (true, _) => GROUP_BYTES,
        (false, true) => ROW_BYTES,
        (false, false) => 0,
    };
    let mut conn = database.writer().await?;
    if let Err(error) = probe_connection(&mut conn, bytes).await {
        conn.rollback().await;
        return Err(error);
    }
    if bytes == 0 {
        conn.rollback().await;
        return Ok(0);
    }
    match conn.commit_unsynced().await {
        Ok(_) => Ok(2 + bytes / 4_096),
        Err(error) => {
            conn.rollback().await;
            Err(error)
        }
    }
}

async fn probe_connection(conn: &mut Conn, bytes: usize) -> Result<(), StoreError> {
    conn.begin_write().await?;
    conn.assert_writable().await?;
    if bytes > 0 {
        // The id of no node: each takes a random one.
        let node = Uuid::nil();
        let row = vec![node.into(), "".into(), vec![0_u8; bytes].into()];
        conn.execute("INSERT INTO nodes (node, name, keys, seen) VALUES ($1, $2, $3, 0)", row).await?;
        conn.execute("DELETE FROM nodes WHERE node = $1", vec![node.into()]).await?;
    }
    Ok(())
}
