//! What names a child is nowhere but in answers to those who may read it: not in any line of a log, not in a
//! panic, not in PostgreSQL's own log, not in the database's bytes.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use ap_gateway::cli::{self, profile, sandbox};
use ap_gateway::client::reason;
use ap_gateway::clock::Randomness;
use ap_gateway::proto;
use ap_gateway::proto::v1::Mark;
use ap_gateway::store::{Database, Location};
use prost_reflect::{DynamicMessage, ReflectMessage, Value};

use super::process::Process;
use super::rows::ROWS;
use super::stage::{Stage, row};
use super::story::{mark, refused, submission, submit};
use super::support::{Postgres, gateway};

/// What is written into every personal field, by the field's name: invented, and found nowhere else.
const CANARIES: [(&str, &str); 5] = [
    ("surname", "Quokkamarsh"),
    ("forename", "Numbatine"),
    ("date_of_birth", "2011-02-27"),
    ("upn", "H873100124999"),
    ("name", "Bilby Wallabyson"),
];
/// What every other personal text holds.
const NOTE: &str = "kowari dunnart";
/// In the environment of a process of its own: where it is to panic with a canary.
const PANIC: &str = "AP_GATEWAY_TEST_PANIC";

fn canary(field: &str) -> Option<String> {
    let known = CANARIES.iter().find(|(name, _)| field == *name || field.ends_with(&format!("_{name}")));
    // A code or a number is no text.
    (!["sex", "type", "provision", "telephone", "email"].contains(&field))
        .then(|| known.map_or(NOTE, |(_, canary)| canary).to_owned())
}

/// Which canaries are in there: as text, as hexadecimal digits, as a list of numbers.
fn found(text: &str) -> Vec<&'static str> {
    let canaries = CANARIES.iter().map(|(_, canary)| *canary).chain(NOTE.split(' '));
    let all = canaries.filter(|canary| {
        let bytes = canary.as_bytes();
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let numbers: Vec<String> = bytes.iter().map(u8::to_string).collect();
        text.contains(canary) || text.contains(&hex.concat()) || text.contains(&numbers.join(", "))
    });
    all.collect()
}

/// A sandbox served by the binary itself, its log at its most talkative in a file.
fn serve(dir: &Path, url_file: Option<&Path>, log: &Path) -> Process {
    let mut command = gateway();
    command.env("AP_GATEWAY_LOG", "trace").stderr(File::create(log).unwrap());
    let further = url_file.map(|file| ["--postgres-url-file".as_ref(), file.as_os_str()]);
    Process::start(command, dir, further.as_ref().map_or(&[], |further| further))
}

/// Sends canaries with every method that takes any, well and badly, and has them read by one who may.
async fn send_everything(dir: &Path) {
    let mut stage = Stage::with(dir, Randomness::system(), canary).await;
    let attendance = stage.request(row("GetAttendance").unwrap(), false);
    let placement = stage.request(row("GetPlacement").unwrap(), false);
    let mut carried = 0;
    for row in ROWS.iter().filter(|row| row.method != "WatchDeliveries") {
        let request = stage.request(row, false);
        carried += usize::from(!found(&request.to_string()).is_empty());
        let answer = stage.call(row.caller, row.method, &request).await;
        assert_eq!(answer.told(), "OK", "{}", row.method);
        for spoilt in spoilt(&request) {
            let answer = stage.call(row.caller, row.method, &spoilt).await;
            assert_eq!(found(&answer.told()), [""; 0], "{}: {}", row.method, answer.told());
        }
    }
    assert!(carried >= 7, "{carried} methods carried canaries");
    let mut read = String::new();
    for (method, request) in [("GetAttendance", attendance), ("GetPlacement", placement)] {
        let answer = stage.call("la-a", method, &request).await;
        read += &String::from_utf8_lossy(&answer.message);
    }
    assert_eq!(found(&read).len(), CANARIES.len() + 2, "{:?}", found(&read));
}

/// The request with each of its personal texts made a fault: too long, or with a letter that none may have.
fn spoilt(request: &DynamicMessage) -> Vec<DynamicMessage> {
    let mut all = Vec::new();
    for bad in ["\u{202e}", &" kowari".repeat(2_000)] {
        let mut spoilt = request.clone();
        if spoil(&mut spoilt, bad) {
            all.push(spoilt);
        }
    }
    all
}

fn spoil(message: &mut DynamicMessage, bad: &str) -> bool {
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
            Value::Message(inner) => spoil(inner, bad),
            Value::List(list) => {
                let each = list.iter_mut().filter_map(Value::as_message_mut);
                // All of them, not only the first.
                each.filter_map(|inner| spoil(inner, bad).then_some(())).count() > 0
            }
            _ => false,
        };
    }
    any
}

/// The database refuses a mark: whatever it says of that, it does not repeat the mark.
async fn provoke_an_error(dir: &Path, location: &Location) {
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
    let riverside = profile::connect(&sandbox::profile(dir, "provider-a")).await.unwrap();
    let placed = sandbox::world::load(dir).unwrap().placements.remove(0);
    let noted = Mark { comment: NOTE.to_owned(), ..mark(&placed.placement_id, "2026-11-02", "I") };
    let status = refused(submit(&riverside, &submission(vec![noted])).await);
    assert_eq!(reason(&status), "FAILED");
}

/// What the process wrote to its log until it was told to end, and did.
fn stop(process: Process, log: &Path) -> String {
    assert!(process.terminated().success());
    let log = String::from_utf8_lossy(&std::fs::read(log).unwrap()).into_owned();
    for talker in ["\"h2::", "\"rustls", "\"sqlx::query", "the database refused"] {
        assert!(log.contains(talker), "the log does not hold what {talker} has to say");
    }
    log
}

#[tokio::test(flavor = "multi_thread")]
async fn no_canary_is_in_a_log_or_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, log) = (folder.path().join("world"), folder.path().join("log"));
    let process = serve(&dir, None, &log);
    send_everything(&dir).await;
    provoke_an_error(&dir, &Location::Sqlite(dir.join("gateway.sqlite"))).await;
    let log = stop(process, &log);
    assert_eq!(found(&log), [""; 0]);
    let mut bytes = String::new();
    for file in ["gateway.sqlite", "gateway.sqlite-wal", "anchor"] {
        bytes += &String::from_utf8_lossy(&std::fs::read(dir.join(file)).unwrap_or_default());
    }
    assert!(bytes.contains("provider/riverside"), "the search finds what is there");
    assert_eq!(found(&bytes), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_canary_is_in_a_log_or_in_postgresql_s_own() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, log) = (folder.path().join("world"), folder.path().join("log"));
    let postgres = Postgres::with("-c log_statement=all -c log_error_verbosity=verbose");
    let process = serve(&dir, Some(&postgres.url_file), &log);
    send_everything(&dir).await;
    let url = std::fs::read_to_string(&postgres.url_file).unwrap();
    provoke_an_error(&dir, &Location::Postgres(url)).await;
    let log = stop(process, &log);
    assert_eq!(found(&log), [""; 0]);
    let own = postgres.log();
    assert!(own.contains("INSERT INTO marks") && own.contains("violates check constraint"));
    assert_eq!(found(&own), [""; 0]);
    let dump = postgres.dump();
    assert!(dump.contains("provider/riverside") && dump.contains("COPY public.children"));
    assert_eq!(found(&dump), [""; 0]);
}

#[test]
fn every_form_of_a_canary_is_found() {
    for text in [
        "{\"a\":\"Quokkamarsh\"}",
        "\\x00ab51756f6b6b616d6172736800",
        "[81, 117, 111, 107, 107, 97, 109, 97, 114, 115, 104]",
    ] {
        assert_eq!(found(text), ["Quokkamarsh"]);
    }
}

#[test]
fn a_panic_tells_its_place_and_not_its_text() {
    let mut itself = Command::new(std::env::current_exe().unwrap());
    itself.args(["--exact", "canaries::panics_when_told_to", "--nocapture"]).env(PANIC, NOTE);
    let output = itself.output().unwrap();
    let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(told.contains("a task panicked") && told.contains("tests/it/canaries.rs"), "{told}");
    assert_eq!(found(&told), [""; 0]);
}

/// For the process that the test above starts.
#[test]
fn panics_when_told_to() {
    if let Ok(text) = std::env::var(PANIC) {
        cli::logging();
        assert!(std::thread::spawn(move || panic!("{text}")).join().is_err());
    }
}
