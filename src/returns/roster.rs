//! A provider's roster: its placements with all that a register is decided from. A roster is read once and cached
//! until the provider's `facts` version changes. Each decision from a roster guards that version, so a change in the
//! meantime is found at commit, and the register is decided again.
//!
//! Invariant: destroying a child's key bumps the sender's `facts` version; otherwise cached rosters would keep the key.
//!
//! A damaged placement is left out of the roster. It does not block marks that are certainly about another placement.
//! A roster that lacks a damaged placement is not cached, because a repair does not change the `facts` version.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::arrangement::Arrangement;
use super::rules::{self, ChildIdentifier, ParsedMark};
use crate::calendar::{Date, SchoolCalendar};
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Reason, Refusal, RequestContext, SharingBasis};
use crate::placements::{self, Placement};
use crate::proto::v1::{DataClass, PlacementState};
use crate::register::{agreements, terms};
use crate::seal::ChildKey;
use crate::store::proposal::Guard;
use crate::store::version_key::VersionKey;

/// Maximum number of cached rosters. When it is reached, the cache is emptied.
const MAX_CACHED_ROSTERS: usize = 10_000;

/// A placement with the child's key, the agreement and the arrangement.
pub struct RosterEntry {
    pub placement: Placement,
    pub key: ChildKey,
    /// The agreement under which the provider sends, also after it lapsed.
    pub basis: Option<SharingBasis>,
    pub arrangement: Arrangement,
}

impl RosterEntry {
    /// Returns whether the agreement is in force.
    pub fn is_agreed(&self) -> bool {
        self.basis.as_ref().is_some_and(|basis| !basis.lapsed)
    }

    /// Returns whether the placement is active. Only then do rules of oversight find anything in its marks.
    pub fn is_active(&self) -> bool {
        self.placement.state == PlacementState::Active
    }
}

/// A provider's placements that are or were active, as read on a day.
pub struct ProviderRoster {
    /// The guard on the version of the provider's facts, on which the roster is based.
    pub facts_guard: Guard,
    pub calendar: SchoolCalendar,
    /// Marks of earlier days are late.
    pub late_before: Date,
    day: Date,
    placements: Vec<Placement>,
    /// Ids of placements that are left out because they are damaged; the nil UUID if the id is damaged too.
    damaged: Vec<Uuid>,
    by_id: HashMap<Uuid, Vec<usize>>,
    by_reference: HashMap<String, Vec<usize>>,
    by_upn: HashMap<Vec<u8>, Vec<usize>>,
    entries: Mutex<HashMap<Uuid, Arc<RosterEntry>>>,
}

/// The placements that a mark's identifier matches.
pub struct Candidates<'a> {
    /// The first placement that contains the mark's day, or else the first match.
    pub placement: &'a Placement,
    /// Further placements that contain the day; nearly always empty.
    pub others: Vec<&'a Placement>,
}

/// A cache of rosters by provider. Clones share it.
#[derive(Clone, Default)]
pub struct RosterCache(Arc<Mutex<HashMap<OrganisationId, Arc<ProviderRoster>>>>);

impl RosterCache {
    /// Returns the caller's roster. It comes from the cache if the exchange permits cached state or if the `facts`
    /// version is unchanged; otherwise it is read.
    pub async fn load(&self, cx: &mut RequestContext) -> Result<Arc<ProviderRoster>, Refusal> {
        let cached = lock(&self.0).get(&cx.caller.organisation).cloned();
        let cached = cached.filter(|roster| roster.day == cx.today);
        if let Some(roster) = cached.as_ref().filter(|_| cx.use_cache) {
            return Ok(Arc::clone(roster));
        }
        let key = VersionKey::facts(cx.caller.organisation.as_str());
        let facts = Guard { version: cx.snapshot.current_version(&key).await?, key };
        if let Some(roster) = cached.filter(|roster| roster.facts_guard == facts) {
            return Ok(roster);
        }
        let roster = Arc::new(ProviderRoster::load(cx, facts).await?);
        if !roster.damaged.is_empty() {
            return Ok(roster);
        }
        let mut rosters = lock(&self.0);
        if rosters.len() >= MAX_CACHED_ROSTERS {
            rosters.clear();
        }
        rosters.insert(cx.caller.organisation.clone(), Arc::clone(&roster));
        Ok(roster)
    }
}

impl ProviderRoster {
    /// Reads the caller's roster from the snapshot.
    async fn load(cx: &mut RequestContext, facts: Guard) -> Result<Self, Refusal> {
        let provider = cx.caller.organisation.clone();
        let (mut placements, mut damaged) = (Vec::new(), Vec::new());
        for row in placements::list_started_by_provider(&mut cx.snapshot, &provider).await? {
            match row {
                Ok(placement) => placements.push(placement),
                Err(row) => {
                    tracing::error!(placement.id = %row.placement, error = %row.error, "a placement is damaged");
                    damaged.push(row.placement);
                }
            }
        }
        let calendar = terms::load_calendar(&mut cx.snapshot, &provider).await?;
        let (mut by_id, mut by_reference, mut by_upn) =
            (HashMap::<_, Vec<_>>::new(), HashMap::<_, Vec<_>>::new(), HashMap::<_, Vec<_>>::new());
        for (at, placement) in placements.iter().enumerate() {
            by_id.entry(placement.id).or_default().push(at);
            if let Some(reference) = &placement.provider_reference {
                by_reference.entry(reference.clone()).or_default().push(at);
            }
            if let Some(index) = &placement.upn_index {
                by_upn.entry(index.clone()).or_default().push(at);
            }
        }
        let (on, known) = (cx.today, Mutex::default());
        let late_before = calendar.earliest_within(on, rules::LATE_AFTER_SCHOOL_DAYS);
        Ok(Self {
            facts_guard: facts,
            calendar,
            late_before,
            day: on,
            placements,
            damaged,
            by_id,
            by_reference,
            by_upn,
            entries: known,
        })
    }

    /// Finds the placements that a mark names. A UPN is searched under every key of the key ring, because a
    /// placement's blind index was made with the key that was active at the time.
    pub fn find_candidates(&self, cx: &RequestContext, mark: &ParsedMark) -> Option<Candidates<'_>> {
        let (named, indexes) = match &mark.child {
            ChildIdentifier::Placement(id) => (self.by_id.get(id), Vec::new()),
            ChildIdentifier::Reference(reference) => (self.by_reference.get(reference), Vec::new()),
            ChildIdentifier::Upn(upn) => {
                (None, cx.vault.ring().blind_indexes(cx.caller.organisation.as_str(), "upn", upn))
            }
        };
        let by_upn = indexes.iter().filter_map(|index| self.by_upn.get(&index[..]));
        let candidates = named.into_iter().chain(by_upn).flatten().filter_map(|at| self.placements.get(*at));
        let contains_day = |placement: &&Placement| {
            rules::check_within_placement(mark, placement.start_date, placement.end_date).is_ok()
        };
        let (placement, others) = first_choice(candidates, contains_day)?;
        Some(Candidates { placement, others })
    }

    /// Refuses a mark that could be about a damaged placement. While the roster lacks one, a mark is accepted only if
    /// it names its placement by id or reference, which are unique, and every other identifier matches that placement.
    ///
    /// # Errors
    /// [`Reason::Failed`] if the mark could be about a damaged placement.
    pub fn refuse_if_maybe_damaged(
        &self,
        cx: &RequestContext,
        mark: &ParsedMark,
        found: Option<&Candidates>,
    ) -> Result<(), Refusal> {
        if self.damaged.is_empty() {
            return Ok(());
        }
        let is_own = |placement: &Placement| {
            let reference = mark.check_reference.as_ref();
            !matches!(mark.child, ChildIdentifier::Upn(_))
                && reference.is_none_or(|sent| placement.provider_reference.as_ref() == Some(sent))
                && mark
                    .check_upn
                    .as_ref()
                    .is_none_or(|upn| self.placements_with_upn(cx, upn).contains(&placement.id))
        };
        if found.is_some_and(|found| found.others.is_empty() && is_own(found.placement)) {
            return Ok(());
        }
        Err(Reason::Failed.into())
    }

    /// Returns the field of a second identifier that does not name the child of this placement.
    pub fn contradicting_identifier(
        &self,
        cx: &RequestContext,
        mark: &ParsedMark,
        placement: &Placement,
    ) -> Option<&'static str> {
        if mark.check_reference.is_none() && mark.check_upn.is_none() {
            return None;
        }
        let upn = match (&mark.check_upn, &mark.child) {
            (Some(upn), _) | (None, ChildIdentifier::Upn(upn)) => Some(upn),
            _ => None,
        };
        let with_upn: Vec<Uuid> = upn.map(|upn| self.placements_with_upn(cx, upn)).unwrap_or_default();
        let same_child = |other: &Placement| {
            other.id == placement.id
                || other.child == placement.child
                || (with_upn.contains(&other.id) && with_upn.contains(&placement.id))
                || (other.upn_index.is_some() && other.upn_index == placement.upn_index)
        };
        let is_same = |at: &usize| self.placements.get(*at).is_some_and(same_child);
        // If the placement has no UPN or reference, only an identifier of another child contradicts it.
        if let Some(reference) = &mark.check_reference {
            let named = self.by_reference.get(reference);
            if named.map_or(placement.provider_reference.is_some(), |named| !named.iter().any(is_same)) {
                return Some("check_provider_reference");
            }
        }
        mark.check_upn.as_ref()?;
        let named = with_upn.iter().filter_map(|id| self.by_id.get(id)).flatten();
        let differs =
            if with_upn.is_empty() { placement.upn_index.is_some() } else { !named.into_iter().any(is_same) };
        differs.then_some("check_upn")
    }

    /// Returns the ids of the placements with a UPN, under every key of the key ring.
    fn placements_with_upn(&self, cx: &RequestContext, upn: &str) -> Vec<Uuid> {
        let indexes = cx.vault.ring().blind_indexes(cx.caller.organisation.as_str(), "upn", upn);
        let positions = indexes.iter().filter_map(|index| self.by_upn.get(&index[..])).flatten();
        positions.filter_map(|at| self.placements.get(*at)).map(|placement| placement.id).collect()
    }

    /// Returns the entry of one of the roster's placements. Loads it on first use.
    pub async fn entry(
        &self,
        cx: &mut RequestContext,
        placement: &Placement,
    ) -> Result<Arc<RosterEntry>, Refusal> {
        if let Some(known) = lock(&self.entries).get(&placement.id) {
            return Ok(Arc::clone(known));
        }
        let known = Arc::new(load_entry(cx, placement.clone()).await?);
        lock(&self.entries).insert(placement.id, Arc::clone(&known));
        Ok(known)
    }
}

/// Returns the first candidate that contains the day, with the others that do; or the first of all if none does.
fn first_choice<T>(
    candidates: impl Iterator<Item = T>,
    contains_day: impl Fn(&T) -> bool,
) -> Option<(T, Vec<T>)> {
    let (of_day, elsewhere): (Vec<_>, Vec<_>) = candidates.partition(contains_day);
    let mut of_day = of_day.into_iter();
    let first = of_day.next().or_else(|| elsewhere.into_iter().next())?;
    Some((first, of_day.collect()))
}

/// Loads the entry of a placement of the caller from the snapshot.
pub async fn load_entry(cx: &mut RequestContext, placement: Placement) -> Result<RosterEntry, Refusal> {
    let key =
        placements::children::load_required_key(cx, &cx.caller.organisation.clone(), placement.child).await?;
    let parties = [&placement.commissioner, &placement.provider];
    let (agreement, today) = (placement.agreement, cx.today);
    let attendance = DataClass::Attendance;
    let basis = agreements::basis_or_lapsed(&mut cx.snapshot, agreement, &parties, attendance, today).await?;
    let plan = placements::plan::load_newest(cx, &placement).await?.map(|(_, plan)| plan);
    // A provider that may no longer read the placement must not learn of changes after the placement's end.
    let at_end = if placements::can_read(&placement, &cx.caller.organisation) {
        None
    } else {
        placements::recorded_end::version_at_end(&mut cx.snapshot, &placement).await?
    };
    let arrangement = Arrangement::new(at_end.as_ref().unwrap_or(&placement), plan.as_ref());
    Ok(RosterEntry { placement, key, basis, arrangement })
}

/// Locks a map and ignores poisoning: each change is one insertion, so a panic leaves the map consistent.
fn lock<T>(map: &Mutex<T>) -> MutexGuard<'_, T> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_candidate_of_the_day_is_chosen_or_among_the_others(
            candidates in proptest::collection::vec((any::<u8>(), any::<bool>()), 0..6),
        ) {
            let of_day: Vec<_> = candidates.iter().copied().filter(|(_, contains_day)| *contains_day).collect();
            match first_choice(candidates.iter().copied(), |(_, contains_day)| *contains_day) {
                None => prop_assert!(candidates.is_empty()),
                Some((first, others)) if of_day.is_empty() => {
                    prop_assert_eq!((first, others.len()), (candidates[0], 0));
                }
                Some((first, others)) => prop_assert_eq!([vec![first], others].concat(), of_day),
            }
        }
    }
}
