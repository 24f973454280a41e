//! Files that a configuration names (keys, database, TLS), and the errors that prevent a node's start.

use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::clock::{Clock, SystemClock};
use crate::config::{Config, ConfigError, DatabaseConfig};
use crate::identity::{Tls, TlsError, TlsFiles};
use crate::metrics::MetricsError;
use crate::oversight::RuleBook;
use crate::oversight::rule_book::RuleBookFault;
use crate::placements::children::probe_wrapped_keys;
use crate::seal::{CommitmentKey, KeyRing, LogSigningKey, SecretFileError, ensure_private, ensure_writable};
use crate::server::{ManagementAddress, TooFewDescriptors};
use crate::store::key_ring_check::{SealedValueProbe, activated_key_mismatch, probe_entries};
use crate::store::{Database, EntryMismatch, FatalError, KeyRingMismatch, SchemaMismatch, StoreError};
use crate::tlog::{LogKeyHistoryError, NoteError, Signer};

/// Maximum size of a file of settings, in bytes.
const MAX_SETTINGS_BYTES: u64 = 1 << 20;

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A secret file, or a database file, cannot be used.
    #[error("{key} ({})", path.display())]
    File {
        /// The key in the configuration.
        key: &'static str,
        /// The file that it names.
        path: PathBuf,
        /// The defect of the file.
        source: SecretFileError,
    },
    /// The rules of oversight have a fault.
    #[error("oversight.rules ({}) line {line}: {what}", path.display())]
    Rules {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key and its fault.
        what: String,
    },
    /// The file is not a SQLite database.
    #[error("database.sqlite ({}): it is not a SQLite database", .0.display())]
    NotSqlite(PathBuf),
    /// The log's signing key is unusable.
    #[error("log.signing_key: the file does not contain a usable signing key")]
    Signer(#[from] NoteError),
    /// The database is not one that a gateway can use.
    #[error("{key} ({}): {cause}", path.display())]
    Database {
        /// The key in the configuration.
        key: &'static str,
        /// The file that it names.
        path: PathBuf,
        /// What is wrong with the database.
        cause: String,
    },
    /// The disk of the database is full, or failed.
    #[error("{key} ({})", path.display())]
    DatabaseDisk {
        /// The key in the configuration.
        key: &'static str,
        /// The file that it names.
        path: PathBuf,
        /// The error of the database.
        source: StoreError,
    },
    /// The database, or the log in it, cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key ring is not the one of the database.
    #[error("log.key_ring ({}): {mismatch}", path.display())]
    KeyRing {
        /// The key ring.
        path: PathBuf,
        /// The key that it lacks.
        mismatch: KeyRingMismatch,
    },
    /// A checkpoint is not one of this log.
    #[error("it is no checkpoint of this log, or it was changed")]
    Checkpoint(#[source] LogKeyHistoryError),
    /// The newest entry is of an unknown format, or was made with another commitment key.
    #[error(transparent)]
    Entries(#[from] EntryMismatch),
    /// This release does not serve the schema.
    #[error(transparent)]
    Schema(#[from] SchemaMismatch),
    /// The first read of the log failed.
    #[error(transparent)]
    Log(#[from] FatalError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The process may have too few file descriptors.
    #[error(transparent)]
    Descriptors(#[from] TooFewDescriptors),
    /// Signal handlers cannot be installed.
    #[error("could not set up signals")]
    Signals(#[source] std::io::Error),
    /// A metric is declared wrongly.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The management listener cannot be opened.
    #[error("management.listen: could not listen on {0}")]
    Management(ManagementAddress, #[source] std::io::Error),
    /// The address cannot be listened on.
    #[error("could not listen on {0}")]
    Listen(SocketAddr, #[source] std::io::Error),
}

/// Loads the key that signs the log.
///
/// # Errors
/// [`StartError`].
pub fn signer(config: &Config) -> Result<Signer, StartError> {
    let path = &config.log.signing_key;
    let key = LogSigningKey::load(path).map_err(StartError::file("log.signing_key", path))?;
    Ok(Signer::from_seed(key.origin(), key.seed())?.with_replaced_logs(key.replaced_keys())?)
}

/// Loads the key ring.
///
/// # Errors
/// [`StartError::File`].
pub fn key_ring(config: &Config) -> Result<KeyRing, StartError> {
    let path = &config.log.key_ring;
    KeyRing::load(path).map_err(StartError::file("log.key_ring", path))
}

/// Checks that a key ring is the one of a database: that it has every activated key, and that each of its keys opens
/// what was sealed under its id.
///
/// # Errors
/// [`StartError::KeyRing`], [`StartError::Store`].
pub async fn check_key_ring(config: &Config, database: &Database, ring: &KeyRing) -> Result<(), StartError> {
    let mut mismatch = activated_key_mismatch(database, ring).await?;
    if mismatch.is_none() {
        let mut probe = SealedValueProbe::new(ring);
        probe_entries(database, &mut probe).await?;
        probe_wrapped_keys(database, &mut probe).await?;
        mismatch = probe.mismatch();
    }
    let path = config.log.key_ring.clone();
    mismatch.map_or(Ok(()), |mismatch| Err(StartError::KeyRing { path, mismatch }))
}

/// Loads the commitment key.
///
/// # Errors
/// [`StartError::File`].
pub fn commitment_key(config: &Config) -> Result<CommitmentKey, StartError> {
    let path = &config.log.commitment_key;
    CommitmentKey::load(path).map_err(StartError::file("log.commitment_key", path))
}

impl StartError {
    /// Converts an error of the configured database; what the configuration must change is named by its key.
    pub(crate) fn database(config: &Config) -> impl FnOnce(StoreError) -> Self {
        let DatabaseConfig { sqlite, postgres_url_file, .. } = &config.database;
        let sqlite = sqlite.as_ref().map(|path| ("database.sqlite", path));
        let named = sqlite.or(postgres_url_file.as_ref().map(|path| ("database.postgres_url_file", path)));
        let named = named.map(|(key, path)| (key, path.clone()));
        move |error| match (error, named) {
            (StoreError::Unusable(cause), Some((key, path))) => Self::Database { key, path, cause },
            (source @ (StoreError::Full(_) | StoreError::Disk(_)), Some((key, path))) => {
                Self::DatabaseDisk { key, path, source }
            }
            (error, _) => Self::Store(error),
        }
    }

    /// Converts an error of the file that a key of the configuration names.
    pub(crate) fn file(key: &'static str, path: &Path) -> impl FnOnce(SecretFileError) -> Self {
        move |source| Self::File { key, path: path.to_owned(), source }
    }
}

/// Returns whether a file holds something that is not a SQLite database. An empty file is an empty database.
#[must_use]
pub fn is_other_than_sqlite(path: &Path) -> bool {
    let mut head = [0; 16];
    let read = std::fs::File::open(path).and_then(|file| file.read_at(&mut head, 0));
    read.is_ok_and(|read| read > 0 && head != *b"SQLite format 3\0")
}

/// Checks that the files with the children's data, or with access to it, are readable by their owner only.
///
/// # Errors
/// [`StartError::File`], [`StartError::NotSqlite`].
pub fn check_database_files(config: &Config) -> Result<(), StartError> {
    if let Some(path) = &config.database.postgres_url_file {
        ensure_private(path).map_err(StartError::file("database.postgres_url_file", path))?;
    }
    let anchor = &config.log.anchor;
    if anchor.metadata().is_ok_and(|anchor| !anchor.is_file()) {
        return Err(StartError::file("log.anchor", anchor)(SecretFileError::NotRegularFile));
    }
    let Some(path) = &config.database.sqlite else { return Ok(()) };
    ensure_private(path).map_err(StartError::file("database.sqlite", path))?;
    ensure_writable(path).map_err(StartError::file("database.sqlite", path))?;
    if is_other_than_sqlite(path) {
        return Err(StartError::NotSqlite(path.clone()));
    }
    for suffix in ["-wal", "-shm"] {
        let mut name = path.clone().into_os_string();
        name.push(suffix);
        let name = PathBuf::from(name);
        if name.exists() {
            ensure_private(&name).map_err(StartError::file("database.sqlite", &name))?;
            ensure_writable(&name).map_err(StartError::file("database.sqlite", &name))?;
        }
    }
    Ok(())
}

/// Loads the TLS files that a configuration names.
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

/// Reads the rules of oversight: the embedded ones, with what the configured file replaces.
///
/// # Errors
/// [`StartError::File`]; [`StartError::Rules`] for a fault of the text.
pub fn rule_book(config: &Config) -> Result<Arc<RuleBook>, StartError> {
    let Some(path) = &config.oversight.rules else { return Ok(RuleBook::embedded()) };
    let text = read_settings(path).map_err(StartError::file("oversight.rules", path))?;
    let faulty = |RuleBookFault { line, what }| StartError::Rules { path: path.clone(), line, what };
    RuleBook::with_overrides(&text).map_err(faulty)
}

/// Reads the text of a file of settings, which is no secret. The kind of the file is checked before it is opened, because
/// opening a named pipe would block.
fn read_settings(path: &Path) -> Result<String, SecretFileError> {
    let unreadable = |cause| SecretFileError::Io { doing: "read it", cause };
    if !path.metadata().map_err(unreadable)?.is_file() {
        return Err(SecretFileError::NotRegularFile);
    }
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut text = String::new();
    let read = file.take(MAX_SETTINGS_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
    if u64::try_from(read).is_ok_and(|read| read > MAX_SETTINGS_BYTES) {
        return Err(SecretFileError::Invalid("longer than 1 MiB"));
    }
    Ok(text)
}
