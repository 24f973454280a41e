//! The server's certificate and key. They are checked when they are loaded, because callers would refuse an expired
//! certificate or one without a host name.

use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::authorities::{instant_from_seconds, last_valid_instant};
use super::files::{TlsError, TlsFiles, missing_block_cause, pem_error_cause, read_certificates, read_file};
use crate::clock::Instant;
use crate::seal::ensure_private;

/// Configuration key of the certificate's file.
pub(super) const CERTIFICATE_SETTING: &str = "tls.certificate";
/// Configuration key of the private key's file.
pub(super) const KEY_SETTING: &str = "tls.key";

/// Reads the server's certificate chain; checks that it is in date and that the leaf names a host.
pub(super) fn load_chain(files: &TlsFiles, now: Instant) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain = read_certificates(CERTIFICATE_SETTING, &files.certificate)?;
    for (at, certificate) in chain.iter().enumerate() {
        let checked = check_certificate(certificate, at == 0, now);
        checked.map_err(|cause| TlsError::new(CERTIFICATE_SETTING, &files.certificate, cause))?;
    }
    Ok(chain)
}

fn check_certificate(certificate: &CertificateDer<'_>, is_leaf: bool, now: Instant) -> Result<(), String> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|_| "a certificate in it is malformed")?;
    let (from, to) =
        (instant_from_seconds(parsed.validity().not_before.timestamp()), last_valid_instant(&parsed));
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

/// Returns the first and the last instant at which a certificate is valid.
pub(super) fn validity(certificate: &CertificateDer<'_>) -> Option<(Instant, Instant)> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some((instant_from_seconds(parsed.validity().not_before.timestamp()), last_valid_instant(&parsed)))
}

/// Reads the server's private key; refuses a file that others than its owner can read.
pub(super) fn load_key(files: &TlsFiles) -> Result<PrivateKeyDer<'static>, TlsError> {
    let refused = |cause: String| TlsError::new(KEY_SETTING, &files.key, cause);
    let bytes = zeroize::Zeroizing::new(read_file(KEY_SETTING, &files.key)?);
    ensure_private(&files.key).map_err(|error| refused(error.to_string()))?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| {
        refused(match error {
            PemError::NoItemsFound => missing_block_cause(&bytes, "PRIVATE KEY"),
            error => pem_error_cause(&error).to_owned(),
        })
    })
}
