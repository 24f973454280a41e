//! The verbs of whoever operates a node: init, migrate, check, rotate-keys, activate-key.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::args::{Init, OfConfig};
use super::{Failure, say};
use crate::calendar::Date;
use crate::clock::{Clock, Instant, Randomness, SystemClock};
use crate::codes::organisation::OrganisationKind;
use crate::config::Config;
use crate::gateway::{self, Node, StartError, Surroundings};
use crate::identity::{IssuerReport, ListState, PeerCertificate};
use crate::register::founding;
use crate::seal::{KeyRing, LogSigningKey, RingKey, create_private};
use crate::store::nodes::{self, NotActivated};
use crate::store::proposal::Outcome;
use crate::store::{self, Database};
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
            | StartError::Schema => Self::configuration_of(&error),
        }
    }
}

/// The surroundings of a real gateway.
#[must_use]
pub fn surroundings() -> Surroundings {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    Surroundings { clock: Arc::clone(&clock), real: clock, random: Randomness::system() }
}

/// Makes keys, database, log and anchor, and registers the first operator as the log's first entry.
///
/// # Errors
/// Exit code 78 for what is there already or cannot be made.
pub async fn init(args: &Init) -> Result<(), Failure> {
    let config = Config::load(&args.config)?;
    let surroundings = surroundings();
    let operator = first_operator(&args.operator_certificate, &config.trust_domain, surroundings.real.now())?;
    let log_key = found(config, surroundings, &args.origin, &operator, &args.operator_name).await?;
    say(&format!("made a new log; give its key to everyone who checks receipts:\n{log_key}"));
    Ok(())
}

/// Reads the certificate of the first operator, who registers everybody else: nobody else's would do.
fn first_operator(path: &Path, trust_domain: &str, now: Instant) -> Result<PeerCertificate, Failure> {
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

/// As [`init`], from values.
///
/// # Errors
/// As [`init`].
pub async fn found(
    config: Config,
    surroundings: Surroundings,
    origin: &str,
    operator: &PeerCertificate,
    operator_name: &str,
) -> Result<String, Failure> {
    let random = surroundings.random.clone();
    let fill = |bytes: &mut [u8]| random.fill(bytes);
    for path in [&config.log.key_ring, &config.log.signing_key, &config.log.anchor]
        .into_iter()
        .chain(&config.database.sqlite)
    {
        if let Some(folder) = path.parent() {
            let made = std::fs::create_dir_all(folder);
            made.map_err(|error| Failure::unavailable(&format!("the folder {}", folder.display()), error))?;
        }
    }
    let now = surroundings.clock.now();
    let created = Date::in_london(now);
    let (ring, key) = (&config.log.key_ring, &config.log.signing_key);
    KeyRing::create(ring, created.into(), &fill).map_err(StartError::file("log.key_ring", ring))?;
    let made = LogSigningKey::create(key, origin, &fill);
    let key = made.map_err(StartError::file("log.signing_key", key))?;
    let signer = Signer::from_seed(key.origin(), key.seed());
    let signer = signer.map_err(|error| Failure::configuration(format!("the signing key: {error}")))?;
    // SQLite would make it readable to others, and gives the files beside it the same mode.
    if let Some(path) = &config.database.sqlite {
        create_private(path).map_err(StartError::file("database.sqlite", path))?;
    }
    let database = Database::create(&config.location()?).await?;
    database.migrate().await?;
    store::opened::create(&database, &config.log.anchor, &signer, now).await?;
    database.close().await;
    let node = Node::open(config, surroundings.clone()).await?;
    let first = founding::found(&surroundings.random, now, &node.vault, operator, operator_name);
    let first = first.map_err(|error| Failure::bug("the first entry", error))?;
    let outcome = node.committer.commit(first).await;
    let log_key = node.log_key.clone();
    node.close().await;
    match outcome {
        Outcome::Committed { .. } => Ok(log_key.to_string()),
        _ => Err(Failure::refused("the first entry could not be written")),
    }
}

/// Brings the schema up to this release's.
///
/// # Errors
/// Exit code 1 when another release made it, 69 when the database cannot be reached.
pub async fn migrate(args: &OfConfig) -> Result<(), Failure> {
    let config = Config::load(&args.config)?;
    gateway::check_database_files(&config)?;
    let database = Database::open(&config.location()?).await?;
    database.migrate().await?;
    database.close().await;
    say("the schema is this release's");
    Ok(())
}

/// Checks configuration, keys, TLS files, database, log and anchor, and serves nothing.
///
/// # Errors
/// The code of whatever does not hold.
pub async fn check(args: &OfConfig) -> Result<(), Failure> {
    let config = Config::load(&args.config)?;
    let tls = gateway::tls(&config)?;
    let node = Node::open(config, surroundings()).await?;
    let head = *node.committer.head().borrow();
    let log_key = node.log_key.clone();
    node.close().await;
    say(&format!(
        "configuration, keys, database, log and anchor fit: {} entries, last at {}",
        head.size, head.time
    ));
    say(&format!("log key: {log_key}"));
    let issuers = tls.issuers(surroundings().real.now());
    let named = |issuer: &IssuerReport| {
        format!("the revocation list of {} ends at {}", issuer.name, issuer.next_update)
    };
    for issuer in issuers.iter().filter(|issuer| issuer.state == ListState::Ageing) {
        say(&format!("{}: it is past half of its life, publish a new one", named(issuer)));
    }
    let lapsed: Vec<_> =
        issuers.iter().filter(|issuer| issuer.state == ListState::Lapsed).map(named).collect();
    if lapsed.is_empty() {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "{}: its issuer's callers are refused, publish a new one",
        lapsed.join("; ")
    )))
}

/// Puts a new key in front of the key ring: it opens, and seals once [`activate_key`] is run. Every older key still
/// opens what it sealed.
///
/// # Errors
/// Exit code 78 when the ring cannot be read or replaced.
pub fn rotate_keys(args: &OfConfig) -> Result<(), Failure> {
    let config = Config::load(&args.config)?;
    let Surroundings { clock, random, .. } = surroundings();
    let created = Date::in_london(clock.now());
    let path = &config.log.key_ring;
    let ring = KeyRing::rotate(path, created.into(), &|bytes| random.fill(bytes));
    let ring = ring.map_err(StartError::file("log.key_ring", path))?;
    let new = ring.keys().next().map_or(0, RingKey::id);
    say(&format!("key {new} is in the ring and does not seal yet"));
    say("back the ring up, copy it to every node, then run activate-key on each");
    Ok(())
}

/// Has the pending key of the ring seal from now on, once every live node holds it. A ring whose newest key was
/// activated already is left as it is.
///
/// # Errors
/// Exit code 1 while a live node lacks the key, with its name; 78 when no key was ever pending or the ring cannot be
/// replaced; 69 when the database cannot be reached.
pub async fn activate_key(args: &OfConfig) -> Result<(), Failure> {
    let config = Config::load(&args.config)?;
    let ring = gateway::key_ring(&config)?;
    let database = Database::open(&config.location()?).await?;
    if !database.is_migrated().await? {
        return Err(StartError::Schema.into());
    }
    let Some(key) = ring.pending() else {
        let key = ring.active();
        let activated = nodes::is_activated(&database, key).await;
        database.close().await;
        if !activated? {
            return Err(Failure::configuration("no key of the ring is pending: run rotate-keys first"));
        }
        say(&format!("key {} seals already: there is nothing to do", key.id()));
        return Ok(());
    };
    let activated = nodes::activate(&database, key).await;
    database.close().await;
    match activated {
        Ok(()) => {}
        Err(error @ NotActivated::Lacking(_)) => {
            let what = "copy the key ring to them, and try again after some seconds";
            return Err(Failure::refused(format!("key {} was not activated: {error}; {what}", key.id())));
        }
        Err(NotActivated::Store(error)) => return Err(error.into()),
    }
    let path = &config.log.key_ring;
    let ring = KeyRing::activate(path).map_err(StartError::file("log.key_ring", path))?;
    say(&format!("key {} seals from now on; keep the older ones", ring.active().id()));
    Ok(())
}
