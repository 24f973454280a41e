//! Budget for HTTP/2 control frames. hyper answers every PING and SETTINGS and accepts every `WINDOW_UPDATE`
//! without a bound, so a peer could occupy a core with these alone. The received bytes are parsed into frames
//! (RFC 9113 §4.1). Frames of requests and their data earn credit; every other frame costs credit. A connection
//! without credit is closed.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// Length of the client's connection preface.
const PREFACE_BYTES: usize = 24;
/// Length of a frame header.
const FRAME_HEADER_BYTES: usize = 9;
/// Control frames that a connection may send at once, and the number that is added each second.
const MAX_CREDIT: u32 = 1_000;
const CREDIT_PER_SECOND: u32 = 100;
/// Credit for a frame of a request. A unary call sends about one control frame for each of its own frames.
const CREDIT_PER_REQUEST_FRAME: u32 = 4;
const DATA_FRAME: u8 = 0x0;
const HEADERS_FRAME: u8 = 0x1;

/// Stream that limits its control frames.
pub struct FrameLimited<T> {
    inner: T,
    bytes_to_skip: usize,
    header: [u8; FRAME_HEADER_BYTES],
    header_bytes_read: usize,
    credit: u32,
    refilled: Instant,
}

impl<T> FrameLimited<T> {
    /// Creates a limit for a stream that starts at its preface.
    pub fn new(inner: T) -> Self {
        let refilled = Instant::now();
        Self {
            inner,
            bytes_to_skip: PREFACE_BYTES,
            header: [0; FRAME_HEADER_BYTES],
            header_bytes_read: 0,
            credit: MAX_CREDIT,
            refilled,
        }
    }

    /// Accounts for bytes that were read. Returns false when the credit is spent.
    fn account_for(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let skipped = self.bytes_to_skip.min(bytes.len());
            self.bytes_to_skip -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            for (to, from) in self.header.iter_mut().skip(self.header_bytes_read).zip(bytes.iter().copied()) {
                *to = from;
            }
            let copied = bytes.len().min(FRAME_HEADER_BYTES - self.header_bytes_read);
            bytes = bytes.get(copied..).unwrap_or_default();
            self.header_bytes_read += copied;
            if self.header_bytes_read == FRAME_HEADER_BYTES {
                self.header_bytes_read = 0;
                let [a, b, c, kind, ..] = self.header;
                self.bytes_to_skip = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap_or(usize::MAX);
                // Empty DATA frames earn nothing, because they can be a flood themselves (CVE-2019-9518).
                let earns = kind == HEADERS_FRAME || (kind == DATA_FRAME && self.bytes_to_skip > 0);
                if !self.charge_frame(earns) {
                    return false;
                }
            }
        }
        true
    }

    fn charge_frame(&mut self, earns: bool) -> bool {
        if earns {
            self.credit = (self.credit + CREDIT_PER_REQUEST_FRAME).min(MAX_CREDIT);
            return true;
        }
        let seconds = u32::try_from(self.refilled.elapsed().as_secs()).unwrap_or(u32::MAX);
        if seconds > 0 {
            self.refilled = Instant::now();
            self.credit =
                self.credit.saturating_add(seconds.saturating_mul(CREDIT_PER_SECOND)).min(MAX_CREDIT);
        }
        self.credit = match self.credit.checked_sub(1) {
            Some(left) => left,
            None => return false,
        };
        true
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for FrameLimited<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        std::task::ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        let read = buf.filled().get(before..).unwrap_or_default();
        if self.account_for(read) {
            Poll::Ready(Ok(()))
        } else {
            tracing::warn!("a connection was cut: too many control frames");
            Poll::Ready(Err(io::Error::other("too many control frames")))
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for FrameLimited<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, length: u32) -> Vec<u8> {
        let mut frame = length.to_be_bytes()[1..].to_vec();
        frame.extend([kind, 0, 0, 0, 0, 0]);
        frame.extend(vec![0; usize::try_from(length).unwrap()]);
        frame
    }

    #[tokio::test(start_paused = true)]
    async fn pings_are_cut_and_requests_are_not() {
        let mut guarded = FrameLimited::new(());
        assert!(guarded.account_for(&[0; PREFACE_BYTES]));
        for _ in 0..MAX_CREDIT {
            assert!(guarded.account_for(&frame(0x6, 8)));
        }
        assert!(!guarded.account_for(&frame(0x6, 8)));
        tokio::time::advance(std::time::Duration::from_secs(2)).await;
        for _ in 0..2 * CREDIT_PER_SECOND {
            assert!(guarded.account_for(&frame(0x8, 4)));
        }
        assert!(!guarded.account_for(&frame(0x0, 0)));
        let mut honest = FrameLimited::new(());
        assert!(honest.account_for(&[0; PREFACE_BYTES]));
        for _ in 0..5_000 {
            // In pieces, as a socket returns them.
            let bytes =
                [frame(HEADERS_FRAME, 40), frame(DATA_FRAME, 300), frame(0x8, 4), frame(0x8, 4)].concat();
            assert!(bytes.chunks(7).all(|piece| honest.account_for(piece)));
        }
    }
}
