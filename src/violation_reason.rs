//! Reasons of field violations: what can be wrong with one field of a request.
//!
//! One table, from which the enum and the error catalogue (`proto/ERRORS.md`) are made. A text never repeats a value.

use std::fmt;

macro_rules! violation_reasons {
    ($($variant:ident $name:literal $text:literal;)*) => {
        /// Reason of a field violation. Names are stable, because clients branch on them.
        #[expect(clippy::doc_markdown, reason = "the texts are shown to people, who see no backticks")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ViolationReason {
            $(#[doc = $text] $variant,)*
        }

        impl ViolationReason {
            /// Every reason, in the order of the bad-input catalogue.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns the reason with a name; `None` for a name of a newer release.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }

            /// Returns the stable name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Returns the text for people.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

violation_reasons! {
    FieldRequired "FIELD_REQUIRED" "the field is required";
    FieldLength "FIELD_LENGTH" "the text is longer than the field allows";
    ReasonTooShort "REASON_TOO_SHORT" "a reason has at least 20 characters, of which 10 are letters; a run of spaces counts as one";
    FieldNotExpected "FIELD_NOT_EXPECTED" "the field has no meaning in this request; leave it empty";
    CommissionerOnly "COMMISSIONER_ONLY" "only the commissioner of the placement may do this";
    KeepOrRemove "KEEP_OR_REMOVE" "a system may not read blocks of this kind: send one, or name the kind in keep or remove";
    FieldOutputOnly "FIELD_OUTPUT_ONLY" "the field is set by the gateway only";
    UpnFormat "UPN_FORMAT" "not a pupil number: a letter, eleven digits, and a digit or letter, in capitals";
    UpnCheckLetter "UPN_CHECK_LETTER" "the check letter of the pupil number is wrong";
    UpnTemporary "UPN_TEMPORARY" "the pupil number is temporary and a permanent one is needed";
    UpnLaUnknown "UPN_LA_UNKNOWN" "the pupil number names an authority that never existed";
    UlnCheckDigit "ULN_CHECK_DIGIT" "not a learner number: ten digits of which the last checks the others";
    NhsNumberFormat "NHS_NUMBER_FORMAT" "not an NHS number of ten digits";
    NhsNumberCheckDigit "NHS_NUMBER_CHECK_DIGIT" "the check digit of the NHS number is wrong";
    UrnFormat "URN_FORMAT" "not a URN of six digits";
    UkprnFormat "UKPRN_FORMAT" "not a UKPRN: eight digits, the first a 1";
    LaestabFormat "LAESTAB_FORMAT" "not an authority and establishment number of seven digits";
    LaCodeFormat "LA_CODE_FORMAT" "not a local authority code of three digits";
    LaCodeUnknown "LA_CODE_UNKNOWN" "no local authority has this code on that date";
    OrganisationFormat "ORGANISATION_FORMAT" "not an organisation written as kind/id";
    IdentityFormat "IDENTITY_FORMAT" "not the identity of a system in this trust domain";
    IdFormat "ID_FORMAT" "not an id: a UUID in lower case with hyphens, not all zero";
    DateFormat "DATE_FORMAT" "not a date written as YYYY-MM-DD";
    DateInvalid "DATE_INVALID" "no such day in the calendar";
    DateRange "DATE_RANGE" "the year is not between 1900 and 2100";
    DateOrder "DATE_ORDER" "the end is before the start";
    RangeTooLong "RANGE_TOO_LONG" "the range holds more days than the field allows, or ends more than two years ahead: ask for fewer days";
    DateInFuture "DATE_IN_FUTURE" "the day is in the future";
    TimeFormat "TIME_FORMAT" "not a time written as HH:MM";
    TimestampFormat "TIMESTAMP_FORMAT" "not a date and time of RFC 3339";
    TimestampRange "TIMESTAMP_RANGE" "the timestamp is out of range";
    TimestampAmbiguous "TIMESTAMP_AMBIGUOUS" "the clocks skip or repeat this time on this date";
    DobRange "DOB_RANGE" "the age this date of birth gives is not between 4 and 25";
    EnumRequired "ENUM_REQUIRED" "a value must be chosen";
    EnumUnknown "ENUM_UNKNOWN" "the value is not one of the list";
    CodeUnknown "CODE_UNKNOWN" "not an attendance code on that date";
    CodeRetired "CODE_RETIRED" "the attendance code was withdrawn on 19 August 2024";
    CodeSessionMismatch "CODE_SESSION_MISMATCH" "the attendance code belongs to the other session";
    CodeNotAnAbsence "CODE_NOT_AN_ABSENCE" "the attendance code is not a code for absence";
    CodeNotOfAClosure "CODE_NOT_OF_A_CLOSURE" "registers do not use this code for a closure of this kind";
    SessionInFuture "SESSION_IN_FUTURE" "the session has not begun; an afternoon begins at noon at the earliest";
    MinutesRange "MINUTES_RANGE" "the number of minutes is out of range";
    NumberRange "NUMBER_RANGE" "the number is out of range";
    TextControlChar "TEXT_CONTROL_CHAR" "the text holds a control character";
    TextBidiControl "TEXT_BIDI_CONTROL" "the text holds a character that changes the direction of writing";
    TextInvisible "TEXT_INVISIBLE" "the text holds an invisible character";
    TextCombining "TEXT_COMBINING" "too many combining marks on one letter";
    TextNotAName "TEXT_NOT_A_NAME" "the text is not a name";
    TextUnassigned "TEXT_UNASSIGNED" "the text holds a character that is not assigned";
    PostcodeFormat "POSTCODE_FORMAT" "not a postcode of the United Kingdom";
    PhoneFormat "PHONE_FORMAT" "not a telephone number";
    EmailFormat "EMAIL_FORMAT" "not an e-mail address";
    ListTooLong "LIST_TOO_LONG" "the list is longer than the field allows";
    PageSize "PAGE_SIZE" "the page size is negative";
    CertificateProfile "CERTIFICATE_PROFILE" "not a client certificate with one spiffe:// URI that names kind, id and system";
    SystemReserved "SYSTEM_RESERVED" "the certificate names the system gateway, which is the gateway's own; name another";
    CertificateOfAnother "CERTIFICATE_OF_ANOTHER" "the certificate names another organisation";
    FingerprintFormat "FINGERPRINT_FORMAT" "not 64 lower-case hexadecimal digits";
    IssuerFormat "ISSUER_FORMAT" "not an https URL without user, query and fragment, of at most 200 characters";
    KeyFormat "KEY_FORMAT" "not a public JWK of P-256, Ed25519 or RSA from 2,048 bits for this key id and algorithm";
    KeyPrivate "KEY_PRIVATE" "the JWK holds a private or shared key: replace that key, and send the public part of the new one";
    KeyDuplicate "KEY_DUPLICATE" "two keys have this id";
    ReasonUnknown "REASON_UNKNOWN" "no refusal has this reason";
    OrganisationUnknown "ORGANISATION_UNKNOWN" "no organisation is registered under this id";
    OrganisationKind "ORGANISATION_KIND" "an organisation of this kind cannot be named here";
    MethodUnknown "METHOD_UNKNOWN" "no method has this name";
    MethodNotGrantable "METHOD_NOT_GRANTABLE" "no grant covers this method, because it changes who may do what, or names who did";
    BasisNotOpenToPublicAuthority "BASIS_NOT_OPEN_TO_PUBLIC_AUTHORITY" "a local authority cannot rest on legitimate interests";
    Article9Required "ARTICLE_9_REQUIRED" "attendance and passports, also their restricted parts, are special-category data and need an Article 9 condition";
    Schedule1Required "SCHEDULE_1_REQUIRED" "Article 9(2)(g) needs paragraph 6, 8 or 18 of Schedule 1";
    Article10Paragraph "ARTICLE_10_PARAGRAPH" "the condition for data about offences is paragraph 6, 10 or 18 of Schedule 1";
    CursorUnknown "CURSOR_UNKNOWN" "the cursor does not belong to this log";
    CursorLost "CURSOR_LOST" "the log was replaced and this position was lost: continue from an earlier cursor, or without one from the first";
    StageNotRecipients "STAGE_NOT_RECIPIENTS" "a recipient may send only ACKNOWLEDGED or ACTED_ON";
    OfficerNotExpected "OFFICER_NOT_EXPECTED" "an officer is named with ACTED_ON only";
    Sha256Length "SHA256_LENGTH" "a SHA-256 is 32 bytes";
    PageTokenInvalid "PAGE_TOKEN_INVALID" "the page token is not one for this query";
    BatchEmpty "BATCH_EMPTY" "the batch holds nothing and declares no nil return";
    BatchTooLarge "BATCH_TOO_LARGE" "the batch holds more than 1,000 rows";
    ReturnTooLarge "RETURN_TOO_LARGE" "the return would have more than 20,000 marks";
    ChildNotFound "CHILD_NOT_FOUND" "no placement of this provider names this child";
    PlacementAmbiguous "PLACEMENT_AMBIGUOUS" "several placements of this child include that day, and their timetables do not decide between them: send the placement_id of one";
    MarkNotFound "MARK_NOT_FOUND" "no mark is in force for this session";
    NotPartyOnDay "NOT_PARTY_ON_DAY" "the organisation has no part in the placement on that day";
    PlacementNotActive "PLACEMENT_NOT_ACTIVE" "the day lies outside the placement";
    TimeOrder "TIME_ORDER" "only a timed session has times, and it ends after it starts";
    ConflictInBatch "CONFLICT_IN_BATCH" "an earlier row of the batch contradicts this one";
    IdempotencyKeyFormat "IDEMPOTENCY_KEY_FORMAT" "not a request id: a UUID in lower case with hyphens, not all zero";
    IdentifiersDiffer "IDENTIFIERS_DIFFER" "the identifiers that were sent do not name one child";
    IdentityMismatch "IDENTITY_MISMATCH" "the name or date of birth is not that of the child";
    PlanMissing "PLAN_MISSING" "there is no plan, and it is not among the items passed";
    SafetyNotAcknowledged "SAFETY_NOT_ACKNOWLEDGED" "the provider has not acknowledged the child's emergency contact, medical and safety items, and that is not among the items passed";
    SensitivityTooLow "SENSITIVITY_TOO_LOW" "the sensitivity is lower than a block of this kind requires";
    ShareWithNotRaised "SHARE_WITH_NOT_RAISED" "roles are named only on a block of a kind that is not RESTRICTED by itself and that is sent as RESTRICTED";
    RoleReadsNoPassport "ROLE_READS_NO_PASSPORT" "nobody in this role reads a passport";
    PartNotRead "PART_NOT_READ" "a person in this role, for this purpose, does not read this part of a passport, so does not change it: keep the block";
    PlanVersionUnknown "PLAN_VERSION_UNKNOWN" "the placement's plan has no such version";
    OutcomeUnknown "OUTCOME_UNKNOWN" "that version of the plan has no such outcome";
    MetaRequired "META_REQUIRED" "a passport must name its author: a block META is required";
    DecisionMissing "DECISION_MISSING" "the decision is not taken, and it is not among the items passed";
    CorrectionReasonRequired "CORRECTION_REASON_REQUIRED" "something else is recorded; a correction needs a reason";
}

impl fmt::Display for ViolationReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn reasons_are_well_formed_and_once_each() {
        let mut seen = BTreeSet::new();
        for reason in ViolationReason::ALL {
            let (name, text) = (reason.name(), reason.text());
            assert!(seen.insert(name), "{name}");
            assert_eq!(ViolationReason::from_name(name), Some(*reason));
            let is_plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
            assert!(name.len() <= 63 && name.bytes().all(is_plain), "{name}");
            assert!(!text.ends_with('.') && !text.is_empty(), "{name}");
        }
    }
}
