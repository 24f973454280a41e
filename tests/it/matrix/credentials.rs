//! Who is not known gets nothing: no certificate, another's authority, out of date, revoked, not registered,
//! suspended, for every service.

use std::time::Duration;

use ap_gateway::cli::sandbox;
use ap_gateway::clock::Randomness;
use ap_gateway::identity::pki::{Authority, Validity};
use prost_reflect::Value;

use super::super::opening::HEALTH;
use super::super::stage::{Stage, authority, issue, lately, row};
use super::super::support::World;
use super::super::wire::{Answer, Wire, frame, receipt, tls};
use super::methods;

/// Rounds in which a change of files or of the register is waited for, 50 ms each.
const ROUNDS: usize = 200;
/// A method that la-a may call without a message.
const READ: &str = "/apgateway.v1.PlacementService/ListPlacements";

/// The first method of each service.
fn services() -> Vec<&'static str> {
    let mut paths: Vec<_> = methods().into_iter().map(|(path, ..)| path).collect();
    paths.dedup_by_key(|path| path.split('/').nth(1).unwrap());
    assert!(paths.len() >= 5);
    paths
}

/// What is answered to a certificate of the world's folder; none when the connection is refused.
async fn answered(world: &World, certificate: &str, path: &str) -> Result<Answer, String> {
    Wire::with(world.dir.path(), certificate).await?.send(path, &[], frame(&[])).await
}

async fn refused_at_the_handshake(world: &World, certificate: &str) {
    for path in services() {
        let answer = answered(world, certificate, path).await;
        assert!(answer.is_err(), "{certificate} {path}: {}", answer.unwrap().told());
    }
}

/// Number of entries, this reading's own left out.
async fn entries(world: &World) -> u64 {
    let answer = Wire::of(world.dir.path(), "la-a").await.call(READ, &[]).await;
    receipt(&answer).index
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_certificate_gets_no_connection() {
    let world = World::sqlite().await;
    let certs = world.dir.path().join("certs");
    let valid = lately();
    issue(
        world.dir.path(),
        "expired",
        "provider/riverside/register",
        501,
        Validity { to: valid.from + 3_600, ..valid },
    );
    issue(
        world.dir.path(),
        "future",
        "provider/riverside/register",
        502,
        Validity { from: valid.to - 3_600, ..valid },
    );
    issue(world.dir.path(), "kind", "stranger/riverside/register", 503, valid);
    let forge = |name: &str, issued: ap_gateway::identity::pki::Issued| {
        std::fs::write(certs.join(format!("{name}.pem")), issued.certificate).unwrap();
        std::fs::write(certs.join(format!("{name}.key")), issued.key).unwrap();
    };
    let uri = "spiffe://sandbox.ap.example/provider/riverside/register";
    let other = Authority::new("ap-gateway sandbox", valid).unwrap();
    forge("forged", other.client(&[uri], 504, valid).unwrap());
    let own = authority(world.dir.path());
    forge(
        "two-names",
        own.client(&[uri, "spiffe://sandbox.ap.example/la/330/ap-casework"], 505, valid).unwrap(),
    );
    forge("no-name", own.client(&[], 506, valid).unwrap());
    forge("server-s", own.client_without_usage(uri, 507).unwrap());
    forge(
        "elsewhere",
        own.client(&["spiffe://other.example/provider/riverside/register"], 508, valid).unwrap(),
    );
    let before = entries(&world).await;
    for bad in ["expired", "future", "kind", "forged", "two-names", "no-name", "server-s", "elsewhere"] {
        refused_at_the_handshake(&world, bad).await;
    }
    for path in services() {
        let nobody = Wire::open(world.address(), tls(&world.dir.path().join("ca.pem"), None)).await;
        let answer = match nobody {
            Ok(wire) => wire.send(path, &[], frame(&[])).await,
            Err(refused) => Err(refused),
        };
        assert!(answer.is_err(), "{path}");
    }
    assert_eq!(entries(&world).await - before, 1, "only the reading itself is in the log");
    world.stop().await;
}

/// A revocation list is enforced from when it is read, on connections that are open too. While the newest is out of
/// date every call is refused with that cause, who is on it gets no connection, and a new list mends it.
#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_list_holds_and_must_be_in_date() {
    let world = World::sqlite().await;
    let (list, own) = (world.dir.path().join("ca.crl"), authority(world.dir.path()));
    issue(world.dir.path(), "lost", "provider/riverside/lost", 601, lately());
    let open = Wire::with(world.dir.path(), "lost").await.unwrap();
    assert_eq!(open.call(services()[0], &[]).await.told(), "CERT_NOT_REGISTERED");
    std::fs::write(&list, own.crl(&[601], 2, lately()).unwrap()).unwrap();
    for round in 0.. {
        if open.send(services()[0], &[], frame(&[])).await.is_err() {
            break;
        }
        assert!(round < ROUNDS, "the connection was not cut");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    refused_at_the_handshake(&world, "lost").await;
    answered(&world, "la-a", services()[0]).await.unwrap();
    let past = Validity { to: lately().from + 3_600, ..lately() };
    let lapsed = "REVOCATION_LIST_EXPIRED";
    for (number, (validity, told)) in [(past, lapsed), (lately(), "OK")].into_iter().enumerate() {
        std::fs::write(&list, own.crl(&[601], 3 + number as u64, validity).unwrap()).unwrap();
        for round in 0.. {
            // A connection that was opened just before its list lapsed is cut.
            if answered(&world, "la-a", READ).await.is_ok_and(|answer| answer.told() == told) {
                break;
            }
            assert!(round < ROUNDS, "the new list was not taken up");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        refused_at_the_handshake(&world, "lost").await;
        let health = answered(&world, "la-a", HEALTH).await.unwrap();
        assert_eq!(health.message[..] == [8, 1], told == "OK", "SERVING only while an issuer is current");
    }
    world.stop().await;
}

/// What every method answers to a certificate; a connection that is cut meanwhile is made again.
async fn told_by_all(world: &World, certificate: &str, expected: &str) {
    let mut wire = Wire::with(world.dir.path(), certificate).await.unwrap();
    for (path, ..) in methods() {
        let mut answer = wire.send(path, &[], frame(&[])).await;
        for _ in 0..3 {
            if answer.is_err() {
                wire = Wire::with(world.dir.path(), certificate).await.unwrap();
                answer = wire.send(path, &[], frame(&[])).await;
            }
        }
        assert_eq!(answer.unwrap().told(), expected, "{path} to {certificate}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_registered_or_no_more_gets_no_answer() {
    let world = World::sqlite().await;
    let mut stage = Stage::set(world.dir.path(), Randomness::system()).await;
    told_by_all(&world, "second", "CERT_NOT_REGISTERED").await;
    stage.play("RegisterCertificate").await;
    let get = stage.request(row("GetOrganisation").unwrap(), false);
    assert_eq!(stage.call("second", "GetOrganisation", &get).await.told(), "OK");
    let registered = sandbox::world::load(world.dir.path()).unwrap().organisations;
    assert!(registered.iter().any(|member| member.certificate_sha256 == stage.names["old"]));
    stage.play("RevokeCertificate").await;
    told_by_all(&world, "provider-a-old", "CERT_REVOKED").await;
    assert_eq!(stage.call("provider-a", "GetOrganisation", &get).await.told(), "OK");
    drop(stage);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_organisation_gets_nothing_of_any_method() {
    let world = World::sqlite().await;
    let mut stage = Stage::set(world.dir.path(), Randomness::system()).await;
    let mut request = stage.request(row("UpdateOrganisation").unwrap(), false);
    request.set_field_by_name("state", Value::EnumNumber(2));
    assert_eq!(stage.call("operator", "UpdateOrganisation", &request).await.told(), "OK");
    told_by_all(&world, "provider-c", "ORG_SUSPENDED").await;
    drop(stage);
    world.stop().await;
}
