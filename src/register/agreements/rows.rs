//! Stored rows of agreements: one row per version.

use uuid::Uuid;

use crate::calendar::Date;
use crate::codes::organisation::OrganisationId;
use crate::exchange::Record;
use crate::proto::v1::{AgreementState, Article6, Article9, DataClass, Purpose};
use crate::store::ColumnKind::{Blob, Int, Text};
use crate::store::version_key::{KeyFamily, VersionKey};
use crate::store::{Snapshot, StoreError, Table, Value};

/// A row of `agreements`: one version of an agreement.
#[derive(Clone, Debug)]
pub struct AgreementRow {
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
    pub from: Date,
    pub to: Date,
    pub review_by: Date,
}

/// Returns the key of an agreement.
#[must_use]
pub fn key(id: Uuid) -> VersionKey {
    VersionKey::new(KeyFamily::Agreement).id(id)
}

impl Record for AgreementRow {
    const TABLE: &'static Table = &Table {
        name: "agreements",
        columns: &[
            ("idx", Int),
            ("ordinal", Int),
            ("version_key", Blob),
            ("agreement_id", Blob),
            ("version", Int),
            ("state", Int),
            ("parties", Text),
            ("countersigned", Text),
            ("data_classes", Text),
            ("purposes", Text),
            ("article_6", Int),
            ("article_9", Int),
            ("schedule_1", Text),
            ("from_date", Text),
            ("to_date", Text),
            ("review_by", Text),
        ],
        replace_key: &[],
    };

    fn values(&self) -> Vec<Value> {
        let classes = self.data_classes.iter().map(|class| (*class as i32).to_string());
        let purposes = self.purposes.iter().map(|purpose| (*purpose as i32).to_string());
        vec![
            key(self.id).as_bytes().into(),
            self.id.into(),
            self.version.into(),
            (self.state as i32).into(),
            join_list(self.parties.iter().map(ToString::to_string)),
            join_list(self.countersigned_by.iter().map(ToString::to_string)),
            join_list(classes),
            join_list(purposes),
            (self.article_6 as i32).into(),
            self.article_9.map_or(0, |article| article as i32).into(),
            self.schedule_1.as_str().into(),
            self.from.to_string().into(),
            self.to.to_string().into(),
            self.review_by.to_string().into(),
        ]
    }

    fn current_versions(&self) -> Vec<(VersionKey, i64)> {
        vec![(key(self.id), self.version)]
    }
}

/// Returns the newest version of an agreement. It does not check that the caller is a party.
pub async fn by_id(snapshot: &mut Snapshot, id: Uuid) -> Result<Option<AgreementRow>, StoreError> {
    let sql = "SELECT a.version, a.state, a.parties, a.countersigned, a.data_classes, a.purposes, a.article_6, \
               a.article_9, a.schedule_1, a.from_date, a.to_date, a.review_by FROM current_versions h \
               JOIN agreements a ON a.idx = h.idx AND a.ordinal = h.ordinal WHERE h.key = $1";
    let Some(row) = snapshot.fetch_one(sql, vec![key(id).as_bytes().into()]).await? else {
        return Ok(None);
    };
    let corrupt = |column| StoreError::Corrupt { table: "agreements", column };
    let date = |column: usize| Date::parse(row.text(column)?).map_err(|_| corrupt(column));
    let organisations = |column: usize| -> Result<Vec<OrganisationId>, StoreError> {
        split_list(row.text(column)?)
            .map(|id| OrganisationId::parse(id).map_err(|_| corrupt(column)))
            .collect()
    };
    Ok(Some(AgreementRow {
        id,
        version: row.int(0)?,
        state: enum_from_int(row.int(1)?).ok_or(corrupt(1))?,
        parties: organisations(2)?,
        countersigned_by: organisations(3)?,
        data_classes: split_list(row.text(4)?)
            .map(|class| enum_from_text(class).ok_or(corrupt(4)))
            .collect::<Result<_, _>>()?,
        purposes: split_list(row.text(5)?)
            .map(|purpose| enum_from_text(purpose).ok_or(corrupt(5)))
            .collect::<Result<_, _>>()?,
        article_6: enum_from_int(row.int(6)?).ok_or(corrupt(6))?,
        article_9: enum_from_int(row.int(7)?).filter(|article| *article != Article9::Unspecified),
        schedule_1: row.text(8)?.to_owned(),
        from: date(9)?,
        to: date(10)?,
        review_by: date(11)?,
    }))
}

fn join_list(items: impl Iterator<Item = String>) -> Value {
    items.collect::<Vec<_>>().join(",").into()
}

fn split_list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(|part| !part.is_empty())
}

fn enum_from_int<E: TryFrom<i32>>(number: i64) -> Option<E> {
    i32::try_from(number).ok().and_then(|number| E::try_from(number).ok())
}

fn enum_from_text<E: TryFrom<i32>>(text: &str) -> Option<E> {
    text.parse::<i32>().ok().and_then(|number| E::try_from(number).ok())
}
