//! A valid request of every method. `call METHOD --example` prints it with invented ids; the tests send it with the ids of
//! their fixtures.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost_reflect::DynamicMessage;

use super::super::{Failure, json_decode, json_request, output, print_line};

/// Values in place of `$name`; any other name of an object becomes [`SAMPLE_ID`].
const SAMPLE_VALUES: [(&str, &str); 9] = [
    ("upn", "B801200005001"),
    ("reference", "WREN-1"),
    ("today", "2026-11-20"),
    ("mail", "7"),
    ("size", "8"),
    ("index", "7"),
    ("old", SAMPLE_DIGEST),
    ("proposed.terms", SAMPLE_DIGEST),
    ("practitioner", SAMPLE_DIGEST),
];
/// Id in an example.
const SAMPLE_ID: &str = "6f1c2a34-0000-4000-8000-000000000000";
/// SHA-256 in an example.
const SAMPLE_DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
/// Certificate in an example.
const SAMPLE_CERTIFICATE: &str = "the certificate in DER";

/// A request as protobuf JSON. `$name` is replaced by the value of that name in the fixtures, and `request_id` is
/// set. A client stream has several messages, one after the other; tests that change a request change the first.
pub struct ExampleRequest {
    /// The method's name, without package and service.
    pub method: &'static str,
    /// The caller, by its short name in the sandbox.
    pub caller: &'static str,
    /// The message, or the messages.
    pub json: &'static str,
}

const fn example(method: &'static str, caller: &'static str, json: &'static str) -> ExampleRequest {
    ExampleRequest { method, caller, json }
}

/// The examples. Each acts on an object of its own, so that all of them can be sent in this order. None of these
/// objects belongs to la-b, school, provider-c or processor: tests use those as strangers.
pub const EXAMPLE_REQUESTS: &[ExampleRequest] = &[
    example(
        "RegisterOrganisation",
        "operator",
        r#"{"organisation": "partner/newcomer", "display_name": "Newcomer", "certificate": "$newcomer"}"#,
    ),
    example(
        "UpdateOrganisation",
        "operator",
        r#"{"organisation": "provider/brightwater", "etag": "1", "display_name": "Brightwater Tutors",
            "state": "ORGANISATION_STATE_ACTIVE", "reason": "it was renamed",
            "officer": {"name": "Kit Example", "role": "service manager"}}"#,
    ),
    example("GetOrganisation", "provider-a", r#"{"organisation": "provider/riverside"}"#),
    example("ListOrganisations", "operator", "{}"),
    example("RegisterCertificate", "provider-a", r#"{"certificate": "$second"}"#),
    example("RevokeCertificate", "provider-a", r#"{"certificate_sha256": "$old"}"#),
    example(
        "AuthoriseProcessor",
        "provider-a",
        r#"{"processor": "processor/registerworks", "methods": ["GetPlacement"], "from_date": "2026-11-01"}"#,
    ),
    example(
        "AppointAuditor",
        "la-a",
        r#"{"auditor": "auditor/northgate", "from_date": "2026-11-01", "to_date": "2026-12-31"}"#,
    ),
    example("EndGrant", "provider-a", r#"{"grant_id": "$grant"}"#),
    example(
        "ProposeAgreement",
        "la-a",
        r#"{"agreement": {"parties": ["la/330", "school/145678"], "data_classes": ["DATA_CLASS_REFERRAL"],
            "purposes": ["PURPOSE_EDUCATION_PROVISION"], "article_6": "ARTICLE6_PUBLIC_TASK",
            "from_date": "2026-11-01", "to_date": "2027-08-31", "review_by": "2027-07-01"}}"#,
    ),
    example(
        "CountersignAgreement",
        "provider-b",
        r#"{"agreement_id": "$proposed", "etag": "1", "terms_sha256": "$proposed.terms"}"#,
    ),
    example("GetAgreement", "provider-a", r#"{"agreement_id": "$agreement"}"#),
    example("ListAgreements", "provider-a", r#"{"state": "AGREEMENT_STATE_IN_FORCE", "party": "la/330"}"#),
    example("ListGrants", "provider-a", "{}"),
    example(
        "ListDirectory",
        "provider-a",
        r#"{"kind": "provider", "organisations": ["provider/riverside"]}"#,
    ),
    example("EndAgreement", "la-a", r#"{"agreement_id": "$ending"}"#),
    example(
        "RegisterIssuer",
        "provider-a",
        r#"{"issuer": "https://idp.example", "keys": [{"key_id": "k1", "algorithm": "TOKEN_ALGORITHM_EDDSA",
            "jwk": "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
            "from_time": "2026-11-01T00:00:00Z"}]}"#,
    ),
    example("EndIssuer", "la-a", r#"{"issuer": "https://la-a.sandbox.ap.example"}"#),
    example("ListIssuers", "provider-a", "{}"),
    example("ListPractitioners", "provider-a", "{}"),
    example("EndPractitioner", "provider-a", r#"{"practitioner": "$practitioner"}"#),
    example(
        "PutTermDates",
        "la-a",
        r#"{"term_dates": {"academic_year": 2027, "terms": [{"first": "2027-09-02", "last": "2027-12-17"}]}}"#,
    ),
    example("GetTermDates", "la-a", r#"{"organisation": "provider/riverside"}"#),
    example(
        "DeclareClosure",
        "provider-a",
        r##"{"site": "Unit 4", "from_date": "2026-11-23", "to_date": "2026-11-23",
            "kind": "CLOSURE_KIND_PLANNED", "reason_code": "#"}"##,
    ),
    example(
        "ListClosures",
        "la-a",
        r#"{"organisation": "provider/riverside", "from_date": "2026-09-01", "to_date": "2026-12-18"}"#,
    ),
    example(
        "CreateReferral",
        "la-a",
        r#"{"provider": "provider/riverside", "la_of_residence": "la/330", "agreement_id": "$agreement",
            "child": {"legal_surname": "Kestrel", "legal_forename": "Wren", "date_of_birth": "2012-03-04",
                      "preferred_surname": "Kestrel", "preferred_forename": "Wren", "sex": "F",
                      "upn": "$upn", "year_group": 9, "local_reference": "case 17"},
            "legal_basis": "LEGAL_BASIS_SECTION_19", "reason": "PLACEMENT_REASON_MENTAL_HEALTH",
            "requested_start": "2026-09-01", "sessions_per_week": 10, "safety": "none known",
            "needs": "a quiet start to the day", "officer": {"name": "Sam Example", "role": "AP officer"}}"#,
    ),
    example(
        "RespondToReferral",
        "provider-a",
        r#"{"placement_id": "$referred", "etag": "$referred.etag", "accept": {"provider_reference": "$reference"}}"#,
    ),
    example(
        "DecidePlacement",
        "la-a",
        r#"{"placement_id": "$accepted", "etag": "$accepted.etag", "decision": {"approved": true,
            "rationale": "the offer meets the need", "decided_by": {"name": "Alex Example", "role": "panel chair"},
            "decided_on": "2026-09-01", "child_view": {"text": "would like to try it"},
            "parent_view": {"not_given_reason": "could not be reached"},
            "options_considered": ["stay with support", "tuition"]}}"#,
    ),
    example(
        "PutPlan",
        "la-a",
        r#"{"placement_id": "$approved", "plan": {"setting_type": "SETTING_TYPE_OTHER_UNREGISTERED",
            "purpose": "back to full-time education", "start_date": "2026-09-01", "planned_end_date": "2026-12-18",
            "timetable": [{"weekday": "WEEKDAY_MONDAY", "session": "SESSION_AM", "minutes_planned": 150,
                           "cut_off": "10:00"}],
            "review_dates": ["2026-10-16"], "outcomes": [{"outcome": "attends", "baseline": "62 %",
            "measure": "attendance", "target": "90 %", "target_date": "2026-12-11"}],
            "success_criteria": "90 % over six weeks", "exit_route": "back to school in January",
            "commissioner_lead": {"name": "Sam Example", "role": "AP officer"},
            "provider_lead": {"name": "Jo Example", "role": "head of centre"},
            "duties": [{"duty": "calls home", "responsible": {"name": "Jo Example", "role": "head of centre"},
                        "accountable": {"name": "Sam Example", "role": "AP officer"}}]}}"#,
    ),
    example(
        "StartPlacement",
        "la-a",
        r#"{"placement_id": "$approved", "etag": "$approved.etag", "start_date": "2026-09-01",
            "officer": {"name": "Sam Example", "role": "AP officer"}, "missing_items": ["MISSING_ITEM_PLAN",
            "MISSING_ITEM_SAFETY_ACKNOWLEDGEMENT"],
            "reason": "the child cannot wait for it"}"#,
    ),
    example(
        "UpdateParties",
        "la-a",
        r#"{"placement_id": "$carried", "etag": "$carried.etag", "schools_on_roll": ["school/134567"],
            "la_of_residence": "la/330", "from_date": "2026-11-20", "reason": "moved within the area"}"#,
    ),
    example("GetPlacement", "provider-a", r#"{"placement_id": "$active"}"#),
    example("ListPlacements", "provider-a", r#"{"from_date": "2026-09-01", "to_date": "2026-11-20"}"#),
    example(
        "PutPassport",
        "la-a",
        r#"{"placement_id": "$active", "blocks": [
            {"meta": {"authors": [{"name": "Sam Example", "role": "AP officer"}], "review_by": "2026-12-18"}},
            {"identity": {"preferred_name": "Wren", "pronouns": "she"}},
            {"needs": {"provision": "K", "types": [{"type": "SEMH", "rank": 1}]}},
            {"emergency": {"contacts": [{"name": "Robin Kestrel", "role": "parent", "telephone": "01632 960001"}]}},
            {"safeguarding": {"looked_after": true, "no_contact": ["Rook Kestrel"]}}]}"#,
    ),
    example("SharePassport", "la-a", r#"{"placement_id": "$carried", "etag": "1"}"#),
    example("GetPassport", "provider-a", r#"{"placement_id": "$carried"}"#),
    example("ListPassportVersions", "la-a", r#"{"placement_id": "$carried"}"#),
    example(
        "WithholdInformation",
        "la-a",
        r#"{"placement_id": "$carried", "blocks": ["PASSPORT_BLOCK_KIND_LEARNING"],
            "reason": "the family asked for it", "officer": {"name": "Sam Example", "role": "AP officer"}}"#,
    ),
    example(
        "SubmitAttendance",
        "provider-a",
        r#"{"marks": [{"placement_id": "$active", "date": "2026-09-02", "session": "SESSION_AM", "code": "I",
            "surname": "Kestrel", "forename": "Wren", "date_of_birth": "2012-03-04",
            "comment": "went home unwell", "correction_reason": "a parent telephoned"}]}"#,
    ),
    example(
        "StreamAttendance",
        "provider-a",
        r#"{"return_id": "$streamed"}
           {"return_id": "$streamed", "part": 1, "marks": [{"placement_id": "$active", "date": "2026-09-04",
            "session": "SESSION_AM", "code": "I", "surname": "Kestrel", "forename": "Wren",
            "date_of_birth": "2012-03-04", "comment": "went home unwell"}]}
           {"commit": {"count": 1, "last": true}}"#,
    ),
    example(
        "ConfirmMarks",
        "la-a",
        r#"{"confirmations": [{"placement_id": "$active", "date": "2026-09-02", "session": "SESSION_AM", "code": "I",
            "correction_reason": "the surgery wrote"}], "officer": {"name": "Ade Example", "role": "attendance"}}"#,
    ),
    example(
        "NotifyExpectedAbsence",
        "la-a",
        r#"{"placement_id": "$active", "code": "M", "note": "dentist",
            "sessions": [{"date": "2026-09-03", "session": "SESSION_AM"}]}"#,
    ),
    example(
        "ListExpectedReturns",
        "provider-a",
        r#"{"placement_id": "$active", "from_date": "2026-11-01", "to_date": "2026-11-20"}"#,
    ),
    example(
        "GetAttendance",
        "provider-a",
        r#"{"placement_id": "$active", "from_date": "2026-09-01", "to_date": "2026-11-20"}"#,
    ),
    example(
        "ListAttendance",
        "provider-a",
        r#"{"from_date": "2026-11-16", "to_date": "2026-11-20", "provider": "provider/riverside"}"#,
    ),
    example(
        "VoidReturn",
        "provider-a",
        r#"{"return_id": "$return", "reason": "the register of another week"}"#,
    ),
    example(
        "SubmitProgress",
        "provider-a",
        r#"{"placement_id": "$carried", "progress": {"from_date": "2026-09-01", "to_date": "2026-10-23",
            "academic": [{"subject": "English", "current": "reads alone", "trajectory": "TRAJECTORY_ON_TRACK"}],
            "semh": {"sdq": [{"informant": "INFORMANT_TEACHER", "total": 17}], "leuven_wellbeing": 3},
            "behaviour": {"incidents": 2}, "plan_etag": "1",
            "outcomes": [{"rag": "RAG_AMBER", "evidence": "comes four days of five"}],
            "child_voice": {"text": "I like the kitchen"}, "author": {"name": "Jo Example", "role": "tutor"},
            "signed_on": "2026-11-02"}}"#,
    ),
    example("GetProgress", "provider-a", r#"{"placement_id": "$carried"}"#),
    example(
        "EndPlacement",
        "provider-a",
        r#"{"placement_id": "$active", "etag": "$active.etag", "end_date": "$today",
            "reason": "END_REASON_REINTEGRATED", "destination": "Northfield School", "note": "did well here"}"#,
    ),
    example("WatchDeliveries", "la-a", "{}"),
    example("ListDeliveries", "la-a", "{}"),
    example(
        "AcknowledgeDelivery",
        "la-a",
        r#"{"deliveries": [{"cursor": {"index": "$mail"}}], "stage": "DELIVERY_STAGE_ACTED_ON",
            "officer": {"name": "Sam Example", "role": "AP officer"}}"#,
    ),
    example("GetDeliveryStatus", "provider-a", r#"{"object_id": "$return"}"#),
    example("ListAlerts", "la-a", "{}"),
    example("GetOversightReport", "la-a", "{}"),
    example(
        "ResolveAlert",
        "provider-a",
        r#"{"alert_id": "$alert", "officer": {"name": "Jo Example", "role": "safeguarding lead"},
            "note": "the passport came by post and was read"}"#,
    ),
    example("ListExchanges", "auditor", "{}"),
    example("GetExchange", "provider-a", r#"{"exchange_id": "$exchange"}"#),
    example(
        "GetBreachScope",
        "provider-a",
        r#"{"certificate_sha256": "$old", "from_time": "2026-11-01T00:00:00Z", "to_time": "2026-12-01T00:00:00Z"}"#,
    ),
    example("GetCheckpoint", "auditor", "{}"),
    example("GetInclusionProof", "provider-a", r#"{"index": "$mail", "tree_size": "$size"}"#),
    example("GetConsistencyProof", "auditor", r#"{"from_size": "1", "to_size": "$size"}"#),
    example("ListOrganisationStatus", "operator", "{}"),
];

/// The examples of methods that only the sandbox serves.
const SANDBOX_EXAMPLES: &[ExampleRequest] =
    &[example("AdvanceClock", "la-a", r#"{"to": "2026-11-30T10:00:00Z"}"#)];

/// Prints the example of a method. A stream of a caller is one message on each line.
///
/// # Errors
/// Exit code 2 if there is no method of this name; 70 if its example is none.
pub fn print(method: &str) -> Result<(), Failure> {
    let messages = filled(method)?;
    for message in &messages {
        let json =
            if messages.len() == 1 { output::pretty_json(message)? } else { output::compact_json(message)? };
        print_line(&json);
    }
    Ok(())
}

/// Returns the messages of the example of a method, with invented ids in place of those of objects.
fn filled(method: &str) -> Result<Vec<DynamicMessage>, Failure> {
    let method = json_request::method_by_name(method)?;
    let bug = |what: String| Failure::bug(method.name(), std::io::Error::other(what));
    let example =
        EXAMPLE_REQUESTS.iter().chain(SANDBOX_EXAMPLES).find(|example| example.method == method.name());
    let json = with_sample_values(example.ok_or_else(|| bug("no example".to_owned()))?.json);
    json_decode::parse_all(&json, &method.input()).map_err(|faults| bug(faults.join(", ")))
}

/// Replaces each `"$name"` by a value.
fn with_sample_values(json: &str) -> String {
    let mut parts = json.split("\"$");
    let first = parts.next().unwrap_or_default().to_owned();
    let rest = parts.map(|part| {
        let (name, rest) = part.split_once('"').unwrap_or((part, ""));
        format!("\"{}\"{rest}", sample_value(name))
    });
    std::iter::once(first).chain(rest).collect()
}

fn sample_value(name: &str) -> Cow<'static, str> {
    if name.rsplit_once('.').is_some_and(|(_, field)| field == "etag") {
        return "1".into();
    }
    if ["newcomer", "second"].contains(&name) {
        return STANDARD.encode(SAMPLE_CERTIFICATE).into();
    }
    let known = SAMPLE_VALUES.iter().find(|(known, _)| *known == name);
    known.map_or(SAMPLE_ID, |(_, value)| value).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto;

    #[test]
    fn every_method_has_an_example_that_its_reader_accepts() {
        for method in proto::methods() {
            let messages = filled(method.name()).unwrap_or_else(|failure| panic!("{failure}"));
            assert!(!messages.is_empty(), "{} has no message", method.name());
            for message in messages {
                let printed = output::pretty_json(&message).unwrap();
                assert!(!printed.contains('$'), "{printed}");
                assert!(json_decode::parse(&printed, &method.input()).unwrap() == message, "{printed}");
            }
        }
    }
}
