//! Person passports: what a child's teachers need to know to keep the child safe and to help it.
//!
//! Owns the blocks, their versions, the shares of a version, and the decisions to withhold. A passport belongs to its
//! sender; each block is sealed separately under the key of (sender, child). Invariant: a restricted block is never
//! returned to a system, each reader gets what [`need_to_know`] gives it, and nothing is returned to a provider without a
//! live placement and an agreement that covers passports (UK GDPR Article 9), but to a person who breaks the glass. A
//! decision not to share is a record too (Children Act 2004 s.16LA).

mod acknowledgement;
mod at_risk;
mod break_glass;
mod content;
pub mod need_to_know;
mod primary_need;
mod put;
mod read;
mod reader;
mod rows;
mod rules;
mod sender;
mod share;
mod wire;
mod withhold;

pub use acknowledgement::{SafetyUpdate, acknowledgement_update};
pub use at_risk::is_at_risk;
pub use break_glass::{break_glass_content, due_date as break_glass_due_date};
pub use content::passport_content;
pub use primary_need::load_semh_primary_need;

use crate::exchange::method::methods;
use crate::store::{Record, Table};

/// The tables of passports.
pub const TABLES: &[&Table] = &[
    break_glass::BreakGlassRow::TABLE,
    rows::BlockRow::TABLE,
    rows::ShareRow::TABLE,
    rows::WithholdingRow::TABLE,
];

methods! {
    // The commissioner, and a school on whose roll the child is, each keep a passport of their own.
    passport_service::PUT_PASSPORT => unary(put::put_passport) {
        Changes, callers: COMMISSIONERS, access: [Commissioner: Always, SchoolOnRoll: Always]
    }
    passport_service::GET_PASSPORT => unary(read::get_passport) {
        Reads, callers: PLACEMENT_PARTIES, access: [Commissioner: Always, SchoolOnRoll: Always, Provider: WhileLiveAndAgreed]
    }
    passport_service::LIST_PASSPORT_VERSIONS => unary(read::list_versions) {
        Reads, callers: COMMISSIONERS, access: [Commissioner: Always, SchoolOnRoll: Always]
    }
    passport_service::SHARE_PASSPORT => unary(share::share_passport) {
        Changes, callers: COMMISSIONERS, access: [Commissioner: LiveAndAgreed, SchoolOnRoll: LiveAndAgreed]
    }
    passport_service::WITHHOLD_INFORMATION => unary(withhold::withhold_information) {
        Changes, callers: COMMISSIONERS, access: [Commissioner: Always, SchoolOnRoll: Always]
    }
}
