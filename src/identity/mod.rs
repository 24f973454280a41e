//! Who is on the other end of a connection: organisation and system from a verified client certificate,
//! and the TLS that verifies it.

mod certificate;
pub mod pki;
mod tls;

pub use certificate::{CertificateError, PeerCertificate};
pub use tls::{Tls, TlsError, TlsFiles};
