//! Verifier of client certificates in the TLS handshake. Each trust anchor is tried with its own revocation lists and
//! those of all intermediates, so that two anchors with the same name do not interfere with each other.
//!
//! An expired list does not refuse the handshake, because the caller could not read the reason. A certificate on an
//! expired list is still refused, and [`super::Tls::status`] refuses each call.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};

use super::authorities::ClientAuthority;
use super::certificate_summary::note_refused;
use super::revocation::RevocationList;

/// A verifier of client certificates over several trust anchors.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    provider: Arc<CryptoProvider>,
    anchors: Vec<Arc<dyn ClientCertVerifier>>,
    intermediates: Vec<CertificateDer<'static>>,
    hints: Vec<DistinguishedName>,
}

impl ClientVerifier {
    /// Builds a verifier from authorities and the revocation lists of each.
    pub(super) fn new(
        provider: &Arc<CryptoProvider>,
        authorities: &[ClientAuthority],
        lists: &[Vec<RevocationList>],
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let with_lists = || authorities.iter().zip(lists);
        let intermediates = with_lists().filter(|(authority, _)| authority.issuer.is_some());
        let intermediate_crls: Vec<_> =
            intermediates.flat_map(|(_, lists)| lists.iter().map(|list| list.der.clone())).collect();
        let mut anchors: Vec<Arc<dyn ClientCertVerifier>> = Vec::new();
        for (authority, lists) in with_lists().filter(|(authority, _)| authority.issuer.is_none()) {
            let mut roots = RootCertStore::empty();
            roots.add(authority.certificate.clone())?;
            let crls = lists.iter().map(|list| list.der.clone());
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
            anchors.push(verifier.with_crls(crls.chain(intermediate_crls.iter().cloned())).build()?);
        }
        let intermediates = authorities.iter().filter(|authority| authority.issuer.is_some());
        Ok(Self {
            provider: Arc::clone(provider),
            anchors,
            intermediates: intermediates.map(|authority| authority.certificate.clone()).collect(),
            hints: authorities
                .iter()
                .map(|authority| DistinguishedName::from(authority.subject.clone()))
                .collect(),
        })
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let sent = intermediates.iter().map(|certificate| CertificateDer::from(certificate.as_ref()));
        let all: Vec<_> = sent.chain(self.intermediates.iter().cloned()).collect();
        let mut refused = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        for anchor in &self.anchors {
            match anchor.verify_client_cert(end_entity, &all, now) {
                Ok(verified) => return Ok(verified),
                Err(error) if error_rank(&error) > error_rank(&refused) => refused = error,
                Err(_) => {}
            }
        }
        note_refused(end_entity);
        Err(refused)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Ranks the errors of several anchors; the highest, usually that of the certificate's issuer, is returned.
fn error_rank(error: &Error) -> u8 {
    match error {
        Error::InvalidCertificate(CertificateError::Revoked) => 3,
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => 0,
        Error::InvalidCertificate(CertificateError::BadSignature) => 1,
        _ => 2,
    }
}
