//! Authorities that issue client certificates: trust anchors, and intermediates whose issuer is configured in the same
//! file.

use std::path::Path;

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::files::{TlsError, read_certificates};
use crate::clock::Instant;

/// Configuration key of the authorities' file.
const CLIENT_CA_SETTING: &str = "tls.client_ca";

/// An authority that issues client certificates.
pub(super) struct ClientAuthority {
    pub certificate: CertificateDer<'static>,
    /// Subject, DER.
    pub subject: Vec<u8>,
    /// Subject as text, for messages to the operator.
    pub name: String,
    pub not_after: Instant,
    /// Position of the issuer among the configured authorities; `None` for a trust anchor.
    pub issuer: Option<usize>,
}

impl ClientAuthority {
    fn new(certificate: CertificateDer<'static>) -> Result<Self, String> {
        let (_, parsed) =
            X509Certificate::from_der(&certificate).map_err(|_| "a certificate in it is malformed")?;
        let name = parsed.subject().to_string();
        let refused = |why: &str| format!("the certificate of {name} {why}");
        let constraints = parsed.basic_constraints().map_err(|_| refused("is malformed"))?;
        if !constraints.is_some_and(|constraints| constraints.value.ca) {
            return Err(refused("is not a CA certificate: its basic constraints lack CA:TRUE"));
        }
        let usage = parsed.key_usage().map_err(|_| refused("is malformed"))?;
        if usage.is_some_and(|usage| !usage.value.key_cert_sign() || !usage.value.crl_sign()) {
            return Err(refused("lacks keyCertSign or cRLSign in its key usage"));
        }
        let (subject, not_after) = (parsed.subject().as_raw().to_vec(), last_valid_instant(&parsed));
        Ok(Self { subject, name, not_after, issuer: None, certificate })
    }
}

/// Reads the authorities of client certificates and finds the issuer of each; duplicates are left out.
pub(super) fn load(path: &Path) -> Result<Vec<ClientAuthority>, TlsError> {
    let refused = |cause: String| TlsError::new(CLIENT_CA_SETTING, path, cause);
    let mut authorities: Vec<ClientAuthority> = Vec::new();
    for certificate in read_certificates(CLIENT_CA_SETTING, path)? {
        if !authorities.iter().any(|known| known.certificate == certificate) {
            authorities.push(ClientAuthority::new(certificate).map_err(refused)?);
        }
    }
    let issuers: Vec<_> =
        authorities.iter().map(|authority| find_issuer(&authority.certificate, &authorities)).collect();
    for (authority, issuer) in authorities.iter_mut().zip(issuers) {
        authority.issuer = issuer;
    }
    if authorities.iter().all(|authority| authority.issuer.is_some()) {
        return Err(refused(
            "it holds no trust anchor: each certificate has an issuer in the file".to_owned(),
        ));
    }
    Ok(authorities)
}

/// Returns the position of the authority that issued a certificate; `None` for a self-issued certificate, or if the
/// issuer is not configured.
fn find_issuer(certificate: &CertificateDer<'_>, authorities: &[ClientAuthority]) -> Option<usize> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    if parsed.issuer().as_raw() == parsed.subject().as_raw() {
        return None;
    }
    let named = |authority: &&(usize, &ClientAuthority)| authority.1.subject == parsed.issuer().as_raw();
    let all: Vec<_> = authorities.iter().enumerate().collect();
    let mut candidates = all.iter().filter(named);
    match (candidates.next(), candidates.next()) {
        // Authorities with the same name have different keys.
        (Some(_), Some(_)) => {
            let signed = |(_, authority): &&(usize, &ClientAuthority)| {
                X509Certificate::from_der(&authority.certificate)
                    .is_ok_and(|(_, issuer)| parsed.verify_signature(Some(issuer.public_key())).is_ok())
            };
            all.iter().filter(named).find(signed).map(|(at, _)| *at)
        }
        (only, _) => only.map(|(at, _)| *at),
    }
}

/// Returns the positions of the authorities from a leaf's issuer up to its trust anchor.
pub(super) fn issuer_path(leaf: &CertificateDer<'_>, authorities: &[ClientAuthority]) -> Vec<usize> {
    let mut path = Vec::new();
    let mut next = find_issuer(leaf, authorities);
    while let Some(at) = next.filter(|_| path.len() < authorities.len()) {
        path.push(at);
        next = authorities.get(at).and_then(|authority| authority.issuer);
    }
    path
}

/// Returns the last instant at which a certificate is valid; a date out of range is clamped.
pub(super) fn last_valid_instant(certificate: &X509Certificate<'_>) -> Instant {
    instant_from_seconds(certificate.validity().not_after.timestamp())
}

/// Converts seconds since 1970 UTC, as in certificates and revocation lists, to an instant; clamps values out of range.
pub(super) fn instant_from_seconds(seconds: i64) -> Instant {
    let micros = seconds.saturating_mul(1_000_000);
    Instant::from_micros(micros).unwrap_or(if micros < 0 { Instant::MIN } else { Instant::MAX })
}
