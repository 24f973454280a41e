//! Servers that say nothing, stop, or die: a client's call ends within its limits, or is sent again and takes
//! effect once.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ap_gateway::cli::{profile, sandbox};
use ap_gateway::client::{Client, ClientError, Limits, Seen};
use ap_gateway::proto::v1::{
    ListPlacementsRequest, WatchDeliveriesRequest, delivery_service, placement_service,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::limits::{output, within};
use super::process::{Process, Sandbox};
use super::story::{mark, submission, submit};
use super::support::gateway;

/// The bound within which each of these clients gives up, or gets what it asked for.
const BOUND: Duration = Duration::from_mins(1);

/// Limits that are reached soon.
fn soon() -> Limits {
    Limits {
        connect: Duration::from_millis(500),
        handshake: Duration::from_millis(500),
        call: Duration::from_secs(2),
        attempts: 2,
        first_backoff: Duration::from_millis(50),
        ..Limits::default()
    }
}

/// Limits under which a call is sent again until the server is back.
fn patient() -> Limits {
    Limits {
        attempts: 1_000,
        longest_backoff: Duration::from_millis(500),
        retry_window: Duration::from_mins(1),
        ..soon()
    }
}

async fn connect(dir: &Path, address: SocketAddr, limits: Limits) -> Result<Client, ClientError> {
    let (profile, _) = profile::read(&sandbox::profile(dir, "provider-a")).unwrap();
    let profile = ap_gateway::client::Profile { endpoint: address.to_string(), ..profile };
    within(BOUND, "connecting", Client::connect_within(&profile, Seen::default(), limits)).await
}

/// A listener that accepts and then does this much; how many connections it accepted.
async fn listener(tls: Option<Arc<ServerConfig>>) -> (SocketAddr, Arc<AtomicUsize>) {
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

/// The TLS of a sandbox's own server.
fn tls(dir: &Path) -> Arc<ServerConfig> {
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

async fn list(client: &Client) -> Result<(), ClientError> {
    let request = ListPlacementsRequest::default();
    within(BOUND, "the call", client.call(placement_service::LIST_PLACEMENTS, &request)).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_never_speaks_is_given_up() {
    let sandbox = Sandbox::new();
    let (address, accepted) = listener(None).await;
    let failed = connect(sandbox.path(), address, soon()).await.err().unwrap();
    assert!(matches!(failed, ClientError::Unreachable(_)), "{failed}");
    assert_eq!(accepted.load(Ordering::SeqCst), 2, "one for each attempt");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_answers_is_given_up() {
    let sandbox = Sandbox::new();
    let (address, _) = listener(Some(tls(sandbox.path()))).await;
    let client = connect(sandbox.path(), address, soon()).await.unwrap();
    let failed = list(&client).await.unwrap_err();
    assert!(matches!(failed, ClientError::TimedOut), "{failed}");
    let request = WatchDeliveriesRequest::default();
    let watch = client.watch(delivery_service::WATCH_DELIVERIES, &request);
    let failed = within(BOUND, "the stream", watch).await.err().unwrap();
    assert!(matches!(failed, ClientError::TimedOut), "{failed}");
    // A ping that nobody answers ends the connection before the call's own limit.
    let (interval, timeout) = (Duration::from_millis(200), Duration::from_millis(200));
    let pinging = Limits { keep_alive_interval: interval, keep_alive_timeout: timeout, ..Limits::default() };
    let client = connect(sandbox.path(), address, Limits { attempts: 1, ..pinging }).await.unwrap();
    let failed = list(&client).await.unwrap_err();
    assert!(matches!(failed, ClientError::Unreachable(_)), "{failed}");
}

/// The process stands still in the middle of a call, and goes on: the same request is sent again and takes effect
/// once. Its streams end by their pings.
#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_is_waited_for_within_the_limits() {
    let sandbox = Sandbox::new();
    let server = Process::serve(sandbox.path());
    let client = connect(sandbox.path(), server.address(), patient()).await.unwrap();
    list(&client).await.unwrap();
    let (interval, timeout) = (Duration::from_secs(1), Duration::from_secs(1));
    let pinging = Limits { keep_alive_interval: interval, keep_alive_timeout: timeout, ..Limits::default() };
    let watcher = connect(sandbox.path(), server.address(), pinging).await.unwrap();
    let asked = WatchDeliveriesRequest::default();
    let watch = watcher.watch(delivery_service::WATCH_DELIVERIES, &asked);
    let mut stream = within(BOUND, "the stream", watch).await.unwrap();
    server.signal("STOP");
    let request = submission(vec![mark(&sandbox.placement, "2026-11-02", "/")]);
    let call = tokio::spawn({
        let (client, request) = (client.clone(), request.clone());
        async move { submit(&client, &request).await }
    });
    let end = async {
        loop {
            // What had come before is still read.
            match stream.next(|_| prost::bytes::Bytes::new()).await {
                Ok(Some(_)) => {}
                ended => break ended.map(drop),
            }
        }
    };
    let ended = within(BOUND, "the end of the stream", end).await;
    assert!(ended.is_err(), "a silent server has not ended it in order");
    // By now the first attempt has reached its limit.
    tokio::time::sleep(soon().call).await;
    server.signal("CONT");
    let reply = within(BOUND, "the answer", call).await.unwrap().unwrap().message;
    assert_eq!(reply.stored, 1);
    drop(server);
    assert_eq!(sandbox.query("SELECT return_id FROM marks").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_and_comes_back_answers_the_same_request() {
    let sandbox = Sandbox::new();
    let server = Process::serve(sandbox.path());
    let address = server.address();
    let client = connect(sandbox.path(), address, patient()).await.unwrap();
    let request = submission(vec![mark(&sandbox.placement, "2026-11-02", "/")]);
    let first = submit(&client, &request).await.unwrap();
    drop(server);
    let again = tokio::spawn(async move { submit(&client, &request).await });
    let listen = address.to_string();
    let further = ["--listen", &listen].map(OsStr::new);
    let server = Process::start(gateway(), sandbox.path(), &further);
    let again = within(BOUND, "the answer", again).await.unwrap().unwrap();
    assert_eq!((again.message, again.receipt), (first.message, first.receipt));
    drop(server);
    assert_eq!(sandbox.query("SELECT return_id FROM marks").await.len(), 1);
}

#[test]
fn a_verb_says_what_to_do_when_nobody_answers() {
    let sandbox = Sandbox::new();
    let profile: PathBuf = sandbox::profile(sandbox.path(), "provider-a");
    let listed = output(gateway().args(["placements", "list", "--profile"]).arg(profile));
    let said = String::from_utf8(listed.stderr).unwrap();
    assert_eq!(listed.status.code(), Some(69), "{said}");
    assert!(said.contains("endpoint") && said.contains("run this again"), "{said}");
}
