//! Third-party clients and verifiers over mTLS: grpcio for Python, buf, and hashlib with openssl.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::support::{World, gateway, installed_tool, run};

pub fn proto_folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/proto"))
}

pub fn clients_folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients"))
}

#[tokio::test(flavor = "multi_thread")]
async fn python_submits_and_watches() {
    let world = World::sqlite().await;
    let mut python = Command::new(installed_tool("python/bin/python"));
    let printed = run(python
        .arg(clients_folder().join("submit_and_watch.py"))
        .arg(proto_folder())
        .arg(world.dir.path()));
    assert_eq!(printed, "ok\n");
    world.stop().await;
}

/// Checks the quickstart of the README, run as an integrator would run it.
#[tokio::test(flavor = "multi_thread")]
async fn the_quickstart_in_python_plays_a_day() {
    let world = World::sqlite().await;
    let script = clients_folder().join("quickstart.py");
    let lines = std::fs::read_to_string(&script).unwrap().lines().count();
    assert!(lines < 120, "a quickstart of {lines} lines");
    let mut python = Command::new(installed_tool("python/bin/python"));
    let printed = run(python.arg(script).arg(proto_folder()).arg(world.dir.path()));
    let printed: Vec<&str> = printed.lines().collect();
    assert_eq!(
        printed[1..4],
        [
            "attendance: 1 stored",
            "refused: INVALID_ARGUMENT fields of the request are at fault; each is named",
            "progress: revision 1"
        ]
    );
    // The exchanges that the auditor reads about the new placement, newest first.
    let methods: Vec<&str> = printed[4..].iter().map(|line| line.split(' ').nth(2).unwrap()).collect();
    let provider =
        ["SubmitProgress", "SubmitAttendance", "StartPlacement", "AcknowledgeDelivery", "ListDeliveries"];
    let pushed = ["SharePassport", "PutPassport", "PutPlan", "DecidePlacement"];
    assert_eq!(methods, [&provider[..], &pushed, &["RespondToReferral", "CreateReferral"]].concat());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quickstart_in_java_compiles_and_submits() {
    let world = World::sqlite().await;
    let out = tempfile::TempDir::new().unwrap();
    let mut java = Command::new(clients_folder().join("quickstart-java"));
    let printed = run(java.arg(proto_folder()).arg(world.dir.path()).arg(out.path()));
    assert!(printed.contains("stored: 1, the same answer again: true"), "{printed}");
    assert!(printed.ends_with("refused: INVALID_ARGUMENT\n"), "{printed}");
    world.stop().await;
}

/// Makes a call with buf curl as one of the sandbox's callers.
fn buf_curl(world: &World, who: &str, method: &str, request: &serde_json::Value) -> serde_json::Value {
    let dir = world.dir.path();
    let mut buf = Command::new(installed_tool("node_modules/.bin/buf"));
    buf.args(["curl", "--protocol", "grpc", "--schema"])
        .arg(proto_folder())
        .arg("--cacert")
        .arg(dir.join("ca.pem"));
    buf.arg("--cert").arg(dir.join(format!("certs/{who}.pem")));
    buf.arg("--key").arg(dir.join(format!("certs/{who}.key")));
    buf.args(["-d", &request.to_string(), &format!("https://{}/apgateway.v1.{method}", world.address())]);
    serde_json::from_str(&run(&mut buf)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn buf_calls_as_commissioner_provider_and_auditor() {
    let world = World::sqlite().await;
    let listed = buf_curl(&world, "la-a", "PlacementService/ListPlacements", &json!({}));
    let placements = listed["placements"].as_array().unwrap();
    let (with_a, with_c) = (world.placements("la-a", "provider-a"), world.placements("la-a", "provider-c"));
    assert!(placements.len() >= with_a.len() + with_c.len() && !with_a.is_empty());
    let mark = json!({"placement_id": with_a[0], "date": "2026-11-10", "session": "SESSION_AM", "code": "/"});
    let request = json!({"request_id": super::exchange_semantics::new_id(), "marks": [mark]});
    assert_eq!(buf_curl(&world, "provider-a", "ReturnsService/SubmitAttendance", &request)["stored"], 1);
    let query = json!({"placement_id": with_a[0], "page_size": 1});
    let read = buf_curl(&world, "auditor", "AuditService/ListExchanges", &query);
    assert_eq!(read["exchanges"][0]["method"], "/apgateway.v1.ReturnsService/SubmitAttendance");
    world.stop().await;
}

/// Runs `check_export.py` on a folder; returns its exit code and what it printed.
fn check_export(folder: &Path, log_key: &str, checkpoints: &[&Path]) -> (Option<i32>, String) {
    let mut python = Command::new(installed_tool("python/bin/python"));
    python.arg(clients_folder().join("check_export.py")).arg(folder).args(["--log-key", log_key]);
    let output = python.arg("--earlier").args(checkpoints).output().unwrap();
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_checked_without_us_and_no_bit_can_be_flipped() {
    let world = World::sqlite().await;
    let (auditor, earlier) =
        (world.dir.path().join("profiles/auditor.toml"), world.dir.path().join("earlier"));
    let newest = run(gateway().args(["audit", "head", "--profile"]).arg(&auditor));
    std::fs::write(&earlier, newest).unwrap();
    run(gateway().args(["audit", "list", "--profile"]).arg(auditor));
    let dir = world.stop().await;
    let (out, config) = (dir.path().join("tiles"), dir.path().join("gateway.toml"));
    run(gateway().args(["audit", "export", "--config"]).arg(config).arg("--out").arg(&out));
    let log_key = std::fs::read_to_string(dir.path().join("log-key")).unwrap();
    let check = || check_export(&out, &log_key, &[]);
    let (code, printed) = check();
    assert!(code == Some(0) && printed.starts_with("verified: the "), "{printed}");
    let refused = |what: &Path| {
        let (code, printed) = check();
        assert!(code == Some(1) && printed.lines().count() == 1, "{}: {printed}", what.display());
    };
    let mut files = Vec::new();
    for folder in ["tile/0", "tile/0/000.p", "tile/1/000.p", "tile/entries", "tile/entries/000.p", ""] {
        let inside =
            std::fs::read_dir(out.join(folder)).into_iter().flatten().map(|entry| entry.unwrap().path());
        files.extend(inside.filter(|path| path.is_file()));
    }
    assert!(files.len() > 2, "{files:?}");
    for file in &files {
        let whole = std::fs::read(file).unwrap();
        for place in [0, whole.len() / 2, whole.len() - 1] {
            let mut flipped = whole.clone();
            flipped[place] ^= 1;
            std::fs::write(file, flipped).unwrap();
            refused(file);
        }
        std::fs::write(file, [&whole[..], &[0]].concat()).unwrap();
        refused(file);
        std::fs::remove_file(file).unwrap();
        refused(file);
        std::fs::write(file, whole).unwrap();
    }
    let more = out.join("tile/notes");
    std::fs::write(&more, "another file").unwrap();
    refused(&more);
    std::fs::remove_file(more).unwrap();
    assert_eq!(check(), (code, printed));

    assert_eq!(check_export(&out, &log_key, &[&earlier]).0, Some(0));
    assert_eq!(check_export(&out, &log_key, &[&out.join("checkpoint"), &earlier]).0, Some(0));
    let (code, printed) = check_export(&out, &log_key, &[&dir.path().join("log-key")]);
    assert!(code == Some(1) && printed.lines().count() == 1, "{printed}");
}
