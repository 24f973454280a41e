//! Credentials: callers without a certificate, or with one that is foreign, expired, revoked, unregistered or of a
//! suspended organisation, are refused by every service.

use std::collections::BTreeSet;
use std::time::Duration;

use ap_gateway::cli::sandbox;
use ap_gateway::clock::Randomness;
use ap_gateway::identity::pki::{SandboxAuthority, Validity};
use ap_gateway::proto;
use prost_reflect::Value;

use super::super::fixtures::{Fixtures, current_validity, find_example, issue_certificate, load_authority};
use super::super::startup_checks::HEALTH_CHECK;
use super::super::support::World;
use super::super::wire::{Answer, Wire, frame, receipt, tls};
use super::all_methods;

/// Maximum number of polls, 50 ms apart, until a change of files or of the register takes effect.
const MAX_POLLS: usize = 200;
/// A method that la-a may call with an empty message.
const LIST_PLACEMENTS: &str = "/apgateway.v1.PlacementService/ListPlacements";

/// Returns the first method of each service.
fn first_methods() -> Vec<&'static str> {
    let mut paths: Vec<_> = all_methods().into_iter().map(|(path, ..)| path).collect();
    paths.dedup_by_key(|path| path.split('/').nth(1).unwrap());
    let services: BTreeSet<String> =
        proto::methods().map(|method| method.parent_service().full_name().to_owned()).collect();
    assert_eq!(paths.len(), services.len());
    paths
}

/// Makes a call with a certificate of the sandbox's folder; fails if the connection is refused.
async fn call_with_certificate(world: &World, certificate: &str, path: &str) -> Result<Answer, String> {
    Wire::try_connect(world.dir.path(), certificate).await?.send(path, &[], frame(&[])).await
}

async fn assert_no_connection(world: &World, certificate: &str) {
    for path in first_methods() {
        let answer = call_with_certificate(world, certificate, path).await;
        assert!(answer.is_err(), "{certificate} {path}: {}", answer.unwrap().reason());
    }
}

/// Returns the number of entries before this call.
async fn count_entries(world: &World) -> u64 {
    let answer = Wire::connect(world.dir.path(), "la-a").await.call(LIST_PLACEMENTS, &[]).await;
    receipt(&answer).index
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_certificate_gets_no_connection() {
    let world = World::sqlite().await;
    let certs = world.dir.path().join("certs");
    let valid = current_validity();
    issue_certificate(
        world.dir.path(),
        "expired",
        "provider/riverside/register",
        501,
        Validity { to: valid.from + 3_600, ..valid },
    );
    issue_certificate(
        world.dir.path(),
        "future",
        "provider/riverside/register",
        502,
        Validity { from: valid.to - 3_600, ..valid },
    );
    issue_certificate(world.dir.path(), "kind", "stranger/riverside/register", 503, valid);
    let forge = |name: &str, issued: ap_gateway::identity::pki::IssuedCertificate| {
        std::fs::write(certs.join(format!("{name}.pem")), issued.certificate_pem).unwrap();
        std::fs::write(certs.join(format!("{name}.key")), issued.key_pem).unwrap();
    };
    let uri = "spiffe://sandbox.ap.example/provider/riverside/register";
    let other = SandboxAuthority::new("ap-gateway sandbox", valid).unwrap();
    forge("forged", other.issue_client(&[uri], 504, valid).unwrap());
    let authority = load_authority(world.dir.path());
    forge(
        "two-names",
        authority.issue_client(&[uri, "spiffe://sandbox.ap.example/la/330/ap-casework"], 505, valid).unwrap(),
    );
    forge("no-name", authority.issue_client(&[], 506, valid).unwrap());
    forge("server-s", authority.issue_client_with_server_usage(uri, 507).unwrap());
    forge(
        "elsewhere",
        authority.issue_client(&["spiffe://other.example/provider/riverside/register"], 508, valid).unwrap(),
    );
    let before = count_entries(&world).await;
    for bad in ["expired", "future", "kind", "forged", "two-names", "no-name", "server-s", "elsewhere"] {
        assert_no_connection(&world, bad).await;
    }
    for path in first_methods() {
        let nobody = Wire::open(world.address(), tls(&world.dir.path().join("ca.pem"), None)).await;
        let answer = match nobody {
            Ok(wire) => wire.send(path, &[], frame(&[])).await,
            Err(refused) => Err(refused),
        };
        assert!(answer.is_err(), "{path}");
    }
    assert_eq!(count_entries(&world).await - before, 1, "only the second read is in the log");
    world.stop().await;
}

/// Checks that a revocation list is enforced once it is loaded, also on open connections. While the newest list is
/// expired every call is refused with that reason, revoked certificates still get no connection, and a new list
/// restores service.
#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_list_holds_and_must_be_in_date() {
    let world = World::sqlite().await;
    let (list, authority) = (world.dir.path().join("ca.crl"), load_authority(world.dir.path()));
    issue_certificate(world.dir.path(), "lost", "provider/riverside/lost", 601, current_validity());
    let open = Wire::try_connect(world.dir.path(), "lost").await.unwrap();
    assert_eq!(open.call(first_methods()[0], &[]).await.reason(), "CERT_NOT_REGISTERED");
    std::fs::write(&list, authority.issue_crl(&[601], 2, current_validity()).unwrap()).unwrap();
    for round in 0.. {
        if open.send(first_methods()[0], &[], frame(&[])).await.is_err() {
            break;
        }
        assert!(round < MAX_POLLS, "the connection was not cut");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_no_connection(&world, "lost").await;
    call_with_certificate(&world, "la-a", first_methods()[0]).await.unwrap();
    let past = Validity { to: current_validity().from + 3_600, ..current_validity() };
    let lapsed = "REVOCATION_LIST_EXPIRED";
    for (number, (validity, expected)) in [(past, lapsed), (current_validity(), "OK")].into_iter().enumerate()
    {
        std::fs::write(&list, authority.issue_crl(&[601], 3 + number as u64, validity).unwrap()).unwrap();
        for round in 0.. {
            // A connection that was opened just before its list expired is closed, so this is retried.
            if call_with_certificate(&world, "la-a", LIST_PLACEMENTS)
                .await
                .is_ok_and(|answer| answer.reason() == expected)
            {
                break;
            }
            assert!(round < MAX_POLLS, "the new list was not taken up");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_no_connection(&world, "lost").await;
        let health = call_with_certificate(&world, "la-a", HEALTH_CHECK).await.unwrap();
        assert_eq!(health.message[..] == [8, 1], expected == "OK", "SERVING only while an issuer is current");
    }
    world.stop().await;
}

/// Asserts that every method answers a certificate like this; reconnects if a connection is closed meanwhile.
async fn assert_every_method_answers(world: &World, certificate: &str, expected: &str) {
    let mut wire = Wire::try_connect(world.dir.path(), certificate).await.unwrap();
    for (path, ..) in all_methods() {
        let mut answer = wire.send(path, &[], frame(&[])).await;
        for _ in 0..3 {
            if answer.is_err() {
                wire = Wire::try_connect(world.dir.path(), certificate).await.unwrap();
                answer = wire.send(path, &[], frame(&[])).await;
            }
        }
        assert_eq!(answer.unwrap().reason(), expected, "{path} to {certificate}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_registered_or_no_more_gets_no_answer() {
    let world = World::sqlite().await;
    let mut stage = Fixtures::create(world.dir.path(), Randomness::system()).await;
    assert_every_method_answers(&world, "second", "CERT_NOT_REGISTERED").await;
    stage.call_ok("RegisterCertificate").await;
    let get = stage.request(find_example("GetOrganisation").unwrap(), false);
    assert_eq!(stage.call("second", "GetOrganisation", &get).await.reason(), "OK");
    let registered = sandbox::world::load(world.dir.path()).unwrap().organisations;
    assert!(registered.iter().any(|member| member.certificate_sha256 == stage.names["old"]));
    stage.call_ok("RevokeCertificate").await;
    assert_every_method_answers(&world, "provider-a-old", "CERT_REVOKED").await;
    assert_eq!(stage.call("provider-a", "GetOrganisation", &get).await.reason(), "OK");
    drop(stage);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_organisation_gets_nothing_of_any_method() {
    let world = World::sqlite().await;
    let mut stage = Fixtures::create(world.dir.path(), Randomness::system()).await;
    let mut request = stage.request(find_example("UpdateOrganisation").unwrap(), false);
    request.set_field_by_name("state", Value::EnumNumber(2));
    assert_eq!(stage.call("operator", "UpdateOrganisation", &request).await.reason(), "OK");
    assert_every_method_answers(&world, "provider-c", "ORG_SUSPENDED").await;
    drop(stage);
    world.stop().await;
}
