//! Request body that withholds a message until it has arrived. tonic reserves the length that a message declares
//! as soon as it has read its five bytes of prefix, so a caller could make the gateway reserve memory that it never
//! fills. Behind this body only messages that are there are reserved. The bytes are charged as they arrive, and
//! the body is not read on while the share of its caller is spent.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame};
use tonic::Status;
use tonic::body::Body;

use super::call::BoxFuture;
use super::memory::{CallMemory, Charge};

/// Length of a message's prefix: the flag of compression, and the length.
const PREFIX_BYTES: usize = 5;

/// Request body that yields only complete messages, each as its prefix and then its bytes.
pub struct MessageBody {
    inner: Body,
    memory: CallMemory,
    /// Messages that declare more are passed on unread, because the decoder refuses them at their prefix.
    max_message_bytes: usize,
    /// Bytes that have arrived and are not passed on.
    received: BytesMut,
    charge: Charge,
    /// Bytes of a complete message whose prefix was passed on.
    message: Bytes,
    waiting: Option<BoxFuture<'static, bool>>,
    state: State,
}

enum State {
    Reading,
    /// The rest is passed on as it arrives.
    Unread,
    /// What ends the body, after the messages before it.
    Ended(Option<Result<Frame<Bytes>, Status>>),
}

/// What the bytes that have arrived begin with.
enum Beginning {
    Incomplete,
    Message(usize),
    Refused,
}

impl MessageBody {
    /// Wraps the body of a request.
    #[must_use]
    pub fn new(inner: Body, memory: CallMemory, max_message_bytes: usize) -> Self {
        let charge = memory.charge(0);
        Self {
            inner,
            memory,
            max_message_bytes,
            received: BytesMut::new(),
            charge,
            message: Bytes::new(),
            waiting: None,
            state: State::Reading,
        }
    }

    /// Waits until the first message is complete, or can no longer be.
    pub async fn wait_for_message(&mut self) {
        poll_fn(|cx| self.poll_message(cx)).await;
    }

    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.message.is_empty() {
            match self.beginning() {
                Beginning::Message(_) => return Poll::Ready(()),
                Beginning::Refused => self.state = State::Unread,
                Beginning::Incomplete => {}
            }
            if !matches!(self.state, State::Reading) {
                return Poll::Ready(());
            }
            ready!(self.poll_more(cx));
        }
        Poll::Ready(())
    }

    /// Reads the next frame once the share is open.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !ready!(self.poll_open(cx)) {
            self.end(Some(Err(Status::resource_exhausted(""))));
            return Poll::Ready(());
        }
        match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => self.receive(&data),
                Err(trailers) => self.end(Some(Ok(trailers))),
            },
            Some(Err(status)) => self.end(Some(Err(status))),
            None if self.received.is_empty() => self.end(None),
            None => self.end(Some(Err(Status::internal("Unexpected EOF decoding stream.")))),
        }
        Poll::Ready(())
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.waiting.is_none() && self.memory.is_open(self.received.len()) {
            return Poll::Ready(true);
        }
        let memory = self.memory.clone();
        let waiting =
            self.waiting.get_or_insert_with(|| Box::pin(async move { memory.wait_until_open().await }));
        let is_open = ready!(waiting.as_mut().poll(cx));
        self.waiting = None;
        Poll::Ready(is_open)
    }

    /// Copies a frame's bytes, because a frame of a few bytes can refer to a large buffer of the connection.
    fn receive(&mut self, data: &Bytes) {
        self.charge.add(data.len());
        if self.received.capacity() - self.received.len() < data.len() {
            // At most doubles, and no further than the message goes.
            let missing = self.declared_bytes().saturating_sub(self.received.len());
            self.received.reserve(self.received.len().min(missing).max(data.len()));
        }
        self.received.extend_from_slice(data);
    }

    fn end(&mut self, last: Option<Result<Frame<Bytes>, Status>>) {
        self.state = State::Ended(last);
    }

    /// Returns the length of the first message with its prefix, as it is declared.
    fn declared_bytes(&self) -> usize {
        let length = self.received.get(1..PREFIX_BYTES).and_then(|length| <[u8; 4]>::try_from(length).ok());
        length.map_or(PREFIX_BYTES, |length| {
            PREFIX_BYTES.saturating_add(usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX))
        })
    }

    fn beginning(&self) -> Beginning {
        let has_unknown_flag = self.received.first().is_some_and(|flag| *flag > 1);
        let declared = self.declared_bytes();
        if has_unknown_flag || declared > self.max_message_bytes.saturating_add(PREFIX_BYTES) {
            Beginning::Refused
        } else if self.received.len() >= PREFIX_BYTES.max(declared) {
            Beginning::Message(declared)
        } else {
            Beginning::Incomplete
        }
    }

    /// Takes the first `bytes` of what has arrived, with their charge.
    fn take(&mut self, bytes: usize) -> Bytes {
        let taken = self.received.split_to(bytes).freeze();
        self.memory.add_request(self.charge.split_to(taken.len()));
        if self.received.is_empty() {
            // Not to keep the buffer of the message.
            self.received = BytesMut::new();
        }
        taken
    }
}

impl HttpBody for MessageBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if !self.message.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.message)))));
        }
        ready!(self.poll_message(cx));
        if let (State::Reading | State::Ended(_), Beginning::Message(declared)) =
            (&self.state, self.beginning())
        {
            let mut message = self.take(declared);
            let prefix = message.split_to(PREFIX_BYTES);
            self.message = message;
            return Poll::Ready(Some(Ok(Frame::data(prefix))));
        }
        if let State::Ended(last) = &mut self.state {
            return Poll::Ready(last.take());
        }
        if self.received.is_empty() {
            return Pin::new(&mut self.inner).poll_frame(cx);
        }
        let bytes = self.received.len();
        Poll::Ready(Some(Ok(Frame::data(self.take(bytes)))))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, StreamBody};
    use tokio::sync::mpsc;
    use tokio_stream::StreamExt;
    use tokio_stream::wrappers::ReceiverStream;

    use super::*;

    type Sender = mpsc::Sender<Result<Frame<Bytes>, Status>>;

    fn body(most: usize) -> (Sender, MessageBody) {
        let (sender, frames) = mpsc::channel(100);
        let inner = Body::new(StreamBody::new(ReceiverStream::new(frames)));
        (sender, MessageBody::new(inner, CallMemory::unlimited(), most))
    }

    async fn send(to: &Sender, bytes: &[u8]) {
        to.send(Ok(Frame::data(Bytes::copy_from_slice(bytes)))).await.unwrap();
    }

    /// Reads what is passed on before the body must wait.
    async fn ready(body: &mut MessageBody) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        while let Ok(Some(frame)) =
            tokio::time::timeout(std::time::Duration::from_millis(1), body.frame()).await
        {
            frames.push(frame.unwrap().into_data().unwrap().to_vec());
        }
        frames
    }

    fn message(bytes: &[u8]) -> Vec<u8> {
        let length = u32::try_from(bytes.len()).unwrap();
        [&[0][..], &length.to_be_bytes(), bytes].concat()
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_is_passed_on_once_it_is_complete() {
        let (to, mut body) = body(1_000);
        let sent = [message(b"first"), message(b""), message(&[7; 900])].concat();
        let mut passed_on = Vec::new();
        for byte in &sent {
            send(&to, &[*byte]).await;
            passed_on.extend(ready(&mut body).await);
        }
        let prefix = |length: u32| [&[0][..], &length.to_be_bytes()].concat();
        assert_eq!(passed_on, [prefix(5), b"first".to_vec(), prefix(0), prefix(900), vec![7; 900]]);
        drop(to);
        assert!(body.frame().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_reserved_by_a_declared_length() {
        let (to, mut body) = body(1 << 20);
        let whole = message(&vec![0; 1 << 20]);
        send(&to, &whole[..100]).await;
        assert!(ready(&mut body).await.is_empty());
        assert!(body.received.capacity() < 1_000);
        // A body that ends within its message is tonic's own error.
        drop(to);
        assert_eq!(body.frame().await.unwrap().unwrap_err().code(), tonic::Code::Internal);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_decoder_refuses_at_its_prefix_is_passed_on() {
        for first in [&message(&[0; 1_001])[..6], &[7, 0, 0, 0]] {
            let (to, mut body) = body(1_000);
            send(&to, first).await;
            assert_eq!(ready(&mut body).await, [first]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_waits_while_its_share_is_spent_and_is_then_refused() {
        let limits =
            super::super::MemoryLimits { total: 1 << 20, organisation: 1 << 20, unregistered: 1 << 16 };
        let call = super::super::MemoryBudget::new(limits).connection("la/330").call(0);
        let frames = (0..100).map(|_| Ok(Frame::data(Bytes::from(vec![0; 10_000]))));
        let inner = Body::new(StreamBody::new(
            tokio_stream::iter(
                [Ok(Frame::data(Bytes::from(vec![0, 0, 15, 0, 0])))].into_iter().chain(frames),
            )
            .map(|frame: Result<_, Status>| frame),
        ));
        let mut body = MessageBody::new(inner, call.clone(), 1 << 20);
        assert!(ready(&mut body).await.is_empty());
        assert!(body.received.len() < 90_000, "{}", body.received.len());
        let refused = body.frame().await.unwrap().unwrap_err();
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        assert!(call.is_exhausted());
    }
}
