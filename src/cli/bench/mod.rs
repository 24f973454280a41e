//! `bench`: load of many providers on a sandbox in a separate process, with every receipt verified. `benches/` runs it
//! beside measurements of the machine's own limits.

pub mod fleet;
pub mod load;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use self::load::{AnswerCheck, LoadShape, Measurement, SenderPool};
use super::args::BenchArgs;
use super::{Failure, output};

/// Domain time at which the load starts. The clock runs, because ids that are created within one millisecond would be
/// at random positions in the indexes.
const LOAD_STARTS_AT: &str = "2026-11-20T16:00:00Z";

/// Starts a sandbox, creates the fleet, runs one closed loop, and prints the measurement.
///
/// # Errors
/// Errors of the client and of the sandbox.
pub async fn run(args: &BenchArgs) -> Result<(), Failure> {
    let dir = args.dir.as_path();
    let binary = std::env::current_exe().map_err(|error| Failure::unavailable("this binary", error))?;
    let server = spawn_sandbox(&binary, dir, args.postgres_url_file.as_deref())?;
    let fleet = fleet::load_or_create(dir, args.organisations, args.placements).await?;
    let senders = SenderPool::connect(dir, &fleet, args.connections, AnswerCheck::VerifyReceipt).await?;
    let shape = LoadShape {
        marks: args.marks,
        in_flight: args.in_flight,
        duration: Duration::from_secs(args.seconds),
    };
    let before = server.processor_time();
    let measured = load::run_closed_loop(&senders, shape).await?;
    let used = server.processor_time().saturating_sub(before);
    output::print_table(
        ["marks a call", "in flight", "calls/s", "marks/s", "p50 µs", "p99 µs", "server µs a call"],
        &[table_row(shape, &measured, used)],
    );
    senders.save_progress()
}

fn table_row(shape: LoadShape, measured: &Measurement, used: Duration) -> [String; 7] {
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let marks = measured.calls_per_second() * shape.marks as f64;
    [
        shape.marks.to_string(),
        shape.in_flight.to_string(),
        format!("{:.0}", measured.calls_per_second()),
        format!("{marks:.0}"),
        measured.latency_quantile(500).to_string(),
        measured.latency_quantile(990).to_string(),
        (used.as_micros() / u128::from(measured.calls.max(1))).to_string(),
    ]
}

/// Sandbox in a separate process, which is killed on drop.
pub struct SandboxProcess(Child);

impl SandboxProcess {
    /// Returns the processor time that the process has used, user and system (`proc(5)`: fields 14 and 15 of `stat`, in
    /// ticks of 10 ms).
    #[must_use]
    pub fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap_or_default();
        // The name, in parentheses, may contain spaces; field 3 follows it.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * 10)
    }
}

impl SandboxProcess {
    /// Returns the resident memory of the process, in bytes (`proc(5)`: field 2 of `statm`, in pages of 4 KiB).
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.0.id())).unwrap_or_default();
        statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4_096
    }
}

impl Drop for SandboxProcess {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).ok();
    }
}

/// Starts a sandbox in a separate process.
///
/// # Errors
/// Exit code 69 when it does not start.
pub fn spawn_sandbox(
    binary: &Path,
    dir: &Path,
    postgres_url_file: Option<&Path>,
) -> Result<SandboxProcess, Failure> {
    let failed = |error| Failure::unavailable("the sandbox", error);
    let mut command = Command::new(binary);
    command.arg("sandbox").arg("--dir").arg(dir).args(["--clock", LOAD_STARTS_AT, "--clock-runs"]);
    if let Some(path) = postgres_url_file {
        command.arg("--postgres-url-file").arg(path);
    }
    let mut server = SandboxProcess(command.stdout(Stdio::piped()).spawn().map_err(failed)?);
    let mut line = String::new();
    if let Some(out) = server.0.stdout.take() {
        BufReader::new(out).read_line(&mut line).map_err(failed)?;
    }
    if line.starts_with("READY ") {
        Ok(server)
    } else {
        Err(failed(std::io::Error::other("it did not become ready")))
    }
}
