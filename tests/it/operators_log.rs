//! A log that cannot be written: nothing waits for it and nothing fails because of it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::limits::within;
use super::serve_process::{LIST_PLACEMENTS, ServeFolder};
use super::support::{gateway, run};
use super::wire::{Wire, frame, tls};

/// Maximum time from SIGTERM to the end of the process, on a busy machine.
const MAX_EXIT_TIME: Duration = Duration::from_secs(10);
/// Maximum time of a call.
const MAX_CALL_TIME: Duration = Duration::from_secs(10);

/// A `serve` process that logs everything to a given standard error. It is killed when dropped.
struct LoggingProcess {
    child: Child,
    address: SocketAddr,
}

impl LoggingProcess {
    fn start(folder: &ServeFolder, stderr: Stdio) -> Self {
        let mut command = gateway();
        command.arg("serve").arg("--config").arg(folder.file_path("gateway.toml"));
        command.env("AP_GATEWAY_LOG", "trace").stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("READY ").unwrap().parse().unwrap();
        Self { child, address }
    }

    async fn connect(&self, folder: &ServeFolder) -> Wire {
        let [certificate, key] = ["pem", "key"].map(|kind| folder.file_path(&format!("certs/la-a.{kind}")));
        let tls = tls(&folder.file_path("ca.pem"), Some((&certificate, &key)));
        Wire::open(self.address, tls).await.unwrap()
    }

    /// Sends SIGTERM and asserts that the process ends in time with exit code 0.
    fn terminate(mut self) {
        run(Command::new("kill").arg(self.child.id().to_string()));
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(begun.elapsed() < MAX_EXIT_TIME, "the process has not ended");
            std::thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(status.code(), Some(0), "{status}");
    }
}

impl Drop for LoggingProcess {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().unwrap();
    }
}

async fn assert_answers(wire: &Wire, calls: usize) {
    for _ in 0..calls {
        let call = wire.send(LIST_PLACEMENTS, &[], frame(&[]));
        let answer = within(MAX_CALL_TIME, "a call beside the log", call).await;
        assert_eq!(answer.unwrap().reason(), "OK");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_log_stops_nothing() {
    let folder = ServeFolder::new();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let process = LoggingProcess::start(&folder, full.into());
    assert_answers(&process.connect(&folder).await, 20).await;
    process.terminate();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_reader_has_ended_stops_nothing() {
    let folder = ServeFolder::new();
    let mut process = LoggingProcess::start(&folder, Stdio::piped());
    drop(process.child.stderr.take());
    assert_answers(&process.connect(&folder).await, 20).await;
    process.terminate();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_stops_nothing_and_tells_what_was_dropped() {
    let folder = ServeFolder::new();
    let mut process = LoggingProcess::start(&folder, Stdio::piped());
    let unread = process.child.stderr.take().unwrap();
    let wire = process.connect(&folder).await;
    assert_answers(&wire, 400).await;
    let reading = std::thread::spawn(move || {
        let lines = BufReader::new(unread).lines().map_while(Result::ok);
        lines.filter(|line| line.contains("lines of this log were dropped")).count()
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_answers(&wire, 1).await;
    process.terminate();
    assert!(reading.join().unwrap() > 0);
    let mut process = LoggingProcess::start(&folder, Stdio::piped());
    let _unread = process.child.stderr.take();
    assert_answers(&process.connect(&folder).await, 400).await;
    process.terminate();
}
