//! Rules of placements: the state machine, and the items that a placement lacks. Pure functions over facts that
//! the caller has read.
//!
//! Two principles: a fact is never refused, and a child never waits for a form. A named officer can waive what is
//! missing at a start (the contract says "passes"); what a plan lacks is an open item.

mod plan;

pub use plan::plan_open_items;

use std::collections::BTreeSet;

use super::open_item_code::OpenItemCode;
use crate::calendar::Date;
use crate::codes::{Upn, is_same_name};
use crate::exchange::{NextActor, WrongState};
use crate::proto::v1::{ChildIdentity, MissingItem, PlacementState as State};
use crate::violation_reason::ViolationReason;

/// A transition of the placement's state machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transition {
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
    /// The commissioner records the start.
    Start,
    /// Commissioner or provider records the end.
    End,
    /// Commissioner or provider corrects the recorded end.
    CorrectEnd,
    /// The commissioner withdraws the recorded end.
    WithdrawEnd,
}

/// Returns the state after a transition. If a placement started without a decision, the commissioner may approve it
/// while it is active ([`check_late_decision`] checks when), but can no longer reject it: it ends the placement instead.
///
/// # Errors
/// [`WrongState`] if the transition is not possible in the state.
pub fn next_state(state: State, transition: Transition) -> Result<State, WrongState> {
    state_after(state, transition)
        .ok_or_else(|| wrong_state(state, |state| state_after(state, transition).is_some()))
}

/// All states of a placement.
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

/// Builds the error of an action in the wrong state: the present state, the states in which the action is possible,
/// and the organisation that acts next.
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
    WrongState { current: present.as_str_name(), required: needed, next_actor }
}

fn state_after(state: State, transition: Transition) -> Option<State> {
    match (state, transition) {
        (State::Referred, Transition::Accept) => Some(State::Accepted),
        (State::Referred, Transition::Decline) => Some(State::Declined),
        (State::Accepted, Transition::Approve) => Some(State::Approved),
        (State::Accepted, Transition::Reject) => Some(State::Rejected),
        (State::Accepted | State::Approved, Transition::Start)
        // Only if the decision was missing at the start: see `late_decision`.
        | (State::Active, Transition::Approve) => Some(State::Active),
        (State::Referred | State::Accepted | State::Approved | State::Active, Transition::Plan) => Some(state),
        (
            State::Referred | State::Accepted | State::Approved | State::Active | State::Ended,
            Transition::UpdateParties,
        ) => Some(state),
        (State::Active, Transition::End) | (State::Ended, Transition::CorrectEnd) => Some(State::Ended),
        (State::Ended, Transition::WithdrawEnd) => Some(State::Active),
        _ => None,
    }
}

/// Checks that a decision on an active placement does not replace another: it may only close the item that the start
/// left open.
///
/// # Errors
/// [`WrongState`] if the placement is active and has a decision.
pub fn check_late_decision(state: State, decided: bool) -> Result<(), WrongState> {
    let wrong = || wrong_state(state, |state| state == State::Accepted);
    if state == State::Active && decided { Err(wrong()) } else { Ok(()) }
}

/// Items that are missing at a start, divided by whether the officer waived them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartCheck {
    /// Missing items that were waived: they stay open.
    pub left_open: Vec<MissingItem>,
    /// Missing items that were not waived: they refuse the start.
    pub not_waived: Vec<MissingItem>,
}

/// Compares the missing items with the waived ones. A waived item that is not missing is ignored.
/// `acknowledged` is whether the provider has acted on emergency contact, medical and safety items.
#[must_use]
pub fn check_start(state: State, planned: bool, acknowledged: bool, waived: &[MissingItem]) -> StartCheck {
    let missing = |item: MissingItem| match item {
        MissingItem::Plan => !planned,
        MissingItem::Decision => state == State::Accepted,
        MissingItem::SafetyAcknowledgement => !acknowledged,
        MissingItem::Unspecified => false,
    };
    let items = [MissingItem::Plan, MissingItem::Decision, MissingItem::SafetyAcknowledgement];
    let (open, unpassed) =
        items.into_iter().filter(|item| missing(*item)).partition(|item| waived.contains(item));
    StartCheck { left_open: open, not_waived: unpassed }
}

/// Returns the items for which a start would be refused unless they are waived; none once the placement has started
/// or is over.
#[must_use]
pub fn start_blockers(state: State, planned: bool, acknowledged: bool) -> Vec<OpenItemCode> {
    let started = match state {
        // A decision is only possible after the provider has accepted, so it is missing in both states.
        State::Referred | State::Accepted => State::Accepted,
        State::Approved => state,
        _ => return Vec::new(),
    };
    let missing = check_start(started, planned, acknowledged, &[]).not_waived;
    missing.into_iter().filter_map(OpenItemCode::from_missing_item).collect()
}

/// Checks that a placement can have ended on a day: not before its start, and not in the future. A placement that was
/// to start in the future and never did ends on its start day.
///
/// # Errors
/// The reason of the violation.
pub fn check_end_date(start: Date, end: Date, today: Date) -> Result<(), ViolationReason> {
    if end < start {
        Err(ViolationReason::DateOrder)
    } else if end > today.max(start) {
        Err(ViolationReason::DateInFuture)
    } else {
        Ok(())
    }
}

/// Reports whether a placement was active on a day.
#[must_use]
pub fn is_active_on(state: State, start: Option<Date>, end: Option<Date>, day: Date) -> bool {
    matches!(state, State::Active | State::Ended)
        && start.is_some_and(|start| start <= day)
        && end.is_none_or(|end| day <= end)
}

/// Returns the warnings about a decision.
#[must_use]
pub fn decision_warnings(child_view: bool, parent_view: bool, options: usize) -> Vec<&'static str> {
    let warnings = [
        (!child_view, "NO_CHILD_VIEW"),
        (!parent_view, "NO_PARENT_VIEW"),
        (options < 2, "FEWER_THAN_TWO_OPTIONS"),
    ];
    warnings.into_iter().filter_map(|(holds, warning)| holds.then_some(warning)).collect()
}

/// Returns the items that a start left open and that are still missing.
#[must_use]
pub fn still_open_items(
    missing: &[MissingItem],
    planned: bool,
    decided: bool,
    acknowledged: bool,
) -> Vec<OpenItemCode> {
    let open = |item: &MissingItem| match item {
        MissingItem::Plan => !planned,
        MissingItem::Decision => !decided,
        MissingItem::SafetyAcknowledgement => !acknowledged,
        MissingItem::Unspecified => false,
    };
    missing.iter().copied().filter(open).filter_map(OpenItemCode::from_missing_item).collect()
}

/// Returns the fields in which the sent identity contradicts the sender's record, so that it must be another child.
/// A referral of a recorded child may add to the record, but must not turn it into a record of another child.
#[must_use]
pub fn identity_mismatches(known: &ChildIdentity, sent: &ChildIdentity) -> Vec<&'static str> {
    let is_other_name = |known: &str, sent: &str| !sent.is_empty() && !is_same_name(known, sent);
    let is_other_value = |known: &str, sent: &str| !sent.is_empty() && !known.is_empty() && known != sent;
    let fields = [
        (is_other_name(&known.legal_surname, &sent.legal_surname), "legal_surname"),
        (is_other_name(&known.legal_forename, &sent.legal_forename), "legal_forename"),
        (is_other_value(&known.date_of_birth, &sent.date_of_birth), "date_of_birth"),
        (is_other_value(&known.upn, &sent.upn) && !replaces_temporary_upn(&known.upn, &sent.upn), "upn"),
    ];
    fields.into_iter().filter_map(|(differs, field)| differs.then_some(field)).collect()
}

/// Merges a sent identity into the sender's record; fields that were not sent are unchanged.
#[must_use]
pub fn merge_identity(known: &ChildIdentity, sent: &ChildIdentity) -> ChildIdentity {
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

/// Reports whether a permanent UPN replaces a temporary one.
fn replaces_temporary_upn(known: &str, sent: &str) -> bool {
    let temporary = |upn: &str| Upn::parse(upn).is_ok_and(|upn| upn.is_temporary());
    temporary(known) && !temporary(sent)
}

/// Reports whether no item occurs twice.
pub(super) fn all_distinct<T: Ord>(items: impl IntoIterator<Item = T>) -> bool {
    let mut seen = BTreeSet::new();
    items.into_iter().all(|item| seen.insert(item))
}

#[cfg(test)]
mod tests;
