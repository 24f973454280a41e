//! The agreements in force between a commissioner and the providers of its placements, read for many placements at once.

use std::collections::HashMap;

use uuid::Uuid;

use super::rows::{AgreementRow, key};
use crate::calendar::{Date, Period};
use crate::codes::organisation::OrganisationId;
use crate::proto::v1::AgreementState;
use crate::select;
use crate::store::version_key::VersionKey;
use crate::store::{Record as _, Revision, Snapshot, StoreError};

/// The agreements of a commissioner.
pub struct Agreements {
    /// Those that were asked for by their ids, in any state.
    named: HashMap<Uuid, AgreementRow>,
    /// Those that are in force and have not ended by their dates.
    in_force: Vec<AgreementRow>,
}

impl Agreements {
    /// Loads the agreements of some ids, and those of a commissioner that are in force and have not ended before a day.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn load(
        snapshot: &mut Snapshot,
        commissioner: &OrganisationId,
        ids: impl IntoIterator<Item = Uuid>,
        day: Date,
    ) -> Result<Self, StoreError> {
        let keys: Vec<VersionKey> = ids.into_iter().map(key).collect();
        let named: Vec<AgreementRow> = snapshot.newest_by_keys(&keys).await?;
        let named = named.into_iter().map(|row| (row.id, row)).collect();
        Ok(Self { named, in_force: list_in_force_of(snapshot, commissioner, day).await? })
    }

    /// Returns the key of an agreement with the version that was read.
    #[must_use]
    pub fn version_read(&self, agreement: Uuid) -> (VersionKey, Revision) {
        (key(agreement), self.named.get(&agreement).map_or(Revision::ABSENT, |row| row.version))
    }

    /// Lists the periods in which an agreement, or another that covers its parties' and its classes of data, is in force
    /// between the commissioner and a provider, in the order of their first days.
    #[must_use]
    pub fn periods(&self, agreement: Uuid, provider: &OrganisationId) -> Vec<Period> {
        let Some(own) = self.named.get(&agreement) else { return Vec::new() };
        let covers = |row: &&AgreementRow| {
            row.parties.contains(provider)
                && own.data_classes.iter().all(|class| row.data_classes.contains(class))
        };
        let covering = self.in_force.iter().filter(covers);
        let mut periods: Vec<Period> =
            covering.filter_map(|row| Period::new(row.from_date, row.to_date)).collect();
        periods.sort_unstable_by_key(|period| (period.first(), period.last()));
        periods
    }
}

/// Lists the agreements of an organisation that are in force and have not ended before a day. One that cannot be read counts
/// as none: a placement without an agreement is alerted rather than missed.
async fn list_in_force_of(
    snapshot: &mut Snapshot,
    organisation: &OrganisationId,
    day: Date,
) -> Result<Vec<AgreementRow>, StoreError> {
    let sql =
        select!(AgreementRow, "WHERE a.state = $1 AND a.to_date >= $2 AND ',' || a.parties || ',' LIKE $3");
    let pattern = format!("%,{organisation},%");
    let arguments = vec![(AgreementState::InForce as i32).into(), day.to_string().into(), pattern.into()];
    let rows = snapshot.fetch(sql, arguments).await?;
    let mut rows: Vec<AgreementRow> = rows.iter().filter_map(|row| AgreementRow::read(row).ok()).collect();
    let keys: Vec<VersionKey> = rows.iter().map(|row| key(row.id)).collect();
    let current = snapshot.current_versions(&keys).await?;
    // An underscore in an id matches any character of the pattern.
    rows.retain(|row| current.get(&key(row.id)) == Some(&row.version) && row.parties.contains(organisation));
    Ok(rows)
}
