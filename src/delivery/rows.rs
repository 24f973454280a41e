//! Stored rows of deliveries: one row per batch that was sent, one per stage that was acknowledged. The mailbox itself
//! is a view of the `parties` table.

use uuid::Uuid;

use crate::codes::organisation::OrganisationId;
use crate::exchange::Record;
use crate::store::version_key::{KeyFamily, VersionKey};
use crate::store::{Column, RecordSubject, Row, Snapshot, StoreError, Table, TableClass, Value};

/// A position in a mailbox: entry index and ordinal. All mailboxes have the order of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MailboxPosition {
    /// Index of the entry.
    pub index: i64,
    /// Number of the row within the entry.
    pub ordinal: i64,
}

impl MailboxPosition {
    /// The position before the first delivery.
    pub const START: Self = Self { index: -1, ordinal: 0 };
}

/// A row of `collections`: a batch that was sent, with all deliveries of these kinds after `from` up to `to`.
pub struct CollectionRow {
    pub organisation: OrganisationId,
    pub from: MailboxPosition,
    pub to: MailboxPosition,
    /// Kinds in the batch's filter, one bit for each.
    pub kind_bits: i64,
    /// Time of sending, in microseconds since 1970 UTC.
    pub time: i64,
    /// Digests of the deliveries, encoded by `collected_digests::encode_digests`.
    pub digests: Vec<u8>,
}

impl Record for CollectionRow {
    const TABLE: &'static Table = &Table {
        name: "collections",
        class: TableClass::Committed,
        subject: RecordSubject::NoChild,
        columns: &[
            Column::new::<i64>("idx"),
            Column::new::<i64>("ordinal"),
            Column::new::<String>("organisation"),
            Column::new::<i64>("from_idx"),
            Column::new::<i64>("from_ordinal"),
            Column::new::<i64>("to_idx"),
            Column::new::<i64>("to_ordinal"),
            Column::new::<i64>("kinds"),
            Column::new::<i64>("time"),
            Column::new::<Vec<u8>>("digests"),
        ],
        replace_key: &[],
    };

    fn values(&self) -> Vec<Value> {
        vec![
            self.organisation.as_str().into(),
            self.from.index.into(),
            self.from.ordinal.into(),
            self.to.index.into(),
            self.to.ordinal.into(),
            self.kind_bits.into(),
            self.time.into(),
            self.digests.clone().into(),
        ]
    }
}

/// A row of `acknowledgements`: a stage of a delivery that its recipient acknowledged.
pub struct AcknowledgementRow {
    pub organisation: OrganisationId,
    /// Position of the delivery.
    pub delivery: MailboxPosition,
    /// `apgateway.v1.DeliveryStage`.
    pub stage: i32,
    /// Time of the acknowledgement, in microseconds since 1970 UTC.
    pub time: i64,
    /// `Officer`, sealed under the recipient's organisation key.
    pub officer: Option<Vec<u8>>,
    /// Another key, and the version that this acknowledgement gives it.
    pub linked_version: Option<(VersionKey, i64)>,
}

impl Record for AcknowledgementRow {
    const TABLE: &'static Table = &Table {
        name: "acknowledgements",
        class: TableClass::Committed,
        subject: RecordSubject::NoChild,
        columns: &[
            Column::new::<i64>("idx"),
            Column::new::<i64>("ordinal"),
            Column::new::<String>("organisation"),
            Column::new::<i64>("delivery_idx"),
            Column::new::<i64>("delivery_ordinal"),
            Column::new::<i64>("stage"),
            Column::new::<i64>("time"),
            Column::new::<Vec<u8>>("officer"),
        ],
        replace_key: &[],
    };

    fn values(&self) -> Vec<Value> {
        vec![
            self.organisation.as_str().into(),
            self.delivery.index.into(),
            self.delivery.ordinal.into(),
            i64::from(self.stage).into(),
            self.time.into(),
            self.officer.clone().into(),
        ]
    }

    fn current_versions(&self) -> Vec<(VersionKey, i64)> {
        let acknowledged = (acknowledgement_key(&self.organisation, self.delivery, self.stage), 1);
        std::iter::once(acknowledged).chain(self.linked_version.clone()).collect()
    }
}

/// Returns the key of a stage of a delivery. The key has version 1 once the recipient has acknowledged the stage.
pub fn acknowledgement_key(organisation: &OrganisationId, of: MailboxPosition, stage: i32) -> VersionKey {
    VersionKey::new(KeyFamily::Acknowledgement)
        .text(organisation.as_str())
        .bytes(&of.index.to_be_bytes())
        .bytes(&of.ordinal.to_be_bytes())
        .bytes(&stage.to_be_bytes())
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

/// Most rows of a mailbox that one call scans. A filter that matches little returns nothing instead of taking long.
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
    let sql = "SELECT 0, idx, ordinal FROM (SELECT idx, ordinal FROM parties \
               WHERE organisation = $1 AND (idx, ordinal) > ($2, $3) ORDER BY idx, ordinal LIMIT 1 OFFSET $4) AS held \
               UNION ALL SELECT 1, idx, ordinal FROM (SELECT idx, ordinal FROM parties \
               WHERE organisation = $1 AND (idx, ordinal) > ($2, $3) ORDER BY idx DESC, ordinal DESC LIMIT 1) AS newest";
    let arguments = vec![
        organisation.as_str().into(),
        after.index.into(),
        after.ordinal.into(),
        (MAX_SCANNED_ROWS - 1).into(),
    ];
    let (mut limit, mut newest) = (None, None);
    for row in snapshot.fetch(sql, arguments).await? {
        let position = Some(MailboxPosition { index: row.int(1)?, ordinal: row.int(2)? });
        if row.int(0)? == 0 { limit = position } else { newest = position }
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
    let before = MailboxPosition { ordinal: position.ordinal - 1, ..position };
    let range = MailboxRange { after: before, to: position, kind_bits: i64::MAX };
    let found = list_headers(snapshot, organisation, range, 1).await?;
    Ok(found.into_iter().next().filter(|header| header.position == position))
}

fn parse_header(row: &Row) -> Result<StoredDelivery, StoreError> {
    let corrupt = |column| StoreError::corrupt("parties", column);
    let id = |column: usize| {
        row.opt_blob(column)?.map(|id| Uuid::from_slice(id).map_err(|_| corrupt(column))).transpose()
    };
    Ok(StoredDelivery {
        position: MailboxPosition { index: row.int(0)?, ordinal: row.int(1)? },
        kind: i32::try_from(row.int(2)?).map_err(|_| corrupt(2))?,
        sender: OrganisationId::parse(row.text(3)?).map_err(|_| corrupt(3))?,
        object: id(4)?.ok_or_else(|| corrupt(4))?,
        placement: id(5)?,
        sent_us: row.int(6)?,
        method: row.text(7)?.to_owned(),
    })
}
