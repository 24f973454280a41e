//! Replays: the stored response is returned only to a caller that may still call. On both databases.

use std::time::Duration;

use ap_gateway::proto::v1::{
    AuthoriseProcessorRequest, DeclareClosureRequest, EndGrantRequest, EndPlacementRequest, EndReason,
    GetOrganisationRequest, GetPlacementRequest, Officer, OrganisationState, UpdateOrganisationRequest,
    placement_service, register_service,
};
use ap_gateway::store::Database;
use prost::Message;
use tonic::Code;

use super::ended_rights::{revocation_request, set_riverside_state};
use super::exchange_semantics::{mark, new_id, submission};
use super::fixtures::{method_descriptor, method_path};
use super::support::World;
use super::upload::{Upload, marks, part};
use super::wire::{Answer, Wire, frame};

const FOR_RIVERSIDE: (&str, &str) = ("ap-on-behalf-of", "provider/riverside");

/// A request that is sent more than once.
#[derive(Clone)]
struct RepeatedRequest {
    certificate: &'static str,
    method: &'static str,
    metadata: Vec<(&'static str, &'static str)>,
    message: Vec<u8>,
}

impl RepeatedRequest {
    fn new(certificate: &'static str, method: &'static str, message: &impl Message) -> Self {
        Self { certificate, method, metadata: Vec::new(), message: message.encode_to_vec() }
    }

    /// Sends it on a new connection; retries if the connection is closed before the response.
    async fn send(&self, world: &World) -> Answer {
        for _ in 0..5 {
            let wire = Wire::connect(world.dir.path(), self.certificate).await;
            let method = method_path(&method_descriptor(self.method));
            if let Ok(answer) = wire.send(&method, &self.metadata, frame(&self.message)).await {
                return answer;
            }
        }
        panic!("{}: no answer", self.method);
    }

    async fn send_ok(&self, world: &World) -> Answer {
        let answer = self.send(world).await;
        assert_eq!(answer.reason(), "OK", "{}", self.method);
        answer
    }

    /// Sends it while a change waits for commit, so that it is decided before the change and committed after it.
    async fn send_across_change(&self, world: &World, change: &Self) -> Answer {
        // The caller of the change is cached first, because the change of an uncached caller would be decided
        // again, after this request.
        let get = GetOrganisationRequest { organisation: "provider/riverside".to_owned() };
        Self::new(change.certificate, "GetOrganisation", &get).send_ok(world).await;
        world.queue().set_paused(true);
        let (changing, again) = tokio::join!(
            async {
                let wire = Wire::connect(world.dir.path(), change.certificate).await;
                let method = method_path(&method_descriptor(change.method));
                wire.send(&method, &change.metadata, frame(&change.message)).await
            },
            async {
                world.wait_for_queued(1).await;
                let (again, ()) = tokio::join!(self.send(world), async {
                    world.wait_for_queued(2).await;
                    world.queue().set_paused(false);
                });
                again
            }
        );
        assert_eq!(changing.unwrap().reason(), "OK", "{}", change.method);
        again
    }
}

/// Builds a suspension of Riverside with the current etag.
async fn suspend_request(world: &World) -> RepeatedRequest {
    let operator = world.client("operator").await;
    let request = GetOrganisationRequest { organisation: "provider/riverside".to_owned() };
    let found = operator.call(register_service::GET_ORGANISATION, &request).await.unwrap().message;
    let request = UpdateOrganisationRequest {
        request_id: new_id(),
        organisation: "provider/riverside".to_owned(),
        etag: found.organisation.unwrap().etag,
        state: OrganisationState::Suspended as i32,
        reason: "the inspection of October".to_owned(),
        officer: Some(Officer {
            name: "Kit Example".to_owned(),
            role: "service manager".to_owned(),
            ..Officer::default()
        }),
        ..UpdateOrganisationRequest::default()
    };
    RepeatedRequest::new("operator", "UpdateOrganisation", &request)
}

async fn lift_suspension(world: &World) {
    set_riverside_state(&world.client("operator").await, OrganisationState::Active).await;
}

/// Builds an end of a placement with the current etag.
async fn end_request(world: &World, placement: &str) -> RepeatedRequest {
    let request = GetPlacementRequest { placement_id: placement.to_owned() };
    let la = world.client("la-a").await;
    let found = la.call(placement_service::GET_PLACEMENT, &request).await.unwrap().message;
    let request = EndPlacementRequest {
        request_id: new_id(),
        placement_id: placement.to_owned(),
        etag: found.placement.unwrap().etag,
        end_date: "2026-11-19".to_owned(),
        reason: EndReason::Reintegrated as i32,
        ..EndPlacementRequest::default()
    };
    RepeatedRequest::new("provider-a", "EndPlacement", &request)
}

/// Checks that the effect of a request does not prevent its replay, and that a suspension does, before and after
/// the replay is decided.
async fn a_suspended_organisation_gets_no_stored_answer(world: &World) {
    let placements = world.placements("la-a", "provider-a");
    let marked = RepeatedRequest::new(
        "provider-a",
        "SubmitAttendance",
        &submission(vec![mark(&placements[0], "2026-11-02", "/")]),
    );
    // Without the stored response a repetition would be refused because of the state of the placement.
    let ended = end_request(world, &placements[1]).await;
    for sent in [marked, ended] {
        let first = sent.send_ok(world).await;
        assert_eq!(sent.send_ok(world).await.message, first.message, "{}", sent.method);
        let suspension = suspend_request(world).await;
        let behind = sent.send_across_change(world, &suspension).await;
        assert_eq!(
            (behind.reason().as_str(), &behind.message[..]),
            ("ORG_SUSPENDED", &[][..]),
            "{}",
            sent.method
        );
        let after = sent.send(world).await;
        assert_eq!(
            (after.reason().as_str(), after.status().code()),
            ("ORG_SUSPENDED", Code::PermissionDenied)
        );
        lift_suspension(world).await;
        assert_eq!(sent.send_ok(world).await.message, first.message, "{}", sent.method);
    }
}

async fn a_part_behind_a_suspension_gets_no_stored_answer(world: &World) {
    let (wire, placements) =
        (Wire::connect(world.dir.path(), "provider-a").await, world.placements("la-a", "provider-a"));
    let (mut upload, opened) = Upload::start(&wire, "").await;
    let first = part(&opened.return_id, 1, &marks(&placements, 2), 1, false);
    let answered = upload.part_bytes(&first).await.unwrap();
    assert_eq!(upload.part_bytes(&first).await.unwrap(), answered);
    let suspension = suspend_request(world).await;
    world.queue().set_paused(true);
    let (changing, again) = tokio::join!(suspension.send(world), async {
        world.wait_for_queued(1).await;
        let (again, ()) = tokio::join!(upload.part_bytes(&first), async {
            world.wait_for_queued(2).await;
            world.queue().set_paused(false);
        });
        again
    });
    assert_eq!(changing.reason(), "OK");
    again.unwrap_err();
    lift_suspension(world).await;
    let (mut upload, _) =
        Upload::start(&Wire::connect(world.dir.path(), "provider-a").await, &opened.return_id).await;
    assert_eq!(upload.part_bytes(&first).await.unwrap(), answered);
}

async fn a_revoked_certificate_gets_no_stored_answer(world: &World) {
    let placement = world.placements("la-a", "provider-a").remove(2);
    let sent = RepeatedRequest::new(
        "provider-a-old",
        "SubmitAttendance",
        &submission(vec![mark(&placement, "2026-11-02", "/")]),
    );
    sent.send_ok(world).await;
    let revoke = revocation_request(world.dir.path(), "provider-a-old");
    let behind = sent
        .send_across_change(world, &RepeatedRequest::new("provider-a", "RevokeCertificate", &revoke))
        .await;
    assert_eq!((behind.reason().as_str(), behind.status().code()), ("CERT_REVOKED", Code::Unauthenticated));
    assert_eq!(sent.send(world).await.reason(), "CERT_REVOKED");
}

async fn an_ended_grant_gets_no_stored_answer(world: &World) {
    let request = AuthoriseProcessorRequest {
        request_id: new_id(),
        processor: "processor/registerworks".to_owned(),
        methods: vec!["DeclareClosure".to_owned()],
        from_date: "2026-11-01".to_owned(),
        ..AuthoriseProcessorRequest::default()
    };
    let riverside = world.client("provider-a").await;
    let granted = riverside.call(register_service::AUTHORISE_PROCESSOR, &request).await.unwrap().message;
    let request = DeclareClosureRequest {
        request_id: new_id(),
        from_date: "2026-11-23".to_owned(),
        to_date: "2026-11-23".to_owned(),
        kind: 1,
        reason_code: "#".to_owned(),
        ..DeclareClosureRequest::default()
    };
    let metadata = vec![FOR_RIVERSIDE];
    let sent = RepeatedRequest { metadata, ..RepeatedRequest::new("processor", "DeclareClosure", &request) };
    let first = sent.send_ok(world).await;
    assert_eq!(sent.send_ok(world).await.message, first.message);
    let end =
        EndGrantRequest { request_id: new_id(), grant_id: granted.grant_id, ..EndGrantRequest::default() };
    let behind = sent.send_across_change(world, &RepeatedRequest::new("provider-a", "EndGrant", &end)).await;
    assert_eq!(
        (behind.reason().as_str(), behind.status().code()),
        ("GRANT_REQUIRED", Code::PermissionDenied)
    );
    assert_eq!(sent.send(world).await.reason(), "GRANT_REQUIRED");
}

async fn all(world: World) {
    a_suspended_organisation_gets_no_stored_answer(&world).await;
    a_part_behind_a_suspension_gets_no_stored_answer(&world).await;
    an_ended_grant_gets_no_stored_answer(&world).await;
    a_revoked_certificate_gets_no_stored_answer(&world).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_caller_who_may_still_call_gets_the_first_answer_on_sqlite() {
    all(World::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_caller_who_may_still_call_gets_the_first_answer_on_postgresql() {
    all(World::postgres().await).await;
}

async fn run_statement(world: &World, sql: &'static str) {
    let database = world.database().await;
    assert!(matches!(database, Database::Sqlite { .. }));
    database.writer().await.unwrap().command(sql).await.unwrap();
    database.close().await;
}

/// Checks that the review of a connection is retried if the register cannot be read at the first attempt.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_cut_although_the_register_could_not_be_read_at_first() {
    let world = World::sqlite().await;
    let idle = Wire::connect(world.dir.path(), "provider-a").await;
    let get = GetOrganisationRequest { organisation: "provider/riverside".to_owned() };
    RepeatedRequest::new("provider-a", "GetOrganisation", &get).send_ok(&world).await;
    let suspension = suspend_request(&world).await;
    // Wait for two reviews, so that the connection has been seen once.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    run_statement(&world, "ALTER TABLE certificates RENAME TO certificates_away").await;
    // The operator is cached as a caller, so this call reads no certificate.
    suspension.send_ok(&world).await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert!(!idle.is_closed(), "the register cannot be read");
    run_statement(&world, "ALTER TABLE certificates_away RENAME TO certificates").await;
    for round in 0.. {
        if idle.is_closed() {
            break;
        }
        assert!(round < 200, "the connection was not closed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    world.stop().await;
}
