//! Methods that write records about children: the name of their records, and the split of a reply into the parts of
//! each child.

use std::collections::BTreeMap;

use prost::{DecodeError, Message};
use uuid::Uuid;

use crate::oversight::ALERT_METHOD;
use crate::proto::v1::{
    ConfirmMarksResponse, ConfirmationResult, MarkResult, StreamAttendanceResponse, SubmitAttendanceResponse,
    VoidReturnResponse, delivery_service as deliveries, oversight_service as oversight,
    passport_service as passports, placement_service as placements, returns_service as returns,
};

/// Name of the record that each method writes.
const RECORD_NAMES: [(&str, &str); 19] = [
    (placements::CREATE_REFERRAL.path(), "a referral"),
    (placements::RESPOND_TO_REFERRAL.path(), "an answer to a referral"),
    (placements::DECIDE_PLACEMENT.path(), "a decision on a placement"),
    (placements::PUT_PLAN.path(), "a plan"),
    (placements::START_PLACEMENT.path(), "the start of a placement"),
    (placements::END_PLACEMENT.path(), "the end of a placement"),
    (placements::UPDATE_PARTIES.path(), "a change of parties"),
    (ALERT_METHOD, "an alert"),
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

/// Returns the name of the record that a method writes.
pub fn record_name(method: &str) -> &'static str {
    RECORD_NAMES.iter().find(|(known, _)| *known == method).map_or("a record", |(_, name)| name)
}

/// A stored reply, split as the children's leaves commit to it.
pub enum ReplyParts<'a> {
    /// A reply about one child.
    Single(&'a [u8]),
    /// The encoded results of each placement, in the order of the reply.
    ByPlacement(BTreeMap<String, Vec<u8>>),
}

impl ReplyParts<'_> {
    /// Returns the part about a placement's child.
    pub fn for_placement(&self, placement: Uuid) -> &[u8] {
        match self {
            Self::Single(reply) => reply,
            Self::ByPlacement(parts) => {
                parts.get(&placement.hyphenated().to_string()).map_or(&[], Vec::as_slice)
            }
        }
    }
}

/// Splits a stored reply. `None` when it cannot be decoded.
pub fn split_reply<'a>(method: &str, reply: &'a [u8]) -> Option<ReplyParts<'a>> {
    results_by_placement(method, reply)
        .map(|parts| parts.map_or(ReplyParts::Single(reply), ReplyParts::ByPlacement))
        .ok()
}

fn results_by_placement(
    method: &str,
    reply: &[u8],
) -> Result<Option<BTreeMap<String, Vec<u8>>>, DecodeError> {
    let of_mark = |result: &MarkResult| result.placement_id.clone();
    let of_confirmation = |result: &ConfirmationResult| result.placement_id.clone();
    Ok(Some(if method == returns::SUBMIT_ATTENDANCE.path() {
        group_by_placement(&SubmitAttendanceResponse::decode(reply)?.results, of_mark)
    } else if method == returns::STREAM_ATTENDANCE.path() {
        group_by_placement(&StreamAttendanceResponse::decode(reply)?.results, of_mark)
    } else if method == returns::VOID_RETURN.path() {
        group_by_placement(&VoidReturnResponse::decode(reply)?.results, of_mark)
    } else if method == returns::CONFIRM_MARKS.path() {
        group_by_placement(&ConfirmMarksResponse::decode(reply)?.results, of_confirmation)
    } else {
        return Ok(None);
    }))
}

fn group_by_placement<R: Message>(
    results: &[R],
    placement: impl Fn(&R) -> String,
) -> BTreeMap<String, Vec<u8>> {
    let mut parts: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for result in results {
        parts.entry(placement(result)).or_default().extend(result.encode_to_vec());
    }
    parts
}
