//! Replacements of a log after accepted rollbacks: each successor's first entry records what was lost.

use prost::Message;

use super::contradiction::Contradiction;
use crate::proto::v1::{AuditEntry, Receipt};
use crate::tlog::{Checkpoint, Hash, LogKeyHistory, leaf_hash, verify_inclusion};

/// Checks that a checkpoint of a replaced log is in the part that the log has recorded as lost, and describes it.
pub fn check_loss_is_recorded(
    seen: &Checkpoint,
    ends: &[(u64, Checkpoint)],
) -> Result<String, Contradiction> {
    let (log, size) = (seen.origin(), seen.size());
    let end = ends.iter().find(|(_, last)| last.origin() == log);
    let is_recorded =
        end.is_none_or(|(_, last)| size < last.size() || (size, seen.root()) == (last.size(), last.root()));
    if !is_recorded {
        return Err(Contradiction::LossNotRecorded { log: log.to_owned(), size });
    }
    Ok(format!(
        "the checkpoint of {size} entries that was seen is of {log}, which was replaced, and is in the part that was lost"
    ))
}

/// Returns the last checkpoint of each replaced log, with the index at which its successor begins. Each is verified by
/// an entry in the successor's tree.
pub fn verify_replacements(
    keys: &LogKeyHistory,
    entries: &[Receipt],
) -> Result<Vec<(u64, Checkpoint)>, Contradiction> {
    let begins: Vec<u64> = keys.replacement_indexes().collect();
    if begins.len() != entries.len() {
        return Err(Contradiction::Replacements(
            "the replacements that the log returns do not match its keys",
        ));
    }
    let wrong = || Contradiction::Replacements("the entry of a log's replacement is invalid");
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
