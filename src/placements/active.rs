//! Lists all active placements, page by page, with what decides whether oversight covers them.

use uuid::Uuid;

use crate::calendar::Date;
use crate::codes::organisation::OrganisationId;
use crate::proto::v1::PlacementState;
use crate::store::version_key::{KeyFamily, VersionKey};
use crate::store::{DamagedRow, Row, Snapshot, StoreError};

/// An active placement.
#[derive(Clone, Debug)]
pub struct ActivePlacement {
    /// Its id.
    pub id: Uuid,
    /// The organisation that arranges and pays.
    pub commissioner: OrganisationId,
    /// The organisation that teaches the child.
    pub provider: OrganisationId,
    /// Its first day.
    pub start: Option<Date>,
}

/// A page of active placements.
pub struct ActivePage {
    /// The placements. A damaged row is an error in its place in the list.
    pub placements: Vec<Result<ActivePlacement, DamagedRow>>,
    /// The key behind which the next page begins; `None` if nothing was read.
    pub last: Option<VersionKey>,
}

/// Returns the key before that of the first placement.
#[must_use]
pub fn before_first() -> VersionKey {
    VersionKey::new(KeyFamily::Placement)
}

/// Reads the newest versions of placements behind a key, in the order of their ids, at most `limit`, and lists those that
/// are active.
///
/// # Errors
/// See [`StoreError`]; damaged rows are in the list instead.
pub async fn list_active(
    snapshot: &mut Snapshot,
    after: &VersionKey,
    limit: i64,
) -> Result<ActivePage, StoreError> {
    let sql = "SELECT v.key, p.id, p.state, p.commissioner, p.provider, p.start_date FROM current_versions v \
               JOIN placements p ON p.idx = v.idx AND p.ordinal = v.ordinal \
               WHERE v.key > $1 AND v.key < $2 ORDER BY v.key LIMIT $3";
    let end = VersionKey::new(KeyFamily::Placement).bytes(&[u8::MAX; 17]);
    let rows =
        snapshot.fetch(sql, vec![after.as_bytes().into(), end.as_bytes().into(), limit.into()]).await?;
    let mut placements = Vec::new();
    for row in &rows {
        if row.get::<i64>("state").is_ok_and(|state| state != i64::from(PlacementState::Active as i32)) {
            continue;
        }
        placements.push(read(row).map_err(|error| DamagedRow::new(row.get("id"), error)));
    }
    let last = rows.last().map(|row| row.get("key")).transpose()?;
    Ok(ActivePage { placements, last })
}

fn read(row: &Row) -> Result<ActivePlacement, StoreError> {
    let _: i64 = row.get("state")?;
    Ok(ActivePlacement {
        id: row.get("id")?,
        commissioner: row.get("commissioner")?,
        provider: row.get("provider")?,
        start: row.get("start_date")?,
    })
}
