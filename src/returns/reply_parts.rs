//! The parts of replies about several children, by placement: each child's leaf commits to its own results.

use std::collections::BTreeMap;

use prost::{DecodeError, Message};

use crate::exchange::method::group_by_placement;
use crate::proto::v1::{
    ConfirmMarksResponse, MarkResult, StreamAttendanceResponse, SubmitAttendanceResponse, VoidReturnResponse,
};

type Parts = Result<BTreeMap<String, Vec<u8>>, DecodeError>;

/// Splits the reply of `SubmitAttendance`.
pub fn of_submission(reply: &[u8]) -> Parts {
    Ok(of_marks(&SubmitAttendanceResponse::decode(reply)?.results))
}

/// Splits a reply of `StreamAttendance`.
pub fn of_stream_part(reply: &[u8]) -> Parts {
    Ok(of_marks(&StreamAttendanceResponse::decode(reply)?.results))
}

/// Splits the reply of `VoidReturn`.
pub fn of_void(reply: &[u8]) -> Parts {
    Ok(of_marks(&VoidReturnResponse::decode(reply)?.results))
}

/// Splits the reply of `ConfirmMarks`.
pub fn of_confirmation(reply: &[u8]) -> Parts {
    let results = ConfirmMarksResponse::decode(reply)?.results;
    Ok(group_by_placement(&results, |result| &result.placement_id))
}

fn of_marks(results: &[MarkResult]) -> BTreeMap<String, Vec<u8>> {
    group_by_placement(results, |result| &result.placement_id)
}
