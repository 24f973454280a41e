//! `doctor`: the twelve faults of a client, each named by it with what to do, and by the operator's log.

use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use ap_gateway::cli::sandbox;
use ap_gateway::clock::{Clock, SystemClock};
use ap_gateway::identity::pki::{SandboxAuthority, Validity};
use ap_gateway::tlog::Signer;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::fixtures::current_validity;
use super::limits::output;
use super::person_commands::Shell;
use super::serve_process::{LIST_PLACEMENTS, ServeFolder, ServeProcess};
use super::support::{World, gateway};
use super::wire::{Wire, frame, tls};

const RIVERSIDE: &str = "spiffe://sandbox.ap.example/provider/riverside/register";

/// Writes a profile of the folder that differs from `la-a`'s, and returns its path.
fn write_profile(folder: &Path, name: &str, endpoint: &str, changes: &[(&str, &str)]) -> std::path::PathBuf {
    let text = std::fs::read_to_string(sandbox::profile_path(folder, "la-a")).unwrap();
    let mut profile: toml::Table = text.parse().unwrap();
    profile.insert("endpoint".to_owned(), endpoint.into());
    for (key, value) in changes {
        profile.insert((*key).to_owned(), (*value).into());
    }
    let path = folder.join(format!("profiles/doctor-{name}.toml"));
    std::fs::write(&path, profile.to_string()).unwrap();
    path
}

fn doctor(profile: &Path) -> Output {
    output(gateway().arg("doctor").arg("--profile").arg(profile))
}

/// Asserts that a fault ends `doctor` with exit code 1, in a line of its own with these words, and with advice.
fn assert_names(profile: &Path, words: &str) {
    let Output { status, stdout, .. } = doctor(profile);
    let printed = String::from_utf8(stdout).unwrap();
    assert_eq!(status.code(), Some(1), "{printed}");
    let mut lines = printed.lines();
    let fault = lines.find(|line| line.starts_with("FAULT") && line.contains(words));
    assert!(fault.is_some(), "{words:?} is not a fault in: {printed}");
    assert!(lines.next().is_some_and(|advice| advice.starts_with("           ")), "no advice: {printed}");
}

fn with_certificate(folder: &ServeFolder, served: &ServeProcess, name: &str) -> std::path::PathBuf {
    let files = [format!("../certs/{name}.pem"), format!("../certs/{name}.key")];
    let changes = [("certificate", files[0].as_str()), ("key", files[1].as_str())];
    write_profile(folder.path(), name, &served.address.to_string(), &changes)
}

/// Faults of the client's certificate and registration, on one node.
#[tokio::test(flavor = "multi_thread")]
async fn faults_of_certificate_and_registration_are_named_on_both_sides() {
    let folder = ServeFolder::new();
    let authority = folder.authority();
    let lapsed = Validity { to: SystemClock.now().seconds() - 3_600, ..current_validity() };
    let issue = |name: &str, uri: &str, serial, validity| {
        folder.write_key_pair(name, &authority.issue_client(&[uri], serial, validity).unwrap());
    };
    issue("expired", RIVERSIDE, 0x50, lapsed);
    issue("revoked", RIVERSIDE, 0x51, current_validity());
    issue("domain", "spiffe://other.example/provider/riverside/register", 0x52, current_validity());
    issue("unregistered", RIVERSIDE, 0x53, current_validity());
    let foreign = SandboxAuthority::new("elsewhere", current_validity()).unwrap();
    folder.write_key_pair("foreign", &foreign.issue_client(&[RIVERSIDE], 0x54, current_validity()).unwrap());
    let other = folder.trust_second_authority("another");
    let now = SystemClock.now().seconds();
    folder.write(
        "other.crl",
        &other.issue_crl(&[], 2, Validity { to: now + 1, ..current_validity() }).unwrap(),
    );
    folder.write("ca.crl", &authority.issue_crl(&[0x51], 9, current_validity()).unwrap());
    folder.write("certs/none.pem", "");
    folder.write("certs/none.key", "");
    let served = folder.serve();
    served.wait_for_log("a revocation list has lapsed").await;
    let shell = Shell { dir: folder.path() };
    let endpoint = served.address.to_string();
    let suspend = ["--endpoint", &endpoint, "--reason", "it closed", "--officer", "Kit Example"];
    let suspend =
        [&["org", "suspend", "school/145678"], &suspend[..], &["--officer-role", "manager"]].concat();
    shell.succeed("operator", &suspend);
    for (name, words, logged) in [
        ("none", "has no certificate", ""),
        ("foreign", "does not know the authority", "refused: unknown issuer"),
        ("expired", "expired on", "refused: expired"),
        ("revoked", "revocation list", "refused: revoked"),
        ("domain", "closed the connection of provider/riverside", "refused: another trust domain"),
        ("unregistered", "CERT_NOT_REGISTERED", "CERT_NOT_REGISTERED"),
        ("other", "REVOCATION_LIST_EXPIRED", "REVOCATION_LIST_EXPIRED"),
        ("provider-b", "ORG_SUSPENDED", "ORG_SUSPENDED"),
    ] {
        assert_names(&with_certificate(&folder, &served, name), words);
        if !logged.is_empty() {
            served.wait_for_log(logged).await;
        }
    }
    // A client without a certificate does not come as far as a call.
    let anonymous = Wire::open(served.address, tls(&folder.file_path("ca.pem"), None)).await;
    if let Ok(wire) = anonymous {
        assert!(wire.send(LIST_PLACEMENTS, &[], frame(&[])).await.is_err());
    }
    served.wait_for_log("refused: no client certificate").await;
}

/// Faults of the gateway's name and certificate, of a clock and of the log key.
#[tokio::test(flavor = "multi_thread")]
async fn faults_of_name_clock_and_keys_are_named() {
    let folder = ServeFolder::new();
    let authority = folder.authority();
    let elsewhere =
        authority.issue_invalid_server(Some("elsewhere.example"), 0x60, current_validity()).unwrap();
    folder.write_key_pair("server", &elsewhere);
    let served = folder.serve();
    let endpoint = served.address.to_string();
    assert_names(&write_profile(folder.path(), "name", &endpoint, &[]), "it is not for the name 127.0.0.1");
    served.wait_for_log("or uses a name that is not in it").await;
    let foreign = SandboxAuthority::new("elsewhere", current_validity()).unwrap();
    folder.write("foreign-ca.pem", foreign.certificate_pem());
    let profile = write_profile(folder.path(), "ca", &endpoint, &[("ca", "../foreign-ca.pem")]);
    assert_names(&profile, "it is not signed by the profile's CA");
    served.wait_for_log("does not know the authority of the certificate of this gateway").await;
    expired_server_is_named(&folder, &served).await;
    drop(served);
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    assert_names(&write_profile(folder.path(), "port", &unused, &[]), "accepts no connection");
    assert_names(&write_profile(folder.path(), "dns", "gateway.invalid:443", &[]), "has no address");
    // A clock that is behind takes the gateway's certificate for not valid yet.
    let now = SystemClock.now().seconds();
    let later = Validity { from: now + 3_600, to: now + 7_200 };
    let not_yet = authority.issue_invalid_server(Some("localhost"), 0x61, later).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("localhost:{}", listener.local_addr().unwrap().port());
    let acceptor = acceptor(&not_yet.certificate_pem, &not_yet.key_pem);
    let serving = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        acceptor.accept(tcp).await.unwrap_err().to_string()
    });
    let profile = write_profile(folder.path(), "clock", &address, &[]);
    tokio::task::spawn_blocking(move || assert_names(&profile, "not valid yet, by this machine's clock"))
        .await
        .unwrap();
    let alert = serving.await.unwrap();
    assert!(alert.contains("CertificateExpired"), "{alert}");
}

/// A clock that is ahead takes the gateway's certificate for expired: here one that is valid for some seconds, when they
/// have passed. The gateway takes a new certificate up within a second, if it is valid then.
async fn expired_server_is_named(folder: &ServeFolder, served: &ServeProcess) {
    let endpoint = format!("localhost:{}", served.address.port());
    let profile = write_profile(folder.path(), "ahead", &endpoint, &[]);
    for _ in 0..3 {
        let brief = Validity { to: SystemClock.now().seconds() + 4, ..current_validity() };
        let brief = folder.authority().issue_invalid_server(Some("localhost"), 0x62, brief).unwrap();
        folder.write_key_pair("server", &brief);
        tokio::time::sleep(Duration::from_secs(5)).await;
        if String::from_utf8_lossy(&doctor(&profile).stdout).contains("it has expired") {
            assert_names(&profile, "it has expired, by this machine's clock");
            served
                .wait_for_log("by the clock of the peer the certificate of this gateway is not valid")
                .await;
            return;
        }
    }
    panic!("the gateway does not take the certificate up: {}", served.log());
}

fn acceptor(certificate: &str, key: &str) -> TlsAcceptor {
    let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap();
    TlsAcceptor::from(Arc::new(builder.with_no_client_auth().with_single_cert(chain, key).unwrap()))
}

/// Checks a profile that works, one whose log key is another's, and an organisation without an agreement; the last two on
/// both sides.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_key_and_a_missing_agreement_are_named() {
    let folder = ServeFolder::new();
    let served = folder.serve();
    let (dir, endpoint) = (folder.path(), served.address.to_string());
    let well = write_profile(dir, "well", &endpoint, &[]);
    let well = output(gateway().args(["doctor", "--json", "--profile"]).arg(well));
    let printed = String::from_utf8(well.stdout).unwrap();
    assert_eq!(well.status.code(), Some(0), "{printed}");
    let checks: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<_> = checks.iter().map(|check| check["name"].as_str().unwrap()).collect();
    let expected = [
        "own certificate",
        "name and port",
        "server's certificate",
        "handshake",
        "registration",
        "log key",
        "clock",
        "agreements",
    ];
    assert_eq!(names, expected);
    let at_fault: Vec<_> = checks.iter().filter(|check| check["status"] == "fault").collect();
    assert_eq!(at_fault, Vec::<&Value>::new());
    let other = Signer::from_seed("ap.example/other", &[7; 32]).unwrap().verifier().to_string();
    let profile = write_profile(dir, "log-key", &endpoint, &[("log_key", &other)]);
    let logged = "the log key of the client is another log's: la/330/";
    assert!(!served.log().contains(logged), "{}", served.log());
    assert_names(&profile, "not signed by the log's key");
    assert_eq!(served.wait_for_log(logged).await, 1);
    let shell = Shell { dir };
    let at = ["--endpoint", &endpoint];
    let list = [&["agreement", "list", "--state", "in-force"], &at[..]].concat();
    let ids =
        shell.json("provider-c", &list).into_iter().map(|it| it["agreement_id"].as_str().unwrap().to_owned());
    let ids: Vec<String> = ids.collect();
    for id in &ids {
        shell.succeed("provider-c", &[&["agreement", "end", id], &at[..]].concat());
    }
    assert_names(&with_certificate(&folder, &served, "provider-c"), "no sharing agreement is in force today");
    // The gateway meets it when something is to be shared.
    let referral = json!({
        "provider": "provider/brightwater", "la_of_residence": "la/330", "agreement_id": ids[0],
        "child": { "legal_surname": "Kestrel", "legal_forename": "Wren", "date_of_birth": "2012-03-04", "year_group": 9 },
        "legal_basis": "LEGAL_BASIS_SECTION_19", "reason": "PLACEMENT_REASON_MENTAL_HEALTH", "safety": "none known",
        "needs": "a quiet start to the day", "officer": { "name": "Sam Example", "role": "AP officer" },
    });
    std::fs::write(dir.join("referral.json"), referral.to_string()).unwrap();
    let refused = shell.fail("la-a", &[&["referral", "push", "referral.json"], &at[..]].concat(), 1);
    assert!(refused.contains("AGREEMENT_NOT_IN_FORCE"), "{refused}");
    served.wait_for_log("AGREEMENT_NOT_IN_FORCE CreateReferral la/330/").await;
}

/// Checks that a profile is made, tried and not overwritten.
#[tokio::test(flavor = "multi_thread")]
async fn a_profile_is_made_by_a_verb() {
    let world = World::sqlite().await;
    let dir = world.dir.path();
    let log_key = std::fs::read_to_string(sandbox::profile_path(dir, "la-a")).unwrap();
    let log_key: toml::Table = log_key.parse().unwrap();
    let make = |out: &str, more: &[&str]| {
        let mut command = gateway();
        command.current_dir(dir).args(["profile", "make", out, "--endpoint", &world.address().to_string()]);
        command.args(["--ca", "ca.pem", "--certificate", "certs/la-a.pem", "--key", "certs/la-a.key"]);
        command.args(["--log-key", log_key["log_key"].as_str().unwrap()]).args(more);
        output(&mut command)
    };
    assert_eq!(make("made.toml", &[]).status.code(), Some(0));
    let listed = output(gateway().args(["org", "show"]).env("AP_GATEWAY_PROFILE", dir.join("made.toml")));
    let printed = String::from_utf8([listed.stdout, listed.stderr].concat()).unwrap();
    assert!(printed.contains("organisation: la/330"), "{printed}");
    assert_eq!(make("made.toml", &[]).status.code(), Some(69));
    assert_eq!(make("made.toml", &["--replace"]).status.code(), Some(0));
    let shown = make("-", &["--on-behalf-of", "la/330"]);
    assert!(String::from_utf8(shown.stdout).unwrap().contains("on_behalf_of = \"la/330\"\n"));
    // An endpoint of the environment stands in place of the profile's.
    let mut nowhere = gateway();
    nowhere.args(["placement", "list", "--profile"]).arg(dir.join("made.toml"));
    let refused = output(nowhere.env("AP_GATEWAY_ENDPOINT", "gateway.invalid:443"));
    assert_eq!(refused.status.code(), Some(69));
    world.stop().await;
}

/// Checks that completions and pages know the commands.
#[test]
fn completions_and_pages_come_from_the_definitions() {
    for shell in ["bash", "zsh", "fish"] {
        let script = String::from_utf8(output(gateway().args(["completions", shell])).stdout).unwrap();
        for word in ["agreement", "countersign", "sign", "--terms"] {
            let is_there = script.contains(word.trim_start_matches("--"));
            assert_eq!(is_there, word != "countersign", "{shell}: {word}");
        }
    }
    let dir = tempfile::TempDir::new().unwrap();
    assert_eq!(output(gateway().args(["man", "--out"]).arg(dir.path())).status.code(), Some(0));
    let page = std::fs::read_to_string(dir.path().join("ap-gateway-agreement-sign.1")).unwrap();
    assert!(page.contains("SHA\\-256 of the terms"), "{page}");
}

/// Checks that the page for integrators has every key of a profile.
#[test]
fn every_key_of_a_profile_is_documented() {
    let page = std::fs::read_to_string("docs/integrators.md").unwrap();
    let file = ap_gateway::client::ProfileFile {
        endpoint: String::new(),
        ca: "ca".into(),
        certificate: "certificate".into(),
        key: "key".into(),
        log_key: String::new(),
        seen: "seen".into(),
        on_behalf_of: Some(String::new()),
        token_audience: Some(String::new()),
    };
    let keys: toml::Table = toml::to_string(&file).unwrap().parse().unwrap();
    assert_eq!(keys.len(), 8);
    for key in keys.keys() {
        assert!(page.contains(&format!("\n| `{key}` | ")), "{key} is not in docs/integrators.md");
    }
}
