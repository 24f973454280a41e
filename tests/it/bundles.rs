//! Bundles of `audit prove`. Both verifiers, `audit check` and `tests/clients/check_bundle.py`, accept a bundle as it
//! was written and print the same; after any change of a value, a member or a bit, both refuse it.

mod changes;
mod made_log;

use std::path::{Path, PathBuf};
use std::process::Command;

use ap_gateway::cli::bundle::ProvedEntry;
use ap_gateway::proto::v1::{GetPlacementRequest, placement_service};
use ap_gateway::tlog::LogKeyHistory;
use serde_json::Value as Json;
use tempfile::TempDir;

use self::made_log::MadeLog;
use super::exchange_semantics::new_id;
use super::support::{World, gateway, installed_tool, run};

/// Largest bundle that is accepted, in bytes.
const MAX_BUNDLE_BYTES: usize = 256 << 10;

/// Checks every bundle of a folder with `check_bundle.check` in one process, and prints a JSON line for each.
const CHECK_FOLDER: &str = "
import json, pathlib, sys
sys.path.insert(0, sys.argv[1])
import check_bundle, tlog
keys = tlog.parse_keys(sys.argv[2])
for path in sorted(pathlib.Path(sys.argv[3]).iterdir()):
    try:
        print(json.dumps([True, check_bundle.check(path.read_bytes(), keys)]))
    except tlog.Invalid as error:
        print(json.dumps([False, str(error)]))
";

/// What a verifier says about a bundle: what it proves, or what is wrong.
type Verdict = Result<String, String>;

fn clients_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

fn rust_verdict(bundle: &[u8], log_key: &str) -> Verdict {
    let keys = LogKeyHistory::parse(log_key).unwrap();
    let proved = ProvedEntry::from_bundle(bundle, &keys);
    proved.map(|proved| proved.describe()).map_err(|error| error.to_string())
}

fn python_verdicts<B: AsRef<[u8]>>(bundles: impl IntoIterator<Item = B>, log_key: &str) -> Vec<Verdict> {
    let folder = TempDir::new().unwrap();
    for (number, bundle) in bundles.into_iter().enumerate() {
        std::fs::write(folder.path().join(format!("{number:06}")), bundle).unwrap();
    }
    let mut python = Command::new(installed_tool("python/bin/python"));
    python.args(["-c", CHECK_FOLDER]).arg(clients_folder()).arg(log_key).arg(folder.path());
    let verdict = |line: &str| match serde_json::from_str(line).unwrap() {
        (true, proved) => Ok(proved),
        (false, fault) => Err(fault),
    };
    run(&mut python).lines().map(verdict).collect()
}

/// Runs `audit check`, then `check_bundle.py`; returns exit code, standard output and standard error of each.
fn run_verifiers(bundle: &Path, log_key: &str) -> [(Option<i32>, String, String); 2] {
    let mut check = gateway();
    check.args(["audit", "check"]);
    let mut python = Command::new(installed_tool("python/bin/python"));
    python.arg(clients_folder().join("check_bundle.py"));
    [check, python].map(|mut command| {
        let output = command.arg(bundle).args(["--log-key", log_key]).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    })
}

/// Checks that both verifiers accept a bundle, and returns what both print.
pub fn both_accept(bundle: &Path, log_key: &str) -> String {
    let [(code, printed, error), python] = run_verifiers(bundle, log_key);
    assert_eq!((code, error.as_str()), (Some(0), ""), "{}", bundle.display());
    assert_eq!(python, (Some(0), printed.clone(), String::new()));
    printed
}

/// Checks that both verifiers refuse a bundle by one line that contains `fault`, with exit code 1.
pub fn both_refuse(bundle: &Path, log_key: &str, fault: &str) {
    for (code, printed, error) in run_verifiers(bundle, log_key) {
        assert_eq!((code, printed.as_str()), (Some(1), ""), "{fault}: {error}");
        assert!(error.lines().count() == 1 && error.contains(fault), "{fault}: {error}");
    }
}

/// Writes the bundle of an exchange with `audit prove`.
pub fn prove(profile: &Path, exchange: &str, bundle: &Path) {
    run(gateway().args(["audit", "prove", exchange, "--profile"]).arg(profile).arg("--out").arg(bundle));
}

/// Returns the id of the newest exchange that `audit list` finds with these filters.
fn newest_exchange(profile: &Path, filters: &[&str]) -> String {
    let listed = run(gateway().args(["audit", "list", "--json", "--profile"]).arg(profile).args(filters));
    let newest: Json = serde_json::from_str(listed.lines().next().unwrap()).unwrap();
    newest["exchange_id"].as_str().unwrap().to_owned()
}

/// Checks that both verifiers refuse every change of a bundle, and that a change of the readable form is named.
fn every_change_is_refused(bundle: &[u8], log_key: &str) {
    let changes = changes::of_values(bundle);
    assert!(changes.len() > 150, "{} changes", changes.len());
    let verdicts = python_verdicts(changes.iter().map(|change| &change.bundle), log_key);
    assert_eq!(verdicts.len(), changes.len());
    for (change, python) in changes.iter().zip(verdicts) {
        for verdict in [rust_verdict(&change.bundle, log_key), python] {
            let Err(fault) = verdict else { panic!("accepted: {}", change.what) };
            assert_eq!(fault.lines().count(), 1, "{fault}");
            let is_readable_value = change.path.starts_with("entry.") && !change.is_duplicate;
            assert!(!is_readable_value || fault.starts_with(&change.path), "{}: {fault}", change.what);
        }
    }
    for bit in 0..bundle.len() * 8 {
        let flipped = changes::with_flipped_bit(bundle, bit);
        assert!(rust_verdict(&flipped, log_key).is_err(), "{}", String::from_utf8_lossy(&flipped));
    }
    // Of the eight flips of each byte one is enough for Python, in which each costs more.
    let some = (0..bundle.len()).map(|place| changes::with_flipped_bit(bundle, place * 8 + place % 8));
    for (place, verdict) in python_verdicts(some, log_key).into_iter().enumerate() {
        assert!(verdict.is_err(), "bit {} of byte {place}", place % 8);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_of_a_gateway_proves_all_that_it_says_and_nothing_else() {
    let world = World::sqlite().await;
    let auditor = world.dir.path().join("profiles/auditor.toml");
    let log_key = std::fs::read_to_string(world.dir.path().join("log-key")).unwrap();
    let request = GetPlacementRequest { placement_id: new_id() };
    world.client("la-a").await.call(placement_service::GET_PLACEMENT, &request).await.unwrap_err();
    let bundle = world.dir.path().join("bundle.json");
    let refused = ["--method", "GetPlacement", "--outcome", "refused"];
    for filters in [&refused[..], &["--method", "SharePassport"]] {
        let exchange = newest_exchange(&auditor, filters);
        prove(&auditor, &exchange, &bundle);
        let printed = both_accept(&bundle, &log_key);
        assert!(printed.contains(&format!("\nexchange_id: \"{exchange}\"\n")), "{printed}");
        assert!(printed.contains(filters[1]), "{printed}");
        assert!(
            printed.starts_with("proved: entry ") && printed.contains(" of the log ap-gateway-sandbox/log, ")
        );
        let bytes = std::fs::read(&bundle).unwrap();
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert!(!text.contains("salt") && !text.contains(log_key.trim()), "a key or a salt in a bundle");
        every_change_is_refused(&bytes, &log_key);
    }
    // The key may be in a file.
    let file = world.dir.path().join("log-key");
    assert_eq!(both_accept(&bundle, file.to_str().unwrap()), both_accept(&bundle, &log_key));
    world.stop().await;
}

#[test]
fn a_bad_bundle_is_refused_by_one_line() {
    let (log, other) = (MadeLog::with_every_field("log/1", 1), MadeLog::with_every_field("log/2", 2));
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("bundle.json");
    let good = log.bundle(0);
    let text = String::from_utf8(good.clone()).unwrap();
    let (one_key, last) = (log.key(), log.entries.len() - 1);
    let mut unproved: Json = serde_json::from_slice(&good).unwrap();
    let others: Json = serde_json::from_slice(&log.bundle(last)).unwrap();
    unproved["receipt"]["inclusion_proof"] = others["receipt"]["inclusion_proof"].clone();
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (good[..good.len() / 2].to_vec(), "JSON"),
        (good[..good.len() - 1].to_vec(), "JSON"),
        (Vec::new(), "JSON"),
        (b"proof".to_vec(), "not JSON"),
        (b"\x1f\x8b\xff".to_vec(), "not JSON"),
        ([&b"\xef\xbb\xbf"[..], &good].concat(), "not JSON"),
        (format!("{text}{text}").into_bytes(), "not JSON"),
        ("[".repeat(200_000).into_bytes(), "not JSON"),
        (b"[]".to_vec(), "receipt: missing"),
        (b"{\"receipt\": {}}".to_vec(), "checkpoint"),
        ([&good[..], &vec![b' '; MAX_BUNDLE_BYTES]].concat(), "larger than 256 KiB"),
        (text.replace("\"role\"", "\"\\u0007ro\\nle\"").into_bytes(), "entry."),
        (other.bundle(0), "the checkpoint is of the log log/2, the key of log/1"),
        (MadeLog::with_every_field("log/1", 3).bundle(0), "the checkpoint is not signed by the log's key"),
        (serde_json::to_vec(&unproved).unwrap(), "the entry is not in the signed tree"),
        (text.replace("\"system\": \"", "\"system\": \"x").into_bytes(), "entry.system: differs"),
    ];
    for (bytes, fault) in cases {
        std::fs::write(&file, bytes).unwrap();
        both_refuse(&file, &one_key, fault);
    }
    std::fs::write(&file, &good).unwrap();
    both_accept(&file, &one_key);
    both_refuse(&file, &other.key(), "the checkpoint is of the log log/1, the key of log/2");
    let wrong = MadeLog::with_every_field("log/1", 4).key();
    both_refuse(&file, &wrong, "the checkpoint is not signed by the log's key");
    for key in ["", "log/1", &one_key[..one_key.len() - 1], "no-such-file", file.to_str().unwrap()] {
        both_refuse(&file, key, "--log-key: not a log key");
    }
    // A key whose id is not of its name and its bytes.
    both_refuse(&file, &one_key.replace("log/1", "log/3"), "--log-key: not a log key");
}

/// Checks that the Python verifier's table of fields follows the protos: every field, and every value of every
/// enumeration, is decoded alike by both.
#[test]
fn both_verifiers_decode_every_field_alike() {
    let log = MadeLog::with_every_field("log/1", 1);
    let bundles: Vec<Vec<u8>> = (0..log.entries.len()).map(|index| log.bundle(index)).collect();
    let verdicts = python_verdicts(&bundles, &log.key());
    for (bundle, python) in bundles.iter().zip(verdicts) {
        assert_eq!(rust_verdict(bundle, &log.key()), python);
        assert!(python.is_ok(), "{python:?}");
    }
    every_change_is_refused(&bundles[0], &log.key());
}

/// Checks that both verifiers climb every path alike, in trees that are full and in trees that are not, and that no
/// proof is accepted for another index.
#[test]
fn every_path_of_a_tree_is_proved_and_no_other() {
    let entries = MadeLog::with_every_field("log/1", 1).entries;
    let (key, mut bundles, mut moved) = (MadeLog::new("log/1", 1, Vec::new()).key(), Vec::new(), Vec::new());
    for size in 1..=entries.len() {
        let log = MadeLog::new("log/1", 1, entries[..size].to_vec());
        for index in 0..size {
            let bundle = log.bundle(index);
            let json: Json = serde_json::from_slice(&bundle).unwrap();
            for other in (0..=size).filter(|other| *other != index) {
                let mut json = json.clone();
                json["receipt"]["index"] = other.to_string().into();
                moved.push(serde_json::to_vec(&json).unwrap());
            }
            bundles.push(bundle);
        }
    }
    let verdicts = python_verdicts(&bundles, &key);
    for (bundle, python) in bundles.iter().zip(verdicts) {
        assert_eq!(rust_verdict(bundle, &key), python);
        assert!(python.is_ok(), "{python:?}");
    }
    assert!(moved.len() > 300, "{}", moved.len());
    for (bundle, python) in moved.iter().zip(python_verdicts(&moved, &key)) {
        assert!(
            rust_verdict(bundle, &key).is_err() && python.is_err(),
            "{}",
            String::from_utf8_lossy(bundle)
        );
    }
}

/// Checks that an entry in another encoding than the log's proves nothing, even if the log signed it.
#[test]
fn an_entry_in_another_encoding_is_refused() {
    let entries = made_log::oddly_encoded_entries();
    let log = MadeLog::new("log/1", 1, entries.iter().map(|(entry, _)| entry.clone()).collect());
    let bundles: Vec<Vec<u8>> = (0..entries.len()).map(|index| log.bundle_of_undecoded(index)).collect();
    let verdicts = python_verdicts(&bundles, &log.key());
    for (((_, fault), bundle), python) in entries.iter().zip(&bundles).zip(verdicts) {
        for verdict in [rust_verdict(bundle, &log.key()), python] {
            let Err(found) = verdict else { panic!("accepted: {fault}") };
            assert!(found.contains(fault), "{fault}: {found}");
        }
    }
}
