//! Verifies client certificates in the handshake: each trust anchor with the revocation lists of its own tree, so that
//! two authorities of one name do not get in each other's way.
//!
//! An expired list does not refuse the handshake: the caller could not read why. It still refuses who is on it, and
//! each call is refused by [`super::Tls::status`].

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};

use super::authorities::Authority;
use super::revocation::RevocationList;

/// A verifier of client certificates.
#[derive(Debug)]
pub(super) struct Verifier {
    provider: Arc<CryptoProvider>,
    anchors: Vec<Arc<dyn ClientCertVerifier>>,
    intermediates: Vec<CertificateDer<'static>>,
    hints: Vec<DistinguishedName>,
}

impl Verifier {
    /// Makes a verifier from authorities and the lists of each.
    pub(super) fn new(
        provider: &Arc<CryptoProvider>,
        authorities: &[Authority],
        lists: &[Vec<RevocationList>],
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let both = || authorities.iter().zip(lists);
        let below = both().filter(|(authority, _)| authority.issuer.is_some());
        let below: Vec<_> = below.flat_map(|(_, own)| own.iter().map(|list| list.der.clone())).collect();
        let mut anchors: Vec<Arc<dyn ClientCertVerifier>> = Vec::new();
        for (authority, own) in both().filter(|(authority, _)| authority.issuer.is_none()) {
            let mut roots = RootCertStore::empty();
            roots.add(authority.certificate.clone())?;
            let own = own.iter().map(|list| list.der.clone());
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
            anchors.push(verifier.with_crls(own.chain(below.iter().cloned())).build()?);
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

impl ClientCertVerifier for Verifier {
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
                Err(error) if weight(&error) > weight(&refused) => refused = error,
                Err(_) => {}
            }
        }
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

/// Ranks the errors of several anchors: that of the issuer says most.
fn weight(error: &Error) -> u8 {
    match error {
        Error::InvalidCertificate(CertificateError::Revoked) => 3,
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => 0,
        Error::InvalidCertificate(CertificateError::BadSignature) => 1,
        _ => 2,
    }
}
