//! The tower service of the exchange pipeline. Refusals by tonic itself (no message, message too large, unknown
//! compression, unknown method) are recorded here too, because no refusal is sent without an entry.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method as HttpMethod, Request, Response, StatusCode};
use http_body_util::BodyExt;
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::server::{Grpc, UnaryService};
use tonic::{Code, Status};
use tracing::Instrument as _;

use super::call::{BoxFuture, Call, Handler, HashHandler};
use super::codec::{self, ExchangeCodec, OutboundMessage};
use super::memory::CallMemory;
use super::message_body::MessageBody;
use super::method::{Method, UNKNOWN_METHOD};
use super::part_stream::{MAX_FRAME_BYTES, PartStreamService};
use super::pipeline::ExchangePipeline;
use super::refusal::{Reason, Refusal, reason_from_status};
use super::routes::{Route, Routes};
use super::spans::exchange_span;
use super::watch::WatchService;
use super::{deadline, headers};
use crate::identity::PeerCertificate;

/// Metadata key with which a processor names the organisation that it acts for.
pub const ON_BEHALF_OF: &str = "ap-on-behalf-of";
/// Header with the id of the key by which a client verifies checkpoints. It decides nothing.
const LOG_KEY: &str = "ap-log-key";

/// Maximum number of bytes that are read of a rejected call.
const MAX_DRAINED_BYTES: usize = 64 << 10;
/// Maximum time for which a rejected call is read.
const MAX_DRAIN_TIME: Duration = Duration::from_millis(500);

/// Request extension: the call's `:authority` is not a name of the server's certificate (RFC 9113, 8.3.1).
#[derive(Clone, Copy)]
pub struct HostMismatch;

/// Response extension: the response has an end of its own, for which a shutdown waits.
#[derive(Clone, Copy)]
pub struct AwaitedResponse;

/// Limits of message sizes, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct MessageLimits {
    /// Largest request message, after decompression.
    pub max_request_bytes: usize,
    /// Largest response message.
    pub max_reply_bytes: usize,
}

impl Default for MessageLimits {
    fn default() -> Self {
        Self { max_request_bytes: 1 << 20, max_reply_bytes: codec::MAX_MESSAGE_BYTES }
    }
}

/// Tower service of the exchange pipeline. The peer's certificate is in the request's extensions.
#[derive(Clone)]
pub struct ExchangeService {
    routes: Arc<Routes>,
    pub(super) pipeline: Arc<ExchangePipeline>,
    limits: MessageLimits,
}

impl tower::Service<Request<Body>> for ExchangeService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let service = self.clone();
        let is_awaited = !self.routes.is_watch(request.uri().path());
        Box::pin(async move {
            let mut response = service.serve(request).await;
            if is_awaited {
                response.extensions_mut().insert(AwaitedResponse);
            }
            Ok(response)
        })
    }
}

impl ExchangeService {
    /// Creates the service that hyper calls.
    #[must_use]
    pub fn new(routes: Routes, pipeline: Arc<ExchangePipeline>, limits: MessageLimits) -> Self {
        Self { routes: Arc::new(routes), pipeline, limits }
    }

    async fn serve(&self, request: Request<Body>) -> Response<Body> {
        let Some(peer) = request.extensions().get::<Arc<PeerCertificate>>().cloned() else {
            return Status::unauthenticated("no client certificate").into_http();
        };
        let found = self.routes.by_path.get(request.uri().path());
        let method = found.map_or(UNKNOWN_METHOD, |(method, _)| method);
        let memory = request.extensions().get::<CallMemory>().cloned();
        let memory = memory.unwrap_or_else(CallMemory::unlimited);
        let call = self.build_call(method, peer, request.headers(), memory);
        if let Err(rejected) = self.pipeline.admit(&call) {
            drain_rejected(request.into_body()).await;
            return rejected.status(call.exchange_id).into_http();
        }
        if headers::are_too_large(request.headers()) {
            self.pipeline.reject_http(&call);
            return http_only_response(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        }
        if request.method() != HttpMethod::POST {
            self.pipeline.reject_http(&call);
            return http_only_response(StatusCode::METHOD_NOT_ALLOWED);
        }
        if !headers::is_grpc(request.headers()) {
            self.pipeline.reject_http(&call);
            return http_only_response(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
        if request.extensions().get::<HostMismatch>().is_some() {
            return self.record_refusal(&call, Reason::HostMismatch, &HeaderMap::new()).await;
        }
        let entered = Arc::new(AtomicBool::new(false));
        let memory = call.memory.clone();
        let route = found.map(|(_, route)| route.clone());
        let answering = self.dispatch(route, &call, &entered, request);
        let (begun, wait) = (tokio::time::Instant::now(), deadline::wait_limit(call.timeout));
        let answered = tokio::time::timeout(wait, answering).await.ok();
        // The timer fires up to a millisecond late, so a response that came first may be late too.
        let Some(response) = answered.filter(|_| begun.elapsed() < wait) else {
            let late = Reason::DeadlineExceeded;
            if entered.load(Ordering::Acquire) {
                return Refusal::from(late).status(call.exchange_id).into_http();
            }
            return self.record_refusal(&call, late, &HeaderMap::new()).await;
        };
        match Status::from_header_map(response.headers()) {
            // A refusal for overload has no entry.
            Some(_) if memory.is_exhausted() && !entered.load(Ordering::Acquire) => {
                self.pipeline.refuse_overload(&call).into_http()
            }
            Some(status) if status.code() != Code::Ok && !entered.load(Ordering::Acquire) => {
                self.record_refusal(&call, reason_from_status(found.is_some(), &status), response.headers())
                    .await
            }
            _ => response,
        }
    }

    async fn dispatch(
        &self,
        route: Option<Route>,
        call: &Call,
        entered: &Arc<AtomicBool>,
        mut request: Request<Body>,
    ) -> Response<Body> {
        let (pipeline, call, entered) = (Arc::clone(&self.pipeline), call.clone(), Arc::clone(entered));
        headers::keep_only_grpc(&mut request);
        pipeline.note_registration(&call.peer, &call.memory).await;
        let Some(route) = route else {
            drain_body(request.into_body(), self.limits.max_request_bytes).await;
            return Status::unimplemented("").into_http();
        };
        let memory = call.memory.clone();
        let most = match route {
            Route::Stream(_) => self.limits.max_request_bytes.min(MAX_FRAME_BYTES),
            _ => self.limits.max_request_bytes,
        };
        let request = request.map(|body| Body::new(MessageBody::new(body, memory.clone(), most)));
        match route {
            Route::Unary(handler) => {
                self.grpc(false, memory)
                    .unary(UnaryExchange { pipeline, call, handler, has_entry: entered }, request)
                    .await
            }
            Route::Hashes(handler) => {
                self.grpc(false, memory)
                    .unary(HashQuery { pipeline, call, handler, has_entry: entered }, request)
                    .await
            }
            Route::Watch(watcher) => {
                let stream = WatchService { pipeline, call, watcher, has_entry: entered };
                self.grpc(false, memory).server_streaming(stream, request).await
            }
            Route::Stream(receiver) => {
                let max_part_bytes = self.limits.max_request_bytes;
                let parts =
                    PartStreamService { pipeline, call, receiver, has_entry: entered, max_part_bytes };
                let mut grpc = self.grpc(true, memory).max_decoding_message_size(most);
                grpc.streaming(parts, request).await
            }
        }
    }

    fn grpc(&self, streams: bool, memory: CallMemory) -> Grpc<ExchangeCodec> {
        Grpc::new(ExchangeCodec { client_streaming: streams, memory })
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(self.limits.max_request_bytes)
            .max_encoding_message_size(self.limits.max_reply_bytes)
    }

    pub(super) fn build_call(
        &self,
        method: &'static Method,
        peer: Arc<PeerCertificate>,
        headers: &HeaderMap,
        memory: CallMemory,
    ) -> Call {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let exchange = self.pipeline.random.uuid_v7(self.pipeline.clock.now());
        let trace = text("traceparent").and_then(headers::trace_id).unwrap_or_default();
        if text(LOG_KEY).is_some_and(|key| key != self.pipeline.log_keys.present().key_id()) {
            self.pipeline.refusal_log.note_other_log_key(&peer);
        }
        Call {
            method,
            peer,
            on_behalf_of: text(ON_BEHALF_OF).map(str::to_owned),
            token: headers::bearer_token(headers),
            trace_id: trace.to_owned(),
            identity_claimed: headers::has_identity_header(headers),
            exchange_id: exchange,
            message: Bytes::new(),
            is_batch: false,
            memory,
            timeout: deadline::requested_timeout(headers),
        }
    }

    /// Records a refusal by tonic, and returns it in the gateway's form. The header `grpc-accept-encoding` is
    /// kept.
    async fn record_refusal(&self, call: &Call, reason: Reason, headers: &HeaderMap) -> Response<Body> {
        let refused = self.pipeline.refuse_unidentified(call, reason.into());
        let Err(status) = refused.instrument(exchange_span(call)).await else {
            return Status::internal("").into_http();
        };
        let mut response = status.into_http();
        if let Some(encodings) = headers.get("grpc-accept-encoding") {
            response.headers_mut().insert("grpc-accept-encoding", encodings.clone());
        }
        response
    }
}

/// Reads and discards the body of a rejected call, for a short time.
pub(super) async fn drain_rejected(body: Body) {
    tokio::time::timeout(MAX_DRAIN_TIME, drain_body(body, MAX_DRAINED_BYTES)).await.ok();
}

/// Reads and discards a request body, up to the limit of a message. A response before the body's end would be
/// followed by a reset of the stream, which some clients report as a failed connection.
async fn drain_body(mut body: Body, most: usize) {
    let mut read = 0;
    while read <= most
        && let Some(Ok(frame)) = body.frame().await
    {
        read += frame.data_ref().map_or(0, Bytes::len);
    }
}

/// Builds a plain HTTP response with an empty body.
pub(super) fn http_only_response(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

struct UnaryExchange {
    pipeline: Arc<ExchangePipeline>,
    call: Call,
    handler: Handler,
    has_entry: Arc<AtomicBool>,
}

type UnaryFuture = BoxFuture<'static, Result<tonic::Response<OutboundMessage>, Status>>;

impl UnaryService<Bytes> for UnaryExchange {
    type Response = OutboundMessage;
    type Future = UnaryFuture;

    fn call(&mut self, request: tonic::Request<Bytes>) -> UnaryFuture {
        let (pipeline, handler) = (Arc::clone(&self.pipeline), Arc::clone(&self.handler));
        let call = Call { message: request.into_inner(), ..self.call.clone() };
        self.has_entry.store(true, Ordering::Release);
        Box::pin(async move {
            let exchange = call.exchange_id;
            let answered = pipeline.submit(call, handler).await?;
            let answered = answered.into_item();
            let (answer, _) = answered.ok_or_else(|| Refusal::from(Reason::Failed).status(exchange))?;
            Ok(tonic::Response::new(answer))
        })
    }
}

struct HashQuery {
    pipeline: Arc<ExchangePipeline>,
    call: Call,
    handler: HashHandler,
    has_entry: Arc<AtomicBool>,
}

impl UnaryService<Bytes> for HashQuery {
    type Response = OutboundMessage;
    type Future = UnaryFuture;

    fn call(&mut self, request: tonic::Request<Bytes>) -> UnaryFuture {
        let (pipeline, handler) = (Arc::clone(&self.pipeline), Arc::clone(&self.handler));
        let call = Call { message: request.into_inner(), ..self.call.clone() };
        self.has_entry.store(true, Ordering::Release);
        let span = exchange_span(&call);
        let answering = async move {
            let to_status = |refusal: Refusal| refusal.status(call.exchange_id);
            let cx = pipeline.authorise_hash_query(&call).await?;
            let shown_tree = cx.snapshot.shown_tree();
            let answer = handler(cx, call.message.clone()).await;
            // A refusal waits too, because it rests on what was read.
            if !pipeline.committer.wait_until_durable(shown_tree.size()).await {
                return Err(to_status(Reason::LogUnavailable.into()));
            }
            Ok(tonic::Response::new(OutboundMessage::Hashes(answer.map_err(to_status)?)))
        };
        Box::pin(answering.instrument(span))
    }
}
