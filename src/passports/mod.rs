//! Person passports: what a child's teachers need to know to keep the child safe and to help it.
//!
//! Owns the blocks, their versions, the shares of a version, and the decisions to withhold. A passport belongs to its
//! sender; each block is sealed separately under the key of (sender, child). Invariant: a restricted block is never
//! returned to a system, and nothing is returned to a provider without a live placement and an agreement that covers
//! passports (UK GDPR Article 9). A decision not to share is a record too (Children Act 2004 s.16LA).

mod acknowledgement;
mod content;
mod primary_need;
mod put;
mod read;
mod rows;
mod rules;
mod sender;
mod share;
mod wire;
mod withhold;

pub use acknowledgement::acknowledgement_update;
pub use content::shared_content;
pub use primary_need::load_semh_primary_need;

use crate::exchange::{Action, Routes};
use crate::proto::v1::passport_service as rpc;

/// Adds the methods of `PassportService`.
#[must_use]
pub fn routes(routes: Routes) -> Routes {
    routes
        .unary(rpc::PUT_PASSPORT, Action::PutPassport, put::put_passport)
        .unary(rpc::GET_PASSPORT, Action::GetPassport, read::get_passport)
        .unary(rpc::LIST_PASSPORT_VERSIONS, Action::ListPassportVersions, read::list_versions)
        .unary(rpc::SHARE_PASSPORT, Action::SharePassport, share::share_passport)
        .unary(rpc::WITHHOLD_INFORMATION, Action::WithholdInformation, withhold::withhold_information)
}
