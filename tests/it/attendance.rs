//! Attendance codes according to the statutory guidance, as provider, home school, commissioner and LA of residence
//! see them.

use ap_gateway::client::{Client, ClientError, reason};
use ap_gateway::proto::v1::delivery::Content;
use ap_gateway::proto::v1::{
    AttendanceContent, Delivery, GetAttendanceRequest, GetAttendanceResponse, Mark, MarkHistory, MarkOutcome,
    MarkResult, Session, StoredMark, SubmitAttendanceRequest, SubmitMode, VoidReturnRequest,
    VoidReturnResponse, returns_service,
};
use tempfile::TempDir;
use tonic::Code;

use super::exchange_semantics::{get_attendance, mark, new_id, refusal_status, submission, submit};
use super::log_verification;
use super::support::{World, deliveries};

/// Returns the deliveries to an organisation about an object.
pub async fn deliveries_of_object(client: &Client, object: &str) -> Vec<Delivery> {
    let mut found = deliveries(client).await;
    found.retain(|delivery| delivery.object_id == object);
    found
}

pub fn attendance_content(delivery: &Delivery) -> &AttendanceContent {
    match &delivery.content {
        Some(Content::Attendance(content)) => content,
        _ => panic!("the delivery has no attendance content"),
    }
}

pub fn mark_on(histories: &[MarkHistory], date: &str) -> StoredMark {
    let marks = histories.iter().filter_map(|history| history.mark.clone());
    marks.into_iter().find(|mark| mark.date == date).unwrap()
}

/// Checks that K is suggested to the home school for provision arranged by the LA, and B for its own, and that the
/// submitted code stays unchanged.
async fn the_home_school_is_told_its_code(world: &World) {
    let (riverside, school) = (world.client("provider-a").await, world.client("school").await);
    let by_la = world.placements("la-a", "provider-a").remove(0);
    let by_school = world.placements("school", "provider-a").remove(0);
    let marks = vec![mark(&by_la, "2026-11-02", "/"), mark(&by_school, "2026-11-02", "L")];
    let results = submit(&riverside, &submission(marks)).await.unwrap().message.results;
    assert_eq!([&results[0].suggested_code, &results[1].suggested_code], ["K", "B"]);
    for (placement, sent, suggested) in [(by_la, "/", "K"), (by_school, "L", "B")] {
        let stored = mark_on(&get_attendance(&school, &placement).await.unwrap().marks, "2026-11-02");
        assert_eq!((stored.code.as_str(), stored.suggested_code.as_str()), (sent, suggested));
    }
}

/// Checks that D is suggested to the home school of a dual-registered child, whatever was submitted.
async fn a_dual_registered_child_s_home_school_holds_d(world: &World) {
    let oakfield = world.client("provider-b").await;
    let placement = world.placements("school", "provider-b").remove(0);
    let marks = ["/", "I", "O"].into_iter().zip(["2026-11-02", "2026-11-03", "2026-11-04"]);
    let marks = marks.map(|(code, date)| mark(&placement, date, code)).collect();
    let results = submit(&oakfield, &submission(marks)).await.unwrap().message.results;
    assert!(results.iter().all(|result| result.suggested_code == "D" && result.warnings.is_empty()));
}

/// Checks that every code of the published table is stored and read back unchanged, and that retired codes are
/// refused.
async fn every_code_is_taken_and_kept(world: &World) {
    let (riverside, school) = (world.client("provider-a").await, world.client("school").await);
    let placement = world.placements("school", "provider-a").remove(2);
    let table = include_str!("../data/attendance-codes.csv");
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 38);
    let (mut marks, mut expected) = (Vec::new(), Vec::new());
    for (at, row) in rows.iter().enumerate() {
        let day = format!("2026-{:02}-{:02}", 9 + at / 25, 2 + at % 25);
        let mut sent = mark(&placement, &day, &row[0]);
        if &row[0] == "\\" {
            sent.session = Session::Pm as i32;
        }
        marks.push(sent);
        let held = row[4].is_empty();
        expected.push(if held { MarkOutcome::Stored } else { MarkOutcome::Rejected });
        assert!(held || ["F", "H", "J", "Y"].contains(&&row[0]));
    }
    let request = SubmitAttendanceRequest { mode: SubmitMode::AcceptValid as i32, ..submission(marks) };
    let results = submit(&riverside, &request).await.unwrap().message.results;
    let outcomes: Vec<_> = results.iter().map(MarkResult::outcome).collect();
    assert_eq!(outcomes, expected);
    let refused = results.iter().filter(|result| result.outcome() == MarkOutcome::Rejected);
    assert!(refused.map(|result| result.reason.as_str()).eq(["CODE_RETIRED"; 4]));
    let whole = get_attendance(&school, &placement).await.unwrap();
    assert_pages_join(&school, &placement, &whole).await;
    let stored = whole.marks;
    let stored: Vec<_> = stored.into_iter().map(|history| history.mark.unwrap().code).collect();
    let sent: Vec<_> = rows.iter().filter(|row| row[4].is_empty()).map(|row| row[0].to_owned()).collect();
    assert_eq!(stored, sent);
}

/// Checks that the pages join to the whole, and that only the first page has the summary.
async fn assert_pages_join(client: &Client, placement: &str, whole: &GetAttendanceResponse) {
    let mut request = GetAttendanceRequest {
        placement_id: placement.to_owned(),
        from_date: "2026-09-01".to_owned(),
        to_date: "2026-11-30".to_owned(),
        page_size: 5,
        ..GetAttendanceRequest::default()
    };
    let (mut marks, mut pages) = (Vec::new(), 0);
    loop {
        let page = client.call(returns_service::GET_ATTENDANCE, &request).await.unwrap().message;
        assert_eq!(page.summary, whole.summary.filter(|_| pages == 0));
        marks.extend(page.marks);
        pages += 1;
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(pages, whole.marks.len().div_ceil(5));
    assert_eq!(marks, whole.marks);
}

/// Checks that N is suggested while it can still be resolved, and O afterwards. Deliveries do not change.
async fn an_unresolved_reason_ends(world: &World) {
    let (riverside, school) = (world.client("provider-a").await, world.client("school").await);
    let placement = world.placements("school", "provider-a").remove(0);
    let marks = vec![mark(&placement, "2026-11-12", "N"), mark(&placement, "2026-11-13", "N")];
    submit(&riverside, &submission(marks)).await.unwrap();
    let marks = get_attendance(&school, &placement).await.unwrap().marks;
    // Five school days after 13 November is 20 November, the current date.
    assert_eq!(mark_on(&marks, "2026-11-12").suggested_code, "O");
    assert_eq!(mark_on(&marks, "2026-11-13").suggested_code, "N");
}

/// Checks that a code that does not fit is stored with a warning: K needs an LA, B a school, and both need a site.
async fn what_does_not_fit_is_taken_and_warned_of(world: &World) {
    let riverside = world.client("provider-a").await;
    let by_la = world.placements("la-a", "provider-a").remove(0);
    let by_school = world.placements("school", "provider-a").remove(0);
    let placed = Mark { site: "the farm".to_owned(), ..mark(&by_school, "2026-11-03", "K") };
    let marks = vec![mark(&by_la, "2026-11-03", "B"), placed, mark(&by_la, "2026-11-14", "/")];
    let results = submit(&riverside, &submission(marks)).await.unwrap().message.results;
    assert_eq!(results[0].warnings, ["CODE_NEEDS_SCHOOL", "PLACE_MISSING"]);
    assert_eq!(results[1].warnings, ["CODE_NEEDS_LA"]);
    assert_eq!(results[2].warnings, ["NOT_A_SCHOOL_DAY"]);
    let school = world.client("school").await;
    assert_eq!(
        mark_on(&get_attendance(&school, &by_school).await.unwrap().marks, "2026-11-03").site,
        "the farm"
    );
}

/// Checks that criminal justice detention (Y5) is shown to commissioner and home school only. The LA of residence
/// sees that the session was not possible, as with Y7, in deliveries and in reads.
async fn detention_is_told_to_the_closest_only(world: &World) {
    let (riverside, school) = (world.client("provider-a").await, world.client("school").await);
    let residence = world.client("la-b").await;
    let placement = world.placements("school", "provider-a").remove(1);
    let (comment, site) = ("remand".to_owned(), "the secure centre".to_owned());
    let detained = Mark { comment, site, ..mark(&placement, "2026-11-04", "Y5") };
    let marks = vec![detained, mark(&placement, "2026-11-05", "Y7"), mark(&placement, "2026-11-06", "Y1")];
    let sent = submit(&riverside, &submission(marks)).await.unwrap().message;
    let correction =
        Mark { correction_reason: "released early".to_owned(), ..mark(&placement, "2026-11-04", "/") };
    for (client, expected) in [(&school, ["Y5", "Y7", "Y1"]), (&residence, ["", "", "Y1"])] {
        let found = deliveries_of_object(client, &sent.return_id).await;
        let brought = &attendance_content(&found[0]).children[0].marks;
        let read = get_attendance(client, &placement).await.unwrap().marks;
        for marks in [brought, &read] {
            for (date, code) in ["2026-11-04", "2026-11-05", "2026-11-06"].into_iter().zip(expected) {
                let mark = mark_on(marks, date);
                assert_eq!((mark.code.as_str(), mark.not_possible), (code, code.is_empty()), "{date}");
                assert!(!mark.not_possible || (mark.comment.is_empty() && mark.site.is_empty()));
            }
        }
    }
    submit(&riverside, &submission(vec![correction])).await.unwrap();
    for (client, reason, before) in [(&school, "released early", "Y5"), (&residence, "", "")] {
        let marks = get_attendance(client, &placement).await.unwrap().marks;
        let is_on_date = |history: &&MarkHistory| history.mark.as_ref().unwrap().date == "2026-11-04";
        let history = marks.iter().find(is_on_date).unwrap();
        let now = history.mark.as_ref().unwrap();
        assert_eq!((now.code.as_str(), now.correction_reason.as_str()), ("/", reason));
        assert_eq!(history.earlier[0].code, before);
    }
}

async fn void_return(client: &Client, return_id: &str) -> Result<VoidReturnResponse, ClientError> {
    void_part(client, return_id, 0).await
}

pub async fn void_part(
    client: &Client,
    return_id: &str,
    part: u32,
) -> Result<VoidReturnResponse, ClientError> {
    let request = VoidReturnRequest {
        part,
        request_id: new_id(),
        return_id: return_id.to_owned(),
        reason: "the wrong register".to_owned(),
        ..VoidReturnRequest::default()
    };
    Ok(client.call(returns_service::VOID_RETURN, &request).await?.message)
}

fn history_on<'a>(marks: &'a [MarkHistory], date: &str) -> &'a MarkHistory {
    marks.iter().find(|history| history.mark.as_ref().unwrap().date == date).unwrap()
}

/// Checks that a withdrawn return restores the earlier marks, and that a later correction stays until it is
/// withdrawn too.
async fn a_return_is_withdrawn_whole(world: &World) {
    let (riverside, la) = (world.client("provider-a").await, world.client("la-a").await);
    let placement = world.placements("la-a", "provider-a").remove(1);
    let days = ["2026-11-09", "2026-11-10", "2026-11-11"];
    let sent = |code, days: &[&str], why: &str| {
        let marks = days
            .iter()
            .map(|date| Mark { correction_reason: why.to_owned(), ..mark(&placement, date, code) });
        submission(marks.collect())
    };
    let first = submit(&riverside, &sent("O", &days[..2], "")).await.unwrap().message.return_id;
    let second = submit(&riverside, &sent("I", &days[1..], "a parent telephoned")).await.unwrap().message;
    let answer = void_return(&riverside, &first).await.unwrap();
    assert_eq!((answer.voided, answer.unchanged), (1, 1));
    let marks = get_attendance(&la, &placement).await.unwrap().marks;
    let withdrawn = history_on(&marks, days[0]);
    assert_eq!(withdrawn.mark.as_ref().unwrap().flags, ["WITHDRAWN"]);
    assert_eq!(
        (withdrawn.mark.as_ref().unwrap().code.as_str(), withdrawn.earlier[0].code.as_str()),
        ("", "O")
    );
    assert_eq!(mark_on(&marks, days[1]).code, "I");
    // The first return's mark of the second day is withdrawn too, so no mark is left.
    void_return(&riverside, &second.return_id).await.unwrap();
    let marks = get_attendance(&la, &placement).await.unwrap().marks;
    assert!(days.iter().all(|date| mark_on(&marks, date).flags == ["WITHDRAWN"]));
    assert_eq!(mark_on(&marks, days[1]).correction_reason, "the wrong register");
    let received = deliveries_of_object(&la, &second.return_id).await;
    assert_eq!(received.len(), 2);
    assert_eq!(attendance_content(&received[1]).voided_return_id, second.return_id);
    assert_eq!(attendance_content(&received[1]).children[0].marks.len(), 2);
    // A new mark needs no correction reason where no mark is current.
    let third = submit(&riverside, &sent("/", &days[..1], "")).await.unwrap().message;
    assert_eq!((third.stored, third.results[0].revision), (1, 3));
    let fourth = submit(&riverside, &sent("L", &days[..1], "came at 9:20")).await.unwrap().message;
    void_return(&riverside, &fourth.return_id).await.unwrap();
    let restored = mark_on(&get_attendance(&la, &placement).await.unwrap().marks, days[0]);
    assert_eq!((restored.code.as_str(), restored.revision, restored.return_id), ("/", 5, third.return_id));
    assert_eq!(restored.flags, ["RESTORED"]);
    let again = refusal_status(void_return(&riverside, &fourth.return_id).await);
    assert_eq!(reason(&again), "STATE_INVALID");
    let nil = SubmitAttendanceRequest { nil_return: true, ..submission(vec![]) };
    let nil = submit(&riverside, &nil).await.unwrap().message.return_id;
    assert_eq!(void_return(&riverside, &nil).await.unwrap().voided, 0);
    assert_eq!(reason(&refusal_status(void_return(&riverside, &nil).await)), "STATE_INVALID");
}

/// Checks that another's return and an invented id get the same response.
async fn another_s_return_is_not_there(world: &World) {
    let (riverside, brightwater) = (world.client("provider-a").await, world.client("provider-c").await);
    let placement = world.placements("la-a", "provider-a").remove(2);
    let theirs = submit(&riverside, &submission(vec![mark(&placement, "2026-11-09", "/")])).await.unwrap();
    let refusals = [theirs.message.return_id, new_id()].map(|return_id| {
        let client = brightwater.clone();
        async move { refusal_status(void_return(&client, &return_id).await) }
    });
    for status in refusals {
        let status = status.await;
        assert_eq!((status.code(), reason(&status).as_str()), (Code::NotFound, "NOT_FOUND"));
    }
}

/// Asserts that the database holds this many marks and statements, and that every record verifies against the log.
pub async fn assert_records_verify(dir: &TempDir, sessions: u64) {
    assert_eq!(log_verification::count_sessions(dir.path()).await, sessions);
    log_verification::assert_verifies(dir.path()).await;
}

async fn all(world: World) -> TempDir {
    the_home_school_is_told_its_code(&world).await;
    a_dual_registered_child_s_home_school_holds_d(&world).await;
    every_code_is_taken_and_kept(&world).await;
    an_unresolved_reason_ends(&world).await;
    what_does_not_fit_is_taken_and_warned_of(&world).await;
    detention_is_told_to_the_closest_only(&world).await;
    a_return_is_withdrawn_whole(&world).await;
    another_s_return_is_not_there(&world).await;
    world.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn attendance_by_the_book_on_sqlite() {
    assert_records_verify(&all(World::sqlite().await).await, 59).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attendance_by_the_book_on_postgresql() {
    all(World::postgres().await).await;
}
