//! Identity of callers: organisation and system from a verified client certificate, the TLS configuration that verifies
//! it, and the tokens of the persons for whom a system calls.

mod authorities;
mod certificate;
mod certificate_summary;
mod files;
#[cfg(feature = "world")]
pub mod pki;
mod revocation;
mod server_certificate;
mod tls;
mod token;
mod token_key;
mod verifier;

pub use certificate::{CertificateError, GATEWAY_SYSTEM, PeerCertificate};
pub use certificate_summary::{CertificateSummary, with_refused_certificate};
pub use files::{TlsError, TlsFiles};
pub use revocation::CrlState;
pub use tls::{CertificateStatus, IssuerReport, Tls};
pub use token::{Claims, Expected, MAX_ID_CHARS, MAX_NAME_CHARS, MAX_TOKEN_BYTES, UnverifiedToken};
pub use token_key::{InvalidToken, JwkError, MAX_JWK_BYTES, TokenAlgorithm, TokenKey};
