//! Reasons of field violations, with their texts.
//!
//! One list, from which the error catalogue is generated. A text never repeats a value. A test checks that the
//! reasons named by codes and calendar are in this list.

/// Every reason and its text, in the order of the bad-input catalogue.
pub const REASONS: &[(&str, &str)] = &[
    ("FIELD_REQUIRED", "the field is required"),
    ("FIELD_LENGTH", "the text is longer than the field allows"),
    ("FIELD_NOT_EXPECTED", "the field has no meaning in this request; leave it empty"),
    ("COMMISSIONER_ONLY", "only the commissioner of the placement may do this"),
    (
        "KEEP_OR_REMOVE",
        "a system may not read blocks of this kind: send one, or name the kind in keep or remove",
    ),
    ("FIELD_OUTPUT_ONLY", "the field is set by the gateway only"),
    ("UPN_FORMAT", "not a pupil number: a letter, eleven digits, and a digit or letter, in capitals"),
    ("UPN_CHECK_LETTER", "the check letter of the pupil number is wrong"),
    ("UPN_TEMPORARY", "the pupil number is temporary and a permanent one is needed"),
    ("UPN_LA_UNKNOWN", "the pupil number names an authority that never existed"),
    ("ULN_CHECK_DIGIT", "not a learner number: ten digits of which the last checks the others"),
    ("NHS_NUMBER_FORMAT", "not an NHS number of ten digits"),
    ("NHS_NUMBER_CHECK_DIGIT", "the check digit of the NHS number is wrong"),
    ("URN_FORMAT", "not a URN of six digits"),
    ("UKPRN_FORMAT", "not a UKPRN: eight digits, the first a 1"),
    ("LAESTAB_FORMAT", "not an authority and establishment number of seven digits"),
    ("LA_CODE_FORMAT", "not a local authority code of three digits"),
    ("LA_CODE_UNKNOWN", "no local authority has this code on that date"),
    ("ORGANISATION_FORMAT", "not an organisation written as kind/id"),
    ("IDENTITY_FORMAT", "not the identity of a system in this trust domain"),
    ("ID_FORMAT", "not an id: a UUID in lower case with hyphens, not all zero"),
    ("DATE_FORMAT", "not a date written as YYYY-MM-DD"),
    ("DATE_INVALID", "no such day in the calendar"),
    ("DATE_RANGE", "the year is not between 1900 and 2100"),
    ("DATE_ORDER", "the end is before the start"),
    (
        "RANGE_TOO_LONG",
        "the range holds more days than the field allows, or ends more than two years ahead: ask for fewer days",
    ),
    ("DATE_IN_FUTURE", "the day is in the future"),
    ("TIME_FORMAT", "not a time written as HH:MM"),
    ("TIMESTAMP_FORMAT", "not a date and time of RFC 3339"),
    ("TIMESTAMP_RANGE", "the timestamp is out of range"),
    ("TIMESTAMP_AMBIGUOUS", "the clocks skip or repeat this time on this date"),
    ("DOB_RANGE", "the age this date of birth gives is not between 4 and 25"),
    ("ENUM_REQUIRED", "a value must be chosen"),
    ("ENUM_UNKNOWN", "the value is not one of the list"),
    ("CODE_UNKNOWN", "not an attendance code on that date"),
    ("CODE_RETIRED", "the attendance code was withdrawn on 19 August 2024"),
    ("CODE_SESSION_MISMATCH", "the attendance code belongs to the other session"),
    ("CODE_NOT_AN_ABSENCE", "the attendance code is not a code for absence"),
    ("CODE_NOT_OF_A_CLOSURE", "registers do not use this code for a closure of this kind"),
    ("SESSION_IN_FUTURE", "the session has not begun; an afternoon begins at noon at the earliest"),
    ("MINUTES_RANGE", "the number of minutes is out of range"),
    ("NUMBER_RANGE", "the number is out of range"),
    ("TEXT_CONTROL_CHAR", "the text holds a control character"),
    ("TEXT_BIDI_CONTROL", "the text holds a character that changes the direction of writing"),
    ("TEXT_INVISIBLE", "the text holds an invisible character"),
    ("TEXT_COMBINING", "too many combining marks on one letter"),
    ("TEXT_NOT_A_NAME", "the text is not a name"),
    ("TEXT_UNASSIGNED", "the text holds a character that is not assigned"),
    ("POSTCODE_FORMAT", "not a postcode of the United Kingdom"),
    ("PHONE_FORMAT", "not a telephone number"),
    ("EMAIL_FORMAT", "not an e-mail address"),
    ("LIST_TOO_LONG", "the list is longer than the field allows"),
    ("PAGE_SIZE", "the page size is negative"),
    ("CERTIFICATE_PROFILE", "not a client certificate with one spiffe:// URI that names kind, id and system"),
    ("SYSTEM_RESERVED", "the certificate names the system gateway, which is the gateway's own; name another"),
    ("CERTIFICATE_OF_ANOTHER", "the certificate names another organisation"),
    ("FINGERPRINT_FORMAT", "not 64 lower-case hexadecimal digits"),
    ("ORGANISATION_KIND", "an organisation of this kind cannot be named here"),
    ("METHOD_UNKNOWN", "no method has this name"),
    ("METHOD_NOT_GRANTABLE", "no grant covers this method, because it changes who may do what"),
    ("BASIS_NOT_OPEN_TO_PUBLIC_AUTHORITY", "a local authority cannot rest on legitimate interests"),
    (
        "ARTICLE_9_REQUIRED",
        "attendance and passports are special-category data and need an Article 9 condition",
    ),
    ("SCHEDULE_1_REQUIRED", "Article 9(2)(g) needs paragraph 6, 8 or 18 of Schedule 1"),
    ("CURSOR_UNKNOWN", "the cursor does not belong to this log"),
    (
        "CURSOR_LOST",
        "the log was replaced and this position was lost: continue from an earlier cursor, or without one from the first",
    ),
    ("STAGE_NOT_RECIPIENTS", "a recipient may send only ACKNOWLEDGED or ACTED_ON"),
    ("OFFICER_NOT_EXPECTED", "an officer is named with ACTED_ON only"),
    ("SHA256_LENGTH", "a SHA-256 is 32 bytes"),
    ("PAGE_TOKEN_INVALID", "the page token is not one for this query"),
    ("BATCH_EMPTY", "the batch holds nothing and declares no nil return"),
    ("BATCH_TOO_LARGE", "the batch holds more than 1,000 rows"),
    ("RETURN_TOO_LARGE", "the return would have more than 20,000 marks"),
    ("CHILD_NOT_FOUND", "no placement of this provider names this child"),
    (
        "PLACEMENT_AMBIGUOUS",
        "several placements of this child include that day, and their timetables do not decide between them: send the placement_id of one",
    ),
    ("MARK_NOT_FOUND", "no mark is in force for this session"),
    ("NOT_PARTY_ON_DAY", "the organisation has no part in the placement on that day"),
    ("PLACEMENT_NOT_ACTIVE", "the day lies outside the placement"),
    ("TIME_ORDER", "only a timed session has times, and it ends after it starts"),
    ("CONFLICT_IN_BATCH", "an earlier row of the batch contradicts this one"),
    ("IDEMPOTENCY_KEY_FORMAT", "not a request id: a UUID in lower case with hyphens, not all zero"),
    ("IDENTIFIERS_DIFFER", "the identifiers that were sent do not name one child"),
    ("IDENTITY_MISMATCH", "the name or date of birth is not that of the child"),
    ("PLAN_MISSING", "there is no plan, and it is not among the items passed"),
    (
        "SAFETY_NOT_ACKNOWLEDGED",
        "the provider has not acknowledged the child's emergency contact, medical and safety items, and that is not among the items passed",
    ),
    ("SENSITIVITY_TOO_LOW", "the sensitivity is lower than a block of this kind requires"),
    ("PLAN_VERSION_UNKNOWN", "the placement's plan has no such version"),
    ("OUTCOME_UNKNOWN", "that version of the plan has no such outcome"),
    ("META_REQUIRED", "a passport must name its author: a block META is required"),
    ("DECISION_MISSING", "the decision is not taken, and it is not among the items passed"),
    ("CORRECTION_REASON_REQUIRED", "something else is recorded; a correction needs a reason"),
];

/// Returns the text for `reason`.
#[must_use]
pub fn description(reason: &str) -> &'static str {
    REASONS
        .iter()
        .find(|(known, _)| *known == reason)
        .map_or("the value is not acceptable", |(_, words)| words)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn reasons_are_well_formed_and_once_each() {
        let mut seen = BTreeSet::new();
        for (reason, words) in REASONS {
            assert!(seen.insert(reason), "{reason}");
            assert!(
                reason.len() <= 63
                    && reason.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_'),
                "{reason}"
            );
            assert!(!words.ends_with('.') && !words.is_empty());
        }
    }

    #[test]
    fn what_codes_and_calendar_name_is_listed() {
        use crate::{calendar, clock, codes};
        let named = [
            calendar::DateError::Format.reason(),
            calendar::DateError::Invalid.reason(),
            calendar::DateError::Range.reason(),
            calendar::PeriodError::Order.reason(),
            calendar::PeriodError::TooLong.reason(),
            calendar::TimeError::Format.reason(),
            calendar::TimeError::Ambiguous.reason(),
            clock::InstantError::Format.reason(),
            clock::InstantError::Range.reason(),
            codes::AttendanceCodeError::Unknown.reason(),
            codes::AttendanceCodeError::Retired.reason(),
            codes::AttendanceCodeError::SessionMismatch.reason(),
            codes::local_authority::LaCodeError::Format.reason(),
            codes::local_authority::LaCodeError::Unknown.reason(),
            codes::upn::UpnError::Format.reason(),
            codes::upn::UpnError::CheckLetter.reason(),
            codes::upn::UpnError::LaUnknown.reason(),
            codes::upn::UpnError::Temporary.reason(),
            codes::uln::UlnError::Format.reason(),
            codes::nhs::NhsNumberError::Format.reason(),
            codes::nhs::NhsNumberError::CheckDigit.reason(),
            codes::urn::EstablishmentNumberError::Urn.reason(),
            codes::urn::EstablishmentNumberError::Ukprn.reason(),
            codes::urn::EstablishmentNumberError::Laestab.reason(),
            codes::organisation::OrganisationError::Format.reason(),
            codes::organisation::OrganisationError::Identity.reason(),
        ];
        for reason in named {
            assert!(REASONS.iter().any(|(known, _)| *known == reason), "{reason}");
        }
    }
}
