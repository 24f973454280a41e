//! Practitioners as they are stored: one row a version.

use std::collections::BTreeMap;

use prost::Message;

use crate::clock::{Instant, Randomness};
use crate::codes::organisation::OrganisationId;
use crate::proto::v1::AuditEntry;
use crate::seal::{ColumnAddress, KeyRing, KeyedDigest, OrganisationKey, SealError};
use crate::store::log_indexer::practitioner_of;
use crate::store::version_key::{KeyFamily, VersionKey};
use crate::store::{Revision, Snapshot, StoreError};
use crate::tlog::Hash;
use crate::{record, select};

/// Number of the newest entries in which practitioners are looked for, at most. Fewer are usually not indexed.
const MAX_UNINDEXED_ENTRIES: i64 = 1_024;

record! {
    /// A version of a practitioner.
    pub struct PractitionerRow in "practitioners" as p, 42, Committed, NoChild {
        /// The organisation that the person acts for.
        pub organisation: OrganisationId,
        /// Key id and HMAC, of which the HMAC is the pseudonym.
        pub practitioner: Vec<u8>,
        /// Version, from 1.
        pub version: Revision,
        /// `PractitionerIdentity`, sealed under a key of the organisation.
        pub identity: Vec<u8>,
        /// Whether the person's tokens are refused.
        pub ended: bool,
    }
    written { version_key: VersionKey = |row| row.key(); }
    versions = |row| vec![(row.key(), row.version)];
}

/// Who a pseudonym is, as it is sealed.
#[derive(Clone, PartialEq, Message)]
pub struct PractitionerIdentity {
    /// Issuer of the person's tokens.
    #[prost(string, tag = "1")]
    pub issuer: String,
    /// The person at the issuer.
    #[prost(string, tag = "2")]
    pub subject: String,
    /// Name in the newest token.
    #[prost(string, tag = "3")]
    pub name: String,
}

impl PractitionerRow {
    /// Returns the key of this practitioner.
    #[must_use]
    pub fn key(&self) -> VersionKey {
        VersionKey::new(KeyFamily::Practitioner).text(self.organisation.as_str()).bytes(&self.practitioner)
    }

    /// Returns the pseudonym.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the stored bytes are not a digest.
    pub fn pseudonym(&self) -> Result<Hash, StoreError> {
        let digest = KeyedDigest::from_bytes(&self.practitioner);
        digest
            .map(|digest| Hash::from(digest.tag))
            .ok_or_else(|| StoreError::corrupt("practitioners", "practitioner"))
    }

    /// Opens who the pseudonym is.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn open(&self, ring: &KeyRing) -> Result<PractitionerIdentity, SealError> {
        let column = column(&self.practitioner);
        let opened = OrganisationKey::open(ring, self.organisation.as_str(), column, &self.identity)?;
        PractitionerIdentity::decode(&opened[..]).map_err(|_| SealError::UnknownFormat)
    }

    /// Seals who the pseudonym is.
    ///
    /// # Errors
    /// [`SealError::CryptoLibrary`] only.
    pub fn seal(
        ring: &KeyRing,
        organisation: &OrganisationId,
        practitioner: &[u8],
        identity: &PractitionerIdentity,
        random: &Randomness,
    ) -> Result<Vec<u8>, SealError> {
        let key = OrganisationKey::derive(ring, organisation.as_str())?;
        key.seal(column(practitioner), &identity.encode_to_vec(), &|bytes| random.fill(bytes))
    }
}

fn column(practitioner: &[u8]) -> ColumnAddress<'_> {
    ColumnAddress { table: "practitioners", row: practitioner, column: "identity" }
}

/// Returns the key of an organisation's practitioner.
#[must_use]
pub fn key(organisation: &OrganisationId, digest: &KeyedDigest) -> VersionKey {
    VersionKey::new(KeyFamily::Practitioner).text(organisation.as_str()).bytes(&digest.to_bytes())
}

/// Returns the newest version of the practitioner with a pseudonym, whichever key of the ring made it.
///
/// # Errors
/// [`StoreError`] when the query fails or a stored value is corrupt.
pub async fn by_pseudonym(
    snapshot: &mut Snapshot,
    ring: &KeyRing,
    organisation: &OrganisationId,
    pseudonym: &Hash,
) -> Result<Option<PractitionerRow>, StoreError> {
    let digest = |id| KeyedDigest { key_id: id, tag: *pseudonym.as_bytes() };
    let keys: Vec<_> = ring.keys().map(|known| key(organisation, &digest(known.id()))).collect();
    Ok(snapshot.newest_by_keys(&keys).await?.into_iter().next())
}

/// Lists the newest versions of an organisation's practitioners behind one, in the order of their pseudonyms.
///
/// # Errors
/// [`StoreError`] when the query fails or a stored value is corrupt.
pub async fn list_after(
    snapshot: &mut Snapshot,
    organisation: &OrganisationId,
    after: Vec<u8>,
    page_size: i64,
) -> Result<Vec<PractitionerRow>, StoreError> {
    let sql = select!(
        PractitionerRow,
        "JOIN current_versions v ON v.key = p.version_key AND v.idx = p.idx AND v.ordinal = p.ordinal \
         WHERE p.organisation = $1 AND p.practitioner > $2 ORDER BY p.practitioner LIMIT $3"
    );
    snapshot.select(sql, vec![organisation.as_str().into(), after.into(), page_size.into()]).await
}

/// Returns the time of the practitioner's newest exchange that is indexed. Newer ones are those of [`seen_last`].
///
/// # Errors
/// [`StoreError`] when the query fails or a stored value is corrupt.
pub async fn last_indexed(
    snapshot: &mut Snapshot,
    row: &PractitionerRow,
) -> Result<Option<Instant>, StoreError> {
    let sql = "SELECT e.time FROM practitioner_entries a JOIN entries e ON e.idx = a.idx \
               WHERE a.practitioner = $1 ORDER BY a.idx DESC LIMIT 1";
    let pseudonym = row.pseudonym()?;
    let newest = snapshot.fetch_one(sql, vec![pseudonym.as_bytes().as_slice().into()]).await?;
    newest.map(|row| row.get("time")).transpose()
}

/// Returns the times of the newest exchanges of an organisation's practitioners that are in no index yet, by pseudonym.
/// Of an indexer that is far behind, the newest entries are read.
///
/// # Errors
/// [`StoreError`] when the query fails or a stored value is corrupt.
pub async fn seen_last(
    snapshot: &mut Snapshot,
    organisation: &OrganisationId,
) -> Result<BTreeMap<Vec<u8>, Instant>, StoreError> {
    let sql = "SELECT e.time, e.bytes FROM entries e WHERE e.caller = $1 AND e.idx >= $2 \
               AND e.idx > (SELECT MAX(n.idx) FROM entries n) - $3 ORDER BY e.idx";
    let indexed = snapshot.indexed_up_to().await?;
    let arguments = vec![organisation.as_str().into(), indexed.into(), MAX_UNINDEXED_ENTRIES.into()];
    let mut seen = BTreeMap::new();
    for row in snapshot.fetch(sql, arguments).await? {
        let entry = AuditEntry::decode(row.get_bytes("bytes")?);
        let entry = entry.map_err(|_| StoreError::corrupt("entries", "bytes"))?;
        if let Some(practitioner) = practitioner_of(&entry) {
            seen.insert(practitioner, row.get("time")?);
        }
    }
    Ok(seen)
}
