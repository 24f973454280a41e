//! The audit service and the offline tools: listing exchanges, serving proofs, exporting the log, and verifying a copy
//! of the database with nothing but the log's public key.

mod breach;
mod breach_count;
pub mod disposal;
mod entry_lookup;
pub mod export;
mod query;
mod reader_part;
pub mod report;
mod service;
mod status;
pub mod verify;
mod wire;

pub use query::SELECT_OF_PLACEMENT;

use crate::exchange::method::methods;
use crate::store::{Record as _, Table};

/// Tables of this capability.
pub const TABLES: &[&Table] = &[disposal::DisposedRow::TABLE, disposal::DisposedPlacement::TABLE];

methods! {
    audit_service::LIST_EXCHANGES => unary(service::list_exchanges) {
        Reads, callers: ANYONE, access: [Owner: Always]
    }
    audit_service::GET_EXCHANGE => unary(service::get_exchange) {
        Reads, callers: ANYONE, access: [Owner: Always, Operator: Always]
    }
    audit_service::GET_BREACH_SCOPE => unary(breach::get_breach_scope) {
        ReadsOwn, callers: DIRECTORY_READERS, access: [Owner: Always, Operator: Always]
    }
    audit_service::GET_CHECKPOINT => hashes_only(service::get_checkpoint) {
        Reads, callers: ANYONE, access: []
    }
    audit_service::GET_INCLUSION_PROOF => hashes_only(service::get_inclusion_proof) {
        Reads, callers: ANYONE, access: []
    }
    audit_service::GET_CONSISTENCY_PROOF => hashes_only(service::get_consistency_proof) {
        Reads, callers: ANYONE, access: []
    }
    audit_service::LIST_ORGANISATION_STATUS => unary(status::list_organisation_status) {
        Reads, callers: OPERATOR, access: [Operator: Always]
    }
}
