//! Response body whose bytes are charged, and hold their call, until they are sent. It gives hyper a small part at a time, because h2
//! queues whatever it is given, whether the client reads or not, and a stream whose answer is queued whole could
//! not be reset any more.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;

use super::active_calls::ActiveCall;
use super::answer_progress::AnswerProgress;
use crate::exchange::{CallMemory, Charge};
use crate::metrics::StartedCall;

/// Largest part that is given to hyper at once, in bytes: a frame of HTTP/2 at its initial size.
const PART_BYTES: usize = 16 << 10;
/// Bytes that may wait to be sent before the next part is given: as many as the windows that most clients open.
const MAX_UNSENT_BYTES: usize = 64 << 10;
/// Bytes that may wait when the trailers are given and the stream ends for hyper. They make small answers one write.
const MAX_UNSENT_AT_END: usize = PART_BYTES;

/// Number of the status code of a response without one.
pub const UNKNOWN_CODE: i32 = 2;

/// Returns the number of the status code of a response, if its headers or trailers have one.
pub fn status_code(headers: &HeaderMap) -> Option<i32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// Response body of one call.
pub struct ResponseBody {
    inner: Body,
    memory: CallMemory,
    progress: Option<Arc<AnswerProgress>>,
    /// The part of the present frame that was not given to hyper.
    rest: Bytes,
    charge: Option<Arc<Charge>>,
    trailers: Option<HeaderMap>,
    /// The call that a shutdown waits for, unless the response is a stream, which may have no end.
    call: Option<Arc<ActiveCall>>,
    /// The call whose end is counted with its status.
    started: Option<StartedCall>,
}

/// Bytes of a response. They report their progress as they are written.
pub struct UnsentBytes {
    bytes: Bytes,
    progress: Arc<AnswerProgress>,
    _charge: Option<Arc<Charge>>,
    /// hyper drops the body before it has sent all of its bytes.
    _call: Option<Arc<ActiveCall>>,
}

impl ResponseBody {
    /// Wraps the body of a call's response.
    pub fn new(inner: Body, memory: CallMemory, call: Option<Arc<ActiveCall>>) -> Self {
        Self {
            inner,
            memory,
            progress: None,
            rest: Bytes::new(),
            charge: None,
            trailers: None,
            call,
            started: None,
        }
    }

    /// Has the end of a call counted with the status of this response.
    #[must_use]
    pub fn measured(self, started: Option<StartedCall>) -> Self {
        Self { started, ..self }
    }

    fn take_part(&mut self, progress: &Arc<AnswerProgress>) -> UnsentBytes {
        let bytes = self.rest.split_to(PART_BYTES.min(self.rest.len()));
        progress.add(bytes.len());
        let charge = if self.rest.is_empty() { self.charge.take() } else { self.charge.clone() };
        UnsentBytes { bytes, progress: Arc::clone(progress), _charge: charge, _call: self.call.clone() }
    }
}

impl HttpBody for ResponseBody {
    type Data = UnsentBytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<UnsentBytes>, Status>>> {
        let progress = Arc::clone(self.progress.get_or_insert_with(AnswerProgress::current));
        loop {
            if let Some(trailers) = self.trailers.take() {
                if progress.is_above(MAX_UNSENT_AT_END, cx.waker()) {
                    self.trailers = Some(trailers);
                    return Poll::Pending;
                }
                if let Some(started) = self.started.take() {
                    started.finish(status_code(&trailers).unwrap_or(UNKNOWN_CODE));
                }
                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
            }
            if progress.is_above(MAX_UNSENT_BYTES - PART_BYTES, cx.waker()) {
                return Poll::Pending;
            }
            if !self.rest.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(self.take_part(&progress)))));
            }
            let Some(frame) = ready!(Pin::new(&mut self.inner).poll_frame(cx)?) else {
                if let Some(started) = self.started.take() {
                    started.finish(UNKNOWN_CODE);
                }
                return Poll::Ready(None);
            };
            match frame.into_data() {
                Ok(data) => {
                    self.charge = Some(Arc::new(self.memory.take_response(data.len())));
                    self.rest = data;
                }
                Err(frame) => self.trailers = frame.into_trailers().ok(),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.trailers.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Buf for UnsentBytes {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.progress.remove(count);
    }
}

impl Drop for UnsentBytes {
    fn drop(&mut self) {
        if self.bytes.has_remaining() {
            self.progress.remove(self.bytes.remaining());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::{BodyExt, Full};

    use super::*;
    use crate::server::active_calls::ActiveCalls;

    #[tokio::test(start_paused = true)]
    async fn a_call_is_under_way_until_its_data_is_dropped() {
        let calls = ActiveCalls::default();
        let full = Full::new(Bytes::from_static(b"data")).map_err(|never| match never {});
        let mut body = ResponseBody::new(Body::new(full), CallMemory::unlimited(), Some(calls.begin()));
        let data = body.frame().await.unwrap().unwrap().into_data().ok().unwrap();
        drop(body);
        assert_eq!(data.chunk(), b"data");
        let waiting = calls.clone();
        let idle = tokio::spawn(async move { waiting.wait_until_idle(Duration::from_millis(1)).await });
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert!(!idle.is_finished());
        drop(data);
        tokio::time::timeout(Duration::from_secs(1), idle).await.unwrap().unwrap();
    }
}
