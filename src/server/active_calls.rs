//! Calls under way on one connection, which a shutdown waits for. A call ends when hyper has sent the last byte of its
//! response, not when the response was made.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::watch;
use tonic::Status;
use tonic::body::Body;

/// Number of calls under way on a connection. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct ActiveCalls(watch::Sender<usize>);

/// A call under way. Dropping it ends the call.
pub(super) struct ActiveCall(ActiveCalls);

impl ActiveCalls {
    /// Counts a call.
    pub fn begin(&self) -> Arc<ActiveCall> {
        self.0.send_modify(|count| *count += 1);
        Arc::new(ActiveCall(self.clone()))
    }

    /// Waits until no call is under way, neither now nor after a pause.
    pub async fn wait_until_idle(&self, pause: Duration) {
        let mut count = self.0.subscribe();
        loop {
            // The sender lives as long as `self`.
            count.wait_for(|count| *count == 0).await.ok();
            tokio::time::sleep(pause).await;
            if *count.borrow() == 0 {
                return;
            }
        }
    }
}

impl Drop for ActiveCall {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// Body of the response to a call. Its data holds the call too, because hyper drops the body before it has sent all of
/// the data.
struct CountedBody {
    body: Body,
    call: Arc<ActiveCall>,
}

struct CountedData {
    data: Bytes,
    _call: Arc<ActiveCall>,
}

/// Ties a call to the body of its response.
pub(super) fn count_until_sent(body: Body, call: Arc<ActiveCall>) -> Body {
    Body::new(CountedBody { body, call })
}

impl AsRef<[u8]> for CountedData {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        let call = &self.call;
        let counted = |data| Bytes::from_owner(CountedData { data, _call: Arc::clone(call) });
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(counted))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_call_is_under_way_until_its_data_is_dropped() {
        use http_body_util::{BodyExt, Full};
        let calls = ActiveCalls::default();
        let body = Body::new(Full::new(Bytes::from_static(b"data")).map_err(|never| match never {}));
        let mut body = count_until_sent(body, calls.begin());
        let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
        drop(body);
        assert_eq!((&data[..], *calls.0.borrow()), (&b"data"[..], 1));
        let waiting = calls.clone();
        let idle = tokio::spawn(async move { waiting.wait_until_idle(Duration::from_millis(1)).await });
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert!(!idle.is_finished());
        drop(data);
        tokio::time::timeout(Duration::from_secs(1), idle).await.unwrap().unwrap();
    }
}
