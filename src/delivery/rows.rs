//! Stored rows of deliveries: one row per batch that was sent, one per stage that was acknowledged. The mailbox itself
//! is a view of the `parties` table.

use uuid::Uuid;

use crate::codes::organisation::OrganisationId;
use crate::placements::safety_acknowledgement;
use crate::proto::v1::DeliveryStage;
use crate::store::version_key::VersionKey;
use crate::store::{EntryIndex, LogPosition, Ordinal, Revision, Row, Snapshot, StoreError};
use crate::{record, stored_enums};

/// A position in a mailbox: entry index and ordinal. All mailboxes have the order of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MailboxPosition {
    /// Index of the entry.
    pub index: EntryIndex,
    /// Number of the row within the entry.
    pub ordinal: Ordinal,
}

impl MailboxPosition {
    /// The position before the first delivery.
    pub const START: Self = Self { index: EntryIndex::BEFORE_FIRST, ordinal: Ordinal::FIRST };

    /// Returns the position of the row in the log.
    #[must_use]
    pub const fn to_log_position(self) -> LogPosition {
        LogPosition { index: self.index, ordinal: self.ordinal }
    }

    /// Reads the columns `idx` and `ordinal`.
    ///
    /// # Errors
    /// As [`Row::get`].
    pub fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self { index: row.get("idx")?, ordinal: row.get("ordinal")? })
    }
}

record! {
    /// A row of `collections`: a batch that was sent, with all deliveries of these kinds between two positions.
    pub struct CollectionRow in "collections" as c, 28, Committed, NoChild {
        pub organisation: OrganisationId,
        /// Entry index of the position after which the batch begins.
        pub from_idx: EntryIndex,
        /// Ordinal of the position after which the batch begins.
        pub from_ordinal: Ordinal,
        /// Entry index of the batch's last delivery.
        pub to_idx: EntryIndex,
        /// Ordinal of the batch's last delivery.
        pub to_ordinal: Ordinal,
        /// Kinds in the batch's filter, one bit for each.
        pub kinds: i64,
        /// Time of sending, in microseconds since 1970 UTC.
        pub time: i64,
        /// Digests of the deliveries, encoded by `collected_digests::encode_digests`.
        pub digests: Vec<u8>,
    }
}

stored_enums! { DeliveryStage }

record! {
    /// A row of `acknowledgements`: a stage of a delivery that its recipient acknowledged.
    pub struct AcknowledgementRow in "acknowledgements" as a, 29, Committed, EveryChild {
        pub organisation: OrganisationId,
        /// Entry index of the delivery.
        pub delivery_idx: EntryIndex,
        /// Ordinal of the delivery.
        pub delivery_ordinal: Ordinal,
        pub stage: DeliveryStage,
        /// Time of the acknowledgement, in microseconds since 1970 UTC.
        pub time: i64,
        /// `Officer`, sealed under the recipient's organisation key.
        pub officer: Option<Vec<u8>>,
        /// Sender of the passport, if acting on it is what a start of the placement needs.
        pub passport_sender: Option<OrganisationId>,
        /// Placement with which that passport was shared.
        pub passport_placement: Option<Uuid>,
        /// Version of that passport.
        pub passport_version: Option<Revision>,
    }
    versions = |row| row.versioned_keys();
}

impl AcknowledgementRow {
    fn versioned_keys(&self) -> Vec<(VersionKey, Revision)> {
        let delivery = MailboxPosition { index: self.delivery_idx, ordinal: self.delivery_ordinal };
        let stage = (acknowledgement_key(&self.organisation, delivery, self.stage), Revision::FIRST);
        let passport = self.passport_sender.as_ref().zip(self.passport_placement).zip(self.passport_version);
        let passport = passport.map(|((sender, placement), version)| {
            (safety_acknowledgement::acknowledged_key(sender, placement), version)
        });
        [stage].into_iter().chain(passport).collect()
    }
}

/// Returns the key of a stage of a delivery. The key has version 1 once the recipient has acknowledged the stage.
pub fn acknowledgement_key(
    organisation: &OrganisationId,
    delivery: MailboxPosition,
    stage: DeliveryStage,
) -> VersionKey {
    VersionKey::acknowledgement(organisation.as_str(), (delivery.index, delivery.ordinal), stage as i32)
}

/// The header of a delivery: its row of `parties`, without content.
pub struct StoredDelivery {
    pub position: MailboxPosition,
    pub kind: i32,
    pub sender: OrganisationId,
    pub object: Uuid,
    pub placement: Option<Uuid>,
    /// Time of the sender's entry, in microseconds since 1970 UTC.
    pub sent_us: i64,
    /// Full name of the sender's method.
    pub method: String,
}

/// Maximum number of rows of a mailbox that one call scans. A filter that matches little returns nothing instead of
/// taking long.
const MAX_SCANNED_ROWS: i64 = 10_000;

/// A range of a mailbox, with a filter.
#[derive(Clone, Copy)]
pub struct MailboxRange {
    /// Exclusive lower bound.
    pub after: MailboxPosition,
    /// Inclusive upper bound.
    pub to: MailboxPosition,
    /// Kinds to return, one bit for each.
    pub kind_bits: i64,
}

/// The end of one scan of a mailbox.
pub struct ScanEnd {
    /// Position of the last row.
    pub position: MailboxPosition,
    /// Whether there are rows after it.
    pub more: bool,
}

/// Returns the end of a scan that begins after a position: the newest row, or the last of [`MAX_SCANNED_ROWS`] rows if there
/// are more. `None` when no row comes after the position.
///
/// # Errors
/// [`StoreError`] when the query fails or a stored value is corrupt.
pub async fn scan_end(
    snapshot: &mut Snapshot,
    organisation: &OrganisationId,
    after: MailboxPosition,
) -> Result<Option<ScanEnd>, StoreError> {
    let sql = "SELECT 0 AS is_newest, idx, ordinal FROM (SELECT idx, ordinal FROM parties \
               WHERE organisation = $1 AND (idx, ordinal) > ($2, $3) ORDER BY idx, ordinal LIMIT 1 OFFSET $4) AS held \
               UNION ALL SELECT 1 AS is_newest, idx, ordinal FROM (SELECT idx, ordinal FROM parties \
               WHERE organisation = $1 AND (idx, ordinal) > ($2, $3) ORDER BY idx DESC, ordinal DESC LIMIT 1) AS newest";
    let arguments = vec![
        organisation.as_str().into(),
        after.index.into(),
        after.ordinal.into(),
        (MAX_SCANNED_ROWS - 1).into(),
    ];
    let (mut limit, mut newest) = (None, None);
    for row in snapshot.fetch(sql, arguments).await? {
        let position = Some(MailboxPosition::read(&row)?);
        if row.get("is_newest")? { newest = position } else { limit = position }
    }
    Ok(limit
        .or(newest)
        .map(|position| ScanEnd { position, more: newest.is_some_and(|newest| position < newest) }))
}

const SELECT_HEADERS: &str = "SELECT p.idx, p.ordinal, p.kind, p.sender, p.object, p.placement, e.time, e.method \
     FROM parties p JOIN entries e ON e.idx = p.idx \
     WHERE p.organisation = $1 AND p.kind > 0 AND (p.idx, p.ordinal) > ($2, $3) AND (p.idx, p.ordinal) <= ($4, $5) \
     AND ($6 >> CAST(p.kind AS INTEGER)) & 1 = 1 ORDER BY p.idx, p.ordinal LIMIT $7";

/// Lists the deliveries in a range of a mailbox, in order.
pub async fn list_headers(
    snapshot: &mut Snapshot,
    organisation: &OrganisationId,
    MailboxRange { after, to, kind_bits: kinds }: MailboxRange,
    limit: i64,
) -> Result<Vec<StoredDelivery>, StoreError> {
    let arguments = vec![
        organisation.as_str().into(),
        after.index.into(),
        after.ordinal.into(),
        to.index.into(),
        to.ordinal.into(),
        kinds.into(),
        limit.into(),
    ];
    snapshot.fetch(SELECT_HEADERS, arguments).await?.iter().map(parse_header).collect()
}

/// Returns the delivery at a position of a mailbox, if there is one.
pub async fn find_header(
    snapshot: &mut Snapshot,
    organisation: &OrganisationId,
    position: MailboxPosition,
) -> Result<Option<StoredDelivery>, StoreError> {
    let before = MailboxPosition { ordinal: position.ordinal.previous(), ..position };
    let range = MailboxRange { after: before, to: position, kind_bits: i64::MAX };
    let found = list_headers(snapshot, organisation, range, 1).await?;
    Ok(found.into_iter().next().filter(|header| header.position == position))
}

fn parse_header(row: &Row) -> Result<StoredDelivery, StoreError> {
    Ok(StoredDelivery {
        position: MailboxPosition::read(row)?,
        kind: row.get("kind")?,
        sender: row.get("sender")?,
        object: row.get("object")?,
        placement: row.get("placement")?,
        sent_us: row.get("time")?,
        method: row.get("method")?,
    })
}
