//! Commands of the gateway's operator: `migrate`, `check`, `rotate-keys`, `activate-key`.

use std::sync::Arc;
use std::time::Duration;

use super::args::{ConfigArgs, MigrateArgs};
use super::{Failure, output, print_line};
use crate::calendar::Date;
use crate::clock::{Clock, ClockGuard, Randomness, SystemClock};
use crate::config::Config;
use crate::gateway::{self, CheckedLog, Environment, StartError};
use crate::identity::{CrlState, IssuerReport};
use crate::seal::{KeyRing, RingKey};
use crate::store::nodes::{self, ActivationError};
use crate::store::{MigrationLock, PlannedMigration, PlannedStatement, SchemaMismatch, StoreError};

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Config(error) => error.into(),
            StartError::Store(error) => error.into(),
            StartError::Log(fatal) => fatal.into(),
            StartError::Checkpoint(_) => Self::refused(error.to_string()),
            StartError::Listen(..) | StartError::Management(..) | StartError::Descriptors(_) => {
                Self::unavailable("could not start", error)
            }
            StartError::DatabaseDisk { source: StoreError::Disk(_), .. } => {
                Self::bug("the database cannot be used", error)
            }
            StartError::DatabaseDisk { .. } => Self::unavailable("the database cannot be used", error),
            StartError::Metrics(error) => Self::bug("could not start", error),
            StartError::Signals(error) => Self::bug("could not set up signals", error),
            StartError::File { .. }
            | StartError::NotSqlite(_)
            | StartError::Rules { .. }
            | StartError::KeyRing { .. }
            | StartError::Database { .. }
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

/// Returns the environment of a gateway that serves: as [`system_environment`], but jumps of the clock are not followed.
#[must_use]
pub fn serving_environment(config: &Config) -> Environment {
    let Environment { system_clock, random, .. } = system_environment();
    let max_jump = Duration::from_secs(config.log.clock_jump_seconds);
    let clock: Arc<dyn Clock> = Arc::new(ClockGuard::new(system_clock, max_jump));
    Environment { clock: Arc::clone(&clock), system_clock: clock, random }
}

/// Migrates the schema to this release; with `--plan` only prints what that would do.
///
/// # Errors
/// Exit code 1 if a different release made the schema, 69 if the database cannot be reached.
pub async fn migrate(args: &MigrateArgs) -> Result<(), Failure> {
    let config = Config::load(&args.config)?;
    let database = gateway::open_database(&config).await?;
    if let Some(mismatch) = gateway::schema_mismatch(&config, &database).await?
        && !matches!(mismatch, SchemaMismatch::Older { .. })
    {
        return Err(Failure::refused(mismatch.to_string()));
    }
    if args.plan {
        let planned = database.plan_migration().await;
        let is_shared = database.is_shared();
        database.close_unchanged().await;
        print_plan(&planned?, is_shared);
        return output::check_written();
    }
    database.migrate().await?;
    database.close().await;
    print_line("the schema is up to date");
    Ok(())
}

/// Prints what each missing migration would do.
fn print_plan(planned: &[PlannedMigration], is_shared: bool) {
    if planned.is_empty() {
        print_line("the schema is up to date: migrate would change nothing");
        return;
    }
    let rows: Vec<_> = planned
        .iter()
        .flat_map(|migration| migration.statements.iter().map(move |it| (migration, it)))
        .map(|(migration, PlannedStatement { action, table, lock })| {
            let waits = match lock {
                MigrationLock::Nothing => "nothing",
                MigrationLock::Writes => "writes to the table",
                MigrationLock::ReadsAndWrites => "reads and writes of the table",
                MigrationLock::Database => "writes to the database",
                MigrationLock::Unknown => "not known",
            };
            let additive = if migration.is_additive { "yes" } else { "no" };
            [
                migration.version.to_string(),
                migration.name.clone(),
                additive.to_owned(),
                action.clone(),
                table.clone().unwrap_or_default(),
                waits.to_owned(),
            ]
        })
        .collect();
    output::print_table(["VERSION", "MIGRATION", "ADDITIVE", "STATEMENT", "TABLE", "WHAT WAITS"], &rows);
    let count = match planned.len() {
        1 => "1 migration would be applied".to_owned(),
        count => format!("{count} migrations would be applied, each"),
    };
    print_line(&format!("{count} in one transaction; nothing was changed"));
    print_line(match (planned, is_shared) {
        ([only], true) if only.is_additive => "nodes of the release before can go on serving",
        (_, true) => "stop every node first: nodes of the release before cannot serve what comes of it",
        (_, false) => "stop the node first",
    });
}

/// Checks configuration, keys, TLS files, database, log and anchor, without serving. Only reads, so a node may serve
/// meanwhile.
///
/// # Errors
/// The exit code of the first check that fails.
pub async fn check(args: &ConfigArgs) -> Result<(), Failure> {
    let config = Config::load(&args.config)?;
    let tls = gateway::tls(&config)?;
    match gateway::check(&config).await? {
        CheckedLog::Consistent { head, log_key } => {
            print_line(&format!(
                "configuration, keys, database, log and anchor are consistent: {} entries, last at {}",
                head.size, head.time
            ));
            print_line(&format!("log key: {log_key}"));
        }
        CheckedLog::ToMigrate(mismatch) => print_line(&format!(
            "configuration, keys and database can be used; {mismatch}, which serve does here (migrate_on_start)"
        )),
    }
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
    let database = gateway::open_database(&config).await?;
    if let Some(mismatch) = gateway::schema_mismatch(&config, &database).await? {
        return Err(StartError::from(mismatch).into());
    }
    gateway::check_key_ring(&config, &database, &ring).await?;
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
