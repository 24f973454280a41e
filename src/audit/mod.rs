//! The audit service and the offline tools: listing exchanges, serving proofs, exporting the log, and verifying a copy
//! of the database with nothing but the log's public key.

mod entry_pages;
pub mod export;
mod query;
mod records;
pub mod report;
mod service;
pub mod verify;
mod wire;

use crate::exchange::{Action, Routes};
use crate::proto::v1::audit_service as rpc;

/// Adds the methods of `AuditService`.
#[must_use]
pub fn routes(routes: Routes) -> Routes {
    routes
        .unary(rpc::LIST_EXCHANGES, Action::ListExchanges, service::list_exchanges)
        .unary(rpc::GET_EXCHANGE, Action::GetExchange, service::get_exchange)
        .hashes_only(rpc::GET_CHECKPOINT, Action::GetExchange, service::get_checkpoint)
        .hashes_only(rpc::GET_INCLUSION_PROOF, Action::GetExchange, service::get_inclusion_proof)
        .hashes_only(rpc::GET_CONSISTENCY_PROOF, Action::GetExchange, service::get_consistency_proof)
}
