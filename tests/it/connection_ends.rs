//! How connections end: by the budget for control frames, without a preface, and when the node shuts down.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ap_gateway::client::reason;
use ap_gateway::exchange::AwaitedResponse;
use ap_gateway::proto::v1::{Cursor, WatchDeliveriesRequest, WatchDeliveriesResponse};
use ap_gateway::server::ListenerLimits;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use prost::bytes::{Bytes, BytesMut};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::listener::{
    END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, HEADERS, LIMITS, MAX_WAIT, SETTINGS, TestListener,
    WINDOW_UPDATE, connect, http2_frame, read_frame, start_http2,
};
use super::serve_process::{LIST_PLACEMENTS, ServeFolder, ServeProcess};
use super::startup_checks::HEALTH_CHECK;
use super::wire::{frame, framed};

const PING: u8 = 6;
const DATA: u8 = 0;
/// Size of a large answer: somewhat less than 1 MiB.
const ANSWER_BYTES: usize = 961 << 10;
const WATCH: &str = "/apgateway.v1.DeliveryService/WatchDeliveries";
const HEALTH_WATCH: &str = "/grpc.health.v1.Health/Watch";

/// Starts a listener that answers each request with a number of bytes.
async fn start_answering(limits: ListenerLimits, bytes: usize) -> TestListener {
    let answer = Bytes::from(vec![7; bytes]);
    let respond = move || {
        let mut response = http::Response::new(Body::new(Full::new(answer.clone())));
        response.extensions_mut().insert(AwaitedResponse);
        async { response }
    };
    TestListener::start_with(limits, respond).await
}

/// Connects a client whose windows have a size.
async fn connect_with_windows(listener: &TestListener, window: u32) -> SendRequest<Full<Bytes>> {
    let stream = TokioIo::new(listener.connect().await);
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(window).initial_connection_window_size(window);
    let (sender, connection) = builder.handshake(stream).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn request(sender: &mut SendRequest<Full<Bytes>>) -> http::Response<Incoming> {
    let request = http::Request::post("https://localhost/").body(Full::default()).unwrap();
    sender.ready().await.unwrap();
    sender.send_request(request).await.unwrap()
}

/// Reads a body to its end; returns its length.
async fn read_body(mut body: Incoming) -> usize {
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        read += frame.unwrap().into_data().unwrap().len();
    }
    read
}

/// Checks that large answers are read with windows of any size on one connection. A client sends a `WINDOW_UPDATE` for
/// stream and connection whenever it has read a part of the window.
#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_large_answers_are_read_with_windows_of_any_size() {
    let listener = Arc::new(start_answering(LIMITS, ANSWER_BYTES).await);
    let readers = [16 << 10, 64 << 10, 1 << 20].map(|window| {
        let listener = Arc::clone(&listener);
        tokio::spawn(async move {
            let mut sender = connect_with_windows(&listener, window).await;
            for _ in 0..500 {
                assert_eq!(read_body(request(&mut sender).await.into_body()).await, ANSWER_BYTES);
            }
        })
    });
    for reader in readers {
        reader.await.unwrap();
    }
}

/// Reads every frame up to the end of the connection, which must be in good order; returns type and payload of the
/// last one, and the number of DATA bytes.
async fn read_to_end(stream: &mut TlsStream<TcpStream>) -> (Option<(u8, Vec<u8>)>, usize) {
    let (mut last, mut data) = (None, 0);
    while let Some((kind, payload)) = read_frame(stream).await {
        if kind == DATA {
            data += payload.len();
        }
        last = Some((kind, payload));
    }
    // Without close_notify this is an error.
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    (last, data)
}

fn goaway_code(frame: Option<(u8, Vec<u8>)>) -> u32 {
    let (kind, payload) = frame.unwrap();
    assert_eq!(kind, GOAWAY);
    u32::from_be_bytes(payload[4..8].try_into().unwrap())
}

/// Checks that a peer that sends too many control frames gets GOAWAY with the reason, also between the frames of an
/// answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_control_frames_ends_with_goaway() {
    let answer = 8 << 20;
    let listener = start_answering(LIMITS, answer).await;
    let flood: Vec<u8> = (0..6_000).flat_map(|_| http2_frame(PING, 0, 0, &[1; 8])).collect();
    let (mut idle, _) = start_http2(&listener).await;
    idle.write_all(&flood).await.unwrap();
    let (last, _) = read_to_end(&mut idle).await;
    assert_eq!(goaway_code(last), ENHANCE_YOUR_CALM);
    let (mut busy, _) = start_http2(&listener).await;
    let window = 1_u32 << 30;
    let settings = [&4_u16.to_be_bytes()[..], &window.to_be_bytes()].concat();
    let fields = [0x83, 0x87, 0x84];
    let begin = [
        http2_frame(SETTINGS, 0, 0, &settings),
        http2_frame(WINDOW_UPDATE, 0, 0, &window.to_be_bytes()),
        http2_frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields),
    ];
    busy.write_all(&begin.concat()).await.unwrap();
    while read_frame(&mut busy).await.unwrap().0 != DATA {}
    let (mut reader, mut writer) = tokio::io::split(busy);
    let sent = tokio::spawn(async move { writer.write_all(&flood).await });
    let mut received = Vec::new();
    let end = tokio::time::timeout(MAX_WAIT, reader.read_to_end(&mut received)).await.unwrap();
    sent.await.unwrap().ok();
    end.unwrap();
    let (mut rest, mut last) = (&received[..], None);
    while !rest.is_empty() {
        let length = usize::try_from(u32::from_be_bytes([0, rest[0], rest[1], rest[2]])).unwrap();
        last = Some((rest[3], rest[9..9 + length].to_vec()));
        rest = &rest[9 + length..];
    }
    assert!(received.len() < answer);
    assert_eq!(goaway_code(last), ENHANCE_YOUR_CALM);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_a_preface_is_closed() {
    let limits = ListenerLimits { handshake_timeout: Duration::from_millis(500), ..LIMITS };
    let listener = start_answering(limits, 0).await;
    let mut mute = listener.connect().await;
    let mut begun = listener.connect().await;
    let (mut served, _) = start_http2(&listener).await;
    begun.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
    assert_eq!(goaway_code(read_to_end(&mut mute).await.0), 0);
    assert_eq!(goaway_code(read_to_end(&mut begun).await.0), 0);
    served.write_all(&http2_frame(PING, 0, 0, &[3; 8])).await.unwrap();
    while read_frame(&mut served).await.unwrap() != (PING, vec![3; 8]) {}
}

/// Checks that the shutdown waits for a call whose answer is slow to be made or slow to be read, and for nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_waits_for_calls_under_way() {
    let limits = ListenerLimits { drain_timeout: MAX_WAIT, ..LIMITS };
    let slow = TestListener::start_with(limits, || async {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        http::Response::new(Body::empty())
    });
    let (slow, large) = (slow.await, start_answering(limits, ANSWER_BYTES).await);
    let mut slow_sender = connect_with_windows(&slow, 16 << 10).await;
    let answering = tokio::spawn(async move { request(&mut slow_sender).await.status() });
    let mut sender = connect_with_windows(&large, 16 << 10).await;
    let answer = request(&mut sender).await;
    // The handler has begun.
    tokio::time::sleep(Duration::from_millis(300)).await;
    slow.stop.send(()).unwrap();
    large.stop.send(()).unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(read_body(answer.into_body()).await, ANSWER_BYTES);
    assert!(answering.await.unwrap().is_success());
    for serving in [slow.serving, large.serving] {
        tokio::time::timeout(Duration::from_secs(10), serving).await.unwrap().unwrap();
    }
}

/// A TLS client that stops before the last flight of its handshake.
struct HalfHandshake {
    tcp: std::net::TcpStream,
    session: ClientConnection,
}

impl HalfHandshake {
    fn begin(address: std::net::SocketAddr, config: ClientConfig) -> Self {
        let mut tcp = std::net::TcpStream::connect(address).unwrap();
        tcp.set_read_timeout(Some(MAX_WAIT)).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut session = ClientConnection::new(Arc::new(config), name).unwrap();
        session.write_tls(&mut tcp).unwrap();
        while session.is_handshaking() {
            session.read_tls(&mut tcp).unwrap();
            session.process_new_packets().unwrap();
        }
        Self { tcp, session }
    }

    /// Ends the handshake with a request; returns what the server sent. The connection must end in good order.
    fn finish(mut self) -> Vec<u8> {
        self.session.writer().write_all(super::listener::PREFACE).unwrap();
        while self.session.wants_write() {
            self.session.write_tls(&mut self.tcp).unwrap();
        }
        while self.session.read_tls(&mut self.tcp).unwrap() > 0 {
            if self.session.process_new_packets().unwrap().peer_has_closed() {
                let mut sent = Vec::new();
                self.session.reader().read_to_end(&mut sent).unwrap();
                return sent;
            }
        }
        panic!("the connection ended without close_notify");
    }
}

/// Checks that SIGTERM ends streams at once with their cursor, closes idle connections in good order, serves no
/// handshake that ends later, and that the process then exits long before its drain limit.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_streams_and_idle_connections_at_once() {
    let folder = ServeFolder::new();
    let served = folder.serve();
    let open = async |name: &str, path: &str, message: &[u8]| {
        let wire = folder.connect(&served, name).await.unwrap();
        let (_, mut body) = wire.begin(path, &[], Body::new(Full::new(frame(message)))).await.unwrap();
        let mut received = BytesMut::new();
        while framed(&received).is_none() {
            received.extend(body.frame().await.unwrap().unwrap().into_data().unwrap());
        }
        (wire, body, received)
    };
    let (_watching, mut deliveries, mut received) = open("la-a", WATCH, &[]).await;
    let (_health, ..) = open("provider-a", HEALTH_WATCH, &[]).await;
    let idle = folder.connect(&served, "la-a").await.unwrap();
    idle.send(HEALTH_CHECK, &[], frame(&[])).await.unwrap();
    let mut mute = connect(served.address, &Arc::new(folder.tls("la-a"))).await;
    let half = HalfHandshake::begin(served.address, folder.tls("la-a"));
    // The mailbox is read to its end before: the stream is idle.
    let mut last = WatchDeliveriesResponse::default();
    while let Ok(Some(Ok(next))) = tokio::time::timeout(Duration::from_secs(2), deliveries.frame()).await {
        received.extend(next.into_data().unwrap());
    }
    let mut rest = &received[..];
    while let Some(message) = framed(rest) {
        last = WatchDeliveriesResponse::decode(message).unwrap();
        rest = &rest[5 + message.len()..];
    }
    served.signal("TERM");
    let begun = Instant::now();
    let status = tokio::time::timeout(MAX_WAIT, deliveries.frame()).await.unwrap().unwrap().unwrap();
    let (status, ended_after) = (status.into_trailers().unwrap(), begun.elapsed());
    let sent = tokio::task::spawn_blocking(move || half.finish()).await.unwrap();
    assert!(sent.is_empty(), "a handshake that ended after SIGTERM was served: {sent:?}");
    assert_eq!(goaway_code(read_to_end(&mut mute).await.0), 0);
    assert!(served.wait_for_exit().success());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(ended_after < Duration::from_secs(1), "{ended_after:?}");
    let status = Status::from_header_map(&status).unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "NODE_STOPPING"));
    let metadata = status.get_error_details().error_info().unwrap().metadata.clone();
    let number = |key: &str| metadata[key].parse::<u64>().unwrap();
    let (log, ordinal) = (metadata["next_log"].clone(), u32::try_from(number("next_ordinal")).unwrap());
    let cursor = Cursor { log, index: number("next_index"), ordinal };
    assert!(cursor.index >= last.next.unwrap().index, "the position that was read to");
    // A new stream goes on from there.
    let served = folder.serve();
    let resumed =
        WatchDeliveriesRequest { cursor: Some(cursor.clone()), ..WatchDeliveriesRequest::default() };
    let wire = folder.connect(&served, "la-a").await.unwrap();
    let opened = wire.call(WATCH, &resumed.encode_to_vec()).await;
    assert_eq!(WatchDeliveriesResponse::decode(opened.message).unwrap().next, Some(cursor));
}

/// Checks that a caller that stops reading its answer is waited for, and that the process exits within its drain limit.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_stops_reading_does_not_hold_the_exit() {
    let folder = ServeFolder::new();
    folder.write("gateway.toml", &(folder.configuration() + "\n[limits]\ndrain_seconds = 2\n"));
    let served = folder.serve();
    let answer = begin_unread(&folder, &served).await;
    served.signal("TERM");
    let begun = Instant::now();
    assert!(served.wait_for_exit().success());
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(900), "the call was not waited for: {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    drop(answer);
}

/// Checks that a second SIGTERM cuts the calls that the first one waits for.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_wait() {
    let folder = ServeFolder::new();
    let limits = "\n[limits]\ndrain_seconds = 120\nanswer_stall_seconds = 120\n";
    folder.write("gateway.toml", &(folder.configuration() + limits));
    let mut served = folder.serve();
    let answer = begin_unread(&folder, &served).await;
    served.signal("TERM");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(served.is_running(), "the call was not waited for");
    served.signal("TERM");
    assert!(served.wait_for_exit().success());
    drop(answer);
}

/// Makes a call and reads nothing of its answer's body.
async fn begin_unread(folder: &ServeFolder, served: &ServeProcess) -> http::Response<Incoming> {
    let stream = TokioIo::new(connect(served.address, &Arc::new(folder.tls("la-a"))).await);
    let mut builder = http2::Builder::new(TokioExecutor::new());
    let (mut sender, connection) = builder.initial_stream_window_size(1).handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post(format!("https://localhost{LIST_PLACEMENTS}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(frame(&[])))
        .unwrap();
    sender.send_request(request).await.unwrap()
}
