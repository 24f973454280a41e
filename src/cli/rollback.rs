//! `accept-rollback`: the way out when what a database has lost is lost for good.

use super::args::AcceptRollback;
use super::operator::surroundings;
use super::{Failure, say};
use crate::config::Config;
use crate::exchange::log_replaced;
use crate::gateway::{self, StartError, Surroundings};
use crate::seal::{LogSigningKey, Vault};
use crate::store::Database;
use crate::store::rollback::Rollback;

/// Begins a new log on a database that is behind its anchor.
///
/// # Errors
/// Exit code 1 when there is nothing to accept or the database does not fit in itself; 69 and 78 as for `check`.
pub async fn accept(args: &AcceptRollback) -> Result<(), Failure> {
    let config = Config::load(&args.config)?;
    let Surroundings { clock, random, .. } = surroundings();
    let signer = gateway::signer(&config)?;
    let vault = Vault::new(gateway::key_ring(&config)?, 1);
    gateway::check_database_files(&config)?;
    let database = Database::open(&config.location()?).await?;
    if !database.is_migrated().await? {
        return Err(StartError::Schema.into());
    }
    let keys = signer.lineage();
    let rollback = Rollback::open(&database, &config.log.anchor, keys, &args.log).await?;
    let now = clock.now();
    let first = log_replaced(&random, now, &vault, &rollback.operator, &rollback.anchored, &rollback.stored);
    let first = first.map_err(|error| Failure::bug("the first entry", error))?;
    let signer = if rollback.begun {
        signer
    } else {
        let replaced = keys.before(rollback.size());
        let fill = |bytes: &mut [u8]| random.fill(bytes);
        let path = &config.log.signing_key;
        LogSigningKey::replace(path, &args.log, &replaced, &fill)
            .map_err(StartError::file("log.signing_key", path))?;
        gateway::signer(&config)?
    };
    let (kept, lost) = rollback.accept(&signer, first, now).await?;
    database.close().await;
    say(&format!("{kept} entries were kept, {lost} are lost: a new log goes on after them"));
    say(&format!("give its keys to everyone who checks receipts:\n{}", signer.lineage()));
    Ok(())
}
