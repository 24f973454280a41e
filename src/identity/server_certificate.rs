//! The server's own certificate and key, checked when they are loaded: callers would refuse an expired or nameless one.

use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::authorities::{instant, last_second};
use super::files::{TlsError, TlsFiles, certificates, contents, lacking, malformed};
use crate::clock::Instant;
use crate::seal::check_private;

/// Key of the certificate in the configuration.
pub(super) const CERTIFICATE: &str = "tls.certificate";
/// Key of its private key in the configuration.
pub(super) const KEY: &str = "tls.key";

/// Reads the server's certificate chain, which is in date and names a host.
pub(super) fn chain(files: &TlsFiles, now: Instant) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain = certificates(CERTIFICATE, &files.certificate)?;
    for (at, certificate) in chain.iter().enumerate() {
        let checked = check(certificate, at == 0, now);
        checked.map_err(|cause| TlsError::new(CERTIFICATE, &files.certificate, cause))?;
    }
    Ok(chain)
}

fn check(certificate: &CertificateDer<'_>, is_leaf: bool, now: Instant) -> Result<(), String> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|_| "a certificate in it is malformed")?;
    let (from, to) = (instant(parsed.validity().not_before.timestamp()), last_second(&parsed));
    let which = if is_leaf { "the certificate" } else { "an intermediate certificate" };
    if now < from {
        return Err(format!("{which} is not valid before {from}"));
    }
    if now > to {
        return Err(format!("{which} expired at {to}"));
    }
    if !is_leaf {
        return Ok(());
    }
    let names =
        parsed.subject_alternative_name().map_err(|_| "its subject alternative names are malformed")?;
    let mut names = names.iter().flat_map(|names| &names.value.general_names);
    if !names.any(|name| matches!(name, GeneralName::DNSName(_) | GeneralName::IPAddress(_))) {
        return Err("the certificate names no host: it needs a DNS or IP subject alternative name".to_owned());
    }
    let usage = parsed.extended_key_usage().map_err(|_| "its extended key usage is malformed")?;
    if usage.is_some_and(|usage| !usage.value.server_auth && !usage.value.any) {
        return Err("the certificate is not for servers: its extended key usage lacks serverAuth".to_owned());
    }
    Ok(())
}

/// Returns the dates between which a certificate is valid.
pub(super) fn validity(certificate: &CertificateDer<'_>) -> Option<(Instant, Instant)> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some((instant(parsed.validity().not_before.timestamp()), last_second(&parsed)))
}

/// Reads the server's private key, which nobody but its owner can read.
pub(super) fn key(files: &TlsFiles) -> Result<PrivateKeyDer<'static>, TlsError> {
    let refused = |cause: String| TlsError::new(KEY, &files.key, cause);
    let bytes = zeroize::Zeroizing::new(contents(KEY, &files.key)?);
    check_private(&files.key).map_err(|error| refused(error.to_string()))?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| {
        refused(match error {
            PemError::NoItemsFound => lacking(&bytes, "PRIVATE KEY"),
            error => malformed(&error).to_owned(),
        })
    })
}
