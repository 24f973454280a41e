//! The `watch` command: output, acknowledgements and stored cursors, also when its output or its connection fails.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ap_gateway::cli::{audit, sandbox};
use ap_gateway::client::Client;
use serde_json::Value;

use super::ended_rights::set_riverside_state;
use super::exchange_semantics::{mark, submission, submit};
use super::limits::{output, within};
use super::person_commands::repeatable_commands;
use super::process::{Process, Sandbox};
use super::support::{World, deliveries, gateway};
use ap_gateway::proto::v1::OrganisationState;

/// Time limit until a watcher has printed something or has exited.
const MAX_WAIT: Duration = Duration::from_mins(1);

fn watch_command(profile: &Path, more: &[&str]) -> Command {
    let mut watch = gateway();
    watch.args(["watch", "deliveries", "--json", "--profile"]).arg(profile).args(more);
    watch
}

/// Returns the indexes of the printed deliveries, in order.
fn shown_indexes(shown: &[u8]) -> Vec<u64> {
    let lines = std::str::from_utf8(shown).unwrap().lines();
    let index = |line| {
        let delivery: Value = serde_json::from_str(line).unwrap();
        delivery["cursor"]["index"].as_str().unwrap().parse().unwrap()
    };
    lines.map(index).collect()
}

async fn count_acknowledgements(client: &Client) -> usize {
    let made = audit::list_all_exchanges(client).await.unwrap();
    made.iter()
        .filter(|made| made.organisation == "la/330" && made.method.ends_with("AcknowledgeDelivery"))
        .count()
}

/// A standard output that cannot be written or has no reader.
#[derive(Clone, Copy, PartialEq)]
pub enum UnwritableOutput {
    Full,
    ClosedPipe,
    /// /dev/null, which stands for a closed standard output.
    Null,
}

/// Runs a command with such a standard output; returns exit code and stderr.
pub fn run_with_output(verb: &mut Command, out: UnwritableOutput) -> (Option<i32>, String) {
    let out = match out {
        UnwritableOutput::ClosedPipe => {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            Stdio::from(writer)
        }
        UnwritableOutput::Full => File::options().write(true).open("/dev/full").unwrap().into(),
        UnwritableOutput::Null => Stdio::null(),
    };
    let ended = verb.stdin(Stdio::null()).stdout(out).stderr(Stdio::piped()).spawn().unwrap();
    let ended = ended.wait_with_output().unwrap();
    (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_that_could_not_be_written() {
    let world = World::sqlite().await;
    let (la, profile) = (world.client("la-a").await, sandbox::profile_path(world.dir.path(), "la-a"));
    let before = count_acknowledgements(&la).await;
    for closed in [UnwritableOutput::Full, UnwritableOutput::ClosedPipe, UnwritableOutput::Null] {
        let (code, stderr) =
            run_with_output(&mut watch_command(&profile, &["--acknowledge", "--once"]), closed);
        assert_eq!(code, Some(69), "{stderr}");
        assert!(stderr.contains("standard output") && !stderr.contains("panic"), "{stderr}");
        let (code, stderr) = run_with_output(&mut watch_command(&profile, &["--acknowledge"]), closed);
        assert_eq!(code, Some(69), "{stderr}");
    }
    assert_eq!(count_acknowledgements(&la).await, before);
    let all = deliveries(&la).await.len();
    let shown = output(&mut watch_command(&profile, &["--acknowledge", "--once"]));
    assert_eq!(
        (shown.status.code(), shown_indexes(&shown.stdout).len()),
        (Some(0), all),
        "no cursor was moved"
    );
    assert!(count_acknowledgements(&la).await > before);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_verb_fails_with_its_output() {
    let world = World::sqlite().await;
    let dir = world.dir.path();
    let profile = |name: &str| sandbox::profile_path(dir, name);
    let placement = world.placements("la-a", "provider-a").remove(0);
    let register = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/exports/riverside-marks.csv");
    let register = register.to_str().unwrap();
    let (la, riverside, auditor) = (profile("la-a"), profile("provider-a"), profile("auditor"));
    let verbs: [(&[&str], Option<&PathBuf>); 11] = [
        (&["placements", "list"], Some(&la)),
        (&["placements", "list", "--json"], Some(&la)),
        (&["watch", "alerts", "--once", "--all"], Some(&riverside)),
        (&["alerts", "list"], Some(&riverside)),
        (&["report", "findings"], Some(&la)),
        (&["passport", "get", &placement], Some(&la)),
        (&["submit", "attendance", "--validate-only", register], Some(&riverside)),
        (&["submit", "attendance", "--preview", register], None),
        (&["audit", "list"], Some(&auditor)),
        (&["audit", "head"], Some(&auditor)),
        (&["--help"], None),
    ];
    let verbs = verbs.into_iter().map(|(words, profile)| {
        (words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>(), profile.cloned())
    });
    let of_persons = repeatable_commands(dir).into_iter().map(|(words, profile)| (words, Some(profile)));
    for (words, profile) in verbs.chain(of_persons) {
        for closed in [UnwritableOutput::Full, UnwritableOutput::ClosedPipe] {
            let mut verb = gateway();
            verb.args(&words);
            if let Some(profile) = &profile {
                verb.arg("--profile").arg(profile);
            }
            // With a working output the command succeeds.
            assert_eq!(output(&mut verb).status.code(), Some(0), "{words:?}");
            let (code, stderr) = run_with_output(&mut verb, closed);
            assert_eq!(code, Some(69), "{words:?}: {stderr}");
            assert!(stderr.contains("standard output") && !stderr.contains("panic"), "{words:?}: {stderr}");
        }
    }
    let dir = world.stop().await;
    let config = dir.path().join("gateway.toml");
    let (code, stderr) =
        run_with_output(gateway().args(["check", "--config"]).arg(config), UnwritableOutput::Full);
    assert_eq!(code, Some(69), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_shows_what_is_new_and_all_shows_the_rest() {
    let world = World::sqlite().await;
    let dir = world.dir.path();
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let profile = sandbox::profile_path(dir, "la-a");
    let shown = |more: &[&str]| {
        let shown = output(watch_command(&profile, &["--once"]).args(more));
        assert_eq!(shown.status.code(), Some(0), "{}", String::from_utf8_lossy(&shown.stderr));
        shown_indexes(&shown.stdout)
    };
    let all = deliveries(&la).await.len();
    assert_eq!((shown(&[]).len(), shown(&[]).len(), shown(&["--all"]).len()), (all, 0, all));
    let placement = world.placements("la-a", "provider-a").remove(0);
    submit(&riverside, &submission(vec![mark(&placement, "2026-11-02", "/")])).await.unwrap();
    let new = shown(&[]);
    assert_eq!((new.len(), shown(&[]).len()), (1, 0));
    // A run without `--acknowledge` acknowledged nothing and does not affect what a later run acknowledges.
    assert_eq!(shown(&["--acknowledge"]).len(), all + 1);
    assert_eq!((shown(&["--acknowledge"]).len(), shown(&["--all"]).last()), (0, new.first()));
    let cursors: Vec<_> =
        std::fs::read_dir(dir.join("seen/la-a-cursors")).unwrap().map(|it| it.unwrap().path()).collect();
    assert_eq!(cursors.len(), 2);
    for cursor in &cursors {
        let text = std::fs::read_to_string(cursor).unwrap();
        std::fs::write(cursor, text.replacen("index ", "index 1", 1)).unwrap();
    }
    for more in [&["--once"][..], &["--once", "--all"], &["--once", "--acknowledge"]] {
        let refused = output(&mut watch_command(&profile, more));
        let stderr = String::from_utf8(refused.stderr).unwrap();
        assert_eq!((refused.status.code(), refused.stdout.len()), (Some(78), 0), "{stderr}");
        let stage = if more.contains(&"--acknowledge") { "acknowledged" } else { "shown" };
        assert!(
            stderr.contains(&format!("deliveries-{stage}-la-330")) && stderr.contains("remove the file"),
            "{stderr}"
        );
    }
    world.stop().await;
}

/// A running `watch` process with its output in files. It is killed when dropped.
pub struct Watcher {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Watcher {
    pub fn start(dir: &Path, more: &[&str]) -> Self {
        let (out, err) = (dir.join("watched"), dir.join("watched-errors"));
        let mut watch = watch_command(&sandbox::profile_path(dir, "la-a"), more);
        watch.stdin(Stdio::null()).stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        Self { child: watch.spawn().unwrap(), out, err }
    }

    pub async fn wait_for_shown(&self, deliveries: usize) -> Vec<u64> {
        let shown = async {
            loop {
                let text = std::fs::read(&self.out).unwrap();
                let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
                let shown = shown_indexes(&text[..whole]);
                if shown.len() >= deliveries {
                    return shown;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        within(MAX_WAIT, &format!("{deliveries} deliveries are shown"), shown).await
    }

    async fn wait_for_message(&self, what: &str) {
        let said = async {
            while !std::fs::read_to_string(&self.err).unwrap().contains(what) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        within(MAX_WAIT, what, said).await;
    }

    pub async fn wait_for_exit(mut self) -> (Option<i32>, String) {
        let ended = async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status.code();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        (within(MAX_WAIT, "the watcher has ended", ended).await, std::fs::read_to_string(&self.err).unwrap())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Submits one mark for a day.
async fn submit_mark(riverside: &Client, placement: &str, day: u32) {
    let marks = vec![mark(placement, &format!("2026-11-{day:02}"), "/")];
    submit(riverside, &submission(marks)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_made_again_without_duplicates_or_gaps() {
    let sandbox = Sandbox::new();
    let mut server = Process::serve(sandbox.path());
    let listen = server.address().to_string();
    let placed = sandbox::world::load(sandbox.path()).unwrap().placements.into_iter();
    let mut placed =
        placed.filter(|placed| (&*placed.commissioner, &*placed.provider) == ("la-a", "provider-a"));
    let placement = placed.next().unwrap().placement_id;
    let all = deliveries(&sandbox.client("la-a").await).await.len();
    let watcher = Watcher::start(sandbox.path(), &["--acknowledge"]);
    watcher.wait_for_shown(all).await;
    for day in [2, 3, 4] {
        submit_mark(&sandbox.client("provider-a").await, &placement, day).await;
        drop(server);
        watcher.wait_for_message("reconnecting").await;
        let further = ["--listen", &listen].map(OsStr::new);
        server = Process::start(gateway(), sandbox.path(), &further);
        submit_mark(&sandbox.client("provider-a").await, &placement, day + 7).await;
        watcher.wait_for_shown(all + 2 * usize::try_from(day - 1).unwrap()).await;
    }
    let delivered = deliveries(&sandbox.client("la-a").await).await;
    let delivered: Vec<u64> = delivered.iter().map(|one| one.cursor.as_ref().unwrap().index).collect();
    assert_eq!(watcher.wait_for_shown(0).await, delivered);
    drop(server);
    drop(watcher);
    sandbox.assert_log_verifies().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_stays_ends_a_watch_and_so_does_a_long_outage() {
    let sandbox = Sandbox::new();
    let server = Process::serve(sandbox.path());
    let operator = sandbox.client("operator").await;
    let profile = sandbox::profile_path(sandbox.path(), "provider-a");
    let mut suspended = watch_command(&profile, &[]);
    suspended.stdin(Stdio::null()).stdout(File::create(sandbox.path().join("suspended")).unwrap());
    let err = sandbox.path().join("suspended-errors");
    let child = suspended.stderr(File::create(&err).unwrap()).spawn().unwrap();
    let watcher = Watcher { child, out: PathBuf::new(), err };
    set_riverside_state(&operator, OrganisationState::Suspended).await;
    let (code, stderr) = watcher.wait_for_exit().await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("ORG_SUSPENDED"), "{stderr}");
    let all = deliveries(&sandbox.client("la-a").await).await.len();
    let watcher = Watcher::start(sandbox.path(), &["--give-up-after", "1"]);
    watcher.wait_for_shown(all).await;
    drop(server);
    let (code, stderr) = watcher.wait_for_exit().await;
    assert_eq!(code, Some(69), "{stderr}");
    assert!(stderr.contains("given up after 1 second"), "{stderr}");
}

/// Checks that cursors are bound to a gateway: a profile that is changed to another gateway starts at the beginning
/// there.
#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_is_of_one_gateway() {
    let (one, other) = (World::sqlite().await, World::sqlite().await);
    let shown = |profile: &Path| {
        let shown = output(&mut watch_command(profile, &["--once"]));
        assert_eq!(shown.status.code(), Some(0), "{}", String::from_utf8_lossy(&shown.stderr));
        shown_indexes(&shown.stdout).len()
    };
    let all = shown(&sandbox::profile_path(one.dir.path(), "la-a"));
    let profile = sandbox::profile_path(other.dir.path(), "la-a");
    let text = std::fs::read_to_string(&profile).unwrap();
    let seen = one.dir.path().join("seen/la-a");
    std::fs::write(&profile, text.replace("../seen/la-a", seen.to_str().unwrap())).unwrap();
    assert_eq!((shown(&profile), shown(&profile)), (all, 0));
    one.stop().await;
    other.stop().await;
}

/// Checks that no appointment and no exchanges are distinguishable for an auditor.
#[tokio::test(flavor = "multi_thread")]
async fn no_rows_and_no_appointment_are_told_apart() {
    let world = World::sqlite().await;
    let list = |more: &[&str]| {
        let profile = sandbox::profile_path(world.dir.path(), "auditor");
        let listed = output(gateway().args(["audit", "list", "--json", "--profile"]).arg(profile).args(more));
        (listed.status.code(), listed.stdout.len(), String::from_utf8(listed.stderr).unwrap())
    };
    assert_eq!(list(&["--organisation", "la/330", "--method", "VoidReturn"]), (Some(0), 0, String::new()));
    let other = list(&["--organisation", "la/331"]);
    assert_eq!((other.0, other.1), (Some(1), 0));
    assert!(other.2.contains("NOT_APPOINTED"), "{}", other.2);
    assert_eq!(list(&["--organisation", "la/999"]), other);
    world.stop().await;
}
