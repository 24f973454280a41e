//! Who may do what: a pure function over facts, printed as a golden table. Only this file makes a
//! [`Permit`], and without one there is no change.

use super::caller::Caller;
use super::refusal::{Reason, Refusal};
use crate::codes::organisation::OrganisationKind::{
    self, Auditor, La, Operator, Partner, Processor, Provider, School,
};
use crate::proto::v1::{Article6, Article9, Purpose};
use crate::store::proposal::Guard;

/// What a caller asks to do: one variant a method that has entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// `RegisterService`.
    RegisterOrganisation,
    /// `RegisterService`.
    UpdateOrganisation,
    /// `RegisterService`.
    GetOrganisation,
    /// `RegisterService`.
    ListOrganisations,
    /// `RegisterService`.
    RegisterCertificate,
    /// `RegisterService`.
    RevokeCertificate,
    /// `RegisterService`.
    AuthoriseProcessor,
    /// `RegisterService`.
    AppointAuditor,
    /// `RegisterService`.
    EndGrant,
    /// `RegisterService`.
    ProposeAgreement,
    /// `RegisterService`.
    CountersignAgreement,
    /// `RegisterService`.
    EndAgreement,
    /// `RegisterService`.
    PutTermDates,
    /// `PlacementService`.
    CreateReferral,
    /// `PlacementService`.
    RespondToReferral,
    /// `PlacementService`.
    DecidePlacement,
    /// `PlacementService`.
    PutPlan,
    /// `PlacementService`.
    StartPlacement,
    /// `PlacementService`.
    EndPlacement,
    /// `PlacementService`.
    GetPlacement,
    /// `PlacementService`.
    ListPlacements,
    /// `ReturnsService`.
    SubmitAttendance,
    /// `ReturnsService`.
    GetAttendance,
    /// `DeliveryService`.
    WatchDeliveries,
    /// `DeliveryService`.
    ListDeliveries,
    /// `DeliveryService`.
    AcknowledgeDelivery,
    /// `DeliveryService`.
    GetDeliveryStatus,
    /// `AuditService`.
    ListExchanges,
    /// `AuditService`.
    GetExchange,
}

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
    /// The agreement that covers new sharing, when one in force does.
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
}

/// Leave to do one thing. Only [`decide`] makes one.
#[derive(Clone, Debug)]
pub struct Permit {
    action: Action,
    caller: Caller,
    basis: Option<Basis>,
    guards: Vec<Guard>,
}

impl Permit {
    /// What may be done.
    #[must_use]
    pub fn action(&self) -> Action {
        self.action
    }

    /// By whom.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// On what authority, where an agreement covers it.
    #[must_use]
    pub fn basis(&self) -> Option<&Basis> {
        self.basis.as_ref()
    }

    /// What the leave rests on, checked again under the lock.
    #[must_use]
    pub fn guards(&self) -> &[Guard] {
        &self.guards
    }
}

impl Facts {
    /// Facts about what is the caller's own, or about nothing in particular.
    #[must_use]
    pub fn own(part: Part) -> Self {
        Self { part, standing: Standing::Live, basis: None, guards: Vec::new() }
    }
}

impl Action {
    /// Whether the method changes something: then its first two fields are `request_id` and, where there
    /// is one, `validate_only` (AIP-155, AIP-163).
    #[must_use]
    pub fn is_mutating(self) -> bool {
        !matches!(
            self,
            Self::GetOrganisation
                | Self::ListOrganisations
                | Self::GetPlacement
                | Self::ListPlacements
                | Self::GetAttendance
                | Self::WatchDeliveries
                | Self::ListDeliveries
                | Self::GetDeliveryStatus
                | Self::ListExchanges
                | Self::GetExchange
        )
    }

    /// The kinds of organisation that may call the method at all, whatever their part in a thing.
    #[must_use]
    pub fn kinds(self) -> &'static [OrganisationKind] {
        match self {
            Self::RegisterOrganisation | Self::UpdateOrganisation | Self::ListOrganisations => &[Operator],
            Self::GetOrganisation
            | Self::RegisterCertificate
            | Self::RevokeCertificate
            | Self::WatchDeliveries
            | Self::ListDeliveries
            | Self::AcknowledgeDelivery
            | Self::GetDeliveryStatus
            | Self::ListExchanges
            | Self::GetExchange => &[La, School, Provider, Partner, Auditor, Processor, Operator],
            Self::AuthoriseProcessor | Self::AppointAuditor | Self::EndGrant => {
                &[La, School, Provider, Partner]
            }
            Self::ProposeAgreement | Self::CountersignAgreement | Self::EndAgreement => {
                &[La, School, Provider, Partner]
            }
            Self::PutTermDates => &[La, School, Provider],
            Self::CreateReferral | Self::DecidePlacement | Self::PutPlan | Self::StartPlacement => {
                &[La, School]
            }
            Self::RespondToReferral | Self::SubmitAttendance => &[Provider, School],
            Self::EndPlacement | Self::GetPlacement | Self::ListPlacements | Self::GetAttendance => {
                &[La, School, Provider]
            }
        }
    }
}

/// Decides. New sharing needs a part in a live thing and an agreement in force; facts that happened are
/// taken from the provider whatever has lapsed since; a part that has ended reads nothing.
///
/// # Errors
/// The one reason that may be told: not yours and not there are the same.
pub fn decide(caller: &Caller, action: Action, facts: &Facts) -> Result<Permit, Refusal> {
    if !action.kinds().contains(&caller.kind()) {
        return Err(Reason::MethodNotAllowed.into());
    }
    verdict(action, facts.part, facts.standing, facts.basis.is_some())?;
    let guards = caller.guards.iter().chain(&facts.guards).cloned().collect();
    Ok(Permit { action, caller: caller.clone(), basis: facts.basis.clone(), guards })
}

/// The rule itself, over four small enumerations: the golden table prints all of it.
///
/// # Errors
/// As for [`decide`].
pub fn verdict(action: Action, part: Part, standing: Standing, agreed: bool) -> Result<(), Reason> {
    let (live, not_found) = (standing == Standing::Live, Err(Reason::NotFound));
    match action {
        Action::RegisterOrganisation | Action::UpdateOrganisation | Action::ListOrganisations => {
            if part == Part::Operator { Ok(()) } else { not_found }
        }
        Action::GetOrganisation | Action::RegisterCertificate | Action::RevokeCertificate => match part {
            Part::Own | Part::Operator => Ok(()),
            _ => not_found,
        },
        Action::AuthoriseProcessor
        | Action::AppointAuditor
        | Action::PutTermDates
        | Action::ListPlacements
        | Action::WatchDeliveries
        | Action::ListDeliveries
        | Action::AcknowledgeDelivery
        | Action::GetDeliveryStatus
        | Action::ListExchanges
        | Action::GetExchange => {
            if part == Part::Own {
                Ok(())
            } else {
                not_found
            }
        }
        Action::EndGrant | Action::ProposeAgreement | Action::CountersignAgreement | Action::EndAgreement => {
            if part == Part::Party {
                Ok(())
            } else {
                not_found
            }
        }
        Action::CreateReferral => match (part, agreed) {
            (Part::Commissioner, true) => Ok(()),
            (Part::Commissioner, false) => Err(Reason::AgreementNotInForce),
            _ => not_found,
        },
        Action::RespondToReferral => match part {
            Part::Provider => Ok(()),
            _ => not_found,
        },
        Action::DecidePlacement | Action::PutPlan | Action::StartPlacement => match part {
            Part::Commissioner => Ok(()),
            _ => not_found,
        },
        Action::EndPlacement => match part {
            Part::Commissioner | Part::Provider => Ok(()),
            _ => not_found,
        },
        Action::SubmitAttendance => match part {
            // For any date inside the placement, also after it ended: facts are never refused.
            Part::Provider => Ok(()),
            _ => not_found,
        },
        Action::GetPlacement | Action::GetAttendance => match part {
            Part::Provider if live => Ok(()),
            Part::Commissioner | Part::SchoolOnRoll | Part::Residence => Ok(()),
            _ => not_found,
        },
    }
}
