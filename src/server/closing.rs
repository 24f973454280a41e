//! Closing of a connection in good order: GOAWAY, TLS `close_notify`, end of the TCP stream.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::frame_scanner::goaway_frame;
use super::guarded_stream::ReturnedStream;

/// Maximum time in which a connection is closed, whether its peer reads or not.
pub(super) const MAX_CLOSE_TIME: Duration = Duration::from_secs(1);

/// Error code of a GOAWAY frame (RFC 9113, 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GoawayCode {
    /// The connection is closed without an error.
    NoError = 0x0,
    /// The peer caused too much load.
    EnhanceYourCalm = 0xb,
}

/// Closes a connection that hyper has dropped. A GOAWAY is sent only between two frames, because its bytes would be
/// part of a frame that was sent in part.
pub(super) async fn close_connection(
    returned: ReturnedStream<TlsStream<TcpStream>>,
    goaway: Option<GoawayCode>,
) {
    let ReturnedStream { mut stream, is_at_boundary, last_stream } = returned;
    let closing = async {
        if let Some(code) = goaway.filter(|_| is_at_boundary) {
            stream.write_all(&goaway_frame(last_stream, code as u32)).await?;
        }
        close_tls(&mut stream).await
    };
    // A peer that does not read or does not close gets no more time.
    tokio::time::timeout(MAX_CLOSE_TIME, closing).await.ok();
}

/// Sends `close_notify`, and waits for the peer's end.
async fn close_tls(stream: &mut TlsStream<TcpStream>) -> std::io::Result<()> {
    stream.shutdown().await?;
    // What the peer has sent is read and discarded, because closing a socket with unread bytes resets it, and the reset
    // can overtake what was sent.
    let (tcp, _) = stream.get_mut();
    let mut discarded = [0; 4096];
    while tcp.read(&mut discarded).await? > 0 {}
    Ok(())
}

/// Closes a TLS connection on which HTTP/2 was not begun.
pub(super) async fn close_unserved(mut stream: TlsStream<TcpStream>) {
    tokio::time::timeout(MAX_CLOSE_TIME, close_tls(&mut stream)).await.ok();
}
