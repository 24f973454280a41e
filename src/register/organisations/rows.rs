//! Organisations as they are stored: one row a version of a registration.

use crate::codes::organisation::OrganisationId;
use crate::proto::v1::OrganisationState;
use crate::store::version_key::{KeyFamily, VersionKey};
use crate::store::{Revision, Snapshot, StoreError};
use crate::{record, select, stored_enums};

stored_enums! { OrganisationState }

record! {
    /// A version of an organisation's registration.
    #[derive(Clone, Debug)]
    pub struct OrganisationRow in "organisations" as o, 16, Committed, NoChild {
        /// Id of the organisation.
        pub organisation: OrganisationId,
        /// The etag, from 1.
        pub version: Revision,
        /// Name of the organisation.
        pub display_name: String,
        /// Active or suspended.
        pub state: OrganisationState,
        /// Unique reference number in Get Information about Schools (GIAS).
        pub urn: Option<String>,
        /// UK provider reference number.
        pub ukprn: Option<String>,
        /// `StateChange`, sealed under a key of the organisation; set when this version changed the state.
        pub state_change: Option<Vec<u8>>,
    }
    written { version_key: VersionKey = |row| key(&row.organisation); }
    versions = |row| vec![(key(&row.organisation), row.version)];
}

/// Returns the key of an organisation's registration.
#[must_use]
pub fn key(organisation: &OrganisationId) -> VersionKey {
    VersionKey::new(KeyFamily::Organisation).text(organisation.as_str())
}

/// Returns the newest registration of an organisation.
///
/// # Errors
/// [`StoreError`] when the query fails or a stored value is corrupt.
pub async fn by_id(
    snapshot: &mut Snapshot,
    organisation: &OrganisationId,
) -> Result<Option<OrganisationRow>, StoreError> {
    snapshot.newest(&key(organisation)).await
}

/// Lists organisations after an id, in the order of their ids, of a kind or, if that is empty, of all.
///
/// # Errors
/// [`StoreError`] when the query fails or a stored value is corrupt.
pub async fn list_after(
    snapshot: &mut Snapshot,
    (after, kind): (&str, &str),
    page_size: i64,
) -> Result<Vec<OrganisationRow>, StoreError> {
    let sql = select!(
        OrganisationRow,
        "JOIN current_versions v ON v.key = o.version_key AND v.idx = o.idx AND v.ordinal = o.ordinal \
         WHERE o.organisation > $1 AND o.organisation LIKE $2 ORDER BY o.organisation LIMIT $3"
    );
    let pattern = if kind.is_empty() { "%".to_owned() } else { format!("{kind}/%") };
    snapshot.select(sql, vec![after.into(), pattern.into(), page_size.into()]).await
}

/// Lists the operators by id.
///
/// # Errors
/// [`StoreError`] when the query fails or a stored value is corrupt.
pub async fn list_operators(snapshot: &mut Snapshot) -> Result<Vec<OrganisationId>, StoreError> {
    let sql = "SELECT DISTINCT organisation FROM organisations WHERE organisation LIKE 'operator/%' \
               ORDER BY organisation";
    snapshot.fetch(sql, vec![]).await?.iter().map(|row| row.get("organisation")).collect()
}

/// Lists the registered organisations among these ids, as (id, name) in the order of their ids.
///
/// # Errors
/// [`StoreError`] when the query fails or a stored value is corrupt.
pub async fn list_names<'a>(
    snapshot: &mut Snapshot,
    organisations: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<(String, String)>, StoreError> {
    let key = |id| VersionKey::new(KeyFamily::Organisation).text(id);
    let keys: Vec<VersionKey> = organisations.into_iter().map(key).collect();
    let sql = "SELECT o.organisation, o.display_name FROM current_versions h \
               JOIN organisations o ON o.idx = h.idx AND o.ordinal = h.ordinal WHERE h.key";
    let rows = snapshot.fetch_by_keys(sql, &keys).await?;
    let mut names: Vec<_> = rows
        .iter()
        .map(|row| Ok((row.get("organisation")?, row.get("display_name")?)))
        .collect::<Result<_, StoreError>>()?;
    names.sort_unstable();
    Ok(names)
}
