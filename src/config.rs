//! Configuration of a node. This struct is the manual: every key, its unit, its default. Secrets are paths to
//! files, never values. `deploy/gateway.toml` holds every key and is parsed by a test.

mod text;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::exchange::{CallLimits, ExchangeLimits, MemoryLimits};
use crate::server::ManagementAddress;
use crate::store::{DatabaseLocation, ReadLimits};

/// Contents of `gateway.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address on which the gateway listens, `host:port`. Port 0 selects a free port, which the line `READY`
    /// names.
    pub listen: SocketAddr,
    /// SPIFFE trust domain of client certificates: `spiffe://<trust_domain>/<kind>/<id>/<system>`.
    pub trust_domain: String,
    /// Audience that the tokens of persons must name (`aud`), such as `https://ap.example`. Without it every token is
    /// refused; systems call without one.
    #[serde(default)]
    pub token_audience: Option<String>,
    /// TLS of the listener.
    pub tls: TlsConfig,
    /// The database.
    pub database: DatabaseConfig,
    /// The log and the keys.
    pub log: LogConfig,
    /// Limits on callers.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// Oversight.
    #[serde(default)]
    pub oversight: OversightConfig,
    /// Metrics and probes.
    #[serde(default)]
    pub management: ManagementConfig,
    /// Whether gRPC reflection is served. Off by default, because it shows strangers which methods exist.
    #[serde(default)]
    pub reflection: bool,
    /// Whether `serve` migrates the schema to this release's version. Otherwise `serve` refuses to start on
    /// another version.
    #[serde(default)]
    pub migrate_on_start: bool,
}

/// TLS of the listener. Changed files are reloaded within a second, and on SIGHUP.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM file: the server's certificate, then its intermediates.
    pub certificate: PathBuf,
    /// PEM file, mode 0600: the server's private key, PKCS#8.
    pub key: PathBuf,
    /// PEM file: the CAs that issue client certificates. An intermediate CA is listed beside the CA that issued
    /// it.
    pub client_ca: PathBuf,
    /// PEM or DER files: a certificate revocation list of every CA in `client_ca`, verified when it is read.
    /// Callers of a CA whose list has lapsed are refused; callers of the others are not.
    pub crls: Vec<PathBuf>,
}

/// The database: exactly one of `sqlite` and `postgres_url_file`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseConfig {
    /// SQLite file on a local disk, mode 0600.
    pub sqlite: Option<PathBuf>,
    /// File, mode 0600, that holds a PostgreSQL connection URL including the password. It may hold several, one a
    /// line: those of a primary and of the standbys that may take over from it.
    pub postgres_url_file: Option<PathBuf>,
    /// Whether PostgreSQL may run without a synchronous standby. Acknowledged returns are then lost if its disk
    /// fails. If `false`, a node neither starts nor appends while `synchronous_standby_names` is empty.
    #[serde(default)]
    pub single_primary: bool,
    /// Size of SQLite's write-ahead log, in pages of about 4 KiB, at which it is checkpointed into the database.
    /// A larger value makes the log larger on disk; a smaller value writes the same pages more often. 100 to
    /// 1,000,000.
    #[serde(default = "fold_after_pages")]
    pub fold_after_pages: usize,
}

fn fold_after_pages() -> usize {
    16_384
}

/// The log and the keys.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    /// Anchor file: the newest checkpoint, stored outside the database so that a rollback is detected. Keep it on
    /// another disk than the database if there is one.
    pub anchor: PathBuf,
    /// Signing key file of the log, mode 0600. A reader of the file can sign a false history.
    pub signing_key: PathBuf,
    /// Key ring file, mode 0600. Back it up apart from the database: both together open the children's data, and
    /// the database alone does not.
    pub key_ring: PathBuf,
    /// Commitment key file, mode 0600. It is never replaced. With it a copy of the database can be verified, without
    /// opening any data; back it up with the key ring.
    pub commitment_key: PathBuf,
    /// Largest step of the system clock that is followed, in seconds, against the monotonic clock; 1 to 86,400. After a
    /// larger one nothing is appended until the clock is right again, or the node is restarted.
    #[serde(default = "clock_jump_seconds")]
    pub clock_jump_seconds: u64,
}

fn clock_jump_seconds() -> u64 {
    60
}

/// Oversight.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OversightConfig {
    /// TOML file of rules, which replaces the keys of the embedded `rules.toml` that it holds. All nodes must have the
    /// same.
    pub rules: Option<PathBuf>,
}

/// Metrics and probes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ManagementConfig {
    /// Address on which `/livez`, `/readyz` and `/metrics` are served over HTTP: one of the loopback interface with its
    /// port, or `unix:` and the path of a socket. Without it nothing is recorded.
    pub listen: Option<ManagementAddress>,
    /// File whose time of modification is when a backup was made last: `backup` touches it; with PostgreSQL, have the job
    /// that makes backups touch it.
    pub backup_stamp: Option<PathBuf>,
}

/// Limits on callers. A call beyond a limit is refused with `RESOURCE_EXHAUSTED`; a connection beyond a limit is
/// not accepted.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Largest request message, in bytes, after decompression; 4,096 to 16,777,216.
    pub request_bytes: usize,
    /// Maximum number of connections, from their TLS `ClientHello` on; 1 to 1,000,000.
    pub connections: usize,
    /// Maximum number of sockets whose TLS handshake has not ended; 16 to 65,536. A further socket takes the place
    /// of one without a `ClientHello`, or of one of the addresses that have the most places.
    pub pending_connections: usize,
    /// Maximum number of such sockets of one peer address; 1 to 65,536. Of IPv6 addresses the first 64 bits count.
    /// Behind a load balancer all callers may have its address.
    pub pending_connections_per_address: usize,
    /// Maximum number of connections of one organisation; 1 to 1,000,000. A connection takes a place of its organisation
    /// when its certificate is known to be registered, from its first call on. Until then the bound holds for its
    /// certificate, and all such connections together have a quarter of `connections`, but at least 128: a further one
    /// closes the oldest.
    pub connections_per_organisation: usize,
    /// Calls of one organisation a second; 1 to 1,000,000.
    pub requests_per_second: u32,
    /// Calls that an organisation may make at once after a pause; 1 to 1,000,000.
    pub request_burst: u32,
    /// Refusals a second of a certificate that is not registered, revoked or suspended, after which its calls are
    /// rejected unread; 1 to 1,000,000.
    pub refusals_per_second: u32,
    /// Timeout of a TLS handshake, and of the HTTP/2 preface after it, in seconds; 1 to 60.
    pub handshake_seconds: u64,
    /// Seconds from SIGTERM until connections with calls under way are closed; 1 to 300. Idle connections and streams
    /// are closed at once.
    pub drain_seconds: u64,
    /// Maximum rows that one decision may read; 1 to 10,000,000. A list of 10,000 rows a page is far below the
    /// default.
    pub decision_rows: usize,
    /// Maximum queries that one decision may make; 1 to 10,000,000. A register of 1,000 children takes a few
    /// thousand.
    pub decision_queries: usize,
    /// Maximum time for the decision of one exchange, in milliseconds; 1 to 300,000. No caller waits longer than
    /// 30 seconds.
    pub decision_milliseconds: u64,
    /// Seconds after which a stream without deliveries sends a heartbeat; 1 to 300.
    pub heartbeat_seconds: u64,
    /// Maximum bytes of requests and replies that are held in all, from their arrival until they are sent;
    /// 33,554,432 to 1,099,511,627,776. When they are held, calls wait up to five seconds and are then refused with
    /// `BUFFERS_FULL`; an organisation that holds less than 1 MiB goes on.
    pub buffer_bytes: usize,
    /// Maximum bytes that one organisation's calls may hold; 20,971,520 to 1,099,511,627,776.
    pub buffer_bytes_per_organisation: usize,
    /// Maximum bytes that the calls of all certificates that are not registered may hold together; 1,048,576 to
    /// 1,099,511,627,776.
    pub buffer_bytes_unregistered: usize,
    /// Seconds after which an answer of which nothing was sent, because its caller does not read it, ends its
    /// stream, and its connection if it is the last stream; 1 to 300.
    pub answer_stall_seconds: u64,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            request_bytes: 1 << 20,
            connections: 10_000,
            pending_connections: 1_024,
            pending_connections_per_address: 256,
            connections_per_organisation: 64,
            requests_per_second: 200,
            request_burst: 400,
            refusals_per_second: 20,
            handshake_seconds: 5,
            drain_seconds: 15,
            decision_rows: 250_000,
            decision_queries: 100_000,
            decision_milliseconds: 30_000,
            heartbeat_seconds: 20,
            buffer_bytes: 128 << 20,
            buffer_bytes_per_organisation: 32 << 20,
            buffer_bytes_unregistered: 8 << 20,
            answer_stall_seconds: 30,
        }
    }
}

impl LimitsConfig {
    /// Returns the limits of calls.
    #[must_use]
    pub fn call_limits(&self) -> CallLimits {
        CallLimits {
            requests_per_second: self.requests_per_second,
            request_burst: self.request_burst,
            refusals_per_second: self.refusals_per_second,
        }
    }

    /// Returns the limits of the messages that are held.
    #[must_use]
    pub fn memory_limits(&self) -> MemoryLimits {
        MemoryLimits {
            total: self.buffer_bytes,
            organisation: self.buffer_bytes_per_organisation,
            unregistered: self.buffer_bytes_unregistered,
        }
    }

    /// Returns the limits of one exchange.
    #[must_use]
    pub fn exchange_limits(&self) -> ExchangeLimits {
        ExchangeLimits {
            reads: ReadLimits { rows: self.decision_rows, statements: self.decision_queries },
            max_duration: Duration::from_millis(self.decision_milliseconds),
            heartbeat_interval: Duration::from_secs(self.heartbeat_seconds),
        }
    }
}

/// Error of a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file, or one that it names, cannot be read.
    #[error("could not read {0}")]
    Unreadable(PathBuf, #[source] std::io::Error),
    /// The file is not a valid configuration.
    #[error("{} line {line}: {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key, and the values that it may have.
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

    /// Returns the location of the database.
    ///
    /// # Errors
    /// [`ConfigError`] when the file with PostgreSQL's URLs cannot be read.
    pub fn location(&self) -> Result<DatabaseLocation, ConfigError> {
        match (&self.database.sqlite, &self.database.postgres_url_file) {
            (Some(path), None) => Ok(DatabaseLocation::Sqlite(path.clone())),
            (None, Some(path)) => std::fs::read_to_string(path)
                .map(DatabaseLocation::Postgres)
                .map_err(|error| ConfigError::Unreadable(path.clone(), error)),
            _ => Err(ConfigError::Database(PathBuf::new())),
        }
    }

    fn for_each_path(&mut self, mut with: impl FnMut(&mut PathBuf)) {
        let Self { tls, database, log, oversight, management, .. } = self;
        let paths = [&mut tls.certificate, &mut tls.key, &mut tls.client_ca, &mut log.anchor];
        let paths =
            paths.into_iter().chain([&mut log.signing_key, &mut log.key_ring, &mut log.commitment_key]);
        paths.chain(&mut tls.crls).for_each(&mut with);
        let files = database.sqlite.iter_mut().chain(&mut database.postgres_url_file);
        let files = files.chain(&mut oversight.rules).chain(&mut management.backup_stamp);
        files.for_each(&mut with);
        if let Some(ManagementAddress::Unix(path)) = &mut management.listen {
            with(path);
        }
    }
}

impl std::fmt::Debug for DatabaseConfig {
    /// Prints the kind only: the URL is never in this struct.
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
                assert!(text.contains(key), "deploy/gateway.toml does not hold {key}");
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
