//! The TLS files as they are read from disk, and the one kind of error that names the configuration's key, the
//! path and the cause.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{Error as PemError, PemObject};

/// Largest TLS file that is read, in bytes. Revocation lists are the large ones.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// The files of the listener's TLS.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// PEM: the server's certificate, then its intermediates.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
    /// PEM: CAs of client certificates.
    pub client_ca: PathBuf,
    /// PEM or DER: a revocation list an issuer.
    pub crls: Vec<PathBuf>,
}

/// Why a set of files cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{key} ({}): {cause}", path.display())]
pub struct TlsError {
    key: &'static str,
    path: PathBuf,
    cause: String,
}

impl TlsError {
    pub(super) fn new(key: &'static str, path: &Path, cause: impl std::fmt::Display) -> Self {
        Self { key, path: path.to_owned(), cause: cause.to_string() }
    }
}

/// When a file was last changed, and its length.
pub(super) type Stamp = Option<(SystemTime, u64)>;

/// Returns the stamp of each file, in a fixed order.
pub(super) fn stamps(files: &TlsFiles) -> Vec<Stamp> {
    let paths = [&files.certificate, &files.key, &files.client_ca].into_iter().chain(&files.crls);
    paths
        .map(|path| {
            let metadata = path.metadata().ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        })
        .collect()
}

/// Reads a whole plain file.
pub(super) fn contents(key: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    let refused = |cause: &dyn std::fmt::Display| TlsError::new(key, path, cause);
    // A named pipe would block when it is opened.
    let metadata = path.metadata().map_err(|error| refused(&error))?;
    if !metadata.is_file() {
        return Err(refused(&"it is not a plain file"));
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(refused(&"it is larger than 64 MiB"));
    }
    std::fs::read(path).map_err(|error| refused(&error))
}

/// Reads the certificates of a PEM file, at least one.
pub(super) fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = contents(key, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let found = found.map_err(|error| TlsError::new(key, path, malformed(&error)))?;
    if found.is_empty() {
        return Err(TlsError::new(key, path, lacking(&bytes, "CERTIFICATE")));
    }
    Ok(found)
}

/// Says why PEM was not understood, without the bytes themselves: they may be a key's.
pub(super) fn malformed(error: &PemError) -> &'static str {
    match error {
        PemError::MissingSectionEnd { .. } => "a PEM block in it has no end",
        PemError::IllegalSectionStart { .. } => "a PEM block in it has a malformed first line",
        PemError::Base64Decode(_) => "a PEM block in it is not base64",
        _ => "it is not PEM",
    }
}

/// Says what is missing from a file without a PEM block of a kind.
pub(super) fn lacking(bytes: &[u8], kind: &str) -> String {
    if bytes.is_empty() {
        "it is empty".to_owned()
    } else if bytes.windows(11).any(|window| window == b"-----BEGIN ") {
        format!("it holds no PEM block {kind}")
    } else {
        format!("it is not PEM: a block {kind} is needed")
    }
}
