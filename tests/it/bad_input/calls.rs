//! Bad input that is not a single field: frames, headers, connections, batches, sequences of calls.

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

use super::super::example_requests::EXAMPLE_REQUESTS;
use super::super::fixtures::{
    Fixtures, current_validity, find_example, load_authority, method_descriptor, method_path, parse_request,
    text_field,
};
use super::super::wire::{Answer, Wire, address, frame, tls};

const GET_PLACEMENT: &str = "/apgateway.v1.PlacementService/GetPlacement";

type CallResult = Result<Answer, String>;

/// Makes the call with this name.
pub async fn make_call(stage: &mut Fixtures, name: &str, value: &str) -> CallResult {
    let wire = stage.connection("provider-a").await;
    let valid = stage.request(find_example("GetPlacement").unwrap(), false).encode_to_vec();
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
            stage.call_ok("AcknowledgeDelivery").await;
            let again = stage.request(find_example("AcknowledgeDelivery").unwrap(), false);
            Ok(stage.call("la-a", "AcknowledgeDelivery", &again).await)
        }
        "on behalf of another" => send(&[("ap-on-behalf-of", "la/330")], frame(&valid)).await,
        "an unknown service" => wire.send("/apgateway.v1.NoService/GetPlacement", &[], frame(&valid)).await,
        "an unknown method" => wire.send("/apgateway.v1.PlacementService/None", &[], frame(&valid)).await,
        "a GET" => wire.send_request(request_builder("GET", "localhost").body(Body::empty()).unwrap()).await,
        "an authority of another host" => {
            let body = Body::new(http_body_util::Full::new(frame(&valid)));
            wire.send_request(request_builder("POST", "other.example").body(body).unwrap()).await
        }
        "plaintext HTTP/1.1" => plaintext_call(stage, b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"),
        "plaintext HTTP/2" => plaintext_call(stage, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
        "random bytes" => plaintext_call(stage, &[0x5a; 300]),
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
        "a gzip bomb" => send(&[("grpc-encoding", "gzip")], flagged(1, &gzip_bomb())).await,
        "17 KiB of metadata" => call_with_large_metadata(stage, &[("x-long", "m".repeat(17 * 1024))]).await,
        "400 headers" => {
            let names: Vec<String> = (0..400).map(|at| format!("x-many-{at:04}")).collect();
            let many: Vec<_> = names.iter().map(|name| (name.as_str(), "m".repeat(20))).collect();
            call_with_large_metadata(stage, &many).await
        }
        "names with underscores twice" => {
            send(&[("x_org_id", "la/330"), ("x-org_id", "la/331")], frame(&valid)).await
        }
        other => panic!("there is no call named {other}"),
    }
}

fn request_builder(method: &str, host: &str) -> http::request::Builder {
    http::Request::builder()
        .method(method)
        .uri(format!("https://{host}{GET_PLACEMENT}"))
        .header("te", "trailers")
        .header("content-type", "application/grpc")
}

/// Builds a submission of 1,000 timed sessions of one child on one day.
fn thousand_marks(stage: &Fixtures, day: impl Fn(usize) -> &'static str, mode: &str) -> DynamicMessage {
    let clock = |minute: usize| format!("{:02}:{:02}", minute / 60, minute % 60);
    let mark = |at: usize| {
        json!({"placement_id": "$active", "date": day(at), "session": "SESSION_TIMED",
               "start_time": clock(at), "end_time": clock(at + 1), "seen": "SEEN_MARK_PRESENT"})
    };
    let marks: Vec<Json> = (0..1_000).map(mark).collect();
    let json = json!({"marks": marks, "mode": mode}).to_string();
    let mut request = parse_request("SubmitAttendance", &stage.substitute_names(&json));
    stage.set_request_id(&mut request);
    request
}

/// Checks one bad row of 1,000: `ATOMIC` names it and stores nothing, `ACCEPT_VALID` stores the others.
async fn one_bad_row(stage: &mut Fixtures) -> CallResult {
    let day = |at| if at == 500 { "2026-02-30" } else { "2026-11-05" };
    let request = thousand_marks(stage, day, "SUBMIT_MODE_ATOMIC");
    let atomic = stage.call("provider-a", "SubmitAttendance", &request).await;
    let details = atomic.status().get_error_details();
    let faults = &details.bad_request().unwrap().field_violations;
    assert_eq!((faults.len(), faults[0].field.as_str()), (1, "marks[500].date"));
    let request = thousand_marks(stage, day, "SUBMIT_MODE_ACCEPT_VALID");
    let lenient = stage.call("provider-a", "SubmitAttendance", &request).await;
    let reply =
        DynamicMessage::decode(method_descriptor("SubmitAttendance").output(), lenient.message.clone())
            .unwrap();
    let count = |field: &str| reply.get_field_by_name(field).unwrap().as_u32().unwrap();
    // All others are new, so the atomic submission stored none.
    assert_eq!((count("stored"), count("rejected")), (999, 1));
    Ok(lenient)
}

/// Checks that the first 50 violations are listed by path and reason, that the others are counted, and that
/// descriptions are omitted if there is no room.
async fn all_bad_rows(stage: &mut Fixtures) -> CallResult {
    let request = thousand_marks(stage, |_| "2026-02-30", "SUBMIT_MODE_ATOMIC");
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

async fn empty_messages(stage: &mut Fixtures) -> CallResult {
    for row in EXAMPLE_REQUESTS {
        let wire = stage.connection(row.caller).await;
        let answer = wire.call(&method_path(&method_descriptor(row.method)), &[]).await;
        let code = answer.status().code();
        assert!(
            matches!(code, Code::Ok | Code::InvalidArgument | Code::NotFound),
            "{}: {code:?}",
            row.method
        );
    }
    Ok(stage.connection("auditor").await.call("/apgateway.v1.AuditService/ListExchanges", &[]).await)
}

/// Checks that the identity is that of the certificate, and that the entry flags a header that claimed another one.
async fn identity_claimed(stage: &mut Fixtures, header: &str, value: &str) -> CallResult {
    let wire = stage.connection("provider-a").await;
    let request = stage.request(find_example("GetPlacement").unwrap(), false);
    let answer = wire.send(GET_PLACEMENT, &[(header, value)], frame(&request.encode_to_vec())).await?;
    let reply =
        DynamicMessage::decode(method_descriptor("GetPlacement").output(), answer.message.clone()).unwrap();
    let receipt = reply.get_field_by_name("receipt").unwrap().as_message().unwrap().clone();
    let mut request = parse_request("GetExchange", "{}");
    request.set_field_by_name("exchange_id", Value::String(text_field(&receipt, "exchange_id")));
    let found = stage.call("provider-a", "GetExchange", &request).await;
    let found = DynamicMessage::decode(method_descriptor("GetExchange").output(), found.message).unwrap();
    let record = found.get_field_by_name("exchange").unwrap().as_message().unwrap().clone();
    assert_eq!(text_field(&record, "organisation"), "provider/riverside");
    assert_eq!(record.get_field_by_name("identity_claimed").unwrap().as_bool(), Some(true));
    Ok(answer)
}

/// Sends bytes that are not TLS; the connection is closed.
fn plaintext_call(stage: &Fixtures, bytes: &[u8]) -> CallResult {
    let mut tcp = TcpStream::connect(address(&stage.dir)).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    tcp.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    match tcp.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    assert!(answer.len() < 16, "at most a TLS alert");
    Err("closed".to_owned())
}

fn another_host(stage: &Fixtures) -> CallResult {
    let (dir, at) = (stage.dir.as_path(), address(&stage.dir));
    let mut curl = Command::new("curl");
    curl.args(["-sk", "--http2", "--max-time", "10", "--connect-to", &format!("other.example:443:{at}")]);
    curl.arg("--cert").arg(dir.join("certs/la-a.pem")).arg("--key").arg(dir.join("certs/la-a.key"));
    let output = curl.arg("https://other.example/").output().unwrap();
    assert!(!output.status.success() && output.stdout.is_empty());
    Err("closed".to_owned())
}

async fn a_hundred_names(stage: &Fixtures, valid: &[u8]) -> CallResult {
    let names: Vec<String> =
        (0..100).map(|at| format!("spiffe://sandbox.ap.example/provider/riverside/s{at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let issued =
        load_authority(stage.dir.as_path()).issue_client(&names, 77_777, current_validity()).unwrap();
    let folder = stage.dir.as_path().join("certs");
    std::fs::write(folder.join("many.pem"), issued.certificate_pem).unwrap();
    std::fs::write(folder.join("many.key"), issued.key_pem).unwrap();
    Wire::try_connect(&stage.dir, "many").await?.send(GET_PLACEMENT, &[], frame(valid)).await
}

/// Sends too much metadata. The call fails, and the gateway answers the next one.
async fn call_with_large_metadata(stage: &mut Fixtures, metadata: &[(&str, String)]) -> CallResult {
    let wire = Wire::connect(&stage.dir, "provider-a").await;
    let valid = frame(&stage.request(find_example("GetPlacement").unwrap(), false).encode_to_vec());
    let metadata: Vec<(&str, &str)> = metadata.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = wire.send(GET_PLACEMENT, &metadata, valid.clone()).await;
    let next = Wire::connect(&stage.dir, "provider-a").await.send(GET_PLACEMENT, &[], valid).await;
    assert_eq!(next.unwrap().status().code(), Code::Ok);
    answer
}

/// Compresses 64 MiB of zeros to 64 KiB.
fn gzip_bomb() -> Vec<u8> {
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
