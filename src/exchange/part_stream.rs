//! Streams of parts from a caller: an opening exchange, then one exchange per part. A part is the messages from
//! its header to its commit. Only a commit completes a part, because the libraries can show a reset stream as one
//! that ended (hyper a reset with code 0, tonic one with CANCEL). A stream that ends within a part is recorded as
//! a refusal, and the part is not stored. The stream reads one message and answers one part at a time. It applies
//! backpressure: a caller that does not read its responses is not read from.

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

use super::call::{BoxFuture, Call, Handler, OutboundStream};
use super::codec::OutboundMessage;
use super::memory::Charge;
use super::pipeline::ExchangePipeline;
use super::refusal::{Reason, Refusal, reason_from_status};
use super::watch::{MAX_STREAM_LIFETIME, end_of_lifetime, send_message};
use crate::store::InFlightPermit;

/// Largest message of a stream, in bytes.
pub(super) const MAX_FRAME_BYTES: usize = 256 << 10;
/// Maximum time of a part from its header to its commit.
const MAX_PART_TIME: Duration = Duration::from_mins(1);
/// Maximum time between two messages of a caller.
const MAX_IDLE_TIME: Duration = Duration::from_mins(1);

/// Kind of a message within its part, with the number of items in the message.
pub enum PartMessage {
    /// Begins a part.
    Header(usize),
    /// Continues the part.
    Frame(usize),
    /// Completes the part: the number of its items, and the SHA-256 of the part's messages before this one.
    Commit(u32, Bytes),
}

/// Functions of a capability that handle a stream of parts.
#[derive(Clone)]
pub(super) struct PartHandlers {
    pub open: Handler,
    pub part: Handler,
    pub classify: Arc<dyn Fn(Bytes) -> Result<PartMessage, Refusal> + Send + Sync>,
}

/// Service of a method that takes a stream of parts, as tonic calls it.
pub(super) struct PartStreamService {
    pub pipeline: Arc<ExchangePipeline>,
    pub call: Call,
    pub receiver: PartHandlers,
    pub has_entry: Arc<AtomicBool>,
    /// Largest part, in bytes.
    pub max_part_bytes: usize,
}

/// Part whose commit has not arrived. It counts as an exchange in flight from its header on.
struct OpenPart {
    call: Call,
    slot: InFlightPermit,
    bytes: Vec<u8>,
    charge: Charge,
    digest: Context,
    item_count: usize,
    deadline: Instant,
}

impl StreamingService<Bytes> for PartStreamService {
    type Response = OutboundMessage;
    type ResponseStream = OutboundStream;
    type Future = BoxFuture<'static, Result<tonic::Response<OutboundStream>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<Bytes>>) -> Self::Future {
        let (pipeline, receiver, most) =
            (Arc::clone(&self.pipeline), self.receiver.clone(), self.max_part_bytes);
        let (call, entered) = (self.call.clone(), Arc::clone(&self.has_entry));
        Box::pin(async move {
            let mut messages = request.into_inner();
            let opening = messages.message().await?.ok_or_else(|| Status::internal("no message"))?;
            entered.store(true, Ordering::Release);
            let call = Call { message: opening, ..call };
            let (to, answers) = mpsc::channel(1);
            let opened = pipeline.submit(call.clone(), Arc::clone(&receiver.open)).await?;
            let (answer, _) =
                opened.into_item().ok_or_else(|| Refusal::from(Reason::Failed).status(call.exchange_id))?;
            to.try_send(Ok(answer)).ok();
            tokio::spawn(async move {
                let _open = pipeline.metrics.open_stream();
                let stream = PartStream { pipeline, call, receiver, max_part_bytes: most, responses: to };
                // A caller that disconnected gets no status.
                if let Err(status) = stream.receive(messages).await {
                    send_message(&stream.responses, Err(status)).await.ok();
                }
            });
            Ok(tonic::Response::new(ReceiverStream::new(answers)))
        })
    }
}

/// Open stream.
struct PartStream {
    pipeline: Arc<ExchangePipeline>,
    call: Call,
    receiver: PartHandlers,
    max_part_bytes: usize,
    responses: mpsc::Sender<Result<OutboundMessage, Status>>,
}

impl PartStream {
    /// Runs one exchange per part until the stream ends.
    async fn receive(&self, mut messages: Streaming<Bytes>) -> Result<(), Status> {
        let ends = Instant::now()
            + self.call.timeout.map_or(MAX_STREAM_LIFETIME, |asked| asked.min(MAX_STREAM_LIFETIME));
        let mut open: Option<OpenPart> = None;
        loop {
            let added = match self.next_message(&mut messages, open.as_ref(), ends).await {
                Ok(Some(message)) => self.add_message(&mut open, &message),
                Ok(None) if open.is_none() => return Ok(()),
                Ok(None) => Err(Reason::StreamBroken.into()),
                Err(stopping) if open.is_none() && stopping.reason == Reason::NodeStopping => {
                    return Err(stopping.status(self.call.exchange_id));
                }
                Err(late) if open.is_none() && late.reason == Reason::DeadlineExceeded => {
                    return if Instant::now() < ends { Ok(()) } else { end_of_lifetime(&self.call) };
                }
                Err(refusal) => Err(refusal),
            };
            match added {
                Ok(None) => {}
                Ok(Some(part)) => {
                    if !self.run_part(part).await? {
                        return Ok(());
                    }
                }
                // A refusal for overload has no entry.
                Err(refusal) if refusal.reason == Reason::BuffersFull => {
                    return Err(self.pipeline.refuse_overload(&self.call));
                }
                Err(refusal) if refusal.reason == Reason::TooManyInFlight => {
                    return Err(refusal.status(self.call.exchange_id));
                }
                Err(refusal) => {
                    let call = open.map_or_else(|| self.new_part_call(), OpenPart::into_call);
                    return Err(self.pipeline.record_abandoned(&call, refusal).await);
                }
            }
        }
    }

    /// Returns the next message, or `None` when the stream ended or its caller disconnected.
    async fn next_message(
        &self,
        messages: &mut Streaming<Bytes>,
        open: Option<&OpenPart>,
        ends: Instant,
    ) -> Result<Option<Bytes>, Refusal> {
        let now = Instant::now();
        if open.is_none() && *self.pipeline.stopping.borrow() {
            return Err(Reason::NodeStopping.into());
        }
        if open.is_none() && now > ends {
            return Err(Reason::DeadlineExceeded.into());
        }
        let by = open.map_or(ends, |part| part.deadline.min(ends)).min(now + MAX_IDLE_TIME);
        tokio::select! {
            // Messages that arrived before the end are read first.
            biased;
            next = messages.message() => next.or_else(|status| match status.source() {
                // An error with a source is the transport's; one without is tonic's own.
                Some(_) => Ok(None),
                None if self.call.memory.is_exhausted() => Err(Reason::BuffersFull.into()),
                None => Err(reason_from_status(true, &status).into()),
            }),
            () = self.responses.closed() => Ok(None),
            () = self.pipeline.wait_until_stopping() => Err(Reason::NodeStopping.into()),
            () = tokio::time::sleep_until(by) => Err(Reason::DeadlineExceeded.into()),
        }
    }

    /// Adds a message to the open part, and returns the part when it is complete.
    fn add_message(&self, open: &mut Option<OpenPart>, message: &Bytes) -> Result<Option<OpenPart>, Refusal> {
        let part = match open {
            Some(part) => part,
            None => open.insert(self.begin_part()?),
        };
        let first = part.bytes.is_empty();
        part.bytes.extend_from_slice(message);
        part.charge.add(message.len());
        if part.bytes.len() > self.max_part_bytes {
            return Err(Reason::TooLarge.into());
        }
        match ((self.receiver.classify)(message.clone())?, first) {
            (PartMessage::Header(items), true) | (PartMessage::Frame(items), false) => {
                part.digest.update(message);
                part.item_count += items;
                Ok(None)
            }
            (PartMessage::Commit(count, sha256), false) => {
                let same = part.digest.clone().finish().as_ref() == sha256;
                if same && usize::try_from(count) == Ok(part.item_count) {
                    Ok(open.take())
                } else {
                    Err(Reason::StreamDigestMismatch.into())
                }
            }
            _ => Err(Reason::StreamProtocol.into()),
        }
    }

    fn begin_part(&self) -> Result<OpenPart, Refusal> {
        let call = self.new_part_call();
        Ok(OpenPart {
            slot: self.pipeline.reserve_slot(&call)?,
            charge: call.memory.charge(0),
            call,
            bytes: Vec::new(),
            digest: Context::new(&SHA256),
            item_count: 0,
            deadline: Instant::now() + MAX_PART_TIME,
        })
    }

    fn new_part_call(&self) -> Call {
        let exchange = self.pipeline.random.uuid_v7(self.pipeline.clock.now());
        Call { exchange_id: exchange, message: Bytes::new(), ..self.call.clone() }
    }

    /// Runs the exchange of a part. Returns whether the caller accepted the response.
    async fn run_part(&self, part: OpenPart) -> Result<bool, Status> {
        let handler = Arc::clone(&self.receiver.part);
        let exchange = part.call.exchange_id;
        let OpenPart { call, slot, bytes, charge, .. } = part;
        let call = Call { message: call.memory.attach(bytes.into()), ..call };
        drop(charge);
        let answered = self.pipeline.submit_in_slot(slot, call, handler).await?;
        let (answer, _) =
            answered.into_item().ok_or_else(|| Refusal::from(Reason::Failed).status(exchange))?;
        Ok(send_message(&self.responses, Ok(answer)).await.is_ok())
    }
}

impl OpenPart {
    /// Returns the call with the messages that have arrived.
    fn into_call(self) -> Call {
        Call { message: self.bytes.into(), ..self.call }
    }
}
