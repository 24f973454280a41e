//! The first baseline: the same messages over the same mTLS and HTTP/2 to a server that does nothing with them.

use std::convert::Infallible;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::task::{Context, Poll};
use std::time::Duration;

use ap_gateway::client::BytesCodec;
use ap_gateway::config::Config;
use ap_gateway::gateway;
use ap_gateway::proto::v1::{MarkResult, Receipt, SubmitAttendanceResponse};
use ap_gateway::server::{self, Connections, ListenerLimits, ServerMetrics};
use prost::Message;
use prost::bytes::Bytes;
use tokio::net::TcpListener;
use tonic::Status;
use tonic::body::Body;
use tonic::server::{Grpc, UnaryService};

/// Serves until the process ends; prints `READY host:port`.
pub async fn serve(dir: &Path, marks: &str) {
    let config = Config::load(&dir.join("gateway.toml")).unwrap();
    let tls = gateway::tls(&config).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("READY {}", listener.local_addr().unwrap());
    let limits = ListenerLimits {
        max_pending: 1_024,
        max_pending_per_address: 1_024,
        max_connections: 10_000,
        max_connections_per_organisation: 10_000,
        handshake_timeout: Duration::from_secs(5),
        drain_timeout: Duration::from_secs(1),
        stall_timeout: Duration::from_secs(30),
        memory: config.limits.memory_limits(),
    };
    let echo = Echo(reply(marks.parse().unwrap()).into());
    let (connections, metrics) = (Connections::default(), ServerMetrics::default());
    server::serve(listener, tls, echo, limits, connections, metrics, std::future::pending()).await;
}

/// A process of the echo server. It is killed when dropped.
pub struct EchoProcess(Child);

impl Drop for EchoProcess {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Starts an echo server with the sandbox's certificates, for calls of `marks` marks.
pub fn start(dir: &Path, marks: usize) -> (EchoProcess, SocketAddr) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("echo").arg(dir).arg(marks.to_string());
    let mut process = EchoProcess(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(process.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("READY ").unwrap().parse().unwrap();
    (process, address)
}

/// Builds a reply of the same length as the gateway's reply to `marks` marks, with receipt.
fn reply(marks: usize) -> Vec<u8> {
    let result = MarkResult {
        outcome: 1,
        flags: vec!["LATE".to_owned()],
        suggested_code: "K".to_owned(),
        placement_id: "01890a5d-ac96-774b-bcce-b302099a8057".to_owned(),
        revision: 1,
        ..MarkResult::default()
    };
    let hash = || Bytes::from_static(&[7; 32]);
    let receipt = Receipt {
        exchange_id: result.placement_id.clone(),
        index: 1_000_000,
        tree_size: 1_000_064,
        entry: Bytes::from_static(&[7; 290]),
        inclusion_proof: vec![hash(); 20],
        checkpoint: "x".repeat(190),
        request_salt: hash(),
        reply_salt: hash(),
    };
    let reply = SubmitAttendanceResponse {
        return_id: result.placement_id.clone(),
        results: vec![result; marks],
        stored: 1,
        receipt: Some(receipt),
        ..SubmitAttendanceResponse::default()
    };
    reply.encode_to_vec()
}

#[derive(Clone)]
struct Echo(Bytes);

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl tower::Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let echo = self.clone();
        Box::pin(async move { Ok(Grpc::new(BytesCodec).unary(echo, request).await) })
    }
}

impl UnaryService<Bytes> for Echo {
    type Response = Bytes;
    type Future = BoxFuture<Result<tonic::Response<Bytes>, Status>>;

    fn call(&mut self, _: tonic::Request<Bytes>) -> Self::Future {
        let reply = self.0.clone();
        Box::pin(async move { Ok(tonic::Response::new(reply)) })
    }
}
