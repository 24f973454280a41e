//! Attacks of every known kind and honest load at the same time, on `serve` with its default limits: what was
//! acknowledged is stored once, the log verifies, the memory stays bounded and a canary is answered. `tests/long` runs
//! it for ten minutes on the release binary.

pub mod attackers;
pub mod attacks;
pub mod connection;
mod honest;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use attackers::Attackers;
use honest::HonestLoad;
use uuid::Uuid;

use super::large_answer;
use super::limits::allow;
use super::process::Sandbox;
use super::serve_process::{ServeFolder, ServeProcess};
use super::support::{gateway, run};

/// Length of the attack in a normal run; `tests/long` sets more.
const DEFAULT_ATTACK_TIME: Duration = Duration::from_secs(8);
/// Time in which the honest callers are alone, at most.
const MAX_CALM_TIME: Duration = Duration::from_mins(1);
/// Memory that the attacks may add.
const MAX_ADDED_BYTES: u64 = 256 << 20;
/// Bound on the canary's 99th percentile. It is far above the goal, because attackers and gateway share the machine.
const MAX_CANARY_P99: Duration = Duration::from_secs(5);
/// Hard limit of the process on its file descriptors. The attackers' connections alone exceed it.
const MAX_DESCRIPTORS: u32 = 1_024;

/// The length of a run and the size of its attacks.
pub struct Scale {
    attack: Duration,
    calm: Duration,
    /// Connections that never send anything: at once, and new ones each second.
    silent: (usize, u32),
    /// Organisations without a registration that hold as many connections as one may have.
    idle_organisations: usize,
}

/// State of the process at one second.
#[derive(Clone, Copy)]
struct Sample {
    resident_bytes: u64,
    descriptors: usize,
    acknowledged: usize,
}

impl Scale {
    fn configured() -> Self {
        let seconds = std::env::var("AP_GATEWAY_TEST_ATTACK_SECONDS").ok();
        let attack = seconds.map(|seconds| Duration::from_secs(seconds.parse().unwrap()));
        let calm = |attack: Duration| (attack / 4).min(MAX_CALM_TIME);
        match attack {
            // The descriptors of a test process may be limited to 1,024.
            None => Self {
                attack: DEFAULT_ATTACK_TIME,
                calm: calm(DEFAULT_ATTACK_TIME),
                silent: (200, 20),
                idle_organisations: 1,
            },
            Some(attack) => Self { attack, calm: calm(attack), silent: (2_000, 100), idle_organisations: 16 },
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn honest_callers_are_served_under_attack() {
    let scale = Scale::configured();
    allow((scale.calm + scale.attack) * 2 + Duration::from_mins(10));
    let folder = ServeFolder::new();
    attackers::issue_certificates(&folder, &scale);
    let served = folder.start(limited_gateway());
    large_answer::store(&folder, &served, attacks::REGISTERED).await;

    let load = HonestLoad::start(&folder, &served, scale.calm + scale.attack).await;
    let mut samples = sample(&served, &load, scale.calm).await;
    let calm_seconds = samples.len();
    let attackers = Attackers::start(&folder, &served, &scale);
    samples.extend(sample(&served, &load, scale.attack).await);
    let rounds = attackers.stop();
    let load = load.stop().await;
    served.signal("TERM");
    let status = served.wait_for_exit();

    let report = report(&samples, calm_seconds, &load, &rounds);
    std::io::stderr().write_all(report.as_bytes()).unwrap();
    if let Some(path) = std::env::var_os("AP_GATEWAY_TEST_CURVE") {
        write_curve(Path::new(&path), &samples, calm_seconds, &load);
    }
    assert!(status.success(), "{status}");
    assert!(load.acknowledged.len() > 10 && rounds.values().all(|rounds| *rounds > 0));
    assert_eq!(lost(folder.sandbox(), &load.acknowledged).await, Vec::<Uuid>::new());
    verify(&folder);
    assert_eq!(load.failures("canary"), 0);
    let slowest = quantile(&load.canary_between(calm_seconds, samples.len()), 990);
    assert!(slowest < MAX_CANARY_P99, "the canary's p99 is {slowest:?}");
    let peak = |samples: &[Sample]| samples.iter().map(|sample| sample.resident_bytes).max().unwrap();
    let (calm, attacked) = samples.split_at(calm_seconds);
    let (before, during) = (peak(calm), peak(attacked));
    assert!(during <= before + MAX_ADDED_BYTES, "memory: {before} bytes before, {during} during the attack");
}

/// Returns a command that runs the gateway, or the binary that `tests/long` built, with few file descriptors.
pub fn limited_gateway() -> Command {
    let binary = std::env::var_os("AP_GATEWAY_TEST_BINARY");
    let binary = binary.unwrap_or_else(|| gateway().get_program().to_owned());
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {MAX_DESCRIPTORS}; exec \"$0\" \"$@\"")]).arg(binary);
    command
}

/// Samples the process each second.
async fn sample(served: &ServeProcess, load: &HonestLoad, time: Duration) -> Vec<Sample> {
    let (begun, mut samples) = (Instant::now(), Vec::new());
    while begun.elapsed() < time {
        tokio::time::sleep(Duration::from_secs(1)).await;
        samples.push(Sample {
            resident_bytes: served.resident_bytes(),
            descriptors: served.descriptors(),
            acknowledged: load.acknowledged(),
        });
    }
    samples
}

/// Returns the acknowledged marks that are not stored exactly once.
async fn lost(sandbox: &Sandbox, acknowledged: &[Uuid]) -> Vec<Uuid> {
    let mut stored: BTreeMap<Uuid, u32> = BTreeMap::new();
    for row in sandbox.query("SELECT return_id FROM marks").await {
        *stored.entry(row.get("return_id").unwrap()).or_default() += 1;
    }
    acknowledged.iter().copied().filter(|mark| stored.get(mark) != Some(&1)).collect()
}

/// Runs `audit verify` on the database with every key. It fails at the first finding.
fn verify(folder: &ServeFolder) {
    let mut verify = gateway();
    if let Some(binary) = std::env::var_os("AP_GATEWAY_TEST_BINARY") {
        verify = Command::new(binary);
    }
    verify.args(["audit", "verify"]);
    for (option, file) in [
        ("--database", "gateway.sqlite"),
        ("--log-key", "log-key"),
        ("--anchor", "anchor"),
        ("--key-ring", "key-ring"),
        ("--commitment-key", "commitment-key"),
    ] {
        verify.arg(option).arg(folder.file_path(file));
    }
    let printed = run(&mut verify);
    std::io::stderr().write_all(printed.as_bytes()).unwrap();
}

fn report(
    samples: &[Sample],
    calm_seconds: usize,
    load: &honest::Measured,
    rounds: &BTreeMap<&'static str, u64>,
) -> String {
    let mut text = String::new();
    let (calm, attacked) = samples.split_at(calm_seconds);
    for (name, samples, latencies) in [
        ("calm", calm, load.canary_between(0, calm_seconds)),
        ("attack", attacked, load.canary_between(calm_seconds, samples.len())),
    ] {
        let mut memory: Vec<u64> = samples.iter().map(|sample| sample.resident_bytes >> 20).collect();
        memory.sort_unstable();
        let descriptors = samples.iter().map(|sample| sample.descriptors).max().unwrap_or(0);
        let acknowledged = samples.last().unwrap().acknowledged - samples.first().unwrap().acknowledged;
        writeln!(
            text,
            "{name}: {} s, RSS MiB min {} median {} max {}, descriptors max {descriptors}, marks acknowledged \
             {acknowledged}, canary calls {} p50 {:?} p99 {:?} max {:?}",
            samples.len(),
            memory[0],
            memory[memory.len() / 2],
            memory[memory.len() - 1],
            latencies.len(),
            quantile(&latencies, 500),
            quantile(&latencies, 990),
            quantile(&latencies, 1_000),
        )
        .unwrap();
    }
    writeln!(text, "acknowledged in all: {}", load.acknowledged.len()).unwrap();
    writeln!(text, "failed calls: {:?}", load.failed).unwrap();
    writeln!(text, "rounds of the attackers: {rounds:?}").unwrap();
    text
}

/// Returns the latency that `permille` of 1,000 calls did not exceed; the latencies are sorted.
fn quantile(latencies: &[Duration], permille: usize) -> Duration {
    let last = latencies.len().saturating_sub(1);
    latencies.get(last * permille / 1_000).copied().unwrap_or_default()
}

/// Writes a line of each second.
fn write_curve(path: &Path, samples: &[Sample], calm_seconds: usize, load: &honest::Measured) {
    let mut text = String::from(
        "second,phase,rss_kib,descriptors,acknowledged,canary_calls,canary_p50_us,canary_p99_us\n",
    );
    for (second, sample) in samples.iter().enumerate() {
        let phase = if second < calm_seconds { "calm" } else { "attack" };
        let latencies = load.canary_between(second, second + 1);
        let (p50, p99) = (quantile(&latencies, 500).as_micros(), quantile(&latencies, 990).as_micros());
        let Sample { resident_bytes, descriptors, acknowledged } = sample;
        let rss = resident_bytes >> 10;
        let calls = latencies.len();
        writeln!(text, "{second},{phase},{rss},{descriptors},{acknowledged},{calls},{p50},{p99}").unwrap();
    }
    std::fs::write(path, text).unwrap();
}
