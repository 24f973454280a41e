//! Checking a receipt: that the log's signed checkpoint holds an entry that commits to exactly what this
//! client sent and received.

use bytes::{Buf, Bytes};
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::seen::Seen;
use crate::proto::v1::{AuditEntry, Receipt};
use crate::tlog::{Checkpoint, Hash, Lineage, LineageError, commitment, leaf_hash, verify_inclusion};

/// The field of every response message that carries the receipt.
const RECEIPT_FIELD: u32 = 15;

/// What is wrong with a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// The answer carries none.
    #[error("the answer carries no receipt")]
    Missing,
    /// It, or the entry in it, is not a message.
    #[error("the receipt is not a message")]
    Malformed,
    /// The checkpoint is not signed by the log's key.
    #[error(
        "the checkpoint is not signed by the log's key; a log that was replaced has a new one, from its operator"
    )]
    Signature,
    /// The checkpoint is of a log that was replaced, beyond what was kept of it.
    #[error("the log was replaced, and the checkpoint is of the part that was lost")]
    Replaced,
    /// The entry is not in the tree of the checkpoint.
    #[error("the entry is not in the tree of the checkpoint")]
    Inclusion,
    /// The entry commits to another request.
    #[error("the entry commits to another request")]
    Request,
    /// The entry commits to another reply.
    #[error("the entry commits to another reply")]
    Reply,
}

/// A reply whose receipt holds.
#[derive(Debug)]
pub struct Checked {
    /// The reply, without its receipt.
    pub reply: Bytes,
    /// The receipt.
    pub receipt: Receipt,
}

/// Checks the receipt behind a reply, and keeps its checkpoint. Many receipts of one group share a
/// checkpoint: its signature is verified with the first of them.
///
/// # Errors
/// [`ReceiptError`].
pub fn check(sent: &[u8], received: &Bytes, log_key: &Lineage, seen: &Seen) -> Result<Checked, ReceiptError> {
    let (reply, receipt) = split(received)?;
    let known = seen.just_verified(&receipt.checkpoint);
    let is_new = known.is_none();
    let checkpoint = known.map_or_else(|| verified(&receipt.checkpoint, log_key), Ok)?;
    if checkpoint.size() != receipt.tree_size {
        return Err(ReceiptError::Signature);
    }
    let hash = |bytes: &Bytes| <[u8; 32]>::try_from(&bytes[..]).map(Hash::from);
    let proof: Vec<Hash> = receipt
        .inclusion_proof
        .iter()
        .map(hash)
        .collect::<Result<_, _>>()
        .map_err(|_| ReceiptError::Malformed)?;
    let leaf = leaf_hash(&receipt.entry);
    verify_inclusion(&leaf, receipt.index, receipt.tree_size, &proof, checkpoint.root())
        .map_err(|_| ReceiptError::Inclusion)?;
    let entry = AuditEntry::decode(receipt.entry.clone()).map_err(|_| ReceiptError::Malformed)?;
    let salt = |bytes: &Bytes| <[u8; 32]>::try_from(&bytes[..]).map_err(|_| ReceiptError::Malformed);
    if entry.request_commitment != commitment(&salt(&receipt.request_salt)?, sent).as_bytes()[..] {
        return Err(ReceiptError::Request);
    }
    if entry.reply_commitment != commitment(&salt(&receipt.reply_salt)?, &reply).as_bytes()[..] {
        return Err(ReceiptError::Reply);
    }
    if is_new {
        seen.keep(&checkpoint, &receipt.checkpoint);
    }
    Ok(Checked { reply, receipt })
}

fn verified(note: &str, log_key: &Lineage) -> Result<Checkpoint, ReceiptError> {
    log_key.open(note).map_err(|error| match error {
        LineageError::Replaced => ReceiptError::Replaced,
        _ => ReceiptError::Signature,
    })
}

/// Whether the message ends with a receipt.
#[must_use]
pub fn is_present(received: &Bytes) -> bool {
    split(received).is_ok()
}

/// The reply is everything before field 15, which must be the last.
fn split(received: &Bytes) -> Result<(Bytes, Receipt), ReceiptError> {
    let mut rest = received.clone();
    while rest.has_remaining() {
        let at = received.len() - rest.len();
        let (tag, wire) = decode_key(&mut rest).map_err(|_| ReceiptError::Malformed)?;
        if (tag, wire) == (RECEIPT_FIELD, WireType::LengthDelimited) {
            let length = decode_varint(&mut rest).map_err(|_| ReceiptError::Malformed)?;
            if length != rest.len() as u64 {
                return Err(ReceiptError::Malformed);
            }
            let receipt = Receipt::decode(rest).map_err(|_| ReceiptError::Malformed)?;
            return Ok((received.slice(..at), receipt));
        }
        skip_field(wire, tag, &mut rest, DecodeContext::default()).map_err(|_| ReceiptError::Malformed)?;
    }
    Err(ReceiptError::Missing)
}
