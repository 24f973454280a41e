//! Authorisation policy: a pure function over a method's declaration and facts, printed as a golden table. Only this
//! file creates a [`Permit`], and a change cannot be created without one.

use bytes::Bytes;

use super::caller::Caller;
use super::method::{CallerRole, Method, RoleStatus};
use super::refusal::{Reason, Refusal};
use crate::proto::v1::{Article6, Article9, OpenedBasis, Purpose, RoleCode};
use crate::store::proposal::Guard;

/// Services that show no child, whoever calls: passports are cut to what the person's role reads.
const SERVICES_WITHOUT_CHILDREN: [&str; 3] =
    ["apgateway.v1.AuditService", "apgateway.v1.PassportService", "apgateway.v1.RegisterService"];

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

/// Legal basis of an exchange of data, as the openings of its log entry record it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharingBasis {
    /// The sharing agreement; `None` for a break-glass, which needs none.
    pub agreement: Option<uuid::Uuid>,
    /// The purpose of the sharing.
    pub purpose: Purpose,
    /// Condition of UK GDPR Article 6(1).
    pub article_6: Article6,
    /// Condition of UK GDPR Article 9(2), where special-category data are covered.
    pub article_9: Option<Article9>,
    /// Paragraph of Schedule 1 to the Data Protection Act 2018, where Article 9(2)(g) needs one.
    pub schedule_1: String,
    /// Paragraph of Schedule 1 for data about offences (UK GDPR Article 10); empty for none.
    pub schedule_1_article_10: String,
    /// Whether the agreement has lapsed. An exchange that is permitted all the same is recorded with this flag.
    pub lapsed: bool,
}

impl SharingBasis {
    /// Returns the basis as the openings of an entry hold it.
    #[must_use]
    pub fn to_opened(&self) -> OpenedBasis {
        OpenedBasis {
            agreement_id: self
                .agreement
                .map_or_else(Bytes::new, |agreement| Bytes::copy_from_slice(agreement.as_bytes())),
            purpose: self.purpose.into(),
            article_6: self.article_6.into(),
            article_9: self.article_9.map_or(0, i32::from),
            schedule_1: self.schedule_1.clone(),
            agreement_lapsed: self.lapsed,
            schedule_1_article_10: self.schedule_1_article_10.clone(),
        }
    }
}

/// Permission for one exchange. Only this file creates one.
///
/// A handler that has not asked [`authorise`] has none. It cannot write one itself, because the fields are private:
///
/// ```compile_fail,E0451
/// # use ap_gateway::exchange::Permit;
/// let permit = Permit { basis: None, guards: Vec::new() };
/// ```
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

/// Authorises a call. New sharing needs a role in a live placement and an agreement in force. A provider's
/// facts about days of the placement are accepted whatever has lapsed since. A provider whose role has ended
/// reads nothing of the child.
///
/// # Errors
/// The one reason that may be disclosed: a record of others and an absent record give the same reason.
pub fn authorise(caller: &Caller, method: &Method, facts: &PolicyFacts) -> Result<Permit, Refusal> {
    check_may_call(caller, method)?;
    method.verdict(facts.role, facts.status, facts.has_agreement_in_force())?;
    Ok(Permit { basis: facts.basis.clone(), guards: facts.guards.clone() })
}

/// Checks whether the caller may call the method at all, whatever its role in a record.
///
/// # Errors
/// [`Reason::MethodNotAllowed`] for its kind; [`Reason::GrantRequired`] for a processor where no grant can cover it;
/// [`Reason::PersonRequired`] for a person in a role that never reads a child.
pub(super) fn check_may_call(caller: &Caller, method: &Method) -> Result<(), Reason> {
    if !method.callers.contains(&caller.kind()) {
        return Err(Reason::MethodNotAllowed);
    }
    if caller.processor.is_some() && !method.is_grantable() {
        return Err(Reason::GrantRequired);
    }
    // A designated clinical officer reads figures, and never a child.
    let reads_no_child = caller.person.as_ref().is_some_and(|person| person.role == RoleCode::Dco);
    if reads_no_child && !SERVICES_WITHOUT_CHILDREN.contains(&method.service()) {
        return Err(Reason::PersonRequired);
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
