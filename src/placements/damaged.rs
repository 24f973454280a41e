//! Reads of several placements that go on past a damaged row.

use uuid::Uuid;

use super::rows::{self, Placement};
use crate::store::{DamagedRow, Snapshot, StoreError};

/// Reads the newest versions of placements as [`rows::by_ids`] does; a damaged row is an error in the list.
///
/// # Errors
/// See [`StoreError`]; damaged rows are in the list instead.
pub async fn by_ids_with_damaged(
    snapshot: &mut Snapshot,
    ids: &[Uuid],
) -> Result<Vec<Result<Placement, DamagedRow>>, StoreError> {
    match rows::by_ids(snapshot, ids).await {
        Ok(placements) => return Ok(placements.into_iter().map(Ok).collect()),
        Err(StoreError::Corrupt { .. }) => {}
        Err(error) => return Err(error),
    }
    let mut found = Vec::new();
    for id in ids {
        match rows::by_id(snapshot, *id).await {
            Ok(placement) => found.extend(placement.map(Ok)),
            Err(error @ StoreError::Corrupt { .. }) => found.push(Err(DamagedRow::new(Ok(*id), error))),
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}
