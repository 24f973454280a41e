//! The sessions for which a provider owes a mark on a day, with those that are missing: what oversight knows of its
//! returns. A session without mark, closure or notice is missing. That makes no statement about a child.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use super::arrangement::Arrangement;
use super::cut_off::CutOffTimes;
use super::expected_returns::{ExpectedSession, expected_sessions, find_absence};
use super::register_statements::{self, StatementKind};
use super::rows::{self, MarkRow};
use super::rules::SessionSlot;
use crate::calendar::{Date, Period};
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{CallerRole, Refusal, RequestContext};
use crate::placements::{self, Placement, children, plan, plan_history};
use crate::proto::v1::Plan;
use crate::register::terms;
use crate::store::version_key::VersionKey;
use crate::store::{Revision, StoreError};

/// A provider's sessions of a day.
pub struct ProviderDay {
    /// The placements that have sessions on the day, and others.
    pub placements: HashMap<Uuid, Placement>,
    /// The sessions for which a mark is expected, also on a closed day.
    pub sessions: Vec<DueSession>,
    /// Whether a placement that was accepted is, or will be, with the provider after the day.
    pub goes_on: bool,
    /// The key versions by which a missing mark, or another change of what is expected, is noticed.
    pub versions_read: Vec<(VersionKey, Revision)>,
}

/// A session for which a mark is expected.
#[derive(Clone, Copy, Debug)]
pub struct DueSession {
    /// The placement.
    pub placement: Uuid,
    /// When its mark is due.
    pub cut_off: Instant,
    /// Whether there is no mark, although neither a closure nor a notice explains that.
    pub is_missing: bool,
}

/// Loads a provider's sessions of a day, of the placements that `covers` accepts. A placement whose
/// child's record was erased has none.
///
/// # Errors
/// [`Reason::Failed`](crate::exchange::Reason::Failed) when what is stored does not open, or the row of a placement is
/// damaged: without it a missing mark would look like one that has come.
pub async fn load_provider_day(
    cx: &mut RequestContext,
    provider: &OrganisationId,
    (day, times): (Date, &CutOffTimes),
    covers: &(dyn Fn(&Placement) -> bool + Sync),
) -> Result<ProviderDay, Refusal> {
    let facts = VersionKey::facts(provider.as_str());
    let version = cx.snapshot.current_version(&facts).await?;
    let mut versions_read = vec![(facts, version)];
    let held = |placement: &Placement| -> bool {
        placement.start_date.is_some_and(|start| start <= day)
            && placement.end_date.is_none_or(|end| day <= end)
    };
    let listed = placements::list_lasting_by_provider(&mut cx.snapshot, provider, day).await?;
    let listed: Vec<Placement> =
        listed.into_iter().collect::<Result<_, _>>().map_err(|damaged| damaged.error)?;
    let covered: Vec<Placement> = listed.into_iter().filter(covers).collect();
    let goes_on = covered.iter().any(|placement| placement.end_date.is_none_or(|end| day < end));
    let placements: Vec<Placement> = covered.into_iter().filter(held).collect();
    let plans = load_plans(cx, &placements, day).await?;
    let calendar = terms::load_calendar(&mut cx.snapshot, provider).await?;
    let mut due = Vec::new();
    for placement in &placements {
        let (Some(plan), Some(days)) = (plans.get(&placement.id), Period::new(day, day)) else { continue };
        let sessions = expected_sessions(&Arrangement::new(placement, Some(plan)), &calendar, (days, times));
        due.extend(sessions.into_iter().map(|session| (placement, session)));
    }
    let missing = find_missing(cx, &due, &mut versions_read).await?;
    let sessions = due.iter().zip(missing).map(|((placement, session), is_missing)| DueSession {
        placement: placement.id,
        cut_off: session.deadline,
        is_missing,
    });
    let sessions = sessions.collect();
    let placements = placements.into_iter().map(|placement| (placement.id, placement)).collect();
    Ok(ProviderDay { placements, sessions, goes_on, versions_read })
}

/// Returns whether the provider of a placement may send marks of its days.
#[must_use]
pub fn may_submit(placement: &Placement) -> bool {
    super::SUBMIT_ATTENDANCE.verdict(CallerRole::Provider, placement.role_status(), false).is_ok()
}

/// Loads the plan that is in force for each placement on a day: the newest that was put by then. The first version is in
/// force before too.
async fn load_plans(
    cx: &mut RequestContext,
    placements: &[Placement],
    day: Date,
) -> Result<HashMap<Uuid, Plan>, Refusal> {
    let mut by_commissioner = BTreeMap::<&OrganisationId, Vec<&Placement>>::new();
    for placement in placements {
        by_commissioner.entry(&placement.commissioner).or_default().push(placement);
    }
    let mut plans = HashMap::new();
    for (commissioner, placements) in by_commissioner {
        let children = placements.iter().map(|placement| placement.child);
        let keys = children::load_keys(cx, commissioner, children).await?;
        let readable =
            placements.iter().filter_map(|placement| Some((placement.id, keys.get(&placement.child)?)));
        let mut versions = plan_history::load_newest_versions(&mut cx.snapshot, readable).await?;
        for placement in placements {
            let versions = versions.remove(&placement.id).unwrap_or_default();
            let Some(oldest) = versions.first().map(|first| first.version) else { continue };
            let newest =
                versions.into_iter().rev().find(|one| one.put <= day || one.version == Revision::FIRST);
            let in_force = match newest {
                Some(newest) => Some(newest.plan),
                None if oldest == Revision::FIRST => None,
                None => load_plan_of_day(cx, placement, day).await?,
            };
            plans.extend(in_force.map(|plan| (placement.id, plan)));
        }
    }
    Ok(plans)
}

async fn load_plan_of_day(
    cx: &mut RequestContext,
    placement: &Placement,
    day: Date,
) -> Result<Option<Plan>, Refusal> {
    let Some(days) = Period::new(day, day) else { return Ok(None) };
    let in_force = plan::list_in_force(cx, placement, days).await?;
    Ok(in_force.into_iter().next_back().map(|(_, plan)| plan))
}

/// Returns for each session whether its mark is missing, and adds the versions of the marks that are.
async fn find_missing(
    cx: &mut RequestContext,
    due: &[(&Placement, ExpectedSession)],
    versions_read: &mut Vec<(VersionKey, Revision)>,
) -> Result<Vec<bool>, Refusal> {
    let key = |placement: &Placement, date: Date, slot: SessionSlot| {
        rows::mark_key(date, &placement.provider, placement.id, slot)
    };
    let keys = due.iter().filter_map(|(placement, due)| Some(key(placement, due.date, due.slot?)));
    let keys: Vec<VersionKey> = keys.collect();
    let marks: Vec<MarkRow> = cx.snapshot.newest_by_keys(&keys).await?;
    let marks: HashMap<VersionKey, MarkRow> = marks.into_iter().map(|mark| (mark.key(), mark)).collect();
    let mut missing = Vec::with_capacity(due.len());
    for (placement, due) in due {
        let is_marked = if let Some(slot) = due.slot {
            let key = key(placement, due.date, slot);
            let mark = marks.get(&key);
            let is_marked = mark.is_some_and(|mark| !mark.is_withdrawn());
            if !is_marked {
                versions_read.push((key, mark.map_or(Revision::ABSENT, |mark| mark.revision)));
            }
            is_marked
        } else {
            let (is_marked, versions) = find_marks_of_day(cx, placement, due.date).await?;
            if !is_marked {
                versions_read.extend(versions);
            }
            is_marked
        };
        let is_explained = is_marked || due.closed || is_absence_announced(cx, placement, due).await?;
        missing.push(!is_explained);
    }
    Ok(missing)
}

/// Returns whether there is a mark of any session of a day, with the versions of the sessions of which a mark would be one:
/// morning, afternoon, and those that had a mark which was withdrawn. A mark of a timed session has the day evaluated
/// instead ([`super::submit`]), because it may begin at any time.
async fn find_marks_of_day(
    cx: &mut RequestContext,
    placement: &Placement,
    day: Date,
) -> Result<(bool, BTreeMap<VersionKey, Revision>), StoreError> {
    let key = |slot| rows::mark_key(day, &placement.provider, placement.id, slot);
    let halves = [SessionSlot::AM, SessionSlot::PM].map(|slot| (key(slot), Revision::ABSENT));
    let mut versions = BTreeMap::from(halves);
    let mut is_marked = false;
    for mark in rows::list_current_of_day(&mut cx.snapshot, placement, day).await? {
        is_marked |= !mark.is_withdrawn();
        versions.insert(mark.key(), mark.revision);
    }
    Ok((is_marked, versions))
}

/// Returns whether commissioner or school announced that the child is not expected.
async fn is_absence_announced(
    cx: &mut RequestContext,
    placement: &Placement,
    due: &ExpectedSession,
) -> Result<bool, StoreError> {
    let Some(day) = Period::new(due.date, due.date) else { return Ok(false) };
    let (kind, snapshot) = (StatementKind::NotExpected, &mut cx.snapshot);
    let absences = register_statements::list_for_placement(snapshot, kind, placement.id, day).await?;
    Ok(find_absence(&absences, due).is_some())
}
