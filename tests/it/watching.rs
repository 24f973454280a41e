//! `watch`: what it shows, acknowledges and keeps, whatever becomes of its output and of its connection.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ap_gateway::cli::{audit, sandbox};
use ap_gateway::client::Client;
use serde_json::Value;

use super::limits::{output, within};
use super::process::{Process, Sandbox};
use super::safety::set;
use super::story::{mark, submission, submit};
use super::support::{World, deliveries, gateway};
use ap_gateway::proto::v1::OrganisationState;

/// The bound within which a watcher has shown something, or has ended.
const BOUND: Duration = Duration::from_mins(1);

fn watch(profile: &Path, more: &[&str]) -> Command {
    let mut watch = gateway();
    watch.args(["watch", "deliveries", "--json", "--profile"]).arg(profile).args(more);
    watch
}

/// The indexes of the deliveries that were shown, in order.
fn indexes(shown: &[u8]) -> Vec<u64> {
    let lines = std::str::from_utf8(shown).unwrap().lines();
    let index = |line| {
        let delivery: Value = serde_json::from_str(line).unwrap();
        delivery["cursor"]["index"].as_str().unwrap().parse().unwrap()
    };
    lines.map(index).collect()
}

async fn acknowledgements(client: &Client) -> usize {
    let made = audit::exchanges(client).await.unwrap();
    made.iter()
        .filter(|made| made.organisation == "la/330" && made.method.ends_with("AcknowledgeDelivery"))
        .count()
}

/// Standard output that takes nothing, or that nobody reads.
#[derive(Clone, Copy, PartialEq)]
enum Out {
    Full,
    Pipe,
    /// What a program finds that was started with standard output closed.
    Null,
}

/// Runs a verb with such standard output.
fn unwritable(verb: &mut Command, out: Out) -> (Option<i32>, String) {
    let out = match out {
        Out::Pipe => {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            Stdio::from(writer)
        }
        Out::Full => File::options().write(true).open("/dev/full").unwrap().into(),
        Out::Null => Stdio::null(),
    };
    let ended = verb.stdin(Stdio::null()).stdout(out).stderr(Stdio::piped()).spawn().unwrap();
    let ended = ended.wait_with_output().unwrap();
    (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_that_could_not_be_written() {
    let world = World::sqlite().await;
    let (la, profile) = (world.client("la-a").await, sandbox::profile(world.dir.path(), "la-a"));
    let before = acknowledgements(&la).await;
    for closed in [Out::Full, Out::Pipe, Out::Null] {
        let (code, said) = unwritable(&mut watch(&profile, &["--acknowledge", "--once"]), closed);
        assert_eq!(code, Some(69), "{said}");
        assert!(said.contains("standard output") && !said.contains("panic"), "{said}");
        let (code, said) = unwritable(&mut watch(&profile, &["--acknowledge"]), closed);
        assert_eq!(code, Some(69), "{said}");
    }
    assert_eq!(acknowledgements(&la).await, before);
    let all = deliveries(&la).await.len();
    let shown = output(&mut watch(&profile, &["--acknowledge", "--once"]));
    assert_eq!((shown.status.code(), indexes(&shown.stdout).len()), (Some(0), all), "no cursor was moved");
    assert!(acknowledgements(&la).await > before);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_verb_fails_with_its_output() {
    let world = World::sqlite().await;
    let dir = world.dir.path();
    let profile = |name: &str| sandbox::profile(dir, name);
    let placement = world.placements("la-a", "provider-a").remove(0);
    let register = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/exports/riverside-marks.csv");
    let register = register.to_str().unwrap();
    let (la, riverside, auditor) = (profile("la-a"), profile("provider-a"), profile("auditor"));
    let verbs: [(&[&str], Option<&PathBuf>); 9] = [
        (&["placements", "list"], Some(&la)),
        (&["placements", "list", "--json"], Some(&la)),
        (&["watch", "alerts", "--once", "--all"], Some(&riverside)),
        (&["passport", "get", &placement], Some(&la)),
        (&["submit", "attendance", "--validate-only", register], Some(&riverside)),
        (&["submit", "attendance", "--preview", register], None),
        (&["audit", "list"], Some(&auditor)),
        (&["audit", "head"], Some(&auditor)),
        (&["--help"], None),
    ];
    for (words, profile) in verbs {
        for closed in [Out::Full, Out::Pipe] {
            let mut verb = gateway();
            verb.args(words);
            if let Some(profile) = profile {
                verb.arg("--profile").arg(profile);
            }
            // What it has to say does not depend on where it goes.
            assert_eq!(output(&mut verb).status.code(), Some(0), "{words:?}");
            let (code, said) = unwritable(&mut verb, closed);
            assert_eq!(code, Some(69), "{words:?}: {said}");
            assert!(said.contains("standard output") && !said.contains("panic"), "{words:?}: {said}");
        }
    }
    let dir = world.stop().await;
    let config = dir.path().join("gateway.toml");
    let (code, said) = unwritable(gateway().args(["check", "--config"]).arg(config), Out::Full);
    assert_eq!(code, Some(69), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_shows_what_is_new_and_all_shows_the_rest() {
    let world = World::sqlite().await;
    let dir = world.dir.path();
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let profile = sandbox::profile(dir, "la-a");
    let shown = |more: &[&str]| {
        let shown = output(watch(&profile, &["--once"]).args(more));
        assert_eq!(shown.status.code(), Some(0), "{}", String::from_utf8_lossy(&shown.stderr));
        indexes(&shown.stdout)
    };
    let all = deliveries(&la).await.len();
    assert_eq!((shown(&[]).len(), shown(&[]).len(), shown(&["--all"]).len()), (all, 0, all));
    let placement = world.placements("la-a", "provider-a").remove(0);
    submit(&riverside, &submission(vec![mark(&placement, "2026-11-02", "/")])).await.unwrap();
    let new = shown(&[]);
    assert_eq!((new.len(), shown(&[]).len()), (1, 0));
    // A run that only showed acknowledged nothing, and keeps nothing from being acknowledged.
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
        let refused = output(&mut watch(&profile, more));
        let said = String::from_utf8(refused.stderr).unwrap();
        assert_eq!((refused.status.code(), refused.stdout.len()), (Some(78), 0), "{said}");
        let stage = if more.contains(&"--acknowledge") { "acknowledged" } else { "shown" };
        assert!(
            said.contains(&format!("deliveries-{stage}-la-330")) && said.contains("remove the file"),
            "{said}"
        );
    }
    world.stop().await;
}

/// A watcher that runs, its output in files; killed when it is dropped.
struct Watcher {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Watcher {
    fn start(dir: &Path, more: &[&str]) -> Self {
        let (out, err) = (dir.join("watched"), dir.join("watched-errors"));
        let mut watch = watch(&sandbox::profile(dir, "la-a"), more);
        watch.stdin(Stdio::null()).stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        Self { child: watch.spawn().unwrap(), out, err }
    }

    async fn shows(&self, deliveries: usize) -> Vec<u64> {
        let shown = async {
            loop {
                let text = std::fs::read(&self.out).unwrap();
                let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
                let shown = indexes(&text[..whole]);
                if shown.len() >= deliveries {
                    return shown;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        within(BOUND, &format!("{deliveries} deliveries are shown"), shown).await
    }

    async fn says(&self, what: &str) {
        let said = async {
            while !std::fs::read_to_string(&self.err).unwrap().contains(what) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        within(BOUND, what, said).await;
    }

    async fn ends(mut self) -> (Option<i32>, String) {
        let ended = async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status.code();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        (within(BOUND, "the watcher has ended", ended).await, std::fs::read_to_string(&self.err).unwrap())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Sends one mark of a day of its own.
async fn send(riverside: &Client, placement: &str, day: u32) {
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
    watcher.shows(all).await;
    for day in [2, 3, 4] {
        send(&sandbox.client("provider-a").await, &placement, day).await;
        drop(server);
        watcher.says("connecting again").await;
        let further = ["--listen", &listen].map(OsStr::new);
        server = Process::start(gateway(), sandbox.path(), &further);
        send(&sandbox.client("provider-a").await, &placement, day + 7).await;
        watcher.shows(all + 2 * usize::try_from(day - 1).unwrap()).await;
    }
    let delivered = deliveries(&sandbox.client("la-a").await).await;
    let delivered: Vec<u64> = delivered.iter().map(|one| one.cursor.as_ref().unwrap().index).collect();
    assert_eq!(watcher.shows(0).await, delivered);
    drop(server);
    drop(watcher);
    sandbox.verifies().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_stays_ends_a_watch_and_so_does_a_long_outage() {
    let sandbox = Sandbox::new();
    let server = Process::serve(sandbox.path());
    let operator = sandbox.client("operator").await;
    let profile = sandbox::profile(sandbox.path(), "provider-a");
    let mut suspended = watch(&profile, &[]);
    suspended.stdin(Stdio::null()).stdout(File::create(sandbox.path().join("suspended")).unwrap());
    let err = sandbox.path().join("suspended-errors");
    let child = suspended.stderr(File::create(&err).unwrap()).spawn().unwrap();
    let watcher = Watcher { child, out: PathBuf::new(), err };
    set(&operator, OrganisationState::Suspended).await;
    let (code, said) = watcher.ends().await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("ORG_SUSPENDED"), "{said}");
    let all = deliveries(&sandbox.client("la-a").await).await.len();
    let watcher = Watcher::start(sandbox.path(), &["--give-up-after", "1"]);
    watcher.shows(all).await;
    drop(server);
    let (code, said) = watcher.ends().await;
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains("given up after 1 second"), "{said}");
}

/// A profile that is pointed at another gateway finds there what it has not seen.
#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_is_of_one_gateway() {
    let (one, other) = (World::sqlite().await, World::sqlite().await);
    let shown = |profile: &Path| {
        let shown = output(&mut watch(profile, &["--once"]));
        assert_eq!(shown.status.code(), Some(0), "{}", String::from_utf8_lossy(&shown.stderr));
        indexes(&shown.stdout).len()
    };
    let all = shown(&sandbox::profile(one.dir.path(), "la-a"));
    let profile = sandbox::profile(other.dir.path(), "la-a");
    let text = std::fs::read_to_string(&profile).unwrap();
    let seen = one.dir.path().join("seen/la-a");
    std::fs::write(&profile, text.replace("../seen/la-a", seen.to_str().unwrap())).unwrap();
    assert_eq!((shown(&profile), shown(&profile)), (all, 0));
    one.stop().await;
    other.stop().await;
}

/// An organisation that did not appoint the auditor is not one that exchanged nothing.
#[tokio::test(flavor = "multi_thread")]
async fn no_rows_and_no_appointment_are_told_apart() {
    let world = World::sqlite().await;
    let list = |more: &[&str]| {
        let profile = sandbox::profile(world.dir.path(), "auditor");
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
