//! Rows of alerts: one row per version, the newest named by `current_versions`. `oversight` raises and closes alerts
//! and serves their methods; the content of a delivery of an alert is read here.

use prost::Message;
use uuid::Uuid;

use super::rows::{self, Placement};
use super::{children, draft, rules};
use crate::calendar::Date;
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Reason, Record, Refusal, RequestContext};
use crate::proto::v1::{self, AlertKind, AlertState, MissingItem, StoredResolution};
use crate::seal::{ChildKey, ColumnAddress};
use crate::store::version_key::{KeyFamily, VersionKey};
use crate::store::{
    Column, DamagedRow, LogPosition, RecordSubject, Row, Snapshot, StoreError, Table, TableClass, Value,
};

/// A version of an alert.
#[derive(Clone)]
pub struct AlertRow {
    /// Id.
    pub id: Uuid,
    /// Version, from 1.
    pub version: i64,
    /// Kind of cause.
    pub kind: AlertKind,
    /// The placement.
    pub placement: Uuid,
    /// The placement's child.
    pub child: Uuid,
    /// The open item.
    pub item: MissingItem,
    /// Due day of the item.
    pub due: Date,
    /// State.
    pub state: AlertState,
    /// Time at which it was raised, microseconds UTC since 1970.
    pub raised: i64,
    /// Time at which it ended, microseconds UTC since 1970.
    pub ended: Option<i64>,
    /// The organisation that resolved it.
    pub resolved_by: Option<OrganisationId>,
    /// `StoredResolution`, sealed under that organisation's key of the child.
    pub resolution: Option<Vec<u8>>,
}

impl Record for AlertRow {
    const TABLE: &'static Table = &Table {
        name: "alerts",
        class: TableClass::Committed,
        subject: RecordSubject::NoChild,
        columns: &[
            Column::new::<i64>("idx"),
            Column::new::<i64>("ordinal"),
            Column::new::<Vec<u8>>("version_key"),
            Column::new::<Vec<u8>>("placement"),
            Column::new::<Vec<u8>>("alert"),
            Column::new::<i64>("version"),
            Column::new::<i64>("kind"),
            Column::new::<Vec<u8>>("child"),
            Column::new::<i64>("item"),
            Column::new::<String>("due_date"),
            Column::new::<i64>("state"),
            Column::new::<i64>("raised"),
            Column::new::<i64>("ended"),
            Column::new::<String>("resolved_by"),
            Column::new::<Vec<u8>>("resolution"),
        ],
        replace_key: &[],
    };

    fn values(&self) -> Vec<Value> {
        vec![
            key(self.id).as_bytes().into(),
            self.placement.into(),
            self.id.into(),
            self.version.into(),
            (self.kind as i32).into(),
            self.child.into(),
            (self.item as i32).into(),
            self.due.to_string().into(),
            (self.state as i32).into(),
            self.raised.into(),
            self.ended.into(),
            self.resolved_by.as_ref().map(|by| by.as_str().to_owned()).into(),
            self.resolution.clone().into(),
        ]
    }

    fn current_versions(&self) -> Vec<(VersionKey, i64)> {
        vec![(key(self.id), self.version)]
    }
}

/// Returns the key of an alert.
#[must_use]
pub fn key(alert: Uuid) -> VersionKey {
    VersionKey::new(KeyFamily::Alert).id(alert)
}

/// A query of alerts, with the columns in the order that [`from_row`] expects, then a log position.
macro_rules! select {
    ($rest:literal) => {
        select!("a", $rest)
    };
    // With the position of another row, named by its alias, than that of the version.
    ($at:literal, $rest:literal) => {
        concat!(
            "SELECT a.alert, a.version, a.kind, a.placement, a.child, a.item, a.due_date, a.state, a.raised, ",
            "a.ended, a.resolved_by, a.resolution, ",
            $at,
            ".idx, ",
            $at,
            ".ordinal FROM alerts a ",
            $rest
        )
    };
}

fn from_row(row: &Row) -> Result<AlertRow, StoreError> {
    let corrupt = |column| StoreError::corrupt("alerts", column);
    let number = |column: usize| i32::try_from(row.int(column)?).map_err(|_| corrupt(column));
    let by = row.opt_text(10)?.map(|by| OrganisationId::parse(by).map_err(|_| corrupt(10)));
    Ok(AlertRow {
        id: row.uuid(0)?,
        version: row.int(1)?,
        kind: AlertKind::try_from(number(2)?).map_err(|_| corrupt(2))?,
        placement: row.uuid(3)?,
        child: row.uuid(4)?,
        item: MissingItem::try_from(number(5)?).map_err(|_| corrupt(5))?,
        due: Date::parse(row.text(6)?).map_err(|_| corrupt(6))?,
        state: AlertState::try_from(number(7)?).map_err(|_| corrupt(7))?,
        raised: row.int(8)?,
        ended: row.opt_int(9)?,
        resolved_by: by.transpose()?,
        resolution: row.opt_blob(11)?.map(<[u8]>::to_vec),
    })
}

fn position(row: &Row) -> Result<LogPosition, StoreError> {
    LogPosition::from_row(row, 12, 13)
}

/// Reads the newest version of an alert.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn by_id(snapshot: &mut Snapshot, alert: Uuid) -> Result<Option<AlertRow>, StoreError> {
    let sql = select!("JOIN current_versions h ON h.idx = a.idx AND h.ordinal = a.ordinal WHERE h.key = $1");
    let row = snapshot.fetch_one(sql, vec![key(alert).as_bytes().into()]).await?;
    row.as_ref().map(from_row).transpose()
}

/// Reads the newest version of an alert about a placement to which the organisation is or was a party. An alert of
/// others and one that does not exist end in the same query, so the time of a refusal does not reveal which it was.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn by_id_for_party(
    snapshot: &mut Snapshot,
    alert: Uuid,
    organisation: &OrganisationId,
) -> Result<Option<AlertRow>, StoreError> {
    let sql = select!(
        "JOIN current_versions h ON h.idx = a.idx AND h.ordinal = a.ordinal \
         JOIN placement_parties p ON p.placement = a.placement AND p.organisation = $2 WHERE h.key = $1 LIMIT 1"
    );
    let arguments = vec![key(alert).as_bytes().into(), organisation.as_str().into()];
    snapshot.fetch_one(sql, arguments).await?.as_ref().map(from_row).transpose()
}

/// A value with its position in the log.
pub type Located<T> = (LogPosition, T);

/// Lists open alerts from a log position on, in the order of the log, at most `limit`. The cursor is a position and not
/// an id, because another node may commit an older id later. A damaged row is an error in its place in the list.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn list_open(
    snapshot: &mut Snapshot,
    from: LogPosition,
    limit: i64,
) -> Result<Vec<Located<Result<AlertRow, DamagedRow>>>, StoreError> {
    let sql = select!(
        "JOIN current_versions h ON h.key = a.version_key AND h.idx = a.idx AND h.ordinal = a.ordinal \
         WHERE a.state = 1 AND (a.idx, a.ordinal) >= ($1, $2) ORDER BY a.idx, a.ordinal LIMIT $3"
    );
    let rows = snapshot.fetch(sql, vec![from.index.into(), from.ordinal.into(), limit.into()]).await?;
    let damaged = |row: &Row, error| DamagedRow::new(row.uuid(3), error);
    rows.iter().map(|row| Ok((position(row)?, from_row(row).map_err(|error| damaged(row, error))))).collect()
}

/// A filter of alerts.
pub struct AlertFilter {
    /// State, if alerts in other states are left out.
    pub state: Option<AlertState>,
    /// Placement, if alerts of other placements are left out.
    pub placement: Option<Uuid>,
}

/// Lists alerts of placements to which the organisation is or was a party, after a log position, in the order in which
/// they were raised, at most `limit`. Each comes with the position at which it was raised.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn list_for_party(
    snapshot: &mut Snapshot,
    organisation: &OrganisationId,
    wanted: &AlertFilter,
    after: LogPosition,
    limit: i64,
) -> Result<Vec<Located<AlertRow>>, StoreError> {
    let sql = select!(
        "r",
        "JOIN current_versions h ON h.key = a.version_key AND h.idx = a.idx AND h.ordinal = a.ordinal \
         JOIN alerts r ON r.placement = a.placement AND r.alert = a.alert AND r.version = 1 \
         JOIN placement_parties p ON p.placement = a.placement \
         WHERE p.organisation = $1 AND (r.idx, r.ordinal) > ($2, $3) AND a.state BETWEEN $4 AND $5 \
         AND a.placement BETWEEN $6 AND $7 ORDER BY r.idx, r.ordinal LIMIT $8"
    );
    let states = wanted.state.map_or((0, i32::MAX), |state| (state as i32, state as i32));
    let placements = wanted.placement.map_or((Uuid::nil(), Uuid::max()), |placement| (placement, placement));
    let arguments = vec![
        organisation.as_str().into(),
        after.index.into(),
        after.ordinal.into(),
        states.0.into(),
        states.1.into(),
        placements.0.into(),
        placements.1.into(),
        limit.into(),
    ];
    let rows = snapshot.fetch(sql, arguments).await?;
    rows.iter().map(|row| Ok((position(row)?, from_row(row)?))).collect()
}

/// Builds the message of an alert. The officer and the note of its resolution are left out once the key that seals them
/// is destroyed.
///
/// # Errors
/// [`Reason::Failed`] when what is stored does not open.
pub async fn alert_message(
    cx: &mut RequestContext,
    alert: &AlertRow,
    placement: &Placement,
) -> Result<v1::Alert, Refusal> {
    let time = |micros: i64| Instant::from_micros(micros).ok().map(Instant::to_proto);
    let mut message = v1::Alert {
        alert_id: alert.id.hyphenated().to_string(),
        kind: alert.kind as i32,
        placement_id: placement.id.hyphenated().to_string(),
        commissioner: placement.commissioner.to_string(),
        provider: placement.provider.to_string(),
        item: rules::missing_item_reason(alert.item).to_owned(),
        due_date: alert.due.to_string(),
        state: alert.state as i32,
        raised_time: time(alert.raised),
        ended_time: alert.ended.and_then(time),
        ..v1::Alert::default()
    };
    if let Some((by, sealed)) = alert.resolved_by.as_ref().zip(alert.resolution.as_ref()) {
        message.resolved_by = by.to_string();
        if let Some(key) = children::load_key(cx, by, alert.child).await? {
            let plain =
                key.open(sealed_column(&sealed_row_id(alert)), sealed).map_err(children::seal_refusal)?;
            let resolution = StoredResolution::decode(&plain[..]).map_err(|_| Reason::Failed)?;
            message.officer = resolution.officer;
            message.note = resolution.note;
        }
    }
    Ok(message)
}

/// Seals the resolution of an alert for its row.
///
/// # Errors
/// [`Reason::Failed`] when the cryptographic library fails.
pub fn seal_resolution(
    cx: &RequestContext,
    key: &ChildKey,
    alert: &AlertRow,
    resolution: &StoredResolution,
) -> Result<Vec<u8>, Refusal> {
    let fill = |bytes: &mut [u8]| cx.random.fill(bytes);
    key.seal(sealed_column(&sealed_row_id(alert)), &resolution.encode_to_vec(), &fill)
        .map_err(children::seal_refusal)
}

/// Reads the content of a delivery of an alert, as the exchange at a log index wrote it, with the commissioner's key of
/// the child. `None` if the caller may not read the placement any more, or the child's record was erased.
///
/// # Errors
/// As [`alert_message`].
pub async fn delivery_content(
    cx: &mut RequestContext,
    index: i64,
    alert: Uuid,
) -> Result<Option<(ChildKey, v1::Alert)>, Refusal> {
    let sql = select!("WHERE a.idx = $1 AND a.alert = $2");
    let Some(row) = cx.snapshot.fetch_one(sql, vec![index.into(), alert.into()]).await? else {
        return Ok(None);
    };
    let row = from_row(&row)?;
    let placement = rows::by_id(&mut cx.snapshot, row.placement).await?;
    let Some(placement) = placement.filter(|found| draft::can_read(found, &cx.caller.organisation)) else {
        return Ok(None);
    };
    let Some(key) = children::load_key(cx, &placement.commissioner, placement.child).await? else {
        return Ok(None);
    };
    Ok(Some((key, alert_message(cx, &row, &placement).await?)))
}

fn sealed_row_id(alert: &AlertRow) -> Vec<u8> {
    draft::sealed_row_id(alert.id, alert.version)
}

fn sealed_column(row: &[u8]) -> ColumnAddress<'_> {
    ColumnAddress { table: "alerts", row, column: "resolution" }
}
