//! A return in parts: each committed part is stored, delivered and logged once, and nothing else is.

use ap_gateway::client::{Client, reason};
use ap_gateway::proto::v1::{
    ExchangeRecord, ListExpectedReturnsRequest, Mark, MarkHistory, Outcome, Session, StreamAttendanceRequest,
    SubmitMode, returns_service,
};
use prost::Message;
use prost::bytes::Bytes;
use tempfile::TempDir;
use tonic::Status;

use super::attendance::{
    assert_records_verify, attendance_content, deliveries_of_object, mark_on, void_part,
};
use super::exchange_semantics::{get_attendance, mark, new_id, refusal_status};
use super::support::World;
use super::upload::{Upload, commit, entered, marks, opening, part};
use super::wire::Wire;

fn provider_placements(world: &World) -> Vec<String> {
    [world.placements("la-a", "provider-a"), world.placements("school", "provider-a")].concat()
}

async fn count_marks(world: &World) -> i64 {
    let database = world.database().await;
    let mut conn = database.reader().await.unwrap();
    let row = conn.fetch_one("SELECT COUNT(*) AS count FROM marks", vec![]).await.unwrap().unwrap();
    drop(conn);
    database.close().await;
    row.get("count").unwrap()
}

/// Checks that 20,000 marks in 20 parts are 21 exchanges and 20 deliveries, and that a further part is refused.
async fn a_whole_return_goes_in(world: &World) {
    let wire = Wire::connect(world.dir.path(), "provider-a").await;
    let (mut upload, opened) = Upload::start(&wire, "").await;
    assert_eq!((opened.next_part, opened.complete), (1, false));
    let marks = marks(&provider_placements(world), 20_000);
    for (number, marks) in (1..).zip(marks.chunks(1_000)) {
        let answer = upload.part(&part(&opened.return_id, number, marks, 200, number == 20)).await.unwrap();
        assert_eq!((answer.part, answer.stored, answer.results.len()), (number, 1_000, 1_000));
        let next = if number == 20 { 0 } else { number + 1 };
        assert_eq!((answer.next_part, answer.complete), (next, number == 20));
        assert_eq!(answer.return_id, opened.return_id);
    }
    let further =
        part(&opened.return_id, 21, &[mark(&provider_placements(world)[0], "2026-11-02", "/")], 1, true);
    assert_eq!(refusal_reason(upload.part(&further).await), "STATE_INVALID");
    let entered = entered(&world.client("provider-a").await).await;
    let count = |outcome: Outcome| entered.iter().filter(|entry| entry.outcome() == outcome).count();
    assert_eq!((count(Outcome::Ok), count(Outcome::Refused), entered.len()), (21, 1, 22));
    assert_eq!(deliveries_of_object(&world.client("la-a").await, &opened.return_id).await.len(), 20);
    assert_eq!(count_marks(world).await, 20_000);
}

/// Returns the reason of a refusal.
fn refusal_reason<T: std::fmt::Debug>(answer: Result<T, Status>) -> String {
    reason(&answer.unwrap_err())
}

/// Checks that an error ends the stream, is logged once and stores nothing of the part. Earlier parts stay, and the
/// return can be continued.
async fn what_is_wrong_with_a_part_is_refused(world: &World) {
    let wire = Wire::connect(world.dir.path(), "provider-a").await;
    let riverside = world.client("provider-a").await;
    let (upload, opened) = Upload::start(&wire, "").await;
    assert!(upload.half_close().await.unwrap().is_none());
    let (before, entries) = (count_marks(world).await, entered(&riverside).await.len());
    let all = marks(&provider_placements(world), 1_201);
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
        ("INVALID_REQUEST", header(&[mark(&new_id(), "2026-11-02", "/")])),
        ("INVALID_REQUEST", recommitted(other(&|it| it.request_id.clear(), &ended[..1], 0), 1)),
        ("INVALID_REQUEST", recommitted(other(&|it| it.marks.clear(), &ended[..1], 0), 0)),
        ("NOT_FOUND", recommitted(other(&|it| it.return_id = new_id(), &ended[..1], 0), 1)),
    ];
    for (at, (reason, messages)) in (0..).zip(&cases) {
        let (mut upload, again) = Upload::start(&wire, &opened.return_id).await;
        assert_eq!(again.next_part, 1);
        assert_eq!(refusal_reason(upload.part(messages).await), *reason, "case {at}");
        let entered = entered(&riverside).await;
        assert_eq!(entered.len(), entries + 2 * (at + 1), "case {at} is an opening and a refusal");
        assert_eq!(entered[0].reason, *reason);
        assert_eq!(count_marks(world).await, before);
    }
    // The same header is stored with a correct commit.
    let (mut upload, _) = Upload::start(&wire, &opened.return_id).await;
    assert_eq!(upload.part(&first).await.unwrap().next_part, 2);
}

/// Checks that committed parts stay when a stream ends without a commit, and that the part in progress is
/// discarded. The next stream of the return gets the next part number, and a part that is sent again gets its first
/// response.
async fn a_return_is_gone_on_with(world: &World) {
    let wire = Wire::connect(world.dir.path(), "provider-a").await;
    let riverside = world.client("provider-a").await;
    let all = marks(&provider_placements(world), 9);
    let (mut upload, opened) = Upload::start(&wire, "").await;
    let id = opened.return_id;
    let (first, second) = (part(&id, 1, &all[..4], 2, false), part(&id, 2, &all[4..], 2, true));
    let answered = upload.part_bytes(&first).await.unwrap();
    upload.send(&second[0]).await;
    upload.send(&second[1]).await;
    let (before, entries) = (count_marks(world).await, entered(&riverside).await.len());
    assert_eq!(refusal_reason(upload.half_close().await), "STREAM_BROKEN");
    assert_eq!((count_marks(world).await, entered(&riverside).await.len()), (before, entries + 1));
    let (mut upload, again) = Upload::start(&wire, &id).await;
    assert_eq!((again.return_id, again.next_part, again.complete), (id.clone(), 2, false));
    assert_eq!(upload.part_bytes(&first).await.unwrap(), answered, "the same bytes");
    let last = upload.part(&second).await.unwrap();
    assert_eq!((last.stored, last.next_part, last.complete), (5, 0, true));
    assert_eq!(upload.half_close().await.unwrap(), None);
    let (upload, over) = Upload::start(&wire, &id).await;
    assert_eq!((over.next_part, over.complete), (0, true));
    drop(upload);
    let outcomes: Vec<Outcome> = entered(&riverside).await.iter().map(ExchangeRecord::outcome).collect();
    let (ok, refused) = (Outcome::Ok, Outcome::Refused);
    assert_eq!(outcomes[..7], [ok, ok, Outcome::Replayed, ok, refused, ok, ok]);
}

/// Checks that a part with `validate_only` stores nothing and uses no part number, and that `ACCEPT_VALID` stores
/// the valid rows of a part.
async fn a_part_may_be_tried_or_taken_in_part(world: &World) {
    let wire = Wire::connect(world.dir.path(), "provider-a").await;
    let (mut upload, opened) = Upload::start(&wire, "").await;
    let mut all = marks(&provider_placements(world), 12).split_off(9);
    all.push(mark(&new_id(), "2026-11-02", "/"));
    let header = |validate_only: bool| {
        let header = StreamAttendanceRequest {
            request_id: new_id(),
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
    let before = count_marks(world).await;
    let tried = upload.part(&header(true)).await.unwrap();
    assert_eq!((tried.stored, tried.rejected, tried.next_part, tried.complete), (3, 1, 1, false));
    assert_eq!(count_marks(world).await, before);
    let taken = upload.part(&header(false)).await.unwrap();
    assert_eq!((taken.stored, taken.rejected, taken.next_part, taken.complete), (3, 1, 0, true));
    assert_eq!(count_marks(world).await, before + 3);
}

/// Returns whether each mark of a placement is flagged as part of an incomplete return, and whether any expected
/// return is.
async fn incomplete_flags(client: &Client, placement: &str) -> (Vec<bool>, bool) {
    let marks = get_attendance(client, placement).await.unwrap().marks;
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

/// Checks that the marks of a return are flagged as incomplete until its last part is committed. Each part can be
/// withdrawn separately, which restores the marks of earlier parts.
async fn a_return_is_incomplete_until_its_last_part(world: &World) {
    let wire = Wire::connect(world.dir.path(), "provider-a").await;
    let (riverside, la) = (world.client("provider-a").await, world.client("la-a").await);
    let placement = world.placements("la-a", "provider-a").remove(0);
    let days = ["2026-11-09", "2026-11-10", "2026-11-11"];
    let corrected =
        Mark { correction_reason: "a parent telephoned".to_owned(), ..mark(&placement, days[0], "I") };
    let (mut upload, opened) = Upload::start(&wire, "").await;
    let id = opened.return_id;
    let first = [mark(&placement, days[0], "/"), mark(&placement, days[1], "/")];
    upload.part(&part(&id, 1, &first, 1, false)).await.unwrap();
    assert_eq!(incomplete_flags(&la, &placement).await, (vec![true, true], true));
    let answer =
        upload.part(&part(&id, 2, &[corrected, mark(&placement, days[2], "/")], 2, true)).await.unwrap();
    assert_eq!((answer.corrected, answer.stored), (1, 1));
    assert_eq!(incomplete_flags(&la, &placement).await, (vec![false; 3], false));
    let received = deliveries_of_object(&la, &id).await;
    let received: Vec<_> =
        received.iter().map(|it| (attendance_content(it).part, attendance_content(it).incomplete)).collect();
    assert_eq!(received, [(1, true), (2, false)]);
    let whole = refusal_status(void_part(&riverside, &id, 0).await);
    assert_eq!(reason(&whole), "INVALID_REQUEST");
    assert_eq!(reason(&refusal_status(void_part(&riverside, &id, 3).await)), "NOT_FOUND");
    assert_eq!(void_part(&riverside, &id, 2).await.unwrap().voided, 2);
    let marks = get_attendance(&la, &placement).await.unwrap().marks;
    let flags = |marks: &[MarkHistory]| days.map(|day| mark_on(marks, day).flags.concat());
    assert_eq!(
        (mark_on(&marks, days[0]).code.as_str(), flags(&marks)),
        ("/", ["RESTORED", "", "WITHDRAWN"].map(str::to_owned))
    );
    assert_eq!(void_part(&riverside, &id, 1).await.unwrap().voided, 2);
    assert_eq!(flags(&get_attendance(&la, &placement).await.unwrap().marks), ["WITHDRAWN"; 3]);
    assert_eq!(reason(&refusal_status(void_part(&riverside, &id, 1).await)), "STATE_INVALID");
    let withdrawn = deliveries_of_object(&la, &id).await;
    assert_eq!(
        (attendance_content(&withdrawn[2]).voided_return_id.as_str(), attendance_content(&withdrawn[2]).part),
        (id.as_str(), 2)
    );
}

/// Returns the number of entries with an answer. That of an abandoned stream has none, and may come late.
fn answered(entries: &[ExchangeRecord]) -> usize {
    entries.iter().filter(|entry| entry.outcome() == Outcome::Ok).count()
}

/// Checks that a part number is used once, also under concurrency, and that a part occupies a slot of its
/// organisation's in-flight exchanges from its header on.
async fn a_part_has_its_number_and_its_place(world: &World) {
    let wire = Wire::connect(world.dir.path(), "provider-a").await;
    let all = marks(&provider_placements(world), 16).split_off(12);
    let (mut one, opened) = Upload::start(&wire, "").await;
    let id = &opened.return_id;
    let (mut other, _) = Upload::start(&wire, id).await;
    let (first, second) = (part(id, 1, &all[..1], 1, false), part(id, 1, &all[1..2], 1, false));
    world.queue().set_paused(true);
    let sent = tokio::spawn(async move { one.part(&first).await });
    world.wait_for_queued(1).await;
    let also = tokio::spawn(async move { other.part(&second).await });
    world.wait_for_queued(2).await;
    world.queue().set_paused(false);
    assert_eq!(sent.await.unwrap().unwrap().next_part, 2);
    assert_eq!(refusal_reason(also.await.unwrap()), "SEQUENCE_GAP");
    let riverside = world.client("provider-a").await;
    let before = answered(&entered(&riverside).await);
    let (mut upload, again) = Upload::start(&wire, id).await;
    assert_eq!(again.next_part, 2);
    let occupied = world.occupy_slots("provider/riverside");
    let rest = part(id, 2, &all[2..], 2, true);
    assert_eq!(refusal_reason(upload.part(&rest).await), "TOO_MANY_IN_FLIGHT");
    drop(occupied);
    let (mut upload, _) = Upload::start(&wire, id).await;
    assert!(upload.part(&rest).await.unwrap().complete);
    let entries = entered(&riverside).await;
    assert!(entries.iter().all(|entry| entry.reason != "TOO_MANY_IN_FLIGHT"), "overload is not entered");
    assert_eq!(answered(&entries), before + 3, "two starts and a part");
}

/// Checks that another's return and an invented id get the same response.
async fn another_s_return_is_not_there(world: &World) {
    let (riverside, oakfield) = (
        Wire::connect(world.dir.path(), "provider-a").await,
        Wire::connect(world.dir.path(), "provider-b").await,
    );
    let (_upload, opened) = Upload::start(&riverside, "").await;
    for return_id in [opened.return_id, new_id()] {
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
    assert_records_verify(&all(World::sqlite().await).await, 23).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn returns_in_parts_on_postgresql() {
    all(World::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_marks_on_sqlite() {
    let world = World::sqlite().await;
    a_whole_return_goes_in(&world).await;
    assert_records_verify(&world.stop().await, 20_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_marks_on_postgresql() {
    let world = World::postgres().await;
    a_whole_return_goes_in(&world).await;
    world.stop().await;
}
