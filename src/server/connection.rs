//! HTTP/2 on one connection, from the end of its handshake until it is closed.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::server::TlsStream;
use tonic::body::Body;
use tower::{Service, ServiceExt as _};

use super::active_calls::ActiveCalls;
use super::answer_progress::ConnectionProgress;
use super::closing::{GoawayCode, MAX_CLOSE_TIME, close_connection};
use super::connection_refusals::{ConnectionRefusal, ConnectionRefusals};
use super::connections::{ConnectionHandle, Ending};
use super::guarded_stream::{GuardedStream, StreamEvents};
use super::host_check::{are_host_headers_own, is_own_authority};
use super::metered_service::MeteredService;
use crate::exchange::{ConnectionMemory, HostMismatch, MAX_HEADER_LIST_BYTES};
use crate::identity::{PeerCertificate, Tls};
use crate::metrics::CallMetrics;

/// Time in which an idle connection can end by itself during a shutdown: its peer acknowledges the GOAWAY and reads the
/// ends of its streams.
const DRAIN_PAUSE: Duration = Duration::from_millis(500);

/// Reason for refusing a connection of an organisation or certificate that has as many as it may have.
pub(super) const ORGANISATION_FULL: &str = "full: connections_per_organisation";

/// A connection after its handshake.
pub(super) struct ServedConnection {
    pub stream: TlsStream<TcpStream>,
    pub address: SocketAddr,
    pub peer: Arc<PeerCertificate>,
    pub tls: Arc<Tls>,
    pub handle: ConnectionHandle,
    pub memory: Arc<ConnectionMemory>,
    /// Maximum time until the client's preface has arrived.
    pub preface_timeout: Duration,
    /// Time after which an answer of which nothing is sent ends its stream.
    pub stall_timeout: Duration,
    pub refusals: ConnectionRefusals,
    pub metrics: CallMetrics,
}

/// How the service of a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ConnectionEnd {
    /// hyper has closed it.
    Ended,
    /// It is to be closed at once.
    Cut,
    /// It is idle, and the node shuts down.
    Drained,
    /// Its certificate is registered, and the organisation has no place for it: it is closed when its calls have ended.
    Full,
    /// Answers that nobody reads were all that was left of it.
    Stalled,
    /// Too many calls of its certificate were rejected.
    TooManyCalls,
    /// It spent its budget for control frames.
    TooManyFrames,
    /// The client's preface did not arrive.
    NoPreface,
}

impl ServedConnection {
    /// Serves the connection until it has ended.
    pub async fn serve<S>(self, service: S)
    where
        S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send,
    {
        let Self {
            stream,
            address,
            peer,
            tls,
            mut handle,
            memory,
            preface_timeout,
            stall_timeout,
            refusals,
            metrics,
        } = self;
        let progress = ConnectionProgress::new(stall_timeout);
        let calls = ActiveCalls::default();
        let (guarded, mut events) = GuardedStream::new(stream);
        let inner = with_identity(service, Arc::clone(&peer), tls);
        let service = MeteredService { inner, memory: Arc::clone(&memory), calls: calls.clone(), metrics };
        let record = |end: ConnectionEnd| {
            if let Some(reason) = end.reason() {
                refusals.record(address.ip(), &ConnectionRefusal::of_certificate(reason, peer.der()));
            }
        };
        let end = {
            let service = TowerToHyperService::new(service);
            let http = http2_settings(progress.clone());
            let mut http = std::pin::pin!(http.serve_connection(TokioIo::new(guarded), service));
            let end = tokio::select! {
                ended = http.as_mut() => log_end(ended),
                end = wait_for_end(&mut handle, &memory) => end,
                end = watch_events(&mut events, preface_timeout) => end,
                () = progress.stalled() => ConnectionEnd::Stalled,
            };
            record(end);
            let end = if matches!(end, ConnectionEnd::Drained | ConnectionEnd::Full) {
                http.as_mut().graceful_shutdown();
                let drained = tokio::select! {
                    ended = http.as_mut() => log_end(ended),
                    () = handle.wait_for_cut() => ConnectionEnd::Cut,
                    () = progress.stalled() => ConnectionEnd::Stalled,
                    () = calls.wait_until_idle(DRAIN_PAUSE) => ConnectionEnd::Drained,
                    () = wait_for_report(&mut events.spent) => ConnectionEnd::TooManyFrames,
                };
                record(drained);
                drained
            } else {
                end
            };
            if end == ConnectionEnd::TooManyFrames {
                // The frame that is being sent is completed, so that a GOAWAY can follow it.
                tokio::select! {
                    _ = http.as_mut() => {}
                    () = wait_for_report(&mut events.boundary) => {}
                    () = tokio::time::sleep(MAX_CLOSE_TIME) => {}
                }
            }
            end
        };
        if let Ok(returned) = events.returned.await {
            close_connection(returned, end.goaway()).await;
        }
    }
}

impl ConnectionEnd {
    /// Returns the reason for the operator's log, if the connection is closed for its peer's doing.
    fn reason(self) -> Option<&'static str> {
        match self {
            Self::Full => Some(ORGANISATION_FULL),
            Self::Stalled => Some("answers that are not read"),
            Self::TooManyCalls => Some("too many rejected calls"),
            Self::TooManyFrames => Some("flood of HTTP/2 control frames"),
            Self::Ended | Self::Cut | Self::Drained | Self::NoPreface => None,
        }
    }

    /// Returns the code of the GOAWAY that is still to be sent.
    fn goaway(self) -> Option<GoawayCode> {
        match self {
            Self::Ended => None,
            Self::Cut | Self::Drained | Self::Full | Self::NoPreface | Self::Stalled => {
                Some(GoawayCode::NoError)
            }
            Self::TooManyFrames | Self::TooManyCalls => Some(GoawayCode::EnhanceYourCalm),
        }
    }
}

/// Waits until a connection is to be closed. Meanwhile it takes a place of its organisation once its certificate is known
/// to be registered.
async fn wait_for_end(handle: &mut ConnectionHandle, memory: &ConnectionMemory) -> ConnectionEnd {
    let ending = tokio::select! {
        biased;
        ending = handle.ending() => ending,
        () = memory.wait_until_registered() => {
            if handle.mark_registered().is_err() {
                return ConnectionEnd::Full;
            }
            handle.ending().await
        }
    };
    match ending {
        Ending::AtOnce => ConnectionEnd::Cut,
        Ending::Excessive => ConnectionEnd::TooManyCalls,
        Ending::NotYet | Ending::WhenIdle => ConnectionEnd::Drained,
    }
}

/// Waits until a connection has spent its budget, or has sent no preface in time.
async fn watch_events<T>(events: &mut StreamEvents<T>, preface_timeout: Duration) -> ConnectionEnd {
    let preface = tokio::time::timeout(preface_timeout, wait_for_report(&mut events.preface));
    tokio::select! {
        arrived = preface => if arrived.is_err() { return ConnectionEnd::NoPreface },
        () = wait_for_report(&mut events.spent) => return ConnectionEnd::TooManyFrames,
    }
    wait_for_report(&mut events.spent).await;
    ConnectionEnd::TooManyFrames
}

/// Waits for an event. It does not occur any more when the stream is gone.
async fn wait_for_report(event: &mut oneshot::Receiver<()>) {
    if event.await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Adds the peer's certificate to each request, and a mark to a request for another host.
fn with_identity<S>(
    service: S,
    peer: Arc<PeerCertificate>,
    tls: Arc<Tls>,
) -> impl Service<
    http::Request<hyper::body::Incoming>,
    Response = http::Response<Body>,
    Error = Infallible,
    Future = S::Future,
> + Clone
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible> + Clone,
{
    let checked_authority = Arc::new(OnceLock::new());
    service.map_request(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(Arc::clone(&peer));
        let is_own = is_own_authority(request.uri().authority(), &checked_authority, &tls)
            && are_host_headers_own(request.headers(), &tls);
        if !is_own {
            request.extensions_mut().insert(HostMismatch);
        }
        request.map(Body::new)
    })
}

fn log_end(ended: Result<(), hyper::Error>) -> ConnectionEnd {
    if let Err(error) = ended {
        tracing::debug!(error = %error, "a connection failed");
    }
    ConnectionEnd::Ended
}

/// Sets every bound, including those equal to hyper's defaults, because tonic would remove some of them.
fn http2_settings(executor: ConnectionProgress) -> http2::Builder<ConnectionProgress> {
    let mut http = http2::Builder::new(executor);
    http.timer(TokioTimer::new())
        .max_concurrent_streams(100)
        .max_local_error_reset_streams(256)
        .max_pending_accept_reset_streams(20)
        .max_header_list_size(MAX_HEADER_LIST_BYTES)
        .initial_stream_window_size(64 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .max_send_buf_size(64 * 1024)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    http
}
