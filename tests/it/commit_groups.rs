//! Group commit, on both databases: each proposal of a group is decided as if it were alone, in order, and a
//! proposal that the database refuses fails alone. A repeated request id gets its first response, whatever has
//! happened since.

use ap_gateway::cli::audit;
use ap_gateway::client::{Client, reason};
use ap_gateway::clock::Randomness;
use ap_gateway::identity::PeerCertificate;
use ap_gateway::proto::v1::{
    EndPlacementRequest, EndReason, GetPlacementRequest, Mark, Outcome, Placement, Plan, PutPlanRequest,
    placement_service, register_service,
};
use ap_gateway::register::bootstrap;
use ap_gateway::seal::{CommitmentKey, KeyRing, Vault};
use ap_gateway::store::Database;
use ap_gateway::store::proposal::CommitOutcome;
use prost::Message;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::task::JoinSet;
use tonic::Code;

use super::ended_rights::{assert_revoked, get_riverside, revocation_request};
use super::exchange_semantics::{
    get_attendance, mark, new_id, refusal_status, submission, submission_outcomes, submit,
};
use super::support::{NOW, World};

/// Number of proposals in a full group.
const GROUP_SIZE: usize = 256;
/// Concurrent calls on one connection.
const CALLS_PER_CONNECTION: usize = 64;
/// The date for which the database refuses marks.
const REFUSED_DATE: &str = "2026-10-13";

async fn get_placement_and_plan(client: &Client, placement: &str) -> (Placement, Plan) {
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
    world.queue().set_paused(true);
    let first = send(mark(&placement, "2026-11-02", "O"));
    world.wait_for_queued(1).await;
    let reason = "a parent telephoned".to_owned();
    let second = send(Mark { correction_reason: reason, ..mark(&placement, "2026-11-02", "I") });
    world.wait_for_queued(2).await;
    world.queue().set_paused(false);
    assert_eq!((first.await.unwrap().stored, second.await.unwrap().corrected), (1, 1));
    let marks = get_attendance(&la, &placement).await.unwrap().marks;
    let [history] = &marks[..] else { panic!("{} marks", marks.len()) };
    assert_eq!((history.mark.as_ref().unwrap().code.as_str(), history.earlier[0].code.as_str()), ("I", "O"));
}

async fn two_plans_with_one_etag(world: &World) {
    let la = world.client("la-a").await;
    let placement_id = world.placements("la-a", "provider-a").remove(1);
    let (before, plan) = get_placement_and_plan(&la, &placement_id).await;
    let send = |contract: &str| {
        let request = PutPlanRequest {
            request_id: new_id(),
            placement_id: placement_id.clone(),
            etag: before.plan_etag.clone(),
            plan: Some(Plan { contract: contract.to_owned(), ..plan.clone() }),
            ..PutPlanRequest::default()
        };
        let la = la.clone();
        tokio::spawn(async move { la.call(placement_service::PUT_PLAN, &request).await })
    };
    world.queue().set_paused(true);
    let first = send("block");
    world.wait_for_queued(1).await;
    let second = send("spot");
    world.wait_for_queued(2).await;
    world.queue().set_paused(false);
    let made = first.await.unwrap().unwrap().message.etag;
    let status = refusal_status(second.await.unwrap());
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Aborted, "REVISION_MISMATCH"));
    let (after, plan) = get_placement_and_plan(&la, &placement_id).await;
    assert_eq!((after.plan_etag, plan.contract.as_str()), (made, "block"));
}

async fn a_revocation_before_what_it_revokes(world: &World) {
    let (riverside, old) = (world.client("provider-a").await, world.client("provider-a-old").await);
    let la = world.client("la-a").await;
    let placement = world.placements("la-a", "provider-a").remove(2);
    let revoke = revocation_request(world.dir.path(), "provider-a-old");
    world.queue().set_paused(true);
    let revoking =
        tokio::spawn(async move { riverside.call(register_service::REVOKE_CERTIFICATE, &revoke).await });
    world.wait_for_queued(1).await;
    let request = submission(vec![mark(&placement, "2026-11-03", "/")]);
    let submitting = tokio::spawn(async move { submit(&old, &request).await });
    world.wait_for_queued(2).await;
    world.queue().set_paused(false);
    revoking.await.unwrap().unwrap();
    assert_revoked(&submitting.await.unwrap().unwrap_err());
    assert_eq!(get_attendance(&la, &placement).await.unwrap().marks.len(), 0);
}

/// Makes the database refuse marks of one date from now on.
async fn make_database_refuse_date(world: &World) {
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

/// Commits a group with one bad row among 255 others, reads and marks mixed, because a group of marks only would
/// exceed the row limit of a group.
async fn a_bad_row_in_a_full_group(world: &World, at: usize) {
    let placement = world.placements("la-a", "provider-a").remove(3);
    let mut connections = Vec::new();
    for _ in 0..GROUP_SIZE / CALLS_PER_CONNECTION {
        connections.push(world.client("provider-a").await);
    }
    world.queue().set_paused(true);
    let (mut calls, mut marked) = (JoinSet::new(), 0);
    for number in 1..=GROUP_SIZE {
        let client = connections[(number - 1) / CALLS_PER_CONNECTION].clone();
        let date = (number % 12 == 0).then(|| {
            marked += 1;
            format!("2026-09-{marked:02}")
        });
        let date = if number == at { Some(REFUSED_DATE.to_owned()) } else { date };
        let request = date.map(|date| submission(vec![mark(&placement, &date, "/")]));
        calls.spawn(async move {
            let answer = match request {
                Some(request) => submit(&client, &request).await.map(drop),
                None => get_riverside(&client).await.map(drop),
            };
            (number, answer)
        });
        world.wait_for_queued(number).await;
    }
    world.queue().set_paused(false);
    for (number, answer) in calls.join_all().await {
        if number == at {
            let status = refusal_status(answer);
            assert_eq!((status.code(), reason(&status).as_str()), (Code::Internal, "FAILED"));
        } else {
            answer.unwrap();
        }
    }
}

async fn bad_rows(world: &World) {
    make_database_refuse_date(world).await;
    for at in [1, 128, 256] {
        a_bad_row_in_a_full_group(world, at).await;
    }
    let found = audit::list_all_exchanges(&world.client("provider-a").await).await.unwrap();
    let failed = found.iter().filter(|exchange| exchange.outcome() == Outcome::Failed);
    assert_eq!(failed.count(), 3);
}

/// Commits an organisation and a certificate that exist as if they were new, without the guards on their absence.
async fn a_first_version_of_a_key_that_exists(world: &World) {
    let ring = KeyRing::load(&world.dir.path().join("key-ring")).unwrap();
    let der = CertificateDer::from_pem_file(world.dir.path().join("certs/la-a.pem")).unwrap();
    let peer = PeerCertificate::parse(&der).unwrap();
    let commitment_key = CommitmentKey::load(&world.dir.path().join("commitment-key")).unwrap();
    let (random, vault) = (Randomness::system(), Vault::new(ring, commitment_key, 1));
    let mut proposal =
        bootstrap::bootstrap_proposal(&random, NOW.parse().unwrap(), &vault, &peer, "Another").unwrap();
    proposal.guards.clear();
    assert!(matches!(world.committer().commit(proposal).await, CommitOutcome::Failed));
}

async fn the_first_answer_stands(world: World) -> World {
    let (riverside, la) = (world.client("provider-a").await, world.client("la-a").await);
    let placement_id = world.placements("la-a", "provider-a").remove(0);
    let request = submission(vec![mark(&placement_id, "2026-11-04", "/")]);
    let first = submit(&riverside, &request).await.unwrap();
    let end = EndPlacementRequest {
        request_id: new_id(),
        placement_id: placement_id.clone(),
        etag: get_placement_and_plan(&la, &placement_id).await.0.etag,
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
    let outcomes = submission_outcomes(&riverside, first.receipt.index).await;
    assert_eq!(outcomes, [(Outcome::Ok as i32, 1), (Outcome::Replayed as i32, 2)].into());
    world
}

async fn all(world: World) {
    a_mark_and_its_correction(&world).await;
    two_plans_with_one_etag(&world).await;
    a_revocation_before_what_it_revokes(&world).await;
    bad_rows(&world).await;
    a_first_version_of_a_key_that_exists(&world).await;
    Box::pin(the_first_answer_stands(world)).await.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_decided_one_by_one_on_sqlite() {
    Box::pin(all(World::sqlite().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_decided_one_by_one_on_postgresql() {
    Box::pin(all(World::postgres().await)).await;
}
