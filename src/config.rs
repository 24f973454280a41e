//! The configuration of a node. This struct is the manual: every key, its unit, its default. Secrets are
//! paths to files, never values. `deploy/gateway.toml` holds every key and is parsed by a test.

mod text;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::exchange::ExchangeLimits;
use crate::store::{Location, ReadLimits};

/// `gateway.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the gateway listens, `host:port`. Port 0 takes a free one, which `READY` then names.
    pub listen: SocketAddr,
    /// The SPIFFE trust domain of client certificates: `spiffe://<trust_domain>/<kind>/<id>/<system>`.
    pub trust_domain: String,
    /// TLS of the listener.
    pub tls: Tls,
    /// The database.
    pub database: Database,
    /// The log and the keys.
    pub log: Log,
    /// Limits on callers.
    #[serde(default)]
    pub limits: Limits,
    /// Whether gRPC reflection is served. Off by default: it tells a stranger what may be called.
    #[serde(default)]
    pub reflection: bool,
    /// Whether `serve` brings the schema up to this release's by itself, instead of refusing to start.
    #[serde(default)]
    pub migrate_on_start: bool,
}

/// TLS of the listener. Changed files are read again within a second, and on SIGHUP.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file: the server's certificate, then its intermediates.
    pub certificate: PathBuf,
    /// PEM file, mode 0600: the server's private key, PKCS#8.
    pub key: PathBuf,
    /// PEM file: the CAs that issue client certificates, an intermediate one beside the CA that issued it.
    pub client_ca: PathBuf,
    /// PEM or DER files: a certificate revocation list, verified when it is read, of every CA in `client_ca`. The
    /// callers of a CA whose list has lapsed are refused, those of the others are not.
    pub crls: Vec<PathBuf>,
}

/// The database: exactly one of the two.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// A SQLite file on a local disk, mode 0600.
    pub sqlite: Option<PathBuf>,
    /// A file, mode 0600, that holds a PostgreSQL connection URL, password and all; or several, one a line, of a primary
    /// and the standbys that may take over from it.
    pub postgres_url_file: Option<PathBuf>,
    /// PostgreSQL without a synchronous standby: a disk that dies takes acknowledged returns with it. Say
    /// `true` to accept that; otherwise `serve` refuses an empty `synchronous_standby_names`.
    #[serde(default)]
    pub single_primary: bool,
    /// Pages of 4 KiB, about, after which SQLite's write-ahead log is folded back into the database. More make
    /// the log larger on the disk; fewer write the same pages more often. 100 to 1,000,000.
    #[serde(default = "fold_after_pages")]
    pub fold_after_pages: usize,
}

fn fold_after_pages() -> usize {
    16_384
}

/// The log and the keys.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// The anchor file: the newest checkpoint, outside the database, so that a rollback is found. On
    /// another disk than the database if there is one.
    pub anchor: PathBuf,
    /// The log's signing key file, mode 0600: whoever reads it can sign a false history.
    pub signing_key: PathBuf,
    /// The key ring file, mode 0600. Back it up apart from the database: who has both has the children's
    /// data; who has only the database has nothing.
    pub key_ring: PathBuf,
}

/// Limits. A caller beyond one of them gets `RESOURCE_EXHAUSTED`, or its connection is not accepted.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest request message, in bytes, after decompression; 4,096 to 16,777,216.
    pub request_bytes: usize,
    /// Connections in all; 1 to 1,000,000.
    pub connections: usize,
    /// Connections of one organisation; 1 to 1,000,000.
    pub connections_per_organisation: usize,
    /// Seconds that a TLS handshake may take; 1 to 60.
    pub handshake_seconds: u64,
    /// Seconds from SIGTERM until connections that are still open are closed; 1 to 300.
    pub drain_seconds: u64,
    /// Rows that one decision may read; 1 to 10,000,000. A list of 10,000 rows a page is far below the default.
    pub decision_rows: usize,
    /// Queries that one decision may make; 1 to 10,000,000. A register of 1,000 children takes a few thousand.
    pub decision_queries: usize,
    /// Milliseconds that an exchange may be decided; 1 to 300,000. No caller waits longer than 30 seconds.
    pub decision_milliseconds: u64,
    /// Seconds after which a stream without deliveries sends a heartbeat; 1 to 300.
    pub heartbeat_seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes: 1 << 20,
            connections: 10_000,
            connections_per_organisation: 64,
            handshake_seconds: 5,
            drain_seconds: 15,
            decision_rows: 250_000,
            decision_queries: 100_000,
            decision_milliseconds: 30_000,
            heartbeat_seconds: 20,
        }
    }
}

impl Limits {
    /// Returns what one exchange may take.
    #[must_use]
    pub fn of_exchanges(&self) -> ExchangeLimits {
        ExchangeLimits {
            read: ReadLimits { rows: self.decision_rows, statements: self.decision_queries },
            time: Duration::from_millis(self.decision_milliseconds),
            heartbeat: Duration::from_secs(self.heartbeat_seconds),
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file, or one that it names, cannot be read.
    #[error("could not read {0}")]
    Unreadable(PathBuf, #[source] std::io::Error),
    /// The file is not a configuration.
    #[error("{} line {line}: {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key, and what it must be.
        what: String,
    },
    /// Neither or both databases are given.
    #[error("{}: [database] needs exactly one of sqlite and postgres_url_file", .0.display())]
    Database(PathBuf),
}

impl Config {
    /// Reads a configuration; relative paths in it start at its own folder.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| ConfigError::Unreadable(path.to_owned(), error))?;
        let mut config = text::parse(&text).map_err(|fault| ConfigError::Malformed {
            path: path.to_owned(),
            line: fault.line,
            what: fault.what,
        })?;
        if config.database.sqlite.is_some() == config.database.postgres_url_file.is_some() {
            return Err(ConfigError::Database(path.to_owned()));
        }
        let folder = path.parent().unwrap_or_else(|| Path::new("."));
        config.for_each_path(|named| *named = folder.join(&*named));
        Ok(config)
    }

    /// Where the database is.
    ///
    /// # Errors
    /// [`ConfigError`] when the file with PostgreSQL's URLs cannot be read.
    pub fn location(&self) -> Result<Location, ConfigError> {
        match (&self.database.sqlite, &self.database.postgres_url_file) {
            (Some(path), None) => Ok(Location::Sqlite(path.clone())),
            (None, Some(path)) => std::fs::read_to_string(path)
                .map(Location::Postgres)
                .map_err(|error| ConfigError::Unreadable(path.clone(), error)),
            _ => Err(ConfigError::Database(PathBuf::new())),
        }
    }

    fn for_each_path(&mut self, mut with: impl FnMut(&mut PathBuf)) {
        let Self { tls, database, log, .. } = self;
        let paths = [&mut tls.certificate, &mut tls.key, &mut tls.client_ca, &mut log.anchor];
        let paths = paths.into_iter().chain([&mut log.signing_key, &mut log.key_ring]);
        paths.chain(&mut tls.crls).for_each(&mut with);
        database.sqlite.iter_mut().chain(&mut database.postgres_url_file).for_each(&mut with);
    }
}

impl std::fmt::Debug for Database {
    /// Paths only; the URL itself is never in here.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.sqlite.is_some() { "sqlite" } else { "postgres" };
        f.debug_struct("Database").field("kind", &kind).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deployed_sample_holds_every_key_and_is_valid() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/gateway.toml");
        let config = Config::load(&path).unwrap();
        assert!(config.tls.certificate.starts_with(path.parent().unwrap()));
        let text = std::fs::read_to_string(&path).unwrap();
        let manual = include_str!("config.rs");
        for line in manual.lines().filter_map(|line| line.trim().strip_prefix("pub ")) {
            let Some((key, _)) = line.split_once(':') else {
                continue;
            };
            if key.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_') {
                assert!(text.contains(key), "deploy/gateway.toml does not speak of {key}");
            }
        }
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.toml");
        let sample = include_str!("../deploy/gateway.toml");
        std::fs::write(&path, format!("colour = 1\n{sample}")).unwrap();
        assert!(matches!(Config::load(&path), Err(ConfigError::Malformed { .. })));
    }
}
