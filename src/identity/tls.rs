//! The listener's TLS: 1.3 only, a client certificate required, revocation lists enforced, no resumption, HTTP/2 only.
//! Changed files are loaded without dropping a connection; a set of files with an error is refused, and the set in use
//! stays in use.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ParsedCertificate};
use rustls::{CertificateError, ServerConfig};

use super::PeerCertificate;
use super::authorities::{self, ClientAuthority};
use super::files::{FileStamp, TlsError, TlsFiles, file_stamps};
use super::revocation::{self, CrlState, RevocationList, replace_with_newer};
use super::server_certificate;
use super::verifier::ClientVerifier;
use crate::clock::Instant;

/// Interval after which an unchanged set of files that was refused is tried again, because its dates may be valid by
/// then.
const RETRY_INTERVAL: Duration = Duration::from_mins(1);
/// Maximum number of client certificates whose path is cached.
const MAX_CACHED_PATHS: usize = 20_000;

/// The listener's TLS; [`Tls::reload`] replaces the whole set of files at once.
pub struct Tls {
    files: TlsFiles,
    trust_domain: String,
    active: ArcSwap<ActiveTls>,
    last_refused: Mutex<Option<RefusedFiles>>,
}

/// The positions of the authorities above a client certificate; `None` for a certificate that is untrusted or revoked.
type IssuerPath = Option<Arc<[usize]>>;

/// The set of files in use, parsed.
struct ActiveTls {
    config: Arc<ServerConfig>,
    verifier: Arc<ClientVerifier>,
    /// The server's certificate.
    server_certificate: CertificateDer<'static>,
    authorities: Vec<ClientAuthority>,
    /// The revocation lists of each authority.
    lists: Vec<Vec<RevocationList>>,
    /// Cache of the paths of client certificates, by fingerprint.
    issuer_paths: RwLock<HashMap<[u8; 32], IssuerPath>>,
    stamps: Vec<FileStamp>,
}

/// The last set of files that was refused.
struct RefusedFiles {
    stamps: Vec<FileStamp>,
    cause: String,
    refused_at: Instant,
}

/// The present status of a client certificate that was verified at its handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateStatus {
    /// In date, trusted and not revoked.
    Valid,
    /// Expired, revoked, or no longer issued by a trusted authority.
    Invalid,
    /// A revocation list of an authority above it has lapsed, so whether it is revoked is unknown.
    Unknown,
}

/// An authority with the state of its revocation lists.
#[derive(Clone, Debug)]
pub struct IssuerReport {
    /// Subject of the authority.
    pub name: String,
    /// State of its lists.
    pub state: CrlState,
    /// Earliest `nextUpdate` of its lists.
    pub next_update: Instant,
    /// Certificate of the authority, which identifies it across reloads.
    pub certificate: CertificateDer<'static>,
}

impl Tls {
    /// Loads the files.
    ///
    /// # Errors
    /// [`TlsError`], also when every revocation list has lapsed, because every call would be refused.
    pub fn load(files: TlsFiles, trust_domain: &str, now: Instant) -> Result<Self, TlsError> {
        let live = load_files(&files, now, None)?;
        let lapsed = |lists: &Vec<RevocationList>| revocation::crl_state(lists, now).0 == CrlState::Lapsed;
        if let (true, Some(path)) = (live.lists.iter().all(lapsed), files.crls.first()) {
            let end = live.lists.iter().map(|lists| revocation::crl_state(lists, now).1).max().unwrap_or(now);
            let cause = format!("every revocation list has lapsed, the last at {end}; publish new ones");
            return Err(TlsError::new(revocation::CRLS_SETTING, path, cause));
        }
        let live = ArcSwap::from_pointee(live);
        Ok(Self {
            files,
            trust_domain: trust_domain.to_owned(),
            active: live,
            last_refused: Mutex::default(),
        })
    }

    /// Returns the SPIFFE trust domain of client certificates.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// Returns the configuration for the next handshake.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.active.load().config)
    }

    /// Returns the status of a certificate that was verified at its handshake, by the files that are in use now.
    #[must_use]
    pub fn status(&self, peer: &PeerCertificate, now: Instant) -> CertificateStatus {
        let live = self.active.load();
        let Some(path) = live.issuer_path(peer, now) else {
            return CertificateStatus::Invalid;
        };
        let above = || path.iter().filter_map(|at| Some((live.authorities.get(*at)?, live.lists.get(*at)?)));
        let is_expired =
            above().any(|(authority, _)| authority.issuer.is_some() && now > authority.not_after);
        if is_expired || now < peer.not_before() || peer.not_after() < now {
            return CertificateStatus::Invalid;
        }
        if above().any(|(_, lists)| revocation::crl_state(lists, now).0 == CrlState::Lapsed) {
            return CertificateStatus::Unknown;
        }
        CertificateStatus::Valid
    }

    /// Returns every authority with the state of its revocation lists.
    #[must_use]
    pub fn issuers(&self, now: Instant) -> Vec<IssuerReport> {
        let live = self.active.load();
        let authorities = live.authorities.iter().zip(&live.lists);
        authorities
            .map(|(authority, lists)| {
                let (state, next_update) = revocation::crl_state(lists, now);
                let (name, certificate) = (authority.name.clone(), authority.certificate.clone());
                IssuerReport { name, state, next_update, certificate }
            })
            .collect()
    }

    /// Returns the first and the last valid instant of the server's certificate; `None` if they cannot be read.
    #[must_use]
    pub fn server_certificate_validity(&self) -> Option<(Instant, Instant)> {
        server_certificate::validity(&self.active.load().server_certificate)
    }

    /// Returns when the first of the callers' authorities expires.
    #[must_use]
    pub fn first_authority_expiry(&self) -> Option<Instant> {
        self.active.load().authorities.iter().map(|authority| authority.not_after).min()
    }

    /// Reports whether the server's certificate names a host: a DNS name, or an IP address without brackets.
    #[must_use]
    pub fn is_server_name(&self, host: &str) -> bool {
        let live = self.active.load();
        match (ServerName::try_from(host), ParsedCertificate::try_from(&live.server_certificate)) {
            (Ok(name), Ok(certificate)) => verify_server_name(&certificate, &name).is_ok(),
            _ => false,
        }
    }

    /// Loads the files again if one has changed, or if `always`; returns whether new files are in use.
    ///
    /// # Errors
    /// [`TlsError`], once per change and cause; the old files stay in use.
    pub fn reload(&self, always: bool, now: Instant) -> Result<bool, TlsError> {
        let live = self.active.load();
        let mut refused = self.last_refused.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = file_stamps(&self.files);
        if !always && stamps == live.stamps {
            *refused = None;
            return Ok(false);
        }
        let known = refused.as_ref().filter(|known| !always && known.stamps == stamps);
        if known.is_some_and(|known| now.since(known.refused_at) < RETRY_INTERVAL) {
            return Ok(false);
        }
        match load_files(&self.files, now, Some(&live)) {
            Ok(new) => {
                self.active.store(Arc::new(new));
                *refused = None;
                Ok(true)
            }
            Err(error) => {
                let cause = error.to_string();
                let is_known = known.is_some_and(|known| known.cause == cause);
                *refused = Some(RefusedFiles { stamps, cause, refused_at: now });
                if is_known { Ok(false) } else { Err(error) }
            }
        }
    }
}

impl ActiveTls {
    /// Returns the path of a client certificate; verifies the certificate unless the path is cached.
    fn issuer_path(&self, peer: &PeerCertificate, now: Instant) -> IssuerPath {
        let fingerprint = peer.fingerprint();
        let paths = self.issuer_paths.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = paths.get(&fingerprint) {
            return known.clone();
        }
        drop(paths);
        let leaf = CertificateDer::from(peer.der());
        let seconds = u64::try_from(now.seconds()).unwrap_or_default();
        let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let path: IssuerPath = match self.verifier.verify_client_cert(&leaf, &[], time) {
            Ok(_) => Some(authorities::issuer_path(&leaf, &self.authorities).into()),
            // Not cached, because the clock may have jumped and may be set back.
            Err(error) if is_date_error(&error) => return None,
            Err(_) => None,
        };
        let mut paths = self.issuer_paths.write().unwrap_or_else(PoisonError::into_inner);
        if paths.len() >= MAX_CACHED_PATHS {
            paths.clear();
        }
        paths.insert(fingerprint, path.clone());
        path
    }
}

/// Reports whether a certificate was refused only because of its dates.
fn is_date_error(error: &rustls::Error) -> bool {
    let rustls::Error::InvalidCertificate(error) = error else { return false };
    matches!(
        error,
        CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }
    )
}

/// Loads a set of files. A revocation list in use is not replaced by an older one, because the older list lacks later
/// revocations.
fn load_files(files: &TlsFiles, now: Instant, in_use: Option<&ActiveTls>) -> Result<ActiveTls, TlsError> {
    let stamps = file_stamps(files);
    let chain = server_certificate::load_chain(files, now)?;
    let key = server_certificate::load_key(files)?;
    let authorities = authorities::load(&files.client_ca)?;
    let mut lists = revocation::load(&files.crls, &authorities, &files.client_ca, now)?;
    for (authority, authority_lists) in authorities.iter().zip(&mut lists) {
        let mut known = in_use.iter().flat_map(|live| live.authorities.iter().zip(&live.lists));
        if let Some((_, known)) = known.find(|(known, _)| known.certificate == authority.certificate) {
            replace_with_newer(&authority.name, authority_lists, known);
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = ClientVerifier::new(&provider, &authorities, &lists);
    let verifier =
        verifier.map_err(|error| TlsError::new(revocation::CRLS_SETTING, &files.client_ca, error))?;
    let verifier = Arc::new(verifier);
    let own = chain.first().cloned().unwrap_or_else(|| CertificateDer::from(Vec::new()));
    let refused = |error: rustls::Error| match error {
        rustls::Error::InconsistentKeys(_) => {
            TlsError::new(server_certificate::KEY_SETTING, &files.key, "it is not the key of tls.certificate")
        }
        error => TlsError::new(server_certificate::KEY_SETTING, &files.key, error),
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(refused)?
        .with_client_cert_verifier(Arc::clone(&verifier) as Arc<dyn ClientCertVerifier>)
        .with_single_cert(chain, key)
        .map_err(refused)?;
    // rustls restores a resumed client's chain without verifying it again, so a revoked certificate would be accepted.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (config, paths) = (Arc::new(config), RwLock::default());
    Ok(ActiveTls {
        config,
        verifier,
        server_certificate: own,
        authorities,
        lists,
        issuer_paths: paths,
        stamps,
    })
}
