//! Opens an mTLS connection to a gateway. TLS 1.3 only; the server's name and chain are verified against the profile's
//! CA, and nothing else is trusted. Each step has a time limit.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

use super::{ClientError, ClientLimits, Profile};

pub(super) async fn open_channel(profile: &Profile, limits: ClientLimits) -> Result<Channel, ClientError> {
    let connector = TlsConnector::from(Arc::new(tls_config(profile)?));
    let address = profile.endpoint.clone();
    let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
        .map_err(|_| ClientError::Profile("endpoint has no host name".to_owned()))?;
    let connect = tower::service_fn(move |_: Uri| {
        let (connector, address, name) = (connector.clone(), address.clone(), name.clone());
        async move {
            let tcp = TcpStream::connect(address);
            let tcp = io_with_timeout(limits.connect_timeout, "no TCP connection", tcp).await?;
            tcp.set_nodelay(true)?;
            let tls =
                io_with_timeout(limits.handshake_timeout, "no TLS handshake", connector.connect(name, tcp))
                    .await?;
            Ok::<_, io::Error>(TokioIo::new(tls))
        }
    });
    let endpoint = Endpoint::from_shared(format!("http://{}", profile.endpoint))
        .map_err(|_| ClientError::Profile("endpoint is not host:port".to_owned()))?
        .http2_keep_alive_interval(limits.keep_alive_interval)
        .keep_alive_timeout(limits.keep_alive_timeout);
    let connected = endpoint.connect_with_connector(connect).await;
    connected.map_err(|error| ClientError::Unreachable(Box::new(error)))
}

async fn io_with_timeout<T>(
    limit: Duration,
    missing: &str,
    step: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let timed_out = |_| io::Error::new(io::ErrorKind::TimedOut, format!("{missing} within {limit:?}"));
    tokio::time::timeout(limit, step).await.map_err(timed_out)?
}

pub(super) fn tls_config(profile: &Profile) -> Result<ClientConfig, ClientError> {
    let mut roots = RootCertStore::empty();
    for certificate in load_certificates(&profile.ca)? {
        roots.add(certificate).map_err(|_| unusable_file(&profile.ca))?;
    }
    let chain = load_certificates(&profile.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&profile.key).map_err(|_| unusable_file(&profile.key))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|_| ClientError::Profile("this build has no TLS 1.3".to_owned()))?;
    let mut config = builder
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(|_| unusable_file(&profile.certificate))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn load_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let found = CertificateDer::pem_file_iter(path).map_err(|_| unusable_file(path))?;
    found.collect::<Result<_, _>>().map_err(|_| unusable_file(path))
}

fn unusable_file(path: &Path) -> ClientError {
    ClientError::Profile(format!("{} cannot be used", path.display()))
}
