//! Clients of other makers that read large answers through small flow-control windows, from `serve` with its default
//! limits. Such a client sends a `WINDOW_UPDATE` for every few KiB that it received, and some send PINGs to measure the
//! bandwidth; the budget for control frames must not cut them.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use ap_gateway::proto::v1::returns_service;
use rustls::pki_types::ServerName;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use super::clients::{clients_folder, proto_folder};
use super::large_answer::{self, MARKS, request};
use super::serve_process::{ServeFolder, ServeProcess};
use super::support::{installed_tool, run};
use super::wire::{frame, tls};

/// Reads of one client through one window. The budget cut such clients after some 24.
const READS: usize = 40;
const PROVIDER: &str = "provider-a";
/// Windows in bytes; 0 is the client's default.
const WINDOWS: [&str; 3] = ["0", "16384", "65536"];

/// `serve` with a placement whose attendance is a large answer.
struct Served {
    folder: ServeFolder,
    process: ServeProcess,
    placement: String,
}

impl Served {
    async fn start() -> Self {
        let folder = ServeFolder::new();
        let process = folder.serve();
        let placement = folder.placement(PROVIDER);
        large_answer::store(&folder, &process, PROVIDER).await;
        Self { folder, process, placement }
    }

    /// Returns the address by a name of the server's certificate.
    fn address(&self) -> String {
        format!("localhost:{}", self.process.address.port())
    }

    fn assert_no_connection_was_cut(&self) {
        let log = self.process.log();
        assert!(!log.contains("control frames"), "{log}");
    }

    /// Runs a script of `tests/clients` for each window.
    fn run_script(&self, interpreter: impl Fn() -> Command, script: &str) {
        for window in WINDOWS {
            let mut command = interpreter();
            command.arg(clients_folder().join(script)).arg(proto_folder()).arg(self.folder.path());
            command.arg(self.address()).arg(&self.placement);
            let printed = run(command.args([&MARKS.to_string(), &READS.to_string(), window]));
            assert_eq!(printed, "ok\n", "window {window}");
        }
        self.assert_no_connection_was_cut();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcio_reads_large_answers() {
    let served = Served::start().await;
    served.run_script(|| Command::new(installed_tool("python/bin/python")), "read_attendance.py");
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_js_reads_large_answers() {
    let served = Served::start().await;
    let node = || {
        let mut node = Command::new("node");
        node.env("NODE_PATH", installed_tool("node_modules"));
        node
    };
    served.run_script(node, "read_attendance.js");
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_java_reads_large_answers() {
    let served = Served::start().await;
    let out = tempfile::TempDir::new().unwrap();
    let mut java = Command::new(clients_folder().join("run-java"));
    java.arg("ReadAttendance").arg(proto_folder()).arg(out.path()).arg(served.address());
    for file in ["ca.pem", "certs/provider-a.pem", "certs/provider-a.key"] {
        java.arg(served.folder.file_path(file));
    }
    java.arg(&served.placement).args([MARKS.to_string(), READS.to_string()]);
    let printed = run(java.args(WINDOWS));
    assert_eq!(printed, WINDOWS.map(|window| format!("ok {window}\n")).concat());
    served.assert_no_connection_was_cut();
}

/// h2load presents no client certificate, so a forwarder does it in its place. The flow control is h2load's own.
#[tokio::test(flavor = "multi_thread")]
async fn h2load_reads_large_answers() {
    let served = Served::start().await;
    let forwarder = forward_as_riverside(served.folder.path(), served.process.address).await;
    let message = served.folder.file_path("request");
    std::fs::write(&message, frame(&request(&served.placement))).unwrap();
    for window_bits in ["14", "16"] {
        let mut h2load = Command::new("h2load");
        h2load.args(["-n", &READS.to_string(), "-c", "1", "-m", "4", "-w", window_bits, "-W", "16"]);
        h2load.args(["-H", "content-type: application/grpc", "-H", "te: trailers", "-d"]).arg(&message);
        let url = format!("http://localhost:{}{}", forwarder.port(), returns_service::GET_ATTENDANCE.path());
        let printed = tokio::task::spawn_blocking(move || run(h2load.arg(url))).await.unwrap();
        assert!(printed.contains(&format!("{READS} succeeded, 0 failed, 0 errored")), "{printed}");
        // h2load does not read the gRPC status. A refusal has no data, and a receipt's length varies a little.
        let data = printed.lines().find_map(|line| line.strip_prefix("traffic: ")?.split(' ').nth_back(1));
        let data: usize = data.unwrap().trim_matches(['(', ')']).parse().unwrap();
        assert!(data > READS * large_answer::MIN_ANSWER_BYTES, "{printed}");
    }
    served.assert_no_connection_was_cut();
}

/// Listens for plain connections and forwards each over mutual TLS with Riverside's certificate.
async fn forward_as_riverside(folder: &Path, to: SocketAddr) -> SocketAddr {
    let [certificate, key] = ["pem", "key"].map(|kind| folder.join(format!("certs/provider-a.{kind}")));
    let tls = TlsConnector::from(Arc::new(tls(&folder.join("ca.pem"), Some((&certificate, &key)))));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut plain, _)) = listener.accept().await {
            let tls = tls.clone();
            tokio::spawn(async move {
                let tcp = TcpStream::connect(to).await.unwrap();
                // Nagle's algorithm would delay each WINDOW_UPDATE.
                tcp.set_nodelay(true).unwrap();
                plain.set_nodelay(true).unwrap();
                let mut encrypted =
                    tls.connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap();
                copy_bidirectional(&mut plain, &mut encrypted).await.ok();
            });
        }
    });
    address
}
