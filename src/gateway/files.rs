//! The files that a configuration names: keys, database, TLS; and why a node cannot start from them.

use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::clock::{Clock, SystemClock};
use crate::config::{Config, ConfigError};
use crate::identity::{Tls, TlsError, TlsFiles};
use crate::seal::{FileError, KeyRing, LogSigningKey, check_private};
use crate::store::{Fatal, StoreError};
use crate::tlog::{NoteError, Signer};

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file of secrets, or the database's, cannot be used.
    #[error("{key} ({})", path.display())]
    File {
        /// The configuration's key.
        key: &'static str,
        /// The file that it names.
        path: PathBuf,
        /// What is wrong with it.
        source: FileError,
    },
    /// The SQLite file is none.
    #[error("database.sqlite ({}): it is not a SQLite database", .0.display())]
    NotSqlite(PathBuf),
    /// The log's signing key.
    #[error("log.signing_key: it makes no key that can sign")]
    Signer(#[from] NoteError),
    /// The database or the log in it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ring lacks a key that was activated.
    #[error(
        "log.key_ring: it lacks key {0}, which seals already; copy the ring of a node that has it, then start again"
    )]
    KeyMissing(u32),
    /// The schema is not this release's.
    #[error("the database's schema is not this release's; run migrate")]
    Schema,
    /// The log, at the first look.
    #[error(transparent)]
    Log(#[from] Fatal),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The operating system's signals.
    #[error("could not set up signals")]
    Signals(#[source] std::io::Error),
    /// The address.
    #[error("could not listen on {0}")]
    Listen(SocketAddr, #[source] std::io::Error),
}

/// The key with which the log is signed.
///
/// # Errors
/// [`StartError`].
pub fn signer(config: &Config) -> Result<Signer, StartError> {
    let path = &config.log.signing_key;
    let key = LogSigningKey::load(path).map_err(StartError::file("log.signing_key", path))?;
    Ok(Signer::from_seed(key.origin(), key.seed())?.after(key.replaced())?)
}

/// The key ring.
///
/// # Errors
/// [`StartError::File`].
pub fn key_ring(config: &Config) -> Result<KeyRing, StartError> {
    let path = &config.log.key_ring;
    KeyRing::load(path).map_err(StartError::file("log.key_ring", path))
}

impl StartError {
    /// Makes the error of a file that a key of the configuration names.
    pub(crate) fn file(key: &'static str, path: &Path) -> impl FnOnce(FileError) -> Self {
        move |source| Self::File { key, path: path.to_owned(), source }
    }
}

/// Checks that only its owner can read what holds the children's data or the way to it.
///
/// # Errors
/// [`StartError::File`], [`StartError::NotSqlite`].
pub fn check_database_files(config: &Config) -> Result<(), StartError> {
    if let Some(path) = &config.database.postgres_url_file {
        check_private(path).map_err(StartError::file("database.postgres_url_file", path))?;
    }
    let anchor = &config.log.anchor;
    if anchor.metadata().is_ok_and(|anchor| !anchor.is_file()) {
        return Err(StartError::file("log.anchor", anchor)(FileError::NotPlain));
    }
    let Some(path) = &config.database.sqlite else { return Ok(()) };
    check_private(path).map_err(StartError::file("database.sqlite", path))?;
    let mut head = [0; 16];
    let read = std::fs::File::open(path).and_then(|file| file.read_at(&mut head, 0));
    if read.is_ok_and(|read| read > 0 && head != *b"SQLite format 3\0") {
        return Err(StartError::NotSqlite(path.clone()));
    }
    for beside in ["-wal", "-shm"] {
        let mut name = path.clone().into_os_string();
        name.push(beside);
        let name = PathBuf::from(name);
        if name.exists() {
            check_private(&name).map_err(StartError::file("database.sqlite", &name))?;
        }
    }
    Ok(())
}

/// The TLS that a configuration names.
///
/// # Errors
/// [`StartError::Tls`].
pub fn tls(config: &Config) -> Result<Arc<Tls>, StartError> {
    let files = TlsFiles {
        certificate: config.tls.certificate.clone(),
        key: config.tls.key.clone(),
        client_ca: config.tls.client_ca.clone(),
        crls: config.tls.crls.clone(),
    };
    Ok(Arc::new(Tls::load(files, &config.trust_domain, SystemClock.now())?))
}
