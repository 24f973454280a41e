//! The listener's TLS: 1.3 only, a client certificate required, revocation lists enforced and in date, no
//! resumption, HTTP/2 only. Changed files are taken up without dropping a connection; a bad set of files is
//! ignored and the old one kept.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use super::PeerCertificate;
use crate::clock::Instant;

/// The files of the listener's TLS.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// PEM: the server's certificate, then its intermediates.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
    /// PEM: CAs of client certificates.
    pub client_ca: PathBuf,
    /// PEM or DER: a revocation list an issuer.
    pub crls: Vec<PathBuf>,
}

/// Why a set of files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds nothing of its kind.
    #[error("{0} cannot be used")]
    File(PathBuf),
    /// The certificate and the key do not fit, or a CA or a revocation list is refused.
    #[error("the TLS files do not fit together")]
    Config(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The TLS in use; [`Tls::reload`] swaps all of it at once.
pub struct Tls {
    files: TlsFiles,
    trust_domain: String,
    live: ArcSwap<Live>,
}

struct Live {
    config: Arc<ServerConfig>,
    /// The server's own certificate.
    own: CertificateDer<'static>,
    /// (issuer's name, serial number) of every revoked certificate.
    revoked: HashSet<(Vec<u8>, Vec<u8>)>,
    stamps: Vec<Option<SystemTime>>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(files: TlsFiles, trust_domain: &str) -> Result<Self, TlsError> {
        let live = ArcSwap::from_pointee(read(&files)?);
        Ok(Self { files, trust_domain: trust_domain.to_owned(), live })
    }

    /// The SPIFFE trust domain of client certificates.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// The configuration for the next handshake.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.live.load().config)
    }

    /// Whether a certificate that was verified at its handshake may still be used: in date, and on no
    /// revocation list that has been loaded since.
    #[must_use]
    pub fn still_valid(&self, peer: &PeerCertificate, now: Instant) -> bool {
        let in_date = peer.not_before() <= now && now <= peer.not_after();
        let named = (peer.issuer().to_vec(), peer.serial().to_vec());
        in_date && !self.live.load().revoked.contains(&named)
    }

    /// Whether the server's certificate names this host: a name, or an address without brackets.
    #[must_use]
    pub fn is_own_name(&self, host: &str) -> bool {
        let live = self.live.load();
        match (ServerName::try_from(host), ParsedCertificate::try_from(&live.own)) {
            (Ok(name), Ok(own)) => verify_server_name(&own, &name).is_ok(),
            _ => false,
        }
    }

    /// Reads the files again if one has changed, or if `always`.
    ///
    /// # Errors
    /// [`TlsError`]; the old files stay in use.
    pub fn reload(&self, always: bool) -> Result<bool, TlsError> {
        if !always && stamps(&self.files) == self.live.load().stamps {
            return Ok(false);
        }
        self.live.store(Arc::new(read(&self.files)?));
        Ok(true)
    }
}

fn read(files: &TlsFiles) -> Result<Live, TlsError> {
    let stamps = stamps(files);
    let config = |error: Box<dyn std::error::Error + Send + Sync>| TlsError::Config(error);
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&files.client_ca)? {
        roots.add(certificate).map_err(|error| config(error.into()))?;
    }
    let mut crls = Vec::new();
    for path in &files.crls {
        crls.extend(revocation_lists(path)?);
    }
    let revoked = crls.iter().flat_map(|crl| serials(crl)).collect();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .with_crls(crls)
        .enforce_revocation_expiration()
        .build()
        .map_err(|error| config(error.into()))?;
    let chain = certificates(&files.certificate)?;
    let own = chain.first().cloned().ok_or_else(|| TlsError::File(files.certificate.clone()))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|_| TlsError::File(files.key.clone()))?;
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| config(error.into()))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|error| config(error.into()))?;
    // rustls restores a resumed client's chain without verifying it again: a revoked one would come back.
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    server.max_early_data_size = 0;
    server.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Live { config: Arc::new(server), own, revoked, stamps })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unusable = || TlsError::File(path.to_owned());
    let found = CertificateDer::pem_file_iter(path).map_err(|_| unusable())?;
    let found: Vec<_> = found.collect::<Result<_, _>>().map_err(|_| unusable())?;
    if found.is_empty() { Err(unusable()) } else { Ok(found) }
}

fn revocation_lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let bytes = std::fs::read(path).map_err(|_| TlsError::File(path.to_owned()))?;
    if !bytes.starts_with(b"-----") {
        return Ok(vec![CertificateRevocationListDer::from(bytes)]);
    }
    let found = CertificateRevocationListDer::pem_slice_iter(&bytes).collect::<Result<_, _>>();
    found.map_err(|_| TlsError::File(path.to_owned()))
}

fn serials(crl: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let Ok((_, crl)) = CertificateRevocationList::from_der(crl) else {
        return Vec::new();
    };
    let issuer = crl.issuer().as_raw().to_vec();
    crl.iter_revoked_certificates().map(|revoked| (issuer.clone(), revoked.raw_serial().to_vec())).collect()
}

fn stamps(files: &TlsFiles) -> Vec<Option<SystemTime>> {
    let paths = [&files.certificate, &files.key, &files.client_ca].into_iter().chain(&files.crls);
    paths.map(|path| std::fs::metadata(path).and_then(|found| found.modified()).ok()).collect()
}
