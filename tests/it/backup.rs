//! Backup under load and restoration elsewhere, with real processes: what was acknowledged before a backup began is in it,
//! what is lost is told, and a backup that was changed, or a place that is not empty, writes nothing.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use ap_gateway::backup::{BackupError, BackupOptions, KEY_LIFE, Manifest, take};
use ap_gateway::cli::sandbox::{profile_path, world};
use ap_gateway::client::{CheckpointStore, Client, Profile};
use ap_gateway::clock::{Clock, SystemClock};
use ap_gateway::config::Config;
use ap_gateway::proto::v1::{Receipt, SubmitAttendanceRequest};
use ap_gateway::store::{Anchor, TableClass};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::exchange_semantics::{mark, submission, submit};
use super::limits::output;
use super::log_verification;
use super::process::{Process, Sandbox};
use super::rollback::{accept_rollback_ok, copy_folder};
use super::serve_process::{LIST_PLACEMENTS, ServeFolder};
use super::startup_checks::serve_briefly;
use super::support::{gateway, run};

/// Files that only the database's machine has.
const LOST: [&str; 6] = [
    "gateway.sqlite",
    "gateway.sqlite-wal",
    "gateway.sqlite-shm",
    "key-ring",
    "commitment-key",
    "log-signing-key",
];

/// The folder of a backup, with the identity that opens its keys.
pub struct Backup(TempDir);

impl Backup {
    pub fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let identity = folder.path().join("identity");
        run(Command::new("age-keygen").arg("-o").arg(&identity));
        let recipient = Command::new("age-keygen").arg("-y").arg(&identity).output().unwrap().stdout;
        std::fs::write(folder.path().join("recipients"), recipient).unwrap();
        Self(folder)
    }

    fn out(&self) -> PathBuf {
        self.0.path().join("backup")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Returns the command that backs up the sandbox in a folder.
    pub fn command(&self, mut command: Command, dir: &Path) -> Command {
        command.arg("backup").arg("--config").arg(dir.join("gateway.toml")).arg("--out").arg(self.out());
        command.arg("--recipients").arg(self.file("recipients"));
        command
    }

    /// Backs up the sandbox in a folder, and returns what was printed.
    fn take(&self, dir: &Path) -> String {
        let (code, printed) = printed(&mut self.command(gateway(), dir));
        assert_eq!(code, 0, "{printed}");
        printed
    }

    fn restore(&self, from: &Path, dir: &Path, further: &[&str]) -> (i32, String) {
        let mut command = gateway();
        command.arg("restore").arg("--config").arg(dir.join("gateway.toml")).arg("--from").arg(from);
        printed(command.arg("--identity").arg(self.file("identity")).args(further))
    }
}

fn printed(command: &mut Command) -> (i32, String) {
    let output = output(command);
    let printed = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(printed).unwrap())
}

/// Copies what an operator has of a machine elsewhere: configuration, certificates, and the anchor's copy on another disk.
fn new_machine(lost: &Path, place: &Path) -> PathBuf {
    let dir = copy_folder(lost, place);
    for name in LOST {
        std::fs::remove_file(dir.join(name)).ok();
    }
    dir
}

/// Returns the names of all files under a folder, with their lengths.
fn listing(folder: &Path) -> BTreeSet<(PathBuf, u64)> {
    let (mut folders, mut found) = (vec![folder.to_owned()], BTreeSet::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            if metadata.is_dir() {
                folders.push(path);
            } else {
                found.insert((path, metadata.len()));
            }
        }
    }
    found
}

/// An acknowledged submission, and when its answer arrived.
type Acknowledged = (SubmitAttendanceRequest, Receipt, Instant);

/// Submits marks until the gateway is gone.
async fn submit_until_error(client: Client, placement: String) -> Vec<Acknowledged> {
    let mut acknowledged = Vec::new();
    for number in 0..100_000 {
        let mut sent =
            mark(&placement, &format!("2026-{:02}-{:02}", 9 + number % 2, number / 2 % 30 + 1), "L");
        sent.minutes_late = Some(number / 60 % 200 + 1);
        "again".clone_into(&mut sent.correction_reason);
        let request = submission(vec![sent]);
        match submit(&client, &request).await {
            Ok(reply) => acknowledged.push((request, reply.receipt, Instant::now())),
            Err(_) => break,
        }
    }
    acknowledged
}

/// Returns the number behind a word of a text.
fn number_behind(text: &str, word: &str) -> u64 {
    let rest = text.split_once(word).unwrap_or_else(|| panic!("{word:?} is not in: {text}")).1.trim_start();
    rest.split(|letter: char| !letter.is_ascii_digit()).next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_lost_under_load_is_restored_elsewhere() {
    let (sandbox, backup) = (Sandbox::new(), Backup::new());
    let server = Process::serve(sandbox.path());
    let placed = world::load(sandbox.path()).unwrap().placements.into_iter();
    let placed = placed.filter(|placed| placed.provider == "provider-a").take(4);
    let mut loads = JoinSet::new();
    for placement in placed.map(|placed| placed.placement_id) {
        let client = sandbox.client_without_folder("provider-a").await;
        loads.spawn(submit_until_error(client, placement));
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let base = backup.take(sandbox.path());
    assert!(base.starts_with("base ") && base.contains("verified in"), "{base}");
    let added = backup.take(sandbox.path());
    assert!(added.starts_with("added to "), "{added}");
    let begun = Instant::now();
    backup.take(sandbox.path());
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(server);
    let acknowledged = loads.join_all().await.concat();
    assert!(acknowledged.iter().any(|(_, _, at)| *at > begun), "no load behind the backup");

    // The machine is gone but for its anchor, which lay on another disk, and its damaged database.
    let elsewhere = TempDir::new().unwrap();
    let dir = new_machine(sandbox.path(), &elsewhere.path().join("new"));
    let before = listing(&dir);
    let lost_database = sandbox.path().join("gateway.sqlite");
    let (code, plan) =
        backup.restore(&backup.out(), &dir, &["--plan", "--lost-database", lost_database.to_str().unwrap()]);
    assert_eq!((code, listing(&dir)), (0, before), "{plan}");
    let kept = number_behind(&plan, "the backup holds");
    let lost = number_behind(&plan, "lost:");
    assert!(plan.contains(&format!("lost: {lost} entries, {kept} to {}", kept + lost - 1)), "{plan}");
    assert!(plan.contains(&format!("lost: {lost} of provider/riverside, from 2026-11-20T16:00")), "{plan}");
    for (_, receipt, at) in &acknowledged {
        assert!(receipt.index < kept + lost, "the loss is more than was told");
        assert!(*at >= begun || receipt.index < kept, "entry {} was acknowledged before", receipt.index);
    }

    let restored = Instant::now();
    let (code, printed) = backup.restore(&backup.out(), &dir, &[]);
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains("restored and verified") && printed.contains("accept-rollback"), "{printed}");
    let (code, printed) = serve_briefly(&dir);
    assert!(code == 1 && printed.contains("rolled back"), "{code}: {printed}");
    accept_rollback_ok(&dir, "ap-gateway-sandbox/log-2");
    let server = Process::serve(&dir);
    assert!(restored.elapsed() < Duration::from_mins(1), "{:?}", restored.elapsed());
    let (profile, _) = Profile::load(&profile_path(&dir, "provider-a")).unwrap();
    let client = Client::connect(&profile, CheckpointStore::default()).await.unwrap();
    // What is kept is answered as before; what was lost is stored when it is sent again.
    for (request, receipt, _) in acknowledged.iter().step_by(acknowledged.len().div_ceil(40)) {
        let again = submit(&client, request).await.unwrap().receipt;
        assert_eq!(again == *receipt, receipt.index < kept);
    }
    // The new log goes on where the backup ends, so the backup does too.
    let added = backup.take(&dir);
    assert!(added.starts_with("added to "), "{added}");
    drop(server);
    assert_eq!(log_verification::verify(&dir).await.findings, []);
}

/// Changes a byte in the middle of a file, and returns what was there.
fn change_byte(path: &Path) -> Vec<u8> {
    let whole = std::fs::read(path).unwrap();
    let mut changed = whole.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    std::fs::write(path, changed).unwrap();
    whole
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_does_not_fit_writes_nothing() {
    let (folder, backup, elsewhere) = (ServeFolder::new(), Backup::new(), TempDir::new().unwrap());
    let stamped = folder.configuration() + "\n[management]\nbackup_stamp = \"stamps/backup\"\n";
    folder.write("gateway.toml", &stamped);
    backup.take(folder.path());
    assert!(folder.file_path("stamps/backup").exists());
    std::fs::remove_dir_all(folder.file_path("stamps")).unwrap();
    let old_anchor = std::fs::read(folder.file_path("anchor")).unwrap();
    let served = folder.serve();
    folder.call(&served, "la-a", LIST_PLACEMENTS).await.unwrap();
    backup.take(folder.path());
    folder.call(&served, "la-a", LIST_PLACEMENTS).await.unwrap();
    served.signal("TERM");
    assert!(served.wait_for_exit().success());
    // What stopping wrote is added while no process serves, and although a backup broke off: one of the next segment, of
    // which only the keys were completed, and one of a base.
    let out = backup.out();
    let set = std::fs::read_dir(out.join("data")).unwrap().next().unwrap().unwrap().file_name();
    let [data, keys] = ["data", "keys"].map(|part| out.join(part).join(&set));
    for (unfinished, like) in [("000002.age", "000001.age"), ("000002.manifest", "000001.manifest")] {
        std::fs::copy(keys.join(like), keys.join(unfinished)).unwrap();
    }
    std::fs::write(data.join("000002.sqlite"), "unfinished").unwrap();
    for part in ["data", "keys"] {
        std::fs::create_dir(out.join(part).join("29990101T000000Z")).unwrap();
        std::fs::write(out.join(part).join("29990101T000000Z/000000.sqlite"), "unfinished").unwrap();
    }
    let added = backup.take(folder.path());
    assert!(added.starts_with("added to "), "{added}");
    let nothing = backup.take(folder.path());
    assert!(nothing.starts_with("nothing was added"), "{nothing}");
    assert_eq!(std::fs::read_dir(out.join("data")).unwrap().count(), 1);

    let dir = new_machine(folder.path(), &elsewhere.path().join("new"));
    let before = listing(&dir);
    let refused = |from: &Path, further: &[&str], words: &str| {
        let (code, printed) = backup.restore(from, &dir, further);
        assert!(code == 1 && printed.contains(words), "{code}, {words:?}: {printed}");
        assert_eq!(listing(&dir), before, "{words:?}");
    };
    for (path, _) in listing(&out) {
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
        let whole = change_byte(&path);
        refused(&out, &[], "");
        std::fs::write(&path, whole).unwrap();
    }
    let [segment, hidden] = ["000001.sqlite", "hidden"].map(|name| data.join(name));
    std::fs::rename(&segment, &hidden).unwrap();
    refused(&out, &[], "missing");
    std::fs::rename(&hidden, &segment).unwrap();
    refused(&out, &["--set", "20200101T000000Z"], "no complete backup");

    // Another log's anchor, no anchor at all, and another gateway's keys beside the data.
    let anchor = dir.join("anchor");
    let own = std::fs::read(&anchor).unwrap();
    let (other, other_backup) = (ServeFolder::new(), Backup::new());
    std::fs::copy(other.file_path("anchor"), &anchor).unwrap();
    refused(&out, &[], "log.anchor is another log's");
    // An anchor that is older than the backup, alone and beside a newer checkpoint.
    let newest = elsewhere.path().join("newest");
    std::fs::write(&anchor, &own).unwrap();
    std::fs::write(&newest, Anchor::read_newest_note(&anchor).unwrap()).unwrap();
    std::fs::write(&anchor, &old_anchor).unwrap();
    let (code, printed) = backup.restore(&out, &dir, &[]);
    assert!(code == 1 && printed.contains("as new as the backup"), "{code}: {printed}");
    let (code, printed) = backup.restore(&out, &dir, &["--checkpoint", newest.to_str().unwrap()]);
    assert!(code == 1 && printed.contains("move the anchor away"), "{code}: {printed}");
    std::fs::write(&anchor, &own).unwrap();
    assert_eq!(listing(&dir), before);
    other_backup.take(other.path());
    let mixed = elsewhere.path().join("mixed");
    copy_folder(&out, &mixed);
    std::fs::remove_dir_all(mixed.join("keys")).unwrap();
    copy_folder(&other_backup.out().join("keys"), &mixed.join("keys"));
    let (code, printed) = other_backup.restore(&mixed, &dir, &[]);
    assert!(code == 1 && printed.contains("another log"), "{code}: {printed}");
    assert_eq!(listing(&dir), before);
    let (code, printed) = other_backup.restore(&out, &dir, &[]);
    assert!(code == 1 && printed.contains("age: "), "{code}: {printed}");
    std::fs::remove_file(&anchor).unwrap();
    let (code, printed) = backup.restore(&out, &dir, &[]);
    assert!(code == 1 && printed.contains("--checkpoint"), "{code}: {printed}");
    assert!(!dir.join("gateway.sqlite").exists() && !anchor.exists());

    // The gateway was stopped before its last backup. The places are full afterwards.
    let (code, printed) = backup.restore(&out, &dir, &["--complete"]);
    assert!(code == 0 && printed.contains("the log goes on: run ap-gateway serve"), "{code}: {printed}");
    log_verification::assert_verifies(&dir).await;
    let full = listing(&dir);
    let (code, printed) = backup.restore(&out, &dir, &[]);
    assert!(code == 1 && printed.contains("already there"), "{code}: {printed}");
    assert_eq!(listing(&dir), full);
    let check = output(gateway().arg("check").arg("--config").arg(dir.join("gateway.toml")));
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    let served = Process::serve(&dir);
    let (profile, _) = Profile::load(&profile_path(&dir, "provider-a")).unwrap();
    let client = Client::connect(&profile, CheckpointStore::default()).await.unwrap();
    let marks = vec![mark(&folder.placement("provider-a"), "2026-11-02", "/")];
    submit(&client, &submission(marks)).await.unwrap();
    let added = backup.take(&dir);
    assert!(added.starts_with("added to "), "{added}");
    drop(served);
}

#[tokio::test]
async fn keys_are_gone_from_backups_after_35_days() {
    let (sandbox, backup) = (Sandbox::new(), Backup::new());
    let config = Config::load(&sandbox.path().join("gateway.toml")).unwrap();
    let (out, recipients) = (backup.out(), backup.file("recipients"));
    let take_after = async |days: u64| {
        let now = SystemClock.now().plus(Duration::from_hours(24 * days));
        let (base_interval, keep) = (Duration::from_hours(24), Duration::from_hours(24 * 60));
        take(&BackupOptions { config: &config, out: &out, recipients: &recipients, base_interval, keep, now })
            .await
    };
    let count = |part: &str| std::fs::read_dir(out.join(part)).unwrap().count();
    for (days, data, keys) in [(0, 1, 1), (30, 2, 2), (35, 3, 2), (62, 3, 3), (99, 2, 1)] {
        assert!(take_after(days).await.unwrap().iter().any(Manifest::is_base));
        assert_eq!((days, count("data"), count("keys")), (days, data, keys));
    }
    let mut postgres = config.clone();
    postgres.database.sqlite = None;
    let now = SystemClock.now();
    let options = BackupOptions {
        config: &postgres,
        out: &out,
        recipients: &recipients,
        base_interval: KEY_LIFE,
        keep: KEY_LIFE,
        now,
    };
    assert!(matches!(take(&options).await, Err(BackupError::NotSqlite)));
    assert_eq!(KEY_LIFE, Duration::from_hours(35 * 24));
    // Plain keys are in no file of the backup, and the wrapped keys of children in none beside the data.
    let seed = std::fs::read_to_string(sandbox.path().join("log-signing-key")).unwrap();
    let seed =
        seed.lines().find_map(|line| line.strip_prefix("seed = ")).unwrap().trim_matches('"').to_owned();
    for (path, _) in listing(&out) {
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(seed.len()).any(|window| window == seed.as_bytes()), "{}", path.display());
        assert!(!bytes.windows(10).any(|window| window == b"child_keys"), "{}", path.display());
    }
}

#[test]
fn every_table_is_copied_or_made_again() {
    // A table of these classes that is not named here is in no backup: copy it in `store/sql/segment.rs`, or make it again
    // in `store/remake.rs`.
    let not_of_the_log = |class| matches!(class, TableClass::Derived | TableClass::Operational);
    let tables = ap_gateway::gateway::tables();
    let named: BTreeSet<_> =
        tables.iter().filter(|table| not_of_the_log(table.class)).map(|table| table.name).collect();
    let copied = ["activated_keys", "checkpoints"];
    let made_again = [
        "tiles",
        "current_versions",
        "parties",
        "callers",
        "placement_entries",
        "practitioner_entries",
        "index_progress",
    ];
    let not_needed = ["nodes", "_sqlx_migrations"];
    assert_eq!(named, copied.into_iter().chain(made_again).chain(not_needed).collect());
}
