//! The watchman: once a second he looks whether a day has passed, and raises what is overdue by it; and whether the
//! cause of an open alert is gone, and closes it. What he does is an exchange, made for the commissioner.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::calendar::Date;
use crate::codes::organisation::OrganisationId;
use crate::exchange::change::row;
use crate::exchange::{Change, ChildPart, Cx, Door, LeafRole, Permit, Reason, Refusal, Standing};
use crate::placements::alerts::{self, AlertRow};
use crate::placements::open_items::{self, OpenItemRow, Still};
use crate::placements::{self, Placement};
use crate::proto::v1::{AlertKind, AlertState, DeliveryKind};
use crate::store::key::Key;
use crate::store::proposal::RowWrite;
use crate::store::{DamagedRow, Fatal, LogPosition, Progress, Row, Snapshot};

/// What an entry names as its method where the gateway raised an alert, or looked and found nothing overdue, or closed
/// one. Nobody calls it.
pub const ALERT: &str = "/apgateway.v1/alert";

/// How often he looks.
const TICK: Duration = Duration::from_secs(1);
/// Rows that are read in one step.
const STEP: i64 = 500;
/// Steps of one look; what is left is looked at in the next.
const STEPS: usize = 1_000;
/// Rest before placements that failed are tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// Who looks, and what he has seen.
pub struct Watchman {
    door: Arc<Door>,
    /// The day up to which everything overdue has been raised, but for placements that failed.
    day: Option<Date>,
    /// Size of the log when he last looked at the open alerts.
    size: Option<u64>,
    /// Alerts raised before this position of the log have all ended.
    oldest_open: LogPosition,
    /// The versions from which each open alert was seen to be open.
    seen: HashMap<Uuid, Vec<(Key, i64)>>,
    failures: Failures,
    progress: Progress,
}

impl Watchman {
    /// One who has seen nothing yet.
    #[must_use]
    pub fn new(door: Arc<Door>) -> Self {
        Self {
            door,
            day: None,
            size: None,
            oldest_open: LogPosition::START,
            seen: HashMap::new(),
            failures: Failures::default(),
            progress: Progress::default(),
        }
    }

    /// Marks progress there, for the supervisor.
    #[must_use]
    pub fn marking(self, progress: Progress) -> Self {
        Self { progress, ..self }
    }

    /// Looks once a second, whatever moves the clock, until the node ends.
    ///
    /// # Errors
    /// None: it never ends by itself.
    pub async fn run(mut self) -> Result<(), Fatal> {
        let mut tick = tokio::time::interval(TICK);
        loop {
            tick.tick().await;
            self.look().await;
        }
    }

    /// Looks once. What could not be done is tried again in the next look.
    pub async fn look(&mut self) {
        self.progress.mark();
        if let Err(refusal) = self.look_at_all().await {
            tracing::warn!(reason = refusal.reason.name(), "what is overdue could not be looked at");
        }
    }

    async fn look_at_all(&mut self) -> Result<(), Refusal> {
        let today = Date::in_london(self.door.clock.now());
        let retry = self.failures.take_due();
        if self.day != Some(today) || retry {
            self.day = None;
            self.raise(today).await?;
            self.day = Some(today);
        }
        let size = self.door.committer.head().borrow().size;
        if self.size != Some(size) || retry {
            self.size = None;
            self.close().await?;
            self.size = Some(size);
        }
        Ok(())
    }

    /// Raises what is overdue, a placement at a time. A placement that fails keeps its failure to itself.
    async fn raise(&mut self, today: Date) -> Result<(), Refusal> {
        let mut after = (String::new(), -1, -1);
        let mut snapshot = Snapshot::of(self.door.log.database());
        for _ in 0..STEPS {
            let (items, last) = open_items::overdue(&mut snapshot, today, &after, STEP).await?;
            let Some(last) = last else { return Ok(()) };
            after = last;
            let mut by_placement: BTreeMap<Uuid, Vec<OpenItemRow>> = BTreeMap::new();
            for item in items {
                match item {
                    Ok(item) => by_placement.entry(item.placement).or_default().push(item),
                    Err(DamagedRow { placement, error }) => self.failures.add(placement, error.into())?,
                }
            }
            for (id, items) in by_placement {
                self.progress.mark();
                match self.raise_of(id, &items).await {
                    Ok(()) => self.failures.clear(id),
                    Err(refusal) => self.failures.add(id, refusal)?,
                }
            }
        }
        Ok(())
    }

    async fn raise_of(&self, id: Uuid, items: &[OpenItemRow]) -> Result<(), Refusal> {
        // A snapshot of its own: a query that failed may have ended the one before.
        let mut snapshot = Snapshot::of(self.door.log.database());
        let Some(placement) = placements::by_id(&mut snapshot, id).await? else { return Ok(()) };
        drop(snapshot);
        let raising = |cx, permit| raise(cx, permit, id, items);
        self.door.by_itself(ALERT, &placement.commissioner, raising).await
    }

    /// Closes the open alerts whose cause is gone. Only what has changed since is looked at again.
    async fn close(&mut self) -> Result<(), Refusal> {
        let mut snapshot = Snapshot::of(self.door.log.database());
        let (mut from, mut oldest) = (self.oldest_open, None);
        let now = versions(&mut snapshot, self.seen.values().flatten()).await?;
        let mut seen = HashMap::new();
        for _ in 0..STEPS {
            let open = alerts::open(&mut snapshot, from, STEP).await?;
            let full = i64::try_from(open.len()).unwrap_or(i64::MAX) == STEP;
            for (at, alert) in open {
                oldest.get_or_insert(at);
                from = at.next();
                let alert = match alert {
                    Ok(alert) => alert,
                    Err(DamagedRow { placement, error }) => {
                        self.failures.add(placement, error.into())?;
                        continue;
                    }
                };
                let before = self.seen.remove(&alert.alert);
                let same =
                    before.filter(|before| before.iter().all(|(key, at)| now.get(key).unwrap_or(&0) == at));
                if let Some(same) = same {
                    seen.insert(alert.alert, same);
                    continue;
                }
                self.progress.mark();
                match self.still_open(&alert).await {
                    Ok(still) => {
                        self.failures.clear(alert.placement);
                        seen.extend(still.map(|still| (alert.alert, still)));
                    }
                    Err(refusal) => self.failures.add(alert.placement, refusal)?,
                }
            }
            if !full {
                break;
            }
        }
        self.seen = seen;
        self.oldest_open = oldest.unwrap_or(from);
        Ok(())
    }

    /// Closes an alert whose item was made good; otherwise the versions that say that it is open.
    async fn still_open(&self, alert: &AlertRow) -> Result<Option<Vec<(Key, i64)>>, Refusal> {
        let mut snapshot = Snapshot::of(self.door.log.database());
        let Some(placement) = placements::by_id(&mut snapshot, alert.placement).await? else {
            return Ok(None);
        };
        drop(snapshot);
        let mut view = self.door.own_view(&placement.commissioner);
        // Nothing of a child whose record was erased is overdue any more.
        let Some(still) = open_items::still_open(&mut view, &placement).await? else { return Ok(None) };
        if still.open.contains(&alert.item) {
            return Ok(Some(still.seen));
        }
        let closing = |cx, permit| close(cx, permit, alert);
        self.door.by_itself(ALERT, &placement.commissioner, closing).await?;
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
    /// Counts a failure of one placement and lets the others go on. It is logged the first, second, fourth, eighth
    /// time and so on, with the placement's id, which names no child.
    ///
    /// # Errors
    /// A refusal that is about the database as a whole, and so about every placement.
    fn add(&mut self, placement: Uuid, refusal: Refusal) -> Result<(), Refusal> {
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
                "the alerts of a placement could not be raised or closed; the others go on"
            );
        }
        self.retry.get_or_insert_with(|| Instant::now() + RETRY_INTERVAL);
        Ok(())
    }

    /// Forgets the failures of a placement that succeeded.
    fn clear(&mut self, placement: Uuid) {
        if let Some(failures) = self.counts.remove(&placement) {
            tracing::info!(placement.id = %placement, failures, "the alerts of a placement are looked at again");
        }
    }

    /// Returns whether placements that failed are to be tried again now.
    fn take_due(&mut self) -> bool {
        self.retry.take_if(|due| *due <= Instant::now()).is_some()
    }
}

async fn versions(
    snapshot: &mut Snapshot,
    keys: impl Iterator<Item = &(Key, i64)>,
) -> Result<HashMap<Key, i64>, Refusal> {
    let keys: BTreeSet<&Key> = keys.map(|(key, _)| key).collect();
    let rows = snapshot.fetch_among("SELECT h.key, h.version FROM heads h WHERE h.key", keys).await?;
    let version = |row: &Row| Ok((Key::from(row.blob(0)?.to_vec()), row.int(1)?));
    rows.iter().map(version).collect()
}

/// Looks at the items of a placement whose day has passed: each that is still open is an alert, raised once.
async fn raise(
    mut cx: Cx,
    permit: Permit,
    placement: Uuid,
    items: &[OpenItemRow],
) -> Result<Option<Change>, Refusal> {
    let Some(placement) = placements::by_id(&mut cx.snapshot, placement).await? else { return Ok(None) };
    let Some(still) = open_items::still_open(&mut cx, &placement).await? else { return Ok(None) };
    let live = placement.standing() == Standing::Live;
    let (mut change, mut rows, mut raised) = (rest_on(&cx, &permit, &still), Vec::new(), Vec::new());
    for item in items {
        let looked_at = OpenItemRow { looked_at: true, version: item.version + 1, ..item.clone() };
        if cx.snapshot.version(&item.key()).await? != item.version {
            continue;
        }
        change = change.guard(item.key(), item.version);
        rows.push(row(&looked_at));
        if live && still.open.contains(&item.item) {
            let alert = alert(&cx, &placement, item);
            rows.push(row(&alert));
            raised.push(alert.alert);
        }
    }
    if rows.is_empty() {
        return Ok(None);
    }
    Ok(Some(tell(change, &placement, &still, DeliveryKind::Alert, &raised, rows)))
}

fn alert(cx: &Cx, placement: &Placement, item: &OpenItemRow) -> AlertRow {
    AlertRow {
        alert: cx.random.uuid_v7(cx.now),
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

/// Closes an alert, unless somebody has resolved it meanwhile or its item is open again.
async fn close(mut cx: Cx, permit: Permit, alert: &AlertRow) -> Result<Option<Change>, Refusal> {
    let newest = alerts::by_id(&mut cx.snapshot, alert.alert).await?;
    let Some(newest) = newest.filter(|newest| newest.state == AlertState::Open) else { return Ok(None) };
    let Some(placement) = placements::by_id(&mut cx.snapshot, newest.placement).await? else {
        return Ok(None);
    };
    let Some(still) = open_items::still_open(&mut cx, &placement).await? else { return Ok(None) };
    if still.open.contains(&newest.item) {
        return Ok(None);
    }
    let change = rest_on(&cx, &permit, &still).guard(alerts::key(newest.alert), newest.version);
    let (version, ended) = (newest.version + 1, Some(cx.now.micros()));
    let next = AlertRow { version, ended, state: AlertState::Closed, ..newest };
    let rows = vec![row(&next)];
    Ok(Some(tell(change, &placement, &still, DeliveryKind::AlertEnded, &[next.alert], rows)))
}

/// A change that rests on what was seen of the items.
fn rest_on(cx: &Cx, permit: &Permit, still: &Still) -> Change {
    let seen = still.seen.iter();
    seen.fold(cx.change(permit), |change, (key, version)| change.guard(key.clone(), *version))
}

/// Writes the rows, and delivers the alerts to commissioner and provider.
fn tell(
    mut change: Change,
    placement: &Placement,
    still: &Still,
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
    let part = ChildPart { placement: placement.id, role: LeafRole::Submitted, key: &still.key, reply: b"" };
    change.child_rows(&part, rows)
}
