//! Who may do what: a pure function over facts, printed as a golden table. Only this file makes a
//! [`Permit`], and without one there is no change.

mod action;
mod verdict;

pub use action::Action;
pub use verdict::verdict;

use super::caller::Caller;
use super::refusal::{Reason, Refusal};
use crate::proto::v1::{Article6, Article9, Purpose};
use crate::store::proposal::Guard;

/// The caller's part in the thing that it acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// It arranged the placement.
    Commissioner,
    /// It teaches the child.
    Provider,
    /// The child is on its roll.
    SchoolOnRoll,
    /// The child lives in its area.
    Residence,
    /// It is a party to the agreement, or one end of the grant.
    Party,
    /// The thing is the caller's own: its registration, its certificate, its mailbox, its exchange.
    Own,
    /// It operates the gateway.
    Operator,
    /// None: the thing may as well not exist.
    None,
}

/// Whether the part that the caller has is still in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Referral or placement is live.
    Live,
    /// The placement has ended, or the referral was declined, rejected or withdrawn.
    Ended,
}

/// What a decision rests on.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The caller's part.
    pub part: Part,
    /// Whether that part is in force.
    pub standing: Standing,
    /// The agreement that covers the sharing, or did until it lapsed.
    pub basis: Option<Basis>,
    /// Versions of what the facts were read from.
    pub guards: Vec<Guard>,
}

/// On what authority data are exchanged, as the entry will say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basis {
    /// The sharing agreement.
    pub agreement: uuid::Uuid,
    /// What for.
    pub purpose: Purpose,
    /// UK GDPR Article 6(1).
    pub article_6: Article6,
    /// UK GDPR Article 9(2), where special-category data are covered.
    pub article_9: Option<Article9>,
    /// Paragraph of Schedule 1 to the Data Protection Act 2018, where Article 9(2)(g) needs one.
    pub schedule_1: String,
    /// Whether the agreement was in force and is so no more: what goes on all the same is entered with this flag.
    pub lapsed: bool,
}

/// Leave to do one thing. Only this file makes one.
#[derive(Clone, Debug)]
pub struct Permit {
    basis: Option<Basis>,
    guards: Vec<Guard>,
}

impl Permit {
    /// Whether an agreement in force covers it.
    #[must_use]
    pub fn is_agreed(&self) -> bool {
        self.basis.as_ref().is_some_and(|basis| !basis.lapsed)
    }

    /// On what authority, where an agreement covers it or did until it lapsed.
    #[must_use]
    pub fn basis(&self) -> Option<&Basis> {
        self.basis.as_ref()
    }

    /// What the leave rests on beside the caller's identity, checked again under the lock.
    #[must_use]
    pub fn guards(&self) -> &[Guard] {
        &self.guards
    }
}

impl Facts {
    /// Whether an agreement in force covers it.
    #[must_use]
    pub fn is_agreed(&self) -> bool {
        self.basis.as_ref().is_some_and(|basis| !basis.lapsed)
    }

    /// Facts about what is the caller's own, or about nothing in particular.
    #[must_use]
    pub fn own(part: Part) -> Self {
        Self { part, standing: Standing::Live, basis: None, guards: Vec::new() }
    }
}

/// Decides. New sharing needs a part in a live thing and an agreement in force; facts that happened are
/// taken from the provider whatever has lapsed since; a part that has ended reads nothing.
///
/// # Errors
/// The one reason that may be told: not yours and not there are the same.
pub fn decide(caller: &Caller, action: Action, facts: &Facts) -> Result<Permit, Refusal> {
    may_call(caller, action)?;
    verdict(action, facts.part, facts.standing, facts.is_agreed())?;
    Ok(Permit { basis: facts.basis.clone(), guards: facts.guards.clone() })
}

/// Checks whether the caller may call the method at all, whatever its part in a thing.
///
/// # Errors
/// [`Reason::MethodNotAllowed`] for its kind; [`Reason::GrantRequired`] for a processor where no grant can cover it.
pub(super) fn may_call(caller: &Caller, action: Action) -> Result<(), Reason> {
    if !action.kinds().contains(&caller.kind()) {
        return Err(Reason::MethodNotAllowed);
    }
    if caller.processor.is_some() && !action.is_grantable() {
        return Err(Reason::GrantRequired);
    }
    Ok(())
}

/// Leave for what the gateway does by itself: it tells nobody anything, and what it rests on is guarded by the
/// change.
pub(super) fn by_itself() -> Permit {
    Permit { basis: None, guards: Vec::new() }
}

#[cfg(test)]
mod tests;
