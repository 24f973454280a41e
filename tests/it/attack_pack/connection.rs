//! Connections of the attackers, at the level of HTTP/2 frames.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::listener::{END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, WINDOW_UPDATE, http2_frame};
use crate::wire::Wire;

pub const DATA: u8 = 0;
pub const SETTINGS_INITIAL_WINDOW_SIZE: u16 = 4;
/// Time limit for a connection to be accepted.
const MAX_CONNECT_TIME: Duration = Duration::from_secs(10);

/// The gateway under attack, and the certificates of the attackers.
pub struct Target {
    pub address: SocketAddr,
    pub identities: BTreeMap<String, Arc<ClientConfig>>,
}

/// A TLS connection of an attacker.
pub type Attacking = TlsStream<TcpStream>;

impl Target {
    /// Opens a TCP connection from one of the addresses of the loopback network.
    pub async fn connect_tcp(&self, source: Ipv4Addr) -> Option<TcpStream> {
        let socket = TcpSocket::new_v4().ok()?;
        socket.bind(SocketAddr::from((source, 0))).ok()?;
        tokio::time::timeout(MAX_CONNECT_TIME, socket.connect(self.address)).await.ok()?.ok()
    }

    pub async fn connect_tls(&self, source: Ipv4Addr, who: &str) -> Option<Attacking> {
        let tcp = self.connect_tcp(source).await?;
        let connector = TlsConnector::from(Arc::clone(&self.identities[who]));
        let name = ServerName::try_from("localhost").unwrap();
        tokio::time::timeout(MAX_CONNECT_TIME, connector.connect(name, tcp)).await.ok()?.ok()
    }

    /// Opens an HTTP/2 connection of which the attacker writes every frame.
    pub async fn connect_raw(&self, source: Ipv4Addr, who: &str, window: Option<u32>) -> Option<Attacking> {
        let mut stream = self.connect_tls(source, who).await?;
        let settings = window
            .map(|window| [&SETTINGS_INITIAL_WINDOW_SIZE.to_be_bytes()[..], &window.to_be_bytes()].concat());
        let begin = [PREFACE, &http2_frame(SETTINGS, 0, 0, &settings.unwrap_or_default())].concat();
        stream.write_all(&begin).await.ok()?;
        Some(stream)
    }

    /// Opens an HTTP/2 connection of a library.
    pub async fn connect_http(&self, source: Ipv4Addr, who: &str) -> Option<Wire> {
        let stream = self.connect_tls(source, who).await?;
        Wire::over(stream).await.ok()
    }
}

/// Returns the ids of `count` streams of a client.
pub fn stream_ids(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|number| 2 * number + 1)
}

/// Encodes the HEADERS frame of a gRPC request, with literal fields (RFC 7541 §6.2.2).
pub fn request_head(stream: u32, path: &str, ends: bool) -> Vec<u8> {
    let flags = END_HEADERS | if ends { END_STREAM } else { 0 };
    http2_frame(HEADERS, flags, stream, &request_fields(path))
}

pub fn request_fields(path: &str) -> Vec<u8> {
    // :method POST and :scheme https are indexed; :authority and :path have an indexed name.
    let mut fields = vec![0x83, 0x87];
    for (index, value) in [(1, "localhost"), (4, path)] {
        fields.extend([index, u8::try_from(value.len()).unwrap()]);
        fields.extend(value.as_bytes());
    }
    for (name, value) in [("content-type", "application/grpc"), ("te", "trailers")] {
        fields.extend(literal_field(name, value));
    }
    fields
}

/// Encodes a field with a name and a value of up to 126 bytes.
pub fn literal_field(name: &str, value: &str) -> Vec<u8> {
    let mut field = vec![0, u8::try_from(name.len()).unwrap()];
    field.extend(name.as_bytes());
    field.push(u8::try_from(value.len()).unwrap());
    field.extend(value.as_bytes());
    field
}

/// Encodes a `WINDOW_UPDATE` that makes the connection's window as large as it may be.
pub fn open_connection_window() -> Vec<u8> {
    http2_frame(WINDOW_UPDATE, 0, 0, &(0x7fff_ffff_u32 - 0xffff).to_be_bytes())
}

/// Reads and discards until the gateway closes the connection.
pub async fn drain(mut stream: ReadHalf<Attacking>) {
    let mut bytes = vec![0; 16 << 10];
    while stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
}

/// Writes these bytes and holds the connection until the gateway closes it.
pub async fn send_and_hold(mut stream: Attacking, bytes: &[u8]) {
    if stream.write_all(bytes).await.is_ok() {
        drain(split(stream).0).await;
    }
}

/// Writes frames without end, until the gateway closes the connection.
pub async fn flood(stream: Attacking, mut next: impl FnMut() -> Vec<u8>) {
    let (read, mut write): (_, WriteHalf<Attacking>) = split(stream);
    let writing = async {
        while write.write_all(&next()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        () = drain(read) => {}
        () = writing => {}
    }
}
