//! A return in parts: what a commit ends is stored, delivered and entered once, and nothing else is.

use ap_gateway::client::{Client, reason};
use ap_gateway::proto::v1::{
    ExchangeRecord, ListExpectedReturnsRequest, Mark, MarkHistory, Outcome, Session, StreamAttendanceRequest,
    SubmitMode, returns_service,
};
use prost::Message;
use prost::bytes::Bytes;
use tempfile::TempDir;
use tonic::Status;

use super::attendance::{content, delivered, newest, verified, void_part};
use super::story::{attendance, id, mark, refused};
use super::support::World;
use super::upload::{Upload, commit, entered, marks, opening, part};
use super::wire::Wire;

fn placements(world: &World) -> Vec<String> {
    [world.placements("la-a", "provider-a"), world.placements("school", "provider-a")].concat()
}

async fn stored(world: &World) -> i64 {
    let database = world.database().await;
    let mut conn = database.reader().await.unwrap();
    let row = conn.fetch_one("SELECT COUNT(*) FROM marks", vec![]).await.unwrap().unwrap();
    drop(conn);
    database.close().await;
    row.int(0).unwrap()
}

/// 20,000 marks in 20 parts are 21 exchanges and 20 deliveries, and one mark more is refused.
async fn a_whole_return_goes_in(world: &World) {
    let wire = Wire::of(world.dir.path(), "provider-a").await;
    let (mut upload, opened) = Upload::of(&wire, "").await;
    assert_eq!((opened.next_part, opened.complete), (1, false));
    let marks = marks(&placements(world), 20_000);
    for (number, marks) in (1..).zip(marks.chunks(1_000)) {
        let answer = upload.part(&part(&opened.return_id, number, marks, 200, number == 20)).await.unwrap();
        assert_eq!((answer.part, answer.stored, answer.results.len()), (number, 1_000, 1_000));
        let next = if number == 20 { 0 } else { number + 1 };
        assert_eq!((answer.next_part, answer.complete), (next, number == 20));
        assert_eq!(answer.return_id, opened.return_id);
    }
    let further = part(&opened.return_id, 21, &[mark(&placements(world)[0], "2026-11-02", "/")], 1, true);
    assert_eq!(told(upload.part(&further).await), "STATE_INVALID");
    let entered = entered(&world.client("provider-a").await).await;
    let of = |outcome: Outcome| entered.iter().filter(|entry| entry.outcome() == outcome).count();
    assert_eq!((of(Outcome::Ok), of(Outcome::Refused), entered.len()), (21, 1, 22));
    assert_eq!(delivered(&world.client("la-a").await, &opened.return_id).await.len(), 20);
    assert_eq!(stored(world).await, 20_000);
}

/// The reason of a refusal, with the fields at fault.
fn told<T: std::fmt::Debug>(answer: Result<T, Status>) -> String {
    reason(&answer.unwrap_err())
}

/// What is wrong with a stream ends it, is entered once, and stores nothing of the part; the parts before it
/// stay, and the return is gone on with.
async fn what_is_wrong_with_a_part_is_refused(world: &World) {
    let wire = Wire::of(world.dir.path(), "provider-a").await;
    let riverside = world.client("provider-a").await;
    let (upload, opened) = Upload::of(&wire, "").await;
    assert!(upload.half_close().await.unwrap().is_none());
    let (before, entries) = (stored(world).await, entered(&riverside).await.len());
    let all = marks(&placements(world), 1_201);
    let good = |number: u32| part(&opened.return_id, number, &all[..3], 1, false);
    let header = |marks: &[_]| part(&opened.return_id, 1, marks, 10_000, false);
    let (first, ended) = (good(1), header(&all[..1]));
    let other = |change: &dyn Fn(&mut StreamAttendanceRequest), messages: &[Bytes], at: usize| {
        let mut changed = messages.to_vec();
        let mut message = StreamAttendanceRequest::decode(changed[at].clone()).unwrap();
        change(&mut message);
        changed[at] = message.encode_to_vec().into();
        changed
    };
    let recommitted =
        |messages: Vec<Bytes>, count: u32| [&messages[..], &[commit(&messages, count, false)]].concat();
    let cases: Vec<(&str, Vec<Bytes>)> = vec![
        ("SEQUENCE_GAP", good(2)),
        ("STREAM_PROTOCOL", vec![first[1].clone()]),
        ("STREAM_PROTOCOL", vec![first[3].clone()]),
        ("STREAM_PROTOCOL", vec![first[0].clone(), first[0].clone()]),
        ("STREAM_PROTOCOL", vec![first[0].clone(), opening(&opened.return_id).encode_to_vec().into()]),
        ("STREAM_PROTOCOL", vec![first[0].clone(), Bytes::new()]),
        ("STREAM_PROTOCOL", other(&|commit| commit.marks = all[..1].to_vec(), &ended, 1)),
        ("STREAM_DIGEST_MISMATCH", other(&|it| it.commit.as_mut().unwrap().count = 2, &ended, 1)),
        (
            "STREAM_DIGEST_MISMATCH",
            other(&|it| it.commit.as_mut().unwrap().sha256 = vec![7; 32].into(), &ended, 1),
        ),
        ("STREAM_DIGEST_MISMATCH", other(&|it| it.commit.as_mut().unwrap().sha256 = Bytes::new(), &ended, 1)),
        (
            "STREAM_DIGEST_MISMATCH",
            vec![first[0].clone(), first[2].clone(), first[1].clone(), first[3].clone()],
        ),
        ("STREAM_DIGEST_MISMATCH", vec![first[0].clone(), first[1].clone(), first[3].clone()]),
        ("MALFORMED", vec![first[0].clone(), Bytes::from_static(&[0xff; 9])]),
        ("MESSAGE_TOO_LARGE", vec![first[0].clone(), Bytes::from(vec![0x0a; (256 << 10) + 1])]),
        ("INVALID_REQUEST", header(&all[..201])),
        ("INVALID_REQUEST", part(&opened.return_id, 1, &all[..1_001], 200, false)),
        ("INVALID_REQUEST", header(&[mark(&id(), "2026-11-02", "/")])),
        ("INVALID_REQUEST", recommitted(other(&|it| it.request_id.clear(), &ended[..1], 0), 1)),
        ("INVALID_REQUEST", recommitted(other(&|it| it.marks.clear(), &ended[..1], 0), 0)),
        ("NOT_FOUND", recommitted(other(&|it| it.return_id = id(), &ended[..1], 0), 1)),
    ];
    for (at, (reason, messages)) in (0..).zip(&cases) {
        let (mut upload, again) = Upload::of(&wire, &opened.return_id).await;
        assert_eq!(again.next_part, 1);
        assert_eq!(told(upload.part(messages).await), *reason, "case {at}");
        let entered = entered(&riverside).await;
        assert_eq!(entered.len(), entries + 2 * (at + 1), "case {at} is an opening and a refusal");
        assert_eq!(entered[0].reason, *reason);
        assert_eq!(stored(world).await, before);
    }
    // And the same header does go in where its commit is right.
    let (mut upload, _) = Upload::of(&wire, &opened.return_id).await;
    assert_eq!(upload.part(&first).await.unwrap().next_part, 2);
}

/// What was committed before a stream ended without a commit stays; what was under way is nowhere. The next
/// stream of the return is told where it stands, and a part that was sent before gets its first answer.
async fn a_return_is_gone_on_with(world: &World) {
    let wire = Wire::of(world.dir.path(), "provider-a").await;
    let riverside = world.client("provider-a").await;
    let all = marks(&placements(world), 9);
    let (mut upload, opened) = Upload::of(&wire, "").await;
    let id = opened.return_id;
    let (first, second) = (part(&id, 1, &all[..4], 2, false), part(&id, 2, &all[4..], 2, true));
    let answered = upload.part_bytes(&first).await.unwrap();
    upload.send(&second[0]).await;
    upload.send(&second[1]).await;
    let (before, entries) = (stored(world).await, entered(&riverside).await.len());
    assert_eq!(told(upload.half_close().await), "STREAM_BROKEN");
    assert_eq!((stored(world).await, entered(&riverside).await.len()), (before, entries + 1));
    let (mut upload, again) = Upload::of(&wire, &id).await;
    assert_eq!((again.return_id, again.next_part, again.complete), (id.clone(), 2, false));
    assert_eq!(upload.part_bytes(&first).await.unwrap(), answered, "the same bytes");
    let last = upload.part(&second).await.unwrap();
    assert_eq!((last.stored, last.next_part, last.complete), (5, 0, true));
    assert_eq!(upload.half_close().await.unwrap(), None);
    let (upload, over) = Upload::of(&wire, &id).await;
    assert_eq!((over.next_part, over.complete), (0, true));
    drop(upload);
    let outcomes: Vec<Outcome> = entered(&riverside).await.iter().map(ExchangeRecord::outcome).collect();
    let (ok, refused) = (Outcome::Ok, Outcome::Refused);
    assert_eq!(outcomes[..7], [ok, ok, Outcome::Replayed, ok, refused, ok, ok]);
}

/// A part that is only validated stores nothing and is no part yet; a row at fault does not hinder the others
/// where the part says so.
async fn a_part_may_be_tried_or_taken_in_part(world: &World) {
    let wire = Wire::of(world.dir.path(), "provider-a").await;
    let (mut upload, opened) = Upload::of(&wire, "").await;
    let mut all = marks(&placements(world), 12).split_off(9);
    all.push(mark(&id(), "2026-11-02", "/"));
    let header = |validate_only: bool| {
        let header = StreamAttendanceRequest {
            request_id: id(),
            validate_only,
            mode: SubmitMode::AcceptValid as i32,
            return_id: opened.return_id.clone(),
            part: 1,
            marks: all.clone(),
            ..StreamAttendanceRequest::default()
        };
        let messages = vec![Bytes::from(header.encode_to_vec())];
        [&messages[..], &[commit(&messages, 4, true)]].concat()
    };
    let before = stored(world).await;
    let tried = upload.part(&header(true)).await.unwrap();
    assert_eq!((tried.stored, tried.rejected, tried.next_part, tried.complete), (3, 1, 1, false));
    assert_eq!(stored(world).await, before);
    let taken = upload.part(&header(false)).await.unwrap();
    assert_eq!((taken.stored, taken.rejected, taken.next_part, taken.complete), (3, 1, 0, true));
    assert_eq!(stored(world).await, before + 3);
}

/// Whether each mark of a placement is shown as part of an incomplete return; and whether any due one is.
async fn incomplete(client: &Client, placement: &str) -> (Vec<bool>, bool) {
    let marks = attendance(client, placement).await.unwrap().marks;
    let request = ListExpectedReturnsRequest {
        placement_id: placement.to_owned(),
        from_date: "2026-11-01".to_owned(),
        to_date: "2026-11-20".to_owned(),
        ..ListExpectedReturnsRequest::default()
    };
    let due = client.call(returns_service::LIST_EXPECTED_RETURNS, &request).await.unwrap().message.returns;
    let marks = marks.into_iter().filter(|it| it.mark.as_ref().unwrap().session() == Session::Am);
    (marks.map(|it| it.return_incomplete).collect(), due.iter().any(|it| it.return_incomplete))
}

/// Until its last part is in, a return is shown as incomplete wherever its marks are; each part is withdrawn by
/// itself, and leaves what another part of the same return said before it.
async fn a_return_is_incomplete_until_its_last_part(world: &World) {
    let wire = Wire::of(world.dir.path(), "provider-a").await;
    let (riverside, la) = (world.client("provider-a").await, world.client("la-a").await);
    let placement = world.placements("la-a", "provider-a").remove(0);
    let days = ["2026-11-09", "2026-11-10", "2026-11-11"];
    let corrected =
        Mark { correction_reason: "a parent telephoned".to_owned(), ..mark(&placement, days[0], "I") };
    let (mut upload, opened) = Upload::of(&wire, "").await;
    let id = opened.return_id;
    let first = [mark(&placement, days[0], "/"), mark(&placement, days[1], "/")];
    upload.part(&part(&id, 1, &first, 1, false)).await.unwrap();
    assert_eq!(incomplete(&la, &placement).await, (vec![true, true], true));
    let answer =
        upload.part(&part(&id, 2, &[corrected, mark(&placement, days[2], "/")], 2, true)).await.unwrap();
    assert_eq!((answer.corrected, answer.stored), (1, 1));
    assert_eq!(incomplete(&la, &placement).await, (vec![false; 3], false));
    let told = delivered(&la, &id).await;
    let told: Vec<_> = told.iter().map(|it| (content(it).part, content(it).incomplete)).collect();
    assert_eq!(told, [(1, true), (2, false)]);
    let whole = refused(void_part(&riverside, &id, 0).await);
    assert_eq!(reason(&whole), "INVALID_REQUEST");
    assert_eq!(reason(&refused(void_part(&riverside, &id, 3).await)), "NOT_FOUND");
    assert_eq!(void_part(&riverside, &id, 2).await.unwrap().voided, 2);
    let marks = attendance(&la, &placement).await.unwrap().marks;
    let flags = |marks: &[MarkHistory]| days.map(|day| newest(marks, day).flags.concat());
    assert_eq!(
        (newest(&marks, days[0]).code.as_str(), flags(&marks)),
        ("/", ["RESTORED", "", "WITHDRAWN"].map(str::to_owned))
    );
    assert_eq!(void_part(&riverside, &id, 1).await.unwrap().voided, 2);
    assert_eq!(flags(&attendance(&la, &placement).await.unwrap().marks), ["WITHDRAWN"; 3]);
    assert_eq!(reason(&refused(void_part(&riverside, &id, 1).await)), "STATE_INVALID");
    let withdrawn = delivered(&la, &id).await;
    assert_eq!(
        (content(&withdrawn[2]).voided_return_id.as_str(), content(&withdrawn[2]).part),
        (id.as_str(), 2)
    );
}

/// Each number is given to one part, whoever else sends one of that number at the same time; and a part counts
/// among its organisation's exchanges under way from its header on.
async fn a_part_has_its_number_and_its_place(world: &World) {
    let wire = Wire::of(world.dir.path(), "provider-a").await;
    let all = marks(&placements(world), 16).split_off(12);
    let (mut one, opened) = Upload::of(&wire, "").await;
    let id = &opened.return_id;
    let (mut other, _) = Upload::of(&wire, id).await;
    let (first, second) = (part(id, 1, &all[..1], 1, false), part(id, 1, &all[1..2], 1, false));
    world.queue().hold(true);
    let sent = tokio::spawn(async move { one.part(&first).await });
    world.queued(1).await;
    let also = tokio::spawn(async move { other.part(&second).await });
    world.queued(2).await;
    world.queue().hold(false);
    assert_eq!(sent.await.unwrap().unwrap().next_part, 2);
    assert_eq!(told(also.await.unwrap()), "SEQUENCE_GAP");
    let riverside = world.client("provider-a").await;
    let entries = entered(&riverside).await.len();
    let (mut upload, again) = Upload::of(&wire, id).await;
    assert_eq!(again.next_part, 2);
    let occupied = world.occupied("provider/riverside");
    let rest = part(id, 2, &all[2..], 2, true);
    assert_eq!(told(upload.part(&rest).await), "TOO_MANY_IN_FLIGHT");
    drop(occupied);
    let (mut upload, _) = Upload::of(&wire, id).await;
    assert!(upload.part(&rest).await.unwrap().complete);
    assert_eq!(entered(&riverside).await.len(), entries + 3, "overload is not entered");
}

/// Another's return, and one that never was, are one answer.
async fn another_s_return_is_not_there(world: &World) {
    let (riverside, oakfield) =
        (Wire::of(world.dir.path(), "provider-a").await, Wire::of(world.dir.path(), "provider-b").await);
    let (_upload, opened) = Upload::of(&riverside, "").await;
    for return_id in [opened.return_id, id()] {
        let refused = Upload::open(&oakfield, &[], &opening(&return_id)).await;
        assert_eq!(reason(&refused.err().unwrap()), "NOT_FOUND");
    }
}

async fn all(world: World) -> TempDir {
    a_return_is_gone_on_with(&world).await;
    a_part_may_be_tried_or_taken_in_part(&world).await;
    what_is_wrong_with_a_part_is_refused(&world).await;
    a_return_is_incomplete_until_its_last_part(&world).await;
    a_part_has_its_number_and_its_place(&world).await;
    another_s_return_is_not_there(&world).await;
    world.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn returns_in_parts_on_sqlite() {
    verified(&all(World::sqlite().await).await, 23).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn returns_in_parts_on_postgresql() {
    all(World::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_marks_on_sqlite() {
    let world = World::sqlite().await;
    a_whole_return_goes_in(&world).await;
    verified(&world.stop().await, 20_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_marks_on_postgresql() {
    let world = World::postgres().await;
    a_whole_return_goes_in(&world).await;
    world.stop().await;
}
