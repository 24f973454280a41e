//! Rows of alerts: one row per version, the newest named by `current_versions`. The recipients of an alert are
//! read from the deliveries of the kind ALERT.

use std::collections::HashMap;

use uuid::Uuid;

use super::rule_id::RuleId;
use super::severity::Severity;
use super::subject::{DamagedSubject, Subject};
use crate::calendar::Date;
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::placements::open_item_code::OpenItemCode;
use crate::proto::v1::AlertState;
use crate::store::version_key::{KeyFamily, VersionKey};
use crate::store::{EntryIndex, Located, LogPosition, Record, Revision, Row, Snapshot, StoreError, ValueSet};
use crate::{record, select, stored_enums};

stored_enums! { AlertState }

record! {
    /// A version of an alert.
    #[derive(Clone)]
    pub struct AlertRow in "alerts" as a, 38, Committed, PlacementChild {
        /// Id.
        pub id: Uuid,
        /// Version, from 1.
        pub version: Revision,
        /// The rule that raised it.
        pub rule: RuleId,
        /// What it is about.
        pub subject: Subject,
        /// The placement to whose parties it is shown; `None` if the subject belongs to no placement.
        pub placement: Option<Uuid>,
        /// The organisation to which alone it is shown, if the subject belongs to no placement. Each organisation that is
        /// told of such a subject has an alert of its own, so that none is moved by what another may know.
        pub organisation: Option<OrganisationId>,
        /// `AlertFigures`, of facts that the organisation may read; `None` for an alert about a placement.
        pub figures: Option<Vec<u8>>,
        /// The child whose keys seal the resolution; `None` if the subject is about no child.
        pub child: Option<Uuid>,
        /// The open item, if the rule is about one.
        pub item: Option<OpenItemCode>,
        /// Day by which the cause should have been gone.
        pub due_date: Date,
        /// Severity.
        pub severity: Severity,
        /// State.
        pub state: AlertState,
        /// Time at which it was raised, microseconds UTC since 1970.
        pub raised: i64,
        /// When it was last opened. Delays of those who are told later count from then.
        pub opened: Instant,
        /// How often it was raised: 1, and one more for each time it was opened again.
        pub times_raised: u32,
        /// How often it was escalated since it was opened.
        pub level: u32,
        /// Until when somebody must act on it.
        pub act_by: Instant,
        /// When it was escalated last.
        pub escalated: Option<Instant>,
        /// Time at which it ended, microseconds UTC since 1970.
        pub ended: Option<i64>,
        /// The organisation that resolved it.
        pub resolved_by: Option<OrganisationId>,
        /// `StoredResolution`, sealed under that organisation's key of the child, or its own key if there is no child.
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

    /// Returns when it was raised first.
    #[must_use]
    pub fn raised_at(&self) -> Instant {
        Instant::from_micros(self.raised).unwrap_or(Instant::MAX)
    }

    /// Returns the instant at which its cause is evaluated at another. A node whose clock is behind that of the one which
    /// raised it would find that it is not due yet, and close it; its day may be the one before.
    pub(super) fn not_before_opening(&self, now: Instant) -> Instant {
        now.max(self.opened)
    }

    /// Returns when it ended.
    #[must_use]
    pub fn ended_at(&self) -> Option<Instant> {
        self.ended.and_then(|ended| Instant::from_micros(ended).ok())
    }

    /// Returns the version that was opened again at an instant, until somebody must act on it.
    #[must_use]
    pub fn reopened(self, opened: Instant, act_by: Instant) -> Self {
        Self {
            opened,
            version: self.version.next(),
            state: AlertState::Open,
            times_raised: self.times_raised.saturating_add(1),
            level: 0,
            act_by,
            escalated: None,
            ended: None,
            resolved_by: None,
            resolution: None,
            ..self
        }
    }

    /// Returns the version that was escalated at an instant.
    #[must_use]
    pub fn escalated(self, at: Instant, act_by: Instant) -> Self {
        let level = self.level.saturating_add(1);
        Self { level, act_by, escalated: Some(at), ..self.next() }
    }

    /// Returns the organisation on whose behalf the gateway escalates and closes it; `None` if its subject does not exist.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn controller(&self, snapshot: &mut Snapshot) -> Result<Option<OrganisationId>, StoreError> {
        match &self.organisation {
            Some(organisation) => Ok(Some(organisation.clone())),
            None => self.subject.controller(snapshot).await,
        }
    }

    /// Returns the next version, which is as this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self { version: self.version.next(), ..self }
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

/// Reads the newest alert that a rule raised about an item of a subject, for one organisation if the subject belongs to no
/// placement.
///
/// # Errors
/// See [`StoreError`].
pub async fn newest_about(
    snapshot: &mut Snapshot,
    rule: RuleId,
    subject: &Subject,
    (item, organisation): (Option<OpenItemCode>, Option<&OrganisationId>),
) -> Result<Option<AlertRow>, StoreError> {
    let sql = select!(
        AlertRow,
        "WHERE a.subject = $1 AND a.rule = $2 AND COALESCE(a.item, '') = $3 AND COALESCE(a.organisation, '') = $4 \
         ORDER BY a.idx DESC, a.ordinal DESC LIMIT 1"
    );
    let item = item.map_or("", OpenItemCode::as_str);
    let organisation = organisation.map_or("", OrganisationId::as_str);
    let arguments = vec![subject.to_string().into(), rule.as_str().into(), item.into(), organisation.into()];
    snapshot.fetch_one(sql, arguments).await?.as_ref().map(AlertRow::read).transpose()
}

/// Reads the newest alert of each rule about each of some subjects. Of a rule about items it is that of any item.
///
/// # Errors
/// See [`StoreError`].
pub async fn newest_about_each(
    snapshot: &mut Snapshot,
    subjects: impl Iterator<Item = Subject>,
) -> Result<HashMap<(Subject, RuleId), AlertRow>, StoreError> {
    let sql = select!(
        AlertRow,
        "JOIN current_versions v ON v.key = a.version_key AND v.idx = a.idx AND v.ordinal = a.ordinal \
         WHERE a.subject IN SET ORDER BY a.idx, a.ordinal"
    );
    let subjects = ValueSet::Texts(subjects.map(|subject| subject.to_string()).collect());
    let mut newest = HashMap::new();
    for row in snapshot.fetch_in_set(sql, Vec::new(), subjects).await? {
        let alert = AlertRow::read(&row)?;
        newest.insert((alert.subject.clone(), alert.rule), alert);
    }
    Ok(newest)
}

/// Lists the newest versions of a rule's alerts about subjects between two, that are open or ended at an instant or later.
///
/// # Errors
/// See [`StoreError`].
pub async fn list_about(
    snapshot: &mut Snapshot,
    rule: RuleId,
    (from, to): (&str, &str),
    ended_since: Instant,
) -> Result<Vec<AlertRow>, StoreError> {
    let sql = select!(
        AlertRow,
        "JOIN current_versions v ON v.key = a.version_key AND v.idx = a.idx AND v.ordinal = a.ordinal \
         WHERE a.subject BETWEEN $1 AND $2 AND a.rule = $3 AND (a.state = 1 OR a.ended >= $4) \
         ORDER BY a.idx, a.ordinal"
    );
    let arguments = vec![from.into(), to.into(), rule.as_str().into(), ended_since.micros().into()];
    snapshot.select(sql, arguments).await
}

/// Lists the organisations that were told of an alert, in the order of their ids. Some may be no parties of its placement
/// any more.
///
/// # Errors
/// See [`StoreError`].
pub async fn list_recipients(
    snapshot: &mut Snapshot,
    alert: Uuid,
) -> Result<Vec<OrganisationId>, StoreError> {
    let sql =
        "SELECT DISTINCT organisation FROM parties WHERE object = $1 AND kind = 22 ORDER BY organisation";
    let rows = snapshot.fetch(sql, vec![alert.into()]).await?;
    rows.iter().map(|row| row.get("organisation")).collect()
}

/// Lists the organisations of which a person acted on a delivery of an alert, or of its escalation, since it was last
/// opened.
///
/// # Errors
/// See [`StoreError`].
pub async fn list_acted(snapshot: &mut Snapshot, alert: Uuid) -> Result<Vec<OrganisationId>, StoreError> {
    let sql = "SELECT DISTINCT p.organisation FROM parties p JOIN acknowledgements k ON k.organisation = p.organisation \
               AND k.delivery_idx = p.idx AND k.delivery_ordinal = p.ordinal \
               WHERE p.object = $1 AND p.kind IN (22, 35) AND k.stage = 4 AND p.idx >= \
               (SELECT MIN(o.idx) FROM alerts o WHERE o.id = $1 AND o.times_raised = \
               (SELECT MAX(n.times_raised) FROM alerts n WHERE n.id = $1))";
    let rows = snapshot.fetch(sql, vec![alert.into()]).await?;
    rows.iter().map(|row| row.get("organisation")).collect()
}

/// Reads until when somebody must act on the version of an alert that the exchange at a log index wrote.
///
/// # Errors
/// See [`StoreError`].
pub async fn act_by_written_at(
    snapshot: &mut Snapshot,
    index: EntryIndex,
    alert: Uuid,
) -> Result<Option<Instant>, StoreError> {
    let sql = "SELECT a.act_by FROM alerts a WHERE a.idx = $1 AND a.id = $2";
    let row = snapshot.fetch_one(sql, vec![index.into(), alert.into()]).await?;
    row.map(|row| row.get("act_by")).transpose()
}

/// Reads the newest version of an alert of which the organisation was told. An alert of others and one that does not
/// exist end in the same query, so the time of a refusal does not reveal which it was.
///
/// # Errors
/// See [`StoreError`].
pub async fn by_id_for_recipient(
    snapshot: &mut Snapshot,
    alert: Uuid,
    organisation: &OrganisationId,
) -> Result<Option<AlertRow>, StoreError> {
    let sql = select!(
        AlertRow,
        "JOIN current_versions v ON v.idx = a.idx AND v.ordinal = a.ordinal WHERE v.key = $1 AND EXISTS \
         (SELECT 1 FROM parties t WHERE t.organisation = $2 AND t.object = a.id AND t.kind = 22)"
    );
    let arguments = vec![key(alert).as_bytes().into(), organisation.as_str().into()];
    snapshot.fetch_one(sql, arguments).await?.as_ref().map(AlertRow::read).transpose()
}

/// An open alert that cannot be read.
pub struct DamagedAlert {
    /// Its rule; `None` if it cannot be read either.
    pub rule: Option<RuleId>,
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
    DamagedAlert { rule: row.get("rule").ok(), subject: DamagedSubject { subject, error } }
}
