//! Streams of parts from a caller: an opening exchange, then one exchange a part. A part is the messages from
//! its header to its commit, and nothing but a commit ends it well: the libraries can show a stream that was
//! reset as one that ended (hyper one with code 0, tonic one with CANCEL). What ends with a part open
//! is entered, and stores nothing. One message is read, and one part answered, at a time: a caller that does
//! not read its answers is not read from either.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::server::StreamingService;
use tonic::{Status, Streaming};

use super::codec::Answer;
use super::door::{Call, Door};
use super::routes::{Handler, reason_of};
use super::watch::{Boxed, LIFETIME, Messages, over, send};
use super::{Reason, Refusal};
use crate::store::Slot;

/// Largest message of a stream, in bytes.
pub(super) const FRAME: usize = 256 << 10;
/// How long a part may take from its header to its commit.
const PART: Duration = Duration::from_mins(1);
/// How long a caller may be silent.
const SILENCE: Duration = Duration::from_mins(1);

/// What a message is in its part, with the number of things in it.
pub enum Piece {
    /// Begins a part.
    Header(usize),
    /// Goes on with it.
    Frame(usize),
    /// Ends it: so many things, with this SHA-256 over the part's messages before this one.
    Commit(u32, Bytes),
}

/// What a capability makes of a stream.
#[derive(Clone)]
pub(super) struct Receiver {
    pub open: Handler,
    pub part: Handler,
    pub piece: Arc<dyn Fn(Bytes) -> Result<Piece, Refusal> + Send + Sync>,
}

/// A stream of parts, as tonic calls it.
pub(super) struct Parts {
    pub door: Arc<Door>,
    pub call: Call,
    pub receiver: Receiver,
    pub entered: Arc<AtomicBool>,
    /// Bytes of a part.
    pub most: usize,
}

/// A part under way. It counts as an exchange of its organisation from its header on.
struct Part {
    call: Call,
    slot: Slot,
    bytes: Vec<u8>,
    digest: Context,
    things: usize,
    by: Instant,
}

impl StreamingService<Bytes> for Parts {
    type Response = Answer;
    type ResponseStream = Messages;
    type Future = Boxed<Result<tonic::Response<Messages>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<Bytes>>) -> Self::Future {
        let (door, receiver, most) = (Arc::clone(&self.door), self.receiver.clone(), self.most);
        let (call, entered) = (self.call.clone(), Arc::clone(&self.entered));
        Box::pin(async move {
            let mut messages = request.into_inner();
            let opening = messages.message().await?.ok_or_else(|| Status::internal("no message"))?;
            entered.store(true, Ordering::Release);
            let call = Call { message: opening, ..call };
            let (to, answers) = mpsc::channel(1);
            let opened = door.exchange(call.clone(), Arc::clone(&receiver.open)).await?;
            let (answer, _) =
                opened.ready().ok_or_else(|| Refusal::from(Reason::Failed).status(call.exchange))?;
            to.try_send(Ok(answer)).ok();
            tokio::spawn(async move {
                let stream = Stream { door, call, receiver, most, to };
                // A caller that went away needs no reason.
                if let Err(status) = stream.receive(messages).await {
                    send(&stream.to, Err(status)).await.ok();
                }
            });
            Ok(tonic::Response::new(ReceiverStream::new(answers)))
        })
    }
}

/// A stream that was opened.
struct Stream {
    door: Arc<Door>,
    call: Call,
    receiver: Receiver,
    most: usize,
    to: mpsc::Sender<Result<Answer, Status>>,
}

impl Stream {
    /// Runs one exchange a part until the stream ends.
    async fn receive(&self, mut messages: Streaming<Bytes>) -> Result<(), Status> {
        let ends = Instant::now() + self.call.deadline.map_or(LIFETIME, |asked| asked.min(LIFETIME));
        let mut open: Option<Part> = None;
        loop {
            let added = match self.next(&mut messages, open.as_ref(), ends).await {
                Ok(Some(message)) => self.add(&mut open, &message),
                Ok(None) if open.is_none() => return Ok(()),
                Ok(None) => Err(Reason::StreamBroken.into()),
                Err(late) if open.is_none() && late.reason == Reason::DeadlineExceeded => {
                    return if Instant::now() < ends { Ok(()) } else { over(&self.call) };
                }
                Err(refusal) => Err(refusal),
            };
            match added {
                Ok(None) => {}
                Ok(Some(whole)) => {
                    if !self.answer(whole).await? {
                        return Ok(());
                    }
                }
                // Overload is not entered.
                Err(refusal) if refusal.reason == Reason::TooManyInFlight => {
                    return Err(refusal.status(self.call.exchange));
                }
                Err(refusal) => {
                    let call = open.map_or_else(|| self.call_of_part(), Part::into_call);
                    return Err(self.door.give_up(&call, refusal).await);
                }
            }
        }
    }

    /// The next message; `None` where the stream ended, its caller went away or the node is to end.
    async fn next(
        &self,
        messages: &mut Streaming<Bytes>,
        open: Option<&Part>,
        ends: Instant,
    ) -> Result<Option<Bytes>, Refusal> {
        let now = Instant::now();
        if open.is_none() && *self.door.stopping.borrow() {
            return Ok(None);
        }
        if open.is_none() && now > ends {
            return Err(Reason::DeadlineExceeded.into());
        }
        let by = open.map_or(ends, |part| part.by.min(ends)).min(now + SILENCE);
        tokio::select! {
            // What came before the end is read before the end is seen.
            biased;
            next = messages.message() => next.or_else(|status| match status.source() {
                // The transport's, not tonic's own.
                Some(_) => Ok(None),
                None => Err(reason_of(&self.call, &status).into()),
            }),
            () = self.to.closed() => Ok(None),
            () = self.door.stopped() => Ok(None),
            () = tokio::time::sleep_until(by) => Err(Reason::DeadlineExceeded.into()),
        }
    }

    /// Adds a message to the part under way; gives the part once it is whole.
    fn add(&self, open: &mut Option<Part>, message: &Bytes) -> Result<Option<Part>, Refusal> {
        let part = match open {
            Some(part) => part,
            None => open.insert(self.begin()?),
        };
        let first = part.bytes.is_empty();
        part.bytes.extend_from_slice(message);
        if part.bytes.len() > self.most {
            return Err(Reason::TooLarge.into());
        }
        match ((self.receiver.piece)(message.clone())?, first) {
            (Piece::Header(things), true) | (Piece::Frame(things), false) => {
                part.digest.update(message);
                part.things += things;
                Ok(None)
            }
            (Piece::Commit(count, sha256), false) => {
                let same = part.digest.clone().finish().as_ref() == sha256;
                if same && usize::try_from(count) == Ok(part.things) {
                    Ok(open.take())
                } else {
                    Err(Reason::StreamDigestMismatch.into())
                }
            }
            _ => Err(Reason::StreamProtocol.into()),
        }
    }

    fn begin(&self) -> Result<Part, Refusal> {
        let call = self.call_of_part();
        Ok(Part {
            slot: self.door.reserve(&call)?,
            call,
            bytes: Vec::new(),
            digest: Context::new(&SHA256),
            things: 0,
            by: Instant::now() + PART,
        })
    }

    fn call_of_part(&self) -> Call {
        let exchange = self.door.random.uuid_v7(self.door.clock.now());
        Call { exchange, message: Bytes::new(), ..self.call.clone() }
    }

    /// Runs the exchange of a part; whether its answer was taken.
    async fn answer(&self, part: Part) -> Result<bool, Status> {
        let handler = Arc::clone(&self.receiver.part);
        let exchange = part.call.exchange;
        let Part { call, slot, bytes, .. } = part;
        let answered = self.door.exchange_in(slot, Call { message: bytes.into(), ..call }, handler).await?;
        let (answer, _) = answered.ready().ok_or_else(|| Refusal::from(Reason::Failed).status(exchange))?;
        Ok(send(&self.to, Ok(answer)).await.is_ok())
    }
}

impl Part {
    /// The call that it was to be, with what came of it.
    fn into_call(self) -> Call {
        Call { message: self.bytes.into(), ..self.call }
    }
}
