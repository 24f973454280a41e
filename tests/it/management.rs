//! The management listener: probes, the command `health`, and metrics, of a process that serves.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use ap_gateway::cli::bench::{fleet, load};
use ap_gateway::store::{Database, DatabaseLocation};

use super::postgres::Postgres;
use super::process::Process;
use super::serve_process::{LIST_PLACEMENTS, MAX_POLLS, ServeFolder};
use super::support::{gateway, installed_tool};

/// Name of the socket in a folder.
const SOCKET: &str = "management.sock";

/// Adds a management listener to the configuration in a folder.
pub fn listen(dir: &Path) {
    let file = dir.join("gateway.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(file, format!("{text}\n[management]\nlisten = \"unix:{SOCKET}\"\n")).unwrap();
}

/// Asks the listener of a node, and returns status and body.
pub fn ask(dir: &Path, path: &str) -> (u16, String) {
    let mut stream = UnixStream::connect(dir.join(SOCKET)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

/// Returns the metrics of a node.
pub fn metrics(dir: &Path) -> String {
    let (status, text) = ask(dir, "/metrics");
    assert_eq!(status, 200, "{text}");
    text
}

/// Returns the value of a series, named with its labels.
fn value(text: &str, series: &str) -> f64 {
    let found = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("{series} is not in\n{text}")).parse().unwrap()
}

fn series(text: &str) -> BTreeSet<&str> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples.map(|line| line.rsplit_once(' ').unwrap().0).collect()
}

/// Runs promtool with a text as its input, and returns what it prints if it finds a fault.
fn promtool(arguments: &[&str], input: &str) -> Result<(), String> {
    let mut command = Command::new(installed_tool("bin/promtool"));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus");
    command.args(arguments).current_dir(folder).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    if output.status.success() { Ok(()) } else { Err(printed) }
}

fn health(dir: &Path, further: &[&str]) -> (i32, String) {
    let mut command = gateway();
    command.arg("health").arg("--config").arg(dir.join("gateway.toml")).args(further);
    let output = command.output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(printed).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_answers_probes_and_its_metrics_are_those_of_its_calls() {
    let folder = ServeFolder::new();
    assert_eq!(health(folder.path(), &[]).0, 78, "it has no listener");
    listen(folder.path());
    assert_eq!(health(folder.path(), &[]).0, 69, "it does not serve");
    let served = folder.serve();
    let (code, printed) = health(folder.path(), &[]);
    assert!(code == 0 && printed.ends_with("\nready\n") && printed.contains("not clock_jumped"), "{printed}");
    let (code, printed) = health(folder.path(), &["--live"]);
    assert!(code == 0 && printed.ends_with("\nlive\n"), "{printed}");
    let before = metrics(folder.path());
    for _ in 0..3 {
        let answer = folder.call(&served, "la-a", LIST_PLACEMENTS).await.unwrap();
        assert_eq!(answer.reason(), "OK");
    }
    assert_ne!(folder.call(&served, "la-a", "/la/330").await.unwrap().reason(), "OK");
    let text = metrics(folder.path());
    assert_eq!(series(&before), series(&text), "no call makes a series");
    let calls = r#"grpc_method="ListPlacements",grpc_service="apgateway.v1.PlacementService"}"#;
    for (name, expected) in [
        (format!("grpc_server_started_total{{{calls}"), 3.0),
        (format!("grpc_server_handled_total{{grpc_code=\"OK\",{calls}"), 3.0),
        (format!("grpc_server_handling_seconds_count{{{calls}"), 3.0),
        (r#"ap_gateway_exchanges_total{method="ListPlacements",outcome="ok",reason=""}"#.to_owned(), 3.0),
        (r#"grpc_server_started_total{grpc_method="other",grpc_service="other"}"#.to_owned(), 1.0),
        (r#"ap_gateway_tls_handshakes_total{result="ok"}"#.to_owned(), 4.0),
        (r#"ap_gateway_not_ready{cause="clock_jumped"}"#.to_owned(), 0.0),
    ] {
        assert_eq!(value(&text, &name).to_bits(), f64::to_bits(expected), "{name}");
    }
    let committed = value(&text, r#"ap_gateway_commit_seconds_count{stage="queue"}"#);
    assert_eq!(value(&text, "ap_gateway_group_changes_sum").to_bits(), committed.to_bits());
    assert!(committed >= 4.0, "{committed}");
    assert!(value(&text, "ap_gateway_log_entries") > value(&before, "ap_gateway_log_entries"));
    for positive in ["process_resident_memory_bytes", "process_open_fds", "ap_gateway_wal_pages"] {
        assert!(value(&text, positive) > 0.0, "{positive}");
    }
    for secret in ["330", "riverside", "spiffe"] {
        assert!(!text.contains(secret), "{secret}");
    }
    assert_eq!(promtool(&["check", "metrics"], &text), Ok(()));
    served.signal("TERM");
    assert!(served.wait_for_exit().success());
    assert!(!folder.file_path(SOCKET).exists());
}

#[test]
fn health_tells_a_node_that_is_not_ready_from_one_that_does_not_answer() {
    let folder = ServeFolder::new();
    listen(folder.path());
    let listener = UnixListener::bind(folder.file_path(SOCKET)).unwrap();
    std::thread::spawn(move || {
        let answers =
            ["HTTP/1.1 503 x\r\ncontent-length: 26\r\n\r\n[-]clock_jumped\nnot ready\n", "what?\r\n\r\n", ""];
        for (answer, stream) in answers.into_iter().zip(listener.incoming()) {
            let mut stream = stream.unwrap();
            let mut request = [0; 1_024];
            let _ = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            if answer.is_empty() {
                std::thread::sleep(Duration::from_secs(8));
            }
        }
    });
    let (code, printed) = health(folder.path(), &[]);
    assert!(code == 1 && printed.contains("[-]clock_jumped\nnot ready"), "{code} {printed}");
    assert_eq!(health(folder.path(), &[]).0, 69, "it speaks no HTTP");
    let (code, printed) = health(folder.path(), &[]);
    assert!(code == 69 && printed.contains("five seconds"), "{code} {printed}");
}

/// Counts unacknowledged deliveries by kind, and acknowledgements, in one query of the test's own.
async fn unacknowledged(location: &DatabaseLocation) -> (BTreeMap<i64, i64>, i64) {
    let database = Database::open(location).await.unwrap();
    let mut reader = database.reader().await.unwrap();
    let sql = "SELECT p.kind, COUNT(*) AS number FROM parties p WHERE p.kind > 0 AND NOT EXISTS \
               (SELECT 1 FROM acknowledgements a WHERE a.organisation = p.organisation AND a.delivery_idx = p.idx \
               AND a.delivery_ordinal = p.ordinal) GROUP BY p.kind";
    let rows = reader.fetch(sql, vec![]).await.unwrap();
    let by_kind = rows.iter().map(|row| (row.get("kind").unwrap(), row.get("number").unwrap())).collect();
    let rows = reader.fetch("SELECT COUNT(*) AS number FROM acknowledgements", vec![]).await.unwrap();
    let acknowledged = rows[0].get("number").unwrap();
    drop(reader);
    database.close().await;
    (by_kind, acknowledged)
}

/// Checks the figures that are read from the database.
async fn check_figures(folder: &ServeFolder, location: &DatabaseLocation) {
    listen(folder.path());
    let (expected, acknowledged) = unacknowledged(location).await;
    assert!(acknowledged > 0 && expected.values().sum::<i64>() > 0, "{expected:?} {acknowledged}");
    let served = folder.serve();
    let sum = |text: &str, name: &str| -> i64 {
        let values = text.lines().filter(|line| line.starts_with(name));
        values.map(|line| line.rsplit_once(' ').unwrap().1.parse::<i64>().unwrap()).sum()
    };
    let mut text = String::new();
    for _ in 0..MAX_POLLS {
        text = metrics(folder.path());
        if sum(&text, "ap_gateway_deliveries_unacknowledged") == expected.values().sum::<i64>() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let kind = |name: &str| value(&text, &format!("ap_gateway_deliveries_unacknowledged{{kind=\"{name}\"}}"));
    let plans = expected.get(&4).copied().unwrap_or_default();
    assert_eq!(
        (kind("PLAN"), kind("other")),
        (f64::from(u32::try_from(plans).unwrap()), 0.0),
        "{expected:?}"
    );
    assert!(plans > 0, "{expected:?}");
    assert_eq!(sum(&text, "ap_gateway_deliveries_unacknowledged"), expected.values().sum::<i64>(), "{text}");
    assert!(sum(&text, "ap_gateway_open_alerts{") > 0, "the sandbox has an open alert");
    served.signal("TERM");
    assert!(served.wait_for_exit().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_are_those_of_sqlite() {
    let folder = ServeFolder::new();
    let location = DatabaseLocation::Sqlite(folder.file_path("gateway.sqlite"));
    check_figures(&folder, &location).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_are_those_of_postgresql() {
    let postgres = Postgres::start();
    let folder = ServeFolder::on_postgres(&postgres.url_file);
    let url = std::fs::read_to_string(&postgres.url_file).unwrap();
    check_figures(&folder, &DatabaseLocation::Postgres(url)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_organisations_make_no_more_series_than_two() {
    let folder = ServeFolder::new();
    let dir = folder.path();
    listen(dir);
    let _served = Process::serve(dir);
    let before = metrics(dir);
    let providers = fleet::load_or_create(dir, 200, 1).await.unwrap();
    let senders =
        load::SenderPool::connect(dir, &providers, 200, load::AnswerCheck::VerifyReceipt).await.unwrap();
    for _ in 0..200 {
        senders.send(1).await.unwrap();
    }
    let after = metrics(dir);
    assert_eq!(series(&before), series(&after));
    let sent =
        value(&after, r#"ap_gateway_exchanges_total{method="SubmitAttendance",outcome="ok",reason=""}"#);
    assert!(sent >= 200.0, "{sent}");
}

fn deployed(name: &str) -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), name].iter().collect();
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn each_alert_fires_and_is_quiet_and_has_a_section() {
    assert_eq!(promtool(&["check", "rules", "rules.yml"], ""), Ok(()));
    assert_eq!(promtool(&["test", "rules", "rules_test.yml"], ""), Ok(()));
    let (rules, tests) =
        (deployed("deploy/prometheus/rules.yml"), deployed("deploy/prometheus/rules_test.yml"));
    let manual = deployed("docs/operating.md");
    let alerts: Vec<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() >= 20, "{alerts:?}");
    for alert in &alerts {
        for what in ["fires", "is quiet"] {
            assert!(tests.contains(&format!("- name: {alert} {what}\n")), "{alert} {what} is not tested");
        }
        assert!(manual.contains(&format!("\n### {alert}\n")), "docs/operating.md has no section {alert}");
        let runbook = format!("runbook: docs/operating.md#{}\n", alert.to_lowercase());
        assert!(rules.contains(&runbook), "{alert} names no section");
    }
    let sections = manual.lines().filter_map(|line| line.strip_prefix("### "));
    assert_eq!(sections.collect::<Vec<_>>(), alerts, "a section is of no alert");
}

/// Every metric that a rule or the manual names is one that a node has.
#[tokio::test(flavor = "multi_thread")]
async fn rules_and_manual_name_metrics_that_exist() {
    let folder = ServeFolder::new();
    listen(folder.path());
    let file = folder.file_path("gateway.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}backup_stamp = \"stamp\"\n")).unwrap();
    let _served = folder.serve();
    let text = metrics(folder.path());
    assert_eq!(value(&text, "ap_gateway_backup_last_success_timestamp_seconds").to_bits(), 0);
    folder.write("stamp", "");
    let text = metrics(folder.path());
    assert!(value(&text, "ap_gateway_backup_last_success_timestamp_seconds") > 1e9);
    let declared: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let sources = deployed("deploy/prometheus/rules.yml") + &deployed("docs/operating.md");
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let mut named = 0;
    for word in sources.split(|letter| !is_name(letter)) {
        let is_metric =
            ["ap_gateway_", "grpc_server_", "process_"].iter().any(|prefix| word.starts_with(prefix));
        let is_prefix = word.ends_with('_');
        if is_metric && !is_prefix {
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|part| word.strip_suffix(part));
            assert!(declared.contains(word) || base.is_some_and(|base| declared.contains(base)), "{word}");
            named += 1;
        }
    }
    assert!(named > 40, "{named}");
    for name in declared.iter().filter(|name| !name.starts_with("process_")) {
        assert!(sources.contains(name), "docs/operating.md does not name {name}");
    }
}
