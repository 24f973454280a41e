//! The methods that write records about children: what a record is called, and which part of the reply is a
//! child's.

use std::collections::BTreeMap;

use prost::{DecodeError, Message};
use uuid::Uuid;

use crate::oversight::ALERT;
use crate::proto::v1::{
    ConfirmMarksResponse, ConfirmationResult, MarkResult, StreamAttendanceResponse, SubmitAttendanceResponse,
    VoidReturnResponse, delivery_service as deliveries, oversight_service as oversight,
    passport_service as passports, placement_service as placements, returns_service as returns,
};

/// Each method, and what it writes.
const WRITTEN: [(&str, &str); 19] = [
    (placements::CREATE_REFERRAL.path(), "a referral"),
    (placements::RESPOND_TO_REFERRAL.path(), "an answer to a referral"),
    (placements::DECIDE_PLACEMENT.path(), "a decision on a placement"),
    (placements::PUT_PLAN.path(), "a plan"),
    (placements::START_PLACEMENT.path(), "the start of a placement"),
    (placements::END_PLACEMENT.path(), "the end of a placement"),
    (placements::UPDATE_PARTIES.path(), "a change of parties"),
    (ALERT, "an alert"),
    (oversight::RESOLVE_ALERT.path(), "what was done about an alert"),
    (passports::PUT_PASSPORT.path(), "a passport"),
    (passports::SHARE_PASSPORT.path(), "the sharing of a passport"),
    (passports::WITHHOLD_INFORMATION.path(), "a decision not to share"),
    (returns::SUBMIT_ATTENDANCE.path(), "a mark"),
    (returns::STREAM_ATTENDANCE.path(), "a mark"),
    (returns::VOID_RETURN.path(), "a mark"),
    (returns::CONFIRM_MARKS.path(), "a confirmation"),
    (returns::NOTIFY_EXPECTED_ABSENCE.path(), "a notice of absence"),
    (returns::SUBMIT_PROGRESS.path(), "a progress return"),
    (deliveries::ACKNOWLEDGE_DELIVERY.path(), "an acknowledgement"),
];

/// What a method writes, in words.
pub fn what(method: &str) -> &'static str {
    WRITTEN.iter().find(|(known, _)| *known == method).map_or("a record", |(_, what)| what)
}

/// A stored reply, as its children's leaves take it.
pub enum Parts<'a> {
    /// A reply about one child.
    Whole(&'a [u8]),
    /// The results of each placement, in their order.
    Results(BTreeMap<String, Vec<u8>>),
}

impl Parts<'_> {
    /// The part of the placement's child.
    pub fn of(&self, placement: Uuid) -> &[u8] {
        match self {
            Self::Whole(reply) => reply,
            Self::Results(parts) => parts.get(&placement.hyphenated().to_string()).map_or(&[], Vec::as_slice),
        }
    }
}

/// Takes a stored reply apart; none where it is not one.
pub fn parts<'a>(method: &str, reply: &'a [u8]) -> Option<Parts<'a>> {
    results(method, reply).map(|parts| parts.map_or(Parts::Whole(reply), Parts::Results)).ok()
}

fn results(method: &str, reply: &[u8]) -> Result<Option<BTreeMap<String, Vec<u8>>>, DecodeError> {
    let of_mark = |result: &MarkResult| result.placement_id.clone();
    let of_confirmation = |result: &ConfirmationResult| result.placement_id.clone();
    Ok(Some(if method == returns::SUBMIT_ATTENDANCE.path() {
        by_placement(&SubmitAttendanceResponse::decode(reply)?.results, of_mark)
    } else if method == returns::STREAM_ATTENDANCE.path() {
        by_placement(&StreamAttendanceResponse::decode(reply)?.results, of_mark)
    } else if method == returns::VOID_RETURN.path() {
        by_placement(&VoidReturnResponse::decode(reply)?.results, of_mark)
    } else if method == returns::CONFIRM_MARKS.path() {
        by_placement(&ConfirmMarksResponse::decode(reply)?.results, of_confirmation)
    } else {
        return Ok(None);
    }))
}

fn by_placement<R: Message>(results: &[R], placement: impl Fn(&R) -> String) -> BTreeMap<String, Vec<u8>> {
    let mut parts: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for result in results {
        parts.entry(placement(result)).or_default().extend(result.encode_to_vec());
    }
    parts
}
