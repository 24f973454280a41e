//! The listener: accepts connections, runs TLS and HTTP/2 over them, and can close each of them.
//!
//! hyper's and tonic's servers set no bound on streams, resets and handshakes, retry a failed accept in a hot
//! loop, and wait without limit for a connection that never sends. So the accept loop is the gateway's own.

mod connection_review;
mod connections;
mod frame_limit;
mod health;
mod maintenance;
mod revocation;
mod tasks;

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::uri::Authority;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::body::Body;
use tower::{Service, ServiceExt};

pub use connection_review::ConnectionReviewer;
pub use connections::{Connections, Ending};
pub use health::report_health;
pub use maintenance::maintenance_loop;
pub use revocation::RevocationReviewer;
pub use tasks::Tasks;

use crate::exchange::HostMismatch;
use crate::identity::{PeerCertificate, Tls};
use frame_limit::FrameLimited;

/// Pause after a failed accept, because file descriptors become free as connections end.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Limits of the listener.
#[derive(Clone, Copy, Debug)]
pub struct ListenerLimits {
    /// Maximum number of connections.
    pub max_connections: usize,
    /// Maximum number of concurrent TLS handshakes.
    pub max_handshakes: usize,
    /// Maximum number of connections of one organisation.
    pub max_connections_per_organisation: usize,
    /// Timeout of a TLS handshake.
    pub handshake_timeout: Duration,
    /// Time that connections have to finish after shutdown begins.
    pub drain_timeout: Duration,
}

/// Serves until `stop` completes. Then shuts every connection down gracefully and waits for them, up to the drain
/// limit. Each request carries its peer's certificate as `Arc<PeerCertificate>`.
pub async fn serve<S>(
    listener: TcpListener,
    tls: Arc<Tls>,
    service: S,
    limits: ListenerLimits,
    connections: Connections,
    stop: impl Future<Output = ()>,
) where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let handshakes = Arc::new(Semaphore::new(limits.max_handshakes));
    let open = Arc::new(Semaphore::new(limits.max_connections));
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let tcp = match accepted {
            Ok((tcp, _)) => tcp,
            Err(error) => {
                tracing::warn!(error = %error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
                continue;
            }
        };
        let (Ok(connection_permit), Ok(handshake_permit)) =
            (Arc::clone(&open).try_acquire_owned(), Arc::clone(&handshakes).try_acquire_owned())
        else {
            tracing::debug!(
                "a connection was closed because the limit of connections or handshakes is reached"
            );
            continue;
        };
        let (tls, service, connections) = (Arc::clone(&tls), service.clone(), connections.clone());
        tokio::spawn(async move {
            let _connection_permit = connection_permit;
            let handshake = tokio::time::timeout(limits.handshake_timeout, handshake(tcp, &tls)).await;
            drop(handshake_permit);
            match handshake {
                Ok(Ok((stream, peer))) => {
                    serve_connection(stream, (peer, tls), service, limits, &connections).await;
                }
                Ok(Err(error)) => tracing::info!(error = %error, "a TLS handshake was refused"),
                Err(_) => tracing::info!("a TLS handshake took too long"),
            }
        });
    }
    drop(listener);
    connections.end_all(limits.drain_timeout).await;
}

async fn handshake(tcp: TcpStream, tls: &Tls) -> io::Result<(TlsStream<TcpStream>, Arc<PeerCertificate>)> {
    // Nagle's algorithm could delay a small reply by 40 ms, until the previous one is acknowledged.
    tcp.set_nodelay(true)?;
    let stream = TlsAcceptor::from(tls.config()).accept(tcp).await?;
    if stream.get_ref().1.server_name().is_some_and(|name| !tls.is_server_name(name)) {
        return Err(io::Error::other("the TLS server name is not a name of the server's certificate"));
    }
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let leaf = chain.first().ok_or_else(|| io::Error::other("no client certificate"))?;
    let peer = PeerCertificate::parse(leaf).map_err(io::Error::other)?;
    if peer.trust_domain() != tls.trust_domain() {
        return Err(io::Error::other("the client certificate belongs to another trust domain"));
    }
    Ok((stream, Arc::new(peer)))
}

async fn serve_connection<S>(
    stream: TlsStream<TcpStream>,
    (peer, tls): (Arc<PeerCertificate>, Arc<Tls>),
    service: S,
    limits: ListenerLimits,
    connections: &Connections,
) where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let Some(mut handle) = connections.register(&peer, limits.max_connections_per_organisation) else {
        tracing::info!(org.id = %peer.organisation(), "an organisation has too many connections");
        return;
    };
    let checked_authority = Arc::new(OnceLock::new());
    let service = service.map_request(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(Arc::clone(&peer));
        let is_own = is_own_authority(request.uri().authority(), &checked_authority, &tls)
            && are_host_headers_own(request.headers(), &tls);
        if !is_own {
            request.extensions_mut().insert(HostMismatch);
        }
        request.map(Body::new)
    });
    let http = http2_settings()
        .serve_connection(TokioIo::new(FrameLimited::new(stream)), TowerToHyperService::new(service));
    tokio::pin!(http);
    let ending = tokio::select! {
        ended = http.as_mut() => return log_connection_end(ended),
        ending = handle.ending() => ending,
    };
    if ending == Ending::AtOnce {
        return;
    }
    http.as_mut().graceful_shutdown();
    tokio::select! {
        ended = http.as_mut() => log_connection_end(ended),
        () = handle.wait_for_cut() => {}
    }
}

/// Checks whether the call's authority is a name of the server's certificate. The last valid authority of a
/// connection is cached.
fn is_own_authority(
    authority: Option<&Authority>,
    checked_authority: &OnceLock<Authority>,
    tls: &Tls,
) -> bool {
    let Some(authority) = authority.filter(|authority| checked_authority.get() != Some(authority)) else {
        return true;
    };
    let is_own = tls.is_server_name(authority.host().trim_matches(['[', ']']));
    if is_own {
        checked_authority.set(authority.clone()).ok();
    }
    is_own
}

/// Checks that every `host` header names the server. HTTP/2 allows the header in place of `:authority`, and no
/// other host beside it.
fn are_host_headers_own(headers: &http::HeaderMap, tls: &Tls) -> bool {
    headers.get_all(http::header::HOST).iter().all(|host| {
        let authority = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
        authority.is_some_and(|authority| tls.is_server_name(authority.host().trim_matches(['[', ']'])))
    })
}

fn log_connection_end(ended: Result<(), hyper::Error>) {
    if let Err(error) = ended {
        tracing::debug!(error = %error, "a connection failed");
    }
}

/// Sets every bound, including those equal to hyper's defaults, because tonic would remove some of them.
fn http2_settings() -> http2::Builder<TokioExecutor> {
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_concurrent_streams(100)
        .max_local_error_reset_streams(256)
        .max_pending_accept_reset_streams(20)
        .max_header_list_size(16 * 1024)
        .initial_stream_window_size(64 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    http
}
