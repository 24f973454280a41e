//! Attendance by the book, as provider, home school, commissioner and LA of residence meet it.

use ap_gateway::client::Client;
use ap_gateway::proto::v1::delivery::Content;
use ap_gateway::proto::v1::{
    AttendanceContent, Delivery, ListDeliveriesRequest, Mark, MarkHistory, StoredMark, delivery_service,
};

use super::story::{attendance, mark, submission, submit};
use super::support::World;

/// What was delivered to an organisation under an object id.
async fn delivered(client: &Client, object: &str) -> Vec<Delivery> {
    let (mut cursor, mut found) = (None, Vec::new());
    loop {
        let request = ListDeliveriesRequest { cursor, ..ListDeliveriesRequest::default() };
        let page = client.call(delivery_service::LIST_DELIVERIES, &request).await.unwrap().message;
        found.extend(page.deliveries.into_iter().filter(|delivery| delivery.object_id == object));
        cursor = page.next;
        if !page.more {
            return found;
        }
    }
}

fn content(delivery: &Delivery) -> &AttendanceContent {
    match &delivery.content {
        Some(Content::Attendance(content)) => content,
        _ => panic!("no attendance was delivered"),
    }
}

fn newest(histories: &[MarkHistory], date: &str) -> StoredMark {
    let of = histories.iter().filter_map(|history| history.mark.clone());
    of.into_iter().find(|mark| mark.date == date).unwrap()
}

/// The home school is told K for what an LA arranged and B for what it arranged itself, and what was sent
/// stands as it was sent.
async fn the_home_school_is_told_its_code(world: &World) {
    let (riverside, school) = (world.client("provider-a").await, world.client("school").await);
    let by_la = world.placements("la-a", "provider-a").remove(0);
    let by_school = world.placements("school", "provider-a").remove(0);
    let marks = vec![mark(&by_la, "2026-11-02", "/"), mark(&by_school, "2026-11-02", "L")];
    let results = submit(&riverside, &submission(marks)).await.unwrap().message.results;
    assert_eq!([&results[0].suggested_code, &results[1].suggested_code], ["K", "B"]);
    for (placement, sent, suggested) in [(by_la, "/", "K"), (by_school, "L", "B")] {
        let stored = newest(&attendance(&school, &placement).await.unwrap().marks, "2026-11-02");
        assert_eq!((stored.code.as_str(), stored.suggested_code.as_str()), (sent, suggested));
    }
}

/// An N is suggested as N while it may be resolved, then as O; what was delivered stays what it was.
async fn an_unresolved_reason_ends(world: &World) {
    let (riverside, school) = (world.client("provider-a").await, world.client("school").await);
    let placement = world.placements("school", "provider-a").remove(0);
    let marks = vec![mark(&placement, "2026-11-12", "N"), mark(&placement, "2026-11-13", "N")];
    submit(&riverside, &submission(marks)).await.unwrap();
    let marks = attendance(&school, &placement).await.unwrap().marks;
    // Five school days after 13 November it is 20 November, which it is.
    assert_eq!(newest(&marks, "2026-11-12").suggested_code, "O");
    assert_eq!(newest(&marks, "2026-11-13").suggested_code, "N");
}

/// K needs an LA and B a school, and either a place: each is taken and warned of.
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
    assert_eq!(newest(&attendance(&school, &by_school).await.unwrap().marks, "2026-11-03").site, "the farm");
}

/// Criminal justice detention is for commissioner and home school; the LA of residence learns that the
/// session was not possible, by the mailbox as by reading, and as it would of Y7.
async fn detention_is_told_to_the_closest_only(world: &World) {
    let (riverside, school) = (world.client("provider-a").await, world.client("school").await);
    let residence = world.client("la-b").await;
    let placement = world.placements("school", "provider-a").remove(1);
    let detained = Mark { comment: "remand".to_owned(), ..mark(&placement, "2026-11-04", "Y5") };
    let marks = vec![detained, mark(&placement, "2026-11-05", "Y7"), mark(&placement, "2026-11-06", "Y1")];
    let sent = submit(&riverside, &submission(marks)).await.unwrap().message;
    let correction =
        Mark { correction_reason: "released early".to_owned(), ..mark(&placement, "2026-11-04", "/") };
    for (client, expected) in [(&school, ["Y5", "Y7", "Y1"]), (&residence, ["", "", "Y1"])] {
        let of = delivered(client, &sent.return_id).await;
        let brought = &content(&of[0]).children[0].marks;
        let read = attendance(client, &placement).await.unwrap().marks;
        for marks in [brought, &read] {
            for (date, code) in ["2026-11-04", "2026-11-05", "2026-11-06"].into_iter().zip(expected) {
                let mark = newest(marks, date);
                assert_eq!((mark.code.as_str(), mark.not_possible), (code, code.is_empty()), "{date}");
                assert!(!mark.not_possible || mark.comment.is_empty());
            }
        }
    }
    submit(&riverside, &submission(vec![correction])).await.unwrap();
    for (client, reason, before) in [(&school, "released early", "Y5"), (&residence, "", "")] {
        let marks = attendance(client, &placement).await.unwrap().marks;
        let of = |history: &&MarkHistory| history.mark.as_ref().unwrap().date == "2026-11-04";
        let history = marks.iter().find(of).unwrap();
        let now = history.mark.as_ref().unwrap();
        assert_eq!((now.code.as_str(), now.correction_reason.as_str()), ("/", reason));
        assert_eq!(history.earlier[0].code, before);
    }
}

async fn all(world: World) {
    the_home_school_is_told_its_code(&world).await;
    an_unresolved_reason_ends(&world).await;
    what_does_not_fit_is_taken_and_warned_of(&world).await;
    detention_is_told_to_the_closest_only(&world).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attendance_by_the_book_on_sqlite() {
    all(World::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attendance_by_the_book_on_postgresql() {
    all(World::postgres().await).await;
}
