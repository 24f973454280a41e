//! Agreements as they are stored: one row a version.

use uuid::Uuid;

use crate::calendar::Date;
use crate::codes::organisation::OrganisationId;
use crate::proto::v1::{AgreementState, Article6, Article9, DataClass, Purpose};
use crate::store::version_key::{KeyFamily, VersionKey};
use crate::store::{Revision, Snapshot, StoreError};
use crate::{record, stored_enums};

stored_enums! { AgreementState, Article6, Article9, DataClass, Purpose }

record! {
    /// A version of an agreement.
    #[derive(Clone, Debug)]
    pub struct AgreementRow in "agreements" as a, 19, Committed, NoChild {
        /// Id of the agreement.
        pub id: Uuid,
        /// The etag, from 1.
        pub version: Revision,
        /// Proposed, in force or ended.
        pub state: AgreementState,
        /// The organisations that share, sorted.
        pub parties: Vec<OrganisationId>,
        /// The parties that have signed, sorted.
        pub countersigned_by: Vec<OrganisationId>,
        /// The classes of data that are shared.
        pub data_classes: Vec<DataClass>,
        /// The purposes of the sharing.
        pub purposes: Vec<Purpose>,
        /// Lawful basis under Article 6 UK GDPR.
        pub article_6: Article6,
        /// Condition under Article 9 UK GDPR, for special category data.
        pub article_9: Option<Article9>,
        /// Paragraph of Schedule 1 DPA 2018, or empty.
        pub schedule_1: String,
        /// First day.
        pub from_date: Date,
        /// Last day.
        pub to_date: Date,
        /// Day by which the parties review it.
        pub review_by: Date,
        /// Paragraph of Schedule 1 DPA 2018 for data about offences (Article 10 UK GDPR), or empty.
        pub schedule_1_article_10: String,
    }
    versions = |row| vec![(key(row.id), row.version)];
}

/// Returns the key of an agreement.
#[must_use]
pub fn key(id: Uuid) -> VersionKey {
    VersionKey::new(KeyFamily::Agreement).id(id)
}

/// Returns the newest version of an agreement, whoever its parties are.
///
/// # Errors
/// See [`StoreError`].
pub async fn by_id(snapshot: &mut Snapshot, id: Uuid) -> Result<Option<AgreementRow>, StoreError> {
    snapshot.newest(&key(id)).await
}
