//! The log read back: exchanges for those who may read them, proofs for everyone, and a verifier that
//! needs nothing but a copy of the database and the log's public key.

pub mod export;
mod pages;
mod query;
mod records;
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
        .hashes(rpc::GET_CHECKPOINT, Action::GetExchange, service::get_checkpoint)
        .hashes(rpc::GET_INCLUSION_PROOF, Action::GetExchange, service::get_inclusion_proof)
        .hashes(rpc::GET_CONSISTENCY_PROOF, Action::GetExchange, service::get_consistency_proof)
}
