//! The operator's log of refused connections: who, which certificate and why, at the default level, in short lines
//! and without repeats.

use std::time::Duration;

use ap_gateway::identity::pki::SandboxAuthority;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::fixtures::current_validity;
use super::listener::{PREFACE, SETTINGS, connect, http2_frame, read_frame};
use super::serve_process::{LIST_PLACEMENTS, MAX_POLLS, ServeFolder};
use super::wire::{Wire, frame, tls};

const PING: u8 = 6;
/// Maximum length of a line with its line feed, in bytes.
const MAX_LINE_BYTES: usize = 200;

/// Returns the log's messages about refused connections, and checks their lines.
fn messages(log: &str) -> Vec<String> {
    let lines = log.lines().filter(|line| line.contains("\"refused")).map(|line| {
        assert!(line.len() < MAX_LINE_BYTES, "{} bytes: {line}", line.len());
        assert!(line.chars().all(|letter| !letter.is_control() && letter != '\u{202e}'), "{line}");
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["message"].as_str().unwrap().to_owned()
    });
    lines.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_says_who_was_refused_and_why() {
    let folder = ServeFolder::new();
    let authority = folder.authority();
    let uri = "spiffe://sandbox.ap.example/provider/riverside/register";
    folder.write_key_pair("revoked", &authority.issue_client(&[uri], 0x4d, current_validity()).unwrap());
    folder.write("ca.crl", &authority.issue_crl(&[0x4d], 9, current_validity()).unwrap());
    let foreign = SandboxAuthority::new("evil\u{7}\u{202e}\"CA", current_validity()).unwrap();
    folder.write_key_pair("foreign", &foreign.issue_client(&[uri], 0x99, current_validity()).unwrap());
    let other_domain = ["spiffe://other.example/provider/riverside/register"];
    folder
        .write_key_pair("domain", &authority.issue_client(&other_domain, 0x33, current_validity()).unwrap());
    let configuration = folder.configuration() + "\n[limits]\nconnections_per_organisation = 1\n";
    folder.write("gateway.toml", &configuration);
    let served = folder.serve();
    for name in ["revoked", "revoked", "revoked", "foreign", "domain"] {
        // A TLS 1.3 client may learn of the refusal only with its first call.
        let called = folder.call(&served, name, LIST_PLACEMENTS).await;
        assert!(called.is_err(), "{name}");
    }
    let anonymous = Wire::open(served.address, tls(&folder.file_path("ca.pem"), None)).await;
    if let Ok(wire) = anonymous {
        assert!(wire.send(LIST_PLACEMENTS, &[], frame(&[])).await.is_err());
    }
    let mut plain = TcpStream::connect(served.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    plain.read_to_end(&mut Vec::new()).await.ok();
    let mut flooding = connect(served.address, &std::sync::Arc::new(folder.tls("la-a"))).await;
    let second = folder.call(&served, "la-a", LIST_PLACEMENTS).await;
    assert!(second.is_err());
    let flood: Vec<u8> = (0..2_000).flat_map(|_| http2_frame(PING, 0, 0, &[1; 8])).collect();
    flooding.write_all(&[PREFACE, &http2_frame(SETTINGS, 0, 0, &[]), &flood].concat()).await.ok();
    while read_frame(&mut flooding).await.is_some() {}
    let certificate = |serial: &str, issuer: &str| format!("127.0.0.1; serial {serial}; {uri}; by {issuer}");
    let la = "full: connections_per_organisation; 127.0.0.1; serial ";
    let expected = [
        format!("refused: revoked; {}", certificate("4d", "ap-gateway sandbox")),
        format!("refused: unknown issuer; {}", certificate("99", "evil???CA")),
        "refused: another trust domain; 127.0.0.1; serial 33; spiffe://other.example/provider".to_owned(),
        "refused: no client certificate; 127.0.0.1".to_owned(),
        "refused: not TLS; 127.0.0.1".to_owned(),
        format!("refused: {la}"),
        "refused: flood of HTTP/2 control frames; 127.0.0.1; serial ".to_owned(),
    ];
    for _ in 0..MAX_POLLS {
        if messages(&served.log()).len() >= expected.len() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let logged = messages(&served.log());
    for line in &expected {
        assert_eq!(logged.iter().filter(|logged| logged.starts_with(line)).count(), 1, "{line}: {logged:#?}");
    }
    assert_eq!(logged.len(), expected.len(), "{logged:#?}");
    // The count of the repeats is written at the latest when the process ends.
    let log = folder.file_path("serve.log");
    served.signal("TERM");
    assert!(served.wait_for_exit().success());
    let logged = messages(&std::fs::read_to_string(log).unwrap());
    let counted = "refused 2 more times: revoked; 127.0.0.1; serial 4d; ";
    assert!(logged.iter().any(|line| line.starts_with(counted)), "{logged:#?}");
}
