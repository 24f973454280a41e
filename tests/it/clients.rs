//! Third-party clients and verifiers over mTLS: grpcio for Python, buf, and hashlib with openssl.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::support::{World, gateway, installed_tool, run};

fn proto_folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/proto"))
}

fn clients_folder() -> &'static Path {
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

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_is_checked_without_us_and_no_bit_can_be_flipped() {
    let world = World::sqlite().await;
    let auditor = world.dir.path().join("profiles/auditor.toml");
    let listed = run(gateway().args(["audit", "list", "--json", "--profile"]).arg(&auditor));
    let first: serde_json::Value = serde_json::from_str(listed.lines().next().unwrap()).unwrap();
    let bundle = world.dir.path().join("bundle.json");
    let exchange = first["exchange_id"].as_str().unwrap();
    run(gateway().args(["audit", "prove", exchange, "--profile"]).arg(&auditor).arg("--out").arg(&bundle));
    let check = |flip: Option<&str>| {
        let mut python = Command::new(installed_tool("python/bin/python"));
        python.arg(clients_folder().join("check_bundle.py")).arg(&bundle);
        if let Some(flip) = flip {
            python.args(["--flip", flip]);
        }
        python.status().unwrap().code()
    };
    assert_eq!(check(None), Some(0));
    for flip in ["entry", "proof", "root", "signature", "origin"] {
        assert_eq!(check(Some(flip)), Some(1), "{flip}");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_checked_without_us_and_no_bit_can_be_flipped() {
    let dir = World::sqlite().await.stop().await;
    let (out, config) = (dir.path().join("tiles"), dir.path().join("gateway.toml"));
    run(gateway().args(["audit", "export", "--config"]).arg(config).arg("--out").arg(&out));
    let log_key = std::fs::read_to_string(dir.path().join("log-key")).unwrap();
    let check = || {
        let mut python = Command::new(installed_tool("python/bin/python"));
        python
            .arg(clients_folder().join("check_export.py"))
            .arg(&out)
            .arg(log_key.trim())
            .status()
            .unwrap()
            .code()
    };
    assert_eq!(check(), Some(0));
    let mut files: Vec<_> = ["tile/0/000.p", "tile/entries/000.p"]
        .iter()
        .map(|folder| std::fs::read_dir(out.join(folder)).unwrap().next().unwrap().unwrap().path())
        .collect();
    files.push(out.join("checkpoint"));
    for file in files {
        let whole = std::fs::read(&file).unwrap();
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        if file.ends_with("checkpoint") {
            flipped[2] ^= 1;
        }
        std::fs::write(&file, flipped).unwrap();
        assert_ne!(check(), Some(0), "{}", file.display());
        std::fs::write(&file, whole).unwrap();
    }
    assert_eq!(check(), Some(0));
}
