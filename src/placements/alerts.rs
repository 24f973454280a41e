//! Alerts as they are stored: one row a version, the newest named by `heads`. Who raises, ends and reads them is
//! `oversight`'s; what a delivery brings of one is read here too.

use prost::Message;
use uuid::Uuid;

use super::rows::{self, Placement};
use super::{children, draft, rules};
use crate::calendar::Date;
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Cx, Reason, Record, Refusal};
use crate::proto::v1::{self, AlertKind, AlertState, MissingItem, StoredResolution};
use crate::seal::{ChildKey, Column};
use crate::store::Kind::{Blob, Int, Text};
use crate::store::key::{Family, Key};
use crate::store::{DamagedRow, LogPosition, Row, Snapshot, StoreError, Table, Value};

/// A version of an alert.
#[derive(Clone)]
pub struct AlertRow {
    /// Its id.
    pub alert: Uuid,
    /// From 1.
    pub version: i64,
    /// What it is about.
    pub kind: AlertKind,
    /// The placement.
    pub placement: Uuid,
    /// The placement's child.
    pub child: Uuid,
    /// The open item.
    pub item: MissingItem,
    /// When it was due.
    pub due: Date,
    /// Where the alert stands.
    pub state: AlertState,
    /// When it was raised, microseconds UTC.
    pub raised: i64,
    /// When it ended.
    pub ended: Option<i64>,
    /// Who resolved it.
    pub resolved_by: Option<OrganisationId>,
    /// `StoredResolution`, sealed under that organisation's key of the child.
    pub resolution: Option<Vec<u8>>,
}

impl Record for AlertRow {
    const TABLE: &'static Table = &Table {
        name: "alerts",
        columns: &[
            ("idx", Int),
            ("ordinal", Int),
            ("head", Blob),
            ("placement", Blob),
            ("alert", Blob),
            ("version", Int),
            ("kind", Int),
            ("child", Blob),
            ("item", Int),
            ("due_date", Text),
            ("state", Int),
            ("raised", Int),
            ("ended", Int),
            ("resolved_by", Text),
            ("resolution", Blob),
        ],
        replace_by: &[],
    };

    fn values(&self) -> Vec<Value> {
        vec![
            key(self.alert).as_bytes().into(),
            self.placement.into(),
            self.alert.into(),
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

    fn heads(&self) -> Vec<(Key, i64)> {
        vec![(key(self.alert), self.version)]
    }
}

/// The key of an alert.
#[must_use]
pub fn key(alert: Uuid) -> Key {
    Key::new(Family::Alert).id(alert)
}

/// A query of alerts, in the columns that [`read`] takes.
macro_rules! select {
    ($rest:literal) => {
        select!("a", $rest)
    };
    // With the position of another row than the version that is read.
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

fn read(row: &Row) -> Result<AlertRow, StoreError> {
    let corrupt = |column| StoreError::Corrupt { table: "alerts", column };
    let number = |column: usize| i32::try_from(row.int(column)?).map_err(|_| corrupt(column));
    let by = row.opt_text(10)?.map(|by| OrganisationId::parse(by).map_err(|_| corrupt(10)));
    Ok(AlertRow {
        alert: row.id(0)?,
        version: row.int(1)?,
        kind: AlertKind::try_from(number(2)?).map_err(|_| corrupt(2))?,
        placement: row.id(3)?,
        child: row.id(4)?,
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

/// The newest version of an alert.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn by_id(snapshot: &mut Snapshot, alert: Uuid) -> Result<Option<AlertRow>, StoreError> {
    let sql = select!("JOIN heads h ON h.idx = a.idx AND h.ordinal = a.ordinal WHERE h.key = $1");
    let row = snapshot.fetch_one(sql, vec![key(alert).as_bytes().into()]).await?;
    row.as_ref().map(read).transpose()
}

/// Reads the newest version of an alert about a placement in which the organisation has or had a part. One of others and
/// one that does not exist end in the same query, so that the time of a refusal does not tell them apart.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn by_id_of_party(
    snapshot: &mut Snapshot,
    alert: Uuid,
    organisation: &OrganisationId,
) -> Result<Option<AlertRow>, StoreError> {
    let sql = select!(
        "JOIN heads h ON h.idx = a.idx AND h.ordinal = a.ordinal \
         JOIN placement_parties p ON p.placement = a.placement AND p.organisation = $2 WHERE h.key = $1 LIMIT 1"
    );
    let arguments = vec![key(alert).as_bytes().into(), organisation.as_str().into()];
    snapshot.fetch_one(sql, arguments).await?.as_ref().map(read).transpose()
}

/// A thing with its position in the log.
pub type Located<T> = (LogPosition, T);

/// Reads open alerts from a position on, in the order of the log, at most `limit`. An id is no cursor, because another
/// node may commit an older id later. A damaged row is an error of its own.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn open(
    snapshot: &mut Snapshot,
    from: LogPosition,
    limit: i64,
) -> Result<Vec<Located<Result<AlertRow, DamagedRow>>>, StoreError> {
    let sql = select!(
        "JOIN heads h ON h.key = a.head AND h.idx = a.idx AND h.ordinal = a.ordinal \
         WHERE a.state = 1 AND (a.idx, a.ordinal) >= ($1, $2) ORDER BY a.idx, a.ordinal LIMIT $3"
    );
    let rows = snapshot.fetch(sql, vec![from.index.into(), from.ordinal.into(), limit.into()]).await?;
    let damaged = |row: &Row, error| DamagedRow::new(row.id(3), error);
    rows.iter().map(|row| Ok((position(row)?, read(row).map_err(|error| damaged(row, error))))).collect()
}

/// Which alerts are listed.
pub struct Wanted {
    /// In this state only.
    pub state: Option<AlertState>,
    /// Of this placement only.
    pub placement: Option<Uuid>,
}

/// Reads alerts of placements in which the organisation has a part, from behind a position on, in the order in which
/// they were raised, at most `limit`. Each comes with the position at which it was raised.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn of_party(
    snapshot: &mut Snapshot,
    organisation: &OrganisationId,
    wanted: &Wanted,
    after: LogPosition,
    limit: i64,
) -> Result<Vec<Located<AlertRow>>, StoreError> {
    let sql = select!(
        "r",
        "JOIN heads h ON h.key = a.head AND h.idx = a.idx AND h.ordinal = a.ordinal \
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
    rows.iter().map(|row| Ok((position(row)?, read(row)?))).collect()
}

/// An alert as its reader is told of it; who resolved it and how only as long as the key to that is kept.
///
/// # Errors
/// [`Reason::Failed`] when what is stored does not open.
pub async fn message(cx: &mut Cx, alert: &AlertRow, placement: &Placement) -> Result<v1::Alert, Refusal> {
    let time = |micros: i64| Instant::from_micros(micros).ok().map(Instant::to_proto);
    let mut message = v1::Alert {
        alert_id: alert.alert.hyphenated().to_string(),
        kind: alert.kind as i32,
        placement_id: placement.id.hyphenated().to_string(),
        commissioner: placement.commissioner.to_string(),
        provider: placement.provider.to_string(),
        item: rules::item_reason(alert.item).to_owned(),
        due_date: alert.due.to_string(),
        state: alert.state as i32,
        raised_time: time(alert.raised),
        ended_time: alert.ended.and_then(time),
        ..v1::Alert::default()
    };
    if let Some((by, sealed)) = alert.resolved_by.as_ref().zip(alert.resolution.as_ref()) {
        message.resolved_by = by.to_string();
        if let Some(key) = children::key(cx, by, alert.child).await? {
            let plain = key.open(at(&row_of(alert)), sealed).map_err(children::failed)?;
            let resolution = StoredResolution::decode(&plain[..]).map_err(|_| Reason::Failed)?;
            message.officer = resolution.officer;
            message.note = resolution.note;
        }
    }
    Ok(message)
}

/// Seals who resolved an alert, and how, for its row.
///
/// # Errors
/// [`Reason::Failed`] when the cryptographic library fails.
pub fn seal(
    cx: &Cx,
    key: &ChildKey,
    alert: &AlertRow,
    resolution: &StoredResolution,
) -> Result<Vec<u8>, Refusal> {
    let fill = |bytes: &mut [u8]| cx.random.fill(bytes);
    key.seal(at(&row_of(alert)), &resolution.encode_to_vec(), &fill).map_err(children::failed)
}

/// What a delivery brings of an alert, as the exchange at an index left it, with the commissioner's key of the child;
/// none for whoever may not read the placement any more.
///
/// # Errors
/// As [`message`].
pub async fn content(cx: &mut Cx, index: i64, alert: Uuid) -> Result<Option<(ChildKey, v1::Alert)>, Refusal> {
    let sql = select!("WHERE a.idx = $1 AND a.alert = $2");
    let Some(row) = cx.snapshot.fetch_one(sql, vec![index.into(), alert.into()]).await? else {
        return Ok(None);
    };
    let row = read(&row)?;
    let placement = rows::by_id(&mut cx.snapshot, row.placement).await?;
    let Some(placement) = placement.filter(|found| draft::readable(found, &cx.caller.organisation)) else {
        return Ok(None);
    };
    let Some(key) = children::key(cx, &placement.commissioner, placement.child).await? else {
        return Ok(None);
    };
    Ok(Some((key, message(cx, &row, &placement).await?)))
}

fn row_of(alert: &AlertRow) -> Vec<u8> {
    draft::row_of(alert.alert, alert.version)
}

fn at(row: &[u8]) -> Column<'_> {
    Column { table: "alerts", row, column: "resolution" }
}
