//! The violations of a refusal as `google.rpc.BadRequest`, as many as the trailers hold.
//!
//! A client needs path and reason of each fault to act on it; the text can be looked up by the reason. So paths and
//! reasons come first, and texts fill the room that is left.

use std::collections::HashSet;

use prost::Message;
use tonic_types::FieldViolation;
use tonic_types::pb::bad_request::FieldViolation as Encoded;

use super::check::Violation;

/// Bytes of headers and trailers of a refusal, counted as HTTP/2 does: name, value and 32 a header.
pub const MAX_TRAILERS: usize = 4_096;

/// Bytes of [`MAX_TRAILERS`] for all but the value of `grpc-status-details-bin`: its name, the other headers, and
/// the status's message.
const OTHER_HEADERS: usize = 400;

/// Bytes of the encoded `google.rpc.Status`, which the header holds in base64.
pub const MAX_DETAILS: usize = (MAX_TRAILERS - OTHER_HEADERS) / 4 * 3;

/// Bytes of a `BadRequest` besides its violations: its type's address, tags and lengths.
const BAD_REQUEST: usize = 60;

/// Chooses what of `violations` fits beside `taken` bytes of other details: the first ones with path and reason,
/// and texts where there is room, that of each reason once before any is repeated.
pub fn fitting(violations: &[Violation], taken: usize) -> Vec<FieldViolation> {
    let mut room = MAX_DETAILS.saturating_sub(taken + BAD_REQUEST);
    let mut shown = Vec::new();
    for violation in violations {
        let bare = bare(violation);
        let Some(rest) = room.checked_sub(size(&bare)) else { break };
        room = rest;
        shown.push(bare);
    }
    let mut described = HashSet::new();
    let (first, again): (Vec<usize>, Vec<usize>) = (0..shown.len())
        .partition(|at| violations.get(*at).is_some_and(|violation| described.insert(violation.reason)));
    for at in first.into_iter().chain(again) {
        let (Some(violation), Some(bare)) = (violations.get(at), shown.get_mut(at)) else { continue };
        let whole = FieldViolation { description: violation.text(), ..bare.clone() };
        if let Some(rest) = room.checked_sub(size(&whole) - size(bare)) {
            room = rest;
            *bare = whole;
        }
    }
    shown
}

/// A violation without its text.
fn bare(violation: &Violation) -> FieldViolation {
    FieldViolation {
        reason: violation.reason.to_owned(),
        ..FieldViolation::new(violation.field.as_str(), "")
    }
}

/// Bytes of a violation in an encoded list.
fn size(violation: &FieldViolation) -> usize {
    let encoded = Encoded {
        field: violation.field.clone(),
        description: violation.description.clone(),
        reason: violation.reason.clone(),
        localized_message: None,
    };
    let len = encoded.encoded_len();
    1 + prost::length_delimiter_len(len) + len
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt;
    use uuid::Uuid;

    use super::*;
    use crate::exchange::Refusal;
    use crate::exchange::check::{Check, REASONS};

    /// A refusal of 1,000 rows that are at fault in this field for this reason.
    fn refused(list: &'static str, field: &'static str, reason: &'static str) -> Refusal {
        let mut check = Check::new();
        for index in 0..1_000 {
            check.at(list).index(index).fault(field, reason);
        }
        check.finish().unwrap_err().into()
    }

    /// Violations shown, those with a text, and bytes of the header list that the gateway sends.
    fn shown(refusal: &Refusal) -> (usize, usize, usize) {
        let status = refusal.status(Uuid::from_u128(u128::MAX));
        let details = status.get_error_details();
        let faults = details.bad_request().unwrap().field_violations.clone();
        let omitted = details.error_info().unwrap().metadata.get("violations_omitted").cloned();
        let omitted: usize = omitted.map_or(0, |omitted| omitted.parse().unwrap());
        assert_eq!(faults.len() + omitted, refusal.violations.len() + refusal.omitted);
        assert!(faults.iter().all(|fault| !fault.field.is_empty() && !fault.reason.is_empty()));
        assert!(status.details().len() <= MAX_DETAILS, "{}", status.details().len());
        let texts = faults.iter().filter(|fault| !fault.description.is_empty()).count();
        (faults.len(), texts, status.details().len())
    }

    #[test]
    fn paths_and_reasons_come_before_texts() {
        let (all, texts, _) = shown(&refused("marks", "date", "DATE_FORMAT"));
        assert_eq!(all, 50);
        assert!((1..50).contains(&texts), "{texts}");
        let one: Refusal = Check::only("date", "DATE_FORMAT").into();
        assert_eq!(shown(&one).0, 1);
        assert_eq!(shown(&one).1, 1);
    }

    #[test]
    fn as_many_are_shown_as_fit() {
        for (list, field, reason) in [
            ("marks", "correction_reason", "CORRECTION_REASON_REQUIRED"),
            ("confirmations", "correction_reason", "CORRECTION_REASON_REQUIRED"),
            ("marks", "upn", "UPN_CHECK_LETTER"),
        ] {
            let refusal = refused(list, field, reason);
            let (all, _, bytes) = shown(&refusal);
            // All fifty, or one more of the size of the last would not fit.
            let next = refusal.violations.get(all).map_or(usize::MAX, |next| size(&bare(next)));
            assert!(all == 50 || bytes + next + BAD_REQUEST > MAX_DETAILS, "{field}: {all} in {bytes}");
            eprintln!("{list} {field} {reason}: {all}");
        }
    }

    #[test]
    fn every_reason_alone_has_its_text() {
        for (reason, words) in REASONS {
            let refusal: Refusal = Check::only("date_of_birth", reason).into();
            let status = refusal.status(Uuid::from_u128(1));
            let details = status.get_error_details();
            assert_eq!(details.bad_request().unwrap().field_violations[0].description, *words);
        }
    }
}
