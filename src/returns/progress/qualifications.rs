//! Which placements' progress returns name a qualification, read for many placements at once.

use std::collections::{BTreeMap, HashMap, HashSet};

use uuid::Uuid;

use super::rows::{ProgressRow, open_progress};
use crate::calendar::Date;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Refusal, RequestContext};
use crate::placements::{Placement, children};
use crate::seal::ChildKey;
use crate::select;
use crate::store::{Record as _, ValueSet};

/// Returns the placements of which one of the newest five progress returns names a qualification. A return that was
/// corrected does not count, nor does one of which the provider's record of the child was erased.
///
/// # Errors
/// [`Reason::Failed`](crate::exchange::Reason::Failed) when what is stored does not open; otherwise see
/// [`crate::store::StoreError`].
pub async fn list_with_qualification(
    cx: &mut RequestContext,
    placements: &[&Placement],
) -> Result<HashSet<Uuid>, Refusal> {
    let sql = select!(
        ProgressRow,
        "WHERE p.placement IN SET AND p.idx IN \
         (SELECT q.idx FROM progress q WHERE q.placement = p.placement ORDER BY q.idx DESC LIMIT 5)"
    );
    let ids = ValueSet::of_ids(placements.iter().map(|placement| &placement.id));
    let rows = cx.snapshot.fetch_in_set(sql, Vec::new(), ids).await?;
    let mut newest: HashMap<(Uuid, Date, Date), ProgressRow> = HashMap::new();
    for row in &rows {
        let row = ProgressRow::read(row)?;
        let period = (row.placement, row.from_date, row.to_date);
        if newest.get(&period).is_none_or(|other| other.revision < row.revision) {
            newest.insert(period, row);
        }
    }
    let keys = load_sender_keys(cx, newest.values()).await?;
    let mut found = HashSet::new();
    for row in newest.into_values() {
        let Some(key) = keys.get(&(row.sender.clone(), row.child)) else { continue };
        let progress = open_progress(key, &row)?.progress;
        if progress.is_some_and(|progress| !progress.qualifications.is_empty()) {
            found.insert(row.placement);
        }
    }
    Ok(found)
}

/// Reads the senders' keys of the children of some returns.
async fn load_sender_keys(
    cx: &mut RequestContext,
    rows: impl Iterator<Item = &ProgressRow>,
) -> Result<HashMap<(OrganisationId, Uuid), ChildKey>, Refusal> {
    let mut children_of: BTreeMap<OrganisationId, HashSet<Uuid>> = BTreeMap::new();
    for row in rows {
        children_of.entry(row.sender.clone()).or_default().insert(row.child);
    }
    let mut keys = HashMap::new();
    for (sender, children_of_sender) in children_of {
        let loaded = children::load_keys(cx, &sender, children_of_sender).await?;
        keys.extend(loaded.into_iter().map(|(child, key)| ((sender.clone(), child), key)));
    }
    Ok(keys)
}
