//! Rows of items that a start left open: one row per item, with its due day, and another once the gateway has checked
//! after that day whether the item was supplied.

use uuid::Uuid;

use super::open_item_code::OpenItemCode;
use super::rows::Placement;
use super::{children, draft, plan, rules, safety_acknowledgement};
use crate::calendar::Date;
use crate::exchange::{Refusal, RequestContext};
use crate::proto::v1::MissingItem;
use crate::seal::ChildKey;
use crate::store::version_key::{KeyFamily, VersionKey};
use crate::store::{
    DamagedRow, Located, LogPosition, Record, Revision, Row, Snapshot, StoreError, read_located,
};
use crate::{record, select};

record! {
    /// A version of an item that a start left open.
    #[derive(Clone, Debug)]
    pub struct OpenItemRow in "open_items" as o, 37, Committed, PlacementChild {
        /// The placement.
        pub placement: Uuid,
        /// The missing item.
        pub item: OpenItemCode,
        /// Version, 1 when the item is opened. Each check adds one, and so does each withdrawn end that makes it due
        /// again.
        pub version: Revision,
        /// The last day on which it can be supplied in time.
        pub due_date: Date,
        /// Whether the gateway has checked the item after that day.
        pub is_checked: bool,
        /// Whether the check raised an alert.
        pub is_raised: bool,
    }
    written {
        version_key: VersionKey = |row| row.key();
    }
    versions = |row| vec![(row.key(), row.version)];
}

impl OpenItemRow {
    /// Returns the item's key. A placement starts once, so each of its items is opened once.
    #[must_use]
    pub fn key(&self) -> VersionKey {
        key(self.placement, self.item)
    }

    /// Returns the version that makes a checked item due again.
    #[must_use]
    pub fn reopened(self) -> Self {
        Self { version: self.version.next(), is_checked: false, is_raised: false, ..self }
    }

    /// Returns the version after a check.
    #[must_use]
    pub fn checked(self, is_raised: bool) -> Self {
        Self { version: self.version.next(), is_checked: true, is_raised, ..self }
    }
}

fn key(placement: Uuid, item: OpenItemCode) -> VersionKey {
    VersionKey::new(KeyFamily::OpenItem).id(placement).text(item.as_str())
}

/// Reads the newest rows of the items of a placement, with their positions.
async fn fetch_newest(snapshot: &mut Snapshot, placement: Uuid) -> Result<Vec<Row>, StoreError> {
    let keys: Vec<VersionKey> = OpenItemCode::ALL.iter().map(|item| key(placement, *item)).collect();
    snapshot.fetch_by_keys(OpenItemRow::SELECT_NEWEST_BY_KEYS, &keys).await
}

/// Lists the items of a placement that were checked without an alert because the placement had ended by then.
///
/// # Errors
/// See [`StoreError`].
pub async fn list_skipped(snapshot: &mut Snapshot, placement: Uuid) -> Result<Vec<OpenItemRow>, StoreError> {
    let rows = fetch_newest(snapshot, placement).await?;
    let mut items = rows.iter().map(OpenItemRow::read).collect::<Result<Vec<_>, _>>()?;
    items.retain(|item| item.is_checked && !item.is_raised);
    items.sort_unstable_by_key(|item| item.item);
    Ok(items)
}

/// Lists the unchecked items of a placement whose due day has passed, in the order of [`list_overdue`]. Items that
/// cannot be read are left out, because [`list_overdue`] returns their errors.
///
/// # Errors
/// See [`StoreError`].
pub async fn list_overdue_of_placement(
    snapshot: &mut Snapshot,
    placement: Uuid,
    today: Date,
) -> Result<Vec<OpenItemRow>, StoreError> {
    let rows = fetch_newest(snapshot, placement).await?;
    let mut items: Vec<Located<OpenItemRow>> = rows.iter().filter_map(|row| read_located(row).ok()).collect();
    items.retain(|(_, item)| !item.is_checked && item.due_date < today);
    items.sort_unstable_by_key(|(position, item)| (item.due_date, *position));
    Ok(items.into_iter().map(|(_, item)| item).collect())
}

/// A position in the list of overdue items: the due day as it is stored, and the position in the log.
pub type OverduePosition = (String, LogPosition);

/// Lists unchecked items whose due day has passed, by day, after a position, with the position of the last. A damaged
/// row is an error in its place in the list.
///
/// # Errors
/// See [`StoreError`].
pub async fn list_overdue(
    snapshot: &mut Snapshot,
    today: Date,
    (day, after): (&str, LogPosition),
    limit: i64,
) -> Result<(Vec<Result<OpenItemRow, DamagedRow>>, Option<OverduePosition>), StoreError> {
    let sql = select!(
        OpenItemRow,
        "JOIN current_versions v ON v.key = o.version_key AND v.idx = o.idx AND v.ordinal = o.ordinal \
         WHERE o.is_checked = 0 AND o.due_date < $1 AND (o.due_date, o.idx, o.ordinal) > ($2, $3, $4) \
         ORDER BY o.due_date, o.idx, o.ordinal LIMIT $5"
    );
    let arguments =
        vec![today.to_string().into(), day.into(), after.index.into(), after.ordinal.into(), limit.into()];
    let rows = snapshot.fetch(sql, arguments).await?;
    let last = match rows.last() {
        Some(row) => {
            let position = LogPosition { index: row.get("idx")?, ordinal: row.get("ordinal")? };
            Some((row.get("due_date")?, position))
        }
        None => None,
    };
    let damaged = |row: &Row, error| DamagedRow::new(row.get("placement"), error);
    let items = rows.iter().map(|row| OpenItemRow::read(row).map_err(|error| damaged(row, error)));
    Ok((items.collect(), last))
}

/// The items that a start left open and that are still missing.
pub struct RemainingItems {
    /// The items.
    pub items: Vec<OpenItemCode>,
    /// The keys and versions that were read to find them.
    pub versions_read: Vec<(VersionKey, Revision)>,
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
    let open = rules::still_open_items(
        &missing,
        planned != Revision::ABSENT,
        detail.decision.is_some(),
        safety.acknowledged,
    );
    let mut seen = safety.versions_read;
    seen.extend([(placement.key(), placement.version), (plan::key(placement.id), planned)]);
    Ok(Some(RemainingItems { items: open, versions_read: seen, key }))
}
