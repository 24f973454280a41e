//! Person passports: what whoever teaches a child must know to keep it safe and to help it.
//!
//! Owns the blocks, their versions, with whom a version is shared and what is withheld. A passport is its
//! sender's own, under the key of (sender, child), each block sealed by itself. It must never show a
//! restricted block to a system, nor anything to a provider without a live placement and an agreement that
//! covers passports (UK GDPR Article 9). A decision not to share is a record too (Children Act 2004 s.16LA).

mod acknowledged;
mod content;
mod need;
mod put;
mod read;
mod rows;
mod rules;
mod sender;
mod share;
mod wire;
mod withhold;

pub use acknowledged::acknowledged;
pub use content::content;
pub use need::semh_primary;

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
