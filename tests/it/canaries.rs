//! Personal data appears only in responses to those who may read it: not in logs, panics, PostgreSQL's own log or
//! the bytes of the database.

use std::collections::HashSet;
use std::fs::File;
use std::path::Path;
use std::process::Command;

use ap_gateway::cli::{self, profile, sandbox};
use ap_gateway::client::reason;
use ap_gateway::clock::Randomness;
use ap_gateway::proto;
use ap_gateway::proto::v1::Mark;
use ap_gateway::store::{Database, DatabaseLocation};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost_reflect::{DynamicMessage, Kind, MessageDescriptor, ReflectMessage, Value};

use super::example_requests::EXAMPLE_REQUESTS;
use super::exchange_semantics::{mark, refusal_status, submission, submit};
use super::fixtures::{Fixtures, find_example};
use super::management;
use super::process::Process;
use super::support::{Postgres, gateway};
use super::tokens;
use super::wire::{Wire, frame};

/// The invented text of each personal field, by the field's name. It occurs nowhere else.
const CANARY_BY_FIELD: [(&str, &str); 5] = [
    ("surname", "Quokkamarsh"),
    ("forename", "Numbatine"),
    ("date_of_birth", "2011-02-27"),
    ("upn", "H873100124999"),
    ("name", "Bilby Wallabyson"),
];
/// The text of all other personal fields.
const CANARY_TEXT: &str = "kowari dunnart";
/// Methods whose example chooses the member of a oneof that has no personal text: an acceptance, not a refusal; the
/// opening of a stream, not its marks. Nor has a read that is no emergency.
const WITHOUT_PERSONAL_TEXT: &[&str] = &["RespondToReferral", "StreamAttendance", "GetPassport"];
/// The environment variable that holds the text with which a child process panics.
const PANIC_TEXT_VARIABLE: &str = "AP_GATEWAY_TEST_PANIC";

fn canary_for(field: &str) -> Option<String> {
    let known =
        CANARY_BY_FIELD.iter().find(|(name, _)| field == *name || field.ends_with(&format!("_{name}")));
    // Fields that hold codes or numbers take no text.
    (!["sex", "type", "provision", "telephone", "email"].contains(&field))
        .then(|| known.map_or(CANARY_TEXT, |(_, canary)| canary).to_owned())
}

/// Returns the canaries in a text: as text, in hexadecimal, or as a list of numbers.
fn canaries_in(text: &str) -> Vec<&'static str> {
    let canaries = CANARY_BY_FIELD
        .iter()
        .map(|(_, canary)| *canary)
        .chain(CANARY_TEXT.split(' '))
        .chain([tokens::NAME, tokens::SUBJECT]);
    let all = canaries.filter(|canary| {
        let bytes = canary.as_bytes();
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let numbers: Vec<String> = bytes.iter().map(u8::to_string).collect();
        // A token holds its claims in base64, at any of three alignments.
        let mut encoded = (0..3).map(|skipped| {
            let padded = [&b"\0\0"[..skipped], bytes].concat();
            let whole = URL_SAFE_NO_PAD.encode(padded);
            whole.get(if skipped == 0 { 0 } else { 4 }..whole.len() - 2).unwrap_or(&whole).to_owned()
        });
        text.contains(canary)
            || text.contains(&hex.concat())
            || text.contains(&numbers.join(", "))
            || encoded.any(|encoded| text.contains(&encoded))
    });
    all.collect()
}

/// Serves a sandbox with the binary, with metrics, and with its log at level trace, which has the spans, in a file.
fn serve_with_trace_log(dir: &Path, url_file: Option<&Path>, log: &Path) -> Process {
    let further = url_file.map(|file| ["--postgres-url-file".as_ref(), file.as_os_str()]);
    drop(Process::start(gateway(), dir, further.as_ref().map_or(&[], |further| further)));
    management::listen(dir);
    let mut command = gateway();
    command.env("AP_GATEWAY_LOG", "trace").stderr(File::create(log).unwrap());
    Process::start(command, dir, further.as_ref().map_or(&[], |further| further))
}

/// Sends canaries with every method that takes personal data, in valid and invalid requests, and reads them back as
/// an authorised caller.
async fn send_everything(dir: &Path) {
    let mut stage = Fixtures::create_with_personal_text(dir, Randomness::system(), canary_for).await;
    let attendance = stage.request(find_example("GetAttendance").unwrap(), false);
    let placement = stage.request(find_example("GetPlacement").unwrap(), false);
    for row in EXAMPLE_REQUESTS.iter().filter(|row| row.method != "WatchDeliveries") {
        let request = stage.request(row, false);
        let carries = !canaries_in(&request.to_string()).is_empty();
        let takes = takes_personal_text(&request.descriptor(), &mut HashSet::new());
        assert_eq!(carries, takes && !WITHOUT_PERSONAL_TEXT.contains(&row.method), "{}", row.method);
        let answer = stage.call(row.caller, row.method, &request).await;
        assert_eq!(answer.reason(), "OK", "{}", row.method);
        for spoilt in faulty_requests(&request) {
            let answer = stage.call(row.caller, row.method, &spoilt).await;
            assert_eq!(canaries_in(&answer.reason()), [""; 0], "{}: {}", row.method, answer.reason());
        }
    }
    let mut read = String::new();
    for (method, request) in [("GetAttendance", attendance), ("GetPlacement", placement)] {
        let answer = stage.call("la-a", method, &request).await;
        read += &String::from_utf8_lossy(&answer.message);
    }
    assert_eq!(canaries_in(&read).len(), CANARY_BY_FIELD.len() + 2, "{:?}", canaries_in(&read));
}

/// Sends tokens with a canary in name and subject: valid ones in exchanges that are done and refused, by a stream, and
/// faulty ones. No answer but the list of practitioners repeats them.
async fn send_tokens(dir: &Path) {
    let issuer = tokens::TestIssuer::load(dir, "provider-a");
    let good = issuer.token(dir, "provider-a", |_| {});
    let (header, claims) = (issuer.header(), tokens::claims(dir, "provider-a"));
    let with = |name: &str, value: serde_json::Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        issuer.sign(&header, &claims)
    };
    let faulty = [
        with("exp", "soon".into()),
        with("role", format!("role of {}", tokens::NAME).into()),
        with("purpose", format!("purpose of {}", tokens::SUBJECT).into()),
        with("name", format!("{}\u{202e}", tokens::NAME).into()),
        with("x", tokens::NAME.repeat(1_000).into()),
        good.replace('.', ".."),
        format!("{} {}", tokens::NAME, tokens::SUBJECT),
    ];
    let wire = Wire::connect(dir, "provider-a").await;
    for (at, token) in [&good].into_iter().chain(&faulty).enumerate() {
        for (path, message) in [
            (tokens::GET_ORGANISATION, tokens::own_registration(dir, "provider-a")),
            ("/apgateway.v1.PlacementService/GetPlacement", Vec::new()),
            ("/apgateway.v1.DeliveryService/WatchDeliveries", Vec::new()),
        ] {
            let header = format!("Bearer {token}");
            let sent = wire.send(path, &[("authorization", &header)], frame(&message)).await;
            let answer = sent.unwrap();
            assert_eq!(answer.reason() == "TOKEN_INVALID", at > 0, "{path} {at}");
            let shown = format!("{:?} {}", answer.headers, String::from_utf8_lossy(&answer.message));
            assert_eq!(canaries_in(&shown), [""; 0], "{path} {at}");
        }
    }
    let listed = wire.call("/apgateway.v1.RegisterService/ListPractitioners", &[]).await;
    assert_eq!(canaries_in(&String::from_utf8_lossy(&listed.message)), [tokens::NAME, tokens::SUBJECT]);
}

/// Returns whether a message has a field that takes a canary, in itself or in a message inside it.
fn takes_personal_text(message: &MessageDescriptor, seen: &mut HashSet<String>) -> bool {
    seen.insert(message.full_name().to_owned())
        && message.fields().any(|field| match field.kind() {
            Kind::String => proto::is_personal(&field) && canary_for(field.name()).is_some(),
            Kind::Message(inner) => takes_personal_text(&inner, seen),
            _ => false,
        })
}

/// Returns the request with a fault in each personal text: a forbidden character, or too long a text.
fn faulty_requests(request: &DynamicMessage) -> Vec<DynamicMessage> {
    let mut all = Vec::new();
    for bad in ["\u{202e}", &" kowari".repeat(2_000)] {
        let mut spoilt = request.clone();
        if add_fault(&mut spoilt, bad) {
            all.push(spoilt);
        }
    }
    all
}

fn add_fault(message: &mut DynamicMessage, bad: &str) -> bool {
    let mut any = false;
    for field in message.descriptor().fields() {
        if !message.has_field(&field) {
            continue;
        }
        let personal = proto::is_personal(&field);
        any |= match message.get_field_mut(&field) {
            Value::String(text) if personal => {
                text.push_str(bad);
                true
            }
            Value::Message(inner) => add_fault(inner, bad),
            Value::List(list) => {
                let each = list.iter_mut().filter_map(Value::as_message_mut);
                // `count` visits all elements; `any` would stop at the first.
                each.filter_map(|inner| add_fault(inner, bad).then_some(())).count() > 0
            }
            _ => false,
        };
    }
    any
}

/// Makes the database refuse a mark; its error message must not repeat the mark.
async fn provoke_an_error(dir: &Path, location: &DatabaseLocation) {
    let database = Database::open(location).await.unwrap();
    let sql = match &database {
        Database::Sqlite { .. } => {
            "CREATE TRIGGER refused BEFORE INSERT ON marks BEGIN SELECT RAISE(ABORT, 'refused'); END"
        }
        Database::Postgres { .. } => {
            "ALTER TABLE marks ADD CONSTRAINT refused CHECK (date < '1900') NOT VALID"
        }
    };
    database.writer().await.unwrap().command(sql).await.unwrap();
    database.close().await;
    let riverside = profile::connect(&sandbox::profile_path(dir, "provider-a")).await.unwrap();
    let placed = sandbox::world::load(dir).unwrap().placements.remove(0);
    let noted = Mark { comment: CANARY_TEXT.to_owned(), ..mark(&placed.placement_id, "2026-11-02", "I") };
    let status = refusal_status(submit(&riverside, &submission(vec![noted])).await);
    assert_eq!(reason(&status), "FAILED");
}

/// Checks the metrics, terminates the process and returns its log.
fn stop_and_read_log(process: Process, dir: &Path, log: &Path) -> String {
    let metrics = management::metrics(dir);
    assert!(metrics.contains("SubmitAttendance"), "{metrics}");
    assert_eq!(canaries_in(&metrics), [""; 0]);
    assert!(process.terminate().success());
    let log = String::from_utf8_lossy(&std::fs::read(log).unwrap()).into_owned();
    for talker in ["\"h2::", "\"rustls", "\"sqlx::query", "the database refused", "\"exchange.id\":"] {
        assert!(log.contains(talker), "the log has no message of {talker}");
    }
    log
}

#[tokio::test(flavor = "multi_thread")]
async fn no_canary_is_in_a_log_or_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, log) = (folder.path().join("world"), folder.path().join("log"));
    let process = serve_with_trace_log(&dir, None, &log);
    send_everything(&dir).await;
    send_tokens(&dir).await;
    provoke_an_error(&dir, &DatabaseLocation::Sqlite(dir.join("gateway.sqlite"))).await;
    let log = stop_and_read_log(process, &dir, &log);
    assert_eq!(canaries_in(&log), [""; 0]);
    let mut bytes = String::new();
    for file in ["gateway.sqlite", "gateway.sqlite-wal", "anchor"] {
        bytes += &String::from_utf8_lossy(&std::fs::read(dir.join(file)).unwrap_or_default());
    }
    assert!(bytes.contains("provider/riverside"), "the search finds text that is present");
    assert_eq!(canaries_in(&bytes), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_canary_is_in_a_log_or_in_postgresql_s_own() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, log) = (folder.path().join("world"), folder.path().join("log"));
    let postgres = Postgres::with("-c log_statement=all -c log_error_verbosity=verbose");
    let process = serve_with_trace_log(&dir, Some(&postgres.url_file), &log);
    send_everything(&dir).await;
    send_tokens(&dir).await;
    let url = std::fs::read_to_string(&postgres.url_file).unwrap();
    provoke_an_error(&dir, &DatabaseLocation::Postgres(url)).await;
    let log = stop_and_read_log(process, &dir, &log);
    assert_eq!(canaries_in(&log), [""; 0]);
    let server_log = postgres.log();
    assert!(server_log.contains("INSERT INTO marks") && server_log.contains("violates check constraint"));
    assert_eq!(canaries_in(&server_log), [""; 0]);
    let dump = postgres.dump();
    assert!(dump.contains("provider/riverside") && dump.contains("COPY public.children"));
    assert_eq!(canaries_in(&dump), [""; 0]);
}

#[test]
fn every_form_of_a_canary_is_found() {
    for text in [
        "{\"a\":\"Quokkamarsh\"}",
        "\\x00ab51756f6b6b616d6172736800",
        "[81, 117, 111, 107, 107, 97, 109, 97, 114, 115, 104]",
        &URL_SAFE_NO_PAD.encode("{\"name\":\"Quokkamarsh\"}"),
        &URL_SAFE_NO_PAD.encode("{\"name\": \"Quokkamarsh\"}"),
        &URL_SAFE_NO_PAD.encode("{\"names\": \"Quokkamarsh\"}"),
    ] {
        assert_eq!(canaries_in(text), ["Quokkamarsh"]);
    }
}

#[test]
fn a_panic_logs_its_location_and_not_its_text() {
    let mut itself = Command::new(std::env::current_exe().unwrap());
    itself
        .args(["--exact", "canaries::panics_when_told_to", "--nocapture"])
        .env(PANIC_TEXT_VARIABLE, CANARY_TEXT);
    let output = itself.output().unwrap();
    let printed = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(printed.contains("a task panicked") && printed.contains("tests/it/canaries.rs"), "{printed}");
    assert_eq!(canaries_in(&printed), [""; 0]);
}

/// Panics in the child process that the test above starts.
#[test]
fn panics_when_told_to() {
    if let Ok(text) = std::env::var(PANIC_TEXT_VARIABLE) {
        cli::init_logging();
        assert!(std::thread::spawn(move || panic!("{text}")).join().is_err());
    }
}
