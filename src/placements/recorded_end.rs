//! The recorded end of a placement: the log index at which it was recorded, and the placement's version there. An end
//! that was withdrawn does not count.

use super::rows::{self, Placement};
use crate::proto::v1::PlacementState;
use crate::store::{EntryIndex, Snapshot, StoreError};

/// Returns the log index at which the present end of a placement was first recorded; `None` if the placement has not
/// ended. A correction does not change the index.
///
/// # Errors
/// See [`StoreError`].
pub async fn end_recorded_at(
    snapshot: &mut Snapshot,
    placement: &Placement,
) -> Result<Option<EntryIndex>, StoreError> {
    let sql = "SELECT MIN(p.idx) AS ended FROM placements p WHERE p.provider = $1 AND p.id = $2 AND p.version > \
               (SELECT COALESCE(MAX(q.version), 0) FROM placements q \
               WHERE q.provider = $1 AND q.id = $2 AND q.state <> $3)";
    let ended = i64::from(PlacementState::Ended as i32);
    let arguments = vec![placement.provider.as_str().into(), placement.id.into(), ended.into()];
    snapshot.fetch_one(sql, arguments).await?.map_or(Ok(None), |row| row.get("ended"))
}

/// Reads the version of a placement that first recorded its present end; `None` if the placement has not ended.
///
/// # Errors
/// See [`StoreError`].
pub async fn version_at_end(
    snapshot: &mut Snapshot,
    placement: &Placement,
) -> Result<Option<Placement>, StoreError> {
    match end_recorded_at(snapshot, placement).await? {
        Some(index) => rows::version_written_at(snapshot, placement.id, index).await,
        None => Ok(None),
    }
}
