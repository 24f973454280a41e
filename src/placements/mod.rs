//! Placements: a child's way from referral to exit, as one aggregate under one id, each change a version.
//!
//! Owns referrals, responses, decisions, plans, starts and ends, the children as their senders know them,
//! and who has which part in a placement. It must never let anyone see a placement in which they have no
//! part, keep what names a child outside a sealed column, or refuse a fact because a form is missing.
//! Serves Education Act 1996 s.19, Education Act 2002 s.29A, Children and Families Act 2014 s.61.

pub mod alerts;
pub mod children;
mod damaged;
mod decision;
mod draft;
pub mod ending;
mod exit;
pub mod open_items;
pub mod parties;
pub mod plan;
pub mod read;
mod referral;
mod response;
pub mod rows;
pub mod rules;
pub mod safety;
mod school_year;
mod start;
mod update_parties;
mod wire;

#[cfg(test)]
mod tests;

pub use damaged::each_by_ids;
pub use draft::{access, readable, readable_on, same_version};
pub use rows::{Placement, by_id, of_party, roll};

use crate::exchange::{Action, Routes};
use crate::proto::v1::{placement_service as methods, register_service as register};

/// Adds the methods of `PlacementService`, and those of `RegisterService` that rest on placements.
#[must_use]
pub fn routes(routes: Routes) -> Routes {
    routes
        .unary(methods::CREATE_REFERRAL, Action::CreateReferral, referral::create_referral)
        .unary(methods::RESPOND_TO_REFERRAL, Action::RespondToReferral, response::respond_to_referral)
        .unary(methods::DECIDE_PLACEMENT, Action::DecidePlacement, decision::decide_placement)
        .unary(methods::PUT_PLAN, Action::PutPlan, plan::put_plan)
        .unary(methods::START_PLACEMENT, Action::StartPlacement, start::start_placement)
        .unary(methods::END_PLACEMENT, Action::EndPlacement, exit::end_placement)
        .unary(methods::UPDATE_PARTIES, Action::UpdateParties, update_parties::update_parties)
        .unary(methods::GET_PLACEMENT, Action::GetPlacement, read::get_placement)
        .unary(methods::LIST_PLACEMENTS, Action::ListPlacements, read::list_placements)
        .unary(register::DECLARE_CLOSURE, Action::DeclareClosure, school_year::declare_closure)
        .unary(register::GET_TERM_DATES, Action::GetTermDates, school_year::get_term_dates)
}
