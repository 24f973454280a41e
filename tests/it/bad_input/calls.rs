//! Calls that no single field can say: frames, headers, connections, batches, sequences.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use prost::Message;
use prost::bytes::Bytes;
use prost_reflect::{DynamicMessage, Value};
use serde_json::{Value as Json, json};
use tonic::Code;
use tonic::body::Body;
use tonic_types::StatusExt;

use super::super::rows::ROWS;
use super::super::stage::{Stage, authority, descriptor, lately, path, read, row, text};
use super::super::wire::{Answer, Wire, address, frame, tls};

const GET_PLACEMENT: &str = "/apgateway.v1.PlacementService/GetPlacement";

type Told = Result<Answer, String>;

/// Makes the call of this name.
pub async fn call(stage: &mut Stage, name: &str, value: &str) -> Told {
    let wire = stage.wire("provider-a").await;
    let valid = stage.request(row("GetPlacement").unwrap(), false).encode_to_vec();
    let send = |metadata: &'static [(&'static str, &'static str)], body: Bytes| {
        let wire = wire.clone();
        async move { wire.send(GET_PLACEMENT, metadata, body).await }
    };
    let flagged = |flag: u8, message: &[u8]| Bytes::from([&[flag], &frame(message)[1..]].concat());
    if let Some(header) = name.strip_prefix("identity claimed in ") {
        return identity_claimed(stage, header, value).await;
    }
    match name {
        "one bad row of a thousand" => one_bad_row(stage).await,
        "a thousand bad rows" => all_bad_rows(stage).await,
        "an empty message to every method" => empty_messages(stage).await,
        "an acknowledgement again" => {
            stage.play("AcknowledgeDelivery").await;
            let again = stage.request(row("AcknowledgeDelivery").unwrap(), false);
            Ok(stage.call("la-a", "AcknowledgeDelivery", &again).await)
        }
        "on behalf of another" => send(&[("ap-on-behalf-of", "la/330")], frame(&valid)).await,
        "an unknown service" => wire.send("/apgateway.v1.NoService/GetPlacement", &[], frame(&valid)).await,
        "an unknown method" => wire.send("/apgateway.v1.PlacementService/None", &[], frame(&valid)).await,
        "a GET" => wire.ask(request("GET", "localhost").body(Body::empty()).unwrap()).await,
        "an authority of another host" => {
            let body = Body::new(http_body_util::Full::new(frame(&valid)));
            wire.ask(request("POST", "other.example").body(body).unwrap()).await
        }
        "plaintext HTTP/1.1" => plain(stage, b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"),
        "plaintext HTTP/2" => plain(stage, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
        "random bytes" => plain(stage, &[0x5a; 300]),
        "HTTP/1.1 inside TLS" => {
            let dir = stage.dir.as_path();
            let (certificate, key) = (dir.join("certs/provider-a.pem"), dir.join("certs/provider-a.key"));
            let mut config = tls(&dir.join("ca.pem"), Some((&certificate, &key)));
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            Wire::open(address(&stage.dir), config).await?.send(GET_PLACEMENT, &[], frame(&valid)).await
        }
        "a handshake for another host" => another_host(stage),
        "a certificate of 100 names" => a_hundred_names(stage, &valid).await,
        "compressed without an encoding" => send(&[], flagged(1, &valid)).await,
        "compression flag 7" => send(&[], flagged(7, &valid)).await,
        "an unknown encoding" => {
            let answer = send(&[("grpc-encoding", "br")], flagged(1, &valid)).await?;
            assert!(answer.headers.contains_key("grpc-accept-encoding"));
            Ok(answer)
        }
        "no message" => send(&[], Bytes::new()).await,
        "two messages" => send(&[], [frame(&valid), frame(&valid)].concat().into()).await,
        "half a message" => send(&[], frame(&valid).slice(..10)).await,
        "one byte over the limit" => send(&[], frame(&vec![0; (1 << 20) + 1])).await,
        "a gzip bomb" => send(&[("grpc-encoding", "gzip")], flagged(1, &bomb())).await,
        "17 KiB of metadata" => survived(stage, &[("x-long", "m".repeat(17 * 1024))]).await,
        "400 headers" => {
            let names: Vec<String> = (0..400).map(|at| format!("x-many-{at:04}")).collect();
            let many: Vec<_> = names.iter().map(|name| (name.as_str(), "m".repeat(20))).collect();
            survived(stage, &many).await
        }
        "names with underscores twice" => {
            send(&[("x_org_id", "la/330"), ("x-org_id", "la/331")], frame(&valid)).await
        }
        other => panic!("there is no call named {other}"),
    }
}

fn request(method: &str, host: &str) -> http::request::Builder {
    http::Request::builder()
        .method(method)
        .uri(format!("https://{host}{GET_PLACEMENT}"))
        .header("te", "trailers")
        .header("content-type", "application/grpc")
}

/// A thousand timed sessions of one child on one day.
fn thousand(stage: &Stage, day: impl Fn(usize) -> &'static str, mode: &str) -> DynamicMessage {
    let clock = |minute: usize| format!("{:02}:{:02}", minute / 60, minute % 60);
    let mark = |at: usize| {
        json!({"placement_id": "$active", "date": day(at), "session": "SESSION_TIMED",
               "start_time": clock(at), "end_time": clock(at + 1), "seen": "SEEN_MARK_PRESENT"})
    };
    let marks: Vec<Json> = (0..1_000).map(mark).collect();
    let json = json!({"marks": marks, "mode": mode}).to_string();
    let mut request = read("SubmitAttendance", &stage.named(&json));
    stage.renew(&mut request);
    request
}

/// ATOMIC: that row is named, and nothing is stored. `ACCEPT_VALID`: the others are.
async fn one_bad_row(stage: &mut Stage) -> Told {
    let day = |at| if at == 500 { "2026-02-30" } else { "2026-11-05" };
    let request = thousand(stage, day, "SUBMIT_MODE_ATOMIC");
    let atomic = stage.call("provider-a", "SubmitAttendance", &request).await;
    let details = atomic.status().get_error_details();
    let faults = &details.bad_request().unwrap().field_violations;
    assert_eq!((faults.len(), faults[0].field.as_str()), (1, "marks[500].date"));
    let request = thousand(stage, day, "SUBMIT_MODE_ACCEPT_VALID");
    let lenient = stage.call("provider-a", "SubmitAttendance", &request).await;
    let reply =
        DynamicMessage::decode(descriptor("SubmitAttendance").output(), lenient.message.clone()).unwrap();
    let count = |field: &str| reply.get_field_by_name(field).unwrap().as_u32().unwrap();
    // All of them are new: the atomic submission stored none.
    assert_eq!((count("stored"), count("rejected")), (999, 1));
    Ok(lenient)
}

/// The first fifty are named by path and reason, the rest are counted, and texts are left out where they do not fit.
async fn all_bad_rows(stage: &mut Stage) -> Told {
    let request = thousand(stage, |_| "2026-02-30", "SUBMIT_MODE_ATOMIC");
    let answer = stage.call("provider-a", "SubmitAttendance", &request).await;
    let details = answer.status().get_error_details();
    let faults = &details.bad_request().unwrap().field_violations;
    let named = faults.iter().enumerate().all(|(at, fault)| {
        (fault.field.as_str(), fault.reason.as_str())
            == (format!("marks[{at}].date").as_str(), "DATE_INVALID")
    });
    assert!(named && faults.len() == 50, "{} are named", faults.len());
    assert!(!faults[0].description.is_empty() && faults[49].description.is_empty());
    assert_eq!(details.error_info().unwrap().metadata["violations_omitted"], "950");
    Ok(answer)
}

async fn empty_messages(stage: &mut Stage) -> Told {
    for row in ROWS {
        let wire = stage.wire(row.caller).await;
        let answer = wire.call(&path(&descriptor(row.method)), &[]).await;
        let code = answer.status().code();
        assert!(
            matches!(code, Code::Ok | Code::InvalidArgument | Code::NotFound),
            "{}: {code:?}",
            row.method
        );
    }
    Ok(stage.wire("auditor").await.call("/apgateway.v1.AuditService/ListExchanges", &[]).await)
}

/// The identity stays the certificate's, and the entry says that a header claimed another.
async fn identity_claimed(stage: &mut Stage, header: &str, value: &str) -> Told {
    let wire = stage.wire("provider-a").await;
    let request = stage.request(row("GetPlacement").unwrap(), false);
    let answer = wire.send(GET_PLACEMENT, &[(header, value)], frame(&request.encode_to_vec())).await?;
    let reply = DynamicMessage::decode(descriptor("GetPlacement").output(), answer.message.clone()).unwrap();
    let receipt = reply.get_field_by_name("receipt").unwrap().as_message().unwrap().clone();
    let mut request = read("GetExchange", "{}");
    request.set_field_by_name("exchange_id", Value::String(text(&receipt, "exchange_id")));
    let found = stage.call("provider-a", "GetExchange", &request).await;
    let found = DynamicMessage::decode(descriptor("GetExchange").output(), found.message).unwrap();
    let record = found.get_field_by_name("exchange").unwrap().as_message().unwrap().clone();
    assert_eq!(text(&record, "organisation"), "provider/riverside");
    assert_eq!(record.get_field_by_name("identity_claimed").unwrap().as_bool(), Some(true));
    Ok(answer)
}

/// Bytes that are no TLS: the connection is closed, and the next caller is answered.
fn plain(stage: &Stage, bytes: &[u8]) -> Told {
    let mut tcp = TcpStream::connect(address(&stage.dir)).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    tcp.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    match tcp.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    assert!(answer.len() < 16, "an alert at most");
    Err("closed".to_owned())
}

fn another_host(stage: &Stage) -> Told {
    let (dir, at) = (stage.dir.as_path(), address(&stage.dir));
    let mut curl = Command::new("curl");
    curl.args(["-sk", "--http2", "--max-time", "10", "--connect-to", &format!("other.example:443:{at}")]);
    curl.arg("--cert").arg(dir.join("certs/la-a.pem")).arg("--key").arg(dir.join("certs/la-a.key"));
    let output = curl.arg("https://other.example/").output().unwrap();
    assert!(!output.status.success() && output.stdout.is_empty());
    Err("closed".to_owned())
}

async fn a_hundred_names(stage: &Stage, valid: &[u8]) -> Told {
    let names: Vec<String> =
        (0..100).map(|at| format!("spiffe://sandbox.ap.example/provider/riverside/s{at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let issued = authority(stage.dir.as_path()).client(&names, 77_777, lately()).unwrap();
    let folder = stage.dir.as_path().join("certs");
    std::fs::write(folder.join("many.pem"), issued.certificate).unwrap();
    std::fs::write(folder.join("many.key"), issued.key).unwrap();
    Wire::with(&stage.dir, "many").await?.send(GET_PLACEMENT, &[], frame(valid)).await
}

/// Too much metadata ends the call; the gateway and, where it stays open, the connection go on.
async fn survived(stage: &mut Stage, metadata: &[(&str, String)]) -> Told {
    let wire = Wire::of(&stage.dir, "provider-a").await;
    let valid = frame(&stage.request(row("GetPlacement").unwrap(), false).encode_to_vec());
    let metadata: Vec<(&str, &str)> = metadata.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let told = wire.send(GET_PLACEMENT, &metadata, valid.clone()).await;
    let next = Wire::of(&stage.dir, "provider-a").await.send(GET_PLACEMENT, &[], valid).await;
    assert_eq!(next.unwrap().status().code(), Code::Ok);
    told
}

/// 64 MiB of zeros, compressed to 64 KiB.
fn bomb() -> Vec<u8> {
    let mut gzip = Command::new("gzip");
    let mut gzip = gzip.arg("-9c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut zeros = gzip.stdin.take().unwrap();
    let writing = std::thread::spawn(move || {
        for _ in 0..64 {
            zeros.write_all(&vec![0; 1 << 20]).unwrap();
        }
    });
    let mut packed = Vec::new();
    gzip.stdout.take().unwrap().read_to_end(&mut packed).unwrap();
    writing.join().unwrap();
    gzip.wait().unwrap();
    packed
}
