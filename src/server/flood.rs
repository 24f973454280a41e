//! A budget for control frames. hyper answers every PING and SETTINGS and takes every `WINDOW_UPDATE`, without
//! a bound; a peer could keep a core busy with them alone. The bytes of a connection are followed frame by
//! frame (RFC 9113 §4.1); requests and their data earn credit, everything else spends it, and a connection
//! that has none left is cut.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// Bytes of the client's connection preface.
const PREFACE: usize = 24;
/// Bytes of a frame header.
const HEADER: usize = 9;
/// Control frames that a connection may send at once, and how many more each second.
const BURST: u32 = 1_000;
const PER_SECOND: u32 = 100;
/// What a frame of a request earns: a unary call sends about one control frame for each of its own.
const EARNED: u32 = 4;
const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;

/// A stream whose control frames are counted.
pub struct Guarded<T> {
    inner: T,
    skip: usize,
    header: [u8; HEADER],
    have: usize,
    credit: u32,
    refilled: Instant,
}

impl<T> Guarded<T> {
    /// Guards a stream from its preface on.
    pub fn new(inner: T) -> Self {
        let refilled = Instant::now();
        Self { inner, skip: PREFACE, header: [0; HEADER], have: 0, credit: BURST, refilled }
    }

    /// Follows the bytes that were read; false when the budget is spent.
    fn follow(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            for (to, from) in self.header.iter_mut().skip(self.have).zip(bytes.iter().copied()) {
                *to = from;
            }
            let taken = bytes.len().min(HEADER - self.have);
            bytes = bytes.get(taken..).unwrap_or_default();
            self.have += taken;
            if self.have == HEADER {
                self.have = 0;
                let [a, b, c, kind, ..] = self.header;
                self.skip = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap_or(usize::MAX);
                // An empty DATA frame that ends nothing is a flood of its own (CVE-2019-9518).
                let earns = kind == HEADERS || (kind == DATA && self.skip > 0);
                if !self.pay(earns) {
                    return false;
                }
            }
        }
        true
    }

    fn pay(&mut self, earns: bool) -> bool {
        if earns {
            self.credit = (self.credit + EARNED).min(BURST);
            return true;
        }
        let seconds = u32::try_from(self.refilled.elapsed().as_secs()).unwrap_or(u32::MAX);
        if seconds > 0 {
            self.refilled = Instant::now();
            self.credit = self.credit.saturating_add(seconds.saturating_mul(PER_SECOND)).min(BURST);
        }
        self.credit = match self.credit.checked_sub(1) {
            Some(left) => left,
            None => return false,
        };
        true
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Guarded<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        std::task::ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        let read = buf.filled().get(before..).unwrap_or_default();
        if self.follow(read) {
            Poll::Ready(Ok(()))
        } else {
            tracing::warn!("a connection was cut: too many control frames");
            Poll::Ready(Err(io::Error::other("too many control frames")))
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Guarded<T> {
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
        let mut guarded = Guarded::new(());
        assert!(guarded.follow(&[0; PREFACE]));
        for _ in 0..BURST {
            assert!(guarded.follow(&frame(0x6, 8)));
        }
        assert!(!guarded.follow(&frame(0x6, 8)));
        tokio::time::advance(std::time::Duration::from_secs(2)).await;
        for _ in 0..2 * PER_SECOND {
            assert!(guarded.follow(&frame(0x8, 4)));
        }
        assert!(!guarded.follow(&frame(0x0, 0)));
        let mut honest = Guarded::new(());
        assert!(honest.follow(&[0; PREFACE]));
        for _ in 0..5_000 {
            // In pieces, as a socket gives them.
            let bytes = [frame(HEADERS, 40), frame(DATA, 300), frame(0x8, 4), frame(0x8, 4)].concat();
            assert!(bytes.chunks(7).all(|piece| honest.follow(piece)));
        }
    }
}
