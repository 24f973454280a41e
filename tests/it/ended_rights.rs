//! Revocation and suspension take effect at once; personal data is not stored in the clear; removed records are
//! detected.

use std::path::Path;
use std::time::Duration;

use ap_gateway::cli::{Failure, audit, profile, sandbox};
use ap_gateway::client::{Client, ClientError, reason};
use ap_gateway::proto::v1::{
    ExchangeRecord, GetOrganisationRequest, GetOrganisationResponse, Officer, OrganisationState, Outcome,
    RevokeCertificateRequest, UpdateOrganisationRequest, WatchDeliveriesRequest, delivery_service,
    register_service,
};
use ap_gateway::store::{Database, DatabaseLocation};
use tonic::Code;

use super::attendance::assert_records_verify;
use super::exchange_semantics::{mark, new_id, submission, submit};
use super::log_verification;
use super::support::{World, curl_post};

pub async fn get_riverside(client: &Client) -> Result<GetOrganisationResponse, ClientError> {
    let request = GetOrganisationRequest { organisation: "provider/riverside".to_owned() };
    Ok(client.call(register_service::GET_ORGANISATION, &request).await?.message)
}

/// Builds a request to revoke the certificate of one of the sandbox's callers.
pub fn revocation_request(dir: &Path, name: &str) -> RevokeCertificateRequest {
    let cast = sandbox::world::load(dir).unwrap().organisations;
    let certificate = cast.into_iter().find(|member| member.name == name).unwrap();
    RevokeCertificateRequest {
        request_id: new_id(),
        certificate_sha256: certificate.certificate_sha256,
        ..RevokeCertificateRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_certificate_loses_its_calls_and_its_open_stream() {
    let world = World::sqlite().await;
    let (riverside, old) = (world.client("provider-a").await, world.client("provider-a-old").await);
    get_riverside(&old).await.unwrap();
    let watch = WatchDeliveriesRequest::default();
    let mut stream = old.open_stream(delivery_service::WATCH_DELIVERIES, &watch).await.unwrap();
    let request = revocation_request(world.dir.path(), "provider-a-old");
    let revoked = riverside.call(register_service::REVOKE_CERTIFICATE, &request).await.unwrap().receipt.index;
    assert_revoked(&get_riverside(&old).await.unwrap_err());
    // Messages sent before may still arrive; then the stream ends with an error, well before a heartbeat.
    let ended = tokio::time::timeout(Duration::from_secs(10), async {
        for _ in 0..100 {
            if stream.next(|_| prost::bytes::Bytes::new()).await.is_err() {
                return true;
            }
        }
        false
    });
    assert!(ended.await.unwrap());
    // A new connection is refused too, and since the revocation the log has no effect of the certificate.
    let new = profile::connect(&sandbox::profile_path(world.dir.path(), "provider-a-old")).await;
    if let Ok(new) = new {
        assert_revoked(&get_riverside(&new).await.unwrap_err());
    }
    get_riverside(&riverside).await.unwrap();
    let entered = audit::list_all_exchanges(&riverside).await.unwrap();
    let of_old = |exchange: &&ExchangeRecord| exchange.certificate_sha256 == request.certificate_sha256;
    let (since, before): (Vec<_>, Vec<_>) =
        entered.iter().filter(of_old).partition(|exchange| exchange.index > revoked);
    assert!(before.iter().any(|exchange| exchange.outcome() == Outcome::Ok));
    for exchange in since {
        assert_eq!((exchange.outcome(), exchange.reason.as_str()), (Outcome::Refused, "CERT_REVOKED"));
    }
    world.stop().await;
}

/// Asserts that a call with a revoked certificate was refused as such, or that its connection was closed first.
pub fn assert_revoked(error: &ClientError) {
    match error {
        ClientError::Refused(status) => {
            assert_eq!((status.code(), reason(status).as_str()), (Code::Unauthenticated, "CERT_REVOKED"));
        }
        ClientError::Unreachable(_) => {}
        other => panic!("{other}"),
    }
}

/// Suspends Riverside or lifts the suspension.
pub async fn set_riverside_state(operator: &Client, state: OrganisationState) {
    let request = GetOrganisationRequest { organisation: "provider/riverside".to_owned() };
    let found = operator.call(register_service::GET_ORGANISATION, &request).await.unwrap().message;
    let request = UpdateOrganisationRequest {
        request_id: new_id(),
        organisation: "provider/riverside".to_owned(),
        etag: found.organisation.unwrap().etag,
        state: state as i32,
        reason: "the inspection of October".to_owned(),
        officer: Some(Officer {
            name: "Kit Example".to_owned(),
            role: "service manager".to_owned(),
            ..Officer::default()
        }),
        ..UpdateOrganisationRequest::default()
    };
    operator.call(register_service::UPDATE_ORGANISATION, &request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_organisation_is_refused_until_it_is_restored() {
    let world = World::sqlite().await;
    let (riverside, operator) = (world.client("provider-a").await, world.client("operator").await);
    get_riverside(&riverside).await.unwrap();
    set_riverside_state(&operator, OrganisationState::Suspended).await;
    match get_riverside(&world.client("provider-a").await).await.unwrap_err() {
        ClientError::Refused(status) => assert_eq!(reason(&status), "ORG_SUSPENDED"),
        other => panic!("{other}"),
    }
    set_riverside_state(&operator, OrganisationState::Active).await;
    get_riverside(&world.client("provider-a").await).await.unwrap();
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_names_a_child_is_in_the_database_in_the_clear() {
    let world = World::sqlite().await;
    let riverside = world.client("provider-a").await;
    let placement = world.placements("la-a", "provider-a").remove(0);
    let mut noted = mark(&placement, "2026-11-02", "I");
    noted.comment = "Quokka canary".to_owned();
    submit(&riverside, &submission(vec![noted])).await.unwrap();
    let placed = sandbox::world::load(world.dir.path()).unwrap().placements;
    let dir = world.stop().await;
    let mut bytes = std::fs::read(dir.path().join("gateway.sqlite")).unwrap();
    // The write-ahead log is gone when the last connection closed in time.
    match std::fs::read(dir.path().join("gateway.sqlite-wal")) {
        Ok(log) => bytes.extend(log),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
    }
    let has = |canary: &str| bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
    assert!(has("provider/riverside"), "the search finds text that is present");
    for canary in
        placed.iter().map(|placed| placed.upn.as_str()).chain(["Quokka", "Mensah", "Adeyemi", "2012-02-26"])
    {
        assert!(!has(canary));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_that_was_removed_is_missed_and_an_unchanged_one_is_not() {
    let world = World::sqlite().await;
    let riverside = world.client("provider-a").await;
    let placement = world.placements("la-a", "provider-a").remove(0);
    let first = submit(&riverside, &submission(vec![mark(&placement, "2026-11-02", "O")])).await.unwrap();
    let again = submit(&riverside, &submission(vec![mark(&placement, "2026-11-02", "O")])).await.unwrap();
    assert_eq!((first.message.stored, again.message.unchanged), (1, 1));
    let dir = world.stop().await;
    let database = dir.path().join("gateway.sqlite");
    assert_records_verify(&dir, 1).await;
    let opened = Database::open(&DatabaseLocation::Sqlite(database)).await.unwrap();
    let mut conn = opened.writer().await.unwrap();
    assert_eq!(conn.execute("DELETE FROM marks", vec![]).await.unwrap(), 1);
    drop(conn);
    opened.close().await;
    let findings = log_verification::findings(dir.path()).await;
    let removed = format!("marks, entry {}: rows were changed, added or removed", first.receipt.index);
    assert!(findings.contains(&removed), "{findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_authority_gets_no_answer() {
    let (world, stranger) = (World::sqlite().await, World::sqlite().await);
    let profiles = world.dir.path().join("profiles");
    let profile = std::fs::read_to_string(profiles.join("la-a.toml")).unwrap();
    let foreign = stranger.dir.path().join("certs").display().to_string();
    let forged = profile.replace("../certs/", &format!("{foreign}/"));
    assert_ne!(forged, profile);
    let path = profiles.join("forged.toml");
    std::fs::write(&path, forged).unwrap();
    let before = new_entry_index(&world).await;
    let failure = match profile::connect(&path).await {
        Ok(client) => Failure::from(get_riverside(&client).await.unwrap_err()),
        Err(failure) => failure,
    };
    let text = failure.to_string();
    assert!(text.contains("alert"), "{text}");
    assert_eq!(new_entry_index(&world).await - before, 1, "the handshake fails before there is an exchange");
    world.stop().await;
    stranger.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_is_not_there_is_an_entry_too() {
    let world = World::sqlite().await;
    let before = new_entry_index(&world).await;
    let response = curl_post(world.dir.path(), world.address(), "/apgateway.v1.NoService/NoMethod");
    assert!(response.contains("grpc-status: 12"), "{response}");
    assert_eq!(new_entry_index(&world).await - before, 2, "the call and the read of the index");
    world.stop().await;
}

/// Makes an exchange and returns its index.
async fn new_entry_index(world: &World) -> u64 {
    let request = GetOrganisationRequest { organisation: "provider/riverside".to_owned() };
    let riverside = world.client("provider-a").await;
    riverside.call(register_service::GET_ORGANISATION, &request).await.unwrap().receipt.index
}
