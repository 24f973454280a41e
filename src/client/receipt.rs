//! Verifies receipts: the log's signed checkpoint includes an entry that commits to exactly the bytes that this client
//! sent and received.

use bytes::{Buf, Bytes};
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::checkpoint_store::CheckpointStore;
use crate::proto::v1::{AuditEntry, Receipt};
use crate::tlog::{
    Checkpoint, Hash, LogKeyHistory, LogKeyHistoryError, commitment, leaf_hash, verify_inclusion,
};

/// Number of the field that holds the receipt in every response.
const RECEIPT_FIELD: u32 = 15;

/// Error of a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// The response has no receipt.
    #[error("the response has no receipt")]
    Missing,
    /// The receipt, or the entry in it, cannot be decoded.
    #[error("the receipt cannot be decoded")]
    Malformed,
    /// The checkpoint is not signed by the log's key.
    #[error(
        "the checkpoint is not signed by the log's key; the operator has the new key of a log that was replaced"
    )]
    Signature,
    /// The checkpoint belongs to the lost part of a log that was replaced.
    #[error("the log was replaced, and the checkpoint belongs to the part that was lost")]
    LogReplaced,
    /// The entry is not in the tree of the checkpoint.
    #[error("the entry is not in the tree of the checkpoint")]
    NotIncluded,
    /// The entry commits to another request.
    #[error("the entry commits to another request")]
    RequestMismatch,
    /// The entry commits to another reply.
    #[error("the entry commits to another reply")]
    ReplyMismatch,
}

/// Reply whose receipt was verified.
#[derive(Debug)]
pub struct VerifiedReply {
    /// The reply, without its receipt.
    pub reply: Bytes,
    /// The receipt.
    pub receipt: Receipt,
}

/// Verifies the receipt of a reply, and caches its checkpoint. Receipts of one commit group share a checkpoint, so its
/// signature is verified only once.
///
/// # Errors
/// [`ReceiptError`].
pub fn verify(
    sent: &[u8],
    received: &Bytes,
    log_key: &LogKeyHistory,
    checkpoints: &CheckpointStore,
) -> Result<VerifiedReply, ReceiptError> {
    let (reply, receipt) = split_receipt(received)?;
    let included = Inclusion {
        leaf: leaf_hash(&receipt.entry),
        index: receipt.index,
        tree_size: receipt.tree_size,
        proof: &receipt.inclusion_proof,
        note: &receipt.checkpoint,
    };
    included.verify(log_key, checkpoints)?;
    let entry = AuditEntry::decode(receipt.entry.clone()).map_err(|_| ReceiptError::Malformed)?;
    let salt = |bytes: &Bytes| <[u8; 32]>::try_from(&bytes[..]).map_err(|_| ReceiptError::Malformed);
    if entry.request_commitment != commitment(&salt(&receipt.request_salt)?, sent).as_bytes()[..] {
        return Err(ReceiptError::RequestMismatch);
    }
    if entry.reply_commitment != commitment(&salt(&receipt.reply_salt)?, &reply).as_bytes()[..] {
        return Err(ReceiptError::ReplyMismatch);
    }
    Ok(VerifiedReply { reply, receipt })
}

/// Proof that an entry is in the log.
pub(super) struct Inclusion<'a> {
    /// Leaf hash of the entry.
    pub leaf: Hash,
    /// Index of the entry.
    pub index: u64,
    /// Size of the checkpoint's tree.
    pub tree_size: u64,
    /// Hashes of the inclusion proof.
    pub proof: &'a [Bytes],
    /// Signed checkpoint.
    pub note: &'a str,
}

impl Inclusion<'_> {
    /// Verifies the proof, caches its checkpoint, and returns it.
    pub fn verify(
        &self,
        log_key: &LogKeyHistory,
        checkpoints: &CheckpointStore,
    ) -> Result<Checkpoint, ReceiptError> {
        let cached = checkpoints.find_recently_verified(self.note);
        let is_new = cached.is_none();
        let checkpoint = cached.map_or_else(|| open_checkpoint(self.note, log_key), Ok)?;
        if checkpoint.size() != self.tree_size {
            return Err(ReceiptError::Signature);
        }
        let hashes = self.proof.iter().map(|hash| <[u8; 32]>::try_from(&hash[..]).map(Hash::from));
        let proof: Vec<Hash> = hashes.collect::<Result<_, _>>().map_err(|_| ReceiptError::Malformed)?;
        verify_inclusion(&self.leaf, self.index, self.tree_size, &proof, checkpoint.root())
            .map_err(|_| ReceiptError::NotIncluded)?;
        if is_new {
            checkpoints.insert_verified(&checkpoint, self.note);
        }
        Ok(checkpoint)
    }
}

fn open_checkpoint(note: &str, log_key: &LogKeyHistory) -> Result<Checkpoint, ReceiptError> {
    log_key.open(note).map_err(|error| match error {
        LogKeyHistoryError::Replaced => ReceiptError::LogReplaced,
        _ => ReceiptError::Signature,
    })
}

/// Returns whether a message ends with a receipt.
#[must_use]
pub fn has_receipt(received: &Bytes) -> bool {
    split_receipt(received).is_ok()
}

/// Splits a response into the reply, which is everything before field 15, and the receipt, which must be the last
/// field.
fn split_receipt(received: &Bytes) -> Result<(Bytes, Receipt), ReceiptError> {
    let mut rest = received.clone();
    while rest.has_remaining() {
        let offset = received.len() - rest.len();
        let (tag, wire) = decode_key(&mut rest).map_err(|_| ReceiptError::Malformed)?;
        if (tag, wire) == (RECEIPT_FIELD, WireType::LengthDelimited) {
            let length = decode_varint(&mut rest).map_err(|_| ReceiptError::Malformed)?;
            if length != rest.len() as u64 {
                return Err(ReceiptError::Malformed);
            }
            let receipt = Receipt::decode(rest).map_err(|_| ReceiptError::Malformed)?;
            return Ok((received.slice(..offset), receipt));
        }
        skip_field(wire, tag, &mut rest, DecodeContext::default()).map_err(|_| ReceiptError::Malformed)?;
    }
    Err(ReceiptError::Missing)
}
