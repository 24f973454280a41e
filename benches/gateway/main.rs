//! The gateway beside the ceilings of the machine, in one run.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench ends at the first surprise, and prints"
)]

mod echo;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ap_gateway::cli::bench::load::{self, Answer, Senders, Shape};
use ap_gateway::cli::bench::{self, fleet};
use ap_gateway::cli::sandbox;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.first().map(String::as_str) {
        Some("echo") => runtime.block_on(echo::serve(Path::new(arguments.get(1).unwrap()))),
        _ => runtime.block_on(run()),
    }
}

async fn run() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_owned();
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_ap-gateway"));
    let server = bench::serve(&binary, &dir, None).unwrap();
    let providers = fleet::make(&dir, 200, 20).await.unwrap();
    let shape = Shape { marks: 1, in_flight: 64, duration: Duration::from_secs(5) };
    let senders = Senders::connect(&dir, &providers, 64, Answer::Verified).await.unwrap();
    let before = server.processor_time();
    let measured = load::closed(&senders, shape).await.unwrap();
    println!(
        "gateway {:.0}/s {:?}",
        measured.rate(),
        server.processor_time().saturating_sub(before) / u32::try_from(measured.calls).unwrap()
    );
    drop(server);
    let (_echo, address) = echoing(&dir);
    sandbox::files::profiles(&dir, address).unwrap();
    let senders = Senders::connect(&dir, &providers, 64, Answer::Decoded).await.unwrap();
    let measured = load::closed(&senders, shape).await.unwrap();
    println!("echo {:.0}/s", measured.rate());
}

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn echoing(dir: &Path) -> (Ended, SocketAddr) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let mut child = Ended(command.arg("echo").arg(dir).stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(child.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("READY ").unwrap().parse().unwrap();
    (child, address)
}
