//! `bench`: a load of many providers on a sandbox that runs as a process of its own, every receipt
//! verified. `benches/` runs it beside the ceilings of the machine.

pub mod fleet;
pub mod load;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use self::load::{Answer, Measured, Senders, Shape};
use super::args::Bench;
use super::{Failure, output};

/// When the load begins, for the domain. Time runs on, or ids that are made within one millisecond would lie
/// anywhere in its indexes.
const NOW: &str = "2026-11-20T16:00:00Z";

/// Serves a sandbox, makes the fleet, runs one closed loop, prints what it measured.
///
/// # Errors
/// As the client's and the sandbox's.
pub async fn run(args: &Bench) -> Result<(), Failure> {
    let dir = args.dir.as_path();
    let binary = std::env::current_exe().map_err(|error| Failure::unavailable("this binary", error))?;
    let server = serve(&binary, dir, args.postgres_url_file.as_deref())?;
    let fleet = fleet::make(dir, args.organisations, args.placements).await?;
    let senders = Senders::connect(dir, &fleet, args.connections, Answer::Verified).await?;
    let shape =
        Shape { marks: args.marks, in_flight: args.in_flight, duration: Duration::from_secs(args.seconds) };
    let before = server.processor_time();
    let measured = load::closed(&senders, shape).await?;
    let used = server.processor_time().saturating_sub(before);
    output::table(
        ["marks a call", "in flight", "calls/s", "marks/s", "p50 µs", "p99 µs", "server µs a call"],
        &[row(shape, &measured, used)],
    );
    senders.keep()
}

fn row(shape: Shape, measured: &Measured, used: Duration) -> [String; 7] {
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let marks = measured.rate() * shape.marks as f64;
    [
        shape.marks.to_string(),
        shape.in_flight.to_string(),
        format!("{:.0}", measured.rate()),
        format!("{marks:.0}"),
        measured.quantile(500).to_string(),
        measured.quantile(990).to_string(),
        (used.as_micros() / u128::from(measured.calls.max(1))).to_string(),
    ]
}

/// A sandbox that is served by a process of its own; dropping it ends the process.
pub struct Server(Child);

impl Server {
    /// Processor time that it has used so far, user and system (`proc(5)`: fields 14 and 15 of `stat`, in
    /// ticks of 10 ms).
    #[must_use]
    pub fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap_or_default();
        // The name, in parentheses, may hold spaces; field 3 follows it.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * 10)
    }
}

impl Server {
    /// Memory that it has resident, in bytes (`proc(5)`: field 2 of `statm`, in pages of 4 KiB).
    #[must_use]
    pub fn resident(&self) -> u64 {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.0.id())).unwrap_or_default();
        statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4_096
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).ok();
    }
}

/// Serves a sandbox as a process of its own.
///
/// # Errors
/// Exit code 69 when it does not start.
pub fn serve(binary: &Path, dir: &Path, postgres_url_file: Option<&Path>) -> Result<Server, Failure> {
    let failed = |error| Failure::unavailable("the sandbox", error);
    let mut command = Command::new(binary);
    command.arg("sandbox").arg("--dir").arg(dir).args(["--clock", NOW, "--clock-runs"]);
    if let Some(path) = postgres_url_file {
        command.arg("--postgres-url-file").arg(path);
    }
    let mut server = Server(command.stdout(Stdio::piped()).spawn().map_err(failed)?);
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
