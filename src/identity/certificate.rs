//! A client certificate as we read it. The organisation and the system are in its one URI SAN, in SPIFFE
//! form; the subject's names say nothing here.

use std::fmt;
use std::sync::Arc;

use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

use crate::clock::Instant;
use crate::codes::organisation::{OrganisationId, System};
use crate::tlog::Hash;

/// Longest certificate that is read, in bytes.
const LONGEST: usize = 16 * 1024;
/// Most subject alternative names that are looked at.
const NAMES: usize = 16;

/// The system that the log names for what the gateway did by itself; no certificate may name it.
pub const GATEWAY_SYSTEM: &str = "gateway";

/// Why a certificate is not one of ours. None of them tells of anything but the certificate itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It is not an X.509 certificate, or too long.
    #[error("not an X.509 certificate of at most 16 KiB")]
    Malformed,
    /// It has not exactly one URI SAN, or too many names.
    #[error("the certificate does not have exactly one URI name")]
    Uri,
    /// The URI is not `spiffe://<trust domain>/<kind>/<id>/<system>`.
    #[error("the certificate's URI is not spiffe://<trust domain>/<kind>/<id>/<system>")]
    Spiffe,
    /// The URI names the gateway's own system.
    #[error("the certificate's URI names the system `gateway`, which is the gateway's own")]
    ReservedSystem,
    /// It is not for client authentication.
    #[error("the certificate is not for TLS client authentication")]
    Usage,
}

/// A client certificate that was verified, or is being registered.
#[derive(Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    organisation: OrganisationId,
    system: System,
    trust_domain: String,
    fingerprint: [u8; 32],
    der: Arc<[u8]>,
    not_before: Instant,
    not_after: Instant,
}

impl PeerCertificate {
    /// Reads a certificate in DER. Its chain is somebody else's to verify.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn parse(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > LONGEST {
            return Err(CertificateError::Malformed);
        }
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| CertificateError::Malformed)?;
        if !rest.is_empty() {
            return Err(CertificateError::Malformed);
        }
        let usage = certificate.extended_key_usage().map_err(|_| CertificateError::Malformed)?;
        if !usage.is_some_and(|usage| usage.value.client_auth) {
            return Err(CertificateError::Usage);
        }
        let uri = uri(&certificate)?;
        let trust_domain = uri.strip_prefix("spiffe://").and_then(|rest| rest.split('/').next());
        let trust_domain = trust_domain.ok_or(CertificateError::Spiffe)?.to_owned();
        let (organisation, system) =
            OrganisationId::from_spiffe(uri, &trust_domain).map_err(|_| CertificateError::Spiffe)?;
        if system.as_str() == GATEWAY_SYSTEM {
            return Err(CertificateError::ReservedSystem);
        }
        let validity = certificate.validity();
        let instant = |seconds: i64| {
            Instant::from_micros(seconds.saturating_mul(1_000_000)).map_err(|_| CertificateError::Malformed)
        };
        Ok(Self {
            organisation,
            system,
            trust_domain,
            fingerprint: fingerprint(der),
            der: der.into(),
            not_before: instant(validity.not_before.timestamp())?,
            not_after: instant(validity.not_after.timestamp())?,
        })
    }

    /// The organisation that it names.
    #[must_use]
    pub fn organisation(&self) -> &OrganisationId {
        &self.organisation
    }

    /// The organisation's system that it names.
    #[must_use]
    pub fn system(&self) -> &str {
        self.system.as_str()
    }

    /// The SPIFFE trust domain that it names.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// SHA-256 of its DER.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// The certificate itself, DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The instant from which it is valid.
    #[must_use]
    pub fn not_before(&self) -> Instant {
        self.not_before
    }

    /// The last instant at which it is valid.
    #[must_use]
    pub fn not_after(&self) -> Instant {
        self.not_after
    }
}

impl fmt::Debug for PeerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerCertificate({} {} {})", self.organisation, self.system(), Hash::from(self.fingerprint))
    }
}

/// The one URI among its alternative names.
fn uri<'a>(certificate: &'a X509Certificate<'_>) -> Result<&'a str, CertificateError> {
    let mut found = None;
    for extension in certificate.extensions() {
        let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() else {
            continue;
        };
        if names.general_names.len() > NAMES {
            return Err(CertificateError::Uri);
        }
        for name in &names.general_names {
            if let GeneralName::URI(uri) = name
                && found.replace(*uri).is_some()
            {
                return Err(CertificateError::Uri);
            }
        }
    }
    found.ok_or(CertificateError::Uri)
}

fn fingerprint(der: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
    let mut bytes = [0; 32];
    for (byte, digested) in bytes.iter_mut().zip(digest.as_ref()) {
        *byte = *digested;
    }
    bytes
}
