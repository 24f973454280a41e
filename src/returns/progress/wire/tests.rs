//! Tests of the violations that the parser of progress returns reports.

use super::*;
use crate::proto::v1::Officer;

const ID: &str = "0b6c7c4e-53a1-4d0b-9d0e-0c7a1f6b2a11";

fn faults<T>(result: Result<T, Refusal>) -> Vec<String> {
    let refusal = result.err().unwrap();
    assert_eq!(refusal.reason, Reason::Invalid);
    refusal.violations.iter().map(|fault| format!("{} {}", fault.field, fault.reason)).collect()
}

fn sent(progress: ProgressReturn) -> Result<Submission, Refusal> {
    let request = SubmitProgressRequest {
        request_id: ID.to_owned(),
        placement_id: ID.to_owned(),
        progress: Some(progress),
        ..SubmitProgressRequest::default()
    };
    parse_submission(&request, Date::parse("2026-11-20").unwrap())
}

#[test]
fn empty_requests_name_everything_that_they_lack() {
    let today = Date::parse("2026-11-20").unwrap();
    assert_eq!(
        faults(parse_submission(&SubmitProgressRequest::default(), today)),
        ["request_id FIELD_REQUIRED", "placement_id FIELD_REQUIRED", "progress FIELD_REQUIRED"]
    );
    assert_eq!(
        faults(sent(ProgressReturn::default())),
        [
            "progress.from_date FIELD_REQUIRED",
            "progress.to_date FIELD_REQUIRED",
            "progress.signed_on FIELD_REQUIRED",
            "progress.author FIELD_REQUIRED",
        ]
    );
    assert_eq!(
        faults(parse_get_request(&GetProgressRequest { page_size: -1, ..GetProgressRequest::default() })),
        ["placement_id FIELD_REQUIRED", "page_size PAGE_SIZE"]
    );
}

#[test]
fn every_fault_is_named_by_its_path() {
    let progress = ProgressReturn {
        from_date: "2026-11-02".to_owned(),
        to_date: "2026-11-21".to_owned(),
        signed_on: "2026-11-21".to_owned(),
        author: Some(Officer { name: "Ada Officer".to_owned(), ..Officer::default() }),
        attendance: Some(PeriodAttendance {
            sessions_offered: 20,
            sessions_attended: 21,
            ..PeriodAttendance::default()
        }),
        academic: vec![AcademicProgress { trajectory: 7, ..AcademicProgress::default() }],
        qualifications: vec![QualificationProgress::default()],
        semh: Some(SemhProgress {
            sdq: vec![SdqScore { total: 41, ..SdqScore::default() }],
            boxall: vec![
                BoxallScore {
                    strand: "organisation".to_owned(),
                    items: 17,
                    score: 69,
                    ..BoxallScore::default()
                },
                BoxallScore { items: 69, ..BoxallScore::default() },
            ],
            leuven_wellbeing: 6,
            leuven_involvement: -1,
        }),
        behaviour: Some(BehaviourCounts { incidents: -1, ..BehaviourCounts::default() }),
        outcomes: vec![OutcomeProgress::default(), OutcomeProgress { rag: 3, ..OutcomeProgress::default() }],
        readiness: 9,
        next_steps: vec![NextStep { due_date: "soon".to_owned(), ..NextStep::default() }],
        ..ProgressReturn::default()
    };
    assert_eq!(
        faults(sent(progress)),
        [
            "progress.to_date DATE_IN_FUTURE",
            "progress.signed_on DATE_IN_FUTURE",
            "progress.readiness ENUM_UNKNOWN",
            "progress.plan_etag FIELD_REQUIRED",
            "progress.outcomes[0].rag ENUM_REQUIRED",
            "progress.outcomes CONFLICT_IN_BATCH",
            "progress.attendance.sessions_attended NUMBER_RANGE",
            "progress.academic[0].trajectory ENUM_UNKNOWN",
            "progress.academic[0].subject FIELD_REQUIRED",
            "progress.qualifications[0].qualification FIELD_REQUIRED",
            "progress.qualifications[0].status ENUM_REQUIRED",
            "progress.semh.leuven_wellbeing NUMBER_RANGE",
            "progress.semh.leuven_involvement NUMBER_RANGE",
            "progress.semh.sdq[0].informant ENUM_REQUIRED",
            "progress.semh.sdq[0].total NUMBER_RANGE",
            "progress.semh.boxall[0].score NUMBER_RANGE",
            "progress.semh.boxall[1].items NUMBER_RANGE",
            "progress.semh.boxall[1].strand FIELD_REQUIRED",
            "progress.behaviour.incidents NUMBER_RANGE",
            "progress.next_steps[0].due_date DATE_FORMAT",
            "progress.next_steps[0].action FIELD_REQUIRED",
        ]
    );
}
