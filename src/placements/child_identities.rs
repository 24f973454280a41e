//! A sender's newest records of many children.

use std::collections::HashMap;
use std::hash::BuildHasher;

use uuid::Uuid;

use super::children::{self, ChildRow};
use crate::calendar::Date;
use crate::codes::organisation::OrganisationId;
use crate::exchange::Refusal;
use crate::proto::v1::ChildIdentity;
use crate::seal::ChildKey;
use crate::select;
use crate::store::version_key::VersionKey;
use crate::store::{Record as _, Snapshot};

/// A record of a child, with the day on which it was written.
pub struct DatedIdentity {
    /// The record; its `child_id` is empty.
    pub identity: ChildIdentity,
    /// The day.
    pub written: Date,
}

/// Reads a sender's newest records of children, each given with the sender's key, by the child. A child of which the sender
/// has no record is left out.
///
/// # Errors
/// [`Reason::Failed`](crate::exchange::Reason::Failed) when what is stored does not open; otherwise see
/// [`crate::store::StoreError`].
pub async fn load_newest_identities<S: BuildHasher + Sync>(
    snapshot: &mut Snapshot,
    sender: &OrganisationId,
    keys: &HashMap<Uuid, ChildKey, S>,
) -> Result<HashMap<Uuid, DatedIdentity>, Refusal> {
    let heads: Vec<VersionKey> = keys.keys().map(|child| children::identity_key(sender, *child)).collect();
    let sql = select!(
        ChildRow,
        and "e.time",
        "JOIN current_versions v ON v.idx = c.idx AND v.ordinal = c.ordinal \
         JOIN entries e ON e.idx = c.idx WHERE v.key"
    );
    let mut identities = HashMap::new();
    for row in snapshot.fetch_by_keys(sql, &heads).await? {
        let record = ChildRow::read(&row)?;
        let Some(key) = keys.get(&record.child) else { continue };
        let identity = children::open_identity(key, &record)?;
        let written = Date::in_london(row.get("time")?);
        identities.insert(record.child, DatedIdentity { identity, written });
    }
    Ok(identities)
}
