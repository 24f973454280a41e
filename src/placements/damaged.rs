//! Placements of a list, of which one may be damaged: that one is an error of its own, and the others are read.

use uuid::Uuid;

use super::rows::{self, Placement};
use crate::store::{DamagedRow, Snapshot, StoreError};

/// Reads the newest versions of placements, as [`rows::by_ids`], each damaged one in its place.
///
/// # Errors
/// As [`StoreError`] says, but for what one damaged row means.
pub async fn each_by_ids(
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
