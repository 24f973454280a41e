//! Sockets from their arrival to the end of their TLS handshake.

use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::Acceptor;
use rustls::{AlertDescription, CertificateError, Error as TlsError};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::{StartHandshake, TlsStream};
use tonic::body::Body;
use tower::Service;

use super::closing::close_unserved;
use super::connection::{ORGANISATION_FULL, ServedConnection};
use super::connection_refusals::{ConnectionRefusal, ConnectionRefusals};
use super::connections::{Connections, RegisterError};
use super::listener_limits::ListenerLimits;
use super::pending_sockets::{PendingBound, PendingPlace, PendingSockets};
use crate::exchange::MemoryBudget;
use crate::identity::{PeerCertificate, Tls, with_refused_certificate};
use crate::metrics::ServerMetrics;

/// Time in which a handshake that is under way when the node begins to shut down can end, so that its peer gets
/// `close_notify`.
const DRAIN_HANDSHAKE_TIME: Duration = Duration::from_millis(500);

/// What the tasks of all sockets share.
pub(super) struct Reception {
    pub tls: Arc<Tls>,
    pub limits: ListenerLimits,
    pub pending: PendingSockets,
    /// Places for connections, from their `ClientHello` on.
    pub places: Arc<Semaphore>,
    pub connections: Connections,
    /// The budget of requests and answers.
    pub memory: MemoryBudget,
    /// Becomes true when the node begins to shut down.
    pub stopping: watch::Receiver<bool>,
    pub refusals: ConnectionRefusals,
    pub metrics: ServerMetrics,
}

/// Every result of a handshake, as the metrics count them: one of the first two, or the reason of a refusal.
pub const HANDSHAKE_RESULTS: [&str; 31] = [
    "ok",
    "gone",
    "full: connections",
    "full: pending_connections",
    "full: pending_connections_per_address",
    "no ClientHello in time",
    "the handshake took too long",
    "the connection failed in its handshake",
    "no client certificate",
    "another TLS server name",
    "another trust domain",
    "unreadable certificate",
    "not exactly one URI",
    "the URI is not an identity",
    "the URI is reserved",
    "not for clientAuth",
    "revoked",
    "expired",
    "not valid yet",
    "unknown issuer",
    "wrong signature",
    "no revocation list",
    "invalid certificate",
    "no HTTP/2 offered (ALPN h2)",
    "no TLS 1.3, or no common algorithm",
    "the peer does not know the authority of the certificate of this gateway",
    "by the clock of the peer the certificate of this gateway is not valid",
    "the peer does not accept the certificate of this gateway, or uses a name that is not in it",
    "the peer ended the handshake with an alert",
    "not TLS",
    "broken TLS",
];

/// Result of a handshake that was not refused.
enum Arrival {
    /// The peer is known.
    Peer(TlsStream<TcpStream>, Arc<PeerCertificate>, OwnedSemaphorePermit),
    /// The peer went away, or the node shuts down.
    Gone,
}

impl Reception {
    /// Receives a socket and serves its connection until it has ended.
    pub async fn receive<S>(
        self: Arc<Self>,
        tcp: TcpStream,
        address: SocketAddr,
        place: PendingPlace,
        service: S,
    ) where
        S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send,
    {
        let admitted = self.admit(tcp, place).await;
        self.metrics.connections.count_handshake(match &admitted {
            Ok(Arrival::Peer(..)) => "ok",
            Ok(Arrival::Gone) => "gone",
            Err(refusal) => refusal.reason,
        });
        let (stream, peer, _permit) = match admitted {
            Ok(Arrival::Peer(stream, peer, permit)) => (stream, peer, permit),
            Ok(Arrival::Gone) => return,
            Err(refusal) => return self.refusals.record(address.ip(), &refusal),
        };
        let _open = self.metrics.connections.open();
        let handle = match self.connections.register(&peer, self.limits.connection_limits()) {
            Ok(handle) => handle,
            Err(RegisterError::ShuttingDown) => return close_unserved(stream).await,
            Err(RegisterError::TooMany) => {
                let refusal = ConnectionRefusal::of_certificate(ORGANISATION_FULL, peer.der());
                self.refusals.record(address.ip(), &refusal);
                return close_unserved(stream).await;
            }
        };
        let (tls, refusals) = (Arc::clone(&self.tls), self.refusals.clone());
        let (preface_timeout, stall_timeout) = (self.limits.handshake_timeout, self.limits.stall_timeout);
        let memory = self.memory.connection(peer.organisation().as_str());
        let connection = ServedConnection {
            stream,
            address,
            peer,
            tls,
            handle,
            memory,
            preface_timeout,
            stall_timeout,
            refusals,
            metrics: self.metrics.calls.clone(),
        };
        connection.serve(service).await;
    }

    /// Logs a socket that got no place.
    pub fn record_full(&self, address: SocketAddr, bound: PendingBound) {
        let refusal = ConnectionRefusal::without_certificate(bound_reason(bound));
        self.metrics.connections.count_handshake(refusal.reason);
        self.refusals.record(address.ip(), &refusal);
    }

    /// Waits for the `ClientHello`, then for the end of the handshake.
    async fn admit(&self, tcp: TcpStream, mut place: PendingPlace) -> Result<Arrival, ConnectionRefusal> {
        // Nagle's algorithm could delay a small reply by 40 ms, until the previous one is acknowledged.
        tcp.set_nodelay(true).ok();
        let deadline = Instant::now() + self.limits.handshake_timeout;
        let refused = ConnectionRefusal::without_certificate;
        let started = tokio::select! {
            // A ClientHello that has arrived counts, even if the place was lost at the same moment.
            biased;
            started = LazyConfigAcceptor::new(Acceptor::default(), tcp) => started,
            bound = place.displaced() => return Err(refused(bound_reason(bound))),
            () = self.wait_until_stopping() => return Ok(Arrival::Gone),
            () = tokio::time::sleep_until(deadline) => return Err(refused("no ClientHello in time")),
        };
        let started = match started {
            Ok(started) => started,
            Err(error) => {
                return describe_error(&error).map_or(Ok(Arrival::Gone), |reason| Err(refused(reason)));
            }
        };
        place.mark_hello();
        let permit = Arc::clone(&self.places).try_acquire_owned();
        let permit = permit.map_err(|_| refused("full: connections"))?;
        let shaken = tokio::select! {
            biased;
            shaken = self.finish_handshake(started) => shaken?,
            bound = place.displaced() => return Err(refused(bound_reason(bound))),
            () = async {
                self.wait_until_stopping().await;
                tokio::time::sleep(DRAIN_HANDSHAKE_TIME).await;
            } => return Ok(Arrival::Gone),
            () = tokio::time::sleep_until(deadline) => return Err(refused("the handshake took too long")),
        };
        Ok(shaken.map_or(Arrival::Gone, |(stream, peer)| Arrival::Peer(stream, peer, permit)))
    }

    /// Ends a handshake; returns `None` if the peer went away.
    async fn finish_handshake(
        &self,
        started: StartHandshake<TcpStream>,
    ) -> Result<Option<(TlsStream<TcpStream>, Arc<PeerCertificate>)>, ConnectionRefusal> {
        let (shaken, certificate) = with_refused_certificate(started.into_stream(self.tls.config())).await;
        let stream = match shaken {
            Ok(stream) => stream,
            Err(error) => {
                return describe_error(&error)
                    .map_or(Ok(None), |reason| Err(ConnectionRefusal { reason, certificate }));
            }
        };
        match self.identify(&stream) {
            Ok(peer) => Ok(Some((stream, Arc::new(peer)))),
            Err(refusal) => {
                close_unserved(stream).await;
                Err(refusal)
            }
        }
    }

    /// Returns the peer of a connection, from its certificate.
    fn identify(&self, stream: &TlsStream<TcpStream>) -> Result<PeerCertificate, ConnectionRefusal> {
        let session = stream.get_ref().1;
        let leaf = session.peer_certificates().and_then(|chain| chain.first());
        let leaf = leaf.ok_or_else(|| ConnectionRefusal::without_certificate("no client certificate"))?;
        let refused = |reason| ConnectionRefusal::of_certificate(reason, leaf);
        if session.server_name().is_some_and(|name| !self.tls.is_server_name(name)) {
            return Err(refused("another TLS server name"));
        }
        let peer = PeerCertificate::parse(leaf).map_err(|error| refused(certificate_reason(error)))?;
        if peer.trust_domain() != self.tls.trust_domain() {
            return Err(refused("another trust domain"));
        }
        Ok(peer)
    }

    async fn wait_until_stopping(&self) {
        if self.stopping.clone().wait_for(|stopping| *stopping).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn bound_reason(bound: PendingBound) -> &'static str {
    match bound {
        PendingBound::All => "full: pending_connections",
        PendingBound::Address => "full: pending_connections_per_address",
    }
}

/// Returns the reason for a failed handshake in plain words; `None` if the peer only went away.
fn describe_error(error: &io::Error) -> Option<&'static str> {
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()) else {
        let is_gone = matches!(
            error.kind(),
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
        );
        return (!is_gone).then_some("the connection failed in its handshake");
    };
    Some(match error {
        TlsError::InvalidCertificate(error) => match error {
            CertificateError::Revoked => "revoked",
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "expired",
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "not valid yet",
            CertificateError::UnknownIssuer => "unknown issuer",
            CertificateError::BadSignature => "wrong signature",
            CertificateError::UnknownRevocationStatus => "no revocation list",
            _ => "invalid certificate",
        },
        TlsError::NoCertificatesPresented => "no client certificate",
        TlsError::NoApplicationProtocol => "no HTTP/2 offered (ALPN h2)",
        TlsError::PeerIncompatible(_) => "no TLS 1.3, or no common algorithm",
        TlsError::AlertReceived(AlertDescription::UnknownCA) => {
            "the peer does not know the authority of the certificate of this gateway"
        }
        // The gateway serves no certificate outside of its time.
        TlsError::AlertReceived(AlertDescription::CertificateExpired) => {
            "by the clock of the peer the certificate of this gateway is not valid"
        }
        TlsError::AlertReceived(AlertDescription::BadCertificate | AlertDescription::CertificateUnknown) => {
            "the peer does not accept the certificate of this gateway, or uses a name that is not in it"
        }
        TlsError::AlertReceived(_) => "the peer ended the handshake with an alert",
        TlsError::InvalidMessage(_) => "not TLS",
        _ => "broken TLS",
    })
}

fn certificate_reason(error: crate::identity::CertificateError) -> &'static str {
    use crate::identity::CertificateError as Fault;
    match error {
        Fault::Malformed => "unreadable certificate",
        Fault::NotOneUri => "not exactly one URI",
        Fault::NotSpiffe => "the URI is not an identity",
        Fault::ReservedSystem => "the URI is reserved",
        Fault::NotClientAuth => "not for clientAuth",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_in_the_list_of_results() {
        let source = include_str!("handshake.rs").split("#[cfg(test)]").next().unwrap();
        let code = source.split("];\n").nth(1).unwrap();
        let is_reason = |line: &&str| {
            line.contains("=> \"") || line.contains("refused(\"") || line.trim_start().starts_with('"')
        };
        let literals = code.lines().filter(is_reason);
        let literals: Vec<_> = literals.filter_map(|line| line.split('"').nth(1)).collect();
        assert!(literals.len() > 20, "{literals:?}");
        for literal in literals {
            assert!(HANDSHAKE_RESULTS.contains(&literal), "{literal}");
        }
    }
}
