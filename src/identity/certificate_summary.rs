//! Summary of a certificate for the operator's log, also of one that was refused.

use std::cell::RefCell;

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

tokio::task_local! {
    /// The certificate that a handshake refused. rustls does not return it with its error.
    static REFUSED: RefCell<Option<CertificateSummary>>;
}

/// What an operator needs to find a certificate. The texts are the certificate's own and may be hostile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateSummary {
    /// Common name of the issuer, or its whole name if it has none.
    pub issuer: String,
    /// Serial number, hexadecimal.
    pub serial: String,
    /// First URI among the subject alternative names.
    pub uri: Option<String>,
}

impl CertificateSummary {
    /// Reads a certificate in DER; returns `None` if it is malformed.
    #[must_use]
    pub fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let issuer = certificate.issuer();
        let common_name = issuer.iter_common_name().next().and_then(|name| name.as_str().ok());
        let mut extensions = certificate.extensions().iter();
        let uri = extensions.find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => {
                names.general_names.iter().find_map(|name| match name {
                    GeneralName::URI(uri) => Some((*uri).to_owned()),
                    _ => None,
                })
            }
            _ => None,
        });
        Some(Self {
            issuer: common_name.map_or_else(|| issuer.to_string(), str::to_owned),
            serial: format!("{:x}", certificate.serial),
            uri,
        })
    }
}

/// Runs a handshake; returns its output, and the summary of the client certificate if its verification failed.
pub async fn with_refused_certificate<F: Future>(handshake: F) -> (F::Output, Option<CertificateSummary>) {
    let observed = async {
        let output = handshake.await;
        (output, REFUSED.try_with(RefCell::take).ok().flatten())
    };
    REFUSED.scope(RefCell::default(), observed).await
}

/// Notes a certificate whose verification failed for [`with_refused_certificate`].
pub(super) fn note_refused(certificate: &CertificateDer<'_>) {
    // Outside a handshake nobody asks for it.
    REFUSED.try_with(|refused| refused.replace(CertificateSummary::read(certificate))).ok();
}
