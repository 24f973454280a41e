//! Planning a group: which proposals of a group can be committed together, in memory, before a row is
//! written. Guards and keys are checked in group order against the database and against what earlier
//! members will write; nothing here does I/O.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::key::Key;
use super::proposal::{Guard, Outcome, Proposal, Remembered};
use super::queue::Pending;

/// What the database holds of everything that a group asks about, read under the lock.
#[derive(Default)]
pub struct Held {
    /// Version of each key that has one.
    pub versions: HashMap<Key, i64>,
    /// First exchanges of request ids, by organisation and id.
    pub requests: HashMap<(String, Uuid), Remembered>,
}

/// A group sorted: each proposal of it is in exactly one of the lists.
#[derive(Default)]
pub struct Plan {
    /// To be written now, in order.
    pub members: Vec<Pending>,
    /// Answered without a trace: request id known, or guard not held.
    pub answered: Vec<(Pending, Outcome)>,
    /// Touch what an earlier member writes: they wait for the next group, where they are checked anew.
    pub deferred: Vec<Pending>,
}

/// Every key whose version must be known to plan the group.
#[must_use]
pub fn keys(group: &[Pending]) -> Vec<Vec<u8>> {
    let mut keys = HashSet::new();
    for Pending { proposal, .. } in group {
        keys.extend(proposal.identity.iter().chain(&proposal.guards).map(|guard| &guard.key));
        keys.extend(&proposal.bumps);
    }
    keys.into_iter().map(|key| key.as_bytes().to_vec()).collect()
}

/// Every request id of the group.
#[must_use]
pub fn request_ids(group: &[Pending]) -> Vec<Vec<u8>> {
    let ids: HashSet<Uuid> =
        group.iter().filter_map(|pending| Some(pending.proposal.request.as_ref()?.request_id)).collect();
    ids.into_iter().map(|id| id.as_bytes().to_vec()).collect()
}

/// Sorts the group; gives back the versions, on which the members' bumps build.
#[must_use]
pub fn plan(group: Vec<Pending>, mut held: Held) -> (Plan, HashMap<Key, i64>) {
    let mut plan = Plan::default();
    let (mut written, mut bumped): (HashSet<Key>, HashSet<Key>) = Default::default();
    let mut asked: HashSet<(String, Uuid)> = HashSet::new();
    for pending in group {
        let proposal = &pending.proposal;
        let request =
            (proposal.request.as_ref()).map(|request| (request.organisation.clone(), request.request_id));
        let guards = || proposal.identity.iter().chain(&proposal.guards).map(|guard| &guard.key);
        let waits = guards().any(|key| written.contains(key) || bumped.contains(key))
            || rows_of(proposal).any(|key| written.contains(key))
            || request.as_ref().is_some_and(|request| asked.contains(request));
        if waits {
            // Whatever it writes must also wait, or a third proposal could overtake it.
            written.extend(rows_of(proposal).cloned());
            bumped.extend(proposal.bumps.iter().cloned());
            asked.extend(request);
            plan.deferred.push(pending);
        } else if !hold(&proposal.identity, &held.versions) {
            plan.answered.push((pending, Outcome::Stale));
        } else if let Some(known) = request.as_ref().and_then(|request| held.requests.remove(request)) {
            asked.extend(request);
            plan.answered.push((pending, Outcome::Known(Box::new(known))));
        } else if !hold(&proposal.guards, &held.versions) {
            plan.answered.push((pending, Outcome::Stale));
        } else {
            written.extend(rows_of(proposal).cloned());
            bumped.extend(proposal.bumps.iter().cloned());
            asked.extend(request);
            plan.members.push(pending);
        }
    }
    (plan, held.versions)
}

/// Checks that every guard names the version under the lock.
fn hold(guards: &[Guard], versions: &HashMap<Key, i64>) -> bool {
    guards.iter().all(|guard| versions.get(&guard.key).copied().unwrap_or(0) == guard.version)
}

/// The keys of which the proposal's rows become the newest version. Bumps are apart from them: two bumps of
/// one counter commute, so they fit one group, but whoever guards the counter waits for the next.
fn rows_of(proposal: &Proposal) -> impl Iterator<Item = &Key> {
    proposal.rows.iter().flat_map(|row| row.heads.iter().map(|(key, _)| key))
}
