//! The listener's TLS: 1.3 only, a client certificate required, revocation lists enforced, no resumption, HTTP/2 only.
//! Changed files are taken up without dropping a connection; a bad set of files is refused and the old one kept.

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
use super::authorities::{self, Authority};
use super::files::{Stamp, TlsError, TlsFiles, stamps};
use super::revocation::{self, ListState, RevocationList, keep_newest};
use super::server_certificate;
use super::verifier::Verifier;
use crate::clock::Instant;

/// How long a refused set of files is left alone unless it changes: time alone can make a set good.
const RETRY_INTERVAL: Duration = Duration::from_mins(1);
/// Most client certificates whose path is remembered.
const MAX_PATHS: usize = 20_000;

/// The TLS in use; [`Tls::reload`] swaps all of it at once.
pub struct Tls {
    files: TlsFiles,
    trust_domain: String,
    live: ArcSwap<Live>,
    refused: Mutex<Option<Refused>>,
}

/// The positions of the authorities above a client certificate; `None` for one that is not trusted, or revoked.
type Path = Option<Arc<[usize]>>;

/// A set of files in use.
struct Live {
    config: Arc<ServerConfig>,
    verifier: Arc<Verifier>,
    /// The server's own certificate.
    own: CertificateDer<'static>,
    authorities: Vec<Authority>,
    /// The revocation lists of each authority.
    lists: Vec<Vec<RevocationList>>,
    /// The path of each client certificate that was met, by its fingerprint.
    paths: RwLock<HashMap<[u8; 32], Path>>,
    stamps: Vec<Stamp>,
}

/// The last set of files that was refused.
struct Refused {
    stamps: Vec<Stamp>,
    cause: String,
    at: Instant,
}

/// What a verified client certificate is worth now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateStatus {
    /// In date, trusted and not revoked.
    Valid,
    /// Expired, revoked, or its authority is not trusted any more.
    Invalid,
    /// A revocation list above it has lapsed, so whether it is revoked is not known.
    Unknown,
}

/// An authority with the state of its revocation lists.
#[derive(Clone, Debug)]
pub struct IssuerReport {
    /// Its subject.
    pub name: String,
    /// The state of its lists.
    pub state: ListState,
    /// When the first of its lists ends.
    pub next_update: Instant,
    /// Its certificate, by which it is known across reloads.
    pub certificate: CertificateDer<'static>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`], also when every revocation list has lapsed: then nobody could be served.
    pub fn load(files: TlsFiles, trust_domain: &str, now: Instant) -> Result<Self, TlsError> {
        let live = read(&files, now, None)?;
        let lapsed = |own: &Vec<RevocationList>| revocation::state(own, now).0 == ListState::Lapsed;
        if let (true, Some(path)) = (live.lists.iter().all(lapsed), files.crls.first()) {
            let end = live.lists.iter().map(|own| revocation::state(own, now).1).max().unwrap_or(now);
            let cause = format!("every revocation list has lapsed, the last at {end}; publish new ones");
            return Err(TlsError::new(revocation::KEY, path, cause));
        }
        let live = ArcSwap::from_pointee(live);
        Ok(Self { files, trust_domain: trust_domain.to_owned(), live, refused: Mutex::default() })
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

    /// Judges a certificate that was verified at its handshake by the files that are in use now.
    #[must_use]
    pub fn status(&self, peer: &PeerCertificate, now: Instant) -> CertificateStatus {
        let live = self.live.load();
        let Some(path) = live.path(peer, now) else {
            return CertificateStatus::Invalid;
        };
        let above = || path.iter().filter_map(|at| Some((live.authorities.get(*at)?, live.lists.get(*at)?)));
        let is_expired =
            above().any(|(authority, _)| authority.issuer.is_some() && now > authority.not_after);
        if is_expired || now < peer.not_before() || peer.not_after() < now {
            return CertificateStatus::Invalid;
        }
        if above().any(|(_, own)| revocation::state(own, now).0 == ListState::Lapsed) {
            return CertificateStatus::Unknown;
        }
        CertificateStatus::Valid
    }

    /// Reports every authority with the state of its revocation lists.
    #[must_use]
    pub fn issuers(&self, now: Instant) -> Vec<IssuerReport> {
        let live = self.live.load();
        let both = live.authorities.iter().zip(&live.lists);
        both.map(|(authority, own)| {
            let (state, next_update) = revocation::state(own, now);
            let (name, certificate) = (authority.name.clone(), authority.certificate.clone());
            IssuerReport { name, state, next_update, certificate }
        })
        .collect()
    }

    /// Returns the dates of the server's own certificate; `None` when they cannot be read.
    #[must_use]
    pub fn own_validity(&self) -> Option<(Instant, Instant)> {
        server_certificate::validity(&self.live.load().own)
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
    /// [`TlsError`], once a change; the old files stay in use.
    pub fn reload(&self, always: bool, now: Instant) -> Result<bool, TlsError> {
        let live = self.live.load();
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = stamps(&self.files);
        if !always && stamps == live.stamps {
            *refused = None;
            return Ok(false);
        }
        let known = refused.as_ref().filter(|known| !always && known.stamps == stamps);
        if known.is_some_and(|known| now.since(known.at) < RETRY_INTERVAL) {
            return Ok(false);
        }
        match read(&self.files, now, Some(&live)) {
            Ok(new) => {
                self.live.store(Arc::new(new));
                *refused = None;
                Ok(true)
            }
            Err(error) => {
                let cause = error.to_string();
                let is_known = known.is_some_and(|known| known.cause == cause);
                *refused = Some(Refused { stamps, cause, at: now });
                if is_known { Ok(false) } else { Err(error) }
            }
        }
    }
}

impl Live {
    /// Returns the path of a client certificate, which is verified when it is met first.
    fn path(&self, peer: &PeerCertificate, now: Instant) -> Path {
        let fingerprint = peer.fingerprint();
        let paths = self.paths.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = paths.get(&fingerprint) {
            return known.clone();
        }
        drop(paths);
        let leaf = CertificateDer::from(peer.der());
        let seconds = u64::try_from(now.seconds()).unwrap_or_default();
        let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let path: Path = match self.verifier.verify_client_cert(&leaf, &[], time) {
            Ok(_) => Some(authorities::path_of(&leaf, &self.authorities).into()),
            // Not remembered: a clock that jumps comes back.
            Err(error) if is_of_time(&error) => return None,
            Err(_) => None,
        };
        let mut paths = self.paths.write().unwrap_or_else(PoisonError::into_inner);
        if paths.len() >= MAX_PATHS {
            paths.clear();
        }
        paths.insert(fingerprint, path.clone());
        path
    }
}

/// Whether a certificate was refused for its dates alone.
fn is_of_time(error: &rustls::Error) -> bool {
    let rustls::Error::InvalidCertificate(error) = error else { return false };
    matches!(
        error,
        CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }
    )
}

/// Reads a set of files. A list of the set in use stays where it is newer than that of the files: an older one would
/// forget who was revoked since.
fn read(files: &TlsFiles, now: Instant, in_use: Option<&Live>) -> Result<Live, TlsError> {
    let stamps = stamps(files);
    let chain = server_certificate::chain(files, now)?;
    let key = server_certificate::key(files)?;
    let authorities = authorities::read(&files.client_ca)?;
    let mut lists = revocation::read(&files.crls, &authorities, &files.client_ca)?;
    for (authority, own) in authorities.iter().zip(&mut lists) {
        let mut known = in_use.iter().flat_map(|live| live.authorities.iter().zip(&live.lists));
        if let Some((_, known)) = known.find(|(known, _)| known.certificate == authority.certificate)
            && keep_newest(own, known)
        {
            tracing::warn!(
                issuer = authority.name,
                "a revocation list older than the one in use was left alone"
            );
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = Verifier::new(&provider, &authorities, &lists);
    let verifier = verifier.map_err(|error| TlsError::new(revocation::KEY, &files.client_ca, error))?;
    let verifier = Arc::new(verifier);
    let own = chain.first().cloned().unwrap_or_else(|| CertificateDer::from(Vec::new()));
    let refused = |error: rustls::Error| match error {
        rustls::Error::InconsistentKeys(_) => {
            TlsError::new(server_certificate::KEY, &files.key, "it is not the key of tls.certificate")
        }
        error => TlsError::new(server_certificate::KEY, &files.key, error),
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(refused)?
        .with_client_cert_verifier(Arc::clone(&verifier) as Arc<dyn ClientCertVerifier>)
        .with_single_cert(chain, key)
        .map_err(refused)?;
    // rustls restores a resumed client's chain without verifying it again: a revoked one would come back.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (config, paths) = (Arc::new(config), RwLock::default());
    Ok(Live { config, verifier, own, authorities, lists, paths, stamps })
}
