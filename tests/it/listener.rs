//! The listener and slow, silent or hostile peers. Bounds that the libraries lack are tested here, at the level of
//! HTTP/2 frames if necessary.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ap_gateway::clock::{Clock, SystemClock};
use ap_gateway::exchange::MemoryLimits;
use ap_gateway::identity::pki::{IssuedCertificate, SandboxAuthority};
use ap_gateway::identity::{Tls, TlsFiles};
use ap_gateway::server::{Connections, ListenerLimits, ServerMetrics, serve};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, ServerConfig};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tonic::body::Body;

use super::fixtures::current_validity;
use super::postgres::write_private;
use super::serve_process::ServeFolder;
use super::wire::tls;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const ENHANCE_YOUR_CALM: u32 = 11;
/// A guard against endless waits; it is not a measured value.
pub const MAX_WAIT: Duration = Duration::from_mins(1);
pub const LIMITS: ListenerLimits = ListenerLimits {
    max_connections: 100,
    max_pending: 100,
    max_pending_per_address: 100,
    max_connections_per_organisation: 100,
    handshake_timeout: Duration::from_mins(10),
    drain_timeout: Duration::from_millis(200),
    stall_timeout: MAX_WAIT,
    memory: MemoryLimits { total: 64 << 20, organisation: 32 << 20, unregistered: 8 << 20 },
};

/// A listener with a service of the test's.
pub struct TestListener {
    dir: TempDir,
    pub address: SocketAddr,
    pub stop: oneshot::Sender<()>,
    pub serving: JoinHandle<()>,
}

impl TestListener {
    /// Starts a listener whose service returns empty responses.
    async fn start(limits: ListenerLimits) -> Self {
        Self::start_with(limits, async || http::Response::new(Body::empty())).await
    }

    /// Starts a listener whose service answers each request with the result of a function.
    pub async fn start_with<F>(
        limits: ListenerLimits,
        respond: impl Fn() -> F + Clone + Send + 'static,
    ) -> Self
    where
        F: Future<Output = http::Response<Body>> + Send + 'static,
    {
        let dir = tempfile::tempdir().unwrap();
        let authority = SandboxAuthority::new("a listener's", current_validity()).unwrap();
        let write = |name: &str, text: &str| write_private(&dir.path().join(name), text);
        let pair = |name: &str, issued: IssuedCertificate| {
            write(&format!("{name}.pem"), &issued.certificate_pem);
            write(&format!("{name}.key"), &issued.key_pem);
        };
        write("ca.pem", authority.certificate_pem());
        write("ca.crl", &authority.issue_crl(&[], 1, current_validity()).unwrap());
        pair("server", authority.issue_server(2).unwrap());
        pair(
            "client",
            authority.issue_client(&["spiffe://ap.example/la/330/casework"], 3, current_validity()).unwrap(),
        );
        let file = |name: &str| dir.path().join(name);
        let files = TlsFiles {
            certificate: file("server.pem"),
            key: file("server.key"),
            client_ca: file("ca.pem"),
            crls: vec![file("ca.crl")],
        };
        let tls = Arc::new(Tls::load(files, "ap.example", SystemClock.now()).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = tower::service_fn(move |_: http::Request<Body>| {
            let response = respond();
            async { Ok::<_, Infallible>(response.await) }
        });
        let (stop, stopped) = oneshot::channel();
        let (connections, metrics) = (Connections::default(), ServerMetrics::default());
        let serving = tokio::spawn(serve(listener, tls, service, limits, connections, metrics, async {
            stopped.await.ok();
        }));
        Self { dir, address, stop, serving }
    }

    pub fn client(&self) -> ClientConfig {
        let file = |name: &str| self.dir.path().join(name);
        tls(&file("ca.pem"), Some((&file("client.pem"), &file("client.key"))))
    }

    /// Opens a TLS connection without HTTP/2 preface.
    pub async fn connect(&self) -> TlsStream<TcpStream> {
        connect(self.address, &Arc::new(self.client())).await
    }
}

pub async fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> TlsStream<TcpStream> {
    let tcp = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::clone(config)).connect(name, tcp).await.unwrap()
}

pub fn http2_frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Reads the next frame: type and payload; `None` when the connection is closed.
pub async fn read_frame(stream: &mut TlsStream<TcpStream>) -> Option<(u8, Vec<u8>)> {
    let mut header = [0; 9];
    let read = tokio::time::timeout(MAX_WAIT, stream.read_exact(&mut header)).await.unwrap();
    read.ok()?;
    let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut payload).await.ok()?;
    Some((header[3], payload))
}

/// Waits until the peer closes an idle connection.
async fn is_closed(stream: &mut TcpStream) -> bool {
    matches!(tokio::time::timeout(MAX_WAIT, stream.read(&mut [0; 1])).await.unwrap(), Ok(0) | Err(_))
}

/// Sends the HTTP/2 preface and returns the listener's SETTINGS.
pub async fn start_http2(listener: &TestListener) -> (TlsStream<TcpStream>, Vec<(u16, u32)>) {
    let mut stream = listener.connect().await;
    stream.write_all(&[PREFACE, &http2_frame(SETTINGS, 0, 0, &[])].concat()).await.unwrap();
    let (kind, settings) = read_frame(&mut stream).await.unwrap();
    assert_eq!(kind, SETTINGS);
    let setting = |bytes: &[u8]| {
        let value = u32::from_be_bytes(bytes[2..].try_into().unwrap());
        (u16::from_be_bytes([bytes[0], bytes[1]]), value)
    };
    (stream, settings.chunks(6).map(setting).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_headers_and_windows_are_bounded() {
    let listener = TestListener::start(LIMITS).await;
    let (_, settings) = start_http2(&listener).await;
    for setting in [(3, 100), (4, 64 * 1024), (6, 32 * 1024)] {
        assert!(settings.contains(&setting), "{setting:?} is not among {settings:?}");
    }
}

/// Checks that the connection is closed after a number of resets, whether the client sends them (rapid reset) or
/// provokes the server to send them (`MadeYouReset`).
#[tokio::test(flavor = "multi_thread")]
async fn resets_are_bounded_whoever_sends_them() {
    let listener = TestListener::start(LIMITS).await;
    // :method POST, :scheme https, :path /, from HPACK's static table.
    let fields = [0x83, 0x87, 0x84];
    let cancelled = |stream: u32| {
        let begun = http2_frame(HEADERS, END_HEADERS | END_STREAM, stream, &fields);
        [begun, http2_frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
    };
    // A window overflow is an error of its stream only.
    let provoked = |stream: u32| {
        let begun = http2_frame(HEADERS, END_HEADERS, stream, &fields);
        [begun, http2_frame(WINDOW_UPDATE, 0, stream, &i32::MAX.to_be_bytes())].concat()
    };
    for (flood, streams) in [(&cancelled as &dyn Fn(u32) -> Vec<u8>, 100), (&provoked, 1_000)] {
        let (mut stream, _) = start_http2(&listener).await;
        let frames: Vec<u8> = (0..streams).flat_map(|number| flood(2 * number + 1)).collect();
        stream.write_all(&frames).await.ok();
        // The GOAWAY may be lost if the connection closes first.
        while let Some((kind, payload)) = read_frame(&mut stream).await {
            if kind == GOAWAY {
                assert_eq!(u32::from_be_bytes(payload[4..8].try_into().unwrap()), ENHANCE_YOUR_CALM);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_handshake_times_out() {
    let listener =
        TestListener::start(ListenerLimits { handshake_timeout: Duration::from_millis(100), ..LIMITS }).await;
    let mut silent = TcpStream::connect(listener.address).await.unwrap();
    assert!(is_closed(&mut silent).await);
    listener.connect().await;
}

/// Checks that a new socket takes the place of the oldest silent one, and that connections in service are bounded.
#[tokio::test(flavor = "multi_thread")]
async fn pending_sockets_and_connections_are_bounded() {
    for limits in
        [ListenerLimits { max_pending: 3, ..LIMITS }, ListenerLimits { max_pending_per_address: 3, ..LIMITS }]
    {
        let listener = TestListener::start(limits).await;
        let mut silent = Vec::new();
        for _ in 0..4 {
            silent.push(TcpStream::connect(listener.address).await.unwrap());
        }
        assert!(is_closed(&mut silent[0]).await);
        listener.connect().await;
        assert!(is_closed(&mut silent[1]).await);
        let mut byte = [0; 1];
        tokio::time::timeout(Duration::from_millis(100), silent[2].read(&mut byte)).await.unwrap_err();
    }
    let listener = TestListener::start(ListenerLimits { max_connections: 3, ..LIMITS }).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(start_http2(&listener).await);
    }
    let try_connect = async || {
        let tcp = TcpStream::connect(listener.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(listener.client())).connect(name, tcp).await
    };
    assert!(try_connect().await.is_err());
    open.pop();
    // A place becomes free when the listener has noticed that the peer has closed.
    for round in 0.. {
        if try_connect().await.is_ok() {
            break;
        }
        assert!(round < 1_000);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Checks that TLS sessions are not resumed, because a resumed session restores the client's chain without
/// verification. The same client resumes with a default server.
#[tokio::test(flavor = "multi_thread")]
async fn no_session_is_resumed() {
    let listener = TestListener::start(LIMITS).await;
    let kinds = async |address: SocketAddr| {
        let (config, mut kinds) = (Arc::new(listener.client()), Vec::new());
        for _ in 0..2 {
            let mut stream = connect(address, &config).await;
            kinds.push(stream.get_ref().1.handshake_kind().unwrap());
            stream.write_all(&[PREFACE, &http2_frame(SETTINGS, 0, 0, &[])].concat()).await.unwrap();
            // Session tickets sent after the handshake have arrived with the first byte of application data.
            stream.read_u8().await.unwrap();
        }
        kinds
    };
    assert_eq!(kinds(listener.address).await, [HandshakeKind::Full, HandshakeKind::Full]);
    let lax = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = lax.local_addr().unwrap();
    let server = TlsAcceptor::from(Arc::new(default_server_config(listener.dir.path())));
    tokio::spawn(async move {
        loop {
            let (tcp, _) = lax.accept().await.unwrap();
            let mut stream = server.accept(tcp).await.unwrap();
            stream.write_u8(0).await.unwrap();
        }
    });
    assert_eq!(kinds(address).await[1], HandshakeKind::Resumed);
}

/// Builds the TLS configuration of a server with the defaults of rustls.
fn default_server_config(dir: &Path) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let chain = CertificateDer::pem_file_iter(dir.join("server.pem")).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(dir.join("server.key")).unwrap();
    let mut config = builder.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

/// Checks that the listener pauses when no file descriptor is free, logs that once, and continues when there are
/// some. The limit is lowered while the gateway runs, because its connections leave a reserve of what it starts with.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_accept_is_retried_after_a_pause() {
    let folder = ServeFolder::new();
    let served = folder.serve();
    // Everything that is opened once is open after a call.
    folder.wait_until_answered(&served, "la-a", "OK").await;
    let process = Pid::from_raw(i32::try_from(served.id()).unwrap());
    let lowered = Rlimit { current: Some(3), maximum: getrlimit(Resource::Nofile).maximum };
    let before = prlimit(process, Resource::Nofile, lowered).unwrap();
    let waiting = TcpStream::connect(served.address).await.unwrap();
    served.wait_for_log("could not be accepted").await;
    // A hot loop, or one line for each attempt, would fill the log.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(served.wait_for_log("could not be accepted").await, 1);
    prlimit(process, Resource::Nofile, before).unwrap();
    drop(waiting);
    folder.wait_until_answered(&served, "la-a", "OK").await;
}
