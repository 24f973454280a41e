//! The rule itself: what a part in a thing lets an organisation do with it.

use super::{Action, Part, Standing};
use crate::exchange::refusal::Reason;

/// The rule itself, over four small enumerations: the golden table prints all of it.
///
/// # Errors
/// As for [`super::decide`].
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
            Part::Own => Ok(()),
            _ => not_found,
        },
        Action::GetTermDates => match part {
            Part::Own | Part::Party => Ok(()),
            _ => not_found,
        },
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
        Action::DecidePlacement | Action::PutPlan | Action::StartPlacement | Action::UpdateParties => {
            match part {
                Part::Commissioner => Ok(()),
                _ => not_found,
            }
        }
        // Whoever arranges, and a school on whose roll the child is, each with a passport of its own.
        Action::PutPassport | Action::ListPassportVersions | Action::WithholdInformation => match part {
            Part::Commissioner | Part::SchoolOnRoll => Ok(()),
            _ => not_found,
        },
        Action::SharePassport => match (part, agreed) {
            (Part::Commissioner | Part::SchoolOnRoll, _) if !live => Err(Reason::StateInvalid),
            (Part::Commissioner | Part::SchoolOnRoll, true) => Ok(()),
            (Part::Commissioner | Part::SchoolOnRoll, false) => Err(Reason::AgreementNotInForce),
            _ => not_found,
        },
        // Who reads what is said of the child is fewer than who reads where it is.
        Action::GetProgress => match part {
            Part::Provider if live => Ok(()),
            Part::Commissioner | Part::SchoolOnRoll => Ok(()),
            _ => not_found,
        },
        Action::GetPassport => match (part, agreed) {
            (Part::Commissioner | Part::SchoolOnRoll, _) => Ok(()),
            (Part::Provider, true) if live => Ok(()),
            (Part::Provider, false) if live => Err(Reason::AgreementNotInForce),
            _ => not_found,
        },
        // Whoever can see to it.
        Action::ResolveAlert => match part {
            Part::Commissioner => Ok(()),
            Part::Provider if live => Ok(()),
            _ => not_found,
        },
        Action::EndPlacement => match part {
            Part::Commissioner | Part::Provider => Ok(()),
            _ => not_found,
        },
        // The statutory register is theirs. A child never waits for an agreement; what is over does.
        Action::ConfirmMarks | Action::NotifyExpectedAbsence => match part {
            Part::Commissioner | Part::SchoolOnRoll if live || agreed => Ok(()),
            Part::Commissioner | Part::SchoolOnRoll => Err(Reason::AgreementNotInForce),
            _ => not_found,
        },
        // For any date inside the placement, also after it ended: facts are never refused.
        Action::SubmitAttendance | Action::StreamAttendance | Action::VoidReturn | Action::SubmitProgress => {
            match part {
                Part::Provider => Ok(()),
                _ => not_found,
            }
        }
        Action::GetPlacement | Action::GetAttendance => match part {
            Part::Provider if live => Ok(()),
            Part::Commissioner | Part::SchoolOnRoll | Part::Residence => Ok(()),
            _ => not_found,
        },
    }
}
