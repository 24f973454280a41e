//! A valid request of every method, with who may send it. New method: add its row here, and what it names
//! in `stage.rs`; until then `matrix` fails and says which method it misses.

/// A request as protobuf JSON. `$name` stands for what the stage has under that name; `request_id` is added.
/// A method that takes a stream is sent one message after the other: its row has them so, and what the tests
/// change of a request they change of the first.
pub struct Row {
    /// The method's own name.
    pub method: &'static str,
    /// Who sends it: a short name of the sandbox's cast.
    pub caller: &'static str,
    /// The message, or the messages.
    pub json: &'static str,
}

const fn row(method: &'static str, caller: &'static str, json: &'static str) -> Row {
    Row { method, caller, json }
}

/// The rows. Each acts on something of its own, so that all of them can be played in this order; and nothing
/// in them is of la-b, school, provider-c or processor, who are strangers to all of it.
pub const ROWS: &[Row] = &[
    row(
        "RegisterOrganisation",
        "operator",
        r#"{"organisation": "partner/newcomer", "display_name": "Newcomer", "certificate": "$newcomer"}"#,
    ),
    row(
        "UpdateOrganisation",
        "operator",
        r#"{"organisation": "provider/brightwater", "etag": "1", "display_name": "Brightwater Tutors",
            "state": "ORGANISATION_STATE_ACTIVE", "reason": "it was renamed",
            "officer": {"name": "Kit Example", "role": "service manager"}}"#,
    ),
    row("GetOrganisation", "provider-a", r#"{"organisation": "provider/riverside"}"#),
    row("ListOrganisations", "operator", "{}"),
    row("RegisterCertificate", "provider-a", r#"{"certificate": "$second"}"#),
    row("RevokeCertificate", "provider-a", r#"{"certificate_sha256": "$old"}"#),
    row(
        "AuthoriseProcessor",
        "provider-a",
        r#"{"processor": "processor/registerworks", "methods": ["GetPlacement"], "from_date": "2026-11-01"}"#,
    ),
    row(
        "AppointAuditor",
        "la-a",
        r#"{"auditor": "auditor/northgate", "from_date": "2026-11-01", "to_date": "2026-12-31"}"#,
    ),
    row("EndGrant", "provider-a", r#"{"grant_id": "$grant"}"#),
    row(
        "ProposeAgreement",
        "la-a",
        r#"{"agreement": {"parties": ["la/330", "school/145678"], "data_classes": ["DATA_CLASS_REFERRAL"],
            "purposes": ["PURPOSE_EDUCATION_PROVISION"], "article_6": "ARTICLE6_PUBLIC_TASK",
            "from_date": "2026-11-01", "to_date": "2027-08-31", "review_by": "2027-07-01"}}"#,
    ),
    row("CountersignAgreement", "provider-b", r#"{"agreement_id": "$proposed", "etag": "1"}"#),
    row("EndAgreement", "la-a", r#"{"agreement_id": "$ending"}"#),
    row(
        "PutTermDates",
        "la-a",
        r#"{"term_dates": {"academic_year": 2027, "terms": [{"first": "2027-09-02", "last": "2027-12-17"}]}}"#,
    ),
    row("GetTermDates", "la-a", r#"{"organisation": "provider/riverside"}"#),
    row(
        "DeclareClosure",
        "provider-a",
        r##"{"site": "Unit 4", "from_date": "2026-11-23", "to_date": "2026-11-23",
            "kind": "CLOSURE_KIND_PLANNED", "reason_code": "#"}"##,
    ),
    row(
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
    row(
        "RespondToReferral",
        "provider-a",
        r#"{"placement_id": "$referred", "etag": "$referred.etag", "accept": {"provider_reference": "$reference"}}"#,
    ),
    row(
        "DecidePlacement",
        "la-a",
        r#"{"placement_id": "$accepted", "etag": "$accepted.etag", "decision": {"approved": true,
            "rationale": "the offer meets the need", "decided_by": {"name": "Alex Example", "role": "panel chair"},
            "decided_on": "2026-09-01", "child_view": {"text": "would like to try it"},
            "parent_view": {"not_given_reason": "could not be reached"},
            "options_considered": ["stay with support", "tuition"]}}"#,
    ),
    row(
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
            "provider_lead": {"name": "Jo Example", "role": "head of centre"}}}"#,
    ),
    row(
        "StartPlacement",
        "la-a",
        r#"{"placement_id": "$approved", "etag": "$approved.etag", "start_date": "2026-09-01",
            "officer": {"name": "Sam Example", "role": "AP officer"}, "missing_items": ["MISSING_ITEM_PLAN",
            "MISSING_ITEM_SAFETY_ACKNOWLEDGEMENT"],
            "reason": "the child cannot wait for it"}"#,
    ),
    row(
        "UpdateParties",
        "la-a",
        r#"{"placement_id": "$carried", "etag": "$carried.etag", "schools_on_roll": ["school/134567"],
            "la_of_residence": "la/330", "from_date": "2026-11-20", "reason": "moved within the area"}"#,
    ),
    row("GetPlacement", "provider-a", r#"{"placement_id": "$active"}"#),
    row("ListPlacements", "provider-a", "{}"),
    row(
        "PutPassport",
        "la-a",
        r#"{"placement_id": "$active", "blocks": [
            {"meta": {"authors": [{"name": "Sam Example", "role": "AP officer"}], "review_by": "2026-12-18"}},
            {"identity": {"preferred_name": "Wren", "pronouns": "she"}},
            {"needs": {"provision": "K", "types": [{"type": "SEMH", "rank": 1}]}},
            {"emergency": {"contacts": [{"name": "Robin Kestrel", "role": "parent", "telephone": "01632 960001"}]}},
            {"safeguarding": {"looked_after": true, "no_contact": ["Rook Kestrel"]}}]}"#,
    ),
    row("SharePassport", "la-a", r#"{"placement_id": "$carried", "etag": "1"}"#),
    row("GetPassport", "provider-a", r#"{"placement_id": "$carried"}"#),
    row("ListPassportVersions", "la-a", r#"{"placement_id": "$carried"}"#),
    row(
        "WithholdInformation",
        "la-a",
        r#"{"placement_id": "$carried", "blocks": ["PASSPORT_BLOCK_KIND_LEARNING"],
            "reason": "the family asked for it", "officer": {"name": "Sam Example", "role": "AP officer"}}"#,
    ),
    row(
        "SubmitAttendance",
        "provider-a",
        r#"{"marks": [{"placement_id": "$active", "date": "2026-09-02", "session": "SESSION_AM", "code": "I",
            "surname": "Kestrel", "forename": "Wren", "date_of_birth": "2012-03-04",
            "comment": "went home unwell", "correction_reason": "a parent telephoned"}]}"#,
    ),
    row(
        "StreamAttendance",
        "provider-a",
        r#"{"return_id": "$streamed"}
           {"return_id": "$streamed", "part": 1, "marks": [{"placement_id": "$active", "date": "2026-09-04",
            "session": "SESSION_AM", "code": "I", "surname": "Kestrel", "forename": "Wren",
            "date_of_birth": "2012-03-04", "comment": "went home unwell"}]}
           {"commit": {"count": 1, "last": true}}"#,
    ),
    row(
        "ConfirmMarks",
        "la-a",
        r#"{"confirmations": [{"placement_id": "$active", "date": "2026-09-02", "session": "SESSION_AM", "code": "I",
            "correction_reason": "the surgery wrote"}], "officer": {"name": "Ade Example", "role": "attendance"}}"#,
    ),
    row(
        "NotifyExpectedAbsence",
        "la-a",
        r#"{"placement_id": "$active", "code": "M", "note": "dentist",
            "sessions": [{"date": "2026-09-03", "session": "SESSION_AM"}]}"#,
    ),
    row(
        "ListExpectedReturns",
        "provider-a",
        r#"{"placement_id": "$active", "from_date": "2026-11-01", "to_date": "2026-11-20"}"#,
    ),
    row(
        "GetAttendance",
        "provider-a",
        r#"{"placement_id": "$active", "from_date": "2026-09-01", "to_date": "2026-11-20"}"#,
    ),
    row("VoidReturn", "provider-a", r#"{"return_id": "$return", "reason": "the register of another week"}"#),
    row(
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
    row("GetProgress", "provider-a", r#"{"placement_id": "$carried"}"#),
    row(
        "EndPlacement",
        "provider-a",
        r#"{"placement_id": "$active", "etag": "$active.etag", "end_date": "$today",
            "reason": "END_REASON_REINTEGRATED", "destination": "Northfield School", "note": "did well here"}"#,
    ),
    row("WatchDeliveries", "la-a", "{}"),
    row("ListDeliveries", "la-a", "{}"),
    row(
        "AcknowledgeDelivery",
        "la-a",
        r#"{"deliveries": [{"cursor": {"index": "$mail", "ordinal": 0}}], "stage": "DELIVERY_STAGE_ACTED_ON",
            "officer": {"name": "Sam Example", "role": "AP officer"}}"#,
    ),
    row("GetDeliveryStatus", "provider-a", r#"{"object_id": "$return"}"#),
    row("ListAlerts", "la-a", "{}"),
    row(
        "ResolveAlert",
        "provider-a",
        r#"{"alert_id": "$alert", "officer": {"name": "Jo Example", "role": "safeguarding lead"},
            "note": "the passport came by post and was read"}"#,
    ),
    row("ListExchanges", "auditor", "{}"),
    row("GetExchange", "provider-a", r#"{"exchange_id": "$exchange"}"#),
    row("GetCheckpoint", "auditor", "{}"),
    row("GetInclusionProof", "provider-a", r#"{"index": "$mail", "tree_size": "$size"}"#),
    row("GetConsistencyProof", "auditor", r#"{"from_size": "1", "to_size": "$size"}"#),
];
