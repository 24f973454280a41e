//! Rows of open items, what a start left open and what the plan of an active placement lacks: one row per item, with its
//! due day, and another once the gateway has checked after that day whether the item was supplied.

use std::collections::HashMap;

use uuid::Uuid;

use super::open_item_code::OpenItemCode;
use crate::calendar::Date;
use crate::store::version_key::{KeyFamily, VersionKey};
use crate::store::{
    DamagedRow, Located, LogPosition, Record, Revision, Row, Snapshot, StoreError, read_located,
};
use crate::{record, select};

/// School days within which an item must be supplied, after the start or the plan that left it open.
pub(super) const DUE_SCHOOL_DAYS: u32 = 5;

record! {
    /// A version of an open item.
    #[derive(Clone, Debug)]
    pub struct OpenItemRow in "open_items" as o, 37, Committed, PlacementChild {
        /// The placement.
        pub placement: Uuid,
        /// The missing item.
        pub item: OpenItemCode,
        /// Version, 1 when the item is opened. Each check adds one, and so does each withdrawn end and each plan that make
        /// it due again.
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
    /// Makes the first version of an item.
    #[must_use]
    pub const fn opened(placement: Uuid, item: OpenItemCode, due_date: Date) -> Self {
        Self { placement, item, version: Revision::FIRST, due_date, is_checked: false, is_raised: false }
    }

    /// Returns the item's key.
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

/// Lists the rows that a plan of an active placement writes: an item that it lacks and its former plan did not is due on a
/// day of its own, and one that the former plan lacked too keeps its day. Each row is given with the version before it,
/// which the caller guards.
///
/// # Errors
/// See [`StoreError`].
pub(super) async fn list_opened_by_plan(
    snapshot: &mut Snapshot,
    placement: Uuid,
    (former_lacks, lacks): (&[OpenItemCode], &[OpenItemCode]),
    due_date: Date,
) -> Result<Vec<(Revision, OpenItemRow)>, StoreError> {
    let rows = fetch_newest(snapshot, placement).await?;
    let rows = rows.iter().map(OpenItemRow::read).collect::<Result<Vec<_>, _>>()?;
    let mut opened = Vec::new();
    for item in lacks {
        match rows.iter().find(|row| row.item == *item) {
            None => opened.push((Revision::ABSENT, OpenItemRow::opened(placement, *item, due_date))),
            Some(row) if !former_lacks.contains(item) => {
                let again = OpenItemRow { due_date, ..row.clone().reopened() };
                opened.push((row.version, again));
            }
            Some(_) => {}
        }
    }
    Ok(opened)
}

/// Reads the due days of a placement's items.
///
/// # Errors
/// See [`StoreError`].
pub(super) async fn load_due_dates(
    snapshot: &mut Snapshot,
    placement: Uuid,
) -> Result<HashMap<OpenItemCode, Date>, StoreError> {
    let rows = fetch_newest(snapshot, placement).await?;
    rows.iter().map(|row| OpenItemRow::read(row).map(|row| (row.item, row.due_date))).collect()
}

/// Lists the items of a placement that were checked: its end may have kept an alert from being raised, or closed it.
///
/// # Errors
/// See [`StoreError`].
pub async fn list_checked(snapshot: &mut Snapshot, placement: Uuid) -> Result<Vec<OpenItemRow>, StoreError> {
    let rows = fetch_newest(snapshot, placement).await?;
    let mut items = rows.iter().map(OpenItemRow::read).collect::<Result<Vec<_>, _>>()?;
    items.retain(|item| item.is_checked);
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
