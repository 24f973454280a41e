//! The listener against peers that are slow, silent or hostile: what the libraries leave unbounded is bounded
//! here, frame by frame where it must be (reliability notes §0b, facts 1–6 and 13).

use std::convert::Infallible;
use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ap_gateway::cli::{profile, sandbox};
use ap_gateway::clock::{Clock, SystemClock};
use ap_gateway::identity::pki::{Authority, Issued};
use ap_gateway::identity::{Tls, TlsFiles};
use ap_gateway::server::{Connections, Limits, serve};
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

use super::postgres::write_private;
use super::process::Process;
use super::safety::own;
use super::stage::lately;
use super::support::gateway;
use super::wire::{address, tls};

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
const ENHANCE_YOUR_CALM: u32 = 11;
/// Against waiting for ever; nothing is measured by it.
const GUARD: Duration = Duration::from_mins(1);
const LIMITS: Limits = Limits {
    connections: 100,
    handshakes: 50,
    per_organisation: 100,
    handshake: Duration::from_mins(10),
    drain: Duration::from_millis(200),
};

/// A listener with a service that says nothing.
struct Listener {
    dir: TempDir,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Listener {
    async fn start(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new("a listener's", lately()).unwrap();
        let write = |name: &str, text: &str| write_private(&dir.path().join(name), text);
        let pair = |name: &str, issued: Issued| {
            write(&format!("{name}.pem"), &issued.certificate);
            write(&format!("{name}.key"), &issued.key);
        };
        write("ca.pem", authority.certificate());
        write("ca.crl", &authority.crl(&[], 1, lately()).unwrap());
        pair("server", authority.server(2).unwrap());
        pair("client", authority.client(&["spiffe://ap.example/la/330/casework"], 3, lately()).unwrap());
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
        let service = tower::service_fn(|_: http::Request<Body>| async {
            Ok::<_, Infallible>(http::Response::new(Body::empty()))
        });
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(serve(listener, tls, service, limits, Connections::default(), async {
            stopped.await.ok();
        }));
        Self { dir, address, stop, serving }
    }

    fn client(&self) -> ClientConfig {
        let file = |name: &str| self.dir.path().join(name);
        tls(&file("ca.pem"), Some((&file("client.pem"), &file("client.key"))))
    }

    /// A connection on which TLS is up and HTTP/2 has not begun.
    async fn connect(&self) -> TlsStream<TcpStream> {
        connect(self.address, &Arc::new(self.client())).await
    }
}

pub async fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> TlsStream<TcpStream> {
    let tcp = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::clone(config)).connect(name, tcp).await.unwrap()
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The next frame: its kind and its payload; none when the connection is closed.
pub async fn read(stream: &mut TlsStream<TcpStream>) -> Option<(u8, Vec<u8>)> {
    let mut header = [0; 9];
    let read = tokio::time::timeout(GUARD, stream.read_exact(&mut header)).await.unwrap();
    read.ok()?;
    let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut payload).await.ok()?;
    Some((header[3], payload))
}

/// Whether the peer closes a connection on which nothing is said.
async fn is_closed(stream: &mut TcpStream) -> bool {
    matches!(tokio::time::timeout(GUARD, stream.read(&mut [0; 1])).await.unwrap(), Ok(0) | Err(_))
}

/// HTTP/2 begun, and the listener's own settings.
async fn begun(listener: &Listener) -> (TlsStream<TcpStream>, Vec<(u16, u32)>) {
    let mut stream = listener.connect().await;
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.unwrap();
    let (kind, settings) = read(&mut stream).await.unwrap();
    assert_eq!(kind, SETTINGS);
    let setting = |bytes: &[u8]| {
        let value = u32::from_be_bytes(bytes[2..].try_into().unwrap());
        (u16::from_be_bytes([bytes[0], bytes[1]]), value)
    };
    (stream, settings.chunks(6).map(setting).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_headers_and_windows_are_bounded() {
    let listener = Listener::start(LIMITS).await;
    let (_, settings) = begun(&listener).await;
    for setting in [(3, 100), (4, 64 * 1024), (6, 16 * 1024)] {
        assert!(settings.contains(&setting), "{setting:?} is not among {settings:?}");
    }
}

/// A request that is reset at once by its own sender (rapid reset), and one whose sender makes the listener
/// reset it (MadeYouReset): both end the connection, after a few.
#[tokio::test(flavor = "multi_thread")]
async fn resets_are_bounded_whoever_sends_them() {
    let listener = Listener::start(LIMITS).await;
    // :method POST, :scheme https, :path /, from HPACK's static table.
    let fields = [0x83, 0x87, 0x84];
    let cancelled = |stream: u32| {
        let begun = frame(HEADERS, END_HEADERS | END_STREAM, stream, &fields);
        [begun, frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
    };
    // A window that grows beyond what there is is an error of that stream alone.
    let provoked = |stream: u32| {
        let begun = frame(HEADERS, END_HEADERS, stream, &fields);
        [begun, frame(WINDOW_UPDATE, 0, stream, &i32::MAX.to_be_bytes())].concat()
    };
    for (flood, streams) in [(&cancelled as &dyn Fn(u32) -> Vec<u8>, 100), (&provoked, 1_000)] {
        let (mut stream, _) = begun(&listener).await;
        let frames: Vec<u8> = (0..streams).flat_map(|number| flood(2 * number + 1)).collect();
        stream.write_all(&frames).await.ok();
        // It ends, and says why, unless the end overtakes the reason.
        while let Some((kind, payload)) = read(&mut stream).await {
            if kind == GOAWAY {
                assert_eq!(u32::from_be_bytes(payload[4..8].try_into().unwrap()), ENHANCE_YOUR_CALM);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_not_waited_for() {
    let listener = Listener::start(Limits { handshake: Duration::from_millis(100), ..LIMITS }).await;
    let mut silent = TcpStream::connect(listener.address).await.unwrap();
    assert!(is_closed(&mut silent).await);
    listener.connect().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_and_connections_are_bounded() {
    for limits in [Limits { handshakes: 3, ..LIMITS }, Limits { connections: 3, ..LIMITS }] {
        let listener = Listener::start(limits).await;
        let mut silent = Vec::new();
        for _ in 0..3 {
            silent.push(TcpStream::connect(listener.address).await.unwrap());
        }
        let mut fourth = TcpStream::connect(listener.address).await.unwrap();
        assert!(is_closed(&mut fourth).await);
        silent.pop();
        // A place is free again as soon as the listener has seen the peer go.
        for round in 0.. {
            let tcp = TcpStream::connect(listener.address).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            if TlsConnector::from(Arc::new(listener.client())).connect(name, tcp).await.is_ok() {
                break;
            }
            assert!(round < 1_000);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Everyone is told to go; who never spoke HTTP/2 and would never hear it is cut, and the listener ends.
#[tokio::test(flavor = "multi_thread")]
async fn the_drain_says_goodbye_and_ends() {
    let listener = Listener::start(LIMITS).await;
    let mut mute = listener.connect().await;
    let (mut stream, _) = begun(&listener).await;
    listener.stop.send(()).unwrap();
    let mut told = false;
    while let Some((kind, _)) = read(&mut stream).await {
        told |= kind == GOAWAY;
    }
    assert!(told);
    tokio::time::timeout(GUARD, listener.serving).await.unwrap().unwrap();
    // The listener's own settings came first.
    while read(&mut mute).await.is_some() {}
    assert!(TcpStream::connect(listener.address).await.is_err());
}

/// A resumed session brings its client's chain back unverified: there is none. The same client resumes with a
/// server that lets it.
#[tokio::test(flavor = "multi_thread")]
async fn no_session_is_resumed() {
    let listener = Listener::start(LIMITS).await;
    let kinds = async |address: SocketAddr| {
        let (config, mut kinds) = (Arc::new(listener.client()), Vec::new());
        for _ in 0..2 {
            let mut stream = connect(address, &config).await;
            kinds.push(stream.get_ref().1.handshake_kind().unwrap());
            stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.unwrap();
            // What was sent behind the handshake has come when the first byte of the answer has.
            stream.read_u8().await.unwrap();
        }
        kinds
    };
    assert_eq!(kinds(listener.address).await, [HandshakeKind::Full, HandshakeKind::Full]);
    let lax = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = lax.local_addr().unwrap();
    let server = TlsAcceptor::from(Arc::new(lax_server(listener.dir.path())));
    tokio::spawn(async move {
        loop {
            let (tcp, _) = lax.accept().await.unwrap();
            let mut stream = server.accept(tcp).await.unwrap();
            stream.write_u8(0).await.unwrap();
        }
    });
    assert_eq!(kinds(address).await[1], HandshakeKind::Resumed);
}

/// A server's TLS as rustls sets it up by itself.
fn lax_server(dir: &Path) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let chain = CertificateDer::pem_file_iter(dir.join("server.pem")).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(dir.join("server.key")).unwrap();
    let mut config = builder.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

/// Without a free file descriptor the listener waits, says so now and then, and goes on once there are some.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_accept_is_no_hot_loop_and_no_end() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, log) = (folder.path().join("world"), folder.path().join("log"));
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -n 120; exec \"$0\" \"$@\""]).arg(gateway().get_program());
    shell.stderr(File::create(&log).unwrap());
    let process = Process::start(shell, &dir, &[]);
    let (began, mut silent) = (Instant::now(), Vec::new());
    for _ in 0..150 {
        silent.push(TcpStream::connect(address(&dir)).await.unwrap());
    }
    let warnings = || std::fs::read_to_string(&log).unwrap().matches("could not be accepted").count();
    // So many that a hot loop would have told itself by them, however fast the machine is.
    for _ in 0..3_000 {
        if warnings() >= 5 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(silent);
    let mut answered = Err(String::new());
    for _ in 0..100 {
        answered = match profile::connect(&sandbox::profile(&dir, "provider-a")).await {
            Ok(client) => own(&client).await.map(drop).map_err(|error| error.to_string()),
            Err(refused) => Err(refused.to_string()),
        };
        if answered.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let most = 1 + began.elapsed().as_millis() / 100;
    drop(process);
    answered.unwrap();
    let warnings = warnings();
    // One every 100 ms at most, however long this took.
    assert!(warnings >= 5 && warnings as u128 <= most, "{warnings} warnings, {most} at most");
}
