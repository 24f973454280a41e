//! Authorisation policy: a pure function over facts, printed as a golden table. Only this file creates a
//! [`Permit`], and a change cannot be created without one.

mod action;
mod verdict;

pub use action::Action;
pub use verdict::verdict;

use super::caller::Caller;
use super::refusal::{Reason, Refusal};
use crate::proto::v1::{Article6, Article9, Purpose};
use crate::store::proposal::Guard;

/// Role of the caller in the record that it acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallerRole {
    /// The caller arranged the placement.
    Commissioner,
    /// The caller teaches the child.
    Provider,
    /// The child is on the caller's roll.
    SchoolOnRoll,
    /// The child lives in the caller's area.
    Residence,
    /// The caller is a party to the agreement, or one end of the grant.
    Party,
    /// The record is the caller's own: its registration, certificate, mailbox or exchange.
    Owner,
    /// The caller operates the gateway.
    Operator,
    /// No role. Answered `NOT_FOUND`, so that existence is not revealed.
    NoRole,
}

/// Whether the caller's role is still in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RoleStatus {
    /// The referral or placement is live.
    Live,
    /// The placement has ended, or the referral was declined, rejected or withdrawn.
    Ended,
}

/// Facts that a policy decision rests on.
#[derive(Clone, Debug)]
pub struct PolicyFacts {
    /// The caller's role.
    pub role: CallerRole,
    /// Whether that role is in force.
    pub status: RoleStatus,
    /// The agreement that covers the sharing. It may have lapsed.
    pub basis: Option<SharingBasis>,
    /// Guards on the versions of the records from which the facts were read.
    pub guards: Vec<Guard>,
}

/// Legal basis of an exchange of data, as its log entry records it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharingBasis {
    /// The sharing agreement.
    pub agreement: uuid::Uuid,
    /// The purpose of the sharing.
    pub purpose: Purpose,
    /// Condition of UK GDPR Article 6(1).
    pub article_6: Article6,
    /// Condition of UK GDPR Article 9(2), where special-category data are covered.
    pub article_9: Option<Article9>,
    /// Paragraph of Schedule 1 to the Data Protection Act 2018, where Article 9(2)(g) needs one.
    pub schedule_1: String,
    /// Whether the agreement has lapsed. An exchange that is permitted all the same is recorded with this flag.
    pub lapsed: bool,
}

/// Permission for one action. Only this file creates one.
#[derive(Clone, Debug)]
pub struct Permit {
    basis: Option<SharingBasis>,
    guards: Vec<Guard>,
}

impl Permit {
    /// Returns whether an agreement in force covers the action.
    #[must_use]
    pub fn has_agreement_in_force(&self) -> bool {
        self.basis.as_ref().is_some_and(|basis| !basis.lapsed)
    }

    /// Returns the sharing basis, if an agreement covers the action, in force or lapsed.
    #[must_use]
    pub fn basis(&self) -> Option<&SharingBasis> {
        self.basis.as_ref()
    }

    /// Returns the guards that the permission rests on, apart from those of the caller's identity. They are
    /// checked again under the lock.
    #[must_use]
    pub fn guards(&self) -> &[Guard] {
        &self.guards
    }
}

impl PolicyFacts {
    /// Returns whether an agreement in force covers the action.
    #[must_use]
    pub fn has_agreement_in_force(&self) -> bool {
        self.basis.as_ref().is_some_and(|basis| !basis.lapsed)
    }

    /// Creates facts about a live role that needs no agreement.
    #[must_use]
    pub fn for_role(role: CallerRole) -> Self {
        Self { role, status: RoleStatus::Live, basis: None, guards: Vec::new() }
    }
}

/// Authorises an action. New sharing needs a role in a live placement and an agreement in force. A provider's
/// facts about days of the placement are accepted whatever has lapsed since. A provider whose role has ended
/// reads nothing of the child.
///
/// # Errors
/// The one reason that may be disclosed: a record of others and an absent record give the same reason.
pub fn authorise(caller: &Caller, action: Action, facts: &PolicyFacts) -> Result<Permit, Refusal> {
    check_may_call(caller, action)?;
    verdict(action, facts.role, facts.status, facts.has_agreement_in_force())?;
    Ok(Permit { basis: facts.basis.clone(), guards: facts.guards.clone() })
}

/// Checks whether the caller may call the method at all, whatever its role in a record.
///
/// # Errors
/// [`Reason::MethodNotAllowed`] for its kind; [`Reason::GrantRequired`] for a processor where no grant can cover it.
pub(super) fn check_may_call(caller: &Caller, action: Action) -> Result<(), Reason> {
    if !action.kinds().contains(&caller.kind()) {
        return Err(Reason::MethodNotAllowed);
    }
    if caller.processor.is_some() && !action.is_grantable() {
        return Err(Reason::GrantRequired);
    }
    Ok(())
}

/// Returns the permission for a system exchange. Such an exchange discloses nothing, and the change holds its
/// guards.
pub(super) fn system_permit() -> Permit {
    Permit { basis: None, guards: Vec::new() }
}

#[cfg(test)]
mod tests;
