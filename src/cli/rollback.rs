//! `accept-rollback`: starts a new log after a database has irrecoverably lost entries.

use super::args::AcceptRollbackArgs;
use super::operator::system_environment;
use super::{Failure, print_line};
use crate::config::Config;
use crate::exchange::log_replaced_proposal;
use crate::gateway::{self, Environment, StartError};
use crate::seal::{LogSigningKey, Vault};
use crate::store::rollback::Rollback;
use crate::store::{self, Database};

/// Starts a new log on a database that is behind its anchor.
///
/// # Errors
/// Exit code 1 if no entries are lost or the database is inconsistent; 69 and 78 as for `check`.
pub async fn accept(args: &AcceptRollbackArgs) -> Result<(), Failure> {
    let config = Config::load(&args.config)?;
    let Environment { clock, random, .. } = system_environment();
    let signer = gateway::signer(&config)?;
    let vault = Vault::new(gateway::key_ring(&config)?, gateway::commitment_key(&config)?, 1);
    gateway::check_database_files(&config)?;
    let database = Database::open(&config.location()?).await?;
    if let Some(mismatch) = database.schema_mismatch().await? {
        return Err(StartError::from(mismatch).into());
    }
    let keys = signer.key_history();
    let key = Some(vault.commitment_key().id());
    if let Some(mismatch) = store::log_startup::newest_entry_mismatch(&database, key).await? {
        return Err(StartError::from(mismatch).into());
    }
    let rollback = Rollback::prepare(&database, &config.log.anchor, keys, &args.log).await?;
    let now = clock.now();
    let first = log_replaced_proposal(
        &random,
        now,
        &vault,
        &rollback.operator,
        &rollback.anchored_note,
        &rollback.stored_note,
    );
    let first = first.map_err(|error| Failure::bug("the first entry", error))?;
    let signer = if rollback.is_begun {
        signer
    } else {
        let replaced = keys.prefix_for_next(rollback.size());
        let fill = |bytes: &mut [u8]| random.fill(bytes);
        let path = &config.log.signing_key;
        LogSigningKey::replace(path, &args.log, &replaced, &fill)
            .map_err(StartError::file("log.signing_key", path))?;
        gateway::signer(&config)?
    };
    let (kept, lost) = rollback.accept(&signer, first, now).await?;
    database.close().await;
    print_line(&format!("{kept} entries were kept, {lost} are lost: a new log goes on after them"));
    print_line(&format!("give its keys to everyone who checks receipts:\n{}", signer.key_history()));
    Ok(())
}
