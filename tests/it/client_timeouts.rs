//! Client timeouts: with a server that does not respond, stops or dies, a call ends within its limits, or is
//! retried and takes effect once.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ap_gateway::cli::{profile, sandbox};
use ap_gateway::client::{CheckpointStore, Client, ClientError, ClientLimits};
use ap_gateway::proto::v1::{
    ListPlacementsRequest, WatchDeliveriesRequest, delivery_service, placement_service,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::exchange_semantics::{mark, submission, submit};
use super::limits::{output, within};
use super::process::{Process, Sandbox};
use super::support::gateway;

/// Time limit for every operation of these clients.
const MAX_WAIT: Duration = Duration::from_mins(1);

/// Returns short limits.
fn short_limits() -> ClientLimits {
    ClientLimits {
        connect_timeout: Duration::from_millis(500),
        handshake_timeout: Duration::from_millis(500),
        call_timeout: Duration::from_secs(2),
        max_attempts: 2,
        first_backoff: Duration::from_millis(50),
        ..ClientLimits::default()
    }
}

/// Returns limits under which a call is retried until the server is back.
fn retrying_limits() -> ClientLimits {
    ClientLimits {
        max_attempts: 1_000,
        max_backoff: Duration::from_millis(500),
        retry_window: Duration::from_mins(1),
        ..short_limits()
    }
}

async fn connect(dir: &Path, address: SocketAddr, limits: ClientLimits) -> Result<Client, ClientError> {
    let (profile, _) = profile::load(&sandbox::profile_path(dir, "provider-a")).unwrap();
    let profile = ap_gateway::client::Profile { endpoint: address.to_string(), ..profile };
    within(MAX_WAIT, "connecting", Client::connect_with_limits(&profile, CheckpointStore::default(), limits))
        .await
}

/// Starts a listener that accepts connections and sends nothing, or completes TLS and then sends nothing. Returns
/// its address and the number of accepted connections.
async fn silent_listener(tls: Option<Arc<ServerConfig>>) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, accepted) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&accepted);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let tls = tls.clone();
            tokio::spawn(async move {
                let Some(tls) = tls else {
                    let _silent = tcp;
                    return std::future::pending().await;
                };
                let mut stream = TlsAcceptor::from(tls).accept(tcp).await.unwrap();
                let mut swallowed = [0; 1024];
                while stream.read(&mut swallowed).await.is_ok_and(|read| read > 0) {}
            });
        }
    });
    (address, accepted)
}

/// Loads the TLS configuration of a sandbox's server.
fn server_tls(dir: &Path) -> Arc<ServerConfig> {
    let file = |name: &str| dir.join("certs").join(name);
    let chain: Vec<_> =
        CertificateDer::pem_file_iter(file("server.pem")).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider);
    let config = config.with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
    let mut config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

async fn list_placements(client: &Client) -> Result<(), ClientError> {
    let request = ListPlacementsRequest::default();
    within(MAX_WAIT, "the call", client.call(placement_service::LIST_PLACEMENTS, &request)).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_never_speaks_is_given_up() {
    let sandbox = Sandbox::new();
    let (address, accepted) = silent_listener(None).await;
    let failed = connect(sandbox.path(), address, short_limits()).await.err().unwrap();
    assert!(matches!(failed, ClientError::Unreachable(_)), "{failed}");
    assert_eq!(accepted.load(Ordering::SeqCst), 2, "one for each attempt");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_answers_is_given_up() {
    let sandbox = Sandbox::new();
    let (address, _) = silent_listener(Some(server_tls(sandbox.path()))).await;
    let client = connect(sandbox.path(), address, short_limits()).await.unwrap();
    let failed = list_placements(&client).await.unwrap_err();
    assert!(matches!(failed, ClientError::TimedOut), "{failed}");
    let request = WatchDeliveriesRequest::default();
    let watch = client.open_stream(delivery_service::WATCH_DELIVERIES, &request);
    let failed = within(MAX_WAIT, "the stream", watch).await.err().unwrap();
    assert!(matches!(failed, ClientError::TimedOut), "{failed}");
    // An unanswered ping ends the connection before the time limit of the call.
    let (interval, timeout) = (Duration::from_millis(200), Duration::from_millis(200));
    let pinging = ClientLimits {
        keep_alive_interval: interval,
        keep_alive_timeout: timeout,
        ..ClientLimits::default()
    };
    let client = connect(sandbox.path(), address, ClientLimits { max_attempts: 1, ..pinging }).await.unwrap();
    let failed = list_placements(&client).await.unwrap_err();
    assert!(matches!(failed, ClientError::Unreachable(_)), "{failed}");
}

/// Checks that a call to a stopped process is retried with the same request when the process continues, and takes
/// effect once. Streams end when their pings are not answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_is_waited_for_within_the_limits() {
    let sandbox = Sandbox::new();
    let server = Process::serve(sandbox.path());
    let client = connect(sandbox.path(), server.address(), retrying_limits()).await.unwrap();
    list_placements(&client).await.unwrap();
    let (interval, timeout) = (Duration::from_secs(1), Duration::from_secs(1));
    let pinging = ClientLimits {
        keep_alive_interval: interval,
        keep_alive_timeout: timeout,
        ..ClientLimits::default()
    };
    let watcher = connect(sandbox.path(), server.address(), pinging).await.unwrap();
    let asked = WatchDeliveriesRequest::default();
    let watch = watcher.open_stream(delivery_service::WATCH_DELIVERIES, &asked);
    let mut stream = within(MAX_WAIT, "the stream", watch).await.unwrap();
    server.signal("STOP");
    let request = submission(vec![mark(&sandbox.placement, "2026-11-02", "/")]);
    let call = tokio::spawn({
        let (client, request) = (client.clone(), request.clone());
        async move { submit(&client, &request).await }
    });
    let end = async {
        loop {
            // Messages received before the stop are still read.
            match stream.next(|_| prost::bytes::Bytes::new()).await {
                Ok(Some(_)) => {}
                ended => break ended.map(drop),
            }
        }
    };
    let ended = within(MAX_WAIT, "the end of the stream", end).await;
    assert!(ended.is_err(), "the stream ended with OK although the server was stopped");
    // Meanwhile the first attempt exceeds its time limit.
    tokio::time::sleep(short_limits().call_timeout).await;
    server.signal("CONT");
    let reply = within(MAX_WAIT, "the answer", call).await.unwrap().unwrap().message;
    assert_eq!(reply.stored, 1);
    drop(server);
    assert_eq!(sandbox.query("SELECT return_id FROM marks").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_and_comes_back_answers_the_same_request() {
    let sandbox = Sandbox::new();
    let server = Process::serve(sandbox.path());
    let address = server.address();
    let client = connect(sandbox.path(), address, retrying_limits()).await.unwrap();
    let request = submission(vec![mark(&sandbox.placement, "2026-11-02", "/")]);
    let first = submit(&client, &request).await.unwrap();
    drop(server);
    let again = tokio::spawn(async move { submit(&client, &request).await });
    let listen = address.to_string();
    let further = ["--listen", &listen].map(OsStr::new);
    let server = Process::start(gateway(), sandbox.path(), &further);
    let again = within(MAX_WAIT, "the answer", again).await.unwrap().unwrap();
    assert_eq!((again.message, again.receipt), (first.message, first.receipt));
    drop(server);
    assert_eq!(sandbox.query("SELECT return_id FROM marks").await.len(), 1);
}

#[test]
fn a_command_advises_a_retry_when_the_server_is_unreachable() {
    let sandbox = Sandbox::new();
    let profile: PathBuf = sandbox::profile_path(sandbox.path(), "provider-a");
    let listed = output(gateway().args(["placements", "list", "--profile"]).arg(profile));
    let stderr = String::from_utf8(listed.stderr).unwrap();
    assert_eq!(listed.status.code(), Some(69), "{stderr}");
    assert!(stderr.contains("endpoint") && stderr.contains("run this again"), "{stderr}");
}
