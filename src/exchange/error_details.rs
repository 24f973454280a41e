//! Violations of a refusal as `google.rpc.BadRequest`, as many as the trailers can hold.
//!
//! A client needs path and reason of each violation, and can look the text up by its reason. So paths and reasons
//! come first, and texts fill the remaining space.

use std::collections::HashSet;

use prost::Message;
use tonic_types::FieldViolation;
use tonic_types::pb::bad_request::FieldViolation as Encoded;

use super::check::Violation;

/// Maximum size of a refusal's headers and trailers, counted as in HTTP/2: name, value and 32 bytes for each.
pub const MAX_TRAILER_BYTES: usize = 4_096;

/// Part of [`MAX_TRAILER_BYTES`] for everything except the value of `grpc-status-details-bin`: its name, the other
/// headers, and the status's message.
const OTHER_HEADER_BYTES: usize = 400;

/// Maximum size of the encoded `google.rpc.Status`, which the trailer holds in base64.
pub const MAX_DETAILS_BYTES: usize = (MAX_TRAILER_BYTES - OTHER_HEADER_BYTES) / 4 * 3;

/// Size of a `BadRequest` without its violations: its type URL, tags and lengths.
const BAD_REQUEST_OVERHEAD_BYTES: usize = 60;

/// Selects the violations that fit beside `used_bytes` bytes of other details. The first ones are included with path
/// and reason. Texts are added while there is space, one for each reason before any is repeated.
pub fn fit_violations(violations: &[Violation], used_bytes: usize) -> Vec<FieldViolation> {
    let mut remaining = MAX_DETAILS_BYTES.saturating_sub(used_bytes + BAD_REQUEST_OVERHEAD_BYTES);
    let mut shown = Vec::new();
    for violation in violations {
        let bare = without_description(violation);
        let Some(rest) = remaining.checked_sub(encoded_size(&bare)) else { break };
        remaining = rest;
        shown.push(bare);
    }
    let mut described = HashSet::new();
    let (first, again): (Vec<usize>, Vec<usize>) = (0..shown.len()).partition(|index| {
        violations.get(*index).is_some_and(|violation| described.insert(violation.reason))
    });
    for index in first.into_iter().chain(again) {
        let (Some(violation), Some(bare)) = (violations.get(index), shown.get_mut(index)) else { continue };
        let with_text = FieldViolation { description: violation.text(), ..bare.clone() };
        if let Some(rest) = remaining.checked_sub(encoded_size(&with_text) - encoded_size(bare)) {
            remaining = rest;
            *bare = with_text;
        }
    }
    shown
}

/// Converts a violation without its text.
fn without_description(violation: &Violation) -> FieldViolation {
    FieldViolation {
        reason: violation.reason.name().to_owned(),
        ..FieldViolation::new(violation.field.as_str(), "")
    }
}

/// Returns the size of a violation in an encoded list.
fn encoded_size(violation: &FieldViolation) -> usize {
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
    use crate::exchange::check::Check;
    use crate::violation_reason::ViolationReason;

    /// Returns a refusal of 1,000 rows that all have this violation.
    fn refused(list: &'static str, field: &'static str, reason: ViolationReason) -> Refusal {
        let mut check = Check::new();
        for index in 0..1_000 {
            check.enter(list).index(index).add_violation(field, reason);
        }
        check.finish().unwrap_err().into()
    }

    /// Counts the violations, those with a text, and the bytes of the encoded status.
    fn shown(refusal: &Refusal) -> (usize, usize, usize) {
        let status = refusal.status(Uuid::from_u128(u128::MAX));
        let details = status.get_error_details();
        let faults = details.bad_request().unwrap().field_violations.clone();
        let omitted = details.error_info().unwrap().metadata.get("violations_omitted").cloned();
        let omitted: usize = omitted.map_or(0, |omitted| omitted.parse().unwrap());
        assert_eq!(faults.len() + omitted, refusal.violations.len() + refusal.omitted_violations);
        assert!(faults.iter().all(|fault| !fault.field.is_empty() && !fault.reason.is_empty()));
        assert!(status.details().len() <= MAX_DETAILS_BYTES, "{}", status.details().len());
        let texts = faults.iter().filter(|fault| !fault.description.is_empty()).count();
        (faults.len(), texts, status.details().len())
    }

    #[test]
    fn paths_and_reasons_come_before_texts() {
        let (all, texts, _) = shown(&refused("marks", "date", ViolationReason::DateFormat));
        assert_eq!(all, 50);
        assert!((1..50).contains(&texts), "{texts}");
        let one: Refusal = Check::single_violation("date", ViolationReason::DateFormat).into();
        assert_eq!(shown(&one).0, 1);
        assert_eq!(shown(&one).1, 1);
    }

    #[test]
    fn as_many_are_shown_as_fit() {
        for (list, field, reason) in [
            ("marks", "correction_reason", ViolationReason::CorrectionReasonRequired),
            ("confirmations", "correction_reason", ViolationReason::CorrectionReasonRequired),
            ("marks", "upn", ViolationReason::UpnCheckLetter),
        ] {
            let refusal = refused(list, field, reason);
            let (all, _, bytes) = shown(&refusal);
            // Either all fifty fit, or one more of the last one's size would not.
            let next = refusal
                .violations
                .get(all)
                .map_or(usize::MAX, |next| encoded_size(&without_description(next)));
            assert!(
                all == 50 || bytes + next + BAD_REQUEST_OVERHEAD_BYTES > MAX_DETAILS_BYTES,
                "{field}: {all} in {bytes}"
            );
            eprintln!("{list} {field} {reason}: {all}");
        }
    }

    #[test]
    fn every_reason_alone_has_its_text() {
        for reason in ViolationReason::ALL {
            let refusal: Refusal = Check::single_violation("date_of_birth", *reason).into();
            let status = refusal.status(Uuid::from_u128(1));
            let details = status.get_error_details();
            assert_eq!(details.bad_request().unwrap().field_violations[0].description, reason.text());
        }
    }
}
