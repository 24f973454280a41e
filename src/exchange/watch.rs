//! Streams from the log to a caller: an opening exchange, then one exchange for each batch, committed
//! before the batch leaves. Every batch is decided anew from the caller's present rights, so a revocation
//! ends the stream before its next message.

use std::pin::Pin;
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

use super::codec::Answer;
use super::decision::{Decision, Next, ReadOn};
use super::door::{Answered, Call, Door};
use super::routes::Handler;
use super::{Cx, Decided, Reason, Refusal};

/// How long a stream lives; the client opens the next one at its cursor.
pub(super) const LIFETIME: Duration = Duration::from_mins(15);
/// How long a client may take to accept a message.
const SEND: Duration = Duration::from_secs(30);

/// What the feed has for the caller from a position on.
pub enum Batch<R, S> {
    /// Deliveries, and the position behind them.
    Next(Decided<R>, S),
    /// Nothing, from the position up to this one.
    Nothing {
        /// How far was read.
        at: S,
        /// Whether there is more to read behind it already.
        more: bool,
    },
}

pub(super) type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A stream's three functions over positions that are opaque bytes here.
#[derive(Clone)]
pub struct Watcher {
    open: Handler,
    feed: Handler,
    beat: Arc<dyn Fn(Bytes, String) -> Bytes + Send + Sync>,
}

impl Watcher {
    /// A watcher from the capability's functions: `open` answers the opening request with a position,
    /// `feed` gives what lies behind a position, `beat` makes a heartbeat of a position and the newest
    /// checkpoint.
    pub fn new<Req, Resp, S, O, OFut, F, FFut>(open: O, feed: F, beat: fn(S, String) -> Resp) -> Self
    where
        Req: Message + Default + 'static,
        Resp: Message + 'static,
        S: Message + Default + 'static,
        O: Fn(Cx, Req) -> OFut + Clone + Send + Sync + 'static,
        OFut: Future<Output = Result<(Decided<Resp>, S), Refusal>> + Send + 'static,
        F: Fn(Cx, S) -> FFut + Clone + Send + Sync + 'static,
        FFut: Future<Output = Result<Batch<Resp, S>, Refusal>> + Send + 'static,
    {
        Self {
            open: Arc::new(move |cx, message| {
                let open = open.clone();
                Box::pin(async move {
                    let message = Req::decode(message).map_err(|_| Reason::Malformed)?;
                    let (decided, at) = open(cx, message).await?;
                    Ok(Next::Ready(decision(decided, &at)))
                })
            }),
            feed: Arc::new(move |cx, at| {
                let feed = feed.clone();
                Box::pin(async move {
                    let at = S::decode(at).map_err(|_| Reason::Failed)?;
                    Ok(match feed(cx, at).await? {
                        Batch::Next(decided, at) => Next::Ready(decision(decided, &at)),
                        Batch::Nothing { at, more } => {
                            Next::Nothing(ReadOn { position: at.encode_to_vec().into(), more })
                        }
                    })
                })
            }),
            beat: Arc::new(move |at, checkpoint| {
                let at = S::decode(at).unwrap_or_default();
                beat(at, checkpoint).encode_to_vec().into()
            }),
        }
    }
}

fn decision<R>(Decided { change, reply, .. }: Decided<R>, at: &impl Message) -> Decision {
    Decision { change, reply, position: at.encode_to_vec().into() }
}

pub(super) struct Streaming {
    pub door: Arc<Door>,
    pub call: Call,
    pub watcher: Watcher,
    pub entered: Arc<AtomicBool>,
}

pub(super) type Messages = ReceiverStream<Result<Answer, Status>>;

impl ServerStreamingService<Bytes> for Streaming {
    type Response = Answer;
    type ResponseStream = Messages;
    type Future = Boxed<Result<tonic::Response<Messages>, Status>>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let (door, watcher) = (Arc::clone(&self.door), self.watcher.clone());
        let call = Call { message: request.into_inner(), ..self.call.clone() };
        self.entered.store(true, Ordering::Release);
        Box::pin(async move {
            let (to, messages) = mpsc::channel(1);
            let opened = door.exchange(call.clone(), Arc::clone(&watcher.open)).await?;
            let opened = opened.ready();
            let (answer, at) = opened.ok_or_else(|| Refusal::from(Reason::Failed).status(call.exchange))?;
            to.try_send(Ok(answer)).ok();
            tokio::spawn(async move {
                // A client that went away needs no reason.
                if let Err(status) = feed(&door, call, &watcher, at, &to).await {
                    send(&to, Err(status)).await.ok();
                }
            });
            Ok(tonic::Response::new(ReceiverStream::new(messages)))
        })
    }
}

/// Runs exchanges, one a batch, until the client goes, its rights do, or the stream has lived its time.
async fn feed(
    door: &Arc<Door>,
    call: Call,
    watcher: &Watcher,
    mut at: Bytes,
    to: &mpsc::Sender<Result<Answer, Status>>,
) -> Result<(), Status> {
    let lives = call.deadline.map_or(LIFETIME, |asked| asked.min(LIFETIME));
    let ends = Instant::now() + lives;
    // A processor that opened the stream for another waits for the other's mail.
    let own = call.peer.organisation().as_str();
    let mut mail = door.committer.mailbox(call.on_behalf_of.as_deref().unwrap_or(own));
    // How far was read: behind `at` where nothing of what was read since is for this stream. So each wake-up reads only
    // what is new.
    let mut read = at.clone();
    // Only a message that was sent moves it: a stream that is woken often, and has nothing to send, is not silent.
    let mut beats = Instant::now() + door.limits.heartbeat;
    loop {
        mail.borrow_and_update();
        let more = match batch(door, &call, watcher, &at, &read).await? {
            Next::Ready((answer, next)) => {
                read = next.clone();
                at = next;
                if send(to, Ok(answer)).await.is_err() {
                    return Ok(());
                }
                beats = Instant::now() + door.limits.heartbeat;
                true
            }
            Next::Nothing(on) => {
                read = on.position;
                on.more
            }
        };
        if Instant::now() > ends {
            return over(&call);
        }
        tokio::select! {
            // Heartbeat and end come first, however often the stream is woken.
            biased;
            () = to.closed() => return Ok(()),
            () = sleep_until(ends) => return over(&call),
            () = sleep_until(beats) => {
                let checkpoint = door.log.newest_note().await;
                let checkpoint = checkpoint.map_err(|error| Refusal::from(error).status(call.exchange))?;
                if !door.committer.settled().await {
                    return Ok(());
                }
                // From here on the caller knows it, and later batches go on from it.
                at = read.clone();
                let beat = (watcher.beat)(at.clone(), checkpoint);
                if send(to, Ok(Answer::Hashes(beat))).await.is_err() {
                    return Ok(());
                }
                beats = Instant::now() + door.limits.heartbeat;
            }
            () = std::future::ready(()), if more => {}
            changed = mail.changed() => if changed.is_err() { return Ok(()) },
        }
    }
}

/// How a stream ends that has lived its time: in order, unless its caller's deadline came first.
pub(super) fn over(call: &Call) -> Result<(), Status> {
    match call.deadline {
        Some(asked) if asked < LIFETIME => Err(Refusal::from(Reason::DeadlineExceeded).status(call.exchange)),
        _ => Ok(()),
    }
}

/// Runs one batch as an exchange of its own. Its message is the position that the caller was sent last, to which the
/// receipt commits; it is read on from where the stream has read to. Gives [`Next::Nothing`] when there is nothing to
/// send, and then nothing is entered.
async fn batch(door: &Arc<Door>, call: &Call, watcher: &Watcher, at: &Bytes, read: &Bytes) -> Answered {
    let exchange = door.random.uuid_v7(door.clock.now());
    let call = Call { exchange, message: at.clone(), ..call.clone() };
    let (feed, read) = (Arc::clone(&watcher.feed), read.clone());
    door.exchange(call, Arc::new(move |cx, _| feed(cx, read.clone()))).await
}

pub(super) async fn send(
    to: &mpsc::Sender<Result<Answer, Status>>,
    message: Result<Answer, Status>,
) -> Result<(), ()> {
    tokio::time::timeout(SEND, to.send(message)).await.map_err(drop)?.map_err(drop)
}
