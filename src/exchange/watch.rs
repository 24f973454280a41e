//! Streams from the log to a caller: an opening exchange, then one exchange per batch, committed before the batch
//! is sent. Every batch is decided from the caller's present rights, so a revocation ends the stream before its
//! next message.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::server::ServerStreamingService;

use super::call::{
    BoxFuture, Call, Decision, ExchangeResult, Handler, NextItem, OutboundStream, ScanPosition,
};
use super::change::Decided;
use super::codec::OutboundMessage;
use super::context::RequestContext;
use super::pipeline::ExchangePipeline;
use super::refusal::{Reason, Refusal};

/// Maximum lifetime of a stream. The client continues at its cursor on a new one.
pub(super) const MAX_STREAM_LIFETIME: Duration = Duration::from_mins(15);
/// Maximum time in which a client accepts a message.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// Result of reading the feed from a position.
pub enum FeedBatch<R, S> {
    /// Deliveries, and the position after them.
    Next(Decided<R>, S),
    /// No deliveries up to this position.
    Nothing {
        /// The position that was read to.
        position: S,
        /// Whether there is already more to read after it.
        has_more: bool,
    },
}

/// Functions of a stream over positions, which are opaque bytes here.
#[derive(Clone)]
pub(super) struct Watcher {
    open: Handler,
    feed: Handler,
    heartbeat: Arc<dyn Fn(Bytes, String) -> Bytes + Send + Sync>,
    resume: Arc<dyn Fn(Bytes) -> Vec<(&'static str, String)> + Send + Sync>,
}

impl Watcher {
    /// Creates a watcher from a capability's functions. `open` answers the opening request with a position,
    /// `feed` returns what follows a position, `beat` builds a heartbeat from a position and the newest
    /// checkpoint, and `resume` returns a position as metadata of the refusal that ends a stream.
    pub fn new<Req, Resp, S, O, OFut, F, FFut>(
        open: O,
        feed: F,
        beat: fn(S, String) -> Resp,
        resume: fn(S) -> Vec<(&'static str, String)>,
    ) -> Self
    where
        Req: Message + Default + 'static,
        Resp: Message + 'static,
        S: Message + Default + 'static,
        O: Fn(RequestContext, Req) -> OFut + Clone + Send + Sync + 'static,
        OFut: Future<Output = Result<(Decided<Resp>, S), Refusal>> + Send + 'static,
        F: Fn(RequestContext, S) -> FFut + Clone + Send + Sync + 'static,
        FFut: Future<Output = Result<FeedBatch<Resp, S>, Refusal>> + Send + 'static,
    {
        Self {
            open: Arc::new(move |cx, message| {
                let open = open.clone();
                Box::pin(async move {
                    let message = Req::decode(message).map_err(|_| Reason::Malformed)?;
                    let (decided, position) = open(cx, message).await?;
                    Ok(NextItem::Ready(decision_with_position(decided, &position)))
                })
            }),
            feed: Arc::new(move |cx, position| {
                let feed = feed.clone();
                Box::pin(async move {
                    let position = S::decode(position).map_err(|_| Reason::Failed)?;
                    Ok(match feed(cx, position).await? {
                        FeedBatch::Next(decided, position) => {
                            NextItem::Ready(decision_with_position(decided, &position))
                        }
                        FeedBatch::Nothing { position, has_more } => NextItem::Nothing(ScanPosition {
                            position: position.encode_to_vec().into(),
                            has_more,
                        }),
                    })
                })
            }),
            heartbeat: Arc::new(move |position, checkpoint| {
                let position = S::decode(position).unwrap_or_default();
                beat(position, checkpoint).encode_to_vec().into()
            }),
            resume: Arc::new(move |position| resume(S::decode(position).unwrap_or_default())),
        }
    }
}

fn decision_with_position<R>(Decided { change, reply, .. }: Decided<R>, position: &impl Message) -> Decision {
    Decision { change, reply, position: position.encode_to_vec().into() }
}

pub(super) struct WatchService {
    pub pipeline: Arc<ExchangePipeline>,
    pub call: Call,
    pub watcher: Watcher,
    pub has_entry: Arc<AtomicBool>,
}

impl ServerStreamingService<Bytes> for WatchService {
    type Response = OutboundMessage;
    type ResponseStream = OutboundStream;
    type Future = BoxFuture<'static, Result<tonic::Response<OutboundStream>, Status>>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let (pipeline, watcher) = (Arc::clone(&self.pipeline), self.watcher.clone());
        let call = Call { message: request.into_inner(), ..self.call.clone() };
        self.has_entry.store(true, Ordering::Release);
        Box::pin(async move {
            let (to, messages) = mpsc::channel(1);
            let opened = pipeline.submit(call.clone(), Arc::clone(&watcher.open)).await?;
            let opened = opened.into_item();
            let (answer, position) =
                opened.ok_or_else(|| Refusal::from(Reason::Failed).status(call.exchange_id))?;
            to.try_send(Ok(answer)).ok();
            tokio::spawn(async move {
                // A client that disconnected gets no status.
                if let Err(status) = run_feed(&pipeline, call, &watcher, position, &to).await {
                    send_message(&to, Err(status)).await.ok();
                }
            });
            Ok(tonic::Response::new(ReceiverStream::new(messages)))
        })
    }
}

/// Runs one exchange per batch until the client disconnects, its rights end, the node shuts down, or the stream's
/// lifetime is over.
async fn run_feed(
    pipeline: &Arc<ExchangePipeline>,
    call: Call,
    watcher: &Watcher,
    mut sent: Bytes,
    to: &mpsc::Sender<Result<OutboundMessage, Status>>,
) -> Result<(), Status> {
    let _open = pipeline.metrics.open_stream();
    let lives = call.timeout.map_or(MAX_STREAM_LIFETIME, |asked| asked.min(MAX_STREAM_LIFETIME));
    let ends = Instant::now() + lives;
    // A processor that acts for another organisation waits for deliveries to that organisation.
    let own_organisation = call.peer.organisation().as_str();
    let mut deliveries =
        pipeline.committer.subscribe(call.on_behalf_of.as_deref().unwrap_or(own_organisation));
    // The position that was read to. It is ahead of `sent` while nothing that was read since is for this stream, so
    // that each wake-up reads only what is new.
    let mut read = sent.clone();
    // Only a sent message moves it. A stream that is often woken and has nothing to send still sends heartbeats.
    let mut beats = Instant::now() + pipeline.limits.heartbeat_interval;
    loop {
        deliveries.borrow_and_update();
        let batch = tokio::select! {
            batch = run_batch(pipeline, &call, watcher, &sent, &read) => batch?,
            // The batch ends with its caller, unless it is being committed.
            () = to.closed() => return Ok(()),
        };
        let more = match batch {
            NextItem::Ready((answer, next)) => {
                read = next.clone();
                sent = next;
                if send_message(to, Ok(answer)).await.is_err() {
                    return Ok(());
                }
                beats = Instant::now() + pipeline.limits.heartbeat_interval;
                true
            }
            NextItem::Nothing(on) => {
                read = on.position;
                on.has_more
            }
        };
        if Instant::now() > ends {
            return end_of_lifetime(&call);
        }
        tokio::select! {
            // Heartbeat and end take precedence, however often the stream is woken.
            biased;
            () = to.closed() => return Ok(()),
            () = pipeline.wait_until_stopping() => {
                let metadata = (watcher.resume)(read);
                let stopping = Refusal { metadata, ..Refusal::from(Reason::NodeStopping) };
                return Err(stopping.status(call.exchange_id));
            }
            () = sleep_until(ends) => return end_of_lifetime(&call),
            () = sleep_until(beats) => {
                pipeline.check_person(&call).await?;
                let newest = pipeline.log.load_newest_checkpoint().await;
                let (size, checkpoint) =
                    newest.map_err(|error| Refusal::from(error).status(call.exchange_id))?;
                if !pipeline.committer.wait_until_durable(size).await {
                    return Err(Refusal::from(Reason::LogUnavailable).status(call.exchange_id));
                }
                // The heartbeat gives this position to the caller; later batches start from it.
                sent = read.clone();
                let beat = (watcher.heartbeat)(sent.clone(), checkpoint);
                if send_message(to, Ok(OutboundMessage::Hashes(beat))).await.is_err() {
                    return Ok(());
                }
                beats = Instant::now() + pipeline.limits.heartbeat_interval;
            }
            () = std::future::ready(()), if more => {}
            changed = deliveries.changed() => if changed.is_err() { return Ok(()) },
        }
    }
}

/// Returns how a stream ends whose lifetime is over: with OK, unless the caller's own deadline came first.
pub(super) fn end_of_lifetime(call: &Call) -> Result<(), Status> {
    match call.timeout {
        Some(asked) if asked < MAX_STREAM_LIFETIME => {
            Err(Refusal::from(Reason::DeadlineExceeded).status(call.exchange_id))
        }
        _ => Ok(()),
    }
}

/// Runs one batch as an exchange of its own. The request that its receipt commits to is the position that was
/// last sent to the caller; reading starts at the position that was last read to. Returns [`NextItem::Nothing`] if
/// there is nothing to send, and then nothing is recorded; neither is a batch that is not decided when the stream ends.
async fn run_batch(
    pipeline: &Arc<ExchangePipeline>,
    call: &Call,
    watcher: &Watcher,
    sent: &Bytes,
    read: &Bytes,
) -> ExchangeResult {
    let exchange_id = pipeline.random.uuid_v7(pipeline.clock.now());
    let call = Call { exchange_id, message: sent.clone(), is_batch: true, ..call.clone() };
    let (feed, read) = (Arc::clone(&watcher.feed), read.clone());
    pipeline.submit(call, Arc::new(move |cx, _| feed(cx, read.clone()))).await
}

pub(super) async fn send_message(
    to: &mpsc::Sender<Result<OutboundMessage, Status>>,
    message: Result<OutboundMessage, Status>,
) -> Result<(), ()> {
    tokio::time::timeout(SEND_TIMEOUT, to.send(message)).await.map_err(drop)?.map_err(drop)
}
