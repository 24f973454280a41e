//! Agreements as they are stored: one row a version.

use uuid::Uuid;

use crate::calendar::Date;
use crate::codes::organisation::OrganisationId;
use crate::proto::v1::{AgreementState, Article6, Article9, DataClass, Purpose};
use crate::store::version_key::{KeyFamily, VersionKey};
use crate::store::{Snapshot, StoreError};
use crate::{record, stored_enums};

stored_enums! { AgreementState, Article6, Article9, DataClass, Purpose }

record! {
    /// A version of an agreement.
    #[derive(Clone, Debug)]
    pub struct AgreementRow in "agreements" as a, Committed, NoChild {
        pub id: Uuid,
        pub version: i64,
        pub state: AgreementState,
        pub parties: Vec<OrganisationId>,
        pub countersigned_by: Vec<OrganisationId>,
        pub data_classes: Vec<DataClass>,
        pub purposes: Vec<Purpose>,
        pub article_6: Article6,
        pub article_9: Option<Article9>,
        pub schedule_1: String,
        pub from_date: Date,
        pub to_date: Date,
        pub review_by: Date,
    }
    versions = |row| vec![(key(row.id), row.version)];
}

/// Returns the key of an agreement.
#[must_use]
pub fn key(id: Uuid) -> VersionKey {
    VersionKey::new(KeyFamily::Agreement).id(id)
}

/// Returns the newest version of an agreement, whoever its parties are.
pub async fn by_id(snapshot: &mut Snapshot, id: Uuid) -> Result<Option<AgreementRow>, StoreError> {
    snapshot.newest(&key(id)).await
}
