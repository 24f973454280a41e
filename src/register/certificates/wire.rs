//! Checks of certificates and fingerprints in requests.

use crate::exchange::check::Check;
use crate::identity::{CertificateError, PeerCertificate};
use crate::violation_reason::ViolationReason;

/// Parses a certificate and checks it against the gateway's certificate profile.
pub fn check_certificate(check: &mut Check, field: &'static str, der: &[u8]) -> Option<PeerCertificate> {
    let fault = match PeerCertificate::parse(der) {
        Ok(certificate) => return Some(certificate),
        Err(CertificateError::ReservedSystem) => ViolationReason::SystemReserved,
        Err(_) => ViolationReason::CertificateProfile,
    };
    check.add_violation(field, fault);
    None
}

/// Parses a SHA-256 of 64 lower-case hexadecimal digits.
///
/// # Errors
/// [`ViolationReason::FingerprintFormat`].
pub fn parse_fingerprint(text: &str) -> Result<[u8; 32], ViolationReason> {
    let digits = text.as_bytes();
    if digits.len() != 64 || !digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(ViolationReason::FingerprintFormat);
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| ViolationReason::FingerprintFormat)?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| ViolationReason::FingerprintFormat)?;
    }
    Ok(bytes)
}
