//! The authorities that issue client certificates: trust anchors, and intermediates whose issuer is configured
//! beside them.

use std::path::Path;

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::files::{TlsError, certificates};
use crate::clock::Instant;

const KEY: &str = "tls.client_ca";

/// An authority that issues client certificates.
pub(super) struct Authority {
    pub certificate: CertificateDer<'static>,
    /// Its subject, DER.
    pub subject: Vec<u8>,
    /// Its subject, for the operator.
    pub name: String,
    pub not_after: Instant,
    /// The position of its own issuer among the configured authorities; `None` for a trust anchor.
    pub issuer: Option<usize>,
}

impl Authority {
    fn new(certificate: CertificateDer<'static>) -> Result<Self, String> {
        let (_, parsed) =
            X509Certificate::from_der(&certificate).map_err(|_| "a certificate in it is malformed")?;
        let name = parsed.subject().to_string();
        let refused = |why: &str| format!("the certificate of {name} {why}");
        let constraints = parsed.basic_constraints().map_err(|_| refused("is malformed"))?;
        if !constraints.is_some_and(|constraints| constraints.value.ca) {
            return Err(refused("is not an authority's: its basic constraints do not say CA:TRUE"));
        }
        let usage = parsed.key_usage().map_err(|_| refused("is malformed"))?;
        if usage.is_some_and(|usage| !usage.value.key_cert_sign() || !usage.value.crl_sign()) {
            return Err(refused("may not sign certificates and revocation lists: its key usage needs both"));
        }
        let (subject, not_after) = (parsed.subject().as_raw().to_vec(), last_second(&parsed));
        Ok(Self { subject, name, not_after, issuer: None, certificate })
    }
}

/// Reads the authorities of client certificates, each once.
pub(super) fn read(path: &Path) -> Result<Vec<Authority>, TlsError> {
    let refused = |cause: String| TlsError::new(KEY, path, cause);
    let mut authorities: Vec<Authority> = Vec::new();
    for certificate in certificates(KEY, path)? {
        if !authorities.iter().any(|known| known.certificate == certificate) {
            authorities.push(Authority::new(certificate).map_err(refused)?);
        }
    }
    let issuers: Vec<_> =
        authorities.iter().map(|authority| issuer_of(&authority.certificate, &authorities)).collect();
    for (authority, issuer) in authorities.iter_mut().zip(issuers) {
        authority.issuer = issuer;
    }
    if authorities.iter().all(|authority| authority.issuer.is_some()) {
        return Err(refused("it holds no authority that the others' certificates lead to".to_owned()));
    }
    Ok(authorities)
}

/// Returns the position of the authority that issued a certificate; `None` for a self-issued one, or when it is not
/// configured.
fn issuer_of(certificate: &CertificateDer<'_>, authorities: &[Authority]) -> Option<usize> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    if parsed.issuer().as_raw() == parsed.subject().as_raw() {
        return None;
    }
    let named = |authority: &&(usize, &Authority)| authority.1.subject == parsed.issuer().as_raw();
    let all: Vec<_> = authorities.iter().enumerate().collect();
    let mut candidates = all.iter().filter(named);
    match (candidates.next(), candidates.next()) {
        // Two authorities of one name have different keys.
        (Some(_), Some(_)) => {
            let signed = |(_, authority): &&(usize, &Authority)| {
                X509Certificate::from_der(&authority.certificate)
                    .is_ok_and(|(_, issuer)| parsed.verify_signature(Some(issuer.public_key())).is_ok())
            };
            all.iter().filter(named).find(signed).map(|(at, _)| *at)
        }
        (only, _) => only.map(|(at, _)| *at),
    }
}

/// Returns the positions of the authorities from a leaf's issuer up to its trust anchor.
pub(super) fn path_of(leaf: &CertificateDer<'_>, authorities: &[Authority]) -> Vec<usize> {
    let mut path = Vec::new();
    let mut next = issuer_of(leaf, authorities);
    while let Some(at) = next.filter(|_| path.len() < authorities.len()) {
        path.push(at);
        next = authorities.get(at).and_then(|authority| authority.issuer);
    }
    path
}

/// Returns the last instant at which a certificate is valid; one beyond what can be told never comes.
pub(super) fn last_second(certificate: &X509Certificate<'_>) -> Instant {
    instant(certificate.validity().not_after.timestamp())
}

/// Returns the instant of a certificate's or list's date.
pub(super) fn instant(seconds: i64) -> Instant {
    let micros = seconds.saturating_mul(1_000_000);
    Instant::from_micros(micros).unwrap_or(if micros < 0 { Instant::MIN } else { Instant::MAX })
}
