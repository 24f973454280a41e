//! Placements, from referral to exit: each is one aggregate under one id, and each change of it is a version.
//!
//! Owns referrals, responses, decisions, plans, starts and ends, the senders' records of children, and the
//! parties of a placement. It must never show a placement to an organisation that is no party to it, store what
//! names a child outside a sealed column, or refuse a fact because a form is missing.
//! Serves Education Act 1996 s.19, Education Act 2002 s.29A, Children and Families Act 2014 s.61.

pub mod alerts;
pub mod children;
mod damaged;
mod decision;
mod draft;
mod end;
pub mod open_items;
pub mod parties;
pub mod plan;
pub mod read;
pub mod recorded_end;
mod referral;
mod response;
pub mod rows;
pub mod rules;
pub mod safety_acknowledgement;
mod school_calendar;
mod start;
mod update_parties;
mod wire;

#[cfg(test)]
mod tests;

pub use damaged::by_ids_with_damaged;
pub use draft::{can_read, can_read_on, check_etag, granted_access};
pub use rows::{Placement, by_id, by_id_for_party, list_started_by_provider};

use crate::exchange::{Action, Routes};
use crate::proto::v1::{placement_service as methods, register_service as register};

/// Adds the methods of `PlacementService`, and those of `RegisterService` that need placements.
#[must_use]
pub fn routes(routes: Routes) -> Routes {
    routes
        .unary(methods::CREATE_REFERRAL, Action::CreateReferral, referral::create_referral)
        .unary(methods::RESPOND_TO_REFERRAL, Action::RespondToReferral, response::respond_to_referral)
        .unary(methods::DECIDE_PLACEMENT, Action::DecidePlacement, decision::decide_placement)
        .unary(methods::PUT_PLAN, Action::PutPlan, plan::put_plan)
        .unary(methods::START_PLACEMENT, Action::StartPlacement, start::start_placement)
        .unary(methods::END_PLACEMENT, Action::EndPlacement, end::end_placement)
        .unary(methods::UPDATE_PARTIES, Action::UpdateParties, update_parties::update_parties)
        .unary(methods::GET_PLACEMENT, Action::GetPlacement, read::get_placement)
        .unary(methods::LIST_PLACEMENTS, Action::ListPlacements, read::list_placements)
        .unary(register::DECLARE_CLOSURE, Action::DeclareClosure, school_calendar::declare_closure)
        .unary(register::GET_TERM_DATES, Action::GetTermDates, school_calendar::get_term_dates)
}
