//! The listener: accepts connections, runs TLS and HTTP/2 over them, and can end any of them.
//!
//! hyper's and tonic's own servers would set no bound on streams, resets and handshakes, retry a failed
//! accept in a hot loop, and wait for ever for a connection that never spoke; so the loop is our own.

mod connections;
mod flood;
mod health;
mod maintenance;
mod review;
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

pub use connections::{Connections, Ending};
pub use health::report;
pub use maintenance::look_after;
pub use review::ConnectionReviewer;
pub use revocation::RevocationReviewer;
pub use tasks::Tasks;

use crate::exchange::OtherHost;
use crate::identity::{PeerCertificate, Tls};
use flood::Guarded;

/// Pause after a failed accept: file descriptors come back as connections end.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Limits of the listener.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections in all.
    pub connections: usize,
    /// TLS handshakes under way at once.
    pub handshakes: usize,
    /// Connections of one organisation.
    pub per_organisation: usize,
    /// How long a TLS handshake may take.
    pub handshake: Duration,
    /// How long connections may stay open once the server stops.
    pub drain: Duration,
}

/// Serves until `stop` is done, then says goodbye to every connection and waits for them, not longer than
/// the drain limit. Each request carries its peer's certificate as `Arc<PeerCertificate>`.
pub async fn serve<S>(
    listener: TcpListener,
    tls: Arc<Tls>,
    service: S,
    limits: Limits,
    connections: Connections,
    stop: impl Future<Output = ()>,
) where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let handshakes = Arc::new(Semaphore::new(limits.handshakes));
    let open = Arc::new(Semaphore::new(limits.connections));
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
                tokio::time::sleep(BACK_OFF).await;
                continue;
            }
        };
        let (Ok(place), Ok(turn)) =
            (Arc::clone(&open).try_acquire_owned(), Arc::clone(&handshakes).try_acquire_owned())
        else {
            tracing::debug!("a connection beyond the limit was closed");
            continue;
        };
        let (tls, service, connections) = (Arc::clone(&tls), service.clone(), connections.clone());
        tokio::spawn(async move {
            let _place = place;
            let handshake = tokio::time::timeout(limits.handshake, handshake(tcp, &tls)).await;
            drop(turn);
            match handshake {
                Ok(Ok((stream, peer))) => {
                    connection(stream, (peer, tls), service, limits, &connections).await;
                }
                Ok(Err(error)) => tracing::info!(error = %error, "a TLS handshake was refused"),
                Err(_) => tracing::info!("a TLS handshake took too long"),
            }
        });
    }
    drop(listener);
    connections.end_all(limits.drain).await;
}

async fn handshake(tcp: TcpStream, tls: &Tls) -> io::Result<(TlsStream<TcpStream>, Arc<PeerCertificate>)> {
    // Without it a small reply can wait 40 ms for the acknowledgement of the one before.
    tcp.set_nodelay(true)?;
    let stream = TlsAcceptor::from(tls.config()).accept(tcp).await?;
    if stream.get_ref().1.server_name().is_some_and(|name| !tls.is_own_name(name)) {
        return Err(io::Error::other("the caller looks for another host"));
    }
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let leaf = chain.first().ok_or_else(|| io::Error::other("no client certificate"))?;
    let peer = PeerCertificate::parse(leaf).map_err(io::Error::other)?;
    if peer.trust_domain() != tls.trust_domain() {
        return Err(io::Error::other("a certificate of another trust domain"));
    }
    Ok((stream, Arc::new(peer)))
}

async fn connection<S>(
    stream: TlsStream<TcpStream>,
    (peer, tls): (Arc<PeerCertificate>, Arc<Tls>),
    service: S,
    limits: Limits,
    connections: &Connections,
) where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let Some(mut handle) = connections.open(&peer, limits.per_organisation) else {
        tracing::info!(org.id = %peer.organisation(), "an organisation has too many connections");
        return;
    };
    let known = Arc::new(OnceLock::new());
    let service = service.map_request(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(Arc::clone(&peer));
        let own = is_for_us(request.uri().authority(), &known, &tls) && is_host_own(request.headers(), &tls);
        if !own {
            request.extensions_mut().insert(OtherHost);
        }
        request.map(Body::new)
    });
    let http = http2_settings()
        .serve_connection(TokioIo::new(Guarded::new(stream)), TowerToHyperService::new(service));
    tokio::pin!(http);
    let ending = tokio::select! {
        ended = http.as_mut() => return log(ended),
        ending = handle.ending() => ending,
    };
    if ending == Ending::Now {
        return;
    }
    http.as_mut().graceful_shutdown();
    tokio::select! {
        ended = http.as_mut() => log(ended),
        () = handle.cut() => {}
    }
}

/// Whether a call is for a host that the server's certificate names; asked once for each that a connection
/// calls by.
fn is_for_us(authority: Option<&Authority>, known: &OnceLock<Authority>, tls: &Tls) -> bool {
    let Some(authority) = authority.filter(|authority| known.get() != Some(authority)) else {
        return true;
    };
    let own = tls.is_own_name(authority.host().trim_matches(['[', ']']));
    if own {
        known.set(authority.clone()).ok();
    }
    own
}

/// Whether every `host` header names the server: HTTP/2 allows it in place of `:authority`, and no other host beside it.
fn is_host_own(headers: &http::HeaderMap, tls: &Tls) -> bool {
    headers.get_all(http::header::HOST).iter().all(|host| {
        let authority = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
        authority.is_some_and(|authority| tls.is_own_name(authority.host().trim_matches(['[', ']'])))
    })
}

fn log(ended: Result<(), hyper::Error>) {
    if let Err(error) = ended {
        tracing::debug!(error = %error, "a connection broke off");
    }
}

/// Every bound is set here, also those that hyper sets alike: tonic would take some of them away.
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
