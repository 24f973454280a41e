//! What registers hold beside the provider's marks, who is not expected, and what was due and came.

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
use ap_gateway::store::{Database, Location};
use tempfile::TempDir;
use tonic::Code;

use super::attendance::{delivered, verified};
use super::documents::placement;
use super::kept;
use super::story::{attendance, id, mark, refused, submission, submit};
use super::support::World;

fn held(placement: &str, date: &str, code: &str) -> Confirmation {
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
    let officer = Some(Officer { name: "Ade Example".to_owned(), role: "attendance officer".to_owned() });
    let request =
        ConfirmMarksRequest { request_id: id(), confirmations, officer, ..ConfirmMarksRequest::default() };
    Ok(client.call(returns_service::CONFIRM_MARKS, &request).await?.message)
}

/// Mark, suggestion and confirmation stand side by side, whoever of the parties reads; the provider is told.
async fn a_register_s_own_code_stands_beside_the_mark(world: &World) {
    let (riverside, school) = (world.client("provider-a").await, world.client("school").await);
    let placement = world.placements("school", "provider-a").remove(0);
    submit(&riverside, &submission(vec![mark(&placement, "2026-11-02", "/")])).await.unwrap();
    let first = confirm(&school, vec![held(&placement, "2026-11-02", "B")]).await.unwrap();
    assert_eq!((first.stored, first.results[0].suggested_code.as_str()), (1, "B"));
    let told = delivered(&riverside, &first.confirmation_id).await;
    let Some(Content::Confirmation(content)) = &told[0].content else { panic!("no confirmation") };
    let told = &content.children[0].confirmations[0];
    assert_eq!((told.code.as_str(), told.confirmed_by.as_str()), ("B", "school/134567"));
    assert_eq!(told.officer.as_ref().unwrap().name, "Ade Example");
    let again = confirm(&school, vec![held(&placement, "2026-11-02", "B")]).await.unwrap();
    assert_eq!((again.unchanged, delivered(&riverside, &again.confirmation_id).await.len()), (1, 0));
    let other = held(&placement, "2026-11-02", "W");
    let unexplained = refused(confirm(&school, vec![other.clone()]).await);
    assert!(explain(&unexplained).contains("confirmations[0].correction_reason"));
    let explained = Confirmation { correction_reason: "at the garage that day".to_owned(), ..other };
    assert_eq!(confirm(&school, vec![explained]).await.unwrap().corrected, 1);
    for reader in ["provider-a", "school", "la-b"] {
        let marks = attendance(&world.client(reader).await, &placement).await.unwrap().marks;
        let of = |history: &&ap_gateway::proto::v1::MarkHistory| {
            history.mark.as_ref().unwrap().date == "2026-11-02"
        };
        let history = marks.iter().find(of).unwrap();
        let mark = history.mark.as_ref().unwrap();
        assert_eq!((mark.code.as_str(), mark.suggested_code.as_str(), mark.revision), ("/", "B", 1));
        let held: Vec<_> = history.confirmations.iter().map(|held| (&*held.code, held.revision)).collect();
        assert_eq!(held, [("W", 2), ("B", 1)], "{reader}");
        assert!(history.confirmations[0].received_time.is_some());
        let reason = if reader == "school" { "at the garage that day" } else { "" };
        assert_eq!(history.confirmations[0].correction_reason, reason, "{reader}");
    }
}

/// Only of children whom one placed or has on roll, only where a mark stands; every row is told what it lacks.
async fn a_register_holds_its_own_children_only(world: &World) {
    let (riverside, school) = (world.client("provider-a").await, world.client("school").await);
    let own = world.placements("school", "provider-a").remove(1);
    let tuition = world.placements("la-a", "provider-c").remove(0);
    submit(&riverside, &submission(vec![mark(&own, "2026-11-02", "/")])).await.unwrap();
    let rows = vec![
        held(&tuition, "2026-11-02", "K"),
        held(&id(), "2026-11-02", "K"),
        held(&own, "2026-11-03", "B"),
        held(&own, "2026-11-02", "B"),
        held(&own, "2026-11-02", "B"),
    ];
    let status = refused(confirm(&school, rows).await);
    let told = explain(&status);
    for field in ["[0].placement_id", "[1].placement_id", "[2].date", "[4]"] {
        assert!(told.contains(&format!("confirmations{field}")), "{field}: {told}");
    }
    assert!(!told.contains("confirmations[3]"), "{told}");
    let residence = world.client("la-b").await;
    let theirs = refused(confirm(&residence, vec![held(&own, "2026-11-02", "B")]).await);
    assert!(explain(&theirs).contains("confirmations[0].placement_id"));
    let wrong = Confirmation { session: Session::Pm as i32, ..held(&own, "2026-11-02", "/") };
    let told = explain(&refused(confirm(&school, vec![wrong, held(&own, "2026-11-02", "J")]).await));
    assert!(told.contains("confirmations[0].code") && told.contains("confirmations[1].code"), "{told}");
    let provider = refused(confirm(&riverside, vec![held(&own, "2026-11-02", "B")]).await);
    assert_eq!(reason(&provider), "METHOD_NOT_ALLOWED");
    // The provider learns that the session was not possible, and no more.
    let detained = confirm(&school, vec![held(&own, "2026-11-02", "Y5")]).await.unwrap();
    let told = delivered(&riverside, &detained.confirmation_id).await;
    let Some(Content::Confirmation(content)) = &told[0].content else { panic!("no confirmation") };
    let told = &content.children[0].confirmations[0];
    assert_eq!((told.code.as_str(), told.not_possible), ("", true));
}

async fn notify(
    client: &Client,
    placement: &str,
    date: &str,
    code: &str,
) -> Result<NotifyExpectedAbsenceResponse, ClientError> {
    let session = DaySession { date: date.to_owned(), session: Session::Am as i32, ..DaySession::default() };
    let request = NotifyExpectedAbsenceRequest {
        request_id: id(),
        placement_id: placement.to_owned(),
        sessions: vec![session],
        code: code.to_owned(),
        note: "dentist".to_owned(),
        withdrawn: code.is_empty(),
        ..NotifyExpectedAbsenceRequest::default()
    };
    Ok(client.call(returns_service::NOTIFY_EXPECTED_ABSENCE, &request).await?.message)
}

async fn expected(
    client: &Client,
    request: ListExpectedReturnsRequest,
) -> Result<ListExpectedReturnsResponse, ClientError> {
    Ok(client.call(returns_service::LIST_EXPECTED_RETURNS, &request).await?.message)
}

fn query(placement: &str, from: &str, to: &str) -> ListExpectedReturnsRequest {
    ListExpectedReturnsRequest {
        placement_id: placement.to_owned(),
        from_date: from.to_owned(),
        to_date: to.to_owned(),
        ..ListExpectedReturnsRequest::default()
    }
}

/// What is said of a session, by its day and session.
fn states(returns: &[ExpectedReturn]) -> BTreeMap<(String, i32), ReturnState> {
    returns.iter().map(|one| ((one.date.clone(), one.session), one.state())).collect()
}

/// A session without a mark is missing, not absent; a notice takes it off the list, and may be taken back.
async fn what_was_due_and_what_came(world: &World) {
    let (riverside, school) = (world.client("provider-a").await, world.client("school").await);
    let placement = world.placements("school", "provider-a").remove(2);
    submit(&riverside, &submission(vec![mark(&placement, "2026-11-18", "/")])).await.unwrap();
    let noticed = notify(&school, &placement, "2026-11-19", "M").await.unwrap();
    assert_eq!(noticed.stored, 1);
    let told = delivered(&riverside, &noticed.notice_id).await;
    let Some(Content::ExpectedAbsence(content)) = &told[0].content else { panic!("no notice") };
    assert_eq!((content.absences[0].code.as_str(), content.absences[0].note.as_str()), ("M", "dentist"));
    let week = query(&placement, "2026-11-18", "2026-11-23");
    for client in [&riverside, &school] {
        let returns = expected(client, week.clone()).await.unwrap().returns;
        let states = states(&returns);
        let (am, pm) = (Session::Am as i32, Session::Pm as i32);
        let of = |date: &str, session| states[&(date.to_owned(), session)];
        assert_eq!(states.len(), 8);
        assert_eq!(of("2026-11-18", am), ReturnState::Late);
        assert_eq!(of("2026-11-18", pm), ReturnState::Missing);
        assert_eq!(of("2026-11-19", am), ReturnState::NotExpected);
        assert_eq!(of("2026-11-20", pm), ReturnState::Missing);
        assert_eq!(of("2026-11-23", am), ReturnState::Due);
    }
    let missing = ListExpectedReturnsRequest { states: vec![ReturnState::Missing as i32], ..week.clone() };
    assert_eq!(expected(&school, missing).await.unwrap().returns.len(), 4);
    assert_eq!(notify(&school, &placement, "2026-11-19", "").await.unwrap().stored, 1);
    let states = states(&expected(&school, week.clone()).await.unwrap().returns);
    assert_eq!(states[&("2026-11-19".to_owned(), Session::Am as i32)], ReturnState::Missing);
    assert!(
        expected(&school, query(&placement, "2026-10-26", "2026-10-30")).await.unwrap().returns.is_empty()
    );
    // The LA of residence and a stranger alike have no return to wait for.
    for stranger in ["la-b", "provider-c"] {
        let told = refused(expected(&world.client(stranger).await, week.clone()).await);
        assert_eq!(told.code(), Code::NotFound, "{stranger}");
    }
    for (date, code, field) in
        [("2026-11-19", "/", "code"), ("2026-11-19", "Y8", "code"), ("2026-08-31", "I", "sessions[0].date")]
    {
        let told = explain(&refused(notify(&school, &placement, date, code).await));
        assert!(told.contains(field), "{date} {code}: {told}");
    }
    let residence = refused(notify(&world.client("la-b").await, &placement, "2026-11-19", "I").await);
    assert_eq!(residence.code(), Code::NotFound);
    let unplanned = notify(&school, &placement, "2026-11-19", "C2").await.unwrap();
    assert_eq!(unplanned.warnings, ["PART_TIME_NOT_AGREED"]);
}

/// Every placement of the caller comes once, page by page; a Saturday that the plan names is due without a
/// session, and a mark before the cut-off is in time.
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
    let (mut request, mut pages, mut all) =
        (ListExpectedReturnsRequest { page_size: 1, ..query("", "2026-11-14", "2026-11-20") }, 0, Vec::new());
    loop {
        let page = expected(&brightwater, request.clone()).await.unwrap();
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
    let states = states(&of_first);
    assert_eq!(states.len(), 6);
    assert_eq!(states[&("2026-11-14".to_owned(), 0)], ReturnState::Missing);
    assert_eq!(states[&("2026-11-20".to_owned(), Session::Timed as i32)], ReturnState::Received);
}

/// A day goes by the plan as it stood on that day: another timetable holds from the day on which it was put, the
/// last of that day, and leaves the days before as they were.
async fn a_day_goes_by_the_plan_of_that_day(world: &World) {
    let school = world.client("school").await;
    let id_of = world.placements("school", "provider-a").remove(1);
    let first = placement(&school, &id_of).await.plan.unwrap();
    let put = async |weekday: Weekday| {
        let mut plan = first.clone();
        plan.timetable.retain(|slot| slot.weekday == weekday as i32 && slot.session() == Session::Am);
        let request = PutPlanRequest {
            request_id: id(),
            placement_id: id_of.clone(),
            etag: placement(&school, &id_of).await.placement.unwrap().plan_etag,
            plan: Some(plan),
            ..PutPlanRequest::default()
        };
        school.call(placement_service::PUT_PLAN, &request).await.unwrap();
        let due = expected(&school, query(&id_of, "2026-11-18", "2026-11-23")).await.unwrap().returns;
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
    verified(&dir, 10).await;
    // A confirmation that somebody with the database in hand changed is found, as a mark is.
    let database = dir.path().join("gateway.sqlite");
    let opened = Database::open(&Location::Sqlite(database.clone())).await.unwrap();
    let mut conn = opened.writer().await.unwrap();
    let changed = "UPDATE statements SET code = 'C' WHERE code = 'W'";
    assert_eq!(conn.execute(changed, vec![]).await.unwrap(), 1);
    drop(conn);
    opened.close().await;
    let (sessions, documents) = kept::counted(dir.path()).await;
    let (verified, findings) = kept::found(dir.path(), dir.path()).await;
    let [finding] = &findings[..] else { panic!("{} findings", findings.len()) };
    assert!(finding.starts_with("a confirmation of entry "), "{finding}");
    assert_eq!(verified, sessions + documents - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn registers_and_returns_on_postgresql() {
    all(World::postgres().await).await;
}
