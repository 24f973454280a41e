//! The end of a placement that stands: when it was recorded, and the placement as it stood then.

use super::rows::{self, Placement};
use crate::proto::v1::PlacementState;
use crate::store::{Snapshot, StoreError};

/// The log index at which a placement was ended, of the end that stands; none where none stands.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn ended_at(snapshot: &mut Snapshot, placement: &Placement) -> Result<Option<i64>, StoreError> {
    let sql = "SELECT MIN(p.idx) FROM placements p WHERE p.provider = $1 AND p.placement = $2 AND p.version > \
               (SELECT COALESCE(MAX(q.version), 0) FROM placements q \
               WHERE q.provider = $1 AND q.placement = $2 AND q.state <> $3)";
    let ended = i64::from(PlacementState::Ended as i32);
    let arguments = vec![placement.provider.as_str().into(), placement.id.into(), ended.into()];
    snapshot.fetch_one(sql, arguments).await?.map_or(Ok(None), |row| row.opt_int(0))
}

/// The version of a placement that ended it; none where no end stands.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn at_end(snapshot: &mut Snapshot, placement: &Placement) -> Result<Option<Placement>, StoreError> {
    match ended_at(snapshot, placement).await? {
        Some(index) => rows::written_at(snapshot, placement.id, index).await,
        None => Ok(None),
    }
}
