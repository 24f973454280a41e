//! The moment of a placement: when the rules of oversight evaluate it next. A referral sets it to when its agreement nears
//! its end; start, end, plan and passport to the end of the day; what can raise or close an alert at once to now.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use super::delivery_subject::DeliverySubject;
use super::rows::Placement;
use crate::exchange::{Change, RequestContext};
use crate::proto::v1::PlacementState;
use crate::register::agreements::AgreementRow;
use crate::store::moment::{self, MomentRow};
use crate::store::version_key::VersionKey;
use crate::store::{Revision, Snapshot, StoreError};

/// Days before the last day of an agreement from which the placements under it are evaluated: more than the school days of
/// `NO_AGREEMENT`, of which there are at most 60, ever take.
const DAYS_NEAR_END: i32 = 180;

/// Has a new placement evaluated when its agreement nears its end, because no event tells that an agreement runs out.
pub(super) fn evaluate_near_end(
    cx: &RequestContext,
    change: Change,
    placement: Uuid,
    agreement: &AgreementRow,
) -> Change {
    let day = agreement.to_date.plus_days(-DAYS_NEAR_END).max(cx.today);
    let (guard, moment) = MomentRow::first(subject(placement), Some(day.end_of_day()));
    change.guard(guard.key, guard.version).append(&moment)
}

/// Has the placement evaluated when the day ends, unless it is evaluated before. A moment that is due before keeps its
/// instant, but gets a new version: another node may be evaluating it at this time, from what was known before this change.
pub(super) async fn evaluate_today(
    cx: &mut RequestContext,
    change: Change,
    placement: Uuid,
) -> Result<Change, StoreError> {
    let (subject, due) = (subject(placement), cx.today.end_of_day());
    let present: Option<MomentRow> = cx.snapshot.newest(&moment::key(&subject)).await?;
    let (guard, moment) = match present {
        Some(present) => present.followed_by(Some(present.due.map_or(due, |before| before.min(due)))),
        None => MomentRow::first(subject, Some(due)),
    };
    Ok(change.guard(guard.key, guard.version).append(&moment))
}

/// Has a placement evaluated when the day ends, if it is active: before its start no rule alerts what its parties share.
///
/// # Errors
/// See [`StoreError`].
pub async fn evaluate_active_today(
    cx: &mut RequestContext,
    change: Change,
    placement: &Placement,
) -> Result<Change, StoreError> {
    if placement.state == PlacementState::Active {
        evaluate_today(cx, change, placement.id).await
    } else {
        Ok(change)
    }
}

/// Reads the newest moments of placements; one that has none is left out.
///
/// # Errors
/// See [`StoreError`]; [`StoreError::Corrupt`] for a moment that is found by another's key.
pub async fn load(
    snapshot: &mut Snapshot,
    placements: &[Uuid],
) -> Result<BTreeMap<Uuid, MomentRow>, StoreError> {
    if placements.is_empty() {
        return Ok(BTreeMap::new());
    }
    let subjects: HashMap<String, Uuid> = placements.iter().map(|id| (subject(*id), *id)).collect();
    let keys: Vec<VersionKey> = subjects.keys().map(|subject| moment::key(subject)).collect();
    let rows: Vec<MomentRow> = snapshot.newest_by_keys(&keys).await?;
    let by_id = |row: MomentRow| {
        let id = subjects.get(&row.subject).ok_or_else(|| StoreError::corrupt("moments", "subject"))?;
        Ok((*id, row))
    };
    rows.into_iter().map(by_id).collect()
}

/// Has placements evaluated now. A moment that is due already keeps its instant, because it was missed; it gets a new
/// version all the same, so that an evaluation that has not seen this change is decided again.
///
/// # Errors
/// See [`StoreError`].
pub async fn evaluate_now(
    cx: &mut RequestContext,
    mut change: Change,
    placements: &[Uuid],
) -> Result<Change, StoreError> {
    let present = load(&mut cx.snapshot, placements).await?;
    for placement in placements {
        let (guard, moment) = match present.get(placement) {
            Some(present) => {
                present.followed_by(Some(present.due.map_or(cx.now, |missed| missed.min(cx.now))))
            }
            None => MomentRow::first(subject(*placement), Some(cx.now)),
        };
        change = change.guard(guard.key, guard.version).append(&moment);
    }
    Ok(change)
}

/// Has those of some placements evaluated now that have a moment. One that a rule covers has one while it is active; a mark
/// of any other, for example of one that started before the rules, costs no evaluation.
///
/// # Errors
/// See [`StoreError`].
pub async fn evaluate_covered_now(
    cx: &mut RequestContext,
    mut change: Change,
    placements: &[Uuid],
) -> Result<Change, StoreError> {
    let present = load(&mut cx.snapshot, placements).await?;
    for (moment, due) in present.values().filter_map(|moment| Some((moment, moment.due?))) {
        let (guard, moment) = moment.followed_by(Some(due.min(cx.now)));
        change = change.guard(guard.key, guard.version).append(&moment);
    }
    Ok(change)
}

/// Has deliveries about a placement evaluated when the day ends: the rule about deliveries then sets the moment at which
/// each must have been collected. One that replaces another is evaluated now, because it ends an alert about that one.
///
/// # Errors
/// See [`StoreError`].
pub async fn evaluate_deliveries(
    cx: &mut RequestContext,
    mut change: Change,
    deliveries: impl IntoIterator<Item = DeliverySubject>,
) -> Result<Change, StoreError> {
    for delivery in deliveries {
        let subject = delivery.to_string();
        let is_first = cx.snapshot.current_version(&moment::key(&subject)).await? == Revision::ABSENT;
        let due = if is_first { cx.today.end_of_day() } else { cx.now };
        let (guard, moment) = MomentRow::schedule(&mut cx.snapshot, subject, Some(due)).await?;
        change = change.guard(guard.key, guard.version).append(&moment);
    }
    Ok(change)
}

/// Returns the subject of a placement's moments.
fn subject(placement: Uuid) -> String {
    format!("placement/{}", placement.hyphenated())
}
