//! Returns: what providers send about the children whom they teach. Facts are never refused: a mark for any
//! day inside a placement is taken, also after it ended, and what is unusual about it is a flag.

mod arrangement;
mod rates;
mod read;
mod resolve;
mod rows;
mod rules;
mod submit;
mod view;
mod void;
mod wire;

pub use read::{Returned, ReturnedChild, content};

use crate::exchange::{Action, Routes};
use crate::proto::v1::returns_service as rpc;

/// Adds the methods of `ReturnsService`.
#[must_use]
pub fn routes(routes: Routes) -> Routes {
    routes
        .unary(rpc::SUBMIT_ATTENDANCE, Action::SubmitAttendance, submit::submit_attendance)
        .unary(rpc::VOID_RETURN, Action::VoidReturn, void::void_return)
        .unary(rpc::GET_ATTENDANCE, Action::GetAttendance, read::get_attendance)
}
