//! Placements, from referral to exit: each is one aggregate under one id, and each change of it is a version.
//!
//! Owns referrals, responses, decisions, plans, starts and ends, the senders' records of children, and the
//! parties of a placement. It must never show a placement to an organisation that is no party to it, store what
//! names a child outside a sealed column, or refuse a fact because a form is missing.
//! Serves Education Act 1996 s.19, Education Act 2002 s.29A, Children and Families Act 2014 s.61.

pub mod active;
pub mod child_identities;
pub mod children;
mod damaged;
mod decision;
mod delivered;
pub mod delivery_subject;
mod draft;
mod end;
pub mod moments;
pub mod open_item_code;
pub mod open_items;
pub mod parties;
pub mod party_periods;
pub mod plan;
pub mod plan_history;
pub mod read;
pub mod recorded_end;
mod referral;
pub mod remaining_items;
mod response;
pub mod rows;
pub mod rules;
pub mod safety_acknowledgement;
mod school_calendar;
mod start;
mod update_parties;
mod wire;

#[cfg(test)]
pub mod fixtures;
// The tests issue certificates with the authority of the invented world.
#[cfg(test)]
#[cfg(feature = "world")]
mod tests;

pub use damaged::by_ids_with_damaged;
pub use delivered::placement_content;
pub use draft::{can_read, can_read_on, check_etag, granted_access};
pub use rows::{
    Placement, by_id, by_id_for_party, list_ids_for_party, list_lasting_by_provider, list_started_by_provider,
};

use crate::exchange::method::methods;
use crate::store::moment::MomentRow;
use crate::store::{Record, Table};

/// The tables of placements and of the senders' records of children.
pub const TABLES: &[&Table] = &[
    children::ChildKeyRow::TABLE,
    children::ChildRow::TABLE,
    open_items::OpenItemRow::TABLE,
    rows::PartyRow::TABLE,
    rows::Placement::TABLE,
    plan::PlanRow::TABLE,
    MomentRow::TABLE,
];

methods! {
    placement_service::CREATE_REFERRAL => unary(referral::create_referral) {
        Changes, callers: COMMISSIONERS, access: [Commissioner: Agreed]
    }
    placement_service::RESPOND_TO_REFERRAL => unary(response::respond_to_referral) {
        Changes, callers: PROVIDERS, access: [Provider: Always]
    }
    placement_service::DECIDE_PLACEMENT => unary(decision::decide_placement) {
        Changes, callers: COMMISSIONERS, access: [Commissioner: Always]
    }
    placement_service::PUT_PLAN => unary(plan::put_plan) {
        Changes, callers: COMMISSIONERS, access: [Commissioner: Always]
    }
    placement_service::START_PLACEMENT => unary(start::start_placement) {
        Changes, callers: COMMISSIONERS, access: [Commissioner: Always]
    }
    placement_service::END_PLACEMENT => unary(end::end_placement) {
        Changes, callers: PLACEMENT_PARTIES, access: [Commissioner: Always, Provider: Always]
    }
    placement_service::UPDATE_PARTIES => unary(update_parties::update_parties) {
        Changes, callers: COMMISSIONERS, access: [Commissioner: Always]
    }
    placement_service::GET_PLACEMENT => unary(read::get_placement) {
        Reads, callers: PLACEMENT_PARTIES, access: [Commissioner: Always, SchoolOnRoll: Always, Residence: Always, Provider: WhileLive]
    }
    placement_service::LIST_PLACEMENTS => unary(read::list_placements) {
        Reads, callers: PLACEMENT_PARTIES, access: [Owner: Always]
    }
    register_service::GET_TERM_DATES => unary(school_calendar::get_term_dates) {
        Reads, callers: PLACEMENT_PARTIES, access: [Owner: Always, Party: Always]
    }
    register_service::LIST_CLOSURES => unary(school_calendar::list_closures) {
        Reads, callers: PLACEMENT_PARTIES, access: [Owner: Always, Party: Always]
    }
    register_service::DECLARE_CLOSURE => unary(school_calendar::declare_closure) {
        Changes, callers: PROVIDERS, access: [Owner: Always]
    }
}
