//! Reads of the TLS files from disk, and their error, which names the configuration key, the path and the cause.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{Error as PemError, PemObject};

/// Maximum size of a TLS file, in bytes. Revocation lists are the large ones.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// The paths of the listener's TLS files.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The server's certificate, then its intermediates; PEM.
    pub certificate: PathBuf,
    /// The server's private key; PEM.
    pub key: PathBuf,
    /// CAs of client certificates; PEM.
    pub client_ca: PathBuf,
    /// At least one revocation list per CA; PEM or DER.
    pub crls: Vec<PathBuf>,
}

/// The error of a TLS file that cannot be used.
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

/// The time of a file's last change and its length, by which a change is detected; `None` if it cannot be read.
pub(super) type FileStamp = Option<(SystemTime, u64)>;

/// Returns the stamp of each file, in a fixed order.
pub(super) fn file_stamps(files: &TlsFiles) -> Vec<FileStamp> {
    let paths = [&files.certificate, &files.key, &files.client_ca].into_iter().chain(&files.crls);
    paths
        .map(|path| {
            let metadata = path.metadata().ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        })
        .collect()
}

/// Reads a regular file.
pub(super) fn read_file(key: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    let refused = |cause: &dyn std::fmt::Display| TlsError::new(key, path, cause);
    // Opening a named pipe would block.
    let metadata = path.metadata().map_err(|error| refused(&error))?;
    if !metadata.is_file() {
        return Err(refused(&"it is not a regular file"));
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(refused(&"it is larger than 64 MiB"));
    }
    std::fs::read(path).map_err(|error| refused(&error))
}

/// Reads the certificates of a PEM file, at least one.
pub(super) fn read_certificates(
    key: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read_file(key, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let found = found.map_err(|error| TlsError::new(key, path, pem_error_cause(&error)))?;
    if found.is_empty() {
        return Err(TlsError::new(key, path, missing_block_cause(&bytes, "CERTIFICATE")));
    }
    Ok(found)
}

/// Returns the cause of a PEM error, without the bytes themselves, because they may be a private key.
pub(super) fn pem_error_cause(error: &PemError) -> &'static str {
    match error {
        PemError::MissingSectionEnd { .. } => "a PEM block in it has no end",
        PemError::IllegalSectionStart { .. } => "a PEM block in it has a malformed first line",
        PemError::Base64Decode(_) => "a PEM block in it is not base64",
        _ => "it is not PEM",
    }
}

/// Returns the cause of the error of a file that has no PEM block of a kind.
pub(super) fn missing_block_cause(bytes: &[u8], kind: &str) -> String {
    if bytes.is_empty() {
        "it is empty".to_owned()
    } else if bytes.windows(11).any(|window| window == b"-----BEGIN ") {
        format!("it holds no PEM block {kind}")
    } else {
        format!("it is not PEM: a PEM block {kind} is required")
    }
}
