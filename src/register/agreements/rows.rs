//! Agreements as they are stored: one row a version.

use aws_lc_rs::digest::{SHA256, digest};
use prost::Message;
use uuid::Uuid;

use crate::calendar::Date;
use crate::codes::organisation::OrganisationId;
use crate::proto::v1::{Agreement, AgreementState, Article6, Article9, DataClass, Purpose};
use crate::store::version_key::{KeyFamily, VersionKey};
use crate::store::{EntryIndex, Revision, Snapshot, StoreError};
use crate::tlog::Hash;
use crate::{record, select, stored_enums};

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

/// Returns the agreement that the exchange at a log index wrote, if it wrote one.
///
/// # Errors
/// [`StoreError`] when the query fails or a stored value is corrupt.
pub async fn written_at(
    snapshot: &mut Snapshot,
    index: EntryIndex,
) -> Result<Option<AgreementRow>, StoreError> {
    Ok(snapshot.written_at(index).await?.into_iter().next())
}

/// Lists the newest versions of agreements after an id, in the order of their ids, of which the text of parties contains an
/// organisation's id. The caller compares the ids.
///
/// # Errors
/// [`StoreError`] when the query fails or a stored value is corrupt.
pub async fn list_after(
    snapshot: &mut Snapshot,
    party: &OrganisationId,
    after: Uuid,
    limit: i64,
) -> Result<Vec<AgreementRow>, StoreError> {
    let sql = select!(
        AgreementRow,
        "JOIN current_versions v ON v.idx = a.idx AND v.ordinal = a.ordinal \
         WHERE a.parties LIKE $1 AND a.id > $2 ORDER BY a.id LIMIT $3"
    );
    let pattern = format!("%{}%", party.as_str());
    snapshot.select(sql, vec![pattern.into(), after.into(), limit.into()]).await
}

impl AgreementRow {
    /// Returns the agreement as a message.
    #[must_use]
    pub fn to_proto(&self) -> Agreement {
        Agreement {
            etag: self.version.to_string(),
            state: self.state.into(),
            countersigned_by: self.countersigned_by.iter().map(ToString::to_string).collect(),
            terms_sha256: self.terms_sha256(),
            ..self.terms()
        }
    }

    /// Returns the SHA-256 of the terms, hexadecimal. It stays the same from the proposal to the end.
    #[must_use]
    pub fn terms_sha256(&self) -> String {
        let hash = digest(&SHA256, &self.terms().encode_to_vec());
        Hash::from(<[u8; 32]>::try_from(hash.as_ref()).unwrap_or_default()).to_string()
    }

    /// Returns the terms as a message, in which every other field is empty.
    fn terms(&self) -> Agreement {
        Agreement {
            agreement_id: self.id.hyphenated().to_string(),
            parties: self.parties.iter().map(ToString::to_string).collect(),
            data_classes: self.data_classes.iter().map(|class| (*class).into()).collect(),
            purposes: self.purposes.iter().map(|purpose| (*purpose).into()).collect(),
            article_6: self.article_6.into(),
            article_9: self.article_9.map_or(0, Into::into),
            schedule_1: self.schedule_1.clone(),
            from_date: self.from_date.to_string(),
            to_date: self.to_date.to_string(),
            review_by: self.review_by.to_string(),
            schedule_1_article_10: self.schedule_1_article_10.clone(),
            ..Agreement::default()
        }
    }
}
