//! Returns: what providers send about the children whom they teach. Facts are never refused: a mark for any
//! day inside a placement is taken, also after it ended, and what is unusual about it is a flag.

mod absence;
mod arrangement;
mod confirm;
mod due;
mod parts;
pub mod progress;
mod rates;
mod read;
mod resolve;
mod roll;
mod rows;
mod rules;
mod stated;
mod statements;
mod submit;
mod view;
mod void;
mod wire;

pub use read::{Returned, ReturnedChild, content};
pub use rows::placements_at;
pub use stated::{StatedChild, absences_at, confirmed_at};

use crate::exchange::{Action, Routes};
use crate::proto::v1::returns_service as rpc;

/// Adds the methods of `ReturnsService`.
#[must_use]
pub fn routes(routes: Routes) -> Routes {
    let rolls = roll::Rolls::default();
    let same_rolls = rolls.clone();
    let submit = move |cx, m| submit::submit_attendance(rolls.clone(), cx, m);
    let part = move |cx, m| parts::part(same_rolls.clone(), cx, m);
    routes
        .stream(rpc::STREAM_ATTENDANCE, Action::StreamAttendance, parts::piece, parts::open, part)
        .unary(rpc::SUBMIT_ATTENDANCE, Action::SubmitAttendance, submit)
        .unary(rpc::VOID_RETURN, Action::VoidReturn, void::void_return)
        .unary(rpc::CONFIRM_MARKS, Action::ConfirmMarks, confirm::confirm_marks)
        .unary(rpc::NOTIFY_EXPECTED_ABSENCE, Action::NotifyExpectedAbsence, absence::notify_expected_absence)
        .unary(rpc::LIST_EXPECTED_RETURNS, Action::ListExpectedReturns, due::list_expected_returns)
        .unary(rpc::GET_ATTENDANCE, Action::GetAttendance, read::get_attendance)
        .unary(rpc::SUBMIT_PROGRESS, Action::SubmitProgress, progress::submit_progress)
        .unary(rpc::GET_PROGRESS, Action::GetProgress, progress::get_progress)
}
