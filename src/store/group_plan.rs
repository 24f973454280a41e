//! Group planning: decides which proposals of a group can be committed together, before a row is written.
//! Guards and request ids are checked in group order, against the database and against what earlier
//! proposals of the group will write. Nothing here does I/O.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::position::Revision;
use super::proposal::{CommitOutcome, Guard, IdempotencyRecord, Proposal};
use super::queue::PendingProposal;
use super::version_key::VersionKey;

/// The versions and request ids that a group is checked against, read under the lock.
#[derive(Default)]
pub struct GroupLookups {
    /// The version of each key that has one.
    pub versions: HashMap<VersionKey, Revision>,
    /// First exchanges, by organisation and request id.
    pub requests: HashMap<(String, Uuid), IdempotencyRecord>,
}

/// The plan of a group. Each proposal is in exactly one of the lists.
#[derive(Default)]
pub struct GroupPlan {
    /// Proposals to write now, in order.
    pub members: Vec<PendingProposal>,
    /// Proposals that end without a write, each with its outcome: a known request id, or a guard that does not hold.
    pub answered: Vec<(PendingProposal, CommitOutcome)>,
    /// Proposals that depend on what an earlier one writes. They are checked again in the next group.
    pub deferred: Vec<PendingProposal>,
}

/// Returns every key whose version is needed to plan the group.
#[must_use]
pub fn guarded_keys(group: &[PendingProposal]) -> Vec<Vec<u8>> {
    let mut keys = HashSet::new();
    for PendingProposal { proposal, .. } in group {
        keys.extend(proposal.identity_guards.iter().chain(&proposal.guards).map(|guard| &guard.key));
        keys.extend(&proposal.bumps);
    }
    keys.into_iter().map(|key| key.as_bytes().to_vec()).collect()
}

/// Returns every request id of the group.
#[must_use]
pub fn request_ids(group: &[PendingProposal]) -> Vec<Vec<u8>> {
    let ids: HashSet<Uuid> =
        group.iter().filter_map(|pending| Some(pending.proposal.request.as_ref()?.request_id)).collect();
    ids.into_iter().map(|id| id.as_bytes().to_vec()).collect()
}

/// Plans the group. Also returns the versions, to which the committer adds the bumps.
#[must_use]
pub fn plan_group(
    group: Vec<PendingProposal>,
    mut held: GroupLookups,
) -> (GroupPlan, HashMap<VersionKey, Revision>) {
    let mut plan = GroupPlan::default();
    let (mut written, mut bumped): (HashSet<VersionKey>, HashSet<VersionKey>) = Default::default();
    let mut asked: HashSet<(String, Uuid)> = HashSet::new();
    for pending in group {
        let proposal = &pending.proposal;
        let request =
            (proposal.request.as_ref()).map(|request| (request.organisation.clone(), request.request_id));
        let guards = || proposal.identity_guards.iter().chain(&proposal.guards).map(|guard| &guard.key);
        let waits = guards().any(|key| written.contains(key) || bumped.contains(key))
            || written_keys(proposal).any(|key| written.contains(key))
            || request.as_ref().is_some_and(|request| asked.contains(request));
        if waits {
            // A later proposal that depends on what this one writes must wait too, or it would overtake this one.
            written.extend(written_keys(proposal).cloned());
            bumped.extend(proposal.bumps.iter().cloned());
            asked.extend(request);
            plan.deferred.push(pending);
        } else if !guards_hold(&proposal.identity_guards, &held.versions) {
            plan.answered.push((pending, CommitOutcome::Stale));
        } else if let Some(known) = request.as_ref().and_then(|request| held.requests.remove(request)) {
            asked.extend(request);
            plan.answered.push((pending, CommitOutcome::Duplicate(Box::new(known))));
        } else if !guards_hold(&proposal.guards, &held.versions) {
            plan.answered.push((pending, CommitOutcome::Stale));
        } else {
            written.extend(written_keys(proposal).cloned());
            bumped.extend(proposal.bumps.iter().cloned());
            asked.extend(request);
            plan.members.push(pending);
        }
    }
    (plan, held.versions)
}

/// Returns whether every guard names the version that was read under the lock.
fn guards_hold(guards: &[Guard], versions: &HashMap<VersionKey, Revision>) -> bool {
    guards.iter().all(|guard| versions.get(&guard.key).copied().unwrap_or(Revision::ABSENT) == guard.version)
}

/// Returns the keys for which the proposal's rows become the current version. Bumps are not among them: two bumps of
/// one counter commute, so both fit in one group, but a proposal that guards the counter after a bump waits for the
/// next group.
fn written_keys(proposal: &Proposal) -> impl Iterator<Item = &VersionKey> {
    proposal.rows.iter().flat_map(|row| row.versioned_keys.iter().map(|(key, _)| key))
}
