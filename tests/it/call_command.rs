//! `call`: any method, called with files of JSON as people call it, and the filled requests that it prints.

use std::io::Write;
use std::process::{Output, Stdio};

use ap_gateway::cli::call::examples::EXAMPLE_REQUESTS;
use serde_json::{Value, json};

use super::person_commands::Shell;
use super::support::World;

/// Methods whose example cannot hold a certificate that a gateway accepts.
const WITH_A_CERTIFICATE: [&str; 2] = ["RegisterOrganisation", "RegisterCertificate"];
/// Methods that name the row whose child is not one of the caller's.
const BY_ROW: [&str; 2] = ["SubmitAttendance", "ConfirmMarks"];

/// Runs a command with a text as standard input.
fn run_with_input(shell: &Shell<'_>, profile: &str, words: &[&str], input: &str) -> Output {
    let mut command = shell.command(profile, words);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn json_lines(bytes: &[u8]) -> Vec<Value> {
    text(bytes).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Sends the printed example of every method. What it names does not exist, but no field of it is at fault.
#[tokio::test(flavor = "multi_thread")]
async fn no_field_of_an_example_is_at_fault() {
    let world = World::sqlite().await;
    let shell = Shell { dir: world.dir.path() };
    for row in EXAMPLE_REQUESTS {
        let method = row.method;
        let example = shell.succeed(row.caller, &["call", method, "--example"]);
        let sent =
            run_with_input(&shell, row.caller, &["call", method, "-", "--json", "--take", "1"], &example);
        let message = text(&sent.stderr);
        match sent.status.code() {
            Some(0) => assert!(!json_lines(&sent.stdout).is_empty(), "{method} answered nothing"),
            Some(1) if WITH_A_CERTIFICATE.contains(&method) => {
                assert!(message.contains("certificate"), "{method}: {message}");
            }
            // Which child a row names is decided row by row.
            Some(1) if BY_ROW.contains(&method) => {
                let fields = message.lines().filter(|line| line.starts_with("  ")).collect::<Vec<_>>();
                assert_eq!((fields.len(), fields[0].contains("[0].placement_id: ")), (1, true), "{message}");
            }
            Some(1) => assert!(!message.contains("INVALID_REQUEST"), "{method}: {message}"),
            other => panic!("{method} ended with {other:?}: {message}"),
        }
    }
    world.stop().await;
}

/// Calls a method once for each message of several files, and names each field at fault by its file and message.
#[tokio::test(flavor = "multi_thread")]
async fn each_message_of_each_file_is_a_call() {
    let world = World::sqlite().await;
    let shell = Shell { dir: world.dir.path() };
    let write = |name: &str, content: &str| std::fs::write(shell.dir.join(name), content).unwrap();
    let request = |placement: &str| json!({ "placement_id": placement }).to_string();
    let placements = world.placements("la-a", "provider-a");
    write("one.json", &format!("{}\n{}", request(&placements[0]), request(&placements[1])));
    write("two.json", &request(&placements[2]));
    let read = shell.json("provider-a", &["call", "GetPlacement", "one.json", "two.json"]);
    let ids: Vec<_> = read.iter().map(|reply| reply["placement"]["placement_id"].as_str().unwrap()).collect();
    assert_eq!(ids, placements[..3]);
    // Nothing is sent if one file is at fault.
    write("bad.json", r#"{"placement_id": 7} {"placement": "x", "placement_id": []}"#);
    let message = shell.fail("provider-a", &["call", "GetPlacement", "one.json", "bad.json"], 64);
    for fault in ["bad.json: message 1: placement_id", "message 2: placement:", "message 2: placement_id"] {
        assert!(message.contains(fault), "{message}");
    }
    write("unknown.json", &format!("{} {}", request(&placements[0]), request("Canary")));
    let refused =
        run_with_input(&shell, "provider-a", &["call", "GetPlacement", "unknown.json", "--json"], "");
    assert_eq!((refused.status.code(), json_lines(&refused.stdout).len()), (Some(1), 1));
    let message = text(&refused.stderr);
    assert!(message.contains("unknown.json: message 2: ") && message.contains("placement_id"), "{message}");
    assert!(shell.fail("provider-a", &["call", "GetPlacements", "one.json"], 2).contains("GetPlacements"));
    assert!(shell.succeed("provider-a", &["call", "--list"]).contains("\nGetPlacement "));
    // Hashes have no receipt.
    let heads = run_with_input(&shell, "auditor", &["call", "GetCheckpoint", "-", "--json"], "{}");
    assert!(text(&heads.stdout).contains("checkpoint"), "{}", text(&heads.stderr));
    world.stop().await;
}

/// Sends a return in parts, and follows the mailbox that it was delivered to, both as lines of JSON.
#[tokio::test(flavor = "multi_thread")]
async fn streams_are_lines_of_json() {
    let world = World::sqlite().await;
    let shell = Shell { dir: world.dir.path() };
    let placement = world.placements("la-a", "provider-a").remove(0);
    let mark = |date: &str, session: &str| json!({ "placement_id": placement, "date": date, "session": session, "seen": "SEEN_MARK_PRESENT" });
    let parts = [
        json!({}),
        json!({ "part": 1, "marks": [mark("2026-11-19", "SESSION_AM")] }),
        json!({ "marks": [mark("2026-11-19", "SESSION_PM")] }),
        json!({ "commit": {} }),
        json!({ "part": 2, "marks": [mark("2026-11-20", "SESSION_AM")] }),
        json!({ "commit": { "last": true } }),
    ];
    let lines = parts.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
    let stream =
        |input: &str| run_with_input(&shell, "provider-a", &["call", "StreamAttendance", "-"], input);
    let sent = stream(&lines);
    let replies = json_lines(&sent.stdout);
    assert_eq!(sent.status.code(), Some(0), "{}", text(&sent.stderr));
    let stored: Vec<_> = replies.iter().map(|reply| reply["stored"].as_u64().unwrap_or(0)).collect();
    assert_eq!((stored, &replies[2]["complete"]), (vec![0, 2, 1], &json!(true)));
    // A part without its commit is not sent; a part at fault names its field.
    let open = stream(&[parts[0].to_string(), parts[1].to_string()].join("\n"));
    assert_eq!(open.status.code(), Some(64));
    assert!(text(&open.stderr).contains("no commit"), "{}", text(&open.stderr));
    let refused = stream(r#"{} {"part": 1, "marks": [{"date": "soon"}]} {"commit": {}}"#);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("marks[0].date"), "{}", text(&refused.stderr));
    let watched = run_with_input(
        &shell,
        "la-a",
        &["call", "WatchDeliveries", "-", "--take", "2"],
        r#"{"kinds": ["DELIVERY_KIND_ATTENDANCE"]}"#,
    );
    let batch = json_lines(&watched.stdout);
    assert_eq!(watched.status.code(), Some(0), "{}", text(&watched.stderr));
    // The first message answers the opening, and is empty.
    assert_eq!(batch.len(), 2);
    assert!(!batch[1]["deliveries"].as_array().unwrap().is_empty());
    world.stop().await;
}
