//! Returns: attendance marks and progress returns, which providers send about the children whom they teach.
//!
//! A mark for any day inside a placement is accepted, also after the placement ended. What is unusual about a mark is
//! recorded as a flag or a warning; it does not reject the mark.

mod absence;
mod arrangement;
mod confirm;
mod expected_returns;
mod parts;
pub mod progress;
mod rates;
mod read;
mod register_statements;
mod resolve;
mod roster;
mod rows;
mod rules;
mod statement_delivery;
mod submit;
mod view;
mod void;
mod wire;

pub use read::{DeliveredMarks, DeliveredReturn, load_return_content};
pub use rows::placements_at;
pub use statement_delivery::{DeliveredStatements, absences_at, confirmations_at};

use crate::exchange::{Action, Routes};
use crate::proto::v1::returns_service as rpc;

/// Adds the methods of `ReturnsService`.
#[must_use]
pub fn routes(routes: Routes) -> Routes {
    let rosters = roster::RosterCache::default();
    let shared = rosters.clone();
    let submit = move |cx, m| submit::submit_attendance(rosters.clone(), cx, m);
    let part = move |cx, m| parts::submit_part(shared.clone(), cx, m);
    routes
        .part_stream(
            rpc::STREAM_ATTENDANCE,
            Action::StreamAttendance,
            parts::classify_message,
            parts::open_stream,
            part,
        )
        .unary(rpc::SUBMIT_ATTENDANCE, Action::SubmitAttendance, submit)
        .unary(rpc::VOID_RETURN, Action::VoidReturn, void::void_return)
        .unary(rpc::CONFIRM_MARKS, Action::ConfirmMarks, confirm::confirm_marks)
        .unary(rpc::NOTIFY_EXPECTED_ABSENCE, Action::NotifyExpectedAbsence, absence::notify_expected_absence)
        .unary(
            rpc::LIST_EXPECTED_RETURNS,
            Action::ListExpectedReturns,
            expected_returns::list_expected_returns,
        )
        .unary(rpc::GET_ATTENDANCE, Action::GetAttendance, read::get_attendance)
        .unary(rpc::SUBMIT_PROGRESS, Action::SubmitProgress, progress::submit_progress)
        .unary(rpc::GET_PROGRESS, Action::GetProgress, progress::get_progress)
}
