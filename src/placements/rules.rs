//! What may happen to a placement, and what it still lacks: pure, over facts that were read elsewhere.
//!
//! Two rules of judgement stand behind every line: facts are never refused, and a child never waits for a
//! form. What is missing at a start is passed by a named officer; what a plan lacks is an open item.

mod plan;

pub use plan::open_items;

use std::collections::BTreeSet;

use crate::calendar::Date;
use crate::codes::{Upn, same_name};
use crate::exchange::{NextActor, WrongState};
use crate::proto::v1::{ChildIdentity, MissingItem, PlacementState as State};

/// What is done to a placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// The provider accepts the referral.
    Accept,
    /// The provider declines it.
    Decline,
    /// The commissioner approves.
    Approve,
    /// The commissioner rejects.
    Reject,
    /// The commissioner puts a version of the plan.
    Plan,
    /// The commissioner changes schools on roll or LA of residence.
    UpdateParties,
    /// The child begins.
    Start,
    /// The placement is over.
    End,
    /// The recorded end was another.
    CorrectEnd,
    /// The placement is not over after all.
    WithdrawEnd,
}

/// The state after the verb. A decision that a start could not wait for may still be approved while the
/// child attends ([`late_decision`] holds when); then rejecting it is ending the placement.
///
/// # Errors
/// [`WrongState`] where the verb is not possible in the state.
pub fn next(state: State, verb: Verb) -> Result<State, WrongState> {
    after(state, verb).ok_or_else(|| wrong_state(state, |state| after(state, verb).is_some()))
}

/// Every state of a placement.
const STATES: [State; 8] = [
    State::Referred,
    State::Accepted,
    State::Declined,
    State::Approved,
    State::Rejected,
    State::Active,
    State::Ended,
    State::Withdrawn,
];

/// Names the present state of a placement, those that would do, and who acts next.
#[must_use]
pub fn wrong_state(present: State, would_do: impl Fn(State) -> bool) -> WrongState {
    let needed = STATES.into_iter().filter(|state| would_do(*state));
    let next_actor = match present {
        State::Referred => NextActor::Provider,
        State::Accepted | State::Approved => NextActor::Commissioner,
        State::Active => NextActor::CommissionerOrProvider,
        _ => NextActor::Nobody,
    };
    let needed = needed.map(|state| state.as_str_name()).collect();
    WrongState { present: present.as_str_name(), needed, next_actor }
}

fn after(state: State, verb: Verb) -> Option<State> {
    match (state, verb) {
        (State::Referred, Verb::Accept) => Some(State::Accepted),
        (State::Referred, Verb::Decline) => Some(State::Declined),
        (State::Accepted, Verb::Approve) => Some(State::Approved),
        (State::Accepted, Verb::Reject) => Some(State::Rejected),
        (State::Accepted | State::Approved, Verb::Start)
        // Only a decision that was missing at the start.
        | (State::Active, Verb::Approve) => Some(State::Active),
        (State::Referred | State::Accepted | State::Approved | State::Active, Verb::Plan) => Some(state),
        (
            State::Referred | State::Accepted | State::Approved | State::Active | State::Ended,
            Verb::UpdateParties,
        ) => Some(state),
        (State::Active, Verb::End) | (State::Ended, Verb::CorrectEnd) => Some(State::Ended),
        (State::Ended, Verb::WithdrawEnd) => Some(State::Active),
        _ => None,
    }
}

/// A decision on an active placement closes the item that its start left open; it replaces no other.
///
/// # Errors
/// [`WrongState`] where a decision stands.
pub fn late_decision(state: State, decided: bool) -> Result<(), WrongState> {
    let wrong = || wrong_state(state, |state| state == State::Accepted);
    if state == State::Active && decided { Err(wrong()) } else { Ok(()) }
}

/// What a start lacks as the gateway knows it, and what the officer said was missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Items passed, in their order: they stay open.
    pub open: Vec<MissingItem>,
    /// Items that are missing and were not passed.
    pub unpassed: Vec<MissingItem>,
}

/// Compares what is missing with what was passed; what was passed and is not missing is not an open item.
/// `acknowledged` says whether the provider has acted on emergency contact, medical and safety items.
#[must_use]
pub fn opening(state: State, planned: bool, acknowledged: bool, passed: &[MissingItem]) -> Opening {
    let missing = |item: MissingItem| match item {
        MissingItem::Plan => !planned,
        MissingItem::Decision => state == State::Accepted,
        MissingItem::SafetyAcknowledgement => !acknowledged,
        MissingItem::Unspecified => false,
    };
    let all = [MissingItem::Plan, MissingItem::Decision, MissingItem::SafetyAcknowledgement];
    let (open, unpassed) =
        all.into_iter().filter(|item| missing(*item)).partition(|item| passed.contains(item));
    Opening { open, unpassed }
}

/// Returns what a start would refuse, unless it is passed; nothing once the placement has started or is over.
#[must_use]
pub fn before_start(state: State, planned: bool, acknowledged: bool) -> Vec<MissingItem> {
    match state {
        // The decision follows the provider's answer.
        State::Referred | State::Accepted => opening(State::Accepted, planned, acknowledged, &[]).unpassed,
        State::Approved => opening(state, planned, acknowledged, &[]).unpassed,
        _ => Vec::new(),
    }
}

/// The name of an item: reason of the violation where it was not passed, open item where it was.
#[must_use]
pub fn item_reason(item: MissingItem) -> &'static str {
    match item {
        MissingItem::Plan => "PLAN_MISSING",
        MissingItem::SafetyAcknowledgement => "SAFETY_NOT_ACKNOWLEDGED",
        _ => "DECISION_MISSING",
    }
}

/// Whether a placement can have ended on that day: not before it started, and a day to come is no fact. One
/// that was to start later and never did ends on the day on which it was to start.
///
/// # Errors
/// The reason of the violation.
pub fn end_date(start: Date, end: Date, today: Date) -> Result<(), &'static str> {
    if end < start {
        Err("DATE_ORDER")
    } else if end > today.max(start) {
        Err("DATE_IN_FUTURE")
    } else {
        Ok(())
    }
}

/// Whether a placement was active on a day.
#[must_use]
pub fn active_on(state: State, start: Option<Date>, end: Option<Date>, day: Date) -> bool {
    matches!(state, State::Active | State::Ended)
        && start.is_some_and(|start| start <= day)
        && end.is_none_or(|end| day <= end)
}

/// What is worth a second look in a decision.
#[must_use]
pub fn warnings(child_view: bool, parent_view: bool, options: usize) -> Vec<&'static str> {
    let all = [
        (!child_view, "NO_CHILD_VIEW"),
        (!parent_view, "NO_PARENT_VIEW"),
        (options < 2, "FEWER_THAN_TWO_OPTIONS"),
    ];
    all.into_iter().filter_map(|(holds, warning)| holds.then_some(warning)).collect()
}

/// What a start left open that is still open.
#[must_use]
pub fn still_open(
    missing: &[MissingItem],
    planned: bool,
    decided: bool,
    acknowledged: bool,
) -> Vec<MissingItem> {
    let open = |item: &MissingItem| match item {
        MissingItem::Plan => !planned,
        MissingItem::Decision => !decided,
        MissingItem::SafetyAcknowledgement => !acknowledged,
        MissingItem::Unspecified => false,
    };
    missing.iter().copied().filter(open).collect()
}

/// The fields by which what was sent cannot be the child that the sender's record knows. A referral that
/// names a known child may add to its record, but never turns it into another child.
#[must_use]
pub fn mismatches(known: &ChildIdentity, sent: &ChildIdentity) -> Vec<&'static str> {
    let name = |known: &str, sent: &str| !sent.is_empty() && !same_name(known, sent);
    let other = |known: &str, sent: &str| !sent.is_empty() && !known.is_empty() && known != sent;
    let all = [
        (name(&known.legal_surname, &sent.legal_surname), "legal_surname"),
        (name(&known.legal_forename, &sent.legal_forename), "legal_forename"),
        (other(&known.date_of_birth, &sent.date_of_birth), "date_of_birth"),
        (other(&known.upn, &sent.upn) && !made_permanent(&known.upn, &sent.upn), "upn"),
    ];
    all.into_iter().filter_map(|(differs, field)| differs.then_some(field)).collect()
}

/// The sender's record of a known child with what the referral adds to it.
#[must_use]
pub fn merged(known: &ChildIdentity, sent: &ChildIdentity) -> ChildIdentity {
    let newer = |known: &String, sent: &String| {
        if sent.is_empty() { known.clone() } else { sent.clone() }
    };
    ChildIdentity {
        child_id: String::new(),
        legal_surname: newer(&known.legal_surname, &sent.legal_surname),
        legal_forename: newer(&known.legal_forename, &sent.legal_forename),
        preferred_surname: newer(&known.preferred_surname, &sent.preferred_surname),
        preferred_forename: newer(&known.preferred_forename, &sent.preferred_forename),
        date_of_birth: newer(&known.date_of_birth, &sent.date_of_birth),
        sex: newer(&known.sex, &sent.sex),
        upn: newer(&known.upn, &sent.upn),
        year_group: if sent.year_group == 0 { known.year_group } else { sent.year_group },
        local_reference: newer(&known.local_reference, &sent.local_reference),
    }
}

/// A temporary pupil number gives way to a permanent one.
fn made_permanent(known: &str, sent: &str) -> bool {
    let temporary = |upn: &str| Upn::parse(upn).is_ok_and(|upn| upn.is_temporary());
    temporary(known) && !temporary(sent)
}

/// Whether no item of a list occurs twice.
pub(super) fn distinct<T: Ord>(items: impl IntoIterator<Item = T>) -> bool {
    let mut seen = BTreeSet::new();
    items.into_iter().all(|item| seen.insert(item))
}

#[cfg(test)]
mod tests;
