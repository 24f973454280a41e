//! `audit head|verify|prove|export|compare`.

use std::path::Path;

use prost::Message;

use super::args::{Compare, Export, OfProfile, Prove, Verify};
use super::{Failure, exchanges, output, profile, say};
use crate::audit::export as tiles;
use crate::audit::verify::{Options, Report, database};
use crate::client::Client;
use crate::config::Config;
use crate::proto::v1::audit_service as audit;
use crate::proto::v1::{
    AuditEntry, ExchangeRecord, GetCheckpointRequest, GetCheckpointResponse, GetConsistencyProofRequest,
    GetExchangeRequest, ListExchangesRequest, Receipt,
};
use crate::store::{Database, Location, Log};
use crate::tlog::{Checkpoint, Hash, Lineage, leaf_hash, verify_consistency, verify_inclusion};

/// Every exchange that the caller may read, the newest first.
///
/// # Errors
/// The client's.
pub async fn exchanges(client: &Client) -> Result<Vec<ExchangeRecord>, Failure> {
    exchanges::every(client, ListExchangesRequest { page_size: 1_000, ..ListExchangesRequest::default() })
        .await
}

/// Prints the newest signed checkpoint, checked.
///
/// # Errors
/// The client's; exit code 1 when its signature does not hold.
pub async fn head(of: &OfProfile) -> Result<(), Failure> {
    let client = profile::open(of).await?;
    let (_, reply) = newest(&client).await?;
    say(reply.checkpoint.trim_end());
    Ok(())
}

async fn newest(client: &Client) -> Result<(Checkpoint, GetCheckpointResponse), Failure> {
    let reply = client.hashes(audit::GET_CHECKPOINT, &GetCheckpointRequest { tree_size: 0 }).await?;
    let newest = client.log_key().open(&reply.checkpoint).map_err(|error| {
        Failure::refused(error.to_string()).and("a log that was replaced has a new key, from its operator")
    })?;
    Ok((newest, reply))
}

/// Verifies a copy of the database, or over the wire that the log still holds every checkpoint seen.
///
/// # Errors
/// Exit code 1 when something does not hold; 2 when neither was named.
pub async fn verify(args: &Verify) -> Result<(), Failure> {
    let Some(path) = &args.database else {
        let Some(path) = &args.profile else {
            return Err(Failure::usage("name a --profile, or a --database with its --log-key"));
        };
        let client = profile::connect(path).await?;
        let notes = client.seen().notes();
        let (size, count) = told(consistent(&client, &notes).await?);
        say(&format!("verified: the log of {size} entries holds all of {count} checkpoints seen"));
        return Ok(());
    };
    let key = args.log_key.as_deref().ok_or_else(|| Failure::usage("--database needs --log-key"))?;
    let report = verify_copy(path, key, args.anchor.as_deref(), args.key_ring.as_deref()).await?;
    say(&format!(
        "{} entries, {} checkpoints, {} kept records",
        report.entries, report.checkpoints, report.records
    ));
    for lost in &report.lost {
        say(lost);
    }
    match report.findings.as_slice() {
        [] => {
            say("verified: nothing was altered");
            Ok(())
        }
        findings => {
            let told: Vec<&str> = findings.iter().map(|finding| finding.what.as_str()).collect();
            Err(Failure::refused(told.join("\n")))
        }
    }
}

/// Verifies a copy of a SQLite database.
///
/// # Errors
/// Exit code 78 for the key, 69 when the copy cannot be read.
pub async fn verify_copy(
    path: &Path,
    log_key: &str,
    anchor: Option<&Path>,
    key_ring: Option<&Path>,
) -> Result<Report, Failure> {
    let log_key = Lineage::parse(log_key).map_err(|_| Failure::configuration("not a log key"))?;
    let options = Options {
        database: Location::Sqlite(path.to_owned()),
        log_key,
        anchor: anchor.map(Path::to_owned),
        key_ring: key_ring.map(Path::to_owned),
    };
    Ok(database(&options).await?)
}

/// Writes one exchange with its receipt as JSON: entry, proof and checkpoint, for anybody to check.
///
/// # Errors
/// The client's; exit code 69 when the file cannot be written.
pub async fn prove(args: &Prove) -> Result<(), Failure> {
    let client = profile::open(&args.of).await?;
    let request = GetExchangeRequest { exchange_id: args.exchange.clone() };
    let reply = client.call(audit::GET_EXCHANGE, &request).await?.message;
    let receipt = reply.exchange_receipt.unwrap_or_default();
    let bundle = serde_json::json!({
        "log_key": client.log_key().key_of(receipt.tree_size).to_string(),
        "exchange": output::to_json("ExchangeRecord", &reply.exchange.unwrap_or_default())?,
        "receipt": output::to_json("Receipt", &receipt)?,
    });
    let text = serde_json::to_string_pretty(&bundle).map_err(|error| Failure::bug("a bundle", error))?;
    std::fs::write(&args.out, text).map_err(|error| Failure::unavailable("the file", error))?;
    say(&format!("entry {} of a tree of {}, with its proof", receipt.index, receipt.tree_size));
    Ok(())
}

/// Writes the log as a tlog-tiles folder.
///
/// # Errors
/// Exit code 78 for the configuration, 69 for database or folder.
pub async fn export(args: &Export) -> Result<(), Failure> {
    let config = Config::load(&args.config)?;
    let database = Database::open(&config.location()?).await?;
    let entries = tiles::folder(&Log::new(database), &args.out).await;
    let entries = entries.map_err(|error| Failure::unavailable("the export", error))?;
    say(&format!("{entries} entries exported"));
    Ok(())
}

/// Compares checkpoints that different callers were shown: all must lie on one tree.
///
/// # Errors
/// Exit code 1 when they do not, 69 for the folders; or the client's.
pub async fn compare(args: &Compare) -> Result<(), Failure> {
    let client = profile::open(&args.of).await?;
    let mut notes = client.seen().notes();
    for folder in &args.seen {
        let seen = crate::client::Seen::in_folder(folder);
        notes.extend(seen.map_err(|error| Failure::unavailable("a folder of checkpoints", error))?.notes());
    }
    let (size, count) = told(consistent(&client, &notes).await?);
    say(&format!("one log: {count} checkpoints lie on the tree of {size} entries"));
    Ok(())
}

/// What was compared.
pub struct Compared {
    /// Entries of the newest tree.
    pub size: u64,
    /// Checkpoints that lie on it.
    pub on_it: usize,
    /// What accepted rollbacks lost, in plain words.
    pub lost: Vec<String>,
}

fn told(Compared { size, on_it, lost }: Compared) -> (u64, usize) {
    for lost in lost {
        say(&lost);
    }
    (size, on_it)
}

/// Asks for the proof that the newest tree begins with that of each checkpoint; but for those of a log that was
/// replaced, beyond what was kept of it.
///
/// # Errors
/// Exit code 1 when a proof or a signature does not hold; or the client's.
pub async fn consistent(client: &Client, notes: &[String]) -> Result<Compared, Failure> {
    let (newest, reply) = newest(client).await?;
    let keys = client.log_key();
    let ends = replacements(keys, &reply.replacements)?;
    let mut lost: Vec<String> = ends.iter().map(|(index, last)| keys.loss(*index, last)).collect();
    let mut on_it = 0;
    for note in notes {
        let (seen, is_lost) = keys.read(note).map_err(|error| Failure::refused(error.to_string()))?;
        if is_lost {
            let end = ends.iter().find(|(_, last)| last.origin() == seen.origin());
            let told = end.is_none_or(|(_, last)| {
                seen.size() < last.size() || (seen.size(), seen.root()) == (last.size(), last.root())
            });
            if !told {
                return Err(Failure::refused(format!(
                    "{} was replaced, and the checkpoint of {} entries that was seen is not in what it is said to have lost",
                    seen.origin(),
                    seen.size()
                )));
            }
            lost.push(format!(
                "the checkpoint of {} entries that was seen is of {}, which was replaced, and of the part that was lost",
                seen.size(),
                seen.origin()
            ));
            continue;
        }
        on_it += 1;
        let mut proof = Vec::new();
        if seen.size() > newest.size() {
            return Err(Failure::refused(format!(
                "the log shrank: {} entries were seen before",
                seen.size()
            )));
        }
        if seen.size() > 0 {
            let request = GetConsistencyProofRequest { from_size: seen.size(), to_size: newest.size() };
            let reply = client.hashes(audit::GET_CONSISTENCY_PROOF, &request).await?;
            for hash in reply.hashes {
                let hash = <[u8; 32]>::try_from(hash.as_ref());
                proof.push(Hash::from(
                    hash.map_err(|_| Failure::refused("a proof's hash is not of 32 bytes"))?,
                ));
            }
        }
        verify_consistency(seen.size(), seen.root(), newest.size(), newest.root(), &proof).map_err(|_| {
            Failure::refused(format!(
                "two trees: the checkpoint of {} entries that was seen is not in the log shown now",
                seen.size()
            ))
        })?;
    }
    Ok(Compared { size: newest.size(), on_it, lost })
}

/// The last checkpoints of the logs that were replaced, by the index at which the next one begins: each by an entry
/// that is in the next one's tree.
fn replacements(keys: &Lineage, entries: &[Receipt]) -> Result<Vec<(u64, Checkpoint)>, Failure> {
    let begins: Vec<u64> = keys.boundaries().collect();
    if begins.len() != entries.len() {
        return Err(Failure::refused("the log does not tell of the replacements that its keys tell of"));
    }
    let wrong = || Failure::refused("the entry of a log's replacement does not hold");
    let read = |(index, receipt): (u64, &Receipt)| {
        let signed =
            keys.open(&receipt.checkpoint).ok().filter(|signed| signed.size() == receipt.tree_size)?;
        let proof =
            receipt.inclusion_proof.iter().map(|hash| <[u8; 32]>::try_from(&hash[..]).map(Hash::from));
        let proof: Vec<Hash> = proof.collect::<Result<_, _>>().ok()?;
        let leaf = leaf_hash(&receipt.entry);
        verify_inclusion(&leaf, index, signed.size(), &proof, signed.root()).ok()?;
        let said = AuditEntry::decode(receipt.entry.clone()).ok()?.log_replaced?;
        Some((index, keys.lost_at(index, &said.last_checkpoint, &said.kept_checkpoint).ok()?))
    };
    begins.into_iter().zip(entries).map(|each| read(each).ok_or_else(wrong)).collect()
}
