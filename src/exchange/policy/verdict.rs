//! The policy rule: which actions a role in a record permits.

use super::{Action, CallerRole, RoleStatus};
use crate::exchange::refusal::Reason;

/// Applies the policy rule. The golden table prints its result for every input.
///
/// # Errors
/// As for [`super::authorise`].
pub fn verdict(action: Action, part: CallerRole, standing: RoleStatus, agreed: bool) -> Result<(), Reason> {
    let (live, not_found) = (standing == RoleStatus::Live, Err(Reason::NotFound));
    match action {
        Action::RegisterOrganisation | Action::UpdateOrganisation | Action::ListOrganisations => {
            if part == CallerRole::Operator { Ok(()) } else { not_found }
        }
        Action::GetOrganisation | Action::RegisterCertificate | Action::RevokeCertificate => match part {
            CallerRole::Owner | CallerRole::Operator => Ok(()),
            _ => not_found,
        },
        Action::AuthoriseProcessor
        | Action::AppointAuditor
        | Action::PutTermDates
        | Action::DeclareClosure
        | Action::ListExpectedReturns
        | Action::ListPlacements
        | Action::WatchDeliveries
        | Action::ListDeliveries
        | Action::AcknowledgeDelivery
        | Action::GetDeliveryStatus
        | Action::ListAlerts
        | Action::ListExchanges
        | Action::GetExchange => match part {
            CallerRole::Owner => Ok(()),
            _ => not_found,
        },
        Action::GetTermDates => match part {
            CallerRole::Owner | CallerRole::Party => Ok(()),
            _ => not_found,
        },
        Action::EndGrant | Action::ProposeAgreement | Action::CountersignAgreement | Action::EndAgreement => {
            if part == CallerRole::Party {
                Ok(())
            } else {
                not_found
            }
        }
        Action::CreateReferral => match (part, agreed) {
            (CallerRole::Commissioner, true) => Ok(()),
            (CallerRole::Commissioner, false) => Err(Reason::AgreementNotInForce),
            _ => not_found,
        },
        Action::RespondToReferral => match part {
            CallerRole::Provider => Ok(()),
            _ => not_found,
        },
        Action::DecidePlacement | Action::PutPlan | Action::StartPlacement | Action::UpdateParties => {
            match part {
                CallerRole::Commissioner => Ok(()),
                _ => not_found,
            }
        }
        // The commissioner, and a school on whose roll the child is, each keep a passport of their own.
        Action::PutPassport | Action::ListPassportVersions | Action::WithholdInformation => match part {
            CallerRole::Commissioner | CallerRole::SchoolOnRoll => Ok(()),
            _ => not_found,
        },
        Action::SharePassport => match (part, agreed) {
            (CallerRole::Commissioner | CallerRole::SchoolOnRoll, _) if !live => Err(Reason::StateInvalid),
            (CallerRole::Commissioner | CallerRole::SchoolOnRoll, true) => Ok(()),
            (CallerRole::Commissioner | CallerRole::SchoolOnRoll, false) => Err(Reason::AgreementNotInForce),
            _ => not_found,
        },
        // Fewer organisations read progress than the placement: the authority of residence does not.
        Action::GetProgress => match part {
            CallerRole::Provider if live => Ok(()),
            CallerRole::Commissioner | CallerRole::SchoolOnRoll => Ok(()),
            _ => not_found,
        },
        Action::GetPassport => match (part, agreed) {
            (CallerRole::Commissioner | CallerRole::SchoolOnRoll, _) => Ok(()),
            (CallerRole::Provider, true) if live => Ok(()),
            (CallerRole::Provider, false) if live => Err(Reason::AgreementNotInForce),
            _ => not_found,
        },
        // The organisations that can remove the cause of the alert.
        Action::ResolveAlert => match part {
            CallerRole::Commissioner => Ok(()),
            CallerRole::Provider if live => Ok(()),
            _ => not_found,
        },
        Action::EndPlacement => match part {
            CallerRole::Commissioner | CallerRole::Provider => Ok(()),
            _ => not_found,
        },
        // The commissioner and the school keep the statutory register. While the placement is live they need no
        // agreement; after its end they do.
        Action::ConfirmMarks | Action::NotifyExpectedAbsence => match part {
            CallerRole::Commissioner | CallerRole::SchoolOnRoll if live || agreed => Ok(()),
            CallerRole::Commissioner | CallerRole::SchoolOnRoll => Err(Reason::AgreementNotInForce),
            _ => not_found,
        },
        // Facts about any date of the placement are accepted, also after its end.
        Action::SubmitAttendance | Action::StreamAttendance | Action::VoidReturn | Action::SubmitProgress => {
            match part {
                CallerRole::Provider => Ok(()),
                _ => not_found,
            }
        }
        Action::GetPlacement | Action::GetAttendance => match part {
            CallerRole::Provider if live => Ok(()),
            CallerRole::Commissioner | CallerRole::SchoolOnRoll | CallerRole::Residence => Ok(()),
            _ => not_found,
        },
    }
}
