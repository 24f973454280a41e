//! The example `nightly_submission` as a process: it survives the death of the gateway and its own, stores each mark
//! once, and keeps a verified receipt of each request.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use ap_gateway::cli::{profile, sandbox};
use ap_gateway::client::read_checkpoint_folder;
use ap_gateway::proto::v1::{AuditEntry, SubmitAttendanceRequest, SubmitAttendanceResponse};
use ap_gateway::tlog::{Hash, LogKeyHistory, commitment, leaf_hash, verify_inclusion};
use prost::Message;

use super::limits::output;
use super::process::{Process, Sandbox};
use super::support::{gateway, run};

/// Returns a command that runs the example.
///
/// # Panics
/// If it was not built, or was built before its source last changed, because cargo builds no example for a test.
fn example() -> Command {
    let folder = Path::new(env!("CARGO_BIN_EXE_ap-gateway")).parent().unwrap();
    let example = folder.join("examples/nightly_submission");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/nightly_submission.rs");
    let modified = |file: &Path| fs::metadata(file).and_then(|file| file.modified()).ok();
    assert!(
        modified(&example) >= modified(&source),
        "run: cargo build --no-default-features --features client --example nightly_submission"
    );
    Command::new(example)
}

/// A run of the example in a folder that holds the sandbox.
struct Night<'a> {
    dir: &'a Path,
}

impl Night<'_> {
    fn command(&self) -> Command {
        let mut command = example();
        command.arg(sandbox::profile_path(self.dir, "provider-a"));
        command.arg(self.dir.join("register.csv")).arg(self.dir.join("outbox"));
        command
    }

    /// Writes a register of all sessions of some weeks; returns the number of its marks.
    fn write_register(&self) -> usize {
        let placed = sandbox::world::load(self.dir).unwrap().placements;
        let own = placed.iter().filter(|placed| placed.provider == "provider-a");
        let mut lines = Vec::new();
        for placed in own {
            for day in (2..=30).map(|day| format!("2026-09-{day:02}")).chain((1..=31).map(october)) {
                for session in ["AM,/", "PM,\\"] {
                    lines.push(format!("{},{day},{session}\n", placed.provider_reference));
                }
            }
        }
        fs::write(self.dir.join("register.csv"), lines.concat()).unwrap();
        lines.len()
    }

    /// Returns the files of the outbox with this extension, in order.
    fn files(&self, extension: &str) -> Vec<PathBuf> {
        let files = fs::read_dir(self.dir.join("outbox")).unwrap().map(|file| file.unwrap().path());
        let mut files: Vec<_> =
            files.filter(|file| file.extension().is_some_and(|found| found == extension)).collect();
        files.sort();
        files
    }

    fn is_half_done(&self) -> bool {
        let (requests, replies) = (self.files("request").len(), self.files("reply").len());
        0 < replies && replies < requests
    }
}

fn october(day: u32) -> String {
    format!("2026-10-{day:02}")
}

fn start(mut command: Command) -> (Child, impl Iterator<Item = String>) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    (child, lines)
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Verifies the stored receipts against the stored requests and replies; returns the number of marks stored.
fn verify_receipts(night: &Night<'_>, log_key: &str) -> u32 {
    let log_key = LogKeyHistory::parse(log_key).unwrap();
    let mut stored = 0;
    for (request, reply) in night.files("request").iter().zip(night.files("reply")) {
        assert_eq!(request.with_extension("reply"), reply);
        let mut reply = SubmitAttendanceResponse::decode(fs::read(reply).unwrap().as_slice()).unwrap();
        let receipt = reply.receipt.take().unwrap();
        let checkpoint = log_key.open(&receipt.checkpoint).unwrap();
        let hash = |bytes: &[u8]| Hash::from(<[u8; 32]>::try_from(bytes).unwrap());
        let proof: Vec<_> = receipt.inclusion_proof.iter().map(|bytes| hash(bytes)).collect();
        let leaf = leaf_hash(&receipt.entry);
        verify_inclusion(&leaf, receipt.index, receipt.tree_size, &proof, checkpoint.root()).unwrap();
        let entry = AuditEntry::decode(receipt.entry.clone()).unwrap();
        let commit = |salt: &[u8], bytes: &[u8]| commitment(&salt.try_into().unwrap(), bytes);
        let sent = fs::read(request).unwrap();
        assert_eq!(hash(&entry.request_commitment), commit(&receipt.request_salt, &sent));
        assert_eq!(hash(&entry.reply_commitment), commit(&receipt.reply_salt, &reply.encode_to_vec()));
        assert_eq!((reply.unchanged, reply.corrected, reply.rejected), (0, 0, 0));
        stored += reply.stored;
    }
    stored
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_survives_the_gateway_s_death_and_its_own() {
    let sandbox = Sandbox::new();
    let night = Night { dir: sandbox.path() };
    let marks = night.write_register();
    let server = Process::serve(sandbox.path());
    let listen = server.address().to_string();

    let (child, mut lines) = start(night.command());
    assert!(lines.next().unwrap().ends_with(" 0 unchanged"));
    drop(server);
    assert!(night.is_half_done(), "the gateway died when the submission had ended");
    let server = Process::start(gateway(), sandbox.path(), &["--listen", &listen].map(OsStr::new));
    let before = night.files("reply").len();
    while night.files("reply").len() == before {
        assert!(lines.next().is_some(), "the submission ended with the gateway");
    }
    // The example dies while a request is unanswered.
    server.signal("STOP");
    kill(child);
    server.signal("CONT");
    assert!(night.is_half_done(), "the submission had ended when it was killed");
    let prepared: Vec<_> = night.files("request").iter().map(|file| fs::read(file).unwrap()).collect();

    let resumed = output(&mut night.command());
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    let requests: Vec<_> = night.files("request").iter().map(|file| fs::read(file).unwrap()).collect();
    assert!(requests == prepared, "a request was changed after it had been stored");
    let ids: std::collections::HashSet<_> = requests
        .iter()
        .map(|bytes| SubmitAttendanceRequest::decode(bytes.as_slice()).unwrap().request_id)
        .collect();
    assert_eq!(ids.len(), requests.len());
    assert_eq!(night.files("reply").len(), requests.len());

    let path = sandbox::profile_path(sandbox.path(), "provider-a");
    let (profile, seen) = profile::load(&path).unwrap();
    assert_eq!(verify_receipts(&night, &profile.log_key) as usize, marks);
    assert_eq!(read_checkpoint_folder(&seen).unwrap().len(), 1);
    let verified = run(gateway().args(["audit", "verify", "--profile"]).arg(path));
    assert!(verified.contains("is consistent with all"), "{verified}");
    drop(server);
    assert_eq!(sandbox.query("SELECT return_id FROM marks").await.len(), marks);
    sandbox.assert_log_verifies().await;
}

#[test]
fn a_night_with_a_rejected_mark_fails_and_stores_the_others() {
    let sandbox = Sandbox::new();
    let night = Night { dir: sandbox.path() };
    night.write_register();
    let register = sandbox.path().join("register.csv");
    let line = fs::read_to_string(&register).unwrap().lines().next().unwrap().to_owned();
    for (text, fault) in
        [("", ": there is no mark in it"), (&format!("{line}\nnobody,AM\n"), " line 2: not four cells")]
    {
        fs::write(&register, text).unwrap();
        let error = String::from_utf8(output(&mut night.command()).stderr).unwrap();
        assert_eq!(error, format!("nightly_submission: {}{fault}\n", register.display()));
    }
    fs::write(&register, format!("{line}\nnobody,2026-09-02,AM,/\n")).unwrap();
    let _server = Process::serve(sandbox.path());
    // The second run answers from the outbox.
    for _ in 0..2 {
        let sent = output(&mut night.command());
        let (out, err) = (String::from_utf8(sent.stdout).unwrap(), String::from_utf8(sent.stderr).unwrap());
        assert!(!sent.status.success());
        assert!(out.contains("1 stored") && out.contains("mark 1 was rejected: "), "{out}");
        assert!(err.contains("1 marks were rejected"), "{err}");
    }
}
