//! What meets in one group of the committer: each is decided as if it had come alone, in the order of the
//! group, and whoever the database refuses suffers alone. And what a request id gets, whatever has happened
//! since. On both databases.

use ap_gateway::cli::audit;
use ap_gateway::client::{Client, ClientError, reason};
use ap_gateway::proto::v1::{
    EndPlacementRequest, EndReason, GetPlacementRequest, Mark, Outcome, Placement, Plan, PutPlanRequest,
    placement_service, register_service,
};
use ap_gateway::store::Database;
use prost::Message;
use tokio::task::JoinSet;
use tonic::Code;

use super::safety::{own, revocation};
use super::story::{attendance, id, mark, outcomes, refused, submission, submit};
use super::support::World;

/// Changes of one group.
const GROUP: usize = 256;
/// Calls on one connection at once.
const STREAMS: usize = 64;
/// A day that the database is made to refuse.
const REFUSED: &str = "2026-10-13";

async fn placement(client: &Client, placement: &str) -> (Placement, Plan) {
    let request = GetPlacementRequest { placement_id: placement.to_owned() };
    let found = client.call(placement_service::GET_PLACEMENT, &request).await.unwrap().message;
    (found.placement.unwrap(), found.plan.unwrap())
}

async fn a_mark_and_its_correction(world: &World) {
    let (riverside, la) = (world.client("provider-a").await, world.client("la-a").await);
    let placement = world.placements("la-a", "provider-a").remove(0);
    let send = |mark: Mark| {
        let riverside = riverside.clone();
        tokio::spawn(async move { submit(&riverside, &submission(vec![mark])).await.unwrap().message })
    };
    world.queue().hold(true);
    let first = send(mark(&placement, "2026-11-02", "O"));
    world.queued(1).await;
    let reason = "a parent telephoned".to_owned();
    let second = send(Mark { correction_reason: reason, ..mark(&placement, "2026-11-02", "I") });
    world.queued(2).await;
    world.queue().hold(false);
    assert_eq!((first.await.unwrap().stored, second.await.unwrap().corrected), (1, 1));
    let marks = attendance(&la, &placement).await.unwrap().marks;
    let [history] = &marks[..] else { panic!("{} marks", marks.len()) };
    assert_eq!((history.mark.as_ref().unwrap().code.as_str(), history.earlier[0].code.as_str()), ("I", "O"));
}

async fn two_plans_with_one_etag(world: &World) {
    let la = world.client("la-a").await;
    let of = world.placements("la-a", "provider-a").remove(1);
    let (before, plan) = placement(&la, &of).await;
    let send = |contract: &str| {
        let request = PutPlanRequest {
            request_id: id(),
            placement_id: of.clone(),
            etag: before.plan_etag.clone(),
            plan: Some(Plan { contract: contract.to_owned(), ..plan.clone() }),
            ..PutPlanRequest::default()
        };
        let la = la.clone();
        tokio::spawn(async move { la.call(placement_service::PUT_PLAN, &request).await })
    };
    world.queue().hold(true);
    let first = send("block");
    world.queued(1).await;
    let second = send("spot");
    world.queued(2).await;
    world.queue().hold(false);
    let made = first.await.unwrap().unwrap().message.etag;
    let status = refused(second.await.unwrap());
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Aborted, "REVISION_MISMATCH"));
    let (after, plan) = placement(&la, &of).await;
    assert_eq!((after.plan_etag, plan.contract.as_str()), (made, "block"));
}

async fn a_revocation_before_what_it_revokes(world: &World) {
    let (riverside, old) = (world.client("provider-a").await, world.client("provider-a-old").await);
    let la = world.client("la-a").await;
    let placement = world.placements("la-a", "provider-a").remove(2);
    let revoke = revocation(world.dir.path(), "provider-a-old");
    world.queue().hold(true);
    let revoking =
        tokio::spawn(async move { riverside.call(register_service::REVOKE_CERTIFICATE, &revoke).await });
    world.queued(1).await;
    let request = submission(vec![mark(&placement, "2026-11-03", "/")]);
    let submitting = tokio::spawn(async move { submit(&old, &request).await });
    world.queued(2).await;
    world.queue().hold(false);
    revoking.await.unwrap().unwrap();
    match submitting.await.unwrap().unwrap_err() {
        // Or its connection was cut before the answer came.
        ClientError::Refused(status) => assert!(matches!(reason(&status).as_str(), "CERT_REVOKED" | "")),
        ClientError::Unreachable(_) => {}
        other => panic!("{other}"),
    }
    assert_eq!(attendance(&la, &placement).await.unwrap().marks.len(), 0);
}

/// The database refuses marks of one day from now on.
async fn refuse_a_day(world: &World) {
    let database = world.database().await;
    let sql = match &database {
        Database::Sqlite { .. } => {
            "CREATE TRIGGER refused BEFORE INSERT ON marks WHEN NEW.date = '2026-10-13' \
             BEGIN SELECT RAISE(ABORT, 'refused'); END"
        }
        Database::Postgres { .. } => "ALTER TABLE marks ADD CONSTRAINT refused CHECK (date <> '2026-10-13')",
    };
    database.writer().await.unwrap().command(sql).await.unwrap();
    database.close().await;
}

/// 255 others, reads and marks by turns: a group of marks alone would have more rows than a group may.
async fn a_bad_row_in_a_full_group(world: &World, at: usize) {
    let placement = world.placements("la-a", "provider-a").remove(3);
    let mut connections = Vec::new();
    for _ in 0..GROUP / STREAMS {
        connections.push(world.client("provider-a").await);
    }
    world.queue().hold(true);
    let (mut calls, mut marked) = (JoinSet::new(), 0);
    for number in 1..=GROUP {
        let client = connections[(number - 1) / STREAMS].clone();
        let date = (number % 12 == 0).then(|| {
            marked += 1;
            format!("2026-09-{marked:02}")
        });
        let date = if number == at { Some(REFUSED.to_owned()) } else { date };
        let request = date.map(|date| submission(vec![mark(&placement, &date, "/")]));
        calls.spawn(async move {
            let answer = match request {
                Some(request) => submit(&client, &request).await.map(drop),
                None => own(&client).await.map(drop),
            };
            (number, answer)
        });
        world.queued(number).await;
    }
    world.queue().hold(false);
    for (number, answer) in calls.join_all().await {
        if number == at {
            let status = refused(answer);
            assert_eq!((status.code(), reason(&status).as_str()), (Code::Internal, "FAILED"));
        } else {
            answer.unwrap();
        }
    }
}

async fn bad_rows(world: &World) {
    refuse_a_day(world).await;
    for at in [1, 128, 256] {
        a_bad_row_in_a_full_group(world, at).await;
    }
    let found = audit::exchanges(&world.client("provider-a").await).await.unwrap();
    let failed = found.iter().filter(|exchange| exchange.outcome() == Outcome::Failed);
    assert_eq!(failed.count(), 3);
}

async fn the_first_answer_stands(world: World) -> World {
    let (riverside, la) = (world.client("provider-a").await, world.client("la-a").await);
    let of = world.placements("la-a", "provider-a").remove(0);
    let request = submission(vec![mark(&of, "2026-11-04", "/")]);
    let first = submit(&riverside, &request).await.unwrap();
    let end = EndPlacementRequest {
        request_id: id(),
        placement_id: of.clone(),
        etag: placement(&la, &of).await.0.etag,
        end_date: "2026-11-19".to_owned(),
        reason: EndReason::Reintegrated as i32,
        ..EndPlacementRequest::default()
    };
    la.call(placement_service::END_PLACEMENT, &end).await.unwrap();
    let after_end = submit(&riverside, &request).await.unwrap();
    let world = world.restart().await;
    let riverside = world.client("provider-a").await;
    let after_restart = submit(&riverside, &request).await.unwrap();
    for again in [after_end, after_restart] {
        assert_eq!(again.message.encode_to_vec(), first.message.encode_to_vec());
        assert_eq!(again.receipt.encode_to_vec(), first.receipt.encode_to_vec());
    }
    let outcomes = outcomes(&riverside, first.receipt.index).await;
    assert_eq!(outcomes, [(Outcome::Ok as i32, 1), (Outcome::Replayed as i32, 2)].into());
    world
}

async fn all(world: World) {
    a_mark_and_its_correction(&world).await;
    two_plans_with_one_etag(&world).await;
    a_revocation_before_what_it_revokes(&world).await;
    bad_rows(&world).await;
    the_first_answer_stands(world).await.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_decided_one_by_one_on_sqlite() {
    all(World::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_decided_one_by_one_on_postgresql() {
    all(World::postgres().await).await;
}
