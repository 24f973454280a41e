//! Revocation lists and trust while `serve` runs: files without a valid list for every CA are refused, the lapse of
//! one CA's list stops only its own callers, and a removed CA loses its connections at once.

use std::time::Duration;

use ap_gateway::clock::{Clock, SystemClock};
use ap_gateway::identity::pki::{SandboxAuthority, Validity};
use http::Version;
use http_body_util::Full;
use tonic::body::Body;

use super::fixtures::{current_validity, issue_certificate};
use super::serve_process::{LIST_PLACEMENTS, MAX_POLLS, ServeFolder, ServeProcess, wait_until_closed};
use super::startup_checks::HEALTH_CHECK;
use super::wire::frame;

const SERVING_RESPONSE: [u8; 2] = [8, 1];
const LOAD_FAILED: &str = "changed TLS files were not loaded";

/// Returns a validity period that ended an hour ago.
fn lapsed_validity() -> Validity {
    Validity { to: SystemClock.now().seconds() - 3_600, ..current_validity() }
}

/// Waits until a caller's certificate is refused at the handshake.
async fn wait_until_refused(folder: &ServeFolder, served: &ServeProcess, name: &str) {
    for _ in 0..MAX_POLLS {
        if folder.call(served, name, LIST_PLACEMENTS).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{name} is not refused: {}", served.log());
}

/// Returns a validity period that begins in some seconds.
fn dated_in(seconds: i64) -> Validity {
    Validity { from: SystemClock.now().seconds() + seconds, ..current_validity() }
}

#[test]
fn a_set_without_a_verified_list_of_every_authority_is_not_served() {
    let folder = ServeFolder::new();
    let (authority, good) = (folder.authority(), folder.configuration());
    let list = std::fs::read_to_string(folder.file_path("ca.crl")).unwrap();
    let same_name = SandboxAuthority::new("ap-gateway sandbox", current_validity()).unwrap();
    let other = SandboxAuthority::new("another", current_validity()).unwrap();
    for (text, cause) in [
        (authority.certificate_pem().to_owned(), "it holds no PEM block X509 CRL"),
        (list.replace("-----END", "-----BEGIN"), "a PEM block in it"),
        ("nothing".to_owned(), "it is not PEM"),
        (String::new(), "it is empty"),
        ("0 and so on".to_owned(), "it is not an X.509 revocation list"),
        (same_name.issue_crl(&[], 9, current_validity()).unwrap(), "is not signed by that authority"),
        (authority.issue_crl(&[], 9, lapsed_validity()).unwrap(), "every revocation list has lapsed"),
        (authority.issue_crl(&[], 9, dated_in(3_600)).unwrap(), "is dated 20"),
    ] {
        folder.write("ca.crl", &text);
        folder.assert_refused(&["tls.crls", folder.file_path("ca.crl").to_str().unwrap(), cause]);
    }
    folder.write("ca.crl", &other.issue_crl(&[], 9, current_validity()).unwrap());
    folder.assert_refused(&["holds no revocation list of CN=ap-gateway sandbox, only of CN=another"]);
    folder.write("ca.crl", &list);
    folder.write("gateway.toml", &good.replace("[\"ca.crl\"]", "[]"));
    folder.assert_refused(&["line", "tls.crls must name a file"]);
    folder.write("gateway.toml", &good);
    folder.write("ca.pem", &[authority.certificate_pem(), other.certificate_pem()].concat());
    folder.assert_refused(&["tls.client_ca", "holds no revocation list of CN=another"]);
    let leaf = std::fs::read_to_string(folder.file_path("certs/la-a.pem")).unwrap();
    folder.write("ca.pem", &leaf);
    folder.assert_refused(&["tls.client_ca", "is not a CA certificate", "CA:TRUE"]);
    folder.write("ca.pem", authority.certificate_pem());
    assert_eq!(folder.run_command("check").0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_set_leaves_the_old_one_and_is_logged_once() {
    let folder = ServeFolder::new();
    let authority = folder.authority();
    issue_certificate(folder.path(), "lost", "provider/riverside/lost", 601, current_validity());
    // Both lists have the same time, so their numbers order them.
    let validity = current_validity();
    folder.write("ca.crl", &authority.issue_crl(&[601], 8, validity).unwrap());
    let served = folder.serve();
    assert!(folder.call(&served, "lost", LIST_PLACEMENTS).await.is_err());
    folder.write("ca.crl", authority.certificate_pem());
    assert_eq!(served.wait_for_log(LOAD_FAILED).await, 1);
    // An older list, which lacks a revocation, is ignored as well.
    folder.write("ca.crl", &authority.issue_crl(&[], 7, validity).unwrap());
    served.wait_for_log("a revocation list older than the one in use was ignored").await;
    assert!(folder.call(&served, "lost", LIST_PLACEMENTS).await.is_err());
    let from_now = Validity { from: current_validity().to - 3_600, ..current_validity() };
    for (host, validity, cause) in [
        (Some("localhost"), lapsed_validity(), "expired at"),
        (Some("localhost"), from_now, "is not valid before"),
        (None, current_validity(), "names no host"),
    ] {
        folder.write_key_pair("server", &authority.issue_invalid_server(host, 9, validity).unwrap());
        served.wait_for_log(cause).await;
        assert_eq!(folder.call(&served, "la-a", LIST_PLACEMENTS).await.unwrap().reason(), "OK");
    }
    // A certificate that expires while it is in use.
    let now = SystemClock.now().seconds();
    folder.write_key_pair(
        "server",
        &authority
            .issue_invalid_server(Some("localhost"), 9, Validity { to: now + 8, ..current_validity() })
            .unwrap(),
    );
    assert_eq!(served.wait_for_log("the server's certificate has expired").await, 1);
    for cause in ["expired at", "is not valid before", "names no host", "holds no PEM block X509 CRL"] {
        assert_eq!(served.log().matches(cause).count(), 1, "{cause}: {}", served.log());
    }
    folder.assert_refused(&["tls.certificate", "the certificate expired at"]);
}

/// Checks that no date in the future keeps a later revocation out: a list of the future is refused, and one that is ahead
/// by the difference of two clocks gives way to the next number.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_the_future_keeps_no_revocation_out() {
    let folder = ServeFolder::new();
    let authority = folder.authority();
    for (name, serial) in [("lost", 601), ("stolen", 602)] {
        issue_certificate(folder.path(), name, "provider/riverside/lost", serial, current_validity());
    }
    let served = folder.serve();
    folder.write("ca.crl", &authority.issue_crl(&[], 7, dated_in(3_600)).unwrap());
    served.wait_for_log("is dated 20").await;
    // The set in use stays.
    folder.wait_until_answered(&served, "la-a", "OK").await;
    folder.write("ca.crl", &authority.issue_crl(&[602], 8, dated_in(120)).unwrap());
    wait_until_refused(&folder, &served, "stolen").await;
    folder.write("ca.crl", &authority.issue_crl(&[], 6, current_validity()).unwrap());
    served.wait_for_log(r#""number":"6","#).await;
    served.wait_for_log(r#""number_in_use":"8""#).await;
    served.wait_for_log(r#""this_update_in_use":"20"#).await;
    folder.write("ca.crl", &authority.issue_crl(&[601], 9, current_validity()).unwrap());
    wait_until_refused(&folder, &served, "lost").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_authority_s_lapse_stops_its_own_callers_alone() {
    let folder = ServeFolder::new();
    let other = folder.trust_second_authority("another");
    let served = folder.serve();
    let staying = folder.connect(&served, "la-a").await.unwrap();
    let open = folder.connect(&served, "other").await.unwrap();
    assert_eq!(open.call(LIST_PLACEMENTS, &[]).await.reason(), "CERT_NOT_REGISTERED");
    // The list is past half of its lifetime and expires in three seconds.
    let now = SystemClock.now().seconds();
    folder.write(
        "other.crl",
        &other.issue_crl(&[], 2, Validity { to: now + 3, ..current_validity() }).unwrap(),
    );
    served.wait_for_log("is past half of its life").await;
    wait_until_closed(&open).await;
    assert_eq!(served.wait_for_log("a revocation list has lapsed").await, 1);
    folder.wait_until_answered(&served, "other", "REVOCATION_LIST_EXPIRED").await;
    assert_eq!(staying.call(LIST_PLACEMENTS, &[]).await.reason(), "OK");
    assert_eq!(staying.call(HEALTH_CHECK, &[]).await.message[..], SERVING_RESPONSE);
    folder.write("other.crl", &other.issue_crl(&[], 3, current_validity()).unwrap());
    folder.wait_until_answered(&served, "other", "CERT_NOT_REGISTERED").await;
    // No list is current: the node is NOT_SERVING and does not start.
    folder.write("other.crl", &other.issue_crl(&[], 4, lapsed_validity()).unwrap());
    folder.write("ca.crl", &folder.authority().issue_crl(&[], 4, lapsed_validity()).unwrap());
    wait_until_closed(&staying).await;
    folder.wait_until_answered(&served, "la-a", "REVOCATION_LIST_EXPIRED").await;
    assert_ne!(folder.call(&served, "la-a", HEALTH_CHECK).await.unwrap().message[..], SERVING_RESPONSE);
    drop(served);
    folder.assert_refused(&["tls.crls", "every revocation list has lapsed"]);
    // With one of two lists expired the node starts and logs it.
    folder.write("ca.crl", &folder.authority().issue_crl(&[], 5, current_validity()).unwrap());
    let (code, printed) = folder.run_command("check");
    assert!(code == 1 && printed.contains("CN=another ends at"), "{printed}");
    let served = folder.serve();
    served.wait_for_log("a revocation list has lapsed").await;
    folder.wait_until_answered(&served, "other", "REVOCATION_LIST_EXPIRED").await;
    folder.wait_until_answered(&served, "la-a", "OK").await;
}

/// Checks two CAs of the same name, as after a change of a CA's key: each has its own list.
#[tokio::test(flavor = "multi_thread")]
async fn authorities_of_one_name_have_a_list_each() {
    let folder = ServeFolder::new();
    let other = folder.trust_second_authority("ap-gateway sandbox");
    let served = folder.serve();
    folder.wait_until_answered(&served, "la-a", "OK").await;
    folder.wait_until_answered(&served, "other", "CERT_NOT_REGISTERED").await;
    folder.write("other.crl", &other.issue_crl(&[7], 2, current_validity()).unwrap());
    wait_until_refused(&folder, &served, "other").await;
    folder.wait_until_answered(&served, "la-a", "OK").await;
}

/// Checks that an intermediate CA has its own list and can be revoked by its issuer.
#[tokio::test(flavor = "multi_thread")]
async fn an_intermediate_authority_is_revoked_by_its_issuer() {
    let folder = ServeFolder::new();
    let root = folder.trust_second_authority("another");
    let below = root.issue_intermediate("below", 70).unwrap();
    let uri = "spiffe://sandbox.ap.example/provider/riverside/register";
    folder.write_key_pair("below", &below.issue_client(&[uri], 71, current_validity()).unwrap());
    folder.write(
        "both.pem",
        &[&folder.authority(), &root, &below].map(SandboxAuthority::certificate_pem).concat(),
    );
    folder.assert_refused(&["tls.client_ca", "holds no revocation list of CN=below"]);
    let lists = |revoked: &[u64], number| {
        [
            root.issue_crl(revoked, number, current_validity()).unwrap(),
            below.issue_crl(&[], number, current_validity()).unwrap(),
        ]
        .concat()
    };
    folder.write("other.crl", &lists(&[], 2));
    let served = folder.serve();
    let open = folder.connect(&served, "below").await.unwrap();
    assert_eq!(open.call(LIST_PLACEMENTS, &[]).await.reason(), "CERT_NOT_REGISTERED");
    folder.wait_until_answered(&served, "other", "CERT_NOT_REGISTERED").await;
    folder.write("other.crl", &lists(&[70], 3));
    wait_until_closed(&open).await;
    assert!(folder.call(&served, "below", LIST_PLACEMENTS).await.is_err());
    folder.wait_until_answered(&served, "other", "CERT_NOT_REGISTERED").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_is_taken_out_loses_its_connections() {
    let folder = ServeFolder::new();
    folder.trust_second_authority("another");
    let served = folder.serve();
    let staying = folder.connect(&served, "la-a").await.unwrap();
    let open = folder.connect(&served, "other").await.unwrap();
    assert_eq!(open.call(LIST_PLACEMENTS, &[]).await.reason(), "CERT_NOT_REGISTERED");
    folder.write("both.pem", folder.authority().certificate_pem());
    wait_until_closed(&open).await;
    assert!(folder.call(&served, "other", LIST_PLACEMENTS).await.is_err());
    assert_eq!(staying.call(LIST_PLACEMENTS, &[]).await.reason(), "OK");
}

/// Checks the `host` header, because HTTP/2 allows it instead of `:authority` and the two must agree.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_header_counts_as_the_host() {
    let folder = ServeFolder::new();
    let served = folder.serve();
    let wire = folder.connect(&served, "la-a").await.unwrap();
    for (uri, host, expected) in [
        (LIST_PLACEMENTS.to_owned(), "evil.example", "HOST_MISMATCH"),
        (LIST_PLACEMENTS.to_owned(), "localhost:8443", "OK"),
        (HEALTH_CHECK.to_owned(), "evil.example", "HOST_MISMATCH"),
        (HEALTH_CHECK.to_owned(), "localhost:8443", "OK"),
        (format!("https://localhost{LIST_PLACEMENTS}"), "evil.example", "HOST_MISMATCH"),
        (format!("https://evil.example{LIST_PLACEMENTS}"), "localhost", "HOST_MISMATCH"),
    ] {
        let body = Body::new(Full::new(frame(&[])));
        let request = http::Request::post(uri)
            .version(Version::HTTP_11)
            .header("te", "trailers")
            .header("content-type", "application/grpc")
            .header("host", host);
        assert_eq!(
            wire.send_request(request.body(body).unwrap()).await.unwrap().reason(),
            expected,
            "{host}"
        );
    }
}
