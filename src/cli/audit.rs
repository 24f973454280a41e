//! `audit head`, `verify`, `prove`, `export` and `compare`: commands about the log.

use std::path::Path;

use super::args::{CompareArgs, ExportArgs, ProfileArgs, ProveArgs, VerifyArgs};
use super::bundle::ProvedEntry;
use super::{Failure, bundle, exchanges, print_line, profile};
use crate::audit::export as tiles;
use crate::audit::report::VerifyReport;
use crate::audit::verify::{VerifyError, VerifyOptions, verify_database};
use crate::client::{CheckpointFolderError, Client, ClientError, ConsistencyReport, read_checkpoint_folder};
use crate::config::Config;
use crate::gateway;
use crate::proto::v1::audit_service as audit;
use crate::proto::v1::{ExchangeRecord, GetExchangeRequest, ListExchangesRequest};
use crate::store::{Database, DatabaseLocation, LogReader};
use crate::tlog::LogKeyHistory;

/// Returns every exchange that the caller may read, the newest first.
///
/// # Errors
/// The client's.
pub async fn list_all_exchanges(client: &Client) -> Result<Vec<ExchangeRecord>, Failure> {
    exchanges::list_all(client, ListExchangesRequest { page_size: 1_000, ..ListExchangesRequest::default() })
        .await
}

/// Verifies and prints the newest signed checkpoint.
///
/// # Errors
/// The client's; exit code 1 if the signature is invalid.
pub async fn print_newest_checkpoint(args: &ProfileArgs) -> Result<(), Failure> {
    let client = profile::connect_from_args(args).await?;
    print_line(client.check_newest().await?.trim_end());
    Ok(())
}

/// Verifies a copy of the database; or verifies over the network that the log is consistent with every checkpoint that
/// the client received.
///
/// # Errors
/// Exit code 1 if the verification fails; 2 if neither a database nor a profile is named.
pub async fn verify(args: &VerifyArgs) -> Result<(), Failure> {
    let Some(path) = &args.database else {
        let Some(path) = &args.profile else {
            return Err(Failure::usage("name a --profile, or a --database with its --log-key"));
        };
        return verify_over_the_wire(&profile::connect(path).await?).await;
    };
    let key = args.log_key.as_deref().ok_or_else(|| Failure::usage("--database needs --log-key"))?;
    let key = bundle::read_log_key(key).map_err(Failure::configuration)?.to_string();
    let files = VerifyFiles {
        anchor: args.anchor.as_deref(),
        key_ring: args.key_ring.as_deref(),
        commitment_key: args.commitment_key.as_deref(),
    };
    print_report(&verify_database_copy(path, &key, files).await?)
}

/// Prints what a verification of a copy found, and what it checked.
fn print_report(report: &VerifyReport) -> Result<(), Failure> {
    let VerifyReport { entries, checkpoints, rows, .. } = report;
    print_line(&format!("{entries} entries, {checkpoints} checkpoints, {rows} rows"));
    report.lost.iter().for_each(|lost| print_line(lost));
    report.checked.iter().for_each(|what| print_line(&format!("checked: {what}")));
    report.unchecked.iter().for_each(|what| print_line(&format!("not checked: {what}")));
    if report.is_intact() {
        print_line(if report.unchecked.is_empty() {
            "verified: nothing was altered"
        } else {
            "verified as far as it was checked: what was not checked may have been altered"
        });
        return Ok(());
    }
    let mut messages: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    if report.more_findings > 0 {
        messages.push(format!("and {} further findings", report.more_findings));
    }
    Err(Failure::refused(messages.join("\n")))
}

/// Files with which a copy of the database is verified.
#[derive(Clone, Copy, Debug, Default)]
pub struct VerifyFiles<'a> {
    /// The anchor.
    pub anchor: Option<&'a Path>,
    /// The key ring.
    pub key_ring: Option<&'a Path>,
    /// The commitment key.
    pub commitment_key: Option<&'a Path>,
}

/// Verifies that the log is consistent with every checkpoint in the client's folder. After a contradiction these are
/// also the conflicting ones, so that the result shows whether it still exists.
async fn verify_over_the_wire(client: &Client) -> Result<(), Failure> {
    let conflict = match client.check_newest().await {
        Err(ClientError::Folder(conflict @ CheckpointFolderError::Conflict(_))) => Some(conflict),
        checked => checked.map(|_| None)?,
    };
    let notes = client.checkpoints().notes(client.log_key())?;
    let (size, count) = print_losses(client.verify_checkpoints(&notes).await?);
    let verified = format!("the log of {size} entries is consistent with all {count} checkpoints kept");
    if let Some(conflict) = conflict {
        return Err(Failure::from(conflict).with_advice(&format!("now {verified}")));
    }
    print_line(&format!("verified: {verified}"));
    Ok(())
}

/// Verifies a copy of a SQLite database.
///
/// # Errors
/// Exit code 78 if the key is invalid or the schema or format of the copy is unknown, 69 if the copy cannot be read.
pub async fn verify_database_copy(
    path: &Path,
    log_key: &str,
    files: VerifyFiles<'_>,
) -> Result<VerifyReport, Failure> {
    let log_key = LogKeyHistory::parse(log_key).map_err(|_| Failure::configuration("not a log key"))?;
    if gateway::is_other_than_sqlite(path) {
        let what = format!("--database ({}): it is not a SQLite database", path.display());
        return Err(Failure::configuration(what));
    }
    let options = VerifyOptions {
        database: DatabaseLocation::Sqlite(path.to_owned()),
        log_key,
        anchor: files.anchor.map(Path::to_owned),
        key_ring: files.key_ring.map(Path::to_owned),
        commitment_key: files.commitment_key.map(Path::to_owned),
    };
    verify_database(&options, &gateway::tables()).await.map_err(|error| match error {
        VerifyError::Store(error) => error.into(),
        error => Failure::configuration_error(&error),
    })
}

/// Writes the bundle of one exchange: its entry, with the proof that it is in the log. It is verified before.
///
/// # Errors
/// The client's; exit code 1 if the proof is invalid, 69 if the file cannot be written.
pub async fn prove(args: &ProveArgs) -> Result<(), Failure> {
    let client = profile::connect_from_args(&args.connection).await?;
    let request = GetExchangeRequest { exchange_id: args.exchange.clone() };
    let reply = client.call(audit::GET_EXCHANGE, &request).await?.message;
    let receipt = reply.exchange_receipt.unwrap_or_default();
    let proved = ProvedEntry::verify(&receipt, client.log_key())
        .map_err(|error| Failure::refused(error.to_string()))?;
    if proved.exchange_id() != args.exchange {
        return Err(Failure::refused("the proof is of another exchange"));
    }
    let text = serde_json::to_string_pretty(&proved.bundle()?);
    let text = text.map_err(|error| Failure::bug("a bundle", error))?;
    std::fs::write(&args.out, text).map_err(|error| Failure::unavailable("the file", error))?;
    print_line(&format!("entry {} of a tree of {}, with its proof", receipt.index, receipt.tree_size));
    Ok(())
}

/// Writes the log as a tlog-tiles folder.
///
/// # Errors
/// Exit code 78 for the configuration, 69 for the database or the folder.
pub async fn export(args: &ExportArgs) -> Result<(), Failure> {
    let config = Config::load(&args.config)?;
    let database = Database::open(&config.location()?).await?;
    let entries = tiles::export_folder(&LogReader::new(database), &config.log.anchor, &args.out).await;
    let entries = entries.map_err(|error| Failure::unavailable("the export", error))?;
    print_line(&format!("{entries} entries exported"));
    Ok(())
}

/// Verifies that checkpoints that different callers received are consistent with one tree.
///
/// # Errors
/// Exit code 1 if they are not, 69 for the folders; or the client's.
pub async fn compare(args: &CompareArgs) -> Result<(), Failure> {
    let client = profile::connect_from_args(&args.connection).await?;
    let mut notes = client.checkpoints().notes(client.log_key())?;
    for folder in &args.seen {
        notes.extend(read_checkpoint_folder(folder)?);
    }
    let (size, count) = print_losses(client.verify_checkpoints(&notes).await?);
    print_line(&format!("one log: {count} checkpoints are consistent with the tree of {size} entries"));
    Ok(())
}

fn print_losses(ConsistencyReport { size, consistent_checkpoints, lost }: ConsistencyReport) -> (u64, usize) {
    for lost in lost {
        print_line(&lost);
    }
    (size, consistent_checkpoints)
}
