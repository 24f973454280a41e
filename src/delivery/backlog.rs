//! Deliveries that nobody has acknowledged, counted by kind. Mailboxes and acknowledgements only grow, so each count reads
//! what was added since the last one.

use std::collections::{BTreeMap, HashMap};

use super::rows::{MailboxPosition, acknowledgement_key};
use crate::codes::organisation::OrganisationId;
use crate::proto::v1::DeliveryStage;
use crate::store::version_key::VersionKey;
use crate::store::{Database, LogPosition, Row, Snapshot, StoreError, TaskProgress};

/// Maximum number of rows of one query.
const PAGE_ROWS: i64 = 5_000;

/// The counts, and how far mailboxes and acknowledgements were read for them.
#[derive(Default)]
pub struct Backlog {
    read_mailboxes: BTreeMap<String, MailboxPosition>,
    read_acknowledgements: Option<LogPosition>,
    by_kind: BTreeMap<i32, i64>,
}

impl Backlog {
    /// Reads what was added since the last call. The first call reads everything, with pauses in which others read.
    ///
    /// # Errors
    /// See [`StoreError`]; the next call goes on from there.
    pub async fn update(&mut self, database: &Database, progress: &TaskProgress) -> Result<(), StoreError> {
        // Before the mailboxes, so that no delivery counts as acknowledged before it counts.
        while self.read_acknowledgement_page(database).await? {
            pause(progress).await;
        }
        let mut last = String::new();
        while let Some(organisation) = next_mailbox(database, &last).await? {
            while self.read_mailbox_page(database, &organisation).await? {
                pause(progress).await;
            }
            progress.mark();
            last = organisation;
        }
        Ok(())
    }

    /// Returns the number of unacknowledged deliveries of each kind that has had any.
    pub fn by_kind(&self) -> impl Iterator<Item = (i32, i64)> {
        self.by_kind.iter().map(|(kind, count)| (*kind, (*count).max(0)))
    }

    /// Counts a page of acknowledgements; returns whether there may be more.
    async fn read_acknowledgement_page(&mut self, database: &Database) -> Result<bool, StoreError> {
        let sql = "SELECT a.idx, a.ordinal, a.organisation, a.delivery_idx, a.delivery_ordinal, a.stage, p.kind \
                   FROM acknowledgements a JOIN parties p ON p.organisation = a.organisation \
                   AND p.idx = a.delivery_idx AND p.ordinal = a.delivery_ordinal \
                   WHERE (a.idx, a.ordinal) >= ($1, $2) ORDER BY a.idx, a.ordinal LIMIT $3";
        let from = self.read_acknowledgements.unwrap_or(LogPosition::START);
        let mut snapshot = Snapshot::new(database);
        let arguments = vec![from.index.into(), from.ordinal.into(), PAGE_ROWS.into()];
        let rows = snapshot.fetch(sql, arguments).await?;
        let others = rows.iter().map(key_of_other_stage).collect::<Result<Vec<_>, _>>()?;
        let sql = "SELECT v.key, v.idx, v.ordinal FROM current_versions v WHERE v.key";
        let mut first = HashMap::<VersionKey, LogPosition>::new();
        for row in snapshot.fetch_by_keys(sql, &others).await? {
            first.insert(row.get("key")?, position(&row)?);
        }
        let mut counts = self.by_kind.clone();
        let mut next = from;
        for (row, other) in rows.iter().zip(&others) {
            let at = position(row)?;
            next = at.next();
            // A delivery may be acknowledged and acted on: the first of the two counts.
            if first.get(other).is_none_or(|other| at < *other) {
                *counts.entry(row.get("kind")?).or_default() -= 1;
            }
        }
        (self.by_kind, self.read_acknowledgements) = (counts, Some(next));
        Ok(is_full(&rows))
    }

    /// Counts a page of a mailbox; returns whether there may be more.
    async fn read_mailbox_page(
        &mut self,
        database: &Database,
        organisation: &str,
    ) -> Result<bool, StoreError> {
        let sql = "SELECT idx, ordinal, kind FROM parties WHERE organisation = $1 AND (idx, ordinal) > ($2, $3) \
                   ORDER BY idx, ordinal LIMIT $4";
        let after = self.read_mailboxes.get(organisation).copied().unwrap_or(MailboxPosition::START);
        let arguments = vec![organisation.into(), after.index.into(), after.ordinal.into(), PAGE_ROWS.into()];
        let rows = Snapshot::new(database).fetch(sql, arguments).await?;
        let mut counts = self.by_kind.clone();
        let mut read = after;
        for row in &rows {
            read = MailboxPosition::read(row)?;
            let kind: i32 = row.get("kind")?;
            if kind > 0 {
                *counts.entry(kind).or_default() += 1;
            }
        }
        self.by_kind = counts;
        self.read_mailboxes.insert(organisation.to_owned(), read);
        Ok(is_full(&rows))
    }
}

/// Lets others read for a short time.
async fn pause(progress: &TaskProgress) {
    progress.mark();
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
}

fn is_full(rows: &[Row]) -> bool {
    i64::try_from(rows.len()).unwrap_or(i64::MAX) >= PAGE_ROWS
}

fn position(row: &Row) -> Result<LogPosition, StoreError> {
    Ok(LogPosition { index: row.get("idx")?, ordinal: row.get("ordinal")? })
}

/// Returns the key of the other stage that a recipient may acknowledge of the same delivery.
fn key_of_other_stage(row: &Row) -> Result<VersionKey, StoreError> {
    let organisation: OrganisationId = row.get("organisation")?;
    let delivery = MailboxPosition { index: row.get("delivery_idx")?, ordinal: row.get("delivery_ordinal")? };
    let other = match row.get("stage")? {
        DeliveryStage::ActedOn => DeliveryStage::Acknowledged,
        _ => DeliveryStage::ActedOn,
    };
    Ok(acknowledgement_key(&organisation, delivery, other))
}

/// Returns the organisation after another that has a mailbox.
async fn next_mailbox(database: &Database, after: &str) -> Result<Option<String>, StoreError> {
    let sql = "SELECT organisation FROM parties WHERE organisation > $1 ORDER BY organisation LIMIT 1";
    let row = Snapshot::new(database).fetch_one(sql, vec![after.into()]).await?;
    row.map(|row| row.get("organisation")).transpose()
}
