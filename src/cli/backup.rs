//! `backup` and `restore`.

use std::time::{Duration, Instant};

use super::args::{BackupArgs, RestoreArgs};
use super::operator::system_environment;
use super::{Failure, print_line};
use crate::audit::verify::VerifyError;
use crate::backup::{AgeError, BackupError, BackupOptions, Manifest, RestoreOptions, prepare, take};
use crate::config::Config;

/// Seconds of an hour.
const HOUR: u64 = 3_600;

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::Start(error) => error.into(),
            BackupError::Store(error) => error.into(),
            BackupError::NotSqlite => Self::configuration_error(&error),
            BackupError::Refused(message) => Self::refused(message),
            BackupError::Age(AgeError::Failed(_)) => Self::refused(error.to_string()),
            BackupError::Verify(VerifyError::Store(error)) => error.into(),
            BackupError::Verify(error) => Self::refused(error.to_string()),
            BackupError::File { .. } | BackupError::Age(_) => Self::unavailable("the backup", error),
        }
    }
}

/// Backs up a node, which may serve meanwhile.
///
/// # Errors
/// Exit code 1 if the backup in the folder was changed or another one runs, 69 if a file, the database or age cannot be
/// used, 78 for the configuration.
pub async fn backup(args: &BackupArgs) -> Result<(), Failure> {
    let config = Config::load(&args.config)?;
    let begun = Instant::now();
    let options = BackupOptions {
        config: &config,
        out: &args.out,
        recipients: &args.recipients,
        base_interval: Duration::from_secs(args.base_hours * HOUR),
        keep: Duration::from_secs(args.keep_days * 24 * HOUR),
        now: system_environment().clock.now(),
    };
    let taken = take(&options).await?;
    for segment in &taken {
        print_line(&describe(segment));
    }
    if taken.is_empty() {
        print_line("nothing was added since the last backup, which is complete");
    }
    print_line(&format!("verified in {:.1} s", begun.elapsed().as_secs_f64()));
    Ok(())
}

fn describe(segment: &Manifest) -> String {
    let Manifest { from, to, time, .. } = segment;
    let (bytes, set) = (segment.data_bytes(), segment.set());
    if segment.is_base() {
        format!("base {set}: {to} entries, the last at {time}; {bytes} bytes")
    } else {
        format!("added to {set}: {} entries from {from} on, the last at {time}; {bytes} bytes", to - from)
    }
}

/// Restores a backup into empty places.
///
/// # Errors
/// Exit code 1 if the backup was changed, is of another log or does not verify, or a place is not empty: nothing is
/// written then; 69 if a file or age cannot be used, 78 for the configuration.
pub async fn restore(args: &RestoreArgs) -> Result<(), Failure> {
    let config = Config::load(&args.config)?;
    let begun = Instant::now();
    let options = RestoreOptions {
        config: &config,
        from: &args.from,
        set: args.set.as_deref(),
        identity: &args.identity,
        checkpoint: args.checkpoint.as_deref(),
        is_complete: args.complete,
        lost_database: args.lost_database.as_deref(),
    };
    let prepared = prepare(&options).await?;
    let (entries, time) = prepared.end();
    print_line(&format!("the backup holds {entries} entries, the last at {time}"));
    let loss = prepared.loss.clone();
    match &loss {
        Some(loss) => loss.lines().iter().for_each(|line| print_line(line)),
        None => print_line("nothing is known to be lost"),
    }
    if args.plan {
        return Ok(());
    }
    prepared.restore().await?;
    print_line(&format!("restored and verified in {:.1} s", begun.elapsed().as_secs_f64()));
    let path = args.config.display();
    print_line(&match loss {
        Some(_) => format!(
            "the log goes on as a new one: run ap-gateway accept-rollback --config {path} --log NAME, then serve"
        ),
        None => format!("the log goes on: run ap-gateway serve --config {path}"),
    });
    Ok(())
}
