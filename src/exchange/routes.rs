//! Which method is which exchange, as a plain tower service. What tonic itself refuses (no message, too
//! large, bad compression, no such method) is entered here too: a refusal without an entry does not leave.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use prost::Message;
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::server::{Grpc, UnaryService};
use tonic::{Code, Status};

use super::codec::{self, Answer, ExchangeCodec};
use super::decision::{Deciding, Decision, Next};
use super::door::{Call, Door, Recall};
use super::{Action, Cx, Decided, Piece, Reason, Refusal, deadline, headers, stream, watch};
use crate::identity::PeerCertificate;
use crate::proto::Rpc;

/// The gRPC metadata key with which a processor names the organisation that it acts for.
pub const ON_BEHALF_OF: &str = "ap-on-behalf-of";

/// Marks a call whose `:authority` is not a name of the server's certificate (RFC 9113, 8.3.1).
#[derive(Clone, Copy)]
pub struct OtherHost;

pub(super) type Handler = Arc<dyn Fn(Cx, Bytes) -> Deciding + Send + Sync>;
type Hashes = Arc<dyn Fn(Cx, Bytes) -> Hashing + Send + Sync>;
type Hashing = Pin<Box<dyn Future<Output = Result<Bytes, Refusal>> + Send>>;

#[derive(Clone)]
pub(super) enum Route {
    Unary(Handler),
    Watch(watch::Watcher),
    Stream(stream::Receiver),
    /// Hashes only: no entry, no receipt.
    Hashes(Hashes),
}

/// The methods, while they are being listed.
#[derive(Clone, Default)]
pub struct Routes {
    routes: HashMap<&'static str, (Action, Route)>,
}

impl Routes {
    /// No method yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a method with one request and one reply.
    #[must_use]
    pub fn unary<Req, Resp, F, Fut>(mut self, rpc: Rpc<Req, Resp>, action: Action, handler: F) -> Self
    where
        Req: Message + Default + 'static,
        Resp: 'static,
        F: Fn(Cx, Req) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Decided<Resp>, Refusal>> + Send + 'static,
    {
        self.routes.insert(rpc.path(), (action, Route::Unary(deciding(handler))));
        self
    }

    /// Adds a method that takes a stream of messages: `open` answers the first, and `part` each part behind it,
    /// whose messages reach it as one. `piece` says what a message is in its part.
    #[must_use]
    pub fn stream<Req, Resp, O, OFut, P, PFut>(
        mut self,
        rpc: Rpc<Req, Resp>,
        action: Action,
        piece: fn(&Req) -> Result<Piece, Refusal>,
        open: O,
        part: P,
    ) -> Self
    where
        Req: Message + Default + 'static,
        Resp: 'static,
        O: Fn(Cx, Req) -> OFut + Clone + Send + Sync + 'static,
        OFut: Future<Output = Result<Decided<Resp>, Refusal>> + Send + 'static,
        P: Fn(Cx, Req) -> PFut + Clone + Send + Sync + 'static,
        PFut: Future<Output = Result<Decided<Resp>, Refusal>> + Send + 'static,
    {
        let piece = Arc::new(move |message: Bytes| {
            piece(&Req::decode(message).map_err(|_| Refusal::from(Reason::Malformed))?)
        });
        let receiver = stream::Receiver { open: deciding(open), part: deciding(part), piece };
        self.routes.insert(rpc.path(), (action, Route::Stream(receiver)));
        self
    }

    /// Adds a method that answers with hashes only and has no entry (the closed list in ARCHITECTURE.md).
    #[must_use]
    pub fn hashes<Req, Resp, F, Fut>(mut self, rpc: Rpc<Req, Resp>, action: Action, handler: F) -> Self
    where
        Req: Message + Default + 'static,
        Resp: Message + 'static,
        F: Fn(Cx, Req) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Resp, Refusal>> + Send + 'static,
    {
        let handler = Arc::new(move |cx: Cx, message: Bytes| -> Hashing {
            let handler = handler.clone();
            Box::pin(async move {
                let message = Req::decode(message).map_err(|_| Reason::Malformed)?;
                Ok(handler(cx, message).await?.encode_to_vec().into())
            })
        });
        self.routes.insert(rpc.path(), (action, Route::Hashes(handler)));
        self
    }

    /// Adds a method whose replies are a stream fed from the log.
    #[must_use]
    pub fn watch(mut self, path: &'static str, action: Action, watcher: watch::Watcher) -> Self {
        self.routes.insert(path, (action, Route::Watch(watcher)));
        self
    }

    /// The methods by path, sorted, each with what it asks to do.
    #[must_use]
    pub fn actions(&self) -> Vec<(&'static str, Action)> {
        let mut actions: Vec<_> = self.routes.iter().map(|(path, (action, _))| (*path, *action)).collect();
        actions.sort_unstable_by_key(|(path, _)| *path);
        actions
    }

    /// Opens the door: the service that hyper calls.
    #[must_use]
    pub fn open(self, door: Arc<Door>, limits: MessageLimits) -> Service {
        Service { routes: Arc::new(self.routes), door, limits }
    }
}

/// A capability's function over the bytes of its message.
fn deciding<Req, Resp, F, Fut>(handler: F) -> Handler
where
    Req: Message + Default + 'static,
    Resp: 'static,
    F: Fn(Cx, Req) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Decided<Resp>, Refusal>> + Send + 'static,
{
    Arc::new(move |cx: Cx, message: Bytes| -> Deciding {
        let handler = handler.clone();
        Box::pin(async move {
            let message = Req::decode(message).map_err(|_| Reason::Malformed)?;
            let Decided { change, reply, .. } = handler(cx, message).await?;
            Ok(Next::Ready(Decision { change, reply, position: Bytes::new() }))
        })
    })
}

/// Sizes of messages, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct MessageLimits {
    /// Largest message taken, after decompression.
    pub request: usize,
    /// Largest message sent.
    pub reply: usize,
}

impl Default for MessageLimits {
    fn default() -> Self {
        Self { request: 1 << 20, reply: codec::MESSAGE }
    }
}

/// The door as a tower service; the peer's certificate is in the request's extensions.
#[derive(Clone)]
pub struct Service {
    routes: Arc<HashMap<&'static str, (Action, Route)>>,
    door: Arc<Door>,
    limits: MessageLimits,
}

impl tower::Service<Request<Body>> for Service {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(service.serve(request).await) })
    }
}

impl Service {
    async fn serve(&self, request: Request<Body>) -> Response<Body> {
        let Some(peer) = request.extensions().get::<Arc<PeerCertificate>>().cloned() else {
            return Status::unauthenticated("no client certificate").into_http();
        };
        if request.method() != Method::POST {
            return without_grpc(StatusCode::METHOD_NOT_ALLOWED);
        }
        if !headers::is_grpc(request.headers()) {
            return without_grpc(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
        let found = self.routes.get_key_value(request.uri().path());
        // An unknown method has no rights of its own; GetExchange's are anyone's.
        let (path, action) = found.map_or(("", Action::GetExchange), |(path, (action, _))| (*path, *action));
        let call = self.call_of(path, action, peer, request.headers());
        if request.extensions().get::<OtherHost>().is_some() {
            return self.enter(&call, Reason::HostMismatch, &HeaderMap::new()).await;
        }
        let entered = Arc::new(AtomicBool::new(false));
        let route = found.map(|(_, (_, route))| route.clone());
        let answering = self.answer(route, &call, &entered, request);
        let (begun, wait) = (tokio::time::Instant::now(), deadline::wait(call.deadline));
        let answered = tokio::time::timeout(wait, answering).await.ok();
        // The timer is up to a millisecond late; an answer may come before it and still be late.
        let Some(response) = answered.filter(|_| begun.elapsed() < wait) else {
            let late = Reason::DeadlineExceeded;
            if entered.load(Ordering::Acquire) {
                return Refusal::from(late).status(call.exchange).into_http();
            }
            return self.enter(&call, late, &HeaderMap::new()).await;
        };
        match Status::from_header_map(response.headers()) {
            Some(status) if status.code() != Code::Ok && !entered.load(Ordering::Acquire) => {
                self.enter(&call, reason_of(&call, &status), response.headers()).await
            }
            _ => response,
        }
    }

    async fn answer(
        &self,
        route: Option<Route>,
        call: &Call,
        entered: &Arc<AtomicBool>,
        request: Request<Body>,
    ) -> Response<Body> {
        let (door, call, entered) = (Arc::clone(&self.door), call.clone(), Arc::clone(entered));
        match route {
            None => {
                drain(request.into_body(), self.limits.request).await;
                Status::unimplemented("").into_http()
            }
            Some(Route::Unary(handler)) => {
                self.grpc(false).unary(Unary { door, call, handler, entered }, request).await
            }
            Some(Route::Hashes(handler)) => {
                self.grpc(false).unary(Proving { door, call, handler, entered }, request).await
            }
            Some(Route::Watch(watcher)) => {
                let stream = watch::Streaming { door, call, watcher, entered };
                self.grpc(false).server_streaming(stream, request).await
            }
            Some(Route::Stream(receiver)) => {
                let most = self.limits.request;
                let parts = stream::Parts { door, call, receiver, entered, most };
                let mut grpc = self.grpc(true).max_decoding_message_size(most.min(stream::FRAME));
                grpc.streaming(parts, request).await
            }
        }
    }

    fn grpc(&self, streams: bool) -> Grpc<ExchangeCodec> {
        Grpc::new(ExchangeCodec { streams })
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(self.limits.request)
            .max_encoding_message_size(self.limits.reply)
    }

    fn call_of(
        &self,
        path: &'static str,
        action: Action,
        peer: Arc<PeerCertificate>,
        headers: &HeaderMap,
    ) -> Call {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let exchange = self.door.random.uuid_v7(self.door.clock.now());
        let trace = text("traceparent").and_then(headers::trace_id).unwrap_or_default();
        Call {
            path,
            action,
            peer,
            on_behalf_of: text(ON_BEHALF_OF).map(str::to_owned),
            trace: trace.to_owned(),
            identity_claimed: headers::claim_identity(headers),
            exchange,
            message: Bytes::new(),
            deadline: deadline::asked(headers),
        }
    }

    /// Enters what tonic refused, and gives the refusal our form. Which encodings are taken stays said.
    async fn enter(&self, call: &Call, reason: Reason, headers: &HeaderMap) -> Response<Body> {
        let Err(status) = self.door.refuse(call, reason.into()).await else {
            return Status::internal("").into_http();
        };
        let mut response = status.into_http();
        if let Some(encodings) = headers.get("grpc-accept-encoding") {
            response.headers_mut().insert("grpc-accept-encoding", encodings.clone());
        }
        response
    }
}

/// What tonic 0.14.9 refuses, as a reason of ours: it says `OUT_OF_RANGE` of a message that is too large,
/// `RESOURCE_EXHAUSTED` of one that grows too large, `INTERNAL` of one that it cannot take apart.
pub(super) fn reason_of(call: &Call, status: &Status) -> Reason {
    match status.code() {
        Code::Unimplemented if call.path.is_empty() => Reason::UnknownMethod,
        Code::Unimplemented => Reason::EncodingUnknown,
        Code::OutOfRange | Code::ResourceExhausted => Reason::TooLarge,
        Code::Internal | Code::InvalidArgument => Reason::Malformed,
        _ => Reason::Protocol,
    }
}

/// Reads a body that nobody wants, no longer than a message may be: an answer before its end would be followed
/// by a reset of the stream, which some clients take for a failure of the connection.
async fn drain(mut body: Body, most: usize) {
    let mut read = 0;
    while read <= most
        && let Some(Ok(frame)) = body.frame().await
    {
        read += frame.data_ref().map_or(0, Bytes::len);
    }
}

/// An answer of HTTP alone.
fn without_grpc(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

struct Unary {
    door: Arc<Door>,
    call: Call,
    handler: Handler,
    entered: Arc<AtomicBool>,
}

type Answering = Pin<Box<dyn Future<Output = Result<tonic::Response<Answer>, Status>> + Send>>;

impl UnaryService<Bytes> for Unary {
    type Response = Answer;
    type Future = Answering;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Answering {
        let (door, handler) = (Arc::clone(&self.door), Arc::clone(&self.handler));
        let call = Call { message: request.into_inner(), ..self.call.clone() };
        self.entered.store(true, Ordering::Release);
        Box::pin(async move {
            let exchange = call.exchange;
            let answered = door.exchange(call, handler).await?;
            let answered = answered.ready();
            let (answer, _) = answered.ok_or_else(|| Refusal::from(Reason::Failed).status(exchange))?;
            Ok(tonic::Response::new(answer))
        })
    }
}

struct Proving {
    door: Arc<Door>,
    call: Call,
    handler: Hashes,
    entered: Arc<AtomicBool>,
}

impl UnaryService<Bytes> for Proving {
    type Response = Answer;
    type Future = Answering;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Answering {
        let (door, handler) = (Arc::clone(&self.door), Arc::clone(&self.handler));
        let call = Call { message: request.into_inner(), ..self.call.clone() };
        self.entered.store(true, Ordering::Release);
        Box::pin(async move {
            let told = |refusal: Refusal| refusal.status(call.exchange);
            let cx = door.context(&call, Recall(false)).await.map_err(told)?;
            let hashes = handler(cx, call.message.clone()).await.map_err(told)?;
            if !door.committer.settled().await {
                return Err(told(Reason::LogUnavailable.into()));
            }
            Ok(tonic::Response::new(Answer::Hashes(hashes)))
        })
    }
}
