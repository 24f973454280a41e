//! `init`: creates keys, database, log and anchor, and registers the first operator as the log's first entry.
//!
//! Everything that can be refused is tried before a key exists. What is written later is written in an order in which a
//! second `init` finishes what the first began: the signing key, the empty log that it signs, the anchor, key ring and
//! commitment key, of which an empty log uses none yet, and the first entry.

use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::args::InitArgs;
use super::operator::system_environment;
use super::{Failure, print_line};
use crate::calendar::Date;
use crate::clock::Instant;
use crate::codes::organisation::OrganisationKind;
use crate::config::Config;
use crate::gateway::{self, Environment, Node, StartError};
use crate::identity::{CertificateStatus, PeerCertificate, Tls};
use crate::register::bootstrap;
use crate::seal::{
    CommitmentKey, KeyRing, LogSigningKey, create_private_if_missing, ensure_folder_is_writable,
};
use crate::store::Database;
use crate::store::log_startup::{self, StoredLog};
use crate::store::proposal::CommitOutcome;
use crate::tlog::Signer;

/// Creates a gateway, or finishes one that an earlier `init` began.
///
/// # Errors
/// Exit code 78 if a file, a folder, the origin or the certificate cannot be used, 1 if the database holds a log or
/// PostgreSQL has no synchronous standby, 69 if the database cannot be reached.
pub async fn init(args: &InitArgs) -> Result<(), Failure> {
    let config = Config::load(&args.config)?;
    let environment = system_environment();
    let tls = gateway::tls(&config)?;
    let operator =
        load_operator_certificate(&args.operator_certificate, &tls, environment.system_clock.now())?;
    let log_key = create_gateway(config, environment, &args.origin, &operator, &args.operator_name).await?;
    print_line(&format!("created a new log; give its key to everyone who verifies receipts:\n{log_key}"));
    Ok(())
}

/// Loads the certificate of the first operator, who will register all other organisations. It must be an operator's, of
/// the configured trust domain, in force, and one that the listener will accept.
fn load_operator_certificate(path: &Path, tls: &Tls, now: Instant) -> Result<PeerCertificate, Failure> {
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
    if operator.trust_domain() != tls.trust_domain() {
        return Err(refused(&"its trust domain is not the configuration's"));
    }
    if now < operator.not_before() {
        return Err(refused(&format!("it is not valid before {}", operator.not_before())));
    }
    if operator.not_after() < now {
        return Err(refused(&format!("it expired at {}", operator.not_after())));
    }
    match tls.status(&operator, now) {
        CertificateStatus::Valid => Ok(operator),
        CertificateStatus::Invalid => {
            Err(refused(&"no authority of tls.client_ca issued it and is in force, or tls.crls revoke it"))
        }
        CertificateStatus::Unknown => Err(refused(
            &"whether it is revoked is unknown: the revocation list of its authority has lapsed; publish a new one",
        )),
    }
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
    let database = try_everything(&config, origin).await?;
    let created = create_log_and_keys(&config, &environment, &database, origin).await;
    database.close().await;
    created?;
    let now = environment.clock.now();
    let node = Node::open(config, environment.clone()).await?;
    let first = bootstrap::bootstrap_proposal(&environment.random, now, &node.vault, operator, operator_name);
    let first = first.map_err(|error| Failure::bug("the first entry", error))?;
    let outcome = node.committer.commit(first).await;
    let log_key = node.log_keys.clone();
    node.close().await;
    match outcome {
        CommitOutcome::Committed { .. } => Ok(log_key.to_string()),
        _ => Err(Failure::refused("the first entry could not be written: run init again")),
    }
}

/// Tries origin, folders and database, and returns the database with the schema of this release. Of what an unsuccessful
/// attempt leaves (folders, an empty database), nothing is in the way of the next one.
async fn try_everything(config: &Config, origin: &str) -> Result<Database, Failure> {
    let signing_key = &config.log.signing_key;
    LogSigningKey::check_origin(origin).map_err(StartError::file("log.signing_key", signing_key))?;
    let sqlite = config.database.sqlite.as_ref().map(|path| ("database.sqlite", path));
    for (key, path) in log_files(config).into_iter().chain(sqlite) {
        ensure_folder_is_writable(path).map_err(StartError::file(key, path))?;
    }
    // SQLite would create the file readable to others. It gives its side files the mode of the database file.
    if let Some((key, path)) = sqlite {
        create_private_if_missing(path).map_err(StartError::file(key, path))?;
    }
    let database = gateway::create_database(config).await?;
    let tried = async {
        database.require_durability(config.database.single_primary).await?;
        Ok(database.migrate().await.map_err(StartError::database(config))?)
    };
    let tried: Result<(), Failure> = tried.await;
    if tried.is_err() {
        database.close().await;
    }
    tried.map(|()| database)
}

/// Creates what is missing of signing key, empty log, anchor, key ring and commitment key.
async fn create_log_and_keys(
    config: &Config,
    environment: &Environment,
    database: &Database,
    origin: &str,
) -> Result<(), Failure> {
    let fill = |bytes: &mut [u8]| environment.random.fill(bytes);
    let (signing_key, anchor) = (&config.log.signing_key, &config.log.anchor);
    match log_startup::stored_log(database).await? {
        StoredLog::None => refuse_existing_files(config)?,
        // An earlier run was broken off.
        StoredLog::Empty => {}
        StoredLog::Written => log_startup::ensure_no_log(database).await?,
    }
    if !signing_key.exists() {
        let created = LogSigningKey::create(signing_key, origin, &fill);
        created.map_err(StartError::file("log.signing_key", signing_key))?;
    }
    let key = LogSigningKey::load(signing_key).map_err(StartError::file("log.signing_key", signing_key))?;
    if key.origin() != origin {
        let path = signing_key.display();
        return Err(Failure::configuration(format!(
            "log.signing_key ({path}): an earlier init began the log {}: finish it with that --origin",
            key.origin()
        )));
    }
    let signer = Signer::from_seed(key.origin(), key.seed());
    let signer = signer.map_err(|error| Failure::configuration(format!("the signing key: {error}")))?;
    log_startup::create_log(database, anchor, &signer).await?;
    let (ring, commitment_key) = (&config.log.key_ring, &config.log.commitment_key);
    if !ring.exists() {
        let created = Date::in_london(environment.clock.now());
        KeyRing::create(ring, created.into(), &fill).map_err(StartError::file("log.key_ring", ring))?;
    }
    if !commitment_key.exists() {
        let created = CommitmentKey::create(commitment_key, &fill);
        created.map_err(StartError::file("log.commitment_key", commitment_key))?;
    }
    Ok(())
}

/// Refuses keys and an anchor that exist although the database holds no log: another gateway may use them.
fn refuse_existing_files(config: &Config) -> Result<(), Failure> {
    let existing = log_files(config).into_iter().filter(|(_, path)| path.exists());
    let existing: Vec<_> = existing.map(|(key, path)| format!("{key} ({})", path.display())).collect();
    if existing.is_empty() {
        return Ok(());
    }
    Err(Failure::configuration(format!(
        "{}: already there, while the database holds no log; if no gateway uses them, move them away and run init again",
        existing.join(", ")
    )))
}

/// Returns the files that `init` creates beside the database, each with its key in the configuration.
fn log_files(config: &Config) -> [(&'static str, &PathBuf); 4] {
    let log = &config.log;
    [
        ("log.key_ring", &log.key_ring),
        ("log.commitment_key", &log.commitment_key),
        ("log.signing_key", &log.signing_key),
        ("log.anchor", &log.anchor),
    ]
}
