//! Properties of an exchange, on both databases: idempotency, corrections, visibility, one log entry per call. Also
//! helpers that build and submit marks.

use std::collections::BTreeMap;

use ap_gateway::cli::audit;
use ap_gateway::client::{Client, ClientError, Reply, reason};
use ap_gateway::clock::Randomness;
use ap_gateway::proto::v1::mark::{Child, Statement};
use ap_gateway::proto::v1::{
    GetAttendanceRequest, GetAttendanceResponse, GetPlacementRequest, Mark, Outcome, Session,
    SubmitAttendanceRequest, SubmitAttendanceResponse, SubmitMode, placement_service, returns_service,
};
use prost::Message;
use tonic::Code;

use super::support::{World, deliveries};

pub fn new_id() -> String {
    Randomness::system().uuid_v4().hyphenated().to_string()
}

pub fn mark(placement: &str, date: &str, code: &str) -> Mark {
    Mark {
        child: Some(Child::PlacementId(placement.to_owned())),
        date: date.to_owned(),
        session: Session::Am as i32,
        statement: Some(Statement::Code(code.to_owned())),
        ..Mark::default()
    }
}

pub fn submission(marks: Vec<Mark>) -> SubmitAttendanceRequest {
    SubmitAttendanceRequest { request_id: new_id(), marks, ..SubmitAttendanceRequest::default() }
}

pub async fn submit(
    client: &Client,
    request: &SubmitAttendanceRequest,
) -> Result<Reply<SubmitAttendanceResponse>, ClientError> {
    client.call(returns_service::SUBMIT_ATTENDANCE, request).await
}

pub async fn get_attendance(client: &Client, placement: &str) -> Result<GetAttendanceResponse, ClientError> {
    let request = GetAttendanceRequest {
        placement_id: placement.to_owned(),
        from_date: "2026-09-01".to_owned(),
        to_date: "2026-11-30".to_owned(),
        ..GetAttendanceRequest::default()
    };
    Ok(client.call(returns_service::GET_ATTENDANCE, &request).await?.message)
}

pub fn refusal_status<R: std::fmt::Debug>(answer: Result<R, ClientError>) -> tonic::Status {
    match answer.unwrap_err() {
        ClientError::Refused(status) => *status,
        other => panic!("{other}"),
    }
}

/// Counts the outcomes of a provider's submissions since an entry.
pub async fn submission_outcomes(client: &Client, since: u64) -> BTreeMap<i32, u32> {
    let mut outcomes = BTreeMap::new();
    for exchange in audit::list_all_exchanges(client).await.unwrap() {
        if exchange.index >= since && exchange.method.ends_with("SubmitAttendance") {
            *outcomes.entry(exchange.outcome).or_insert(0) += 1;
        }
    }
    outcomes
}

/// Checks that a request sent 200 times in parallel is stored once and gets one response: one entry is OK, the
/// others are REPLAYED.
async fn a_request_takes_effect_once(world: &World) {
    let (riverside, la) = (world.client("provider-a").await, world.client("la-a").await);
    let placement = world.placements("la-a", "provider-a").remove(0);
    let request = submission(vec![mark(&placement, "2026-11-02", "/")]);
    let mut sends = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let (client, request) = (riverside.clone(), request.clone());
        sends.spawn(async move { submit(&client, &request).await.unwrap() });
    }
    let answers = sends.join_all().await;
    let first = &answers[0];
    for answer in &answers {
        assert_eq!(answer.message.encode_to_vec(), first.message.encode_to_vec());
        assert_eq!(answer.receipt.encode_to_vec(), first.receipt.encode_to_vec());
    }
    assert_eq!(first.message.stored, 1);
    assert_eq!(get_attendance(&la, &placement).await.unwrap().marks.len(), 1);
    let outcomes = submission_outcomes(&riverside, first.receipt.index).await;
    assert_eq!(outcomes, [(Outcome::Ok as i32, 1), (Outcome::Replayed as i32, 199)].into());
    let other = SubmitAttendanceRequest { marks: vec![mark(&placement, "2026-11-02", "O")], ..request };
    let status = refusal_status(submit(&riverside, &other).await);
    assert_eq!((status.code(), reason(&status).as_str()), (Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED"));
}

/// Checks that a repeated mark is unchanged and is not delivered, and that another code is a correction that keeps
/// the earlier mark.
async fn a_correction_keeps_what_was_before(world: &World) {
    let (riverside, la) = (world.client("provider-a").await, world.client("la-a").await);
    let placement = world.placements("la-a", "provider-a").remove(1);
    let first = submit(&riverside, &submission(vec![mark(&placement, "2026-11-03", "O")])).await.unwrap();
    assert_eq!(first.message.stored, 1);
    let again = submit(&riverside, &submission(vec![mark(&placement, "2026-11-03", "O")])).await.unwrap();
    assert_eq!((again.message.unchanged, again.message.stored), (1, 0));
    let without_reason =
        refusal_status(submit(&riverside, &submission(vec![mark(&placement, "2026-11-03", "I")])).await);
    assert_eq!(without_reason.code(), Code::InvalidArgument);
    let correction =
        Mark { correction_reason: "a parent telephoned".to_owned(), ..mark(&placement, "2026-11-03", "I") };
    let corrected = submit(&riverside, &submission(vec![correction])).await.unwrap();
    assert_eq!(corrected.message.corrected, 1);
    let marks = get_attendance(&la, &placement).await.unwrap().marks;
    let [history] = &marks[..] else { panic!("{} marks", marks.len()) };
    assert_eq!(history.mark.as_ref().unwrap().code, "I");
    assert_eq!(history.earlier[0].code, "O");
}

/// Checks that `ATOMIC` stores nothing if a row is invalid, that `ACCEPT_VALID` stores the other rows, and that
/// refusals repeat no value.
async fn a_bad_row_alone_is_rejected(world: &World) {
    let riverside = world.client("provider-a").await;
    let placement = world.placements("school", "provider-a").remove(0);
    let rows = vec![mark(&placement, "2026-11-04", "/"), mark(&placement, "2026-11-99", "Kangaroo")];
    let atomic = submission(rows.clone());
    let status = refusal_status(submit(&riverside, &atomic).await);
    assert_eq!(status.code(), Code::InvalidArgument);
    let message = ap_gateway::client::explain(&status);
    assert!(message.contains("marks[1].date") && message.contains("marks[1].code"), "{message}");
    assert!(!message.contains("Kangaroo") && !message.contains("2026-11-99"), "{message}");
    let lenient = SubmitAttendanceRequest { mode: SubmitMode::AcceptValid as i32, ..submission(rows) };
    let reply = submit(&riverside, &lenient).await.unwrap().message;
    assert_eq!((reply.stored, reply.rejected), (1, 1));
}

/// Checks that another's placement and an invented id get the same response.
async fn another_s_placement_is_not_found(world: &World) {
    let brightwater = world.client("provider-c").await;
    let other = world.placements("la-a", "provider-a").remove(0);
    let mut answers = Vec::new();
    for placement_id in [other, new_id()] {
        let status = refusal_status(
            brightwater
                .call(
                    placement_service::GET_PLACEMENT,
                    &GetPlacementRequest { placement_id: placement_id.clone() },
                )
                .await,
        );
        answers.push((status.code(), status.message().to_owned(), reason(&status), status.details().len()));
        let status = refusal_status(get_attendance(&brightwater, &placement_id).await);
        assert_eq!(status.code(), Code::NotFound);
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0].0, Code::NotFound);
}

/// Checks that a recipient gets only its own children, and that all parties see checkpoints of the same log.
async fn each_recipient_gets_its_own_children(world: &World) {
    let (riverside, la, school) =
        (world.client("provider-a").await, world.client("la-a").await, world.client("school").await);
    let theirs = world.placements("la-a", "provider-a").remove(2);
    let ours = world.placements("school", "provider-a").remove(1);
    let request = submission(vec![mark(&theirs, "2026-11-05", "/"), mark(&ours, "2026-11-05", "/")]);
    let sent = submit(&riverside, &request).await.unwrap().message;
    for (client, commissioned) in [(&la, &theirs), (&school, &ours)] {
        let mut found = deliveries(client).await;
        found.retain(|delivery| delivery.object_id == sent.return_id);
        assert_eq!(found.len(), 1);
        let Some(ap_gateway::proto::v1::delivery::Content::Attendance(content)) = &found[0].content else {
            panic!("no attendance");
        };
        assert!(content.children.iter().any(|child| child.placement_id == *commissioned));
    }
    let auditor = world.client("auditor").await;
    for client in [&riverside, &la, &school] {
        let notes = client.checkpoints().notes(client.log_key()).unwrap();
        assert_eq!(auditor.verify_checkpoints(&notes).await.unwrap().consistent_checkpoints, 1);
    }
}

/// Checks that every call adds one entry, also refused and malformed ones.
async fn the_log_grows_by_every_exchange(world: &World) {
    let riverside = world.client("provider-a").await;
    let placement = world.placements("school", "provider-a").remove(2);
    let before = submit(&riverside, &submission(vec![mark(&placement, "2026-11-06", "/")])).await.unwrap();
    for number in 0..120 {
        match number % 3 {
            0 => drop(
                submit(&riverside, &submission(vec![mark(&placement, "2026-11-06", "/")])).await.unwrap(),
            ),
            1 => drop(refusal_status(submit(&riverside, &SubmitAttendanceRequest::default()).await)),
            _ => drop(refusal_status(get_attendance(&riverside, &new_id()).await)),
        }
    }
    let after = submit(&riverside, &submission(vec![mark(&placement, "2026-11-06", "/")])).await.unwrap();
    assert_eq!(after.receipt.index - before.receipt.index, 121);
}

/// Checks that concurrent writers of one session are either stored in its history or refused with ABORTED.
async fn an_overtaken_write_is_refused(world: &World) {
    let (riverside, la) = (world.client("provider-a").await, world.client("la-a").await);
    let placement = world.placements("la-a", "provider-a").remove(3);
    let mut sends = tokio::task::JoinSet::new();
    for minutes_late in 1..=20 {
        let (client, mut sent) = (riverside.clone(), mark(&placement, "2026-11-09", "L"));
        sent.minutes_late = Some(minutes_late);
        sent.correction_reason = format!("the clock said {minutes_late}");
        sends.spawn(async move { submit(&client, &submission(vec![sent])).await });
    }
    let mut counts = Vec::new();
    for answer in sends.join_all().await {
        match answer {
            Ok(reply) => counts.push((reply.message.stored, reply.message.corrected)),
            overtaken => {
                let status = refusal_status(overtaken);
                assert_eq!((status.code(), reason(&status).as_str()), (Code::Aborted, "CONTENDED"));
            }
        }
    }
    counts.sort_unstable();
    let (first, corrections) = counts.split_last().unwrap();
    assert_eq!(*first, (1, 0), "one write is the first");
    assert!(corrections.iter().all(|counts| *counts == (0, 1)), "the others correct it: {corrections:?}");
    let marks = get_attendance(&la, &placement).await.unwrap().marks;
    let history = marks.iter().find(|mark| mark.mark.as_ref().unwrap().date == "2026-11-09").unwrap();
    let revisions: Vec<u32> = history.earlier.iter().map(|earlier| earlier.revision).collect();
    let newest = history.mark.as_ref().unwrap().revision;
    assert_eq!(newest as usize, counts.len(), "each stored write is a revision");
    assert_eq!(revisions, (1..newest).rev().collect::<Vec<_>>());
}

async fn all(world: World) {
    a_request_takes_effect_once(&world).await;
    a_correction_keeps_what_was_before(&world).await;
    a_bad_row_alone_is_rejected(&world).await;
    another_s_placement_is_not_found(&world).await;
    each_recipient_gets_its_own_children(&world).await;
    an_overtaken_write_is_refused(&world).await;
    the_log_grows_by_every_exchange(&world).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exchange_holds_on_sqlite() {
    all(World::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exchange_holds_on_postgresql() {
    all(World::postgres().await).await;
}
