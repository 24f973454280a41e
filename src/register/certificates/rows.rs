//! Certificates as they are stored: one row a version of a registration.

use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::identity::PeerCertificate;
use crate::proto::v1::CertificateState;
use crate::store::version_key::{KeyFamily, VersionKey};
use crate::store::{Revision, Snapshot, StoreError};
use crate::tlog::Hash;
use crate::{record, select, stored_enums};

stored_enums! { CertificateState }

record! {
    /// A version of a certificate's registration.
    pub struct CertificateRow in "certificates" as c, 17, Committed, NoChild {
        /// SHA-256 of the DER encoding.
        pub sha256: [u8; 32],
        /// Version of the registration, from 1.
        pub version: Revision,
        /// The organisation that the certificate names.
        pub organisation: OrganisationId,
        /// The system that the certificate names.
        pub system: String,
        /// End of validity.
        pub not_after: Instant,
        /// Registered or revoked.
        pub state: CertificateState,
    }
    written { version_key: VersionKey = |row| key(&row.sha256); }
    versions = |row| vec![(key(&row.sha256), row.version)];
}

impl CertificateRow {
    /// Creates the first registration of a certificate.
    #[must_use]
    pub fn new(certificate: &PeerCertificate) -> Self {
        Self {
            sha256: certificate.fingerprint(),
            version: Revision::FIRST,
            organisation: certificate.organisation().clone(),
            system: certificate.system().to_owned(),
            not_after: certificate.not_after(),
            state: CertificateState::Registered,
        }
    }

    /// Returns the SHA-256 as lower-case hexadecimal digits.
    #[must_use]
    pub fn sha256_text(&self) -> String {
        Hash::from(self.sha256).to_string()
    }
}

/// Returns the key of a certificate.
#[must_use]
pub fn key(sha256: &[u8; 32]) -> VersionKey {
    VersionKey::new(KeyFamily::Certificate).bytes(sha256)
}

/// Returns the newest registration of a certificate.
///
/// # Errors
/// [`StoreError`] when the query fails or a stored value is corrupt.
pub async fn by_sha256(
    snapshot: &mut Snapshot,
    sha256: &[u8; 32],
) -> Result<Option<CertificateRow>, StoreError> {
    snapshot.newest(&key(sha256)).await
}

/// Lists the newest registrations of an organisation's certificates by SHA-256.
///
/// # Errors
/// [`StoreError`] when the query fails or a stored value is corrupt.
pub async fn list_by_organisation(
    snapshot: &mut Snapshot,
    organisation: &OrganisationId,
) -> Result<Vec<CertificateRow>, StoreError> {
    let sql = select!(
        CertificateRow,
        "JOIN current_versions v ON v.key = c.version_key AND v.idx = c.idx AND v.ordinal = c.ordinal \
         WHERE c.organisation = $1 ORDER BY c.sha256"
    );
    snapshot.select(sql, vec![organisation.as_str().into()]).await
}
