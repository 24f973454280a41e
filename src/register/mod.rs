//! The register of organisations: their certificates, grants, sharing agreements, term dates and closures.

pub mod agreements;
pub mod bootstrap;
pub mod certificates;
pub mod closures;
pub mod grants;
pub mod organisations;
pub mod state_change;
pub mod terms;

use crate::exchange::{Action, Routes};
use crate::proto::v1::register_service as rpc;
use crate::store::{Record, Table};

/// The tables of the register.
pub const TABLES: &[&Table] = &[
    agreements::AgreementRow::TABLE,
    certificates::CertificateRow::TABLE,
    closures::ClosureRow::TABLE,
    grants::GrantRow::TABLE,
    organisations::OrganisationRow::TABLE,
    terms::TermsRow::TABLE,
];

/// Adds the methods of `RegisterService`.
#[must_use]
pub fn routes(routes: Routes) -> Routes {
    routes
        .unary(rpc::REGISTER_ORGANISATION, Action::RegisterOrganisation, organisations::register)
        .unary(rpc::UPDATE_ORGANISATION, Action::UpdateOrganisation, organisations::update)
        .unary(rpc::GET_ORGANISATION, Action::GetOrganisation, organisations::get)
        .unary(rpc::LIST_ORGANISATIONS, Action::ListOrganisations, organisations::list)
        .unary(rpc::REGISTER_CERTIFICATE, Action::RegisterCertificate, certificates::register)
        .unary(rpc::REVOKE_CERTIFICATE, Action::RevokeCertificate, certificates::revoke)
        .unary(rpc::AUTHORISE_PROCESSOR, Action::AuthoriseProcessor, grants::authorise_processor)
        .unary(rpc::APPOINT_AUDITOR, Action::AppointAuditor, grants::appoint_auditor)
        .unary(rpc::END_GRANT, Action::EndGrant, grants::end_grant)
        .unary(rpc::PROPOSE_AGREEMENT, Action::ProposeAgreement, agreements::propose)
        .unary(rpc::COUNTERSIGN_AGREEMENT, Action::CountersignAgreement, agreements::countersign)
        .unary(rpc::END_AGREEMENT, Action::EndAgreement, agreements::end_agreement)
        .unary(rpc::PUT_TERM_DATES, Action::PutTermDates, terms::put)
}
