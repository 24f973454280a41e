//! Commands of the gateway's operator: `init`, `migrate`, `check`, `rotate-keys`, `activate-key`.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::args::{ConfigArgs, InitArgs};
use super::{Failure, print_line};
use crate::calendar::Date;
use crate::clock::{Clock, Instant, Randomness, SystemClock};
use crate::codes::organisation::OrganisationKind;
use crate::config::Config;
use crate::gateway::{self, Environment, Node, StartError};
use crate::identity::{CrlState, IssuerReport, PeerCertificate};
use crate::register::bootstrap;
use crate::seal::{
    CommitmentKey, KeyRing, LogSigningKey, RingKey, SecretFileError, create_private_if_missing,
};
use crate::store::nodes::{self, ActivationError};
use crate::store::proposal::CommitOutcome;
use crate::store::{self, Database, SchemaMismatch};
use crate::tlog::Signer;

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Config(error) => error.into(),
            StartError::Store(error) => error.into(),
            StartError::Log(fatal) => fatal.into(),
            StartError::Listen(..) => Self::unavailable("could not start", error),
            StartError::Signals(error) => Self::bug("could not set up signals", error),
            StartError::File { .. }
            | StartError::NotSqlite(_)
            | StartError::KeyMissing(_)
            | StartError::Signer(_)
            | StartError::Tls(_)
            | StartError::Entries(_)
            | StartError::Schema(_) => Self::configuration_error(&error),
        }
    }
}

/// Returns the environment of a production gateway: the system's clock and randomness.
#[must_use]
pub fn system_environment() -> Environment {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    Environment { clock: Arc::clone(&clock), system_clock: clock, random: Randomness::system() }
}

/// Creates keys, database, log and anchor, and registers the first operator as the log's first entry.
///
/// # Errors
/// Exit code 78 if one of the files exists already or cannot be created, 1 if the database holds a log or PostgreSQL
/// has no synchronous standby, 69 if the database cannot be reached.
pub async fn init(args: &InitArgs) -> Result<(), Failure> {
    let config = Config::load(&args.config)?;
    let environment = system_environment();
    let operator = load_operator_certificate(
        &args.operator_certificate,
        &config.trust_domain,
        environment.system_clock.now(),
    )?;
    let log_key = create_gateway(config, environment, &args.origin, &operator, &args.operator_name).await?;
    print_line(&format!("created a new log; give its key to everyone who verifies receipts:\n{log_key}"));
    Ok(())
}

/// Loads the certificate of the first operator, who will register all other organisations. It must be an operator's, of
/// the configured trust domain, and in force.
fn load_operator_certificate(
    path: &Path,
    trust_domain: &str,
    now: Instant,
) -> Result<PeerCertificate, Failure> {
    let refused = |why: &dyn std::fmt::Display| {
        Failure::configuration(format!("the operator's certificate ({}): {why}", path.display()))
    };
    let bytes = std::fs::read(path).map_err(|error| refused(&error))?;
    let der =
        CertificateDer::from_pem_slice(&bytes).map_err(|_| refused(&"it holds no PEM block CERTIFICATE"))?;
    let operator = PeerCertificate::parse(&der).map_err(|error| refused(&error))?;
    if operator.organisation().kind() != OrganisationKind::Operator {
        return Err(refused(
            &"it is not an operator's: its URI must be spiffe://<trust domain>/operator/<id>/<system>",
        ));
    }
    if operator.trust_domain() != trust_domain {
        return Err(refused(&"its trust domain is not the configuration's"));
    }
    if now < operator.not_before() {
        return Err(refused(&format!("it is not valid before {}", operator.not_before())));
    }
    if operator.not_after() < now {
        return Err(refused(&format!("it expired at {}", operator.not_after())));
    }
    Ok(operator)
}

/// Creates a gateway as [`init`] does, from values instead of arguments; returns the log's verifier key.
///
/// # Errors
/// As [`init`].
pub async fn create_gateway(
    config: Config,
    environment: Environment,
    origin: &str,
    operator: &PeerCertificate,
    operator_name: &str,
) -> Result<String, Failure> {
    let random = environment.random.clone();
    let fill = |bytes: &mut [u8]| random.fill(bytes);
    for path in
        [&config.log.key_ring, &config.log.commitment_key, &config.log.signing_key, &config.log.anchor]
            .into_iter()
            .chain(&config.database.sqlite)
    {
        if let Some(folder) = path.parent() {
            let made = std::fs::create_dir_all(folder);
            made.map_err(|error| Failure::unavailable(&format!("the folder {}", folder.display()), error))?;
        }
    }
    let database = create_empty_database(&config, origin).await?;
    let now = environment.clock.now();
    let created = Date::in_london(now);
    let (ring, key) = (&config.log.key_ring, &config.log.signing_key);
    KeyRing::create(ring, created.into(), &fill).map_err(StartError::file("log.key_ring", ring))?;
    let commitment_key = &config.log.commitment_key;
    CommitmentKey::create(commitment_key, &fill)
        .map_err(StartError::file("log.commitment_key", commitment_key))?;
    let made = LogSigningKey::create(key, origin, &fill);
    let key = made.map_err(StartError::file("log.signing_key", key))?;
    let signer = Signer::from_seed(key.origin(), key.seed());
    let signer = signer.map_err(|error| Failure::configuration(format!("the signing key: {error}")))?;
    store::log_startup::create_log(&database, &config.log.anchor, &signer).await?;
    database.close().await;
    let node = Node::open(config, environment.clone()).await?;
    let first = bootstrap::bootstrap_proposal(&environment.random, now, &node.vault, operator, operator_name);
    let first = first.map_err(|error| Failure::bug("the first entry", error))?;
    let outcome = node.committer.commit(first).await;
    let log_key = node.log_keys.clone();
    node.close().await;
    match outcome {
        CommitOutcome::Committed { .. } => Ok(log_key.to_string()),
        _ => Err(Failure::refused("the first entry could not be written")),
    }
}

/// Creates a database without a log. Everything that can be refused is checked here, before a key exists, because a
/// second `init` would be refused where the first had left keys.
async fn create_empty_database(config: &Config, origin: &str) -> Result<Database, Failure> {
    let log = &config.log;
    LogSigningKey::check_origin(origin).map_err(StartError::file("log.signing_key", &log.signing_key))?;
    let files = [
        ("log.key_ring", &log.key_ring),
        ("log.commitment_key", &log.commitment_key),
        ("log.signing_key", &log.signing_key),
        ("log.anchor", &log.anchor),
    ];
    if let Some((key, path)) = files.into_iter().find(|(_, path)| path.exists()) {
        return Err(StartError::file(key, path)(SecretFileError::Exists).into());
    }
    // SQLite would create the file readable to others. It gives its side files the mode of the database file.
    if let Some(path) = &config.database.sqlite {
        create_private_if_missing(path).map_err(StartError::file("database.sqlite", path))?;
    }
    gateway::check_database_files(config)?;
    let database = Database::create(&config.location()?).await?;
    if !config.database.single_primary {
        database.assert_replicated().await?;
    }
    database.migrate().await?;
    store::log_startup::ensure_no_log(&database).await?;
    Ok(database)
}

/// Migrates the schema to this release.
///
/// # Errors
/// Exit code 1 if a different release made the schema, 69 if the database cannot be reached.
pub async fn migrate(args: &ConfigArgs) -> Result<(), Failure> {
    let config = Config::load(&args.config)?;
    gateway::check_database_files(&config)?;
    let database = Database::open(&config.location()?).await?;
    if let Some(mismatch) = database.schema_mismatch().await?
        && !matches!(mismatch, SchemaMismatch::Older { .. })
    {
        return Err(Failure::refused(mismatch.to_string()));
    }
    database.migrate().await?;
    database.close().await;
    print_line("the schema is up to date");
    Ok(())
}

/// Checks configuration, keys, TLS files, database, log and anchor, without serving.
///
/// # Errors
/// The exit code of the first check that fails.
pub async fn check(args: &ConfigArgs) -> Result<(), Failure> {
    let config = Config::load(&args.config)?;
    let tls = gateway::tls(&config)?;
    let node = Node::open(config, system_environment()).await?;
    let head = *node.committer.head().borrow();
    let log_key = node.log_keys.clone();
    node.close().await;
    print_line(&format!(
        "configuration, keys, database, log and anchor are consistent: {} entries, last at {}",
        head.size, head.time
    ));
    print_line(&format!("log key: {log_key}"));
    let issuers = tls.issuers(system_environment().system_clock.now());
    let describe = |issuer: &IssuerReport| {
        format!("the revocation list of {} ends at {}", issuer.name, issuer.next_update)
    };
    for issuer in issuers.iter().filter(|issuer| issuer.state == CrlState::Ageing) {
        print_line(&format!("{}: it is past half of its life; publish a new one", describe(issuer)));
    }
    let lapsed: Vec<_> =
        issuers.iter().filter(|issuer| issuer.state == CrlState::Lapsed).map(describe).collect();
    if lapsed.is_empty() {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "{}: its issuer's callers are refused; publish a new one",
        lapsed.join("; ")
    )))
}

/// Adds a new key to the front of the key ring. The key opens data from now on, and seals data after [`activate_key`].
/// Older keys continue to open the data that they sealed.
///
/// # Errors
/// Exit code 78 if the ring cannot be read or replaced.
pub fn rotate_keys(args: &ConfigArgs) -> Result<(), Failure> {
    let config = Config::load(&args.config)?;
    let Environment { clock, random, .. } = system_environment();
    let created = Date::in_london(clock.now());
    let path = &config.log.key_ring;
    let ring = KeyRing::rotate(path, created.into(), &|bytes| random.fill(bytes));
    let ring = ring.map_err(StartError::file("log.key_ring", path))?;
    let new = ring.keys().next().map_or(0, RingKey::id);
    print_line(&format!("key {new} is in the ring and does not seal yet"));
    print_line("back up the ring, copy it to every node, then run activate-key on each");
    Ok(())
}

/// Activates the pending key of the ring, which seals from then on, if every live node has it. Does nothing if the
/// newest key is already active.
///
/// # Errors
/// Exit code 1 if a live node lacks the key, with the node's name; 78 if no key was ever pending or the ring cannot be
/// replaced; 69 if the database cannot be reached.
pub async fn activate_key(args: &ConfigArgs) -> Result<(), Failure> {
    let config = Config::load(&args.config)?;
    let ring = gateway::key_ring(&config)?;
    gateway::check_database_files(&config)?;
    let database = Database::open(&config.location()?).await?;
    if let Some(mismatch) = database.schema_mismatch().await? {
        return Err(StartError::from(mismatch).into());
    }
    let Some(key) = ring.pending() else {
        let key = ring.active();
        let activated = nodes::is_activated(&database, key).await;
        database.close().await;
        if !activated? {
            return Err(Failure::configuration("no key of the ring is pending: run rotate-keys first"));
        }
        print_line(&format!("key {} seals already: there is nothing to do", key.id()));
        return Ok(());
    };
    let activated = nodes::activate(&database, key).await;
    database.close().await;
    match activated {
        Ok(()) => {}
        Err(error @ ActivationError::NodesLackKey(_)) => {
            let what = "copy the key ring to them, and try again after a few seconds";
            return Err(Failure::refused(format!("key {} was not activated: {error}; {what}", key.id())));
        }
        Err(ActivationError::Store(error)) => return Err(error.into()),
    }
    let path = &config.log.key_ring;
    let ring = KeyRing::activate(path).map_err(StartError::file("log.key_ring", path))?;
    print_line(&format!("key {} seals from now on; keep the older ones", ring.active().id()));
    Ok(())
}
