//! A request sent again: the first answer is for a caller who may still call. On both databases.

use std::time::Duration;

use ap_gateway::proto::v1::{
    AuthoriseProcessorRequest, DeclareClosureRequest, EndGrantRequest, EndPlacementRequest, EndReason,
    GetOrganisationRequest, GetPlacementRequest, Officer, OrganisationState, UpdateOrganisationRequest,
    placement_service, register_service,
};
use ap_gateway::store::Database;
use prost::Message;
use tonic::Code;

use super::safety::{revocation, set};
use super::stage::{descriptor, path};
use super::story::{id, mark, submission};
use super::support::World;
use super::upload::{Upload, marks, part};
use super::wire::{Answer, Wire, frame};

const FOR_RIVERSIDE: (&str, &str) = ("ap-on-behalf-of", "provider/riverside");

/// A request that is sent more than once.
#[derive(Clone)]
struct Sent {
    certificate: &'static str,
    method: &'static str,
    metadata: Vec<(&'static str, &'static str)>,
    message: Vec<u8>,
}

impl Sent {
    fn new(certificate: &'static str, method: &'static str, message: &impl Message) -> Self {
        Self { certificate, method, metadata: Vec::new(), message: message.encode_to_vec() }
    }

    /// Sends it on a connection of its own, again where that was cut before the answer came.
    async fn send(&self, world: &World) -> Answer {
        for _ in 0..5 {
            let wire = Wire::of(world.dir.path(), self.certificate).await;
            let method = path(&descriptor(self.method));
            if let Ok(answer) = wire.send(&method, &self.metadata, frame(&self.message)).await {
                return answer;
            }
        }
        panic!("{}: no answer", self.method);
    }

    async fn done(&self, world: &World) -> Answer {
        let answer = self.send(world).await;
        assert_eq!(answer.told(), "OK", "{}", self.method);
        answer
    }

    /// Sends it while a change waits to be committed, so that it is decided before and committed behind.
    async fn behind(&self, world: &World, change: &Self) -> Answer {
        // Caches who makes the change, because a caller that is not cached would be decided again, behind this.
        let get = GetOrganisationRequest { organisation: "provider/riverside".to_owned() };
        Self::new(change.certificate, "GetOrganisation", &get).done(world).await;
        world.queue().hold(true);
        let (changing, again) = tokio::join!(
            async {
                let wire = Wire::of(world.dir.path(), change.certificate).await;
                let method = path(&descriptor(change.method));
                wire.send(&method, &change.metadata, frame(&change.message)).await
            },
            async {
                world.queued(1).await;
                let (again, ()) = tokio::join!(self.send(world), async {
                    world.queued(2).await;
                    world.queue().hold(false);
                });
                again
            }
        );
        assert_eq!(changing.unwrap().told(), "OK", "{}", change.method);
        again
    }
}

/// A suspension of Riverside, by the etag that it has now.
async fn suspension(world: &World) -> Sent {
    let operator = world.client("operator").await;
    let request = GetOrganisationRequest { organisation: "provider/riverside".to_owned() };
    let found = operator.call(register_service::GET_ORGANISATION, &request).await.unwrap().message;
    let request = UpdateOrganisationRequest {
        request_id: id(),
        organisation: "provider/riverside".to_owned(),
        etag: found.organisation.unwrap().etag,
        state: OrganisationState::Suspended as i32,
        reason: "the inspection of October".to_owned(),
        officer: Some(Officer { name: "Kit Example".to_owned(), role: "service manager".to_owned() }),
        ..UpdateOrganisationRequest::default()
    };
    Sent::new("operator", "UpdateOrganisation", &request)
}

async fn restore(world: &World) {
    set(&world.client("operator").await, OrganisationState::Active).await;
}

/// An end of a placement, by the etag that it has now.
async fn ending(world: &World, placement: &str) -> Sent {
    let request = GetPlacementRequest { placement_id: placement.to_owned() };
    let la = world.client("la-a").await;
    let found = la.call(placement_service::GET_PLACEMENT, &request).await.unwrap().message;
    let request = EndPlacementRequest {
        request_id: id(),
        placement_id: placement.to_owned(),
        etag: found.placement.unwrap().etag,
        end_date: "2026-11-19".to_owned(),
        reason: EndReason::Reintegrated as i32,
        ..EndPlacementRequest::default()
    };
    Sent::new("provider-a", "EndPlacement", &request)
}

/// An answer that its own effect does not take away, and that a suspension does, before and behind the commit.
async fn a_suspended_organisation_gets_no_stored_answer(world: &World) {
    let placements = world.placements("la-a", "provider-a");
    let marked = Sent::new(
        "provider-a",
        "SubmitAttendance",
        &submission(vec![mark(&placements[0], "2026-11-02", "/")]),
    );
    // Sent again it is refused for its placement's state, unless the first answer stands.
    let ended = ending(world, &placements[1]).await;
    for sent in [marked, ended] {
        let first = sent.done(world).await;
        assert_eq!(sent.done(world).await.message, first.message, "{}", sent.method);
        let suspension = suspension(world).await;
        let behind = sent.behind(world, &suspension).await;
        assert_eq!(
            (behind.told().as_str(), &behind.message[..]),
            ("ORG_SUSPENDED", &[][..]),
            "{}",
            sent.method
        );
        let after = sent.send(world).await;
        assert_eq!((after.told().as_str(), after.status().code()), ("ORG_SUSPENDED", Code::PermissionDenied));
        restore(world).await;
        assert_eq!(sent.done(world).await.message, first.message, "{}", sent.method);
    }
}

async fn a_part_behind_a_suspension_gets_no_stored_answer(world: &World) {
    let (wire, placements) =
        (Wire::of(world.dir.path(), "provider-a").await, world.placements("la-a", "provider-a"));
    let (mut upload, opened) = Upload::of(&wire, "").await;
    let first = part(&opened.return_id, 1, &marks(&placements, 2), 1, false);
    let answered = upload.part_bytes(&first).await.unwrap();
    assert_eq!(upload.part_bytes(&first).await.unwrap(), answered);
    let suspension = suspension(world).await;
    world.queue().hold(true);
    let (changing, again) = tokio::join!(suspension.send(world), async {
        world.queued(1).await;
        let (again, ()) = tokio::join!(upload.part_bytes(&first), async {
            world.queued(2).await;
            world.queue().hold(false);
        });
        again
    });
    assert_eq!(changing.told(), "OK");
    again.unwrap_err();
    restore(world).await;
    let (mut upload, _) =
        Upload::of(&Wire::of(world.dir.path(), "provider-a").await, &opened.return_id).await;
    assert_eq!(upload.part_bytes(&first).await.unwrap(), answered);
}

async fn a_revoked_certificate_gets_no_stored_answer(world: &World) {
    let placement = world.placements("la-a", "provider-a").remove(2);
    let sent = Sent::new(
        "provider-a-old",
        "SubmitAttendance",
        &submission(vec![mark(&placement, "2026-11-02", "/")]),
    );
    sent.done(world).await;
    let revoke = revocation(world.dir.path(), "provider-a-old");
    let behind = sent.behind(world, &Sent::new("provider-a", "RevokeCertificate", &revoke)).await;
    assert_eq!((behind.told().as_str(), behind.status().code()), ("CERT_REVOKED", Code::Unauthenticated));
    assert_eq!(sent.send(world).await.told(), "CERT_REVOKED");
}

async fn an_ended_grant_gets_no_stored_answer(world: &World) {
    let request = AuthoriseProcessorRequest {
        request_id: id(),
        processor: "processor/registerworks".to_owned(),
        methods: vec!["DeclareClosure".to_owned()],
        from_date: "2026-11-01".to_owned(),
        ..AuthoriseProcessorRequest::default()
    };
    let riverside = world.client("provider-a").await;
    let granted = riverside.call(register_service::AUTHORISE_PROCESSOR, &request).await.unwrap().message;
    let request = DeclareClosureRequest {
        request_id: id(),
        from_date: "2026-11-23".to_owned(),
        to_date: "2026-11-23".to_owned(),
        kind: 1,
        reason_code: "#".to_owned(),
        ..DeclareClosureRequest::default()
    };
    let metadata = vec![FOR_RIVERSIDE];
    let sent = Sent { metadata, ..Sent::new("processor", "DeclareClosure", &request) };
    let first = sent.done(world).await;
    assert_eq!(sent.done(world).await.message, first.message);
    let end = EndGrantRequest { request_id: id(), grant_id: granted.grant_id, ..EndGrantRequest::default() };
    let behind = sent.behind(world, &Sent::new("provider-a", "EndGrant", &end)).await;
    assert_eq!((behind.told().as_str(), behind.status().code()), ("GRANT_REQUIRED", Code::PermissionDenied));
    assert_eq!(sent.send(world).await.told(), "GRANT_REQUIRED");
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

async fn rename(world: &World, sql: &'static str) {
    let database = world.database().await;
    assert!(matches!(database, Database::Sqlite { .. }));
    database.writer().await.unwrap().command(sql).await.unwrap();
    database.close().await;
}

/// A connection is reviewed again when the register could not be read at the change that concerned it.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_cut_although_the_register_could_not_be_read_at_first() {
    let world = World::sqlite().await;
    let idle = Wire::of(world.dir.path(), "provider-a").await;
    let get = GetOrganisationRequest { organisation: "provider/riverside".to_owned() };
    Sent::new("provider-a", "GetOrganisation", &get).done(&world).await;
    let suspension = suspension(&world).await;
    // Two reviews, in which the connection is seen for the first time.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    rename(&world, "ALTER TABLE certificates RENAME TO certificates_away").await;
    // The operator's caller is remembered, so this reads no certificate.
    suspension.done(&world).await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert!(!idle.is_closed(), "the register cannot be read");
    rename(&world, "ALTER TABLE certificates_away RENAME TO certificates").await;
    for round in 0.. {
        if idle.is_closed() {
            break;
        }
        assert!(round < 200, "the connection was not cut");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    world.stop().await;
}
