//! `audit head`, `verify`, `prove`, `export` and `compare`: commands about the log.

use std::path::Path;

use prost::Message;

use super::args::{CompareArgs, ExportArgs, ProfileArgs, ProveArgs, VerifyArgs};
use super::bundle::ProvedEntry;
use super::{Failure, bundle, exchanges, print_line, profile};
use crate::audit::export as tiles;
use crate::audit::report::VerifyReport;
use crate::audit::verify::{VerifyOptions, verify_database};
use crate::client::Client;
use crate::config::Config;
use crate::gateway;
use crate::proto::v1::audit_service as audit;
use crate::proto::v1::{
    AuditEntry, ExchangeRecord, GetCheckpointRequest, GetCheckpointResponse, GetConsistencyProofRequest,
    GetExchangeRequest, ListExchangesRequest, Receipt,
};
use crate::store::{Database, DatabaseLocation, LogReader};
use crate::tlog::{Checkpoint, Hash, LogKeyHistory, leaf_hash, verify_consistency, verify_inclusion};

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
    let (_, reply) = newest_checkpoint(&client).await?;
    print_line(reply.checkpoint.trim_end());
    Ok(())
}

async fn newest_checkpoint(client: &Client) -> Result<(Checkpoint, GetCheckpointResponse), Failure> {
    let reply =
        client.call_without_receipt(audit::GET_CHECKPOINT, &GetCheckpointRequest { tree_size: 0 }).await?;
    let newest = client.log_key().open(&reply.checkpoint).map_err(|error| {
        Failure::refused(error.to_string())
            .with_advice("a log that was replaced has a new key, from its operator")
    })?;
    Ok((newest, reply))
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
        let client = profile::connect(path).await?;
        let notes = client.checkpoints().notes();
        let (size, count) = print_losses(verify_checkpoints(&client, &notes).await?);
        print_line(&format!(
            "verified: the log of {size} entries is consistent with all {count} checkpoints received"
        ));
        return Ok(());
    };
    let key = args.log_key.as_deref().ok_or_else(|| Failure::usage("--database needs --log-key"))?;
    let key = bundle::read_log_key(key).map_err(Failure::configuration)?.to_string();
    let report = verify_database_copy(path, &key, args.anchor.as_deref(), args.key_ring.as_deref()).await?;
    print_line(&format!(
        "{} entries, {} checkpoints, {} kept records",
        report.entries, report.checkpoints, report.records
    ));
    for lost in &report.lost {
        print_line(lost);
    }
    match report.findings.as_slice() {
        [] => {
            print_line("verified: nothing was altered");
            Ok(())
        }
        findings => {
            let messages: Vec<&str> = findings.iter().map(|finding| finding.description.as_str()).collect();
            Err(Failure::refused(messages.join("\n")))
        }
    }
}

/// Verifies a copy of a SQLite database.
///
/// # Errors
/// Exit code 78 if the key is invalid, 69 if the copy cannot be read.
pub async fn verify_database_copy(
    path: &Path,
    log_key: &str,
    anchor: Option<&Path>,
    key_ring: Option<&Path>,
) -> Result<VerifyReport, Failure> {
    let log_key = LogKeyHistory::parse(log_key).map_err(|_| Failure::configuration("not a log key"))?;
    let options = VerifyOptions {
        database: DatabaseLocation::Sqlite(path.to_owned()),
        log_key,
        anchor: anchor.map(Path::to_owned),
        key_ring: key_ring.map(Path::to_owned),
    };
    Ok(verify_database(&options, &gateway::tables()).await?)
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
    let mut notes = client.checkpoints().notes();
    for folder in &args.seen {
        let seen = crate::client::CheckpointStore::open_folder(folder);
        notes.extend(seen.map_err(|error| Failure::unavailable("a folder of checkpoints", error))?.notes());
    }
    let (size, count) = print_losses(verify_checkpoints(&client, &notes).await?);
    print_line(&format!("one log: {count} checkpoints are consistent with the tree of {size} entries"));
    Ok(())
}

/// Result of a consistency check of checkpoints.
pub struct ConsistencyReport {
    /// Size of the newest tree, in entries.
    pub size: u64,
    /// Number of checkpoints that are consistent with it.
    pub consistent_checkpoints: usize,
    /// Messages about the entries that accepted rollbacks lost.
    pub lost: Vec<String>,
}

fn print_losses(
    ConsistencyReport { size, consistent_checkpoints: on_it, lost }: ConsistencyReport,
) -> (u64, usize) {
    for lost in lost {
        print_line(&lost);
    }
    (size, on_it)
}

/// Verifies, by consistency proofs, that the newest tree extends the tree of each checkpoint. A checkpoint in the lost
/// part of a replaced log is not compared; it must fit the loss that the log has recorded.
///
/// # Errors
/// Exit code 1 if a proof or a signature is invalid; or the client's.
pub async fn verify_checkpoints(client: &Client, notes: &[String]) -> Result<ConsistencyReport, Failure> {
    let (newest, reply) = newest_checkpoint(client).await?;
    let keys = client.log_key();
    let ends = verify_log_replacements(keys, &reply.replacements)?;
    let mut lost: Vec<String> = ends.iter().map(|(index, last)| keys.describe_loss(*index, last)).collect();
    let mut on_it = 0;
    for note in notes {
        let (seen, is_lost) =
            keys.open_even_if_lost(note).map_err(|error| Failure::refused(error.to_string()))?;
        if is_lost {
            let end = ends.iter().find(|(_, last)| last.origin() == seen.origin());
            let is_recorded = end.is_none_or(|(_, last)| {
                seen.size() < last.size() || (seen.size(), seen.root()) == (last.size(), last.root())
            });
            if !is_recorded {
                return Err(Failure::refused(format!(
                    "{} was replaced, and the checkpoint of {} entries that was seen is not in the part recorded as lost",
                    seen.origin(),
                    seen.size()
                )));
            }
            lost.push(format!(
                "the checkpoint of {} entries that was seen is of {}, which was replaced, and is in the part that was lost",
                seen.size(),
                seen.origin()
            ));
            continue;
        }
        on_it += 1;
        let mut proof = Vec::new();
        if seen.size() > newest.size() {
            return Err(Failure::refused(format!("the log shrank: it had {} entries before", seen.size())));
        }
        if seen.size() > 0 {
            let request = GetConsistencyProofRequest { from_size: seen.size(), to_size: newest.size() };
            let reply = client.call_without_receipt(audit::GET_CONSISTENCY_PROOF, &request).await?;
            for hash in reply.hashes {
                let hash = <[u8; 32]>::try_from(hash.as_ref());
                proof.push(Hash::from(
                    hash.map_err(|_| Failure::refused("a hash of a proof does not have 32 bytes"))?,
                ));
            }
        }
        verify_consistency(seen.size(), seen.root(), newest.size(), newest.root(), &proof).map_err(|_| {
            Failure::refused(format!(
                "two trees: the log is not consistent with the checkpoint of {} entries that was seen",
                seen.size()
            ))
        })?;
    }
    Ok(ConsistencyReport { size: newest.size(), consistent_checkpoints: on_it, lost })
}

/// Returns the last checkpoint of each replaced log, with the index at which its successor begins. Each is verified by
/// an entry in the successor's tree.
fn verify_log_replacements(
    keys: &LogKeyHistory,
    entries: &[Receipt],
) -> Result<Vec<(u64, Checkpoint)>, Failure> {
    let begins: Vec<u64> = keys.replacement_indexes().collect();
    if begins.len() != entries.len() {
        return Err(Failure::refused("the replacements that the log returns do not match its keys"));
    }
    let wrong = || Failure::refused("the entry of a log's replacement is invalid");
    let read = |(index, receipt): (u64, &Receipt)| {
        let signed =
            keys.open(&receipt.checkpoint).ok().filter(|signed| signed.size() == receipt.tree_size)?;
        let proof =
            receipt.inclusion_proof.iter().map(|hash| <[u8; 32]>::try_from(&hash[..]).map(Hash::from));
        let proof: Vec<Hash> = proof.collect::<Result<_, _>>().ok()?;
        let leaf = leaf_hash(&receipt.entry);
        verify_inclusion(&leaf, index, signed.size(), &proof, signed.root()).ok()?;
        let replaced = AuditEntry::decode(receipt.entry.clone()).ok()?.log_replaced?;
        Some((
            index,
            keys.last_lost_checkpoint(index, &replaced.last_checkpoint, &replaced.kept_checkpoint).ok()?,
        ))
    };
    begins.into_iter().zip(entries).map(|each| read(each).ok_or_else(wrong)).collect()
}
