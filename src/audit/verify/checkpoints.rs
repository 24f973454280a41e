//! The stored checkpoints of a copy.

use crate::store::{Row, Snapshot, StoreError};

/// A row of `checkpoints`.
pub(super) struct StoredCheckpoint {
    pub size: i64,
    pub time: i64,
    pub note: String,
}

/// Loads all checkpoints, by size.
pub(super) async fn load_checkpoints(snapshot: &mut Snapshot) -> Result<Vec<StoredCheckpoint>, StoreError> {
    let rows = snapshot.fetch("SELECT size, time, note FROM checkpoints ORDER BY size", vec![]).await?;
    let read = |row: &Row| {
        Ok(StoredCheckpoint { size: row.get("size")?, time: row.get("time")?, note: row.get("note")? })
    };
    rows.iter().map(read).collect()
}
