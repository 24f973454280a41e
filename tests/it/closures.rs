//! Closures, term dates and attendance rates.

use ap_gateway::client::{Client, ClientError, reason};
use ap_gateway::proto::v1::delivery::Content;
use ap_gateway::proto::v1::{
    AttendanceSummary, ClosureKind, DeclareClosureRequest, DeclareClosureResponse, ExpectedReturn,
    GetTermDatesRequest, GetTermDatesResponse, ListExpectedReturnsRequest, Mark, ReturnState, Session,
    SubmitAttendanceRequest, register_service, returns_service,
};
use tonic::Code;

use super::attendance::deliveries_of_object;
use super::exchange_semantics::{get_attendance, mark, new_id, refusal_status, submission, submit};
use super::support::World;

pub fn closure_request(day: &str, code: &str) -> DeclareClosureRequest {
    DeclareClosureRequest {
        request_id: new_id(),
        from_date: day.to_owned(),
        to_date: day.to_owned(),
        kind: ClosureKind::Unexpected as i32,
        reason_code: code.to_owned(),
        ..DeclareClosureRequest::default()
    }
}

pub async fn declare_closure(
    client: &Client,
    request: &DeclareClosureRequest,
) -> Result<DeclareClosureResponse, ClientError> {
    Ok(client.call(register_service::DECLARE_CLOSURE, request).await?.message)
}

async fn term_dates(client: &Client, organisation: &str) -> Result<GetTermDatesResponse, ClientError> {
    let request = GetTermDatesRequest { organisation: organisation.to_owned() };
    Ok(client.call(register_service::GET_TERM_DATES, &request).await?.message)
}

async fn warnings_for(client: &Client, sent: Mark) -> Vec<String> {
    let request = SubmitAttendanceRequest { validate_only: true, ..submission(vec![sent]) };
    submit(client, &request).await.unwrap().message.results.remove(0).warnings
}

/// Checks that a closure is versioned, delivered to the parties concerned, and in the calendar until it is
/// withdrawn.
async fn a_closure_is_told_counted_and_withdrawn(world: &World) {
    let (riverside, brightwater) = (world.client("provider-a").await, world.client("provider-c").await);
    let placement = world.placements("school", "provider-a").remove(0);
    let sent = |code| mark(&placement, "2026-11-17", code);
    let declared = declare_closure(&riverside, &closure_request("2026-11-17", "Y4")).await.unwrap();
    for (name, expected) in [("la-a", 1), ("school", 1), ("la-b", 0), ("provider-c", 0)] {
        let deliveries = deliveries_of_object(&world.client(name).await, &declared.closure_id).await;
        assert_eq!(deliveries.len(), expected, "{name}");
        for delivery in deliveries {
            let Some(Content::Register(content)) = delivery.content else { panic!("no closure") };
            let closure = content.closure.unwrap();
            assert_eq!((closure.from_date.as_str(), closure.reason_code.as_str()), ("2026-11-17", "Y4"));
        }
    }
    assert_eq!(warnings_for(&riverside, sent("/")).await, ["CLOSURE_DECLARED"]);
    let due = ListExpectedReturnsRequest {
        placement_id: placement.clone(),
        from_date: "2026-11-17".to_owned(),
        to_date: "2026-11-17".to_owned(),
        ..ListExpectedReturnsRequest::default()
    };
    let due = riverside.call(returns_service::LIST_EXPECTED_RETURNS, &due).await.unwrap().message.returns;
    let states: Vec<_> = due.iter().map(ExpectedReturn::state).collect();
    assert_eq!(states, [ReturnState::Closed; 2]);
    assert!(warnings_for(&riverside, sent("Y4")).await.is_empty());
    let known = term_dates(&world.client("la-a").await, "provider/riverside").await.unwrap();
    assert_eq!((known.term_dates.len(), known.closures.len()), (1, 1));
    let withdrawal = DeclareClosureRequest {
        closure_id: declared.closure_id.clone(),
        etag: declared.etag,
        withdrawn: true,
        ..closure_request("2026-11-17", "Y4")
    };
    let theirs = refusal_status(declare_closure(&brightwater, &withdrawal).await);
    assert_eq!((theirs.code(), reason(&theirs).as_str()), (Code::NotFound, "NOT_FOUND"));
    assert_eq!(declare_closure(&riverside, &withdrawal).await.unwrap().etag, "2");
    let again = DeclareClosureRequest { request_id: new_id(), ..withdrawal };
    assert_eq!(reason(&refusal_status(declare_closure(&riverside, &again).await)), "REVISION_MISMATCH");
    assert!(warnings_for(&riverside, sent("/")).await.is_empty());
    let wrong =
        DeclareClosureRequest { to_date: "2026-11-16".to_owned(), ..closure_request("2026-11-17", "I") };
    let message = ap_gateway::client::explain(&refusal_status(declare_closure(&riverside, &wrong).await));
    assert!(message.contains("to_date") && message.contains("reason_code"), "{message}");
}

/// Checks that term dates are readable by organisations that share a placement; for others the organisation is not
/// found.
async fn term_dates_are_for_those_who_share_a_placement(world: &World) {
    let la_b = world.client("la-b").await;
    for own in ["la/331", "provider/riverside", "school/134567"] {
        assert_eq!(term_dates(&la_b, own).await.unwrap().term_dates.len(), 1, "{own}");
    }
    for other in ["provider/brightwater", "provider/nobody"] {
        assert_eq!(refusal_status(term_dates(&la_b, other).await).code(), Code::NotFound, "{other}");
    }
}

async fn attendance_summary(world: &World, placement: &str, sessions: &[(&str, &str)]) -> AttendanceSummary {
    let marks = sessions.iter().enumerate().map(|(at, (session, code))| {
        let mut sent = mark(placement, &format!("2026-11-{:02}", 2 + at / 2), code);
        sent.session = if *session == "am" { Session::Am } else { Session::Pm } as i32;
        sent
    });
    let riverside = world.client("provider-a").await;
    submit(&riverside, &submission(marks.collect())).await.unwrap();
    get_attendance(&world.client("school").await, placement).await.unwrap().summary.unwrap()
}

/// Checks attendance rates: an absence of exactly 10 % is persistent, absence under a part-time timetable is
/// counted separately, and without possible sessions there is no rate.
async fn rates_are_whole_numbers(world: &World) {
    let placements = world.placements("school", "provider-a");
    let (am, pm) = ("am", "pm");
    let mut week = [(am, "/"), (pm, "\\")].repeat(5);
    week[9] = (pm, "O");
    let tenth = attendance_summary(world, &placements[1], &week).await;
    assert_eq!((tenth.possible, tenth.attended, tenth.unauthorised), (10, 9, 1));
    assert_eq!((tenth.attendance, tenth.absence), (Some(9_000), Some(1_000)));
    assert!(tenth.persistently_absent && !tenth.severely_absent);
    let mut week = [(am, "K"), (pm, "K")].repeat(3);
    week.extend([(am, "C2"), (pm, "C2")].repeat(2));
    let part_time = attendance_summary(world, &placements[2], &week).await;
    assert_eq!((part_time.authorised, part_time.part_time, part_time.attendance), (4, 4, Some(6_000)));
    assert!(part_time.persistently_absent && !part_time.persistently_absent_beside_part_time);
    let none = attendance_summary(world, &placements[3], &[(am, "D"), (pm, "D")].repeat(5)).await;
    assert_eq!((none.possible, none.attendance, none.persistently_absent), (0, None, false));
}

async fn all(world: World) {
    a_closure_is_told_counted_and_withdrawn(&world).await;
    term_dates_are_for_those_who_share_a_placement(&world).await;
    rates_are_whole_numbers(&world).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closures_and_rates_on_sqlite() {
    all(World::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closures_and_rates_on_postgresql() {
    all(World::postgres().await).await;
}
