//! Rows of alerts: one row per version, the newest named by `current_versions`.

use uuid::Uuid;

use super::subject::{DamagedSubject, Subject};
use crate::calendar::Date;
use crate::codes::organisation::OrganisationId;
use crate::placements::open_item_code::OpenItemCode;
use crate::proto::v1::{AlertKind, AlertState};
use crate::store::version_key::{KeyFamily, VersionKey};
use crate::store::{Located, LogPosition, Record, Revision, Row, Snapshot, StoreError};
use crate::{record, select, stored_enums};

stored_enums! { AlertKind, AlertState }

record! {
    /// A version of an alert.
    #[derive(Clone)]
    pub struct AlertRow in "alerts" as a, 38, Committed, PlacementChild {
        /// Id.
        pub id: Uuid,
        /// Version, from 1.
        pub version: Revision,
        /// Kind of the alerts of the rule that raised it.
        pub rule: AlertKind,
        /// What it is about.
        pub subject: Subject,
        /// The placement to whose parties it is shown; `None` if the subject belongs to no placement.
        pub placement: Option<Uuid>,
        /// The child whose keys seal the resolution; `None` if the subject is about no child.
        pub child: Option<Uuid>,
        /// The open item, if the rule is about one.
        pub item: Option<OpenItemCode>,
        /// Day by which the cause should have been gone.
        pub due_date: Date,
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
    written {
        version_key: VersionKey = |row| key(row.id);
    }
    versions = |row| vec![(key(row.id), row.version)];
}

impl AlertRow {
    /// Returns the overdue item.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for an alert without an item, although its rule is about one.
    pub fn overdue_item(&self) -> Result<OpenItemCode, StoreError> {
        self.item.ok_or_else(|| StoreError::corrupt("alerts", "item"))
    }
}

/// Returns the key of an alert.
#[must_use]
pub fn key(alert: Uuid) -> VersionKey {
    VersionKey::new(KeyFamily::Alert).id(alert)
}

/// Reads the newest version of an alert.
///
/// # Errors
/// See [`StoreError`].
pub async fn by_id(snapshot: &mut Snapshot, alert: Uuid) -> Result<Option<AlertRow>, StoreError> {
    snapshot.newest(&key(alert)).await
}

/// An alert with the placement to whose parties it is shown.
pub type PlacementAlert = (Uuid, AlertRow);

/// Reads the newest version of an alert about a placement to which the organisation is or was a party. An alert of
/// others and one that does not exist end in the same query, so the time of a refusal does not reveal which it was.
///
/// # Errors
/// See [`StoreError`].
pub async fn by_id_for_party(
    snapshot: &mut Snapshot,
    alert: Uuid,
    organisation: &OrganisationId,
) -> Result<Option<PlacementAlert>, StoreError> {
    let sql = select!(
        AlertRow,
        "JOIN current_versions v ON v.idx = a.idx AND v.ordinal = a.ordinal \
         JOIN placement_parties p ON p.placement = a.placement AND p.organisation = $2 WHERE v.key = $1 LIMIT 1"
    );
    let arguments = vec![key(alert).as_bytes().into(), organisation.as_str().into()];
    snapshot.fetch_one(sql, arguments).await?.as_ref().map(read_of_placement).transpose()
}

fn read_of_placement(row: &Row) -> Result<PlacementAlert, StoreError> {
    Ok((row.get("placement")?, AlertRow::read(row)?))
}

/// An open alert that cannot be read.
pub struct DamagedAlert {
    /// Kind of the alerts of its rule; unspecified if it cannot be read either.
    pub rule: AlertKind,
    /// The subject, and the error.
    pub subject: DamagedSubject,
}

/// Lists open alerts from a log position on, in the order of the log, at most `limit`. The cursor is a position and not
/// an id, because another node may commit an older id later. A damaged row is an error in its place in the list.
///
/// # Errors
/// See [`StoreError`].
pub async fn list_open(
    snapshot: &mut Snapshot,
    from: LogPosition,
    limit: i64,
) -> Result<Vec<Located<Result<AlertRow, DamagedAlert>>>, StoreError> {
    let sql = select!(
        AlertRow,
        "JOIN current_versions v ON v.key = a.version_key AND v.idx = a.idx AND v.ordinal = a.ordinal \
         WHERE a.state = 1 AND (a.idx, a.ordinal) >= ($1, $2) ORDER BY a.idx, a.ordinal LIMIT $3"
    );
    let rows = snapshot.fetch(sql, vec![from.index.into(), from.ordinal.into(), limit.into()]).await?;
    rows.iter()
        .map(|row| {
            let position = LogPosition { index: row.get("idx")?, ordinal: row.get("ordinal")? };
            Ok((position, AlertRow::read(row).map_err(|error| damaged_alert(row, error))))
        })
        .collect()
}

/// Reads what can be read of a damaged row. A subject that cannot be read is the placement of the nil UUID, unless the
/// row names its placement.
fn damaged_alert(row: &Row, error: StoreError) -> DamagedAlert {
    let placement = || Subject::Placement(row.get("placement").unwrap_or_default());
    let subject = row.get("subject").unwrap_or_else(|_| placement());
    let rule = row.get("rule").unwrap_or(AlertKind::Unspecified);
    DamagedAlert { rule, subject: DamagedSubject { subject, error } }
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
/// See [`StoreError`].
pub async fn list_for_party(
    snapshot: &mut Snapshot,
    organisation: &OrganisationId,
    wanted: &AlertFilter,
    after: LogPosition,
    limit: i64,
) -> Result<Vec<Located<PlacementAlert>>, StoreError> {
    let sql = select!(
        AlertRow,
        and "r.idx AS raised_idx, r.ordinal AS raised_ordinal",
        "JOIN current_versions v ON v.key = a.version_key AND v.idx = a.idx AND v.ordinal = a.ordinal \
         JOIN alerts r ON r.placement = a.placement AND r.id = a.id AND r.version = 1 \
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
    rows.iter()
        .map(|row| {
            let raised = LogPosition { index: row.get("raised_idx")?, ordinal: row.get("raised_ordinal")? };
            Ok((raised, read_of_placement(row)?))
        })
        .collect()
}
