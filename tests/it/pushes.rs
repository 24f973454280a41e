//! `push`: a file takes effect once, however often it is sent.

use std::path::{Path, PathBuf};
use std::process::Output;

use ap_gateway::cli::sandbox;
use serde_json::{Value, json};

use super::limits::output;
use super::support::{World, gateway};

fn push(world: &World, file: &Path, more: &[&str]) -> Output {
    let profile = sandbox::profile(world.dir.path(), "la-a");
    output(gateway().args(["push", "referral", "--json", "--profile"]).arg(profile).arg(file).args(more))
}

/// The placement that a push made, what it warned of, and what it said beside.
fn made(pushed: &Output) -> (String, Vec<Value>, String) {
    let said = String::from_utf8(pushed.stderr.clone()).unwrap();
    assert_eq!(pushed.status.code(), Some(0), "{said}");
    let reply: Value = serde_json::from_slice(&pushed.stdout).unwrap();
    let warnings = reply.get("warnings").and_then(Value::as_array).cloned().unwrap_or_default();
    (reply["placement_id"].as_str().unwrap().to_owned(), warnings, said)
}

fn referral(world: &World) -> (PathBuf, Value) {
    let kept = sandbox::world::load(world.dir.path()).unwrap();
    let agreed = kept.agreements.iter().find(|agreed| agreed.commissioner == "la-a").unwrap();
    let referral = json!({
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
    });
    let file = world.dir.path().join("referral.json");
    std::fs::write(&file, referral.to_string()).unwrap();
    (file, referral)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_pushed_twice_makes_one_placement() {
    let world = World::sqlite().await;
    let before = world_s_placements(&world);
    let (file, mut referral) = referral(&world);
    let (first, warnings, said) = made(&push(&world, &file, &[]));
    assert_eq!((warnings.len(), said.as_str()), (0, ""));
    let (again, warnings, said) = made(&push(&world, &file, &[]));
    assert_eq!((&again, warnings.len()), (&first, 0));
    assert!(said.contains("was sent before") && said.contains("--again"), "{said}");
    // Written otherwise it asks the same.
    std::fs::write(&file, serde_json::to_string_pretty(&referral).unwrap()).unwrap();
    assert_eq!(made(&push(&world, &file, &[])).0, first);
    // An edit is a new request; of the same child to the same provider it is worth a warning.
    referral["needs"] = "quiet afternoons".into();
    std::fs::write(&file, referral.to_string()).unwrap();
    let (second, warnings, said) = made(&push(&world, &file, &[]));
    assert!(second != first && said.is_empty(), "{said}");
    assert_eq!(warnings, ["SECOND_OPEN_REFERRAL"]);
    let (third, ..) = made(&push(&world, &file, &["--again"]));
    assert!(third != second && third != first);
    assert_eq!(made(&push(&world, &file, &[])).0, third);
    // A name alone is a file of the present folder.
    let profile = sandbox::profile(world.dir.path(), "la-a");
    let mut verb = gateway();
    verb.current_dir(world.dir.path()).args(["push", "referral", "--json", "--profile"]).arg(profile);
    assert_eq!(made(&output(verb.arg("referral.json"))).0, third);
    // Beside a pipe nothing can be kept.
    let mut piped = std::process::Command::new("sh");
    piped.args(["-c", r#"cat "$1" | "$0" push referral /dev/stdin --profile "$2""#]);
    piped.arg(gateway().get_program()).arg(&file).arg(sandbox::profile(world.dir.path(), "la-a"));
    let refused = output(&mut piped);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(64), "{said}");
    assert!(said.contains("request_id") && !Path::new("/dev/stdin.request-ids").exists(), "{said}");
    assert_eq!(world_s_placements(&world), before + 3);
    world.stop().await;
}

/// Placements that local authority A reads.
fn world_s_placements(world: &World) -> usize {
    let profile = sandbox::profile(world.dir.path(), "la-a");
    let listed = output(gateway().args(["placements", "list", "--json", "--profile"]).arg(profile));
    assert!(listed.status.success());
    String::from_utf8(listed.stdout).unwrap().lines().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_cannot_be_kept_or_read_stop_a_push_before_it_is_sent() {
    let world = World::sqlite().await;
    let before = world_s_placements(&world);
    let (file, mut referral) = referral(&world);
    let ids = world.dir.path().join("referral.json.request-ids");
    std::fs::write(&ids, "damaged").unwrap();
    let refused = push(&world, &file, &[]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(64), 0), "{said}");
    assert!(said.contains("referral.json.request-ids"), "{said}");
    std::fs::remove_file(&ids).unwrap();
    // Its own id is the caller's to keep.
    referral["request_id"] = "6f1c2a34-0000-4000-8000-00000000000a".into();
    std::fs::write(&file, referral.to_string()).unwrap();
    assert_eq!(push(&world, &file, &["--again"]).status.code(), Some(2));
    assert_eq!(world_s_placements(&world), before);
    let (first, ..) = made(&push(&world, &file, &[]));
    assert_eq!(made(&push(&world, &file, &[])).0, first);
    assert!(!ids.exists());
    let twice = referral.to_string().replacen('{', r#"{"needs": "Canary","#, 1);
    std::fs::write(&file, twice).unwrap();
    let refused = push(&world, &file, &[]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(64), "{said}");
    assert!(said.contains("needs: given twice") && !said.contains("Canary"), "{said}");
    assert_eq!(world_s_placements(&world), before + 1);
    world.stop().await;
}
