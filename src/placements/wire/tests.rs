//! Tests of the faults that the parsers of placement requests report.

use super::*;
use crate::exchange::Reason;
use crate::proto::v1::{
    Acceptance, AttendanceRoutine, ChildIdentity, Contact, CreateReferralRequest, Declination,
    PartTimeTimetable, Plan, PlanConsent, PlanDuty, PlanOutcome, PlanQualification, PlanSite, PutPlanRequest,
    Session, TimetableSlot, View, Weekday,
};

const ID: &str = "0b6c7c4e-53a1-4d0b-9d0e-0c7a1f6b2a11";

fn faults<T>(result: Result<T, Refusal>) -> Vec<String> {
    let refusal = result.err().unwrap();
    assert_eq!(refusal.reason, Reason::Invalid);
    refusal.violations.iter().map(|fault| format!("{} {}", fault.field, fault.reason)).collect()
}

fn today() -> Date {
    Date::parse("2026-11-20").unwrap()
}

fn officer() -> Officer {
    Officer { name: "Ada Officer".to_owned(), role: "AP commissioner".to_owned(), ..Officer::default() }
}

fn a_referral() -> CreateReferralRequest {
    CreateReferralRequest {
        request_id: ID.to_owned(),
        provider: "provider/riverside".to_owned(),
        child: Some(ChildIdentity {
            legal_surname: "Canary".to_owned(),
            legal_forename: "Zoe\u{308}".to_owned(),
            date_of_birth: "2012-02-29".to_owned(),
            ..ChildIdentity::default()
        }),
        schools_on_roll: vec!["school/123456".to_owned()],
        la_of_residence: "la/330".to_owned(),
        legal_basis: 1,
        reason: 3,
        agreement_id: ID.to_owned(),
        safety: "none known".to_owned(),
        officer: Some(officer()),
        ..CreateReferralRequest::default()
    }
}

#[test]
fn a_referral_with_what_it_cannot_be_without_is_taken() {
    let referral = create_referral(&a_referral(), today()).ok().unwrap();
    assert_eq!(referral.child.identity.legal_forename, "Zo\u{eb}");
    assert_eq!(referral.detail.safety, "none known");
    assert_eq!(referral.schools.len(), 1);
    assert!(referral.child.id.is_none() && referral.child.upn.is_none());
}

#[test]
fn an_empty_referral_names_everything_that_it_lacks() {
    assert_eq!(
        faults(create_referral(&CreateReferralRequest::default(), today())),
        [
            "request_id FIELD_REQUIRED",
            "provider FIELD_REQUIRED",
            "child FIELD_REQUIRED",
            "la_of_residence FIELD_REQUIRED",
            "legal_basis ENUM_REQUIRED",
            "reason ENUM_REQUIRED",
            "agreement_id FIELD_REQUIRED",
            "safety FIELD_REQUIRED",
            "officer FIELD_REQUIRED",
        ]
    );
}

#[test]
fn every_fault_of_a_referral_is_named_by_its_path() {
    let sent = CreateReferralRequest {
        request_id: ID.to_uppercase(),
        child: Some(ChildIdentity {
            legal_surname: "C4n\u{202e}ary".to_owned(),
            date_of_birth: "2025-01-01".to_owned(),
            sex: "X".to_owned(),
            upn: "A12".to_owned(),
            year_group: 15,
            ..ChildIdentity::default()
        }),
        schools_on_roll: vec!["la/330".to_owned(), "school/123456".to_owned(), "school/123456".to_owned()],
        la_of_residence: "school/123456".to_owned(),
        sessions_per_week: 11,
        requested_start: "2026-02-30".to_owned(),
        ..a_referral()
    };
    assert_eq!(
        faults(create_referral(&sent, today())),
        [
            "request_id IDEMPOTENCY_KEY_FORMAT",
            "child.date_of_birth DOB_RANGE",
            "child.sex ENUM_UNKNOWN",
            "child.year_group NUMBER_RANGE",
            "child.upn UPN_FORMAT",
            "child.legal_surname TEXT_BIDI_CONTROL",
            "child.legal_forename FIELD_REQUIRED",
            "schools_on_roll[0] ORGANISATION_FORMAT",
            "schools_on_roll CONFLICT_IN_BATCH",
            "la_of_residence ORGANISATION_FORMAT",
            "requested_start DATE_INVALID",
            "sessions_per_week NUMBER_RANGE",
        ]
    );
}

#[test]
fn a_child_known_by_id_needs_no_name() {
    let child = Some(ChildIdentity { child_id: ID.to_owned(), ..ChildIdentity::default() });
    let referral = create_referral(&CreateReferralRequest { child, ..a_referral() }, today()).ok().unwrap();
    assert!(referral.child.id.is_some());
}

#[test]
fn a_response_is_one_of_two() {
    let respond_with = |answer| {
        respond(&RespondToReferralRequest {
            request_id: ID.to_owned(),
            placement_id: ID.to_owned(),
            etag: "1".to_owned(),
            answer,
            ..RespondToReferralRequest::default()
        })
    };
    assert_eq!(faults(respond_with(None)), ["answer FIELD_REQUIRED"]);
    let long = Acceptance { provider_reference: "R".repeat(41) };
    assert_eq!(
        faults(respond_with(Some(SentAnswer::Accept(long)))),
        ["accept.provider_reference FIELD_LENGTH"]
    );
    let empty = SentAnswer::Decline(Declination::default());
    assert_eq!(faults(respond_with(Some(empty))), ["decline.reason ENUM_REQUIRED"]);
    let accept = SentAnswer::Accept(Acceptance { provider_reference: "R-17".to_owned() });
    assert!(
        matches!(respond_with(Some(accept)), Ok((_, ReferralResponse::Accept(reference))) if reference == "R-17")
    );
}

#[test]
fn a_decision_is_not_of_tomorrow() {
    let sent = DecidePlacementRequest {
        request_id: ID.to_owned(),
        placement_id: ID.to_owned(),
        etag: "2".to_owned(),
        decision: Some(Decision {
            approved: true,
            decided_on: "2026-11-21".to_owned(),
            child_view: Some(View::default()),
            options_considered: vec!["tuition".to_owned(), " ".to_owned()],
            ..Decision::default()
        }),
        ..DecidePlacementRequest::default()
    };
    assert_eq!(
        faults(decide(&sent, today())),
        [
            "decision.decided_on DATE_IN_FUTURE",
            "decision.rationale FIELD_REQUIRED",
            "decision.decided_by FIELD_REQUIRED",
            "decision.options_considered[1] FIELD_REQUIRED",
        ]
    );
}

#[test]
fn passing_what_is_missing_takes_a_name_and_a_reason() {
    let sent = StartPlacementRequest {
        request_id: ID.to_owned(),
        placement_id: ID.to_owned(),
        etag: "2".to_owned(),
        start_date: "2019-09-02".to_owned(),
        ..StartPlacementRequest::default()
    };
    assert!(start(&sent).is_ok_and(|start| start.officer.is_none()));
    let passing = StartPlacementRequest { missing_items: vec![1, 9, 0], ..sent.clone() };
    assert_eq!(
        faults(start(&passing)),
        [
            "missing_items[1] ENUM_UNKNOWN",
            "missing_items[2] ENUM_REQUIRED",
            "officer FIELD_REQUIRED",
            "reason FIELD_REQUIRED",
        ]
    );
    let named = StartPlacementRequest {
        missing_items: vec![2],
        officer: Some(officer()),
        reason: "the panel meets on Monday".to_owned(),
        ..sent
    };
    assert!(start(&named).is_ok_and(|start| start.missing == [MissingItem::Decision]));
}

#[test]
fn an_end_needs_only_its_day() {
    let sent = EndPlacementRequest {
        request_id: ID.to_owned(),
        placement_id: ID.to_owned(),
        etag: "4".to_owned(),
        end_date: "2026-11-13".to_owned(),
        ..EndPlacementRequest::default()
    };
    assert!(end(&sent).is_ok_and(|end| end.reason == EndReason::Unspecified));
    let wrong =
        EndPlacementRequest { end_date: "13/11/2026".to_owned(), reason: 99, etag: String::new(), ..sent };
    assert_eq!(faults(end(&wrong)), ["etag FIELD_REQUIRED", "end_date DATE_FORMAT", "reason ENUM_UNKNOWN"]);
}

fn slot(weekday: Weekday, session: Session, from: &str, to: &str, minutes: i32) -> TimetableSlot {
    TimetableSlot {
        weekday: weekday as i32,
        session: session as i32,
        start_time: from.to_owned(),
        end_time: to.to_owned(),
        minutes_planned: minutes,
        ..TimetableSlot::default()
    }
}

fn a_plan(plan: Plan) -> PutPlanRequest {
    PutPlanRequest {
        request_id: ID.to_owned(),
        placement_id: ID.to_owned(),
        plan: Some(plan),
        ..PutPlanRequest::default()
    }
}

#[test]
fn a_plan_that_lacks_things_is_taken() {
    let plan = Plan {
        start_date: "2026-09-01".to_owned(),
        planned_end_date: "2026-12-18".to_owned(),
        outcomes: vec![PlanOutcome {
            outcome: "attends each morning".to_owned(),
            target_date: "2027-01-01".to_owned(),
            ..PlanOutcome::default()
        }],
        timetable: vec![
            slot(Weekday::Monday, Session::Am, "", "", 150),
            slot(Weekday::Monday, Session::Timed, "13:00", "14:30", 90),
            slot(Weekday::Monday, Session::Timed, "15:00", "16:00", 60),
        ],
        ..Plan::default()
    };
    let put = put_plan(&a_plan(plan)).ok().unwrap();
    assert_eq!(put.planned_end, Date::parse("2026-12-18").ok());
    assert_eq!(put.plan.timetable.len(), 3);
}

#[test]
fn a_plan_says_nothing_impossible() {
    let plan = Plan {
        start_date: "2026-09-01".to_owned(),
        planned_end_date: "2026-08-31".to_owned(),
        contract: "other".to_owned(),
        review_dates: vec!["2026-10-16".to_owned(), "2026-10-16".to_owned()],
        extra_dates: vec!["2026-13-01".to_owned()],
        outcomes: vec![PlanOutcome::default()],
        timetable: vec![
            slot(Weekday::Tuesday, Session::Pm, "", "", 0),
            slot(Weekday::Tuesday, Session::Pm, "14:00", "13:00", 60),
            slot(Weekday::Unspecified, Session::Timed, "09:00", "", 60),
            slot(Weekday::Friday, Session::Timed, "09:00", "10:00", 61),
        ],
        ..Plan::default()
    };
    assert_eq!(
        faults(put_plan(&a_plan(plan))),
        [
            "plan.planned_end_date DATE_ORDER",
            "plan.contract ENUM_UNKNOWN",
            "plan.extra_dates[0] DATE_INVALID",
            "plan.review_dates CONFLICT_IN_BATCH",
            "plan.outcomes[0].outcome FIELD_REQUIRED",
            "plan.timetable[0].minutes_planned MINUTES_RANGE",
            "plan.timetable[1].end_time DATE_ORDER",
            "plan.timetable[2].weekday ENUM_REQUIRED",
            "plan.timetable[2].end_time FIELD_REQUIRED",
            "plan.timetable[3].minutes_planned MINUTES_RANGE",
            "plan.timetable CONFLICT_IN_BATCH",
        ]
    );
}

#[test]
fn a_plan_s_terms_are_each_read_at_their_place() {
    let plan = Plan {
        start_date: "2026-09-01".to_owned(),
        attendance_pattern: 2,
        sessions_per_week: 10,
        minutes_per_week: 3_001,
        reporting_cycle: 9,
        price_pence: -1,
        price_unit: 77,
        notice_days: 366,
        sites: vec![PlanSite::default()],
        exit_date: "tomorrow".to_owned(),
        part_time: Some(PartTimeTimetable {
            start_date: "2026-09-02".to_owned(),
            end_date: "2026-09-01".to_owned(),
            ..PartTimeTimetable::default()
        }),
        qualifications: vec![PlanQualification { qan: "6".repeat(13), ..PlanQualification::default() }],
        attendance_routine: Some(AttendanceRoutine {
            contact_order: vec![Contact { telephone: "none".to_owned(), ..Contact::default() }],
            first_call_by: "9.30".to_owned(),
            ..AttendanceRoutine::default()
        }),
        provider_safeguarding: Some(Contact { email: "canary".to_owned(), ..Contact::default() }),
        consents: vec![PlanConsent { given_on: "2026-02-30".to_owned(), ..PlanConsent::default() }],
        duties: vec![PlanDuty { responsible: Some(Officer::default()), ..PlanDuty::default() }],
        panel_attendees: vec![Officer::default()],
        ehcp_sections: vec!["L".to_owned(), "B".to_owned(), "B".to_owned()],
        complaints: "\u{202e}canary".to_owned(),
        ..Plan::default()
    };
    assert_eq!(
        faults(put_plan(&a_plan(plan))),
        [
            "plan.sessions_per_week NUMBER_RANGE",
            "plan.minutes_per_week MINUTES_RANGE",
            "plan.reporting_cycle ENUM_UNKNOWN",
            "plan.price_pence NUMBER_RANGE",
            "plan.price_unit ENUM_UNKNOWN",
            "plan.notice_days NUMBER_RANGE",
            "plan.sites[0].weekday ENUM_REQUIRED",
            "plan.sites[0].site FIELD_REQUIRED",
            "plan.exit_date DATE_FORMAT",
            "plan.part_time.end_date DATE_ORDER",
            "plan.qualifications[0].qan FIELD_LENGTH",
            "plan.qualifications[0].title FIELD_REQUIRED",
            "plan.attendance_routine.first_call_by TIME_FORMAT",
            "plan.attendance_routine.contact_order[0].name FIELD_REQUIRED",
            "plan.attendance_routine.contact_order[0].telephone PHONE_FORMAT",
            "plan.provider_safeguarding.name FIELD_REQUIRED",
            "plan.provider_safeguarding.email EMAIL_FORMAT",
            "plan.consents[0].kind ENUM_REQUIRED",
            "plan.consents[0].given_on DATE_INVALID",
            "plan.duties[0].duty FIELD_REQUIRED",
            "plan.duties[0].responsible.name FIELD_REQUIRED",
            "plan.panel_attendees[0].name FIELD_REQUIRED",
            "plan.ehcp_sections[0] ENUM_UNKNOWN",
            "plan.ehcp_sections CONFLICT_IN_BATCH",
            "plan.complaints TEXT_BIDI_CONTROL",
        ]
    );
}

#[test]
fn pages_have_a_size() {
    assert_eq!(list(&ListPlacementsRequest::default()).ok().unwrap().size, 100);
    let sent = ListPlacementsRequest { page_size: 5_000, ..ListPlacementsRequest::default() };
    assert_eq!(list(&sent).ok().unwrap().size, 1_000);
    let wrong = ListPlacementsRequest {
        page_size: -1,
        state: 77,
        provider: "riverside".to_owned(),
        active_on: "today".to_owned(),
        ..ListPlacementsRequest::default()
    };
    assert_eq!(
        faults(list(&wrong)),
        [
            "page_size PAGE_SIZE",
            "state ENUM_UNKNOWN",
            "provider ORGANISATION_FORMAT",
            "active_on DATE_FORMAT",
        ]
    );
}
