//! The alert scheduler: raises alerts for items that became overdue when the date changed, and closes alerts whose
//! cause is gone. It runs every second. Each write is a system exchange on behalf of the commissioner.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::calendar::Date;
use crate::codes::organisation::OrganisationId;
use crate::exchange::change::row_write;
use crate::exchange::{
    Change, ExchangePipeline, LeafInput, LeafRole, Method, Permit, Reason, Refusal, RequestContext,
    RoleStatus,
};
use crate::placements::alerts::{self, AlertRow};
use crate::placements::open_items::{self, OpenItemRow, RemainingItems};
use crate::placements::{self, Placement};
use crate::proto::v1::{AlertKind, AlertState, DeliveryKind};
use crate::store::proposal::RowWrite;
use crate::store::version_key::VersionKey;
use crate::store::{DamagedRow, FatalError, LogPosition, Row, Snapshot, TaskProgress};

/// Method name in entries in which the gateway checked overdue items, raised alerts, or closed an alert. It is not
/// callable.
pub const ALERT_METHOD: &Method = &Method::of_system_exchange("/apgateway.v1/alert", "an alert");

/// Interval between two ticks.
const TICK_INTERVAL: Duration = Duration::from_secs(1);
/// Rows that one query reads.
const ROWS_PER_STEP: i64 = 500;
/// Most queries of one tick.
const MAX_STEPS: usize = 1_000;
/// Interval before placements that failed are retried.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// The scheduler and the state that it keeps between ticks.
pub struct AlertScheduler {
    pipeline: Arc<ExchangePipeline>,
    /// The day up to which all overdue items have been raised, except those of placements that failed.
    raised_day: Option<Date>,
    /// Size of the log when the open alerts were last checked.
    checked_size: Option<u64>,
    /// Position of the oldest open alert: all alerts that were raised before it have ended.
    oldest_open: LogPosition,
    /// For each open alert, the key versions under which it was found to be open.
    open_versions: HashMap<Uuid, Vec<(VersionKey, i64)>>,
    failures: Failures,
    progress: TaskProgress,
}

impl AlertScheduler {
    /// Creates a scheduler that has checked nothing yet.
    #[must_use]
    pub fn new(pipeline: Arc<ExchangePipeline>) -> Self {
        Self {
            pipeline,
            raised_day: None,
            checked_size: None,
            oldest_open: LogPosition::START,
            open_versions: HashMap::new(),
            failures: Failures::default(),
            progress: TaskProgress::default(),
        }
    }

    /// Sets the progress marker that the supervisor watches.
    #[must_use]
    pub fn with_progress(self, progress: TaskProgress) -> Self {
        Self { progress, ..self }
    }

    /// Runs a tick every second until the node stops. It uses the monotonic clock, so changes of the system time do not
    /// affect the interval.
    ///
    /// # Errors
    /// None: it never returns.
    pub async fn run(mut self) -> Result<(), FatalError> {
        let mut interval = tokio::time::interval(TICK_INTERVAL);
        loop {
            interval.tick().await;
            self.tick().await;
        }
    }

    /// Checks the overdue items and the open alerts once. The next tick retries what failed.
    pub async fn tick(&mut self) {
        self.progress.mark();
        if let Err(refusal) = self.run_checks().await {
            tracing::warn!(
                reason = refusal.reason.name(),
                "the check of overdue items and open alerts failed"
            );
        }
    }

    /// Raises alerts if the date changed, and closes alerts if the log grew. Does both if a retry is due.
    async fn run_checks(&mut self) -> Result<(), Refusal> {
        let today = Date::in_london(self.pipeline.clock.now());
        let retry = self.failures.take_due();
        if self.raised_day != Some(today) || retry {
            self.raised_day = None;
            self.raise_overdue(today).await?;
            self.raised_day = Some(today);
        }
        let size = self.pipeline.committer.head().borrow().size;
        if self.checked_size != Some(size) || retry {
            self.checked_size = None;
            self.close_obsolete().await?;
            self.checked_size = Some(size);
        }
        Ok(())
    }

    /// Raises alerts for overdue items, one placement at a time. A failure of one placement does not affect the others.
    async fn raise_overdue(&mut self, today: Date) -> Result<(), Refusal> {
        let mut after = (String::new(), -1, -1);
        let mut snapshot = Snapshot::new(self.pipeline.log.database());
        for _ in 0..MAX_STEPS {
            let (items, last) = open_items::list_overdue(&mut snapshot, today, &after, ROWS_PER_STEP).await?;
            let Some(last) = last else { return Ok(()) };
            after = last;
            let mut by_placement: BTreeMap<Uuid, Vec<OpenItemRow>> = BTreeMap::new();
            for item in items {
                match item {
                    Ok(item) => by_placement.entry(item.placement).or_default().push(item),
                    Err(DamagedRow { placement, error }) => self.failures.record(placement, error.into())?,
                }
            }
            for (id, items) in by_placement {
                self.progress.mark();
                match self.raise_for_placement(id, &items).await {
                    Ok(()) => self.failures.clear(id),
                    Err(refusal) => self.failures.record(id, refusal)?,
                }
            }
        }
        Ok(())
    }

    /// Raises the alerts of one placement.
    async fn raise_for_placement(&self, id: Uuid, items: &[OpenItemRow]) -> Result<(), Refusal> {
        // Uses a new snapshot, because a failed query may have ended the caller's.
        let mut snapshot = Snapshot::new(self.pipeline.log.database());
        let Some(placement) = placements::by_id(&mut snapshot, id).await? else { return Ok(()) };
        drop(snapshot);
        let decide = |cx, permit| raise_alerts(cx, permit, id, items);
        self.pipeline.submit_system_exchange(ALERT_METHOD, &placement.commissioner, decide).await
    }

    /// Closes the open alerts whose cause is gone. Only alerts whose key versions changed are checked again.
    async fn close_obsolete(&mut self) -> Result<(), Refusal> {
        let mut snapshot = Snapshot::new(self.pipeline.log.database());
        let (mut from, mut oldest) = (self.oldest_open, None);
        let now = load_versions(&mut snapshot, self.open_versions.values().flatten()).await?;
        let mut seen = HashMap::new();
        for _ in 0..MAX_STEPS {
            let open = alerts::list_open(&mut snapshot, from, ROWS_PER_STEP).await?;
            let full = i64::try_from(open.len()).unwrap_or(i64::MAX) == ROWS_PER_STEP;
            for (at, alert) in open {
                oldest.get_or_insert(at);
                from = at.next();
                let alert = match alert {
                    Ok(alert) => alert,
                    Err(DamagedRow { placement, error }) => {
                        self.failures.record(placement, error.into())?;
                        continue;
                    }
                };
                let before = self.open_versions.remove(&alert.id);
                let unchanged =
                    before.filter(|before| before.iter().all(|(key, at)| now.get(key).unwrap_or(&0) == at));
                if let Some(unchanged) = unchanged {
                    seen.insert(alert.id, unchanged);
                    continue;
                }
                self.progress.mark();
                match self.check_open_alert(&alert).await {
                    Ok(versions) => {
                        self.failures.clear(alert.placement);
                        seen.extend(versions.map(|versions| (alert.id, versions)));
                    }
                    Err(refusal) => self.failures.record(alert.placement, refusal)?,
                }
            }
            if !full {
                break;
            }
        }
        self.open_versions = seen;
        self.oldest_open = oldest.unwrap_or(from);
        Ok(())
    }

    /// Closes an alert whose item is no longer open, and returns `None`. Otherwise returns the key versions under which
    /// the alert was found to be open.
    async fn check_open_alert(&self, alert: &AlertRow) -> Result<Option<Vec<(VersionKey, i64)>>, Refusal> {
        let mut snapshot = Snapshot::new(self.pipeline.log.database());
        let Some(placement) = placements::by_id(&mut snapshot, alert.placement).await? else {
            return Ok(None);
        };
        drop(snapshot);
        let mut view = self.pipeline.system_read_context(ALERT_METHOD, &placement.commissioner);
        // A child whose record was erased has no overdue items.
        let Some(current) = open_items::load_remaining(&mut view, &placement).await? else { return Ok(None) };
        if current.items.contains(&alert.item) {
            return Ok(Some(current.versions_read));
        }
        let decide = |cx, permit| close_alert(cx, permit, alert);
        self.pipeline.submit_system_exchange(ALERT_METHOD, &placement.commissioner, decide).await?;
        Ok(None)
    }
}

/// Placements whose alerts could not be raised or closed, and how often each failed.
#[derive(Default)]
struct Failures {
    counts: HashMap<Uuid, u32>,
    retry: Option<Instant>,
}

impl Failures {
    /// Counts a failure of one placement, so that the others can continue. It logs the first, second, fourth, eighth
    /// failure and so on, with the placement's id, which does not identify a child.
    ///
    /// # Errors
    /// The refusal itself when the whole database is unavailable, because that affects every placement.
    fn record(&mut self, placement: Uuid, refusal: Refusal) -> Result<(), Refusal> {
        if refusal.reason == Reason::LogUnavailable {
            return Err(refusal);
        }
        let count = self.counts.entry(placement).or_default();
        *count = count.saturating_add(1);
        if count.is_power_of_two() {
            tracing::error!(
                placement.id = %placement,
                reason = refusal.reason.name(),
                failures = *count,
                "the alerts of a placement could not be raised or closed; other placements are not affected"
            );
        }
        self.retry.get_or_insert_with(|| Instant::now() + RETRY_INTERVAL);
        Ok(())
    }

    /// Clears the failures of a placement that succeeded.
    fn clear(&mut self, placement: Uuid) {
        if let Some(failures) = self.counts.remove(&placement) {
            tracing::info!(placement.id = %placement, failures, "the alerts of a placement are processed again");
        }
    }

    /// Returns whether a retry of failed placements is due, and clears it.
    fn take_due(&mut self) -> bool {
        self.retry.take_if(|due| *due <= Instant::now()).is_some()
    }
}

/// Reads the current version of each key.
async fn load_versions(
    snapshot: &mut Snapshot,
    keys: impl Iterator<Item = &(VersionKey, i64)>,
) -> Result<HashMap<VersionKey, i64>, Refusal> {
    let keys: BTreeSet<&VersionKey> = keys.map(|(key, _)| key).collect();
    let rows =
        snapshot.fetch_by_keys("SELECT h.key, h.version FROM current_versions h WHERE h.key", keys).await?;
    let version = |row: &Row| Ok((VersionKey::from(row.blob(0)?.to_vec()), row.int(1)?));
    rows.iter().map(version).collect()
}

/// Raises an alert for each overdue item that is still open, and marks all items as checked, so that none is raised
/// again.
async fn raise_alerts(
    mut cx: RequestContext,
    permit: Permit,
    placement: Uuid,
    items: &[OpenItemRow],
) -> Result<Option<Change>, Refusal> {
    let Some(placement) = placements::by_id(&mut cx.snapshot, placement).await? else { return Ok(None) };
    let Some(current) = open_items::load_remaining(&mut cx, &placement).await? else { return Ok(None) };
    let live = placement.role_status() == RoleStatus::Live;
    let (mut change, mut rows, mut raised) = (guarded_change(&cx, &permit, &current), Vec::new(), Vec::new());
    for item in items {
        let checked = OpenItemRow { is_checked: true, version: item.version + 1, ..item.clone() };
        if cx.snapshot.current_version(&item.key()).await? != item.version {
            continue;
        }
        change = change.guard(item.key(), item.version);
        rows.push(row_write(&checked));
        if live && current.items.contains(&item.item) {
            let alert = new_alert(&cx, &placement, item);
            rows.push(row_write(&alert));
            raised.push(alert.id);
        }
    }
    if rows.is_empty() {
        return Ok(None);
    }
    Ok(Some(write_and_deliver(change, &placement, &current, DeliveryKind::Alert, &raised, rows)))
}

/// Creates an open alert for an overdue item.
fn new_alert(cx: &RequestContext, placement: &Placement, item: &OpenItemRow) -> AlertRow {
    AlertRow {
        id: cx.random.uuid_v7(cx.now),
        version: 1,
        kind: AlertKind::OpenItemOverdue,
        placement: placement.id,
        child: placement.child,
        item: item.item,
        due: item.due,
        state: AlertState::Open,
        raised: cx.now.micros(),
        ended: None,
        resolved_by: None,
        resolution: None,
    }
}

/// Closes an alert, unless an officer has resolved it meanwhile or its item is open again.
async fn close_alert(
    mut cx: RequestContext,
    permit: Permit,
    alert: &AlertRow,
) -> Result<Option<Change>, Refusal> {
    let newest = alerts::by_id(&mut cx.snapshot, alert.id).await?;
    let Some(newest) = newest.filter(|newest| newest.state == AlertState::Open) else { return Ok(None) };
    let Some(placement) = placements::by_id(&mut cx.snapshot, newest.placement).await? else {
        return Ok(None);
    };
    let Some(current) = open_items::load_remaining(&mut cx, &placement).await? else { return Ok(None) };
    if current.items.contains(&newest.item) {
        return Ok(None);
    }
    let change = guarded_change(&cx, &permit, &current).guard(alerts::key(newest.id), newest.version);
    let (version, ended) = (newest.version + 1, Some(cx.now.micros()));
    let next = AlertRow { version, ended, state: AlertState::Closed, ..newest };
    let rows = vec![row_write(&next)];
    Ok(Some(write_and_deliver(change, &placement, &current, DeliveryKind::AlertEnded, &[next.id], rows)))
}

/// Creates a change that is guarded by the key versions from which the open items were read.
fn guarded_change(cx: &RequestContext, permit: &Permit, current: &RemainingItems) -> Change {
    let seen = current.versions_read.iter();
    seen.fold(cx.change(permit), |change, (key, version)| change.guard(key.clone(), *version))
}

/// Writes the rows, and delivers the alerts to commissioner and provider.
fn write_and_deliver(
    mut change: Change,
    placement: &Placement,
    current: &RemainingItems,
    kind: DeliveryKind,
    alerts: &[Uuid],
    rows: Vec<RowWrite>,
) -> Change {
    let parties: [&OrganisationId; 2] = [&placement.commissioner, &placement.provider];
    for alert in alerts {
        for party in parties {
            change = change.deliver(party, kind, *alert, Some(placement.id));
        }
    }
    let part =
        LeafInput { placement: placement.id, role: LeafRole::Submitted, key: &current.key, reply: b"" };
    change.append_child_rows(&part, rows)
}
