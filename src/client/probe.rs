//! The way to a gateway, tried step by step, so that what fails can be named: name, port, TLS handshake, and whether the
//! gateway goes on after it. With TLS 1.3 a client learns only then that its own certificate was refused.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::AlertDescription;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::connect::tls_config;
use super::{ClientError, ClientLimits, Profile};

/// Preface of HTTP/2 with an empty SETTINGS frame, to which a gateway answers.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// What a step found at fault.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The profile's files or its endpoint cannot be used.
    #[error(transparent)]
    Profile(#[from] ClientError),
    /// The name of the endpoint has no address.
    #[error("the name has no address")]
    Name(#[source] io::Error),
    /// Nothing accepts a connection at the address.
    #[error("no connection")]
    Port(#[source] io::Error),
    /// The TLS handshake failed on this side.
    #[error("the TLS handshake failed")]
    Tls(#[source] rustls::Error),
    /// The gateway refused with an alert.
    #[error("the gateway refused with an alert")]
    Alert(AlertDescription),
    /// The gateway closed the connection after the handshake, without an alert.
    #[error("the gateway closed the connection")]
    Closed,
    /// The connection failed in another way, or a step took too long.
    #[error("the connection failed")]
    Io(#[source] io::Error),
}

/// A gateway that answered.
#[derive(Debug)]
pub struct ProbedServer {
    /// Address that accepted the connection.
    pub address: SocketAddr,
    /// The gateway's certificate.
    pub certificate: Option<CertificateDer<'static>>,
}

/// Tries the way to the gateway of a profile.
///
/// # Errors
/// [`ProbeError`], by the step that failed.
pub async fn probe(profile: &Profile, limits: ClientLimits) -> Result<ProbedServer, ProbeError> {
    let connector = TlsConnector::from(Arc::new(tls_config(profile)?));
    let unusable = || ClientError::Profile("endpoint is not host:port".to_owned());
    let (host, _) = profile.endpoint.rsplit_once(':').ok_or_else(unusable)?;
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(|_| unusable())?;
    let found = in_time(limits, lookup_host(&profile.endpoint)).await.map_err(ProbeError::Name)?;
    let addresses: Vec<SocketAddr> = found.collect();
    if addresses.is_empty() {
        return Err(ProbeError::Name(io::Error::other("no address")));
    }
    let tcp = in_time(limits, TcpStream::connect(&addresses[..])).await.map_err(ProbeError::Port)?;
    let address = tcp.peer_addr().map_err(ProbeError::Port)?;
    let mut stream = in_time(limits, connector.connect(name, tcp)).await.map_err(of_tls)?;
    let certificates = stream.get_ref().1.peer_certificates();
    let certificate = certificates.and_then(|chain| chain.first()).map(|leaf| leaf.clone().into_owned());
    in_time(limits, await_answer(&mut stream)).await.map_err(of_tls).and_then(|is_answered| {
        if is_answered { Ok(ProbedServer { address, certificate }) } else { Err(ProbeError::Closed) }
    })
}

/// Returns whether the gateway answers to the preface of HTTP/2, before it closes the connection.
async fn await_answer(stream: &mut TlsStream<TcpStream>) -> io::Result<bool> {
    stream.write_all(PREFACE).await?;
    stream.flush().await?;
    Ok(stream.read(&mut [0; 9]).await? > 0)
}

async fn in_time<T>(limits: ClientLimits, step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    tokio::time::timeout(limits.connect_timeout, step).await.map_err(late)?
}

/// Finds the TLS error in an error of a connection.
fn of_tls(error: io::Error) -> ProbeError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) => ProbeError::Alert(*alert),
        Some(fault) => ProbeError::Tls(fault.clone()),
        None if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
            ProbeError::Closed
        }
        None => ProbeError::Io(error),
    }
}
