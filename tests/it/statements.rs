//! Confirmations by schools and commissioners, notices of expected absence, and expected returns.

use std::collections::BTreeMap;

use ap_gateway::client::{Client, ClientError, explain, reason};
use ap_gateway::proto::v1::delivery::Content;
use ap_gateway::proto::v1::mark::Statement;
use ap_gateway::proto::v1::{
    ConfirmMarksRequest, ConfirmMarksResponse, Confirmation, DaySession, ExpectedReturn,
    ListExpectedReturnsRequest, ListExpectedReturnsResponse, Mark, NotifyExpectedAbsenceRequest,
    NotifyExpectedAbsenceResponse, Officer, PutPlanRequest, ReturnState, SeenMark, Session, Weekday,
    placement_service, returns_service,
};
use ap_gateway::store::{Database, DatabaseLocation};
use tempfile::TempDir;
use tonic::Code;

use super::attendance::{assert_records_verify, deliveries_of_object};
use super::documents::get_placement;
use super::exchange_semantics::{get_attendance, mark, new_id, refusal_status, submission, submit};
use super::log_verification;
use super::support::World;

fn confirmation_of(placement: &str, date: &str, code: &str) -> Confirmation {
    Confirmation {
        placement_id: placement.to_owned(),
        date: date.to_owned(),
        session: Session::Am as i32,
        code: code.to_owned(),
        ..Confirmation::default()
    }
}

async fn confirm(
    client: &Client,
    confirmations: Vec<Confirmation>,
) -> Result<ConfirmMarksResponse, ClientError> {
    let officer = Some(Officer {
        name: "Ade Example".to_owned(),
        role: "attendance officer".to_owned(),
        ..Officer::default()
    });
    let request = ConfirmMarksRequest {
        request_id: new_id(),
        confirmations,
        officer,
        ..ConfirmMarksRequest::default()
    };
    Ok(client.call(returns_service::CONFIRM_MARKS, &request).await?.message)
}

/// Checks that all parties read mark, suggested code and confirmations together, and that the provider gets the
/// confirmation.
async fn a_register_s_own_code_stands_beside_the_mark(world: &World) {
    let (riverside, school) = (world.client("provider-a").await, world.client("school").await);
    let placement = world.placements("school", "provider-a").remove(0);
    submit(&riverside, &submission(vec![mark(&placement, "2026-11-02", "/")])).await.unwrap();
    let first = confirm(&school, vec![confirmation_of(&placement, "2026-11-02", "B")]).await.unwrap();
    assert_eq!((first.stored, first.results[0].suggested_code.as_str()), (1, "B"));
    let received = deliveries_of_object(&riverside, &first.confirmation_id).await;
    let Some(Content::Confirmation(content)) = &received[0].content else { panic!("no confirmation") };
    let confirmation = &content.children[0].confirmations[0];
    assert_eq!((confirmation.code.as_str(), confirmation.confirmed_by.as_str()), ("B", "school/134567"));
    assert_eq!(confirmation.officer.as_ref().unwrap().name, "Ade Example");
    let again = confirm(&school, vec![confirmation_of(&placement, "2026-11-02", "B")]).await.unwrap();
    assert_eq!(
        (again.unchanged, deliveries_of_object(&riverside, &again.confirmation_id).await.len()),
        (1, 0)
    );
    let other = confirmation_of(&placement, "2026-11-02", "W");
    let unexplained = refusal_status(confirm(&school, vec![other.clone()]).await);
    assert!(explain(&unexplained).contains("confirmations[0].correction_reason"));
    let explained = Confirmation { correction_reason: "at the garage that day".to_owned(), ..other };
    assert_eq!(confirm(&school, vec![explained]).await.unwrap().corrected, 1);
    for reader in ["provider-a", "school", "la-b"] {
        let marks = get_attendance(&world.client(reader).await, &placement).await.unwrap().marks;
        let is_on_date = |history: &&ap_gateway::proto::v1::MarkHistory| {
            history.mark.as_ref().unwrap().date == "2026-11-02"
        };
        let history = marks.iter().find(is_on_date).unwrap();
        let mark = history.mark.as_ref().unwrap();
        assert_eq!((mark.code.as_str(), mark.suggested_code.as_str(), mark.revision), ("/", "B", 1));
        let held: Vec<_> = history.confirmations.iter().map(|held| (&*held.code, held.revision)).collect();
        assert_eq!(held, [("W", 2), ("B", 1)], "{reader}");
        assert!(history.confirmations[0].received_time.is_some());
        let reason = if reader == "school" { "at the garage that day" } else { "" };
        assert_eq!(history.confirmations[0].correction_reason, reason, "{reader}");
    }
}

/// Checks that confirmations are accepted only for the caller's own children and existing marks, and that every
/// invalid row is reported.
async fn a_register_holds_its_own_children_only(world: &World) {
    let (riverside, school) = (world.client("provider-a").await, world.client("school").await);
    let own_placement = world.placements("school", "provider-a").remove(1);
    let tuition = world.placements("la-a", "provider-c").remove(0);
    submit(&riverside, &submission(vec![mark(&own_placement, "2026-11-02", "/")])).await.unwrap();
    let rows = vec![
        confirmation_of(&tuition, "2026-11-02", "K"),
        confirmation_of(&new_id(), "2026-11-02", "K"),
        confirmation_of(&own_placement, "2026-11-03", "B"),
        confirmation_of(&own_placement, "2026-11-02", "B"),
        confirmation_of(&own_placement, "2026-11-02", "B"),
    ];
    let status = refusal_status(confirm(&school, rows).await);
    let message = explain(&status);
    for field in ["[0].placement_id", "[1].placement_id", "[2].date", "[4]"] {
        assert!(message.contains(&format!("confirmations{field}")), "{field}: {message}");
    }
    assert!(!message.contains("confirmations[3]"), "{message}");
    let residence = world.client("la-b").await;
    let theirs =
        refusal_status(confirm(&residence, vec![confirmation_of(&own_placement, "2026-11-02", "B")]).await);
    assert!(explain(&theirs).contains("confirmations[0].placement_id"));
    let wrong =
        Confirmation { session: Session::Pm as i32, ..confirmation_of(&own_placement, "2026-11-02", "/") };
    let message = explain(&refusal_status(
        confirm(&school, vec![wrong, confirmation_of(&own_placement, "2026-11-02", "J")]).await,
    ));
    assert!(
        message.contains("confirmations[0].code") && message.contains("confirmations[1].code"),
        "{message}"
    );
    let provider =
        refusal_status(confirm(&riverside, vec![confirmation_of(&own_placement, "2026-11-02", "B")]).await);
    assert_eq!(reason(&provider), "METHOD_NOT_ALLOWED");
    // The provider sees only that the session was not possible.
    let detained = confirm(&school, vec![confirmation_of(&own_placement, "2026-11-02", "Y5")]).await.unwrap();
    let received = deliveries_of_object(&riverside, &detained.confirmation_id).await;
    let Some(Content::Confirmation(content)) = &received[0].content else { panic!("no confirmation") };
    let confirmation = &content.children[0].confirmations[0];
    assert_eq!((confirmation.code.as_str(), confirmation.not_possible), ("", true));
}

pub async fn notify_absence(
    client: &Client,
    placement: &str,
    date: &str,
    code: &str,
) -> Result<NotifyExpectedAbsenceResponse, ClientError> {
    let session = DaySession { date: date.to_owned(), session: Session::Am as i32, ..DaySession::default() };
    let request = NotifyExpectedAbsenceRequest {
        request_id: new_id(),
        placement_id: placement.to_owned(),
        sessions: vec![session],
        code: code.to_owned(),
        note: "dentist".to_owned(),
        withdrawn: code.is_empty(),
        ..NotifyExpectedAbsenceRequest::default()
    };
    Ok(client.call(returns_service::NOTIFY_EXPECTED_ABSENCE, &request).await?.message)
}

async fn list_expected_returns(
    client: &Client,
    request: ListExpectedReturnsRequest,
) -> Result<ListExpectedReturnsResponse, ClientError> {
    Ok(client.call(returns_service::LIST_EXPECTED_RETURNS, &request).await?.message)
}

fn expected_returns_query(placement: &str, from: &str, to: &str) -> ListExpectedReturnsRequest {
    ListExpectedReturnsRequest {
        placement_id: placement.to_owned(),
        from_date: from.to_owned(),
        to_date: to.to_owned(),
        ..ListExpectedReturnsRequest::default()
    }
}

/// Returns the state of each expected return by date and session.
fn states_by_session(returns: &[ExpectedReturn]) -> BTreeMap<(String, i32), ReturnState> {
    returns.iter().map(|one| ((one.date.clone(), one.session), one.state())).collect()
}

/// Checks that a session without a mark is missing, not absent, and that a notice removes it from the list until
/// the notice is withdrawn.
async fn what_was_due_and_what_came(world: &World) {
    let (riverside, school) = (world.client("provider-a").await, world.client("school").await);
    let placement = world.placements("school", "provider-a").remove(2);
    submit(&riverside, &submission(vec![mark(&placement, "2026-11-18", "/")])).await.unwrap();
    let noticed = notify_absence(&school, &placement, "2026-11-19", "M").await.unwrap();
    assert_eq!(noticed.stored, 1);
    let received = deliveries_of_object(&riverside, &noticed.notice_id).await;
    let Some(Content::ExpectedAbsence(content)) = &received[0].content else { panic!("no notice") };
    assert_eq!((content.absences[0].code.as_str(), content.absences[0].note.as_str()), ("M", "dentist"));
    let week = expected_returns_query(&placement, "2026-11-18", "2026-11-23");
    // The LA of residence lists them as it reads the attendance.
    let residence = world.client("la-b").await;
    for client in [&riverside, &school, &residence] {
        let returns = list_expected_returns(client, week.clone()).await.unwrap().returns;
        let states = states_by_session(&returns);
        let (am, pm) = (Session::Am as i32, Session::Pm as i32);
        let state_of = |date: &str, session| states[&(date.to_owned(), session)];
        assert_eq!(states.len(), 8);
        assert_eq!(state_of("2026-11-18", am), ReturnState::Late);
        assert_eq!(state_of("2026-11-18", pm), ReturnState::Missing);
        assert_eq!(state_of("2026-11-19", am), ReturnState::NotExpected);
        assert_eq!(state_of("2026-11-20", pm), ReturnState::Missing);
        assert_eq!(state_of("2026-11-23", am), ReturnState::Due);
    }
    let missing = ListExpectedReturnsRequest { states: vec![ReturnState::Missing as i32], ..week.clone() };
    assert_eq!(list_expected_returns(&school, missing).await.unwrap().returns.len(), 4);
    assert_eq!(notify_absence(&school, &placement, "2026-11-19", "").await.unwrap().stored, 1);
    let states = states_by_session(&list_expected_returns(&school, week.clone()).await.unwrap().returns);
    assert_eq!(states[&("2026-11-19".to_owned(), Session::Am as i32)], ReturnState::Missing);
    assert!(
        list_expected_returns(&school, expected_returns_query(&placement, "2026-10-26", "2026-10-30"))
            .await
            .unwrap()
            .returns
            .is_empty()
    );
    // Expected returns are not visible to a stranger.
    for stranger in ["provider-b", "provider-c"] {
        let refused =
            refusal_status(list_expected_returns(&world.client(stranger).await, week.clone()).await);
        assert_eq!(refused.code(), Code::NotFound, "{stranger}");
    }
    for (date, code, field) in
        [("2026-11-19", "/", "code"), ("2026-11-19", "Y8", "code"), ("2026-08-31", "I", "sessions[0].date")]
    {
        let message = explain(&refusal_status(notify_absence(&school, &placement, date, code).await));
        assert!(message.contains(field), "{date} {code}: {message}");
    }
    let refused = refusal_status(notify_absence(&residence, &placement, "2026-11-19", "I").await);
    assert_eq!(refused.code(), Code::NotFound);
    let unplanned = notify_absence(&school, &placement, "2026-11-19", "C2").await.unwrap();
    assert_eq!(unplanned.warnings, ["PART_TIME_NOT_AGREED"]);
}

/// Checks that pages list every placement of the caller once, that a planned Saturday is due without a session, and
/// that a mark before the cut-off is in time.
async fn pages_and_tuition(world: &World) {
    let brightwater = world.client("provider-c").await;
    let placements = world.placements("la-a", "provider-c");
    world.advance("2026-11-20T17:00:00Z");
    let lesson = Mark {
        session: Session::Timed as i32,
        start_time: "16:30".to_owned(),
        end_time: "18:00".to_owned(),
        statement: Some(Statement::Seen(SeenMark::Present as i32)),
        ..mark(&placements[0], "2026-11-20", "")
    };
    submit(&brightwater, &submission(vec![lesson])).await.unwrap();
    let (mut request, mut pages, mut all) = (
        ListExpectedReturnsRequest { page_size: 1, ..expected_returns_query("", "2026-11-14", "2026-11-20") },
        0,
        Vec::new(),
    );
    loop {
        let page = list_expected_returns(&brightwater, request.clone()).await.unwrap();
        assert!(page.returns.iter().all(|one| one.placement_id == page.returns[0].placement_id));
        all.extend(page.returns);
        pages += 1;
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(pages, placements.len());
    let of_first: Vec<_> = all.into_iter().filter(|one| one.placement_id == placements[0]).collect();
    let states = states_by_session(&of_first);
    assert_eq!(states.len(), 6);
    assert_eq!(states[&("2026-11-14".to_owned(), 0)], ReturnState::Missing);
    assert_eq!(states[&("2026-11-20".to_owned(), Session::Timed as i32)], ReturnState::Received);
}

/// Checks that a day follows the plan that was current on that day: a new timetable is effective from the day on
/// which it is stored, and earlier days do not change.
async fn a_day_goes_by_the_plan_of_that_day(world: &World) {
    let school = world.client("school").await;
    let id_of = world.placements("school", "provider-a").remove(1);
    let first = get_placement(&school, &id_of).await.plan.unwrap();
    let put = async |weekday: Weekday| {
        let mut plan = first.clone();
        plan.timetable.retain(|slot| slot.weekday == weekday as i32 && slot.session() == Session::Am);
        let request = PutPlanRequest {
            request_id: new_id(),
            placement_id: id_of.clone(),
            etag: get_placement(&school, &id_of).await.placement.unwrap().plan_etag,
            plan: Some(plan),
            ..PutPlanRequest::default()
        };
        school.call(placement_service::PUT_PLAN, &request).await.unwrap();
        let due = list_expected_returns(&school, expected_returns_query(&id_of, "2026-11-18", "2026-11-23"))
            .await
            .unwrap()
            .returns;
        due.iter().map(|due| due.date[8..].to_owned()).collect::<Vec<_>>().join(" ")
    };
    // Friday 20 November.
    assert_eq!(put(Weekday::Monday).await, "18 18 19 19 23");
    assert_eq!(put(Weekday::Friday).await, "18 18 19 19 20");
    world.advance("2026-11-23T00:00:00Z");
    assert_eq!(put(Weekday::Monday).await, "18 18 19 19 20 23");
}

async fn all(world: World) -> TempDir {
    a_register_s_own_code_stands_beside_the_mark(&world).await;
    a_register_holds_its_own_children_only(&world).await;
    what_was_due_and_what_came(&world).await;
    pages_and_tuition(&world).await;
    a_day_goes_by_the_plan_of_that_day(&world).await;
    world.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn registers_and_returns_on_sqlite() {
    let dir = all(World::sqlite().await).await;
    assert_records_verify(&dir, 10).await;
    // A confirmation that was changed in the database is found, as a mark is.
    let database = dir.path().join("gateway.sqlite");
    let opened = Database::open(&DatabaseLocation::Sqlite(database.clone())).await.unwrap();
    let mut conn = opened.writer().await.unwrap();
    let changed = "UPDATE statements SET code = 'C' WHERE code = 'W'";
    assert_eq!(conn.execute(changed, vec![]).await.unwrap(), 1);
    drop(conn);
    opened.close().await;
    let findings = log_verification::findings(dir.path()).await;
    let [finding] = &findings[..] else { panic!("{} findings", findings.len()) };
    assert!(finding.starts_with("statements, entry "), "{finding}");
}

#[tokio::test(flavor = "multi_thread")]
async fn registers_and_returns_on_postgresql() {
    all(World::postgres().await).await;
}
