//! What a start left open: one row an item, with the day by which it is to be made good, and another once the gateway
//! has looked whether it was.

use uuid::Uuid;

use super::rows::Placement;
use super::{children, draft, plan, rules, safety};
use crate::calendar::Date;
use crate::exchange::{Cx, Record, Refusal};
use crate::proto::v1::MissingItem;
use crate::seal::ChildKey;
use crate::store::Kind::{Blob, Int, Text};
use crate::store::key::{Family, Key};
use crate::store::{DamagedRow, Row, Snapshot, StoreError, Table, Value};

/// An item that a start left open.
#[derive(Clone, Debug)]
pub struct OpenItemRow {
    /// Of which placement.
    pub placement: Uuid,
    /// What.
    pub item: MissingItem,
    /// The last day on which it can be made good in time.
    pub due: Date,
    /// Whether the gateway has looked, after that day.
    pub looked_at: bool,
    /// From 1 when it is opened; each look, and each withdrawn end that makes it due again, is one more.
    pub version: i64,
}

impl Record for OpenItemRow {
    const TABLE: &'static Table = &Table {
        name: "open_items",
        columns: &[
            ("idx", Int),
            ("ordinal", Int),
            ("head", Blob),
            ("placement", Blob),
            ("item", Int),
            ("due_date", Text),
            ("looked_at", Int),
        ],
        replace_by: &[],
    };

    fn values(&self) -> Vec<Value> {
        vec![
            self.key().as_bytes().into(),
            self.placement.into(),
            (self.item as i32).into(),
            self.due.to_string().into(),
            i64::from(self.looked_at).into(),
        ]
    }

    fn heads(&self) -> Vec<(Key, i64)> {
        vec![(self.key(), self.version)]
    }
}

impl OpenItemRow {
    /// A placement starts once, so an item of it is opened once.
    #[must_use]
    pub fn key(&self) -> Key {
        key(self.placement, self.item)
    }
}

fn key(placement: Uuid, item: MissingItem) -> Key {
    Key::new(Family::OpenItem).id(placement).bytes(&(item as i32).to_be_bytes())
}

/// Returns the items of a placement over which no alert was raised because it had ended by their day, each with its
/// version before and waiting again.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn passed_over(
    snapshot: &mut Snapshot,
    placement: Uuid,
) -> Result<Vec<(i64, OpenItemRow)>, StoreError> {
    let raised = "SELECT DISTINCT item FROM alerts WHERE placement = $1";
    let raised = snapshot.fetch(raised, vec![placement.into()]).await?;
    let raised = raised.iter().map(|row| row.int(0)).collect::<Result<Vec<_>, _>>()?;
    let all = [MissingItem::Plan, MissingItem::Decision, MissingItem::SafetyAcknowledgement];
    let keys: Vec<Key> = all.into_iter().map(|item| key(placement, item)).collect();
    let sql = "SELECT o.placement, o.item, o.due_date, o.idx, o.ordinal, h.version, o.looked_at FROM heads h \
               JOIN open_items o ON o.idx = h.idx AND o.ordinal = h.ordinal WHERE h.key";
    let mut found = Vec::new();
    for row in snapshot.fetch_among(sql, &keys).await? {
        let item = read(&row)?;
        if row.int(6)? == 1 && !raised.contains(&i64::from(item.item as i32)) {
            found.push((item.version, OpenItemRow { version: item.version + 1, ..item }));
        }
    }
    Ok(found)
}

/// Items whose day has passed and that nobody has looked at, by day, from behind a place (day, index, ordinal) on,
/// with the place of the last. A damaged row is an error of its own.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn overdue(
    snapshot: &mut Snapshot,
    today: Date,
    after: &(String, i64, i64),
    limit: i64,
) -> Result<(Vec<Result<OpenItemRow, DamagedRow>>, Option<(String, i64, i64)>), StoreError> {
    let sql = "SELECT o.placement, o.item, o.due_date, o.idx, o.ordinal, h.version FROM open_items o \
               JOIN heads h ON h.key = o.head AND h.idx = o.idx AND h.ordinal = o.ordinal \
               WHERE o.looked_at = 0 AND o.due_date < $1 AND (o.due_date, o.idx, o.ordinal) > ($2, $3, $4) \
               ORDER BY o.due_date, o.idx, o.ordinal LIMIT $5";
    let (day, index, ordinal) = after;
    let arguments =
        vec![today.to_string().into(), day.as_str().into(), (*index).into(), (*ordinal).into(), limit.into()];
    let rows = snapshot.fetch(sql, arguments).await?;
    let last =
        rows.last().map(|row| Ok::<_, StoreError>((row.text(2)?.to_owned(), row.int(3)?, row.int(4)?)));
    let items = rows.iter().map(|row| read(row).map_err(|error| DamagedRow::new(row.id(0), error)));
    Ok((items.collect(), last.transpose()?))
}

fn read(row: &Row) -> Result<OpenItemRow, StoreError> {
    let corrupt = |column| StoreError::Corrupt { table: "open_items", column };
    let item = i32::try_from(row.int(1)?).ok().and_then(|item| MissingItem::try_from(item).ok());
    Ok(OpenItemRow {
        placement: row.id(0)?,
        item: item.ok_or(corrupt(1))?,
        due: Date::parse(row.text(2)?).map_err(|_| corrupt(2))?,
        looked_at: false,
        version: row.int(5)?,
    })
}

/// What of a start is still open, and what says so.
pub struct Still {
    /// The items.
    pub open: Vec<MissingItem>,
    /// The versions that it was seen from.
    pub seen: Vec<(Key, i64)>,
    /// The commissioner's key of the child.
    pub key: ChildKey,
}

/// What `GetPlacement` shows as left open by the start. `None`: the child's record was erased.
///
/// # Errors
/// As [`children::key`]; [`Reason::Failed`](crate::exchange::Reason::Failed) when what is stored does not open.
pub async fn still_open(cx: &mut Cx, placement: &Placement) -> Result<Option<Still>, Refusal> {
    let Some(key) = children::key(cx, &placement.commissioner, placement.child).await? else {
        return Ok(None);
    };
    let detail = draft::detail(&key, placement)?;
    let missing: Vec<MissingItem> = detail.missing_items().collect();
    let planned = cx.snapshot.version(&plan::key(placement.id)).await?;
    let safety = safety::of(cx, placement).await?;
    let open = rules::still_open(&missing, planned > 0, detail.decision.is_some(), safety.acknowledged);
    let mut seen = safety.seen;
    seen.extend([(placement.key(), placement.version), (plan::key(placement.id), planned)]);
    Ok(Some(Still { open, seen, key }))
}
