//! Client certificates. Organisation and system are read from the only URI subject alternative name (SAN), in SPIFFE
//! form; the subject's names are ignored.

use std::fmt;
use std::sync::Arc;

use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

use crate::clock::Instant;
use crate::codes::organisation::{OrganisationId, SystemName};
use crate::tlog::Hash;

/// Maximum length of a certificate, in bytes.
const MAX_CERTIFICATE_BYTES: usize = 16 * 1024;
/// Maximum number of subject alternative names of a certificate.
const MAX_ALTERNATIVE_NAMES: usize = 16;

/// The system name of exchanges that the gateway submits itself; no certificate may have it.
pub const GATEWAY_SYSTEM: &str = "gateway";

/// The error of a certificate that is no client certificate of the gateway. It describes only the certificate itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The bytes are not an X.509 certificate, or are too long.
    #[error("not an X.509 certificate of at most 16 KiB")]
    Malformed,
    /// The certificate does not have exactly one URI SAN, or has too many names.
    #[error("the certificate does not have exactly one URI subject alternative name")]
    NotOneUri,
    /// The URI is not `spiffe://<trust domain>/<kind>/<id>/<system>`.
    #[error("the certificate's URI is not spiffe://<trust domain>/<kind>/<id>/<system>")]
    NotSpiffe,
    /// The URI names the gateway's own system.
    #[error("the certificate's URI names the system `gateway`, which is reserved for the gateway itself")]
    ReservedSystem,
    /// The extended key usage lacks clientAuth.
    #[error("the certificate is not for TLS client authentication")]
    NotClientAuth,
}

/// A client certificate that was verified, or is being registered.
#[derive(Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    organisation: OrganisationId,
    system: SystemName,
    trust_domain: String,
    fingerprint: [u8; 32],
    der: Arc<[u8]>,
    not_before: Instant,
    not_after: Instant,
}

impl PeerCertificate {
    /// Parses a certificate in DER. The chain is not verified here.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn parse(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > MAX_CERTIFICATE_BYTES {
            return Err(CertificateError::Malformed);
        }
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| CertificateError::Malformed)?;
        if !rest.is_empty() {
            return Err(CertificateError::Malformed);
        }
        let usage = certificate.extended_key_usage().map_err(|_| CertificateError::Malformed)?;
        if !usage.is_some_and(|usage| usage.value.client_auth) {
            return Err(CertificateError::NotClientAuth);
        }
        let uri = uri(&certificate)?;
        let trust_domain = uri.strip_prefix("spiffe://").and_then(|rest| rest.split('/').next());
        let trust_domain = trust_domain.ok_or(CertificateError::NotSpiffe)?.to_owned();
        let (organisation, system) =
            OrganisationId::from_spiffe(uri, &trust_domain).map_err(|_| CertificateError::NotSpiffe)?;
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

    /// Returns the organisation that the certificate names.
    #[must_use]
    pub fn organisation(&self) -> &OrganisationId {
        &self.organisation
    }

    /// Returns the organisation's system that the certificate names.
    #[must_use]
    pub fn system(&self) -> &str {
        self.system.as_str()
    }

    /// Returns the SPIFFE trust domain that the certificate names.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// Returns the SHA-256 of the certificate's DER.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// Returns the certificate, DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Returns the instant from which the certificate is valid.
    #[must_use]
    pub fn not_before(&self) -> Instant {
        self.not_before
    }

    /// Returns the last instant at which the certificate is valid.
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

/// Returns the only URI among the subject alternative names.
fn uri<'a>(certificate: &'a X509Certificate<'_>) -> Result<&'a str, CertificateError> {
    let mut found = None;
    for extension in certificate.extensions() {
        let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() else {
            continue;
        };
        if names.general_names.len() > MAX_ALTERNATIVE_NAMES {
            return Err(CertificateError::NotOneUri);
        }
        for name in &names.general_names {
            if let GeneralName::URI(uri) = name
                && found.replace(*uri).is_some()
            {
                return Err(CertificateError::NotOneUri);
            }
        }
    }
    found.ok_or(CertificateError::NotOneUri)
}

fn fingerprint(der: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
    let mut bytes = [0; 32];
    for (byte, digested) in bytes.iter_mut().zip(digest.as_ref()) {
        *byte = *digested;
    }
    bytes
}
