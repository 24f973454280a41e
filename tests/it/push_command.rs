//! `push`: a file takes effect once, however often it is pushed.

use std::path::{Path, PathBuf};
use std::process::Output;

use ap_gateway::cli::sandbox;
use serde_json::{Value, json};

use super::limits::output;
use super::support::{World, gateway};

fn run_push(world: &World, file: &Path, more: &[&str]) -> Output {
    let profile = sandbox::profile_path(world.dir.path(), "la-a");
    output(gateway().args(["push", "referral", "--json", "--profile"]).arg(profile).arg(file).args(more))
}

/// Returns the placement that a push created, the warnings, and stderr.
fn pushed_placement(pushed: &Output) -> (String, Vec<Value>, String) {
    let stderr = String::from_utf8(pushed.stderr.clone()).unwrap();
    assert_eq!(pushed.status.code(), Some(0), "{stderr}");
    let reply: Value = serde_json::from_slice(&pushed.stdout).unwrap();
    let warnings = reply.get("warnings").and_then(Value::as_array).cloned().unwrap_or_default();
    (reply["placement_id"].as_str().unwrap().to_owned(), warnings, stderr)
}

/// Returns a referral of an LA to a provider of the sandbox, as JSON.
pub fn referral(world: &World) -> Value {
    let kept = sandbox::world::load(world.dir.path()).unwrap();
    let agreed = kept.agreements.iter().find(|agreed| agreed.commissioner == "la-a").unwrap();
    json!({
        "provider": "provider/riverside",
        "child": {
            "legal_surname": "Ó Murchú", "legal_forename": "Aoife", "date_of_birth": "2012-05-01",
            "sex": "F", "upn": "Z303400126001", "year_group": 9,
        },
        "la_of_residence": "la/330",
        "legal_basis": "LEGAL_BASIS_SECTION_19",
        "reason": "PLACEMENT_REASON_BEHAVIOURAL_SUPPORT",
        "agreement_id": agreed.agreement_id,
        "requested_start": "2026-11-30",
        "sessions_per_week": 10,
        "safety": "none known",
        "needs": "quiet mornings",
        "officer": { "name": "Sam Example", "role": "AP commissioner" },
    })
}

fn write_referral(world: &World) -> (PathBuf, Value) {
    let referral = referral(world);
    let file = world.dir.path().join("referral.json");
    std::fs::write(&file, referral.to_string()).unwrap();
    (file, referral)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_pushed_twice_makes_one_placement() {
    let world = World::sqlite().await;
    let before = count_placements(&world);
    let (file, mut referral) = write_referral(&world);
    let (first, warnings, stderr) = pushed_placement(&run_push(&world, &file, &[]));
    assert_eq!((warnings.len(), stderr.as_str()), (0, ""));
    let (again, warnings, stderr) = pushed_placement(&run_push(&world, &file, &[]));
    assert_eq!((&again, warnings.len()), (&first, 0));
    assert!(stderr.contains("was sent before") && stderr.contains("--again"), "{stderr}");
    // Other formatting is the same request.
    std::fs::write(&file, serde_json::to_string_pretty(&referral).unwrap()).unwrap();
    assert_eq!(pushed_placement(&run_push(&world, &file, &[])).0, first);
    // An edited file is a new request. A second open referral of the child to the provider gives a warning.
    referral["needs"] = "quiet afternoons".into();
    std::fs::write(&file, referral.to_string()).unwrap();
    let (second, warnings, stderr) = pushed_placement(&run_push(&world, &file, &[]));
    assert!(second != first && stderr.is_empty(), "{stderr}");
    assert_eq!(warnings, ["SECOND_OPEN_REFERRAL"]);
    let (third, ..) = pushed_placement(&run_push(&world, &file, &["--again"]));
    assert!(third != second && third != first);
    assert_eq!(pushed_placement(&run_push(&world, &file, &[])).0, third);
    // A bare file name refers to the current folder.
    let profile = sandbox::profile_path(world.dir.path(), "la-a");
    let mut verb = gateway();
    verb.current_dir(world.dir.path()).args(["push", "referral", "--json", "--profile"]).arg(profile);
    assert_eq!(pushed_placement(&output(verb.arg("referral.json"))).0, third);
    // Request ids cannot be stored beside a pipe.
    let mut piped = std::process::Command::new("sh");
    piped.args(["-c", r#"cat "$1" | "$0" push referral /dev/stdin --profile "$2""#]);
    piped.arg(gateway().get_program()).arg(&file).arg(sandbox::profile_path(world.dir.path(), "la-a"));
    let refused = output(&mut piped);
    let stderr = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(64), "{stderr}");
    assert!(stderr.contains("request_id") && !Path::new("/dev/stdin.request-ids").exists(), "{stderr}");
    assert_eq!(count_placements(&world), before + 3);
    world.stop().await;
}

/// Counts the placements that local authority A reads.
fn count_placements(world: &World) -> usize {
    let profile = sandbox::profile_path(world.dir.path(), "la-a");
    let listed = output(gateway().args(["placements", "list", "--json", "--profile"]).arg(profile));
    assert!(listed.status.success());
    String::from_utf8(listed.stdout).unwrap().lines().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_cannot_be_kept_or_read_stop_a_push_before_it_is_sent() {
    let world = World::sqlite().await;
    let before = count_placements(&world);
    let (file, mut referral) = write_referral(&world);
    let ids = world.dir.path().join("referral.json.request-ids");
    std::fs::write(&ids, "damaged").unwrap();
    let refused = run_push(&world, &file, &[]);
    let stderr = String::from_utf8(refused.stderr).unwrap();
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(64), 0), "{stderr}");
    assert!(stderr.contains("referral.json.request-ids"), "{stderr}");
    std::fs::remove_file(&ids).unwrap();
    // If the file has a request id, the caller manages it.
    referral["request_id"] = "6f1c2a34-0000-4000-8000-00000000000a".into();
    std::fs::write(&file, referral.to_string()).unwrap();
    assert_eq!(run_push(&world, &file, &["--again"]).status.code(), Some(2));
    assert_eq!(count_placements(&world), before);
    let (first, ..) = pushed_placement(&run_push(&world, &file, &[]));
    assert_eq!(pushed_placement(&run_push(&world, &file, &[])).0, first);
    assert!(!ids.exists());
    let twice = referral.to_string().replacen('{', r#"{"needs": "Canary","#, 1);
    std::fs::write(&file, twice).unwrap();
    let refused = run_push(&world, &file, &[]);
    let stderr = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(64), "{stderr}");
    assert!(stderr.contains("needs: given twice") && !stderr.contains("Canary"), "{stderr}");
    assert_eq!(count_placements(&world), before + 1);
    world.stop().await;
}
