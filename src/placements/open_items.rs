//! Rows of items that a start left open: one row per item, with its due day, and another once the gateway has checked
//! after that day whether the item was supplied.

use uuid::Uuid;

use super::rows::Placement;
use super::{children, draft, plan, rules, safety_acknowledgement};
use crate::calendar::Date;
use crate::exchange::{Record, Refusal, RequestContext};
use crate::proto::v1::MissingItem;
use crate::seal::ChildKey;
use crate::store::version_key::{KeyFamily, VersionKey};
use crate::store::{Column, DamagedRow, RecordSubject, Row, Snapshot, StoreError, Table, TableClass, Value};

/// An item that a start left open.
#[derive(Clone, Debug)]
pub struct OpenItemRow {
    /// The placement.
    pub placement: Uuid,
    /// The missing item.
    pub item: MissingItem,
    /// The last day on which it can be supplied in time.
    pub due: Date,
    /// Whether the gateway has checked the item after that day.
    pub is_checked: bool,
    /// Version, 1 when the item is opened. Each check adds one, and so does each withdrawn end that makes it due again.
    pub version: i64,
}

impl Record for OpenItemRow {
    const TABLE: &'static Table = &Table {
        name: "open_items",
        class: TableClass::Committed,
        subject: RecordSubject::NoChild,
        columns: &[
            Column::new::<i64>("idx"),
            Column::new::<i64>("ordinal"),
            Column::new::<Vec<u8>>("version_key"),
            Column::new::<Vec<u8>>("placement"),
            Column::new::<i64>("item"),
            Column::new::<String>("due_date"),
            Column::new::<i64>("looked_at"),
        ],
        replace_key: &[],
    };

    fn values(&self) -> Vec<Value> {
        vec![
            self.key().as_bytes().into(),
            self.placement.into(),
            (self.item as i32).into(),
            self.due.to_string().into(),
            i64::from(self.is_checked).into(),
        ]
    }

    fn current_versions(&self) -> Vec<(VersionKey, i64)> {
        vec![(self.key(), self.version)]
    }
}

impl OpenItemRow {
    /// Returns the item's key. A placement starts once, so each of its items is opened once.
    #[must_use]
    pub fn key(&self) -> VersionKey {
        key(self.placement, self.item)
    }
}

fn key(placement: Uuid, item: MissingItem) -> VersionKey {
    VersionKey::new(KeyFamily::OpenItem).id(placement).bytes(&(item as i32).to_be_bytes())
}

/// Lists the items of a placement that were checked without an alert because the placement had ended by then. Each
/// comes with its present version and with the row that makes it due again.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn list_skipped(
    snapshot: &mut Snapshot,
    placement: Uuid,
) -> Result<Vec<(i64, OpenItemRow)>, StoreError> {
    let raised = "SELECT DISTINCT item FROM alerts WHERE placement = $1";
    let raised = snapshot.fetch(raised, vec![placement.into()]).await?;
    let raised = raised.iter().map(|row| row.int(0)).collect::<Result<Vec<_>, _>>()?;
    let items = [MissingItem::Plan, MissingItem::Decision, MissingItem::SafetyAcknowledgement];
    let keys: Vec<VersionKey> = items.into_iter().map(|item| key(placement, item)).collect();
    let sql = "SELECT o.placement, o.item, o.due_date, o.idx, o.ordinal, h.version, o.looked_at FROM current_versions h \
               JOIN open_items o ON o.idx = h.idx AND o.ordinal = h.ordinal WHERE h.key";
    let mut found = Vec::new();
    for row in snapshot.fetch_by_keys(sql, &keys).await? {
        let item = from_row(&row)?;
        if row.int(6)? == 1 && !raised.contains(&i64::from(item.item as i32)) {
            found.push((item.version, OpenItemRow { version: item.version + 1, ..item }));
        }
    }
    Ok(found)
}

/// Lists unchecked items whose due day has passed, by day, after a position (day, index, ordinal), with the position of
/// the last. A damaged row is an error in its place in the list.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn list_overdue(
    snapshot: &mut Snapshot,
    today: Date,
    after: &(String, i64, i64),
    limit: i64,
) -> Result<(Vec<Result<OpenItemRow, DamagedRow>>, Option<(String, i64, i64)>), StoreError> {
    let sql = "SELECT o.placement, o.item, o.due_date, o.idx, o.ordinal, h.version FROM open_items o \
               JOIN current_versions h ON h.key = o.version_key AND h.idx = o.idx AND h.ordinal = o.ordinal \
               WHERE o.looked_at = 0 AND o.due_date < $1 AND (o.due_date, o.idx, o.ordinal) > ($2, $3, $4) \
               ORDER BY o.due_date, o.idx, o.ordinal LIMIT $5";
    let (day, index, ordinal) = after;
    let arguments =
        vec![today.to_string().into(), day.as_str().into(), (*index).into(), (*ordinal).into(), limit.into()];
    let rows = snapshot.fetch(sql, arguments).await?;
    let last =
        rows.last().map(|row| Ok::<_, StoreError>((row.text(2)?.to_owned(), row.int(3)?, row.int(4)?)));
    let items = rows.iter().map(|row| from_row(row).map_err(|error| DamagedRow::new(row.uuid(0), error)));
    Ok((items.collect(), last.transpose()?))
}

fn from_row(row: &Row) -> Result<OpenItemRow, StoreError> {
    let corrupt = |column| StoreError::corrupt("open_items", column);
    let item = i32::try_from(row.int(1)?).ok().and_then(|item| MissingItem::try_from(item).ok());
    Ok(OpenItemRow {
        placement: row.uuid(0)?,
        item: item.ok_or(corrupt(1))?,
        due: Date::parse(row.text(2)?).map_err(|_| corrupt(2))?,
        is_checked: false,
        version: row.int(5)?,
    })
}

/// The items that a start left open and that are still missing.
pub struct RemainingItems {
    /// The items.
    pub items: Vec<MissingItem>,
    /// The keys and versions that were read to find them.
    pub versions_read: Vec<(VersionKey, i64)>,
    /// The commissioner's key of the child.
    pub key: ChildKey,
}

/// Reads the items of a start that are still missing, as `GetPlacement` shows them. `None`: the child's record was
/// erased.
///
/// # Errors
/// As [`children::load_key`]; [`Reason::Failed`](crate::exchange::Reason::Failed) when what is stored does not open.
pub async fn load_remaining(
    cx: &mut RequestContext,
    placement: &Placement,
) -> Result<Option<RemainingItems>, Refusal> {
    let Some(key) = children::load_key(cx, &placement.commissioner, placement.child).await? else {
        return Ok(None);
    };
    let detail = draft::open_detail(&key, placement)?;
    let missing: Vec<MissingItem> = detail.missing_items().collect();
    let planned = cx.snapshot.current_version(&plan::key(placement.id)).await?;
    let safety = safety_acknowledgement::load(cx, placement).await?;
    let open = rules::still_open_items(&missing, planned > 0, detail.decision.is_some(), safety.acknowledged);
    let mut seen = safety.versions_read;
    seen.extend([(placement.key(), placement.version), (plan::key(placement.id), planned)]);
    Ok(Some(RemainingItems { items: open, versions_read: seen, key }))
}
