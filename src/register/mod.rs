//! The register of organisations: their certificates, grants, issuers of tokens, practitioners, sharing agreements, term
//! dates and closures.

pub mod agreements;
pub mod bootstrap;
pub mod callers;
pub mod certificates;
pub mod closures;
mod delivered;
mod directory;
pub mod grants;
pub mod issuers;
pub mod moments;
pub mod organisations;
pub mod practitioners;
pub mod state_change;
pub mod terms;

pub use delivered::register_content;

use crate::exchange::method::methods;
use crate::store::{Record, Table};

/// The tables of the register.
pub const TABLES: &[&Table] = &[
    agreements::AgreementRow::TABLE,
    certificates::CertificateRow::TABLE,
    closures::ClosureRow::TABLE,
    grants::GrantRow::TABLE,
    issuers::IssuerRow::TABLE,
    organisations::OrganisationRow::TABLE,
    practitioners::PractitionerRow::TABLE,
    terms::TermsRow::TABLE,
];

methods! {
    register_service::REGISTER_ORGANISATION => unary(organisations::register) {
        Governs, callers: OPERATOR, access: [Operator: Always]
    }
    register_service::UPDATE_ORGANISATION => unary(organisations::update) {
        Governs, callers: OPERATOR, access: [Operator: Always]
    }
    register_service::GET_ORGANISATION => unary(organisations::get) {
        Reads, callers: ANYONE, access: [Owner: Always, Operator: Always]
    }
    register_service::LIST_ORGANISATIONS => unary(organisations::list) {
        Reads, callers: OPERATOR, access: [Operator: Always]
    }
    register_service::REGISTER_CERTIFICATE => unary(certificates::register) {
        Governs, callers: ANYONE, access: [Owner: Always, Operator: Always]
    }
    register_service::REVOKE_CERTIFICATE => unary(certificates::revoke) {
        Governs, callers: ANYONE, access: [Owner: Always, Operator: Always]
    }
    register_service::AUTHORISE_PROCESSOR => unary(grants::authorise_processor) {
        Governs, callers: AGREEMENT_PARTIES, access: [Owner: Always]
    }
    register_service::APPOINT_AUDITOR => unary(grants::appoint_auditor) {
        Governs, callers: AGREEMENT_PARTIES, access: [Owner: Always]
    }
    register_service::END_GRANT => unary(grants::end_grant) {
        Governs, callers: AGREEMENT_PARTIES, access: [Party: Always]
    }
    register_service::PROPOSE_AGREEMENT => unary(agreements::propose) {
        Governs, callers: AGREEMENT_PARTIES, access: [Party: Always]
    }
    register_service::COUNTERSIGN_AGREEMENT => unary(agreements::countersign) {
        Governs, callers: AGREEMENT_PARTIES, access: [Party: Always]
    }
    register_service::END_AGREEMENT => unary(agreements::end_agreement) {
        Governs, callers: AGREEMENT_PARTIES, access: [Party: Always]
    }
    register_service::GET_AGREEMENT => unary(agreements::get) {
        Reads, callers: AGREEMENT_PARTIES, access: [Party: Always]
    }
    register_service::LIST_AGREEMENTS => unary(agreements::list) {
        Reads, callers: AGREEMENT_PARTIES, access: [Owner: Always]
    }
    register_service::LIST_GRANTS => unary(grants::list) {
        ReadsOwn, callers: ANYONE, access: [Owner: Always]
    }
    register_service::LIST_DIRECTORY => unary(directory::list) {
        Reads, callers: DIRECTORY_READERS, access: [Owner: Always]
    }
    register_service::REGISTER_ISSUER => unary(issuers::register) {
        Governs, callers: AGREEMENT_PARTIES, access: [Owner: Always]
    }
    register_service::END_ISSUER => unary(issuers::end) {
        Governs, callers: AGREEMENT_PARTIES, access: [Owner: Always]
    }
    register_service::LIST_ISSUERS => unary(issuers::list) {
        Reads, callers: AGREEMENT_PARTIES, access: [Owner: Always]
    }
    register_service::LIST_PRACTITIONERS => unary(practitioners::list) {
        ReadsOwn, callers: AGREEMENT_PARTIES, access: [Owner: Always]
    }
    register_service::END_PRACTITIONER => unary(practitioners::end) {
        Governs, callers: AGREEMENT_PARTIES, access: [Owner: Always]
    }
    register_service::PUT_TERM_DATES => unary(terms::put) {
        Changes, callers: PLACEMENT_PARTIES, access: [Owner: Always]
    }
}
