//! Stream of an HTTP/2 connection that scans the frames in both directions. It reports when the preface has arrived
//! and when the budget for control frames is spent, and is handed back when hyper drops it, so that the connection can
//! be closed in good order.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use super::frame_budget::FrameBudget;
use super::frame_scanner::{FrameScanner, HEADERS_FRAME, PREFACE_BYTES};

/// Stream that hyper reads and writes.
pub(super) struct GuardedStream<T> {
    /// `None` only while it is dropped.
    inner: Option<T>,
    received: FrameScanner,
    sent: FrameScanner,
    budget: FrameBudget,
    last_stream: u32,
    is_spent: bool,
    on_preface: Option<oneshot::Sender<()>>,
    on_spent: Option<oneshot::Sender<()>>,
    on_boundary: Option<oneshot::Sender<()>>,
    on_drop: Option<oneshot::Sender<ReturnedStream<T>>>,
}

/// What a guarded stream reports.
pub(super) struct StreamEvents<T> {
    /// The first frame after the client's preface has begun.
    pub preface: oneshot::Receiver<()>,
    /// The budget for control frames is spent. Nothing is read any more.
    pub spent: oneshot::Receiver<()>,
    /// The budget is spent, and what was sent ends with a whole frame. Nothing is sent any more.
    pub boundary: oneshot::Receiver<()>,
    /// The stream, when hyper has dropped it.
    pub returned: oneshot::Receiver<ReturnedStream<T>>,
}

/// A stream that hyper has dropped.
pub(super) struct ReturnedStream<T> {
    /// The stream.
    pub stream: T,
    /// Whether what was sent ends with a whole frame.
    pub is_at_boundary: bool,
    /// Highest number of a stream that the client began.
    pub last_stream: u32,
}

impl<T> GuardedStream<T> {
    /// Guards a stream that starts at the client's preface.
    pub fn new(inner: T) -> (Self, StreamEvents<T>) {
        let (on_preface, preface) = oneshot::channel();
        let (on_spent, spent) = oneshot::channel();
        let (on_boundary, boundary) = oneshot::channel();
        let (on_drop, returned) = oneshot::channel();
        let guarded = Self {
            inner: Some(inner),
            received: FrameScanner::behind(PREFACE_BYTES),
            sent: FrameScanner::behind(0),
            budget: FrameBudget::new(),
            last_stream: 0,
            is_spent: false,
            on_preface: Some(on_preface),
            on_spent: Some(on_spent),
            on_boundary: Some(on_boundary),
            on_drop: Some(on_drop),
        };
        (guarded, StreamEvents { preface, spent, boundary, returned })
    }

    fn scan_received(&mut self, mut bytes: &[u8]) {
        while let Some((frame, rest)) = self.received.next_header(bytes) {
            bytes = rest;
            report(&mut self.on_preface);
            if frame.kind == HEADERS_FRAME {
                self.last_stream = self.last_stream.max(frame.stream);
            }
            if !self.budget.charge_received(frame) {
                self.is_spent = true;
                report(&mut self.on_spent);
                self.report_boundary();
                return;
            }
        }
    }

    fn scan_sent(&mut self, mut bytes: &[u8]) {
        while let Some((frame, rest)) = self.sent.next_header(bytes) {
            bytes = rest;
            self.budget.credit_sent(frame);
        }
        self.report_boundary();
    }

    fn report_boundary(&mut self) {
        if self.is_spent && self.sent.bytes_missing() == 0 {
            report(&mut self.on_boundary);
        }
    }

    /// Returns the stream, pinned.
    fn inner(&mut self) -> io::Result<Pin<&mut T>>
    where
        T: Unpin,
    {
        self.inner.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

fn report(event: &mut Option<oneshot::Sender<()>>) {
    if let Some(event) = event.take() {
        // The task that waited may have ended.
        event.send(()).ok();
    }
}

impl<T> Drop for GuardedStream<T> {
    fn drop(&mut self) {
        if let (Some(stream), Some(on_drop)) = (self.inner.take(), self.on_drop.take()) {
            let is_at_boundary = self.sent.bytes_missing() == 0;
            on_drop.send(ReturnedStream { stream, is_at_boundary, last_stream: self.last_stream }).ok();
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for GuardedStream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_spent {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        std::task::ready!(self.inner()?.poll_read(cx, buf))?;
        self.scan_received(buf.filled().get(before..).unwrap_or_default());
        if self.is_spent {
            // hyper does not get these frames, and is not woken: the task that serves the connection ends it.
            buf.set_filled(before);
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for GuardedStream<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let most = if self.is_spent { self.sent.bytes_missing().min(buf.len()) } else { buf.len() };
        if most == 0 && !buf.is_empty() {
            return Poll::Pending;
        }
        let buf = buf.get(..most).unwrap_or_default();
        let written = std::task::ready!(self.inner()?.poll_write(cx, buf))?;
        self.scan_sent(buf.get(..written).unwrap_or_default());
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner()?.poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_spent {
            let first = bufs.iter().find(|buf| !buf.is_empty());
            return self.poll_write(cx, first.map_or(&[], |buf| buf));
        }
        let written = std::task::ready!(self.inner()?.poll_write_vectored(cx, bufs))?;
        let mut left = written;
        for buf in bufs {
            let part = buf.get(..left.min(buf.len())).unwrap_or_default();
            left -= part.len();
            self.scan_sent(part);
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }
}
