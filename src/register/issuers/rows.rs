//! Issuers as they are stored: one row a version.

use prost::Message;

use crate::codes::organisation::OrganisationId;
use crate::proto::v1::Issuer;
use crate::store::version_key::{KeyFamily, VersionKey};
use crate::store::{EntryIndex, Revision, Snapshot, StoreError};
use crate::{record, select};

record! {
    /// A version of an issuer's registration.
    pub struct IssuerRow in "issuers" as s, 41, Committed, NoChild {
        /// The organisation whose persons it names.
        pub organisation: OrganisationId,
        /// Its name, as its tokens have it.
        pub issuer: String,
        /// Version, from 1.
        pub version: Revision,
        /// `Issuer` with its keys alone.
        pub keys: Vec<u8>,
        /// Whether its tokens are refused.
        pub ended: bool,
    }
    written { version_key: VersionKey = |row| key(&row.organisation, &row.issuer); }
    versions = |row| vec![(key(&row.organisation, &row.issuer), row.version)];
}

impl IssuerRow {
    /// Returns the issuer as a message.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the keys cannot be read.
    pub fn to_proto(&self) -> Result<Issuer, StoreError> {
        let stored = Issuer::decode(&self.keys[..]).map_err(|_| StoreError::corrupt("issuers", "keys"))?;
        let (issuer, etag) = (self.issuer.clone(), self.version.to_string());
        Ok(Issuer { issuer, etag, ended: self.ended, ..stored })
    }
}

/// Returns the key of an organisation's issuer.
#[must_use]
pub fn key(organisation: &OrganisationId, issuer: &str) -> VersionKey {
    VersionKey::new(KeyFamily::Issuer).text(organisation.as_str()).text(issuer)
}

/// Returns the newest version of an organisation's issuer.
///
/// # Errors
/// [`StoreError`] when the query fails or a stored value is corrupt.
pub async fn by_name(
    snapshot: &mut Snapshot,
    organisation: &OrganisationId,
    issuer: &str,
) -> Result<Option<IssuerRow>, StoreError> {
    snapshot.newest(&key(organisation, issuer)).await
}

/// Lists the newest versions of an organisation's issuers by name.
///
/// # Errors
/// [`StoreError`] when the query fails or a stored value is corrupt.
pub async fn list_by_organisation(
    snapshot: &mut Snapshot,
    organisation: &OrganisationId,
) -> Result<Vec<IssuerRow>, StoreError> {
    let sql = select!(
        IssuerRow,
        "JOIN current_versions v ON v.key = s.version_key AND v.idx = s.idx AND v.ordinal = s.ordinal \
         WHERE s.organisation = $1 ORDER BY s.issuer"
    );
    snapshot.select(sql, vec![organisation.as_str().into()]).await
}

/// Returns the name of the issuer that the exchange at a log index wrote, if it wrote one.
///
/// # Errors
/// [`StoreError`] when the query fails or a stored value is corrupt.
pub async fn written_at(snapshot: &mut Snapshot, index: EntryIndex) -> Result<Option<String>, StoreError> {
    let rows: Vec<IssuerRow> = snapshot.written_at(index).await?;
    Ok(rows.into_iter().next().map(|row| row.issuer))
}
