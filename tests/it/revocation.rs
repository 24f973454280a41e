//! Revocation and trust while `serve` runs: a set of files that cannot say who is revoked is refused, one authority's
//! lapse stops its own callers and nobody else, and what is taken out of the files is out at once.

use std::time::Duration;

use ap_gateway::clock::{Clock, SystemClock};
use ap_gateway::identity::pki::{Authority, Validity};
use http::Version;
use http_body_util::Full;
use tonic::body::Body;

use super::opening::HEALTH;
use super::served::{Folder, READ, ROUNDS, until_cut};
use super::stage::{issue, lately};
use super::wire::frame;

const SERVING: [u8; 2] = [8, 1];
const REFUSED: &str = "changed TLS files were not taken up";

/// A list that ended an hour ago.
fn past() -> Validity {
    Validity { to: SystemClock.now().seconds() - 3_600, ..lately() }
}

#[test]
fn a_set_without_a_verified_list_of_every_authority_is_not_served() {
    let folder = Folder::new();
    let (own, good) = (folder.authority(), folder.configuration());
    let list = std::fs::read_to_string(folder.file("ca.crl")).unwrap();
    let same_name = Authority::new("ap-gateway sandbox", lately()).unwrap();
    let other = Authority::new("another", lately()).unwrap();
    for (text, cause) in [
        (own.certificate().to_owned(), "it holds no PEM block X509 CRL"),
        (list.replace("-----END", "-----BEGIN"), "a PEM block in it"),
        ("nothing".to_owned(), "it is not PEM"),
        (String::new(), "it is empty"),
        ("0 and so on".to_owned(), "it is not an X.509 revocation list"),
        (same_name.crl(&[], 9, lately()).unwrap(), "is not signed by that authority"),
        (own.crl(&[], 9, past()).unwrap(), "every revocation list has lapsed"),
    ] {
        folder.write("ca.crl", &text);
        folder.is_refused(&["tls.crls", folder.file("ca.crl").to_str().unwrap(), cause]);
    }
    folder.write("ca.crl", &other.crl(&[], 9, lately()).unwrap());
    folder.is_refused(&["holds no revocation list of CN=ap-gateway sandbox, only of CN=another"]);
    folder.write("ca.crl", &list);
    folder.write("gateway.toml", &good.replace("[\"ca.crl\"]", "[]"));
    folder.is_refused(&["line", "tls.crls must name a file"]);
    folder.write("gateway.toml", &good);
    folder.write("ca.pem", &[own.certificate(), other.certificate()].concat());
    folder.is_refused(&["tls.client_ca", "holds no revocation list of CN=another"]);
    let leaf = std::fs::read_to_string(folder.file("certs/la-a.pem")).unwrap();
    folder.write("ca.pem", &leaf);
    folder.is_refused(&["tls.client_ca", "is not an authority's", "CA:TRUE"]);
    folder.write("ca.pem", own.certificate());
    assert_eq!(folder.run("check").0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_set_leaves_the_old_one_and_is_logged_once() {
    let folder = Folder::new();
    let own = folder.authority();
    issue(folder.path(), "lost", "provider/riverside/lost", 601, lately());
    // Both lists are of one second, so that their numbers order them.
    let validity = lately();
    folder.write("ca.crl", &own.crl(&[601], 8, validity).unwrap());
    let served = folder.serve();
    assert!(folder.call(&served, "lost", READ).await.is_err());
    folder.write("ca.crl", own.certificate());
    assert_eq!(served.logged(REFUSED).await, 1);
    // An older list that forgets a revocation is a bad one too.
    folder.write("ca.crl", &own.crl(&[], 7, validity).unwrap());
    served.logged("a revocation list older than the one in use was left alone").await;
    assert!(folder.call(&served, "lost", READ).await.is_err());
    let from_now = Validity { from: lately().to - 3_600, ..lately() };
    for (host, validity, cause) in [
        (Some("localhost"), past(), "expired at"),
        (Some("localhost"), from_now, "is not valid before"),
        (None, lately(), "names no host"),
    ] {
        folder.pair("server", &own.bad_server(host, 9, validity).unwrap());
        served.logged(cause).await;
        assert_eq!(folder.call(&served, "la-a", READ).await.unwrap().told(), "OK");
    }
    // One that expires while it is in use.
    let now = SystemClock.now().seconds();
    folder
        .pair("server", &own.bad_server(Some("localhost"), 9, Validity { to: now + 8, ..lately() }).unwrap());
    assert_eq!(served.logged("the server's certificate has expired").await, 1);
    for cause in ["expired at", "is not valid before", "names no host", "holds no PEM block X509 CRL"] {
        assert_eq!(served.log().matches(cause).count(), 1, "{cause}: {}", served.log());
    }
    folder.is_refused(&["tls.certificate", "the certificate expired at"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_authority_s_lapse_stops_its_own_callers_alone() {
    let folder = Folder::new();
    let other = folder.with_another_authority("another");
    let served = folder.serve();
    let staying = folder.connect(&served, "la-a").await.unwrap();
    let open = folder.connect(&served, "other").await.unwrap();
    assert_eq!(open.call(READ, &[]).await.told(), "CERT_NOT_REGISTERED");
    // Past half of its life, and ended three seconds from now.
    let now = SystemClock.now().seconds();
    folder.write("other.crl", &other.crl(&[], 2, Validity { to: now + 3, ..lately() }).unwrap());
    served.logged("is past half of its life").await;
    until_cut(&open).await;
    assert_eq!(served.logged("a revocation list has lapsed").await, 1);
    folder.until_told(&served, "other", "REVOCATION_LIST_EXPIRED").await;
    assert_eq!(staying.call(READ, &[]).await.told(), "OK");
    assert_eq!(staying.call(HEALTH, &[]).await.message[..], SERVING);
    folder.write("other.crl", &other.crl(&[], 3, lately()).unwrap());
    folder.until_told(&served, "other", "CERT_NOT_REGISTERED").await;
    // None is current: not well, and a start is refused.
    folder.write("other.crl", &other.crl(&[], 4, past()).unwrap());
    folder.write("ca.crl", &folder.authority().crl(&[], 4, past()).unwrap());
    until_cut(&staying).await;
    folder.until_told(&served, "la-a", "REVOCATION_LIST_EXPIRED").await;
    assert_ne!(folder.call(&served, "la-a", HEALTH).await.unwrap().message[..], SERVING);
    drop(served);
    folder.is_refused(&["tls.crls", "every revocation list has lapsed"]);
    // With one lapsed of two the node starts, and says so.
    folder.write("ca.crl", &folder.authority().crl(&[], 5, lately()).unwrap());
    let (code, told) = folder.run("check");
    assert!(code == 1 && told.contains("CN=another ends at"), "{told}");
    let served = folder.serve();
    served.logged("a revocation list has lapsed").await;
    folder.until_told(&served, "other", "REVOCATION_LIST_EXPIRED").await;
    folder.until_told(&served, "la-a", "OK").await;
}

/// Two authorities of one name, as when an authority's key is changed: each has its own list.
#[tokio::test(flavor = "multi_thread")]
async fn authorities_of_one_name_have_a_list_each() {
    let folder = Folder::new();
    let other = folder.with_another_authority("ap-gateway sandbox");
    let served = folder.serve();
    folder.until_told(&served, "la-a", "OK").await;
    folder.until_told(&served, "other", "CERT_NOT_REGISTERED").await;
    folder.write("other.crl", &other.crl(&[7], 2, lately()).unwrap());
    for _ in 0..ROUNDS {
        if folder.call(&served, "other", READ).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(folder.call(&served, "other", READ).await.is_err());
    folder.until_told(&served, "la-a", "OK").await;
}

/// An intermediate authority stands beside its issuer, has a list of its own, and can be revoked itself.
#[tokio::test(flavor = "multi_thread")]
async fn an_intermediate_authority_is_revoked_by_its_issuer() {
    let folder = Folder::new();
    let root = folder.with_another_authority("another");
    let below = root.intermediate("below", 70).unwrap();
    let uri = "spiffe://sandbox.ap.example/provider/riverside/register";
    folder.pair("below", &below.client(&[uri], 71, lately()).unwrap());
    folder.write("both.pem", &[&folder.authority(), &root, &below].map(Authority::certificate).concat());
    folder.is_refused(&["tls.client_ca", "holds no revocation list of CN=below"]);
    let lists = |revoked: &[u64], number| {
        [root.crl(revoked, number, lately()).unwrap(), below.crl(&[], number, lately()).unwrap()].concat()
    };
    folder.write("other.crl", &lists(&[], 2));
    let served = folder.serve();
    let open = folder.connect(&served, "below").await.unwrap();
    assert_eq!(open.call(READ, &[]).await.told(), "CERT_NOT_REGISTERED");
    folder.until_told(&served, "other", "CERT_NOT_REGISTERED").await;
    folder.write("other.crl", &lists(&[70], 3));
    until_cut(&open).await;
    assert!(folder.call(&served, "below", READ).await.is_err());
    folder.until_told(&served, "other", "CERT_NOT_REGISTERED").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_is_taken_out_loses_its_connections() {
    let folder = Folder::new();
    folder.with_another_authority("another");
    let served = folder.serve();
    let staying = folder.connect(&served, "la-a").await.unwrap();
    let open = folder.connect(&served, "other").await.unwrap();
    assert_eq!(open.call(READ, &[]).await.told(), "CERT_NOT_REGISTERED");
    folder.write("both.pem", folder.authority().certificate());
    until_cut(&open).await;
    assert!(folder.call(&served, "other", READ).await.is_err());
    assert_eq!(staying.call(READ, &[]).await.told(), "OK");
}

/// HTTP/2 allows a `host` header in place of `:authority`, and the two must not differ.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_header_counts_as_the_host() {
    let folder = Folder::new();
    let served = folder.serve();
    let wire = folder.connect(&served, "la-a").await.unwrap();
    for (uri, host, told) in [
        (READ.to_owned(), "evil.example", "HOST_MISMATCH"),
        (READ.to_owned(), "localhost:8443", "OK"),
        (format!("https://localhost{READ}"), "evil.example", "HOST_MISMATCH"),
        (format!("https://evil.example{READ}"), "localhost", "HOST_MISMATCH"),
    ] {
        let body = Body::new(Full::new(frame(&[])));
        let request = http::Request::post(uri)
            .version(Version::HTTP_11)
            .header("te", "trailers")
            .header("content-type", "application/grpc")
            .header("host", host);
        assert_eq!(wire.ask(request.body(body).unwrap()).await.unwrap().told(), told, "{host}");
    }
}
